"""R5: thousands of peers that are slow to ask, to send or to take, over HTTP and TLS, while good phones fetch.

The slow ones are played by a process of their own, so that the good ones' times are the server's.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import resource
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from attacked import attacked
from customers import percentile
from outcome import Effort, Outcome
from pipelined import SILENT, Heard, listen
from running import Api, Server

TITLE = "slow heads, handshakes, bodies and readers, while good phones fetch"
ALONE = True
SHORT, OWN = 1.5, 10.0
"Deadlines, in seconds, of a request and of a handshake: of a short run, and the product's own, with which all are there at once."
AFTER, AFTER_UNREAD, TIMES_UNREAD = 2.0, 3.0, 6
"Seconds after the deadline in which all are closed; and for answers that are not read, after six times the deadline."
LATE = 0.5
"Seconds for the scheduler of a machine that others use too, in each of the two processes."
TARGET, BOUND = 0.05, 1.0
"Seconds of a good phone's fetch (p99): what docs/security.md promises, and what is red on any machine."
MOST_GROWTH, MOST_GROWTH_EACH = 100_000_000, 150_000
"Bytes, by a short run; and for each of more: a quarter have 64 kB of an answer waiting, and as much being made."
SPARE_FILES = 500
LARGE = 30_000_000
MAC, COMMON = "001565a1b2c3", "/y000000000096.cfg"
OFFENDERS = tuple(f"127.0.5.{number}" for number in range(1, 6))
SMALL_ROOM = 2304
PLAIN, TLS = "http", "https"


@dataclass(frozen=True)
class Kind:
    """One way to be slow."""

    name: str
    sent: bytes = b""
    "As soon as it is connected."
    dripped: bytes = b""
    "After it, a piece at a time, over and over."
    every: float = 0.5
    handshake: bool = True
    "Over TLS: whether it does one; otherwise what it sends are bytes of a handshake."
    answered: bool = False
    "It reads the answer to a first request before it begins to be slow."
    own: int = 0
    "After it, so many requests for a phone's own document, of 8 kB."
    unread: bool = False
    "It has no room for what it asks, and does not read it."
    fits: bool = False
    "The server made all of that, so that it waits for a next request first."
    reads: int = 0
    "Bytes that it reads three times in a deadline; 16 KiB in six of them would make it a good one."
    held: bool = True
    "The server waits for it; otherwise it is answered, and closed at once."
    share: int = 2

    def within(self, deadline: float) -> float:
        if self.unread:
            return (TIMES_UNREAD + self.fits) * deadline + AFTER_UNREAD
        return deadline + AFTER

    def least(self, deadline: float) -> float:
        """Seconds that it must have had: who is turned away at once shows nothing."""
        return (TIMES_UNREAD if self.unread else 1) * deadline - 0.3 if self.held else 0.0


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: phones", *fields, "")).encode()


HALF = request(COMMON, "User-Agent: slow")[:-4]
BODY = request(COMMON, "Content-Length: 1000000", method="PUT")
CHUNKS = request(f"/{MAC}-app.log", "Transfer-Encoding: chunked", method="POST")
FIRMWARE = request("/firmware/large.rom")
MANY, FEW = 60, 6
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"How a ClientHello of 512 bytes begins."
KINDS = {
    PLAIN: (
        Kind("half a head", HALF, share=4),
        Kind("silent", share=3),
        Kind("a byte of a head now and then", HALF[:20], b"x", share=3),
        Kind("a field of a head now and then", HALF, b"\r\nX: y"),
        Kind("half a second head", HALF, answered=True),
        Kind("a body of 1 B/s", BODY, b"x", 1.0, held=False),
        Kind("chunks of 1 B/s", CHUNKS, b"1\r\nx\r\n", 1.0, held=False),
        Kind("a document, unread", own=1),
        Kind("firmware, unread", FIRMWARE, unread=True, share=2),
        Kind("firmware, a few bytes now and then", FIRMWARE, unread=True, reads=300),
        Kind("pipelined, unread", own=MANY, unread=True, share=2),
        Kind("pipelined, a few bytes now and then", own=MANY, unread=True, reads=300),
    ),
    TLS: (
        Kind("silent", handshake=False, share=3),
        Kind("half a handshake", HELLO, handshake=False),
        Kind("a byte of a handshake now and then", HELLO, b"x", handshake=False),
        Kind("silent after the handshake", share=4),
        Kind("half a head", HALF, share=3),
        Kind("a byte of a head now and then", HALF[:20], b"x"),
        Kind("half a second head", HALF, answered=True),
        Kind("a body of 1 B/s", BODY, b"x", 1.0, held=False),
        Kind("chunks of 1 B/s", CHUNKS, b"1\r\nx\r\n", 1.0, held=False),
        Kind("a document, unread", own=1),
        Kind("firmware, unread", FIRMWARE, unread=True),
        Kind("firmware, a few bytes now and then", FIRMWARE, unread=True, reads=300),
        Kind("pipelined, unread", own=MANY, unread=True),
        Kind("pipelined, a few bytes now and then", own=MANY, unread=True, reads=300),
        # Over plain HTTP the kernel takes such a one over, once the server has closed, and does not tell its peer.
        Kind("a few documents, unread", own=FEW, unread=True, fits=True),
    ),
}


@dataclass(frozen=True)
class Plan:
    """What the other process is told."""

    at: dict[str, tuple[str, int]]
    ca: str
    own: str
    "Path of a phone's own document."
    deadline: float
    count: int
    over: float
    "Seconds in which they come."


@dataclass
class Told:
    """What it found: seconds from its connection to its end, by listener and kind; None: it did not end."""

    lasted: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    "Connections that were not even had."
    opened_in: float = 0.0


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="slow connections, over HTTP and TLS")
    wanted = effort.of(800, 5000)
    files = raised_files()
    count = min(wanted, files - SPARE_FILES)
    if count < wanted:
        outcome.figures["scaled"] = f"{count} at once instead of {wanted}: {files} open files are allowed"
    directory = effort.directory / "server"
    firmware = await asyncio.to_thread(image, effort.directory / "firmware")
    deadline = OWN if effort.full else SHORT
    settings = {"LIMITS__REQUEST": f"{deadline:g}", "LIMITS__HANDSHAKE": f"{deadline:g}", "LOG__ACCESS": "off"}
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        # It starts while the server does.
        warm = asyncio.get_running_loop().run_in_executor(other, raised_files)
        async with attacked(directory, outcome, PATHS__FIRMWARE=str(firmware), **settings) as (server, api):
            await warm
            await Slow(effort, outcome, server, other, count, deadline).run(api)
    return outcome


class Slow:
    def __init__(
        self, effort: Effort, outcome: Outcome, server: Server, other: ProcessPoolExecutor, count: int, deadline: float
    ) -> None:
        self.effort, self.outcome, self.server, self.other = effort, outcome, server, other
        self.count, self.deadline = count, deadline
        self.at = {kind: place(url) for kind, url in ((PLAIN, server.http), (TLS, server.https))}
        self.good = Good(self.at, server.trust())
        self.proc = Path(f"/proc/{server.ready['pid']}")
        self.largest = self.most_files = 0
        self.opened_in = 0.0

    async def run(self, api: Api) -> None:
        await self.good.prepare(api)
        # What a process keeps for good shows once it has worked.
        async with self.good.fetching():
            await asyncio.sleep(0.7)
        before_p99 = percentile(self.good.took, 0.99)
        self.good.took.clear()
        base, start = await self.rests(), self.memory()
        kept: list[int] = []
        worst: dict[tuple[str, str], float] = {}
        tally = Counter[str]()
        rounds = self.effort.of(1, 2)
        for number in range(rounds):
            self.effort.say(f"{number} of {rounds} rounds of {self.count}")
            plan = Plan(
                self.at, self.server.ready["ca_file"], self.good.path, self.deadline, self.count, self.effort.of(3, 8)
            )
            async with self.good.fetching(), self.watched():
                told = await asyncio.get_running_loop().run_in_executor(self.other, offend, plan)
            self.opened_in = max(self.opened_in, told.opened_in)
            self.judge(told, worst, tally)
            if (files := await self.rests(base)) > base:
                self.outcome.fail(f"the server had {base} files open before, and {files} when all were gone")
            kept.append(self.memory() - start)
        cut = await self.counted(api, "answers_cut_total")
        if cut < tally["cut"]:
            self.outcome.fail(f"{tally['cut']} read no answer, and the server says that it cut {cut}")
        self.finish(before_p99, base, start, kept, worst, cut)

    def judge(self, told: Told, worst: dict[tuple[str, str], float], tally: Counter[str]) -> None:
        for what, number in told.failed.items():
            self.outcome.fail(f"{number} slow ones were not even connected: {what}")
        for listener, kinds in KINDS.items():
            for kind in kinds:
                lasted = told.lasted.get((listener, kind.name), [])
                name = f"{listener}: {kind.name}"
                ended = [seconds for seconds in lasted if seconds is not None]
                self.outcome.tried += len(lasted)
                tally["cut"] += kind.unread * len(ended)
                if not ended or len(ended) < len(lasted):
                    self.outcome.fail(f"{name}: {len(lasted) - len(ended)} of {len(lasted)} were never closed")
                    continue
                worst[listener, kind.name] = max(worst.get((listener, kind.name), 0.0), *ended)
                late = [seconds for seconds in ended if seconds > kind.within(self.deadline) + LATE]
                if late:
                    self.outcome.fail(
                        f"{name}: {len(late)} of {len(ended)} were closed after {max(late):.1f} s, {kind.within(self.deadline):g} are allowed"
                    )
                # Whoever is cut early was not what it is called, so that nothing was shown of it.
                if min(ended) < kind.least(self.deadline):
                    self.outcome.fail(f"{name}: one was closed after {min(ended):.1f} s already")

    def finish(
        self,
        before_p99: float,
        base: int,
        start: int,
        kept: list[int],
        worst: dict[tuple[str, str], float],
        cut: int,
    ) -> None:
        took, refused = self.good.took, self.good.refused
        p99 = percentile(took, 0.99)
        if refused:
            self.outcome.fail(f"good phones were refused: {dict(refused)}")
        if p99 > BOUND or not took:
            self.outcome.fail(f"a good phone's fetch took {p99:.2f} s (p99 of {len(took)}), {BOUND:g} are allowed")
        grown = self.largest - start
        allowed = max(MOST_GROWTH, MOST_GROWTH_EACH * self.count)
        if grown > allowed:
            self.outcome.fail(f"the server grew by {grown / 1e6:.0f} MB, {allowed / 1e6:.0f} are allowed")
        if self.most_files - base < 0.6 * self.count:
            self.outcome.fail(f"the server had no more than {self.most_files} files open: they were not there at once")
        kinds = {(listener, kind.name): kind for listener in KINDS for kind in KINDS[listener]}

        for what, unread in (("last head closed", False), ("last unread closed", True)):
            found = [(seconds, key) for key, seconds in worst.items() if kinds[key].unread is unread]
            if found:
                seconds, key = max(found)
                allowed_seconds = kinds[key].within(self.deadline)
                self.outcome.figures[what] = f"{seconds:.1f} s of {allowed_seconds:g} ({': '.join(key)})"
        self.outcome.figures |= {
            "good fetches": f"{len(took)}, refused {refused.total()}",
            "p50": f"{percentile(took, 0.5) * 1000:.1f} ms",
            "p99": f"{p99 * 1000:.0f} ms ({'within' if p99 <= TARGET else 'over'} the target of {TARGET * 1000:.0f}"
            f", red over {BOUND * 1000:.0f}; {before_p99 * 1000:.0f} before; load {os.getloadavg()[0]:.1f}"
            f" on {os.cpu_count()} cores)",
            "largest growth": f"{grown / 1e6:.0f} MB on {start / 1e6:.0f}, {allowed / 1e6:.0f} are allowed",
            "left": " ".join(f"{each / 1e6:.0f}" for each in kept) + " MB",
            "came in": f"{self.opened_in:.1f} s",
            "most files open": f"{self.most_files}, {base} before and after",
            "answers cut": str(cut),
        }

    def memory(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", (self.proc / "status").read_text())
        return int(found[1]) * 1024 if found else 0

    def files(self) -> int:
        return sum(1 for _ in (self.proc / "fd").iterdir())

    async def rests(self, base: int = 0, within: float = 4.0) -> int:
        """Its open files, once they are down to the base, or no fewer any more."""
        deadline = time.monotonic() + (within if base else 0.5)
        files = self.files()
        while files > base and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            files = self.files()
        return files

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async def look() -> None:
            turn = 0
            while True:
                self.largest = max(self.largest, self.memory())
                if turn % 20 == 0:
                    self.most_files = max(self.most_files, self.files())
                turn += 1
                await asyncio.sleep(0.05)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def counted(self, api: Api, name: str) -> int:
        found = re.search(rf"(?m)^provisioning_{name} (\d+)$", (await api.get("/metrics")).body.decode())
        return int(found[1]) if found else -1


class Good:
    """Phones that fetch as they should, each time over a new connection."""

    def __init__(self, at: dict[str, tuple[str, int]], tls: ssl.SSLContext) -> None:
        self.at, self.tls = at, tls
        self.path = ""
        self.took: list[float] = []
        self.refused = Counter[str]()

    async def prepare(self, api: Api) -> None:
        await api.account()
        await api.line("line1")
        made = await api.phone(MAC, main_line="line1")
        self.path = f"/{urlsplit(made['provisioning_url']).path.split('/')[1]}/{MAC}.cfg"

    @contextlib.asynccontextmanager
    async def fetching(self) -> AsyncIterator[None]:
        done = asyncio.Event()
        phones = [asyncio.create_task(self.on(kind, done)) for kind in (PLAIN, PLAIN, PLAIN, TLS, TLS)]
        try:
            yield
        finally:
            done.set()
            await asyncio.gather(*phones)

    async def on(self, kind: str, done: asyncio.Event) -> None:
        while not done.is_set():
            began = time.monotonic()
            heard = await self.fetch(kind)
            self.took.append(time.monotonic() - began)
            if heard.status != 200 or b"pw-line1" not in heard.body:
                self.refused[f"{kind} {heard.status}"] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.04)

    async def fetch(self, kind: str) -> Heard:
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(*self.at[kind], ssl=self.tls if kind == TLS else None)
        except (OSError, TimeoutError):
            return SILENT
        try:
            writer.write(request(self.path))
            return await listen(reader, patience=30)
        except OSError:
            return SILENT
        finally:
            writer.close()


# The other process


@dataclass
class Peer:
    kind: Kind
    key: tuple[str, str]
    its: socket.socket
    since: float
    every: float
    next: float


def offend(plan: Plan) -> Told:
    """Plays all of them, and sees by the kernel's word when each ends, for they do not read."""
    raised_files()
    told, poll = Told(), select.epoll()
    context = ssl.create_default_context(cafile=plan.ca)
    turns = [(listener, kind) for listener, kinds in KINDS.items() for kind in kinds]
    order = [
        turns[number % len(turns)] for number in range(plan.count) for _ in range(turns[number % len(turns)][1].share)
    ]
    # Those that last longest come first.
    order = sorted(order[: plan.count], key=lambda turn: not turn[1].unread)
    peers: dict[int, Peer] = {}
    began, opened = time.monotonic(), 0
    # From the last that came, which takes longer than it should where others use the machine too.
    patience = (TIMES_UNREAD + 1) * plan.deadline + AFTER_UNREAD + 2.0
    while opened < len(order) or (peers and time.monotonic() < began + told.opened_in + patience):
        now = time.monotonic()
        if opened < len(order) and opened <= (now - began) / plan.over * len(order):
            peer = connected(plan, *order[opened], OFFENDERS[opened % len(OFFENDERS)], context, told)
            opened += 1
            told.opened_in = time.monotonic() - began
            if peer is not None:
                peers[peer.its.fileno()] = peer
                poll.register(peer.its.fileno(), select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET)
        for descriptor, _ in poll.poll(0.002, 4096):
            peer = peers.pop(descriptor, None)
            if peer is not None:
                told.lasted.setdefault(peer.key, []).append(time.monotonic() - peer.since)
                poll.unregister(descriptor)
                peer.its.close()
        now = time.monotonic()
        for peer in peers.values():
            if now >= peer.next:
                peer.next = now + peer.every
                go_on(peer)
    for peer in peers.values():
        told.lasted.setdefault(peer.key, []).append(None)
        peer.its.close()
    poll.close()
    return told


def connected(plan: Plan, listener: str, kind: Kind, source: str, context: ssl.SSLContext, told: Told) -> Peer | None:
    its = socket.socket()
    if kind.unread:
        # Next to no room, and the segments of a network; loopback's are larger than this.
        its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_ROOM)
        its.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    its.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    its.settimeout(10)
    stage = "connect"
    try:
        its.bind((source, 0))
        its.connect(plan.at[listener])
        since = time.monotonic()
        if listener == TLS and kind.handshake:
            stage = "handshake"
            its = context.wrap_socket(its, server_hostname=plan.at[listener][0])
            since = time.monotonic()
        if kind.answered:
            stage = "first answer"
            its.sendall(request(COMMON))
            if not whole(its):
                raise ConnectionError("no first answer")
            since = time.monotonic()
        stage = "sending"
        its.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            if sent := kind.sent + request(plan.own) * kind.own:
                its.send(sent)
    except (OSError, ssl.SSLError) as error:
        its.close()
        told.failed[f"{listener}: {kind.name}: {stage}: {type(error).__name__}"] += 1
        return None
    every = plan.deadline / 3 if kind.reads else kind.every if kind.dripped else float("inf")
    return Peer(kind, (listener, kind.name), its, since, every, time.monotonic() + every)


def whole(its: socket.socket) -> bool:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = its.recv(65536)
        if not piece:
            return False
        got += piece
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", got)
    left = (int(length[1]) if length else 0) - len(got.partition(b"\r\n\r\n")[2])
    while left > 0:
        piece = its.recv(65536)
        if not piece:
            return False
        left -= len(piece)
    return got.startswith(b"HTTP/1.1 200 ")


def go_on(peer: Peer) -> None:
    # That it has ended is for the kernel to tell.
    with contextlib.suppress(OSError, ssl.SSLError):
        if peer.kind.reads:
            # Below TLS, where the first byte would take a whole record of 16 KiB.
            socket.socket.recv(peer.its, peer.kind.reads)
        else:
            peer.its.send(peer.kind.dripped)


# Of both


def raised_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def image(folder: Path) -> Path:
    folder.mkdir()
    (folder / "large.rom").write_bytes(bytes(LARGE))
    digest = hashlib.sha256(bytes(LARGE)).hexdigest()
    (folder / "manifest.toml").write_text(
        f'[[image]]\nmodel = "yealink-t54w"\nversion = "96.86.0.23"\nfile = "large.rom"\nsize = {LARGE}\nsha256 = "{digest}"\n'
    )
    return folder
