"""/v1/unknown-phones: those that asked and are nobody's."""

from aiohttp import web
from sqlalchemy import Connection

from provisioning.management import choosing, views
from provisioning.management.changes import Terms
from provisioning.management.context import context, limit, mac_in_path, operator, page, removed
from provisioning.management.snapshots import Subject
from provisioning.store import unknown


async def list_unknown(request: web.Request) -> web.Response:
    operator(request)
    most, after = limit(request), request.query.get("after", "")
    found = await context(request).database.read(unknown.page, after=after, limit=most)
    return page([views.unknown(one) for one in found], found[-1].mac if len(found) == most else None)


async def forget(request: web.Request) -> web.Response:
    operator(request)
    mac = mac_in_path(request)

    def work(connection: Connection, _: Terms) -> None:
        if not unknown.forget(connection, mac):
            raise choosing.missing(mac)

    return await removed(request, work, subject=Subject("unknown-phone", mac))
