"""Many simulated phones at once, and what became of them."""

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from provisioning.simulator.misbehaviour import NONE, Misbehaviour
from provisioning.simulator.phone import Listener, Pace, Phone, Sheet

# Percentiles of more fetches than this are taken from a fair sample of them.
_MOST_LATENCIES = 100_000


@dataclass(frozen=True, slots=True)
class Report:
    phones: int
    booted: int
    "Hold a configuration from the server."
    provisioned: int
    "Have every line of it registered, too."
    failed: Mapping[str, int]
    "The others, by reason."
    fetches: int
    fetches_failed: int
    "Without an HTTP answer."
    bytes: int
    lines: int
    lines_registered: int
    notifies: int
    resyncs: int
    "Check-syncs answered 200."
    resyncs_fetched: int
    "Those of them that a fetch followed."
    foreign_lines: int
    "Lines of another phone that a phone got: anything but 0 is a fault of the server."
    fetch_seconds: Mapping[str, float]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Progress = Callable[[int, int, int], None]
"Told how many phones are through their first boot, how many there are, and how many of them failed."


class Fleet:
    def __init__(
        self,
        sheets: Sequence[Sheet],
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        misbehaviour: Misbehaviour = NONE,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
        ramp: float = 0.0,
        concurrency: int = 100,
        boot_timeout: float = 60.0,
        lines_expected: bool = False,
        on_progress: Progress | None = None,
        on_event: Listener | None = None,
        seed: int = 0,
    ) -> None:
        """Phones are plugged in over `ramp` seconds, `concurrency` of them booting at once, in turn from
        `addresses`. `lines_expected`: a phone whose configuration lists no line has failed."""
        self._addresses = addresses
        self._ramp = ramp
        self._concurrency = concurrency
        self._boot_timeout = boot_timeout
        self._lines_expected = lines_expected
        self._on_progress = on_progress
        self._on_event = on_event
        self._random = random.Random(seed)  # noqa: S311  misbehaviour and samples, not secrets
        self._began = time.perf_counter()
        self._latencies: list[float] = []
        self._fetches = self._fetches_failed = self._bytes = 0
        self._without_socket: dict[str, str] = {}
        neighbours = _neighbours(sheets)
        self.phones = tuple(
            Phone(
                sheet,
                address=addresses[number % len(addresses)],
                misbehaviour=misbehaviour,
                pace=pace,
                tls=tls,
                neighbour=neighbours.get(sheet.mac),
                on_event=self._heard,
                seed=self._random.getrandbits(32),
            )
            for number, sheet in enumerate(sheets)
        )

    async def boot(self) -> None:
        """Plugs all in; returns when each is provisioned, failed once, or took too long.

        A phone that failed goes on trying, as real ones do.
        """
        gate = asyncio.Semaphore(self._concurrency)
        through = failed = 0

        async def boot_one(number: int, phone: Phone) -> None:
            nonlocal through, failed
            await asyncio.sleep(self._ramp * number / len(self.phones))
            async with gate:
                try:
                    await phone.start()
                    await phone.wait_for(_settled, self._boot_timeout)
                except TimeoutError:
                    pass
                except OSError as fault:
                    self._without_socket[phone.mac] = f"no socket: {fault.strerror or fault}"
            through += 1
            failed += not phone.provisioned
            if self._on_progress is not None:
                self._on_progress(through, len(self.phones), failed)

        async with asyncio.TaskGroup() as tasks:
            for number, phone in enumerate(self.phones):
                tasks.create_task(boot_one(number, phone))

    async def settle(self, seconds: float) -> None:
        """Gives phones that are unplugged, or between two tries, a last chance."""
        deadline = asyncio.get_running_loop().time() + seconds
        for phone in self.phones:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or phone.mac in self._without_socket:
                continue
            try:
                await phone.wait_for(lambda phone: phone.provisioned, left)
            except TimeoutError:
                continue

    async def close(self) -> None:
        await asyncio.gather(*(phone.close() for phone in self.phones))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def report(self) -> Report:
        failed = Counter(reason for phone in self.phones if (reason := self._why_failed(phone)) is not None)
        return Report(
            phones=len(self.phones),
            booted=sum(phone.booted for phone in self.phones),
            provisioned=len(self.phones) - failed.total(),
            failed=dict(failed.most_common()),
            fetches=self._fetches,
            fetches_failed=self._fetches_failed,
            bytes=self._bytes,
            lines=sum(len(phone.lines) for phone in self.phones),
            lines_registered=sum(len(phone.registered_lines) for phone in self.phones),
            notifies=sum(phone.notify_count for phone in self.phones),
            resyncs=sum(phone.resyncs for phone in self.phones),
            resyncs_fetched=sum(phone.resyncs_fetched for phone in self.phones),
            foreign_lines=sum(phone.foreign_lines for phone in self.phones),
            fetch_seconds=_percentiles(self._latencies),
            seconds=round(time.perf_counter() - self._began, 3),
        )

    def _why_failed(self, phone: Phone) -> str | None:
        """In words that group phones; None: provisioned."""
        if phone.mac in self._without_socket:
            return self._without_socket[phone.mac]
        if not phone.booted:
            return phone.problem or ("no configuration in time" if phone.online else "unplugged")
        if not phone.lines and self._lines_expected:
            return "no line in its configuration"
        if phone.provisioned:
            return None
        statuses = sorted({str(r.status) for r in phone.registrations if r.status not in (None, 200)})
        return f"not registered: {', '.join(statuses) or 'no answer yet'}"

    def _heard(self, phone: Phone, kind: str, text: str) -> None:
        if kind == "fetched":
            fetch = phone.fetches[-1]
            self._fetches += 1
            self._bytes += fetch.size
            if fetch.status is None:
                self._fetches_failed += 1
            elif len(self._latencies) < _MOST_LATENCIES:
                self._latencies.append(fetch.seconds)
            elif (place := self._random.randrange(self._fetches)) < _MOST_LATENCIES:
                self._latencies[place] = fetch.seconds
        if self._on_event is not None:
            self._on_event(phone, kind, text)


def _settled(phone: Phone) -> bool:
    refused = any(registration.failures for registration in phone.registrations)
    return phone.provisioned or bool(phone.problem) or refused or not phone.online


def _neighbours(sheets: Sequence[Sheet]) -> dict[str, str]:
    """The next phone of the same vendor: one that exists, so that a lie could succeed."""
    found: dict[str, str] = {}
    for vendor in {sheet.vendor for sheet in sheets}:
        macs = [sheet.mac for sheet in sheets if sheet.vendor == vendor]
        if len(macs) > 1:
            found.update(zip(macs, [*macs[1:], macs[0]], strict=True))
    return found


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    most = len(ordered) - 1
    places = {"p50": round(0.50 * most), "p99": round(0.99 * most), "max": most}
    return {name: round(ordered[place], 4) for name, place in places.items()}
