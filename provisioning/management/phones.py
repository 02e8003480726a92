"""/v1/phones and /v1/models"""

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text
from provisioning.domain.mac import spelled
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies, changes, views
from provisioning.management.changes import Terms
from provisioning.management.context import (
    Management,
    address_given,
    answer,
    body,
    context,
    limit,
    mac_given,
    mac_in_path,
    once,
    operation_path,
    operator,
    page,
    started,
    token,
)
from provisioning.rendering import compose
from provisioning.store import accounts, phones
from provisioning.store.phones import StoredPhone


async def list_models(request: web.Request) -> web.Response:
    models = context(request).vendors.catalogue.models.values()
    return page([views.model(known) for known in sorted(models, key=lambda known: known.id)], None)


async def read_model(request: web.Request) -> web.Response:
    return answer(views.model(context(request).vendors.catalogue.model(request.match_info["model"])))


async def list_phones(request: web.Request) -> web.Response:
    most, only, query = limit(request), token(request).account_id, request.query

    def find(connection: Connection) -> list[StoredPhone]:
        account_id = accounts.to_list(connection, query.get("account"), only)
        return phones.page(connection, account_id=account_id, after=query.get("after", ""), limit=most)

    found = await context(request).database.read(find)
    return page([views.phone(stored) for stored in found], found[-1].phone.mac if len(found) == most else None)


async def create(request: web.Request) -> web.Response:
    operator(request)
    new = await body(request, bodies.NewPhone)
    management, mac = context(request), mac_given(new.mac)
    if new.serial is not None:
        check_text("serial", new.serial, 64)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        stored, secret = changes.new_phone(
            connection,
            terms,
            mac=mac,
            model=new.model,
            account=new.account,
            serial=new.serial,
            main_line=new.main_line,
        )
        shown = views.phone(stored)
        shown.provisioning_url = _url(management, terms, stored, secret)
        return shown, f"/v1/phones/{mac}"

    return await once(request, 201, work)


async def read(request: web.Request) -> web.Response:
    return answer(views.phone(await _find(request)))


async def change(request: web.Request) -> web.Response:
    operator(request)
    wanted = await body(request, bodies.PhoneChange)
    changed = bodies.given(wanted)
    if changed.get("serial") is not None:
        check_text("serial", changed["serial"], 64)
    mac = mac_in_path(request)
    return await once(
        request,
        200,
        lambda connection, terms: (views.phone(changes.change_phone(connection, terms, mac, changed)), None),
    )


async def remove(request: web.Request) -> web.Response:
    its, management = operator(request), context(request)
    await management.database.write(changes.remove_phone, management.terms(its), mac_in_path(request))
    return web.Response(status=204)


async def promote(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.Promote), mac_in_path(request)
    return await started(request, lambda connection, terms: changes.promote(connection, terms, mac, wanted.line))


async def resync(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.Resync), mac_in_path(request)
    return await started(
        request, lambda connection, terms: changes.resync(connection, terms, mac, reboot=wanted.reboot)
    )


async def reset(request: web.Request) -> web.Response:
    wanted, mac, management = await body(request, bodies.Reset), mac_in_path(request), context(request)
    public_ip = address_given(request, wanted.public_ip)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        operation, secret = changes.reset(connection, terms, mac, public_ip)
        shown = views.operation(operation, terms.now)
        stored = phones.find(connection, mac)
        if stored is not None:
            shown.provisioning_url = _url(management, terms, stored, secret)
        return shown, operation_path(operation)

    return await once(request, 202, work)


async def documents(request: web.Request) -> web.Response:
    stored = await _find(request)
    model = context(request).vendors.catalogue.model(stored.phone.model)
    return answer(
        [
            bodies.Document(name, name, document.content_type, document.stage)
            for document in model.documents.values()
            for name in [document.name_for(stored.phone.mac)]
        ]
    )


async def document(request: web.Request) -> web.Response:
    """What the phone would get, its secrets masked."""
    stored, management, name = await _find(request), context(request), request.match_info["name"]
    model = management.vendors.catalogue.model(stored.phone.model)
    wanted = next(
        (known for known in model.documents.values() if known.name_for(stored.phone.mac).lower() == name.lower()),
        None,
    )
    if wanted is None:
        raise Refused("document-not-found", f"A {model.vendor_name} {model.name} asks for no {name[:80]}.")
    if wanted.lines:
        held = management.reader.lines(stored.id)
        values = compose.masked(management.site, model, stored.phone.mac, held)
    else:
        values = compose.stage0(management.site, model)
    rendered = management.vendors.renderer.render(wanted, model, values)
    return web.Response(body=rendered, headers={"Content-Type": wanted.content_type})


async def events(request: web.Request) -> web.Response:
    stored, most, after = await _find(request), limit(request), request.query.get("after")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise Refused("invalid-value", "after is the `next` of the page before.", field="after")
    found = await context(request).database.read(
        phones.story, stored.id, before=None if after is None else int(after), limit=most
    )
    items = [bodies.Event(event_id, rfc3339(at), kind, detail) for event_id, at, kind, detail in found]
    return page(items, str(found[-1][0]) if len(found) == most else None)


def _url(management: Management, terms: Terms, stored: StoredPhone, secret: str) -> str:
    model = terms.catalogue.model(stored.phone.model)
    return compose.provisioning_url(management.site, model, stored.phone.mac, secret)


async def _find(request: web.Request) -> StoredPhone:
    mac = mac_in_path(request)
    stored = await context(request).database.read(phones.find, mac, only=token(request).account_id)
    if stored is None:
        raise Refused("phone-not-found", f"There is no phone {spelled(mac)}.")
    return stored
