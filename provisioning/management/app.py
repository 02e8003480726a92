"""The management listener: what holds for all of its routes."""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
from aiohttp import hdrs, web
from sqlalchemy.exc import SQLAlchemyError

from provisioning.domain.errors import Fault, Refused
from provisioning.management import openapi
from provisioning.management.callers import CALLERS, COOKIE, Callers, forget
from provisioning.management.context import CALLER, CONTEXT, Management, need
from provisioning.management.listener import REQUEST_SECONDS
from provisioning.management.problem import respond
from provisioning.management.routes import ROUTES, Handler
from provisioning.store.database import is_busy

log = logging.getLogger(__name__)

LARGEST_BODY = 512 * 1024
"A phonebook of a thousand contacts."


def application(management: Management) -> web.Application:
    app = web.Application(middlewares=[_middleware], client_max_size=LARGEST_BODY)
    app[CONTEXT] = management
    app[CALLERS] = Callers(management.config, management.metrics)
    app.cleanup_ctx.append(_callers)
    app.on_response_prepare.append(_name)
    for route in ROUTES:
        app.router.add_route(route.method, _pattern(route.path), route.handler)
    description = msgspec.json.encode(openapi.describe(ROUTES))

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    app.router.add_get(openapi.PATH, describe)
    return app


def _pattern(path: str) -> str:
    """A contact and a key are numbers, so that `phonebook/import` and `keys/copy` are neither."""
    return path.replace("{contact}", r"{contact:\d+}").replace("{key}", r"{key:[\d.]+}")


async def _callers(app: web.Application) -> AsyncIterator[None]:
    app[CALLERS].start()
    yield
    await app[CALLERS].close()


_SCOPES = {(route.method, route.path): route.needs for route in ROUTES}
_OPEN = {openapi.PATH, *(route.path for route in ROUTES if not route.token)}


@web.middleware
async def _middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who asks; and every way to fail, as a problem document."""
    management = request.app[CONTEXT]
    management.metrics.count("management_requests_total")
    try:
        if request.path not in _OPEN:
            request[CALLER] = request.app[CALLERS].known(request)
            need(request, _SCOPES.get((request.method, _route(request)), "read"))
        if request.body_exists:
            await _body(request)
        return await handler(request)
    except Refused as refused:
        response = respond(refused)
        if response.status in (401, 429) and COOKIE in request.cookies:
            forget(request, response)
        return response
    except web.HTTPMethodNotAllowed as error:
        response = respond(Refused("method-not-allowed", f"Allowed here: {', '.join(sorted(error.allowed_methods))}."))
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except web.HTTPRequestEntityTooLarge:
        return respond(Refused("body-too-large", f"A body has at most {LARGEST_BODY} bytes."))
    except web.HTTPNotFound:
        return respond(Refused("not-found", f"There is nothing here; {openapi.PATH} describes what there is."))
    except SQLAlchemyError as error:
        if is_busy(error):
            return respond(Refused("busy", "Somebody else is writing; nothing was changed. Try again."))
        # Its text would quote the statement's values.
        log.error("the database failed: %s", type(getattr(error, "orig", error)).__name__)  # noqa: TRY400
        return respond(Refused("storage-failed", "The database cannot be written or read; nothing was changed."))
    except (ConnectionError, web.HTTPException):
        raise
    except Exception as error:  # noqa: BLE001  whatever is broken, the caller gets a problem document
        told = str(error) if isinstance(error, Fault) else ""
        log.error("%s %s is broken: %s %s", request.method, _route(request), type(error).__name__, told)  # noqa: TRY400
        return respond(Refused("broken", "This is our fault, and it is logged."))


async def _body(request: web.Request) -> None:
    """Read here, for all handlers: whole, as it was sent, and in time."""
    if hdrs.CONTENT_ENCODING in request.headers:
        raise Refused("content-encoding", "A body is sent as it is, without Content-Encoding.")
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            await request.read()
    except TimeoutError:
        raise Refused("body-too-slow", f"The body did not come within {REQUEST_SECONDS:.0f} seconds.") from None


async def _name(_: web.Request, response: web.StreamResponse) -> None:
    """What software this is built of is nobody's business."""
    response.headers["Server"] = "provisioning"


def _route(request: web.Request) -> str:
    """The route's pattern, for a log: the path itself may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"
