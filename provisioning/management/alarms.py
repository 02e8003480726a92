"""/v1/alarms"""

from aiohttp import web

from provisioning.management import views
from provisioning.management.context import before, context, limit, operator, page
from provisioning.store import alarms


async def list_alarms(request: web.Request) -> web.Response:
    operator(request)
    most = limit(request)
    found = await context(request).database.read(alarms.page, before=before(request), limit=most)
    return page([views.alarm(alarm) for alarm in found], str(found[-1].id) if len(found) == most else None)
