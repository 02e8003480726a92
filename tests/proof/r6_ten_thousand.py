"""R6: ten thousand kept connections that ask nothing, while phones fetch; one address's share; and the cap on all.

Each part has a server of its own, with the limits that it is about.
"""

import asyncio
import contextlib
import os
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

from attacked import attacked
from customers import percentile
from outcome import Effort, Outcome
from r5_slow import BOUND, COMMON, PLAIN, SPARE_FILES, TARGET, TLS, Good, place, raised_files, request
from running import Api, Server

T = TypeVar("T")
TITLE = "10,000 idle connections, one address's share, and the cap on all"
ALONE = True
SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
MOST_MEMORY = 200_000_000
AT_ONCE = 100
"Connections that are being opened."
SHARE, CAP = 500, 1000
AT_ONCE_CLOSED = 1.0
"Seconds in which a surplus connection is closed; the rest of a deadline would be a minute."
DEADLINE, PAUSE = 4.0, 1.5
"Seconds, of the idle ones that hold the whole cap; and between as many of them as phones wait, and the rest."
LATE = 1.2
"Seconds after the deadline until the first is gone; and from then until all waiting phones have their documents."


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="connections that ask nothing, and fetches meanwhile")
    wanted, files = effort.of(3000, 10_000), raised_files()
    count = min(wanted, files - SPARE_FILES)
    if count < wanted:
        outcome.figures["scaled"] = f"{count} instead of {wanted}: {files} open files are allowed"
    await kept(effort, outcome, count)
    await one_address(effort, outcome)
    await all_of_them(effort, outcome)
    return outcome


async def kept(effort: Effort, outcome: Outcome, count: int) -> None:
    settings = {"LIMITS__CONNECTIONS": "12000", "LIMITS__CONNECTIONS_PER_ADDRESS": "4000", "LIMITS__REQUEST": "60"}
    async with attacked(effort.directory / "kept", outcome, LOG__ACCESS="off", **settings) as (server, api):
        good = await phone(server, api)
        base, start = sockets_of(server), memory_of(server)
        began = time.monotonic()
        idle = await Idle.open(good.at[PLAIN], (SOURCES[n % len(SOURCES)] for n in range(count)), asks=True)
        opened_in = time.monotonic() - began
        outcome.tried += count
        if idle.refused:
            outcome.fail(f"{idle.refused.total()} of {count} idle connections were not had: {dict(idle.refused)}")
        effort.say(f"{count} idle connections")
        # It lasts as long as they may; by then each has asked again.
        await fetches(good, effort.of(300, 4000), at_once=4)
        outcome.tried += len(good.took)
        there, largest = sockets_of(server), memory_of(server)
        if there < count - idle.refused.total():
            outcome.fail(f"the server has {there} sockets after the fetches, and {count} idle connections were had")
        if gone := idle.gone():
            outcome.fail(f"{len(gone)} idle connections were closed long before their deadline")
        answered = await idle.ask_again()
        if answered != len(idle.held):
            outcome.fail(f"{len(idle.held) - answered} of {len(idle.held)} kept connections gave no second answer")
        largest = max(largest, memory_of(server))
        idle.close()
        left = await falls(server, base)
    p99 = percentile(good.took, 0.99)
    if good.refused:
        outcome.fail(f"good phones were refused beside {count} idle connections: {dict(good.refused)}")
    if p99 > BOUND:
        outcome.fail(f"a new fetch took {p99:.2f} s (p99) beside {count} idle connections, {BOUND:g} are allowed")
    if largest > MOST_MEMORY:
        outcome.fail(f"the server has {largest / 1e6:.0f} MB with {count} idle connections")
    if left > base:
        outcome.fail(f"the server had {base} sockets before, and {left} when all were gone")
    outcome.figures |= {
        "idle": f"{len(idle.held)} held, opened in {opened_in:.1f} s, each asked twice",
        "fetches": f"{len(good.took)} new, refused {good.refused.total()}",
        "p50": f"{percentile(good.took, 0.5) * 1000:.1f} ms",
        "p99": f"{p99 * 1000:.0f} ms ({'within' if p99 <= TARGET else 'over'} the target of {TARGET * 1000:.0f},"
        f" red over {BOUND * 1000:.0f}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)",
        "memory": f"{largest / 1e6:.0f} MB, {start / 1e6:.0f} before",
    }


async def one_address(effort: Effort, outcome: Outcome) -> None:
    effort.say("one address has its share")
    greedy, surplus = "127.0.0.2", effort.of(200, 2000)
    settings = {"LIMITS__CONNECTIONS_PER_ADDRESS": str(SHARE), "LIMITS__REQUEST": "60", "LIMITS__HANDSHAKE": "60"}
    async with attacked(effort.directory / "share", outcome, LOG__ACCESS="off", **settings) as (server, api):
        good = await phone(server, api)
        base = sockets_of(server)
        its = await Idle.open(good.at[PLAIN], [greedy] * SHARE)
        await asyncio.sleep(0.3)
        outcome.tried += SHARE + surplus
        if early := its.gone():
            outcome.fail(f"{len(early)} connections of one address were closed, which has no more than its share")

        async def beyond(number: int) -> float | None:
            """Seconds until it is closed; None: it is not. Both listeners have one share."""
            one = Idle()
            began = time.monotonic()
            await one.add(good.at[PLAIN if number % 2 else TLS], greedy)
            while one.held and time.monotonic() - began < AT_ONCE_CLOSED:
                if one.gone():
                    break
                await asyncio.sleep(0.005)
            else:
                if one.held:
                    one.close()
                    return None
            one.close()
            return time.monotonic() - began

        closing = asyncio.create_task(each(surplus, beyond, 50))
        # Others', meanwhile: with the source that all other fetches have.
        while not closing.done() or len(good.took) < 100:
            await fetches(good, 20, at_once=2)
        closed = await closing
        outcome.tried += len(good.took)
        if still := sum(seconds is None for seconds in closed):
            outcome.fail(f"{still} of {surplus} connections beyond one address's share were not closed at once")
        counted = await counter(api, "connections_refused_total")
        if counted != surplus:
            outcome.fail(f"{surplus} connections were too many for one address, and the server says {counted}")
        if good.refused:
            outcome.fail(f"one address had its share, and phones of others were refused: {dict(good.refused)}")
        if (p99 := percentile(good.took, 0.99)) > BOUND:
            outcome.fail(f"one address had its share, and a fetch of another took {p99:.2f} s (p99)")
        if gone := its.gone():
            outcome.fail(f"{len(gone)} connections were closed that were within the share")
        held = sockets_of(server) - base
        # A place that is given back is had again.
        its.held.pop().close()
        await falls(server, base + SHARE - 1)
        again = await Idle.open(good.at[PLAIN], [greedy], asks=True)
        if again.refused:
            outcome.fail("one connection of the greedy address was closed, and it did not get another")
        its.close()
        again.close()
    known = [seconds for seconds in closed if seconds is not None]
    outcome.figures["one address"] = (
        f"{held} held, {surplus - still} of {surplus} more closed within {max(known, default=0) * 1000:.0f} ms;"
        f" {len(good.took)} fetches of others, refused {good.refused.total()}, p99 {p99 * 1000:.0f} ms"
    )


async def all_of_them(effort: Effort, outcome: Outcome) -> None:
    effort.say("the cap on all is held by idle ones")
    waiting, rounds = effort.of(40, 200), effort.of(1, 5)
    settings = {
        "LIMITS__CONNECTIONS": str(CAP),
        "LIMITS__REQUEST": f"{DEADLINE:g}",
        "LIMITS__HANDSHAKE": f"{DEADLINE:g}",
    }
    every = [SOURCES[number % len(SOURCES)] for number in range(CAP)]
    waits: list[float] = []
    after: list[float] = []
    async with attacked(effort.directory / "all", outcome, LOG__ACCESS="off", **settings) as (server, api):
        good = await phone(server, api)
        for number in range(rounds):
            base = sockets_of(server)
            idle = await Idle.open(good.at[PLAIN], every[:waiting], asks=True)
            due = time.monotonic() + DEADLINE
            await asyncio.sleep(PAUSE)
            rest = await Idle.open(good.at[PLAIN], every[waiting:], asks=True)
            idle.held += rest.held
            idle.refused += rest.refused
            held = sockets_of(server) - base
            outcome.tried += CAP + waiting
            if idle.refused or held < CAP or idle.gone():
                outcome.fail(f"{held} of {CAP} idle connections are held; too few for what is to be shown")
                idle.close()
                break
            ended = asyncio.create_task(idle.first_gone())
            began = time.monotonic()

            async def wait(turn: int, began: float = began) -> float:
                heard = await good.fetch(PLAIN if turn % 2 else TLS)
                if heard.status != 200 or b"pw-line1" not in heard.body:
                    good.refused[f"{PLAIN if turn % 2 else TLS} {heard.status}"] += 1
                return time.monotonic() - began

            took = await asyncio.gather(*(wait(turn) for turn in range(waiting)))
            first = await ended - began
            if (late := began + first - due) > LATE:
                outcome.fail(f"the first of {CAP} idle connections was closed {late:.1f} s after its deadline")
            idle.close()
            waits += took
            after.append(max(took) - first)
            if min(took) < first - 0.05:
                outcome.fail(
                    f"a phone had its document after {min(took):.1f} s, when {CAP} idle connections still held the cap of {CAP}"
                )
            if max(took) - first > LATE:
                outcome.fail(f"a waiting phone was served {max(took) - first:.1f} s after idle connections were closed")
            effort.say(f"{number + 1} of {rounds} rounds at the cap")
            await falls(server, base)
        times = await counter(api, "connections_held_back_total")
    if good.refused:
        outcome.fail(f"phones that waited for a place were refused: {dict(good.refused)}")
    if not times:
        outcome.fail("the server never held connections back, so nothing was shown of it")
    if waits:
        outcome.figures["all"] = (
            f"{len(waits)} phones waited {min(waits):.1f} to {max(waits):.1f} s behind {CAP} idle connections,"
            f" refused {good.refused.total()}; served within {max(after) * 1000:.0f} ms of the first that ended"
        )


class Idle:
    """Connections that are held, as plain sockets: ten thousand of them cost this process little."""

    def __init__(self) -> None:
        self.held: list[socket.socket] = []
        self.refused = Counter[str]()

    @classmethod
    async def open(cls, at: tuple[str, int], sources: Iterable[str], *, asks: bool = False) -> "Idle":
        its, every = cls(), list(sources)

        async def one(number: int) -> None:
            await its.add(at, every[number], asks=asks)

        await each(len(every), one, AT_ONCE)
        return its

    async def add(self, at: tuple[str, int], source: str, *, asks: bool = False) -> None:
        one = socket.socket()
        one.setblocking(False)
        try:
            async with asyncio.timeout(10):
                one.bind((source, 0))
                await asyncio.get_running_loop().sock_connect(one, at)
                if asks and not await answered(one):
                    raise ConnectionError
        except (OSError, TimeoutError) as error:
            self.refused[type(error).__name__] += 1
            one.close()
            return
        self.held.append(one)

    def gone(self) -> list[socket.socket]:
        """Those that the server closed."""
        with contextlib.closing(select.epoll()) as poll:
            for one in self.held:
                poll.register(one.fileno(), select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
            ended = {descriptor for descriptor, _ in poll.poll(0, max(1, len(self.held)))}
        return [one for one in self.held if one.fileno() in ended]

    async def first_gone(self) -> float:
        while True:
            if self.gone():
                return time.monotonic()
            await asyncio.sleep(0.02)

    async def ask_again(self) -> int:
        async def one(number: int) -> bool:
            try:
                async with asyncio.timeout(10):
                    return await answered(self.held[number])
            except (OSError, TimeoutError):
                return False

        return sum(await each(len(self.held), one, AT_ONCE))

    def close(self) -> None:
        for one in self.held:
            one.close()


async def answered(one: socket.socket) -> bool:
    """Whether a document comes over it, to its end."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(one, request(COMMON))
    got = b""
    while True:
        piece = await loop.sock_recv(one, 65536)
        if not piece:
            return False
        got += piece
        head, end, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if end and length and len(body) >= int(length[1]):
            return head.startswith(b"HTTP/1.1 200 ")


async def each(count: int, one: Callable[[int], Awaitable[T]], at_once: int) -> list[T]:
    """The results of one(0) to one(count - 1)."""
    numbers = iter(range(count))
    found: list[T] = []

    async def work() -> None:
        for number in numbers:
            found.append(await one(number))  # noqa: PERF401  several append

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(count, at_once)):
            tasks.create_task(work())
    return found


async def fetches(good: Good, count: int, *, at_once: int) -> None:
    """New connections, HTTP and HTTPS in turn; their times and refusals are Good's."""

    async def one(number: int) -> None:
        kind = PLAIN if number % 2 else TLS
        began = time.monotonic()
        heard = await good.fetch(kind)
        good.took.append(time.monotonic() - began)
        if heard.status != 200 or b"pw-line1" not in heard.body:
            good.refused[f"{kind} {heard.status}"] += 1
        await asyncio.sleep(0.005)

    await each(count, one, at_once)


async def phone(server: Server, api: Api) -> Good:
    """One that has fetched: what a process keeps for good shows once it has worked."""
    good = Good({PLAIN: place(server.http), TLS: place(server.https)}, server.trust())
    await good.prepare(api)
    await fetches(good, 20, at_once=4)
    good.took.clear()
    await asyncio.sleep(0.3)
    return good


def sockets_of(server: Server) -> int:
    """As it has them, whatever their peers believe. Files of its database come and go with its work."""
    found = 0
    for descriptor in Path(f"/proc/{server.ready['pid']}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def memory_of(server: Server) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.ready['pid']}/status").read_text())
    return int(found[1]) * 1024 if found else 0


async def falls(server: Server, to: int, within: float = 4.0) -> int:
    """Its sockets, once they are so few."""
    deadline = time.monotonic() + within
    while True:
        found = sockets_of(server)
        if found <= to or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.05)


async def counter(api: Api, name: str) -> int:
    found = re.search(rf"(?m)^provisioning_{name} (\d+)$", (await api.get("/metrics")).body.decode())
    return int(found[1]) if found else -1
