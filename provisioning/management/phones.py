"""/v1/phones and /v1/models"""

from collections.abc import Callable

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain.catalogue import fill_mac
from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text
from provisioning.domain.mac import spelled
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies, changes, life, views
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
    removed,
    started,
    token,
)
from provisioning.management.snapshots import Subject
from provisioning.rendering import compose
from provisioning.store import accounts, phones, uploads
from provisioning.store.operations import Operation
from provisioning.store.phones import StoredPhone


async def list_models(request: web.Request) -> web.Response:
    return page(views.models(context(request).vendors.catalogue), None)


async def read_model(request: web.Request) -> web.Response:
    catalogue = context(request).vendors.catalogue
    return answer(views.model(catalogue, catalogue.model(request.match_info["model"])))


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

    return await once(request, 201, work, subject=Subject("phone", mac), masked=("provisioning_url",))


async def read(request: web.Request) -> web.Response:
    return answer(views.phone(await _find(request)))


async def change(request: web.Request) -> web.Response:
    operator(request)
    wanted = await body(request, bodies.PhoneChange)
    changed = bodies.given(wanted)
    if changed.get("serial") is not None:
        check_text("serial", changed["serial"], 64)
    mac, management = mac_in_path(request), context(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        stored, secret = changes.change_phone(connection, terms, mac, changed)
        shown = views.phone(stored)
        if secret is not None:
            shown.provisioning_url = _url(management, terms, stored, secret)
        return shown, None

    return await once(request, 200, work, masked=("provisioning_url",) if "account" in changed else ())


async def remove(request: web.Request) -> web.Response:
    operator(request)
    mac = mac_in_path(request)
    return await removed(request, lambda connection, terms: changes.remove_phone(connection, terms, mac))


async def promote(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.Promote), mac_in_path(request)
    return await started(request, lambda connection, terms: changes.promote(connection, terms, mac, wanted.line))


async def resync(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.Resync), mac_in_path(request)
    return await started(
        request, lambda connection, terms: changes.resync(connection, terms, mac, reboot=wanted.reboot)
    )


async def reset(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.Reset), mac_in_path(request)
    public_ip = address_given(request, wanted.public_ip)
    return await _with_new_url(request, lambda connection, terms: life.reset(connection, terms, mac, public_ip))


async def ship(request: web.Request) -> web.Response:
    operator(request)
    mac, management = mac_in_path(request), context(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        stored, token = life.ship(connection, terms, mac)
        expires_at = rfc3339(terms.now + terms.bootstrap)
        return bodies.Shipped(views.phone(stored), _url(management, terms, stored, token), expires_at), None

    return await once(request, 200, work, masked=("bootstrap_url",))


async def give_back(request: web.Request) -> web.Response:
    operator(request)
    mac = mac_in_path(request)
    return await started(request, lambda connection, terms: life.give_back(connection, terms, mac))


async def new_secret(request: web.Request) -> web.Response:
    mac = mac_in_path(request)
    return await _with_new_url(request, lambda connection, terms: life.new_secret(connection, terms, mac))


async def open_door(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.OpenDoor), mac_in_path(request)
    public_ip = address_given(request, wanted.public_ip)
    return await once(
        request, 200, lambda connection, terms: (views.phone(life.open_door(connection, terms, mac, public_ip)), None)
    )


async def close_door(request: web.Request) -> web.Response:
    mac = mac_in_path(request)
    return await removed(request, lambda connection, terms: life.close_door(connection, terms, mac))


async def new_code(request: web.Request) -> web.Response:
    mac = mac_in_path(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        code = life.new_code(connection, terms, mac)
        return bodies.ActivationCode(code, rfc3339(terms.now + terms.code)), None

    return await once(request, 200, work, masked=("code",))


async def passwords(request: web.Request) -> web.Response:
    """For the operator's support, not for whoever may only look."""
    stored, management = await _find(request), context(request)
    secret = management.reader.secret(stored.id, stored.phone.mac)
    return answer(views.passwords(secret, management.vendors.catalogue.model(stored.phone.model).family))


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
        raise Refused("document-not-found", f"A {model.title} asks for no {name[:80]}.")
    if wanted.stage:
        held = management.reader.held(stored.id, management.site.settings)
        values = compose.masked(management.site, model, stored.phone.mac, held)
    else:
        values = compose.stage0(management.site, model)
    rendered = management.vendors.renderer.render(wanted, model, values)
    return web.Response(body=rendered, headers={"Content-Type": wanted.content_type})


async def list_uploads(request: web.Request) -> web.Response:
    stored = await _find(request)
    found = await context(request).database.read(uploads.of_phone, stored.id)
    mac = stored.phone.mac
    return page([bodies.Upload(fill_mac(one.shape, mac), one.size, rfc3339(one.at)) for one in found], None)


async def read_upload(request: web.Request) -> web.Response:
    """For the operator's support: a phone's log may name whom it called."""
    stored, name = await _find(request), request.match_info["name"].lower()
    shape = name.replace(stored.phone.mac, "{mac}")
    body = await context(request).database.read(uploads.read, stored.id, shape)
    if body is None:
        raise Refused("document-not-found", f"The phone has sent no {name[:80]}.")
    return web.Response(
        body=body,
        headers={"Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="upload"'},
    )


async def events(request: web.Request) -> web.Response:
    stored, most, after = await _find(request), limit(request), request.query.get("after")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise Refused("invalid-value", "after is the `next` of the page before.", field="after")
    found = await context(request).database.read(
        phones.story, stored.id, before=None if after is None else int(after), limit=most
    )
    items = [bodies.Event(event_id, rfc3339(at), kind, detail) for event_id, at, kind, detail in found]
    return page(items, str(found[-1][0]) if len(found) == most else None)


async def _with_new_url(
    request: web.Request, change: Callable[[Connection, Terms], tuple[Operation, str]]
) -> web.Response:
    """202: the operation, and this once the URL with the phone's new secret."""
    mac, management = mac_in_path(request), context(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        operation, secret = change(connection, terms)
        shown = views.operation(operation, terms.now)
        shown.provisioning_url = _url(management, terms, changes.find_phone(connection, terms, mac), secret)
        return shown, operation_path(operation)

    return await once(request, 202, work, masked=("provisioning_url",))


def _url(management: Management, terms: Terms, stored: StoredPhone, secret: str) -> str:
    model = terms.catalogue.model(stored.phone.model)
    return compose.provisioning_url(management.site, model, stored.phone.mac, secret)


async def _find(request: web.Request) -> StoredPhone:
    mac = mac_in_path(request)
    stored = await context(request).database.read(phones.find, mac, only=token(request).account_id)
    if stored is None:
        raise Refused("phone-not-found", f"There is no phone {spelled(mac)}.")
    return stored
