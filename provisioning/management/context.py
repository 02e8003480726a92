"""What every handler of the management API has at hand, and how it reads a request."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain import mac as macs
from provisioning.domain.address import Address
from provisioning.domain.errors import Refused
from provisioning.domain.mac import Mac
from provisioning.domain.phone import Asking
from provisioning.domain.sighting import Sighting
from provisioning.management import bodies, views
from provisioning.management.callers import Caller
from provisioning.management.changes import Terms, terms_now
from provisioning.management.snapshots import Subject, audited
from provisioning.metrics import Metrics
from provisioning.rendering.compose import Site
from provisioning.store import tokens
from provisioning.store.database import Database
from provisioning.store.fetch import PhoneReader
from provisioning.store.operations import Operation, Resync
from provisioning.store.secrets import KeyRing
from provisioning.store.tokens import Scope, Token
from provisioning.vendors import Vendors

T = TypeVar("T")

PAGE = 100
MOST_A_PAGE = 1000


@dataclass(slots=True)
class Management:
    config: Config
    database: Database
    keys: KeyRing
    reader: PhoneReader
    metrics: Metrics
    vendors: Vendors
    "Replaced when the catalogue is reloaded; a request takes it once."
    site: Site
    claim: Callable[[Connection], list[Resync]]
    "Takes, in a change's transaction, the resyncs that are due for this process's worker to send."
    tell: Callable[[list[Resync]], None]
    "Has the worker send them, once they are committed."
    locate: Callable[[str], Awaitable[list[Sighting]]] | None = None
    "Where the operator's registrar sees an address of record; None where it cannot be asked."

    def terms(self, token: Token) -> Terms:
        return terms_now(self.config, self.vendors, self.keys, token.account_id)


CONTEXT = web.AppKey("management", Management)
CALLER = web.RequestKey("caller", Caller)


def context(request: web.Request) -> Management:
    return request.app[CONTEXT]


def caller(request: web.Request) -> Caller:
    return request[CALLER]


def token(request: web.Request) -> Token:
    """Also of a session: it acts as its token does."""
    return request[CALLER].token


def need(request: web.Request, scope: Scope) -> None:
    """Refused: `forbidden` for a token of a lesser scope."""
    its = token(request)
    if not its.allows(scope):
        raise Refused("forbidden", f"This token's scope is {its.scope}; this takes the scope {scope}.", scope=scope)


def operator(request: web.Request) -> Token:
    """Refused: `forbidden` for a token that is restricted to an account."""
    its = token(request)
    if not its.operator:
        raise Refused("forbidden", f"This token acts for the account {its.account} only; operators do this.")
    return its


async def body(request: web.Request, kind: type[T]) -> T:
    try:
        return bodies.decode(await request.read(), kind)  # type: ignore[no-any-return]  # it is a `kind`
    except msgspec.ValidationError as error:
        raise Refused("invalid-value", f"{error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("invalid-json", "The body is not the JSON that is expected here.") from None


def mac_in_path(request: web.Request) -> Mac:
    """A MAC that is none is the MAC of no phone."""
    try:
        return macs.parse(request.match_info["mac"])
    except ValueError:
        raise Refused("phone-not-found", f"There is no phone {request.match_info['mac'][:40]!r}.") from None


def mac_given(text: str) -> Mac:
    try:
        return macs.parse(text)
    except ValueError as error:
        raise Refused("mac-malformed", f"{text[:40]!r}: {error}.") from None


def asking(request: web.Request, public_ip: str | None, mac: str | None) -> Asking:
    config = context(request).config
    return Asking(
        public_ip=None if public_ip is None else address_given(request, public_ip),
        mac=None if mac is None else mac_given(mac),
        operator=token(request).operator,
        now=time.time(),
        freshness=config.network.freshness,
    )


def address_given(request: web.Request, text: str) -> Address:
    allowed = context(request).config.network.private_addresses
    return addresses.parse_public_ip(text.strip(), private_addresses=allowed)


def limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_A_PAGE):
        raise Refused("invalid-value", f"limit is a number from 1 to {MOST_A_PAGE}.", field="limit")
    return int(text)


def before(request: web.Request) -> int | None:
    """Where a page of what is numbered, the newest first, goes on."""
    after = request.query.get("after")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise Refused("invalid-value", "after is the `next` of the page before.", field="after")
    return None if after is None else int(after)


def answer(value: object, status: int = 200, location: str | None = None) -> web.Response:
    headers = {} if location is None else {"Location": location}
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers
    )


def page(items: list[Any], cursor: str | None) -> web.Response:
    """`cursor` is given back as `after` to read on; null at the end."""
    return answer({"items": items, "next": cursor})


async def once(
    request: web.Request,
    status: int,
    work: Callable[[Connection, Terms], tuple[object, str | None]],
    *,
    subject: Subject | None = None,
    masked: Iterable[str] = (),
) -> web.Response:
    """Runs a change in one transaction, with its row in the audit log; under an Idempotency-Key at most once.

    `work` gives the answer's value, None for none, and its Location. A retry under the same key gets
    the first answer again, marked Idempotency-Replayed; another request under it is refused.
    The row tells the handler's name, and the subject: what the path names, or what a creation names
    here; `masked` are the secrets that the change sets, by their names.
    """
    who, management, verb = caller(request), context(request), request.match_info.handler.__name__
    its, about = who.token, _in_path(request) if subject is None else subject
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= 255 and key.isprintable()):
        raise Refused("invalid-value", "Idempotency-Key is 1 to 255 printable characters.", field="Idempotency-Key")
    asked = tokens.request_hash(request.method, request.path, await request.read())

    def unit(connection: Connection) -> tuple[bytes, str | None, bool, list[Resync]]:
        terms = management.terms(its)
        if key is not None:
            given = tokens.given_answer(connection, management.keys, its.id, key, terms.now)
            if given is not None:
                if given[0] != asked:
                    raise Refused("idempotency-key-reused", "Another request was made under this Idempotency-Key.")
                location, _, text = given[1].partition("\n")
                return text.encode(), location or None, True, []
        value, location_now = audited(
            connection, who.author, terms.now, verb, about, lambda: work(connection, terms), masked
        )
        encoded = b"" if value is None else msgspec.json.encode(value)
        if key is not None:
            kept = f"{location_now or ''}\n{encoded.decode()}"
            tokens.keep_answer(connection, management.keys, its.id, key, asked, kept, terms.now)
        return encoded, location_now, False, management.claim(connection)

    encoded, location, replayed, claimed = await management.database.write(unit)
    management.tell(claimed)
    response = web.Response(status=status)
    if encoded:
        response = web.Response(status=status, body=encoded, content_type="application/json")
    if location is not None:
        response.headers["Location"] = location
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _in_path(request: web.Request) -> Subject:
    names = request.match_info
    if "mac" in names:
        return Subject("phone", mac_in_path(request))
    kind = next(kind for kind in ("line", "account", "id") if kind in names)
    return Subject("token" if kind == "id" else kind, names[kind])


async def removed(
    request: web.Request, change: Callable[[Connection, Terms], None], subject: Subject | None = None
) -> web.Response:
    """204, and what the path names is gone."""

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        change(connection, terms)
        return None, None

    return await once(request, 204, work, subject=subject)


async def started(request: web.Request, change: Callable[[Connection, Terms], Operation]) -> web.Response:
    """202 and the operation that `change` began."""

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        operation = change(connection, terms)
        return views.operation(operation, terms.now), operation_path(operation)

    return await once(request, 202, work)


def operation_path(operation: Operation) -> str:
    return f"/v1/operations/{operation.id}"
