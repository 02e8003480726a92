"""/v1/tokens"""

import time
from datetime import datetime

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies, changes, views
from provisioning.management.changes import Terms
from provisioning.management.context import body, context, limit, need, once, operator, page, removed, token
from provisioning.management.snapshots import Subject
from provisioning.store import tokens


async def list_tokens(request: web.Request) -> web.Response:
    operator(request)
    most = limit(request)
    found = await context(request).database.read(tokens.page, after=request.query.get("after", ""), limit=most)
    return page([views.token(stored) for stored in found], found[-1].id if len(found) == most else None)


async def create(request: web.Request) -> web.Response:
    operator(request)
    new = await body(request, bodies.NewToken)
    check_text("name", new.name, 100)
    expires_at = None if new.expires_at is None else _time(new.expires_at)
    token_id = tokens.new_id()

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        owner = None if new.account is None else changes.find_account(connection, terms, new.account).id
        _, text = tokens.add(connection, new.name, owner, terms.now, new.scope, expires_at, token_id)
        shown = views.token(tokens.get(connection, token_id))
        shown.token = text
        return shown, f"/v1/tokens/{token_id}"

    return await once(request, 201, work, subject=Subject("token", token_id), masked=("token",))


async def remove(request: web.Request) -> web.Response:
    """Any token may remove itself."""
    wanted = request.match_info["id"]
    if token(request).id != wanted:
        operator(request)
        need(request, "admin")

    def change(connection: Connection, _: Terms) -> None:
        if not tokens.remove(connection, wanted):
            raise Refused("token-not-found", f"There is no token {wanted[:40]!r}.")

    return await removed(request, change)


def _time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Refused("invalid-value", f"expires_at is a time such as {rfc3339(time.time())}.", field="expires_at")
    return tokens.check_expiry(found.timestamp(), time.time())
