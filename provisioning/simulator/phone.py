"""One simulated phone: boots, keeps its lines registered, and does what its vendor's phones do when told.

While it is plugged in, two tasks run: one fetches the configuration, the other keeps its lines
registered. A NOTIFY only leaves a mark and wakes the first; a configuration wakes the second.
"""

import asyncio
import random
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from provisioning.domain import mac as macs
from provisioning.simulator import dialects, fetching
from provisioning.simulator.dialects.base import Answer, Ask, Handset, ReadConfiguration, ReadContact, ReadLine, read
from provisioning.simulator.endpoint import T1, Endpoint, Flow
from provisioning.simulator.misbehaviour import NONE, Misbehaviour
from provisioning.simulator.registration import Registration, register
from provisioning.sip import digest
from provisioning.sip.digest import Credentials
from provisioning.sip.message import Header, Request

_MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is printed for a phone: all it knows at its first boot."""

    mac: str
    vendor: str
    model: str
    provisioning_url: str = field(repr=False)
    common: tuple[str, ...] = ()
    "The files without a MAC in their name that its model asks for."
    family: str = ""
    "Of the vendor's; empty: its first."


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a phone lives; the defaults are a real one's."""

    poll_scale: float = 1.0
    "What the configuration's poll interval is multiplied by."
    retry_first: float = 5.0
    retry_most: float = 300.0
    "Seconds after a failed fetch or REGISTER: doubled from the first to the most."
    expires: int = 600
    "Seconds asked for in REGISTER."
    http_timeout: float = 30.0
    sip_timeout: float = 32.0
    t1: float = T1


@dataclass(frozen=True, slots=True)
class Notified:
    at: float
    event: str
    status: int | None
    "What the phone answered; None: nothing."


Listener = Callable[["Phone", str, str], None]
"Told of: booted, fetched, failed, notified, registered, unregistered, refused, offline, online."


class Phone:
    def __init__(
        self,
        sheet: Sheet,
        *,
        address: str = "127.0.0.1",
        misbehaviour: Misbehaviour = NONE,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
        neighbour: str | None = None,
        on_event: Listener | None = None,
        seed: int | None = None,
    ) -> None:
        """`address` is the phone's own, for HTTP and SIP; `neighbour` the MAC that it asks for when it lies,
        else the next one."""
        self.sheet = sheet
        self.mac = macs.parse(sheet.mac)
        self.dialect = dialects.of(sheet.vendor, sheet.family)
        self.address = address
        self.misbehaviour = misbehaviour
        self.neighbour = macs.parse(neighbour or f"{(int(self.mac, 16) + 1) % 2**48:012x}")
        self.provisioning_url = sheet.provisioning_url
        self.configuration: ReadConfiguration | None = None
        self.booted = False
        "Holds a configuration that it fetched since it was last plugged in."
        self.online = False
        self.problem = ""
        "Why the last fetch failed; empty when it did not."
        self.fetches: deque[fetching.Fetch] = deque(maxlen=_MOST_KEPT)
        self.notifies: deque[Notified] = deque(maxlen=_MOST_KEPT)
        self.fetch_count = 0
        self.notify_count = 0
        self.resyncs = 0
        "Check-syncs answered 200."
        self.resyncs_fetched = 0
        "Those of them that a complete fetch followed."
        self.foreign_lines = 0
        "Lines of other phones that the server gave to this one: must be 0."
        self.contacts: tuple[ReadContact, ...] = ()
        "Of the phonebook that it downloaded."

        self._pace = pace or Pace()
        self._tls = tls
        self._on_event = on_event
        self._random = random.Random(seed)  # noqa: S311  misbehaviour, not secrets
        self._user_agent = self.dialect.sip_agent(self._handset())
        self._endpoint = Endpoint(self._on_request, t1=self._pace.t1)
        self._etags: dict[str, str] = {}
        self._own_url = ""
        self._registrations: dict[tuple[str, str], Registration] = {}
        self._waiting = 0  # check-syncs that no fetch has followed yet
        self._reboot = False
        self._challenge: digest.Challenge | None = None
        self._fetch_now = asyncio.Event()
        self._register_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._return: asyncio.TimerHandle | None = None
        self._broken: BaseException | None = None

    async def start(self) -> None:
        """Plugged in: boots by itself from now on."""
        await self._endpoint.open(self.address)
        self._plug_in()

    async def close(self) -> None:
        """Pulled out for good, without a word to the registrar."""
        self._unplug()
        if self._life is not None:
            await asyncio.wait((self._life,))
        await self._endpoint.close()
        if self._broken is not None:
            raise self._broken

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def go_offline(self) -> None:
        """No HTTP and no SIP, as behind a pulled plug; what it registered stays registered elsewhere."""
        if self.online:
            self._unplug()
            self._tell("offline", "unplugged")

    def come_back(self) -> None:
        """Plugged in again: boots."""
        if not self.online:
            self._tell("online", "plugged in again")
            self._plug_in()

    def factory_reset(self, provisioning_url: str | None = None) -> None:
        """Forgets everything and boots from what is printed for it, or from a new URL."""
        self._unplug()
        self.provisioning_url = provisioning_url or self.sheet.provisioning_url
        self.configuration = None
        self._etags.clear()
        self._plug_in()

    def fetch_again(self) -> None:
        """As at a poll, now."""
        self._fetch_now.set()

    @property
    def lines(self) -> tuple[ReadLine, ...]:
        """The active lines of the configuration, registered or not."""
        return self.configuration.lines if self.configuration else ()

    @property
    def registered_lines(self) -> tuple[ReadLine, ...]:
        now = asyncio.get_running_loop().time()
        return tuple(r.line for r in self._registrations.values() if r.expires_at > now)

    @property
    def registrations(self) -> tuple[Registration, ...]:
        return tuple(self._registrations.values())

    @property
    def provisioned(self) -> bool:
        """Booted, and every active line registered."""
        registered = self.registered_lines
        return self.booted and len(registered) == len(self.lines) and all(x in registered for x in self.lines)

    @property
    def last_status(self) -> int | None:
        """Of the last GET; None: it had no answer, or there was none."""
        return self.fetches[-1].status if self.fetches else None

    async def wait_for(
        self,
        predicate: Callable[["Phone"], Any],
        timeout: float = 5.0,  # noqa: ASYNC109  a deadline with its own message
    ) -> None:
        """TimeoutError, with what the phone is doing, when `predicate` does not become true in time."""
        try:
            async with asyncio.timeout(timeout):
                while not predicate(self):
                    if self._broken is not None:
                        raise self._broken
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {timeout:g} s: {self.summary()}") from None

    def summary(self) -> str:
        last = self.fetches[-1] if self.fetches else None
        fetched = f"{last.name}: {last.problem or last.status}" if last else "nothing"
        return (
            f"phone {self.mac}, {'online' if self.online else 'offline'}, "
            f"{len(self.registered_lines)} of {len(self.lines)} lines registered, last fetched {fetched}"
            + (f", {self.problem}" if self.problem else "")
        )

    def _plug_in(self) -> None:
        if self._return is not None:
            self._return.cancel()
        self.online = True
        self._endpoint.silent = False
        self._life = asyncio.create_task(self._live(self._life))
        self._life.add_done_callback(self._died)

    def _unplug(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None
        self.online = self.booted = False
        self._endpoint.silent = True
        self._registrations.clear()
        if self._life is not None:
            self._life.cancel()

    def _died(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (fault := life.exception()) is not None:
            self._broken = fault
            self._notice()

    async def _live(self, former: "asyncio.Task[None] | None") -> None:
        if former is not None:
            await asyncio.wait((former,))
        self._fetch_now.clear()
        self._register_now.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_configured())
            tasks.create_task(self._keep_registered())

    async def _keep_configured(self) -> None:
        failures = 0
        while True:
            if self._waiting and self.misbehaviour.delay:
                await asyncio.sleep(self.misbehaviour.delay)
            # What comes in during the fetch may concern a change that it does not bring.
            following, self._waiting = self._waiting, 0
            self._fetch_now.clear()
            if self._reboot:
                self._reboot = self.booted = False
                self._registrations.clear()
            done = await self._fetch_all()
            if done and self._chance(self.misbehaviour.duplicate):
                done = await self._fetch_all()
            if done:
                failures = 0
                self.resyncs_fetched += following
                wait = self._until_poll()
            else:
                failures += 1
                self._waiting += following
                wait = self._backoff(failures)
            self._notice()
            if done and self._chance(self.misbehaviour.lie):
                await self._ask_for_another()
            if done and self._chance(self.misbehaviour.offline):
                self._unplug_for_a_while()
            await _rest(self._fetch_now, wait)

    def _handset(self) -> Handset:
        its = self.sheet
        name = dialects.model_name(its.vendor, its.model)
        return Handset(self.mac, name, self.provisioning_url, its.common, self.configuration)

    async def _fetch_all(self) -> bool:
        """The vendor's files in order; True: the phone now has what the server gave."""
        give_up_in_body = self._chance(self.misbehaviour.truncate)
        boot = self.dialect.boot(self._handset())
        async with fetching.session(self.address, self._tls, self._pace.http_timeout) as http:
            try:
                ask = next(boot)
                while True:
                    got = await self._get(http, ask, give_up_in_body=give_up_in_body and ask.own)
                    if not self._goes_on(ask, got.fetch.status):
                        return self._failed(
                            got.fetch.problem or f"HTTP {got.fetch.status} for its {_kind(ask)} file"
                        )
                    if ask.own:
                        self._own_url = ask.url
                        if got.fetch.status == 200:
                            self._note_etag(ask.url, got.etag)
                    ask = boot.send(Answer(got.fetch.status or 0, got.body, got.coding))
            except StopIteration as done:
                configuration: ReadConfiguration = done.value
            except ValueError as fault:
                return self._failed(f"unreadable file: {fault}")
            if configuration.phonebook_url and self.dialect.contacts is not None:
                await self._fetch_phonebook(http, configuration.phonebook_url)
        self._adopt(configuration)
        return True

    def _goes_on(self, ask: Ask, status: int | None) -> bool:
        if ask.method == "PUT":
            return status is not None
        if status == 304:
            return ask.own and self.configuration is not None
        return status == 200 or (status == 404 and not ask.own)

    async def _fetch_phonebook(self, http: aiohttp.ClientSession, url: str) -> None:
        """Without it the phone works all the same."""
        got = await self._get(http, Ask(url))
        if got.fetch.status == 200 and self.dialect.contacts is not None:
            with suppress(ValueError):
                self.contacts = self.dialect.contacts(got.body)

    async def _get(self, http: aiohttp.ClientSession, ask: Ask, *, give_up_in_body: bool = False) -> fetching.Got:
        headers = {"User-Agent": self.dialect.http_agent(self._handset())}
        if self.lines and self.dialect.names_account:
            headers["From"] = f"sip:{self.lines[0].username}@{self.lines[0].domain}"
        if ask.url in self._etags and self.dialect.conditional:
            headers["If-None-Match"] = self._etags[ask.url]
        got = await fetching.ask(
            http, ask, headers, follow=self.dialect.follows_redirects, give_up_in_body=give_up_in_body
        )
        self.fetches.append(got.fetch)
        self.fetch_count += 1
        self._tell("fetched", f"{got.fetch.name}: {got.fetch.problem or got.fetch.status}")
        return got

    def _note_etag(self, url: str, etag: str | None) -> None:
        self._etags.clear()  # the URL may have changed; one file is all that is kept
        if etag:
            self._etags[url] = etag

    def _adopt(self, configuration: ReadConfiguration) -> None:
        first = not self.booted
        self.configuration = configuration
        self.provisioning_url = configuration.provisioning_url or self.provisioning_url
        self.booted = True
        self.problem = ""
        self._register_now.set()
        if first:
            self._tell("booted", f"lists {', '.join(line.username for line in self.lines) or 'no line'}")

    def _failed(self, problem: str) -> bool:
        """The phone keeps the configuration that it has."""
        self.problem = problem
        self._tell("failed", problem)
        return False

    async def _ask_for_another(self) -> None:
        foreign = self._own_url.replace(self.mac, self.neighbour).replace(self.mac.upper(), self.neighbour.upper())
        if foreign == self._own_url:
            return
        own = {_key(line) for line in self.lines}
        async with fetching.session(self.address, self._tls, self._pace.http_timeout) as http:
            got = await self._get(http, Ask(foreign, own=True))
        if got.fetch.status != 200:
            return
        with suppress(ValueError):
            found = read(self.dialect, got.body)
            self.foreign_lines += len([line for line in found.lines if _key(line) not in own])
        self._notice()

    def _until_poll(self) -> float | None:
        minutes = self.configuration.poll_minutes if self.configuration else None
        if not minutes or not self.dialect.keeps_polling:
            return None
        return minutes * 60 * self._pace.poll_scale

    def _backoff(self, failures: int) -> float:
        seconds = self._pace.retry_first * 2.0 ** min(failures - 1, 16)
        return min(seconds, self._pace.retry_most) * self._random.uniform(0.8, 1.2)

    async def _keep_registered(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._register_now.clear()
            if self.booted:
                await self._reconcile(loop.time())
                self._notice()
            due = min((r.due for r in self._registrations.values()), default=None)
            await _rest(self._register_now, None if due is None else max(0.0, due - loop.time()))

    async def _reconcile(self, now: float) -> None:
        wanted = {_key(line): line for line in self.lines}
        gone = [r for key, r in self._registrations.items() if wanted.get(key) != r.line]
        for registration in gone:
            del self._registrations[_key(registration.line)]
        for key, line in wanted.items():
            if key not in self._registrations:
                self._registrations[key] = Registration(line, due=now)
        due = [r for r in self._registrations.values() if r.due <= now]
        # A line whose password or proxy changed is taken out before it is registered anew.
        await asyncio.gather(*(self._unregister(r) for r in gone if r.expires_at > now))
        await asyncio.gather(*(self._register(r) for r in due))

    async def _register(self, registration: Registration) -> None:
        registered_before = registration.expires_at > 0
        status = 0
        for _ in range(2 if self._chance(self.misbehaviour.duplicate) else 1):
            status = await register(
                self._endpoint,
                registration,
                expires=self._pace.expires,
                user_agent=self._user_agent,
                within=self._pace.sip_timeout,
            )
        now = asyncio.get_running_loop().time()
        username = registration.line.username
        if registration.expires_at > now and status < 300:
            registration.failures = 0
            # Before it expires, with time for one more try.
            registration.due = now + 0.8 * (registration.expires_at - now)
            if not registered_before:
                self._tell("registered", f"line {username} registered")
        else:
            registration.failures += 1
            registration.due = now + self._backoff(registration.failures)
            self._tell("refused", f"line {username} is not registered: {status}")

    async def _unregister(self, registration: Registration) -> None:
        status = await register(
            self._endpoint,
            registration,
            expires=0,
            user_agent=self._user_agent,
            within=self._pace.sip_timeout,
        )
        # A detached line's password may be worthless by now: the contact then stays until it expires.
        text = "taken out" if status < 300 else f"could not be taken out: {status}"
        self._tell("unregistered", f"line {registration.line.username} {text}")

    def _on_request(self, request: Request, flow: Flow) -> None:
        with suppress(ValueError):
            if request.method == "NOTIFY":
                self._on_notify(request, flow)
            elif request.method == "OPTIONS":
                self._answer(request, flow, 200, "OK")
            else:
                self._answer(request, flow, 405, "Method Not Allowed", ("Allow", "NOTIFY, OPTIONS"))

    def _on_notify(self, request: Request, flow: Flow) -> None:
        event = request.get("Event") or ""
        self.notify_count += 1
        if self._chance(self.misbehaviour.drop):
            self._notified(event, None)
        elif self._chance(self.misbehaviour.offline):
            self._notified(event, None)
            self._unplug_for_a_while()
        else:
            settings = self.configuration.settings if self.configuration else {}
            act = self.dialect.told(event, request.body.decode("utf-8", "replace"), settings)
            if act is None or self._chance(self.misbehaviour.refuse):
                self._answer(request, flow, 489, "Bad Event", ("Allow-Events", "check-sync"))
                self._notified(event, 489)
            elif (challenge := self._unproven(request, settings)) is not None:
                self._answer(request, flow, 401, "Unauthorized", ("WWW-Authenticate", str(challenge)))
                self._notified(event, 401)
            else:
                self._answer(request, flow, 200, "OK")
                if act != "nothing":
                    self._act(reboot=act == "reboot")
                self._notified(event, 200)

    def _act(self, *, reboot: bool) -> None:
        self.resyncs += 1
        self._waiting += 1
        self._reboot = self._reboot or reboot
        self._fetch_now.set()

    def _unproven(self, request: Request, settings: Mapping[str, str]) -> digest.Challenge | None:
        """Where the phone asks for it, only who knows the SIP password of a line may tell it anything."""
        if not self.lines or not self.dialect.challenges(settings):
            return None
        given, challenge = request.get("Authorization"), self._challenge
        if given is not None and challenge is not None:
            self._challenge = None
            # The sender signed the URI that it wrote; the proxy has put our contact in its place since.
            with suppress(ValueError):
                uri = digest.Authorization.parse(given).uri
                for line in self.lines:
                    known = Credentials(line.username, line.password)
                    if digest.verify(given, challenge, known, method="NOTIFY", uri=uri):
                        return None
        self._challenge = digest.challenge(self.lines[0].domain, "MD5")
        return self._challenge

    def _answer(self, request: Request, flow: Flow, status: int, reason: str, *headers: Header) -> None:
        described = (("User-Agent", self._user_agent), *headers)
        response = request.response(status, reason, to_tag=secrets.token_hex(5), headers=described)
        self._endpoint.reply(request, flow, response)

    def _notified(self, event: str, status: int | None) -> None:
        self.notifies.append(Notified(time.time(), event, status))
        self._tell("notified", f"told {event!r}, answered {status or 'nothing'}")

    def _unplug_for_a_while(self) -> None:
        seconds = self.misbehaviour.offline_seconds
        self.go_offline()
        self._return = asyncio.get_running_loop().call_later(seconds, self.come_back)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _tell(self, kind: str, text: str) -> None:
        if self._on_event is not None:
            self._on_event(self, kind, text)
        self._notice()

    def _notice(self) -> None:
        # Set and cleared at once: wakes whoever waits now, and nobody later.
        self._changed.set()
        self._changed.clear()


def _key(line: ReadLine) -> tuple[str, str]:
    return line.username, line.domain


def _kind(ask: Ask) -> str:
    return "own" if ask.own else "common"


async def _rest(wake: asyncio.Event, seconds: float | None) -> None:
    """Until woken, or for so long at the most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
