"""R1: SIGKILL at any moment; what was acknowledged is there, whole, and told after the restart.

What is not promised: the visit of a fetch is recorded up to half a second behind its answer, so a
kill may forget it; the phone is then told once more, and its next fetch is recorded.
"""

import asyncio
import contextlib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import ledger
from attacked import without_limits
from customers import Caller, Phone, percentile, route, shown, sip_side
from outcome import Effort, Outcome
from running import Server

TITLE = "SIGKILL while lines are attached, detached, made and fetched"
ALONE = True
CALLERS = 6
LINES = 5
"Of each caller's own: so each knows what holds after the kill."
READY = 3.0
"Seconds of CPU until a killed server serves again: twice what it takes. The time itself is the machine's."
DRAIN_EVERY = 25
LEASE = 8.0
"Seconds: what the killed server had claimed is another's after 2 * 64 * T1 + 5."


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="kills")
    lanes = [
        Lane(effort.directory / f"lane{number}", random.Random(f"{effort.seed}/{number}"), outcome)
        for number in range(2)
    ]
    kills = effort.of(6, 250)
    try:
        await asyncio.gather(*(lane.run(kills, effort) for lane in lanes))
    finally:
        for lane in lanes:
            lane.server.kill()
    ready = [seconds for lane in lanes for seconds in lane.ready]
    outcome.figures = {
        "acknowledged": str(sum(lane.acknowledged for lane in lanes)),
        "lost": str(sum(lane.lost for lane in lanes)),
        "half done": str(sum(lane.torn for lane in lanes)),
        "in flight at a kill, applied": f"{sum(lane.applied for lane in lanes)} of {sum(lane.in_flight for lane in lanes)}",
        "told after a restart": str(sum(lane.drained for lane in lanes)),
        "ready p50": f"{percentile(ready, 0.5):.2f} s",
        "max": f"{max(ready, default=0):.2f} s",
        "of CPU": f"{max((seconds for lane in lanes for seconds in lane.spent), default=0):.2f} s",
    }
    return outcome


@dataclass
class Known:
    """What one caller knows of one line: acknowledged, and perhaps on its way when the server was killed."""

    mac: str | None = None
    possible: set[str | None] = field(default_factory=set)
    changes: int = 0


class Lane:
    """One server, killed again and again."""

    def __init__(self, directory: Path, chance: random.Random, outcome: Outcome) -> None:
        self.directory, self.chance, self.outcome = directory, chance, outcome
        directory.mkdir()
        self.server = Server(directory, {"RESYNC__T1": "0.01", "NETWORK__FRESHNESS": "1e9"} | without_limits())
        self.known: dict[str, Known] = {}
        self.phones: list[Phone] = []
        self.operations: dict[str, tuple[str, str, str]] = {}
        "Acknowledged: id → kind, line, MAC."
        self.made: dict[str, str] = {}
        "Acknowledged lines and phones: name → path."
        self.acknowledged = self.lost = self.torn = self.in_flight = self.applied = self.drained = 0
        self.ready: list[float] = []
        self.spent: list[float] = []
        self.number = 0

    async def run(self, kills: int, effort: Effort) -> None:
        sip = await sip_side()
        try:
            self.server.environment |= {f"PROVISIONING__{name}": value for name, value in route(sip).items()}
            await asyncio.to_thread(self.server.start)
            await self._prepare()
            enough = time.monotonic() + effort.of(15, 3600)
            for number in range(kills):
                # A machine that others use makes fewer of them.
                last = number == kills - 1 or (number >= 2 and time.monotonic() > enough)
                effort.say(f"kill {number + 1} of {kills}")
                await self._work_and_kill()
                if self.chance.random() < 0.1:
                    await self._killed_in_its_start()
                await self._restart()
                await self._compare()
                if last or number % DRAIN_EVERY == DRAIN_EVERY - 1:
                    await self._drain(len(sip.requests), sip.requests)
                if last:
                    break
        finally:
            self.server.kill()
            await sip.stop()

    async def _prepare(self) -> None:
        caller = Caller(self.server)
        try:
            await caller.api.account()
            for number in range(CALLERS):
                names = [f"c{number}-{line}" for line in range(LINES)]
                await caller.lines([f"main{number}", *names])
                self.known |= {name: Known() for name in names}
                phone = await caller.phone(number + 1, f"main{number}")
                assert (await caller.fetch(phone.url(self.server))).status == 200
                self.phones.append(phone)
        finally:
            await caller.close()
        # The visit tells the worker which line it can be reached by.
        await self._until(lambda found: all(found.seen.values()), 5, "the first fetches were not recorded")

    async def _work_and_kill(self) -> None:
        callers = [Caller(self.server, seconds=5) for _ in range(CALLERS)]
        tasks = [asyncio.create_task(self._act(number, caller)) for number, caller in enumerate(callers)]
        await asyncio.sleep(self.chance.uniform(0.005, 0.3))
        self.server.kill()
        self.outcome.tried += 1
        await asyncio.gather(*tasks)
        for caller in callers:
            await caller.close()

    async def _act(self, number: int, caller: Caller) -> None:
        """Until the server is gone. An act is noted before it is sent, and acknowledged once it is answered."""
        while True:
            line = f"c{number}-{self.chance.randrange(LINES)}"
            known = self.known[line]
            kind = self.chance.choices(("change", "fetch", "make"), (7, 3, 1))[0]
            if kind == "change" and known.mac is None:
                mac = self.chance.choice(self.phones).mac
                known.possible = {None, mac}
                answer, kind = await caller.attach(line, mac), "attach"
            elif kind == "change":
                mac, known.possible = known.mac, {known.mac, None}
                answer, kind = await caller.detach(line), "detach"
            elif kind == "make":
                self.number += 1
                name = f"made{self.number}"
                its = {
                    "line": name,
                    "account": "acme",
                    "number": "+331",
                    "username": name,
                    "password": "x",
                    "domain": "d.example",
                }
                answer = await caller.ask("POST", "/v1/lines", its)
                if answer.status == 201:
                    self.made[name] = f"/v1/lines/{name}"
                    self.acknowledged += 1
            else:
                # Never those of the first half: they have to be told.
                phone = self.phones[CALLERS // 2 + number % (CALLERS // 2)]
                held = self._settled_on(phone.mac)
                answer = await caller.fetch(phone.url(self.server))
                still = {line for line, _ in held & self._settled_on(phone.mac)}
                if answer.status == 200 and (missing := still - set(shown(answer.body).values())):
                    self.outcome.fail(f"a fetch after their acknowledgement does not show {sorted(missing)}")
                self.acknowledged += answer.status == 200
            if answer.status == 0:
                return
            if kind in ("attach", "detach"):
                known.possible = set()
                known.changes += 1
                if answer.status == 202:
                    known.mac = mac if kind == "attach" else None
                    self.operations[answer.body["id"]] = (kind, line, str(mac))
                    self.acknowledged += 1
                elif answer.code != "no-free-slot":
                    self.outcome.fail(f"a good {kind} was answered {answer.status} {answer.code}")
            elif answer.status not in (200, 201):
                self.outcome.fail(f"a good {kind} was answered {answer.status}")

    def _settled_on(self, mac: str) -> set[tuple[str, int]]:
        """Lines that every fetch of the phone must show, and how often they were changed so far."""
        return {(line, its.changes) for line, its in self.known.items() if its.mac == mac and not its.possible}

    async def _killed_in_its_start(self) -> None:
        """While it recovers from the kill before."""
        starting = asyncio.create_task(asyncio.to_thread(self.server.start))
        await asyncio.sleep(self.chance.uniform(0.3, 1.5))
        if self.server.process is not None:
            self.server.process.kill()
        with contextlib.suppress(AssertionError):
            await starting
        self.server.kill()
        self.outcome.tried += 1

    async def _restart(self) -> None:
        began = time.monotonic()
        try:
            await asyncio.to_thread(self.server.start)
        except AssertionError as error:
            self.outcome.fail(f"it did not start after a kill: {error}"[:400])
            raise
        self.ready.append(time.monotonic() - began)
        self.spent.append(_spent(self.server.process.pid))
        if self.spent[-1] > READY:
            self.outcome.fail(f"it took {self.spent[-1]:.1f} s of CPU to be ready after a kill")

    async def _compare(self) -> None:
        found = await asyncio.to_thread(ledger.read, self.server.data / "provisioning.db")
        self.torn += len(found.wrong)
        self.outcome.through += [f"half done after a kill: {told}" for told in found.wrong]
        gone = [
            f"the {kind} of {line}" for name, (kind, line, _) in self.operations.items() if name not in found.operations
        ]
        gone += [name for name in self.made if name not in found.lines]
        for line, known in self.known.items():
            really = found.phone_of(line)
            if known.possible:
                self.in_flight += 1
                self.applied += really != known.mac
                if really not in known.possible:
                    gone.append(f"{line} is on {really}, possible were {known.possible}")
            elif really != known.mac:
                gone.append(f"{line} is on {really}, acknowledged was {known.mac}")
            known.mac, known.possible = really, set()
        self.lost += len(gone)
        self.outcome.through += [f"lost by a kill: {told}" for told in gone]

    async def _drain(self, before: int, requests: list[object]) -> None:
        """Whatever was acknowledged and not told yet is told by the server that came after."""
        owed = set((await asyncio.to_thread(ledger.read, self.server.data / "provisioning.db", thorough=False)).untold)
        found = await self._until(
            lambda found: not owed & set(found.untold), LEASE + 4, f"of {len(owed)} operations not all were told"
        )
        self.drained += len(owed - set(found.untold))
        if owed and len(requests) == before:
            self.outcome.fail("nothing was told after the restart")

    async def _until(self, holds, seconds: float, otherwise: str) -> ledger.Ledger:
        deadline = time.monotonic() + seconds
        while True:
            found = await asyncio.to_thread(ledger.read, self.server.data / "provisioning.db", thorough=False)
            if holds(found):
                return found
            if time.monotonic() > deadline:
                self.outcome.fail(f"{otherwise} within {seconds:.0f} s")
                return found
            await asyncio.sleep(0.1)


def _spent(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
