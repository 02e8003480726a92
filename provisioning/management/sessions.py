"""/v1/sessions: the console's. A cookie that scripts cannot read, in the place of a token."""

import math
import time

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain.errors import Refused
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies
from provisioning.management.callers import CALLERS, COOKIE, Caller, forget
from provisioning.management.context import answer, body, caller, context
from provisioning.store import audit, sessions, tokens
from provisioning.store.sessions import Session
from provisioning.store.tokens import Token


async def create(request: web.Request) -> web.Response:
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        # No cookie tells yet whose browser it is: a site that sends its own token would have the
        # console's user work under another's name.
        raise Refused("cross-site", "Another site sent this; sign in on the console's own page.")
    wanted = await body(request, bodies.NewSession)
    callers, management, now = request.app[CALLERS], context(request), time.time()
    its = callers.token(wanted.token.strip(), now)
    if its is None:
        raise callers.refused(callers.address(request))
    expires_at = min(now + management.config.management.session_hours * 3600, its.expires_at or math.inf)
    author = Caller(its, None, callers.shown(request)).author

    def begin(connection: Connection) -> str:
        if tokens.find(connection, its.id) is None:
            raise Refused("unauthorized", "The token was removed a moment ago.")
        session = sessions.add(connection, its.id, now, expires_at)
        after = {"expires_at": rfc3339(expires_at)}
        audit.recorded(connection, author, now, "session.create", f"token {its.id}", None, after)
        return session

    session = await management.database.write(begin)
    response = answer(_shown(its, expires_at), 201, "/v1/sessions/current")
    response.set_cookie(
        COOKIE,
        session,
        path="/",
        max_age=int(expires_at - now),
        secure=callers.is_https(request),
        httponly=True,
        samesite="Strict",
    )
    return response


async def read(request: web.Request) -> web.Response:
    session = _session(request)
    return answer(_shown(session.token, session.expires_at))


async def remove(request: web.Request) -> web.Response:
    session, author, now = _session(request), caller(request).author, time.time()

    def end(connection: Connection) -> None:
        if sessions.remove(connection, session.hash):
            before = {"expires_at": rfc3339(session.expires_at)}
            audit.recorded(connection, author, now, "session.remove", f"token {session.token.id}", before, None)

    await context(request).database.write(end)
    response = web.Response(status=204)
    forget(request, response)
    return response


def _session(request: web.Request) -> Session:
    session = caller(request).session
    if session is None:
        raise Refused("session-not-found", "This request came with a token, not with a session's cookie.")
    return session


def _shown(its: Token, expires_at: float) -> bodies.Session:
    return bodies.Session(its.name, its.scope, its.account, rfc3339(expires_at))
