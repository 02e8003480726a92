"""Who asks: the token or session that a request shows, from which address; and those who show a wrong one.

Wrong ones are counted by place, each worker by itself, and past a bound answered 429. They are
looked up first all the same: behind one proxy or router a valid token works whatever others try,
and 256 random bits are not guessed; the bound is for noise, and for whoever reads the log.
"""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import hdrs, web

from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain.address import Address
from provisioning.domain.errors import Refused
from provisioning.metrics import Metrics
from provisioning.store.audit import Author
from provisioning.store.sessions import CallerReader, Session, Use
from provisioning.store.tokens import Token

log = logging.getLogger(__name__)
guard = logging.getLogger("provisioning.guard")

COOKIE = "session"
SAFE = ("GET", "HEAD", "OPTIONS")
WINDOW = 600.0
"Seconds from a place's first failure in which its failures are counted together."
MOST_PLACES = 10_000
NOTED_EACH = 60.0
"Seconds after which a token's last use, or a session's, is noted again."
PAUSE = 1.0
"Seconds in which uses gather before they are written."


@dataclass(frozen=True, slots=True)
class Caller:
    token: Token
    session: Session | None
    address: str

    @property
    def author(self) -> Author:
        """The first word tells the kind, for a token's name is free text."""
        kind = "token" if self.session is None else "session of"
        return Author(f"{kind} {self.token.name} ({self.token.id})", self.address)


class Failures:
    """How often each place failed lately; of very many places, the longest quiet is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def count(self, place: str, now: float) -> float | None:
        """One more. Seconds until the place starts afresh, if it has failed too often; None if not."""
        begun, earlier = self._places.pop(place, (now, 0))
        if now - begun >= WINDOW:
            begun, earlier = now, 0
        self._places[place] = (begun, earlier + 1)
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)
        return None if earlier < self._most else begun + WINDOW - now


class Callers:
    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._reader = CallerReader(config.database_path)
        self._trusted = config.network.trusted_proxies
        self._failures = Failures(config.management.failures)
        self._metrics = metrics
        self._used: dict[str, Use] = {}
        self._seen: dict[bytes, float] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="last uses")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._note()
        self._reader.close()

    def known(self, request: web.Request) -> Caller:
        """Refused: `unauthorized` or `too-many-failures`; `cross-site`, see `same_site`."""
        now, address = time.time(), self.address(request)
        authorization, cookie = request.headers.get(hdrs.AUTHORIZATION, ""), request.cookies.get(COOKIE)
        token: Token | None = None
        session: Session | None = None
        if authorization:
            scheme, _, shown = authorization.partition(" ")
            token = self.token(shown.strip(), now) if scheme.lower() == "bearer" else None
        else:
            shown = cookie or ""
            session = self._reader.session(shown) if shown.isascii() else None
            if session is not None and session.is_valid(now):
                token = session.token
        if token is None:
            raise self.refused(address, counted=bool(shown.strip()))
        same_site(request, session)
        caller = Caller(token, session, _text(address))
        self._note_use(caller, now)
        return caller

    def token(self, shown: str, now: float) -> Token | None:
        found = self._reader.token(shown) if shown.isascii() else None
        return found if found is not None and found.is_valid(now) else None

    def refused(self, address: Address | None, *, counted: bool = True) -> Refused:
        """What to raise. Who shows nothing has guessed nothing, and is not counted."""
        self._metrics.count("management_refused_total")
        if counted:
            guard.warning("management refused %s", _text(address))
            place = "" if address is None else addresses.place(address)
            wait = self._failures.count(place, time.monotonic())
            if wait is not None:
                seconds = math.ceil(wait)
                return Refused(
                    "too-many-failures",
                    f"Too many wrong tokens came from your address; give a valid one, or wait {seconds} s.",
                    retry_after=seconds,
                )
        return Refused("unauthorized", "Give a valid token: `Authorization: Bearer ...`.")

    def shown(self, request: web.Request) -> str:
        return _text(self.address(request))

    def address(self, request: web.Request) -> Address | None:
        """None: a trusted proxy did not say."""
        return addresses.client(_peer(request), request.headers.getall("X-Forwarded-For", []), self._trusted)

    def is_https(self, request: web.Request) -> bool:
        """As far as a trusted proxy says; the listener itself has no TLS."""
        peer = _peer(request)
        told = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        return peer is not None and addresses.within(peer, self._trusted) and told == "https"

    def _note_use(self, caller: Caller, now: float) -> None:
        """Behind the answer, and a few of them at once; see `store.sessions.CallerReader.note`."""
        its, session = caller.token, caller.session
        if its.used_at is None or abs(now - its.used_at) >= NOTED_EACH:
            self._used[its.id] = Use(now, caller.address)
            self._news.set()
        if session is not None and abs(now - session.seen_at) >= NOTED_EACH:
            self._seen[session.hash] = now
            self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(PAUSE)
            await self._note()

    async def _note(self) -> None:
        """What cannot be written is left: the next use is noted instead."""
        used, self._used = self._used, {}
        seen, self._seen = self._seen, {}
        if used or seen:
            try:
                await asyncio.to_thread(self._reader.note, used, seen)
            except sqlite3.Error as error:
                log.info("last uses were not noted: %s", type(error).__name__)


CALLERS = web.AppKey("callers", Callers)


def same_site(request: web.Request, session: Session | None) -> None:
    """Refused: `cross-site`, for what another site makes the console's browser send.

    One rule: a change that comes with a session must carry `X-Requested-With: console`. Another
    site can send the cookie along only where SameSite=Strict fails, and can never add this header:
    its browser would ask us first (CORS), and we never allow it. A bearer token needs none, for no
    browser adds it by itself.
    """
    if session is None or request.method in SAFE:
        return
    if request.headers.get("X-Requested-With") != "console":
        raise Refused("cross-site", "A change with a session's cookie needs the header X-Requested-With: console.")


def forget(request: web.Request, response: web.StreamResponse) -> None:
    """The browser drops its cookie."""
    secure = request.app[CALLERS].is_https(request)
    response.del_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="Strict")


def _peer(request: web.Request) -> Address | None:
    return None if request.remote is None else addresses.parse(request.remote)


def _text(address: Address | None) -> str:
    return "unknown" if address is None else str(address)
