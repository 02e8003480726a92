"""What a request costs, against a bare aiohttp handler of the same run: `make bench`.

The figure is the server's CPU time (all threads and children), not the wall's: it survives other
work on the machine. Server and client each have a CPU of their own; the two servers run at the
same time and are loaded in turn, in random order, several times. Exit code 1: a target is missed.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import cpu
import data
import load
import report
import resync
import servers
from load import Load
from report import Row
from servers import Product, Running

FOLDER = Path(__file__).resolve().parents[2] / "var" / "bench"
TARGETS = tuple(f"T{number}" for number in range(1, 13))
MANY, FEW = 100_000, 1_000
HOT = 300
"Phones whose documents the warm requests ask for; all in the cache."
BURST = 2_000
COLD_KEPT, COLD_NEW = 3_000, 2_000
MB = 1_000_000
TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "phones"
SOME_VENDORS = ("yealink", "snom", "linphone")
"Those of the database that the benchmark makes."


@dataclass(frozen=True)
class Settings:
    repetitions: int
    seconds: float
    patience: float
    "Seconds to wait for a quiet machine before each run."
    attaches: int
    burst_seconds: float
    filled: int
    cache_bytes: int
    herd: int
    "Phones of the warm requests when nearly every one is another phone's, so that each leaves a visit to record."


FULL = Settings(4, 0.6, 0.5, 200, 3.0, 20_000, 128_000_000, 10_000)
QUICK = Settings(2, 0.3, 0.0, 20, 1.0, 3_000, 15_000_000, 1_500)


@dataclass
class Case:
    """One kind of load on one server."""

    name: str
    mode: str
    "kept, new or tls"
    server: Running
    requests: Callable[[bool], Iterator[bytes]]
    before: Callable[[], int] | None = None
    "Prepares a run that has so many requests; None: as many as the time allows."
    behind: bool = True
    "Work goes on behind the answers."
    connections: int = 16
    micros: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        count = self.before() if self.before is not None else 1 << 60
        kept = self.mode == "kept"
        requests = self.requests(kept)
        before = cpu.seconds(self.server.pid)
        if kept:
            done = load.kept(
                self.server.ports["http"], requests, connections=self.connections, seconds=seconds, count=count
            )
        else:
            port = self.server.ports["http" if self.mode == "new" else "https"]
            context = load.tls_context() if self.mode == "tls" else None
            done = load.fresh(
                port, requests, connections=self.connections, seconds=seconds, count=count, context=context
            )
        now = cpu.seconds(self.server.pid)
        after = cpu.settled(self.server.pid, 0.65) if self.behind else now
        self.loads.append(done)
        self.used.append((now - before) / done.seconds)
        if done.done:
            self.micros.append((after - before) / done.done * 1e6)

    @property
    def errors(self) -> int:
        return sum(one.errors + one.resumed for one in self.loads)

    @property
    def median(self) -> float:
        return statistics.median(self.micros)

    def figures(self) -> dict[str, object]:
        return {
            "cpu_us": [round(value, 1) for value in self.micros],
            "requests_per_second": [round(one.done / one.seconds) for one in self.loads],
            "p50_ms": [round(one.quantile(0.5) * 1e3, 2) for one in self.loads],
            "p99_ms": [round(one.quantile(0.99) * 1e3, 2) for one in self.loads],
            "errors": self.errors,
            "utilisation": [round(value, 2) for value in self.used],
        }


class Bench:
    def __init__(self, settings: Settings, wanted: set[str], stack: ExitStack) -> None:
        self.settings = settings
        self.wanted = wanted
        self.stack = stack
        self.rows: list[Row] = []
        self.noisy = 0
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.work = FOLDER / f"run-{os.getpid()}"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        stack.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.random = random.Random(7)
        self._turn = {False: 0, True: 0}
        self.proxy = resync.Proxy()
        self.scale = servers.import_seconds(2) / REFERENCE_IMPORTS

    def product(self, name: str, count: int = MANY, *, cpu: int | None = servers.SERVER_CPU, **more: str) -> Product:
        made = Product(data.copy(data.base(FOLDER, count), self.work / name), cpu=cpu, **more)
        self.stack.callback(made.stop)
        made.start()
        return made

    def run(self) -> None:
        parts = (
            (("T9", "T6", "T10", "T7"), self.memory),
            (("T1", "T2", "T3", "T4", "T5", "T8"), self.requests),
            (("T12",), self.vendors),
            (("T11",), self.workers),
            (("T8",), self.attaches),
        )
        for targets, part in parts:
            if self.wanted.intersection(targets):
                begun = time.monotonic()
                part()
                print(f"  {part.__name__}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        self.rows = [row for row in self.rows if row.target in self.wanted]
        self.rows.sort(key=lambda row: int(row.target[1:]))

    # T1 to T5

    def requests(self) -> None:
        product = self.product("server")
        document = _get(product, data.path(0))
        certificate, key = product.data / "tls-cert.pem", product.data / "tls-key.pem"
        bare = servers.bare(self.work, document, certificate, key)
        self.stack.callback(bare.stop)
        bare.start()
        few = self.product("few", FEW)
        logging = self.product("logging", LOG__ACCESS=str(self.work / "access.log"))
        for other in (few, logging):
            assert _get(other, data.path(0)) == document, "two servers give two documents of one phone"
        assert _get(product, f"/{'0' * 32}/0002b3000000.cfg") is None, "an unknown MAC is answered"

        cases: list[Case] = []

        def case(name: str, targets: str, mode: str, server: Running, *more: object) -> None:
            if self.wanted.intersection(targets.split()):
                cases.append(Case(name, mode, server, *more))  # type: ignore[arg-type]

        constant = _constant()
        for mode, targets in (("new", "T1 T3 T5 T8"), ("kept", "T2 T3 T5"), ("tls", "T4")):
            case("bare", targets, mode, bare, constant, None, False)
        for mode, targets in (("new", "T1 T5"), ("kept", "T2 T5"), ("tls", "T4")):
            case("warm", targets, mode, product, self._warm(product, HOT))
        case("herd", "T1 T8", "new", product, self._warm(product, self.settings.herd))
        for mode, targets in () if self.settings is QUICK else (("new", "T1"), ("kept", "T2")):
            case("few", targets, mode, few, self._warm(few, HOT))
        for mode, targets in (("new", "T5"), ("kept", "T5")):
            case("logging", targets, mode, logging, self._warm(logging, HOT))
        for mode in ("new", "kept"):
            case("cold", "T3", mode, product, *self._cold(product, mode, news=False))
        case("changed", "T3", "new", product, *self._cold(product, "new", news=True))
        self._interleave(cases)
        its = {(case.name, case.mode): case for case in cases}
        self._ratio(its, "T1", "warm GET, revision checked, new connections", "warm", "new", 0.75)
        self._ratio(its, "T1", f"the same, {self.settings.herd:,} phones in turn, visits recorded", "herd", "new", None)
        self._ratio(its, "T2", "warm GET, revision checked, kept connections", "warm", "kept", 0.65)
        for target, mode in (("T1", "new"), ("T2", "kept")):
            self._flat(its, target, mode)
        self._ratio(its, "T3", "cold GET, new connections", "cold", "new", 0.30)
        self._ratio(its, "T3", "cold GET, kept connections", "cold", "kept", 0.15)
        self._added(its, "T3", "cold GET over bare", ("cold", "bare"), "new", 200.0)
        self._ratio(its, "T3", "first GET after a change, with its record", "changed", "new", None)
        self._tls(its)
        for mode, words in (("kept", "kept"), ("new", "new")):
            self._added(its, "T5", f"access log, {words} connections", ("logging", "warm"), mode, 10.0)
        self.capacity = 1e6 / its["herd", "new"].median if ("herd", "new") in its else None
        for server in (product, bare, few, logging):
            server.stop()

    def _warm(self, server: Product, hot: int) -> Callable[[bool], Iterator[bytes]]:
        numbers = [self.random.randrange(0, data.attachable(MANY if hot > HOT else FEW).start) for _ in range(hot)]
        if hot > HOT:
            numbers = self.random.sample(range(COLD_FROM), hot)

        def requests(keep: bool) -> Iterator[bytes]:
            made = [load.request(data.path(number), keep=keep) for number in numbers]
            self.random.shuffle(made)
            return itertools.cycle(made)

        # Warmed: every document is rendered, every visit told.
        port = server.ports["http"]
        load.kept(port, requests(True), count=hot)
        return requests

    def _cold(
        self, server: Product, mode: str, *, news: bool
    ) -> tuple[Callable[[bool], Iterator[bytes]], Callable[[], int]]:
        """Phones whose revision has just been raised; each is asked for once."""
        count = COLD_KEPT if mode == "kept" else COLD_NEW
        first = COLD_FROM + {"new": 0, "kept": 10_000}[mode] + (5_000 if news else 0)
        numbers = range(first, first + count)

        def before() -> int:
            data.changed(server.database, numbers, news=news)
            return count

        def requests(keep: bool) -> Iterator[bytes]:
            made = [load.request(data.path(number), keep=keep) for number in numbers]
            self.random.shuffle(made)
            return iter(made)

        return requests, before

    def _interleave(self, cases: list[Case]) -> None:
        """The first run of each warms it and does not count."""
        for case in cases:
            behind, case.behind = case.behind, False
            case.run(0.2)
            case.behind = behind
            for kept in (case.micros, case.loads, case.used):
                kept.clear()
        for _ in range(self.settings.repetitions):
            for case in self.random.sample(cases, len(cases)):
                self.noisy += not cpu.quiet(self.settings.patience)
                case.run(self.settings.seconds)

    def _ratio(
        self, its: dict[tuple[str, str], Case], target: str, what: str, name: str, mode: str, wanted: float | None
    ) -> None:
        if (name, mode) not in its:
            return
        bare, case = its["bare", mode], its[name, mode]
        ratio = bare.median / case.median
        measured = f"{ratio:.2f} ({min(bare.micros) / min(case.micros):.2f}) x bare"
        self.rows.append(
            Row(
                target,
                what,
                "" if wanted is None else f">= {wanted:.2f} x bare",
                measured,
                None if wanted is None else ratio >= wanted and not case.errors + bare.errors,
                f"{case.median:.0f} ({min(case.micros):.0f}) us of {bare.median:.0f} ({min(bare.micros):.0f})"
                + _errors(case, bare),
                {"bare": bare.figures(), name: case.figures()},
            )
        )

    def _flat(self, its: dict[tuple[str, str], Case], target: str, mode: str) -> None:
        if ("few", mode) not in its:
            return
        few, many = its["few", mode], its["warm", mode]
        ratio = many.median / few.median
        self.rows.append(
            Row(
                target,
                f"{MANY:,} phones against {FEW:,}, {mode} connections",
                "<= 1.15 x",
                f"{ratio:.2f} ({min(many.micros) / min(few.micros):.2f}) x",
                ratio <= 1.15,
                _errors(few, many),
                {"few": few.figures(), "many": many.figures()},
            )
        )

    def _added(
        self, its: dict[tuple[str, str], Case], target: str, what: str, names: tuple[str, str], mode: str, most: float
    ) -> None:
        if (names[0], mode) not in its:
            return
        its_own, other = its[names[0], mode], its[names[1], mode]
        bare = its["bare", mode]
        # Microseconds of another machine say nothing here, so they are shares of the bare handler's.
        share = most / REFERENCE[mode]
        added = (its_own.median - other.median) / bare.median
        best = (min(its_own.micros) - min(other.micros)) / min(bare.micros)
        self.rows.append(
            Row(
                target,
                what,
                f"<= +{share:.2f} x bare ({most:.0f} us)",
                f"{added:+.2f} ({best:+.2f}) x bare",
                added <= share and not its_own.errors,
                f"{its_own.median - other.median:+.0f} us of bare's {bare.median:.0f}" + _errors(its_own),
                {names[0]: its_own.figures(), names[1]: other.figures()},
            )
        )

    def _tls(self, its: dict[tuple[str, str], Case]) -> None:
        if ("warm", "tls") not in its:
            return
        bare, warm = its["bare", "tls"], its["warm", "tls"]
        ratio = warm.median / bare.median
        self.rows.append(
            Row(
                "T4",
                "HTTPS, TLS 1.3, ECDSA, full handshake, warm GET",
                "<= 1.10 x bare's CPU",
                f"{ratio:.2f} ({min(warm.micros) / min(bare.micros):.2f}) x",
                ratio <= 1.10 and not warm.errors + bare.errors,
                f"{warm.median:.0f} ({min(warm.micros):.0f}) us of {bare.median:.0f} ({min(bare.micros):.0f})"
                + _errors(warm, bare),
                {"bare": bare.figures(), "warm": warm.figures()},
            )
        )

    # T12

    def vendors(self) -> None:
        """What the folders that a phone has nothing to do with add to its fetch, and to the start."""
        some = self.work / "templates"
        for vendor in SOME_VENDORS:
            shutil.copytree(TEMPLATES / vendor, some / vendor)
        few = self.product("three-vendors", FEW, PATHS__TEMPLATES=str(some))
        many = self.product("all-vendors", FEW)
        cases = [
            Case(name, mode, server, self._warm(server, HOT))
            for mode in ("new", "kept")
            for name, server in (("few", few), ("many", many))
        ]
        self._interleave(cases)
        its = {(case.name, case.mode): case for case in cases}
        names = len(list(TEMPLATES.glob("*/vendor.toml")))
        for mode in ("new", "kept"):
            less, more = its["few", mode], its["many", mode]
            ratio = more.median / less.median
            self.rows.append(
                Row("T12", f"{names} vendors against {len(SOME_VENDORS)}, warm GET, {mode} connections",
                    "<= 1.10 x", f"{ratio:.2f} ({min(more.micros) / min(less.micros):.2f}) x",
                    ratio <= 1.10 and not less.errors + more.errors, _errors(less, more),
                    {"few": less.figures(), "many": more.figures()})
            )  # fmt: skip
        self.rows.append(
            Row("T12", f"start to listening, {names} vendors", "<= 2 s", f"{many.started_in:.1f} s",
                many.started_in <= 2.0 * max(1.0, self.scale), f"{few.started_in:.1f} s with {len(SOME_VENDORS)}")
        )  # fmt: skip
        for server in (few, many):
            server.stop()

    # T6, T7, T9, T10

    def memory(self) -> None:
        for name, count in (("first", FEW), ("second", MANY)):
            server = self.product(name, count, LIMITS__CACHE_BYTES=str(self.settings.cache_bytes))
            starts = []
            for _ in range(self.settings.repetitions - 1):
                server.stop()
                cpu.quiet(self.settings.patience)
                server.start()
                starts.append((server.started_cpu, server.started_in))
            time.sleep(1.0)
            used, wall = (statistics.median(values) for values in zip(*starts, strict=True))
            best = min(start[0] for start in starts)
            self.rows.append(
                Row("T9", f"start to listening, {count:,} phones", "<= 1.2 s CPU",
                    f"{used:.2f} ({best:.2f}) s", used <= 1.2,
                    f"{wall:.2f} s by the clock; {used / self.scale:.2f} s of the reference machine's")
            )  # fmt: skip
            rss, anonymous = cpu.memory(server.pid, "VmRSS") / MB, cpu.memory(server.pid) / MB
            self.rows.append(
                Row("T9", f"idle, {count:,} phones", "<= 80 MB", f"{rss:.0f} MB", rss <= 80, f"{anonymous:.0f} MB its own")
            )  # fmt: skip
            if count == FEW:
                server.stop()
        self._idle_connections(server)
        self._burst(server, "T6", "https")
        self._burst(server, "T10", "http")
        self._fill(server)
        server.stop()

    def _idle_connections(self, server: Product) -> None:
        if "T6" not in self.wanted:
            return
        requests = itertools.cycle([load.request(data.path(number), keep=True) for number in range(100)])
        load.fresh(server.ports["https"], requests, count=200, context=load.tls_context())
        before, held = cpu.memory(server.pid), 500
        ends: list[socket.socket] = []
        done = load.fresh(server.ports["https"], requests, count=held, context=load.tls_context(), keep_open=ends)
        added = (cpu.memory(server.pid) - before) / max(len(ends), 1)
        for end in ends:
            end.close()
        self.rows.append(
            Row("T6", f"an idle TLS connection, of {held} open", "<= 64 kB", f"{added / 1000:.1f} kB",
                added <= 64_000 and not done.errors, f"{done.errors} errors")
        )  # fmt: skip

    def _burst(self, server: Product, target: str, kind: str) -> None:
        if target not in self.wanted:
            return
        cpu.quiet(self.settings.patience)
        tls = kind == "https"
        requests = itertools.cycle([load.request(data.path(number), keep=False) for number in range(HOT)])
        load.kept(server.ports["http"], requests, count=HOT)
        before = cpu.memory(server.pid)
        with _peak(server.pid) as peak:
            done = load.fresh(
                server.ports[kind],
                requests,
                connections=BURST,
                seconds=self.settings.burst_seconds,
                context=load.tls_context() if tls else None,
            )
        added = (peak[0] - before) / MB
        figures = {"p50": done.quantile(0.5), "max": done.quantile(1), "done": done.done, "seconds": done.seconds}
        if tls:
            self.rows.append(
                Row(target, f"{BURST:,} simultaneous TLS handshakes", "0 errors, <= +60 MB",
                    f"{done.errors} errors, +{added:.0f} MB", not done.errors and added <= 60,
                    f"{done.done} answers, the longest after {done.quantile(1):.2f} s", figures)
            )  # fmt: skip
            return
        capacity = done.done / (done.seconds + _last(done))
        most = BURST / capacity * 1.3
        self.rows.append(
            Row(target, f"{BURST:,} simultaneous new connections", f"0 errors, max <= {most:.2f} s",
                f"{done.errors} errors, {done.quantile(1):.2f} s", not done.errors and done.quantile(1) <= most,
                f"{capacity:.0f} answers a second, +{added:.0f} MB", figures)
        )  # fmt: skip

    def _fill(self, server: Product) -> None:
        if "T7" not in self.wanted:
            return
        # What the bursts have left behind would be used again.
        server.stop()
        server.start()
        numbers, limit = self.settings.filled, self.settings.cache_bytes
        before = cpu.memory(server.pid)
        served = load.kept(
            server.ports["http"],
            (load.request(data.path(number), keep=True) for number in range(numbers)),
            count=numbers,
        )
        cpu.settled(server.pid, 1.0)
        added = (cpu.memory(server.pid) - before) / MB
        cost = len(_get(server, data.path(0)) or b"") + 1_100
        most = min(limit, numbers * cost) * 1.15 / MB
        self.rows.append(
            Row("T7", f"cache of {limit / MB:.0f} MB, {numbers:,} phones fetched", f"<= +{most:.0f} MB", f"+{added:.0f} MB",
                added <= most and not served.errors, f"{min(numbers, limit // cost):,} documents fit"
                f"{_errors_of(served)}", {"limit": limit, "added_mb": added})
        )  # fmt: skip

    # T8

    def attaches(self) -> None:
        for count in (FEW, MANY):
            server = self.product(f"attach-{count}", count, RESYNC__PROXY=self.proxy.setting)
            spare = data.attachable(count)
            half = min(self.settings.attaches, len(spare) // 2)
            resync.attach(server.ports["management"], server.token, self.proxy, range(spare.start, spare.start + 10))
            cpu.quiet(self.settings.patience)
            numbers = range(spare.start + 10, spare.start + 10 + half)
            told = resync.attach(server.ports["management"], server.token, self.proxy, numbers)
            self._attached(f"attach to NOTIFY, {count:,} phones", told, (5.0, 20.0))
            if count == MANY:
                self._attach_under_load(server, range(numbers.stop, numbers.stop + half))
            server.stop()

    def _attach_under_load(self, server: Product, numbers: range) -> None:
        if not getattr(self, "capacity", None):
            return
        requests = self._warm(server, self.settings.herd)(False)
        time.sleep(1.0)
        rate = 0.7 * self.capacity
        context = multiprocessing.get_context("fork")
        stop, results = context.Event(), context.Queue()

        def fetch(stop: Event) -> None:
            done = load.fresh(server.ports["http"], requests, connections=1000, seconds=60, rate=rate, stop=stop.is_set)
            results.put((done.done, done.seconds, done.errors, done.late, done.quantile(0.99)))

        client = context.Process(target=fetch, args=(stop,), daemon=True)
        client.start()
        time.sleep(1.0)
        before, begun = cpu.seconds(server.pid), time.monotonic()
        told = resync.attach(server.ports["management"], server.token, self.proxy, numbers, pause=0.02)
        used = (cpu.seconds(server.pid) - before) / (time.monotonic() - begun)
        stop.set()
        done, seconds, errors, late, slowest = results.get(timeout=30)
        client.join(10)
        told.errors += errors
        self._attached(
            f"the same while phones fetch at {rate:.0f}/s (70 %)",
            told,
            (None, 250.0),
            f"{done / seconds:.0f}/s done, {late} late, server {used:.0%} busy, fetch p99 {slowest * 1e3:.0f} ms",
        )

    def _attached(self, what: str, told: resync.Told, most: tuple[float | None, float], note: str = "") -> None:
        p50, p99 = (resync.quantile(told.notified, part) * 1e3 for part in (0.5, 0.99))
        answer = resync.quantile(told.answered, 0.5) * 1e3
        limits = f"p50 <= {most[0]:.0f}, p99 <= {most[1]:.0f} ms" if most[0] else f"p99 <= {most[1]:.0f} ms"
        self.rows.append(
            Row(
                "T8",
                what,
                limits,
                f"p50 {p50:.1f}, p99 {p99:.1f} ms",
                not told.errors and p99 <= most[1] and (most[0] is None or p50 <= most[0]),
                "; ".join(
                    filter(
                        None,
                        [
                            f"answer p50 {answer:.1f} ms; of the reference machine's {p50 / self.scale:.1f}, {p99 / self.scale:.1f} ms",
                            f"{told.errors} errors" * bool(told.errors),
                            note,
                        ],
                    )
                ),
                {"notified_ms": [round(value * 1e3, 2) for value in told.notified]},
            )
        )

    # T11

    def workers(self) -> None:
        modes = ("new",) if self.settings is QUICK else ("new", "kept")
        one = self.product("one", FEW)
        two = self.product("two", FEW, cpu=None, SERVER__WORKERS="2")
        cases = [
            Case(name, mode, server, self._warm(server, HOT), connections=32)
            for name, server in (("one", one), ("two", two))
            for mode in modes
        ]
        for case in cases:
            # The second worker's cache, too.
            case.run(0.3)
        self._interleave(cases)
        its = {(case.name, case.mode): case for case in cases}
        for mode in modes:
            single, both = its["one", mode], its["two", mode]
            ratio = both.median / single.median
            self.rows.append(
                Row("T11", f"two workers against one, {mode} connections", "<= 1.20 x CPU",
                    f"{ratio:.2f} ({min(both.micros) / min(single.micros):.2f}) x",
                    ratio <= 1.20 and not both.errors + single.errors,
                    f"{both.median:.0f} us of {single.median:.0f}{_errors(both, single)}",
                    {"one": single.figures(), "two": both.figures()})
            )  # fmt: skip
        one.stop()
        two.stop()


COLD_FROM = 60_000
"Phones from here on are those of the cold requests."
REFERENCE_IMPORTS = 0.621
"CPU seconds of servers.IMPORTS there."
REFERENCE = {"kept": 30.8, "new": 99.0}
"CPU microseconds of the bare handler on the reference machine, where the targets were set."


def _constant() -> Callable[[bool], Iterator[bytes]]:
    def requests(keep: bool) -> Iterator[bytes]:
        return itertools.cycle([load.request(f"/cfg/{data.mac(number)}.cfg", keep=keep) for number in range(HOT)])

    return requests


def _get(server: Running, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['http']}{path}", timeout=5) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        error.close()
        return None


def _errors(*cases: Case) -> str:
    errors = sum(case.errors for case in cases)
    return f"; {errors} ERRORS" if errors else ""


def _errors_of(done: Load) -> str:
    return f"; {done.errors} ERRORS" if done.errors else ""


def _last(done: Load) -> float:
    """How long the answers went on after the last request was begun: about one latency."""
    return done.latencies[-1] if done.latencies else 0.0


class _peak:  # noqa: N801  reads as a statement
    """The most memory that a process had meanwhile."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._over = pid, [0], threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._most[0] = max(self._most[0], cpu.memory(self._pid))

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._most

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="bench.py", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer and shorter runs, for a first look")
    arguments.add_argument("--only", metavar="T1,T3", help="these targets")
    arguments.add_argument("--json", metavar="FILE", type=Path, help="write a report with every run's figures")
    given = arguments.parse_args()
    wanted = set(given.only.upper().split(",")) if given.only else set(TARGETS)
    if unknown := wanted.difference(TARGETS):
        arguments.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    servers.pin(servers.CLIENT_CPU)
    # So that the servers are stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begun = time.monotonic()
    with ExitStack() as stack:
        bench = Bench(QUICK if given.quick else FULL, wanted, stack)
        bench.run()
    took = time.monotonic() - begun
    print(report.table(bench.rows))
    print(
        f"\n{took:.0f} s; {bench.noisy} runs while something else was using the machine. Importing our libraries takes"
        f" {bench.scale:.2f} x\nas long as on the reference machine, which T8 and T9, being no ratios, do not allow for."
    )
    if given.json is not None:
        report.write(
            bench.rows, given.json, seconds=round(took), scale=bench.scale, noisy_runs=bench.noisy, quick=given.quick
        )
    return 1 if any(row.good is False for row in bench.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
