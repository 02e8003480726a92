"""/v1/phones/{mac}/keys"""

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain import keys as key_rules
from provisioning.domain.errors import Refused
from provisioning.domain.keys import Key
from provisioning.management import bodies, choosing, views
from provisioning.management.changes import Terms
from provisioning.management.context import answer, body, context, mac_given, mac_in_path, once, token
from provisioning.management.snapshots import Subject

_MOST_TARGETS = 500


async def list_keys(request: web.Request) -> web.Response:
    mac, management = mac_in_path(request), context(request)
    terms = management.terms(token(request))

    def find(connection: Connection) -> bodies.Keys:
        phone, model, stored = choosing.keys_of(connection, terms, mac)
        return views.keys(phone, model, stored)

    return answer(await management.database.read(find))


async def put_keys(request: web.Request) -> web.Response:
    wanted = await body(request, bodies.KeysChange)
    return await _put(request, [_key(one) for one in wanted.keys], reboot=wanted.auto_reboot)


async def put_key(request: web.Request) -> web.Response:
    wanted = await body(request, bodies.KeyChange)
    module, number = key_rules.place(request.match_info["key"])
    key = Key(module, number, wanted.type, wanted.value, wanted.label)
    return await _put(request, [key], reboot=wanted.auto_reboot)


async def copy_keys(request: web.Request) -> web.Response:
    wanted, mac = await body(request, bodies.KeysCopy), mac_in_path(request)
    targets = [mac_given(text) for text in wanted.to]
    if not 1 <= len(targets) <= _MOST_TARGETS:
        raise Refused("invalid-value", f"to names 1 to {_MOST_TARGETS} phones.", field="to")

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        return bodies.KeysCopied(
            [views.copied(one) for one in choosing.copy_keys(connection, terms, mac, targets)]
        ), None

    return await once(request, 200, work, subject=Subject("keys", mac))


async def _put(request: web.Request, keys: list[Key], *, reboot: bool) -> web.Response:
    mac = mac_in_path(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        operation = choosing.put_keys(connection, terms, mac, keys, reboot=reboot)
        shown = views.keys(*choosing.keys_of(connection, terms, mac))
        shown.operations = [operation.id]
        return shown, None

    return await once(request, 200, work, subject=Subject("keys", mac))


def _key(given: bodies.NewKey) -> Key:
    return Key(given.module, given.number, given.type, given.value, given.label)
