"""A small registrar and proxy that stands in for the operator's.

It keeps what phones register, with the address they really came from, and relays a NOTIFY there.
Told to, it drops, delays or lies. Nothing is kept on disk, and there is no call in it.
"""

import asyncio
import random
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web

from provisioning.simulator.endpoint import T1, Address, Endpoint, Flow, without_vias
from provisioning.sip import digest
from provisioning.sip.digest import Challenge, Credentials
from provisioning.sip.message import Header, Request, Response

REASONS = {
    200: "OK",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    423: "Interval Too Brief",
    481: "Call/Transaction Does Not Exist",
    483: "Too Many Hops",
    489: "Bad Event",
    503: "Service Unavailable",
}

# Separate header lines, strongest first (RFC 8760 section 2.4): a phone takes the one it knows.
_ALGORITHMS = ("SHA-256", "MD5")
_MOST_NONCES = 65_536
_MOST_RECORDS = 10_000
_MOST_CONTACTS = 10


@dataclass(frozen=True, slots=True)
class Contact:
    uri: str
    "As the phone gave it."
    flow: Flow
    "Where the REGISTER came from: a NOTIFY goes back there, through the phone's NAT."
    user_agent: str
    call_id: str
    cseq: int
    verified: bool
    "Registered with the line's password; False: the password is unknown here."
    expires_at: float
    "By the clock of the event loop."
    modified_at: float
    "By the wall clock."
    ruid: str
    instance: str | None

    @property
    def received(self) -> Address:
        return self.flow.peer


@dataclass(slots=True)
class Record:
    """One request, retransmissions left out."""

    at: float
    method: str
    user: str
    source: Address
    user_agent: str
    event: str
    status: int | None = None
    "What was answered; None: nothing, or nothing yet."


@dataclass(slots=True)
class Faults:
    """What happens to a NOTIFY; to be changed at any time."""

    drop: float = 0.0
    "Chance that it is neither relayed nor answered."
    delay: float = 0.0
    "Seconds before anything is done with it."
    answer_instead: int | None = None
    "This answer at once, and nothing relayed: a 200 is a lie, 481 and 503 are refusals."


@dataclass(frozen=True, slots=True)
class _Issued:
    challenges: OrderedDict[str, tuple[Challenge, int]] = field(default_factory=OrderedDict)
    "By nonce, with the highest `nc` that was used with it: each answer is good for one request."

    def offer(self, realm: str, *, stale: bool) -> tuple[str, ...]:
        made = [digest.challenge(realm, algorithm, stale=stale) for algorithm in _ALGORITHMS]
        for challenge in made:
            self.challenges[challenge.nonce] = challenge, 0
        while len(self.challenges) > _MOST_NONCES:
            self.challenges.popitem(last=False)
        return tuple(map(str, made))

    def take(self, value: str) -> Challenge | None:
        """The challenge that a header answers; None: it was not issued here, or this answer was used."""
        try:
            given = digest.Authorization.parse(value)
        except ValueError:
            return None
        challenge, used = self.challenges.get(given.nonce, (None, 0))
        if challenge is None or (given.nc or 1) <= used:
            return None
        self.challenges[given.nonce] = challenge, given.nc or 1
        return challenge


class Registrar:
    def __init__(
        self,
        passwords: dict[str, str] | None = None,
        *,
        open_registration: bool = False,
        realm: str | None = None,
        notify_credentials: tuple[str, str] | None = None,
        relay_timeout: float = 5.0,
        max_expires: int = 3600,
        rpc: bool = False,
        rpc_port: int = 0,
        t1: float = T1,
    ) -> None:
        """`passwords`, by user part, may be changed while it runs. `realm` is else the domain asked for."""
        self.passwords = {} if passwords is None else passwords
        self.open_registration = open_registration
        self.realm = realm
        self.notify_credentials = notify_credentials
        self.relay_timeout = relay_timeout
        self.max_expires = max_expires
        self.faults = Faults()
        self.records: deque[Record] = deque(maxlen=_MOST_RECORDS)
        self.unverified = 0
        "REGISTERs accepted although the password is not known here."
        self.rpc_url: str | None = None
        self._rpc = rpc
        self._rpc_port = rpc_port
        self._web: web.AppRunner | None = None
        self._endpoint = Endpoint(self._on_request, t1=t1)
        self._contacts: dict[str, dict[str, Contact]] = {}
        self._issued = _Issued()
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random()  # noqa: S311  faults, not secrets

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await self._endpoint.open(host, port, tcp=True)
        if not self._rpc:
            return
        app = web.Application()
        app.router.add_post("/RPC", self._on_rpc)
        self._web = web.AppRunner(app, access_log=None)
        try:
            await self._web.setup()
            await web.TCPSite(self._web, host, self._rpc_port).start()
        except OSError:
            await self.close()
            raise
        rpc_host, rpc_port = self._web.addresses[0][:2]
        self.rpc_url = f"http://{rpc_host}:{rpc_port}/RPC"

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._endpoint.close()
        if self._web is not None:
            await self._web.cleanup()
            self._web = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def address(self) -> Address:
        return self._endpoint.address

    def contacts(self, user: str) -> tuple[Contact, ...]:
        """The unexpired ones, the latest first."""
        now = asyncio.get_running_loop().time()
        known = self._contacts.get(user, {})
        for uri in [uri for uri, contact in known.items() if contact.expires_at <= now]:
            del known[uri]
        if not known:
            self._contacts.pop(user, None)
        return tuple(sorted(known.values(), key=lambda contact: contact.modified_at, reverse=True))

    def users(self) -> tuple[str, ...]:
        return tuple(user for user in tuple(self._contacts) if self.contacts(user))

    def seen(self, method: str, user: str | None = None) -> list[Record]:
        return [r for r in self.records if r.method == method and (user is None or r.user == user)]

    def forget(self, user: str) -> None:
        """As after a restart without a database: the phone does not know that it is not registered."""
        self._contacts.pop(user, None)

    def _on_request(self, request: Request, flow: Flow) -> None:
        record = Record(
            time.time(),
            request.method,
            user_of(address_uri(request.get("To") or "") if request.method == "REGISTER" else request.uri),
            flow.peer,
            request.get("User-Agent") or "",
            request.get("Event") or "",
        )
        self.records.append(record)
        try:
            if request.method == "NOTIFY":
                task = asyncio.create_task(self._notify(request, flow, record))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif request.method == "REGISTER":
                self._register(request, flow, record)
            elif request.method == "OPTIONS":
                self._answer(request, flow, record, 200)
            else:
                self._answer(request, flow, record, 405, ("Allow", "REGISTER, NOTIFY, OPTIONS"))
        except ValueError:
            record.status = None  # without From, To, Call-ID or CSeq there is no answer

    def _answer(self, request: Request, flow: Flow, record: Record, status: int, *headers: Header) -> None:
        response = request.response(
            status, REASONS.get(status, "Unknown"), to_tag=secrets.token_hex(4), headers=headers
        )
        record.status = status
        self._endpoint.reply(request, flow, response)

    def _register(self, request: Request, flow: Flow, record: Record) -> None:
        user = record.user
        given = request.get("Authorization")
        challenge = None if given is None else self._issued.take(given)
        if given is None or challenge is None:
            realm = self.realm or _host(address_uri(request.get("To") or ""))
            offers = self._issued.offer(realm, stale=given is not None)
            self._answer(request, flow, record, 401, *(("WWW-Authenticate", offer) for offer in offers))
            return
        password = self.passwords.get(user)
        if password is None:
            if not self.open_registration:
                self._answer(request, flow, record, 403)
                return
            self.unverified += 1
        elif not digest.verify(given, challenge, Credentials(user, password), method="REGISTER", uri=request.uri):
            self._answer(request, flow, record, 403)
            return
        self._save(request, flow, user, verified=password is not None)
        now = asyncio.get_running_loop().time()
        listed = (
            ("Contact", f"<{contact.uri}>;expires={round(contact.expires_at - now)}") for contact in self.contacts(user)
        )
        self._answer(request, flow, record, 200, *listed)

    def _save(self, request: Request, flow: Flow, user: str, *, verified: bool) -> None:
        """RFC 3261 section 10.3; contacts are told apart by their text."""
        loop_now, now = asyncio.get_running_loop().time(), time.time()
        known = self._contacts.setdefault(user, {})
        for value in request.values("Contact"):
            if value == "*":
                known.clear()
                continue
            uri, parameters = _address(value)
            asked = re.search(r";\s*expires\s*=\s*(\d{1,10})", parameters, re.IGNORECASE)
            header = request.get("Expires") or ""
            seconds = int(asked[1]) if asked else int(header) if re.fullmatch(r"\d{1,10}", header) else 3600
            if seconds == 0:
                known.pop(uri, None)
                continue
            instance = re.search(r'\+sip\.instance="([^"]*)"', parameters, re.IGNORECASE)
            known[uri] = Contact(
                uri=uri,
                flow=flow,
                user_agent=request.get("User-Agent") or "",
                call_id=request.get("Call-ID") or "",
                cseq=request.cseq[0],
                verified=verified,
                expires_at=loop_now + min(seconds, self.max_expires),
                modified_at=now,
                ruid=known[uri].ruid if uri in known else f"uloc-{secrets.token_hex(8)}",
                instance=instance[1] if instance else None,
            )
        while len(known) > _MOST_CONTACTS:
            del known[next(iter(known))]

    async def _notify(self, request: Request, flow: Flow, record: Record) -> None:
        if self._random.random() < self.faults.drop:
            return
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        if self.faults.answer_instead is not None:
            self._answer(request, flow, record, self.faults.answer_instead)
            return
        if not self._may_notify(request):
            offers = self._issued.offer(
                self.realm or _host(request.uri), stale=request.get("Proxy-Authorization") is not None
            )
            self._answer(request, flow, record, 407, *(("Proxy-Authenticate", offer) for offer in offers))
            return
        contacts = self.contacts(record.user)
        hops = request.get("Max-Forwards") or "70"
        if not contacts:
            self._answer(request, flow, record, 404)
        elif not hops.isdecimal() or int(hops) == 0:
            self._answer(request, flow, record, 483)
        else:
            answered = await self._fork(request, contacts, int(hops) - 1)
            if answered is None:
                self._answer(request, flow, record, 408)
                return
            record.status = answered.status
            vias = tuple(("Via", via) for via in request.all("Via"))
            back = replace(answered, headers=(*vias, *without_vias(answered)))
            self._endpoint.reply(request, flow, back)

    def _may_notify(self, request: Request) -> bool:
        if self.notify_credentials is None:
            return True
        given = request.get("Proxy-Authorization")
        challenge = None if given is None else self._issued.take(given)
        if given is None or challenge is None:
            return False
        credentials = Credentials(*self.notify_credentials)
        return digest.verify(given, challenge, credentials, method="NOTIFY", uri=request.uri)

    async def _fork(self, request: Request, contacts: Sequence[Contact], hops: int) -> Response | None:
        """To every contact. A success counts at once; otherwise the lowest answer once all are in, so one
        dead contact turns another's 481 into a late 408, as with Kamailio."""
        headers = tuple(
            header for header in request.headers if header[0].lower() not in ("proxy-authorization", "max-forwards")
        )
        headers = (*headers, ("Max-Forwards", str(hops)))
        asking = [
            asyncio.create_task(
                self._endpoint.ask(
                    replace(request, uri=contact.uri, headers=headers), contact.flow, within=self.relay_timeout
                )
            )
            for contact in contacts
        ]
        try:
            answers = []
            for task in asyncio.as_completed(asking):
                answer = await task
                if answer is not None and answer.status < 300:
                    return answer
                answers.append(answer)
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if None in answers:
            return None
        return min((answer for answer in answers if answer is not None), key=lambda answer: answer.status)

    async def _on_rpc(self, request: web.Request) -> web.Response:
        """What Kamailio's jsonrpcs answers to `ul.lookup`: an error is HTTP 500 with a JSON body."""
        try:
            asked = await request.json()
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return _rpc_error(400, "Invalid JSON", None)
        identity, params = asked.get("id"), asked.get("params")
        if asked.get("method") != "ul.lookup":
            return _rpc_error(500, "Method Not Found", identity)
        # A number where the address of record should stand is, to Kamailio, no parameter.
        if not isinstance(params, list) or len(params) < 2 or not isinstance(params[1], str):
            return _rpc_error(400, "Not enough parameters", identity)
        table, aor = params[:2]
        contacts = self.contacts(aor) if table == "location" else ()
        if not contacts:
            return _rpc_error(500, "AOR not found in location table", identity)
        result = {"AoR": aor, "Contacts": [{"Contact": self._as_kamailio(c)} for c in contacts]}
        return web.json_response({"jsonrpc": "2.0", "result": result, "id": identity})

    def _as_kamailio(self, contact: Contact) -> Mapping[str, Any]:
        host, port = contact.received
        source = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        transport = contact.flow.transport.lower()
        received = f"sip:{source}" if transport == "udp" else f"sip:{source};transport={transport}"
        behind_nat = _host_port(contact.uri) != source
        own_host, own_port = self.address
        return {
            "Address": contact.uri,
            "Expires": max(0, round(contact.expires_at - asyncio.get_running_loop().time())),
            "Q": -1,
            "Call-ID": contact.call_id,
            "CSeq": contact.cseq,
            "User-Agent": contact.user_agent,
            "Received": received if behind_nat else "[not set]",
            "Path": "[not set]",
            "State": "CS_SYNC",
            "Flags": 0,
            "CFlags": 192 if behind_nat else 0,
            "Socket": f"{transport}:{own_host}:{own_port}",
            "Methods": 4294967295,
            "Ruid": contact.ruid,
            "Instance": contact.instance or "[not set]",
            "Reg-Id": 0,
            "Server-Id": 0,
            "Tcpconn-Id": 1 if transport == "tcp" else -1,
            "Keepalive": 1 if behind_nat else 0,
            "Last-Keepalive": int(contact.modified_at),
            "KA-Roundtrip": 0,
            "Last-Modified": int(contact.modified_at),
        }


def address_uri(value: str) -> str:
    """The URI of a From, To or Contact value (RFC 3261 section 20.10)."""
    return _address(value)[0]


def _address(value: str) -> tuple[str, str]:
    """URI and parameters; without angle brackets all parameters are the header's."""
    unnamed = re.sub(r'^\s*"(?:[^"\\]|\\.)*"', "", value)
    if bracketed := re.match(r"[^<;]*<([^<>]*)>(.*)", unnamed, re.DOTALL):
        return bracketed[1], bracketed[2]
    uri, _, parameters = unnamed.partition(";")
    return uri.strip(), f";{parameters}"


def user_of(uri: str) -> str:
    """The user part; empty when there is none."""
    match = re.match(r"sips?:([^@]*)@", uri, re.IGNORECASE)
    return unquote(match[1].partition(":")[0]) if match else ""


def _host_port(uri: str) -> str:
    without_scheme = re.sub(r"^sips?:", "", uri, flags=re.IGNORECASE)
    return re.split(r"[;?]", without_scheme.rpartition("@")[2])[0]


def _host(uri: str) -> str:
    return re.sub(r":\d+$", "", _host_port(uri))


def _rpc_error(code: int, message: str, identity: Any) -> web.Response:
    status = code if code in tuple(HTTPStatus) else 500
    error = {"code": code, "message": message}
    return web.json_response({"jsonrpc": "2.0", "error": error, "id": identity}, status=status)
