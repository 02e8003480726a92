"""/v1/operations"""

import time
from typing import cast

from aiohttp import web

from provisioning.domain.errors import Refused
from provisioning.domain.operation import State
from provisioning.management import views
from provisioning.management.context import answer, context, limit, mac_given, page, token
from provisioning.store import operations

_STATES = ("todo", "doing", "done", "error")


async def read(request: web.Request) -> web.Response:
    wanted = request.match_info["id"]
    found = await context(request).database.read(operations.find, wanted, only=token(request).account_id)
    if found is None:
        raise Refused("operation-not-found", f"There is no operation {wanted[:64]}.")
    return answer(views.operation(found, time.time()))


async def list_operations(request: web.Request) -> web.Response:
    query, most, now = request.query, limit(request), time.time()
    state = query.get("state")
    if state is not None and state not in _STATES:
        raise Refused("invalid-value", f"state is one of {', '.join(_STATES)}.", field="state")
    found = await context(request).database.read(
        operations.page,
        account_id=token(request).account_id,
        mac=mac_given(query["phone"]) if "phone" in query else None,
        line=query.get("line"),
        state=cast("State | None", state),
        before=query.get("after"),
        limit=most,
        now=now,
    )
    return page([views.operation(stored, now) for stored in found], found[-1].id if len(found) == most else None)
