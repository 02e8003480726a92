"""R8: the power comes back: a whole fleet boots within a minute, while a stranger sweeps its MACs.

Each phone opens its own TLS connection and asks for its vendor's files in its vendor's order, two hundred
of them from one address, with the product's own limits in force. The stranger is at an address of his
own and behind one of theirs.
"""

import asyncio
import os
import ssl
import time
from collections import Counter
from dataclasses import fields
from random import Random
from urllib.parse import urlsplit

from attacked import attacked
from crowd import MARK, MODELS, Own, build
from customers import percentile
from outcome import Effort, Outcome
from pipelined import SILENT, Heard, listen
from running import Server

from provisioning.config import Limits
from provisioning.domain.mac import Mac
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Answer, Handset

TITLE = "a fleet boots at once after a power cut, while a stranger sweeps"
ALONE = True
AT_ONE_ADDRESS = 200
P99 = 1.0
STRANGERS = "127.0.99.99"


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="phones booted, each with all of its vendor's requests")
    count, seconds = effort.of(300, 5000), effort.of(10, 60)
    directory = effort.directory / "server"
    phones = await asyncio.to_thread(build, directory / "var", count, effort.random())
    limits = {f"LIMITS__{item.name.upper()}": str(item.default) for item in fields(Limits)}
    # On loopback addresses nobody is limited where private addresses are taken.
    async with attacked(directory, outcome, NETWORK__PRIVATE_ADDRESSES="false", **limits) as (server, _):
        await Herd(effort, outcome, server, phones, seconds).run()
    return outcome


class Herd:
    def __init__(self, effort: Effort, outcome: Outcome, server: Server, phones: list[Own], seconds: int) -> None:
        self.effort, self.outcome, self.phones, self.seconds = effort, outcome, phones, seconds
        self.tls = server.trust()
        parts = urlsplit(server.https)
        self.at = (parts.hostname or "", parts.port or 0)
        self.url = server.https
        self.latencies: list[float] = []
        self.boots: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.strange: Counter[int] = Counter()
        self.stopped: Counter[str] = Counter()
        self.provisioned = self.through = 0
        self.load: list[float] = []

    def address(self, number: int) -> str:
        return f"127.0.{1 + number // AT_ONE_ADDRESS}.7"

    async def run(self) -> None:
        chance = self.effort.random()
        order = list(enumerate(self.phones))
        chance.shuffle(order)
        strangers = [
            asyncio.create_task(self.sweep(Random(n), where)) for n, where in enumerate((STRANGERS, self.address(0)))
        ]
        began = time.monotonic()
        async with asyncio.TaskGroup() as boots:
            for turn, (number, own) in enumerate(order):
                due = began + self.seconds * turn / len(order)
                boots.create_task(self.boot(own, self.address(number), due))
        took = time.monotonic() - began
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
        self.judge(took)

    async def boot(self, own: Own, where: str, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        got = False
        try:
            reader, writer = await asyncio.open_connection(*self.at, ssl=self.tls, local_addr=(where, 0))
        except (OSError, ssl.SSLError):
            self.statuses[0] += 1
            return
        try:
            url = f"{self.url}{own.path}"
            boot = dialects.of(own.vendor).boot(Handset(Mac(own.mac), own.model, url, own.common))
            ask = next(boot)
            while True:
                heard = await self.get(reader, writer, urlsplit(ask.url).path)
                self.statuses[heard.status] += 1
                got = got or (ask.own and heard.status == 200 and own.password.encode() in heard.body)
                if heard.status != 200 and (ask.own or heard.status != 404):
                    # Only a 404 is an answer to a phone: with any other it gives up, and comes again later.
                    self.stopped[f"{heard.status} for {ask.url.rpartition('/')[2].replace(own.mac, '<mac>')}"] += 1
                    break
                ask = boot.send(Answer(heard.status, heard.body))
        except StopIteration:
            pass
        finally:
            writer.close()
        self.boots.append(time.monotonic() - began)
        self.provisioned += got
        self.outcome.tried += 1
        if self.outcome.tried % 100 == 0:
            self.load.append(os.getloadavg()[0])
            self.effort.say(f"{self.outcome.tried} of {len(self.phones)} booted")

    async def get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> Heard:
        began = time.monotonic()
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: phones\r\nUser-Agent: phone\r\n\r\n".encode())
            await writer.drain()
            return await listen(reader)
        except (ConnectionError, ssl.SSLError):
            return SILENT
        finally:
            self.latencies.append(time.monotonic() - began)

    async def sweep(self, chance: Random, where: str) -> None:
        """Walks MACs as fast as one connection goes; every thirtieth over a new one."""
        first = chance.randrange(2**24)
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self.at, ssl=self.tls, local_addr=(where, 0))
                for _ in range(30):
                    first = (first + 1) % 2**24
                    mac = f"{chance.choice(list(MODELS))}{first:06x}"
                    name = chance.choice(self.phones).document if chance.random() < 0.3 else f"{mac}.cfg"
                    heard = await self.get_strange(reader, writer, f"/{name}")
                    self.strange[heard.status] += 1
                    if MARK.encode() in heard.body:
                        self.through += 1
                    await asyncio.sleep(0.005)
                writer.close()
            except (OSError, ssl.SSLError):
                self.strange[0] += 1
                await asyncio.sleep(0.1)

    async def get_strange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> Heard:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: phones\r\n\r\n".encode())
        return await listen(reader)

    def judge(self, took: float) -> None:
        count, p99 = len(self.phones), percentile(self.latencies, 0.99)
        refused = {status: number for status, number in self.statuses.items() if status not in (200, 404)}
        if self.provisioned != count:
            self.outcome.fail(f"{self.provisioned} of {count} phones were provisioned; the others met {dict(self.stopped)}")
        if refused:
            self.outcome.fail(f"good phones were answered {refused} (0: no connection or no answer)")
        if self.through:
            self.outcome.fail(f"the stranger got the lines of {self.through} phones")
        if not self.strange[429]:
            self.outcome.fail("the stranger never met a limit, so nothing was shown of it")
        cores, load = os.cpu_count() or 1, max(self.load, default=0.0)
        busy = load > cores
        if p99 > P99 and not busy:
            self.outcome.fail(f"an answer took {p99:.2f} s (p99), {P99:g} are allowed")
        self.outcome.figures = {
            "provisioned": f"{self.provisioned} of {count} in {took:.0f} s, {-(-count // AT_ONE_ADDRESS)} addresses",
            "answers": ", ".join(f"{status} x {number}" for status, number in sorted(self.statuses.items())),
            "p50": f"{percentile(self.latencies, 0.5) * 1000:.1f} ms",
            "p99": f"{p99 * 1000:.0f} ms"
            + (f", not judged: load {load:.1f} on {cores} cores" if busy else f", load {load:.1f} on {cores} cores"),
            "a whole boot p99": f"{percentile(self.boots, 0.99):.2f} s",
            "stranger's answers": ", ".join(f"{status} x {number}" for status, number in sorted(self.strange.items())),
        }
