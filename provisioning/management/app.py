"""The management listener: its routes, in one list, and what holds for all of them."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web
from sqlalchemy.exc import SQLAlchemyError

from provisioning.domain.errors import Fault, Refused
from provisioning.management import accounts, bodies, health, lines, openapi, operations, phones
from provisioning.management.context import CONTEXT, TOKEN, Management
from provisioning.management.problem import respond
from provisioning.store import tokens
from provisioning.store.database import is_busy

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    does: str
    takes: type[Any] | None = None
    gives: type[Any] | None = None
    status: int = 200
    paged: bool = False
    query: tuple[str, ...] = ()
    token: bool = True


ROUTES = (
    Route("GET", "/v1/accounts", accounts.list_accounts, "Accounts", gives=bodies.Account, paged=True),
    Route("POST", "/v1/accounts", accounts.create, "Make an account", bodies.NewAccount, bodies.Account, 201),
    Route("GET", "/v1/accounts/{account}", accounts.read, "One account", gives=bodies.Account),
    Route("PATCH", "/v1/accounts/{account}", accounts.change, "Rename it", bodies.AccountChange, bodies.Account),
    Route("DELETE", "/v1/accounts/{account}", accounts.remove, "Remove it, once it owns nothing", status=204),
    Route("GET", "/v1/lines", lines.list_lines, "Lines", gives=bodies.Line, paged=True, query=("account",)),
    Route("POST", "/v1/lines", lines.create, "Make a line", bodies.NewLine, bodies.Line, 201),
    Route("GET", "/v1/lines/{line}", lines.read, "One line, with its phone and slot", gives=bodies.Line),
    Route("PATCH", "/v1/lines/{line}", lines.change, "Change it; its phone is told", bodies.LineChange, bodies.Line),
    Route("DELETE", "/v1/lines/{line}", lines.remove, "Remove it, once it is on no phone", status=204),
    Route(
        "GET",
        "/v1/lines/{line}/attachable-phones",
        lines.attachable_phones,
        "Every phone of the account: whether the line can be attached to it, and if not, why",
        gives=bodies.AttachablePhone,
        paged=True,
    ),
    Route("POST", "/v1/lines/{line}/attach", lines.attach, "Put it into a slot", bodies.Attach, bodies.Operation, 202),
    Route("POST", "/v1/lines/{line}/detach", lines.detach, "Take it out", bodies.Detach, bodies.Operation, 202),
    Route("GET", "/v1/phones", phones.list_phones, "Phones", gives=bodies.Phone, paged=True, query=("account",)),
    Route("POST", "/v1/phones", phones.create, "Make a phone", bodies.NewPhone, bodies.Phone, 201),
    Route("GET", "/v1/phones/{mac}", phones.read, "One phone", gives=bodies.Phone),
    Route("PATCH", "/v1/phones/{mac}", phones.change, "Change it", bodies.PhoneChange, bodies.Phone),
    Route("DELETE", "/v1/phones/{mac}", phones.remove, "Remove it, once it holds no line", status=204),
    Route(
        "POST",
        "/v1/phones/{mac}/promote",
        phones.promote,
        "Make one of its lines the main line",
        bodies.Promote,
        bodies.Operation,
        202,
    ),
    Route("POST", "/v1/phones/{mac}/resync", phones.resync, "Make it fetch now", bodies.Resync, bodies.Operation, 202),
    Route(
        "POST",
        "/v1/phones/{mac}/reset",
        phones.reset,
        "Give it a new secret and open a door for it",
        bodies.Reset,
        bodies.Operation,
        202,
    ),
    Route("GET", "/v1/phones/{mac}/documents", phones.documents, "What it asks for", gives=bodies.Document, paged=True),
    Route("GET", "/v1/phones/{mac}/documents/{name}", phones.document, "One document, its secrets masked"),
    Route("GET", "/v1/phones/{mac}/events", phones.events, "Its story", gives=bodies.Event, paged=True),
    Route("GET", "/v1/models", phones.list_models, "Models", gives=bodies.Model, paged=True),
    Route("GET", "/v1/models/{model}", phones.read_model, "One model", gives=bodies.Model),
    Route(
        "GET",
        "/v1/operations",
        operations.list_operations,
        "Operations, the newest first",
        gives=bodies.Operation,
        paged=True,
        query=("phone", "line", "state"),
    ),
    Route("GET", "/v1/operations/{id}", operations.read, "One operation", gives=bodies.Operation),
    Route("GET", "/healthz", health.healthz, "This process answers", token=False),
    Route("GET", "/readyz", health.readyz, "It can serve", token=False),
    Route("GET", "/metrics", health.metrics, "Counters for Prometheus", token=False),
)


def application(management: Management) -> web.Application:
    app = web.Application(middlewares=[_middleware], client_max_size=LARGEST_BODY)
    app[CONTEXT] = management
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)
    description = msgspec.json.encode(openapi.describe(ROUTES))

    async def describe(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    app.router.add_get(openapi.PATH, describe)
    return app


_OPEN = {openapi.PATH, *(route.path for route in ROUTES if not route.token)}


@web.middleware
async def _middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who asks; and every way to fail, as a problem document."""
    management = request.app[CONTEXT]
    management.metrics.count("management_requests_total")
    try:
        if request.path not in _OPEN:
            request[TOKEN] = await _token(request, management)
        return await handler(request)
    except Refused as refused:
        return respond(refused)
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


async def _token(request: web.Request, management: Management) -> tokens.Token:
    scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    found = None
    if scheme.lower() == "bearer" and text:
        found = await management.database.read(tokens.find, text.strip())
    if found is None:
        raise Refused("unauthorized", "Give a valid token: `Authorization: Bearer ...`.")
    return found


def _route(request: web.Request) -> str:
    """The route's pattern, for a log: the path itself may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"
