"""/v1/audit"""

from aiohttp import web

from provisioning.management import views
from provisioning.management.context import before, context, limit, operator, page
from provisioning.store import audit


async def list_entries(request: web.Request) -> web.Response:
    operator(request)
    most = limit(request)
    found = await context(request).database.read(
        audit.page, subject=request.query.get("subject"), before=before(request), limit=most
    )
    return page([views.audit_entry(entry) for entry in found], str(found[-1].id) if len(found) == most else None)
