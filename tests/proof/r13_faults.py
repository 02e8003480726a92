"""R13: seeded faults in the store, the SIP client and the clock, while lines and phones are worked with.

A refused change must have changed nothing, an acknowledged one everything: so the proof always knows
what must hold, and every answer, every fetch and the database are held against it. A seed that fails
is tried again by itself, in a server of its own.
"""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import ledger
from attacked import without_limits
from customers import HERE, Caller, Phone, path_of, route, shown, sip_side
from dial import Dial
from faulty_server import CANARY
from outcome import Effort, Outcome
from running import Answer, Server

TITLE = "seeded faults of store, SIP and clock"
WRAPPER = str(Path(__file__).with_name("faulty_server.py"))
ACTS = 40
MODELS = (("yealink-t33g", 4), ("yealink-t42u", 12), ("yealink-t21p_e2", 2))
LINES = 8
FAILED = {(503, "busy"), (503, "storage-failed"), (500, "broken")}
"What a change is answered that a fault met: nothing was changed."
LEASE = 8.0


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="changes and fetches under faults")
    seeds = range(effort.seed * 10_000, effort.seed * 10_000 + effort.of(12, 1000))
    told: Counter[str] = Counter()
    red = await _tried(effort, outcome, effort.directory / "server", list(seeds), told)
    for seed in red[:3]:
        again = Outcome()
        await _tried(effort, again, effort.directory / f"again{seed}", [seed], Counter())
        repeats = "repeats" if again.through else "does not repeat in a server of its own"
        outcome.fail(f"the seed {seed} {repeats}")
    outcome.figures = {"seeds": str(len(seeds)), "failed seeds": str(len(red))} | {
        name: str(count) for name, count in sorted(told.items())
    }
    return outcome


def _faulty(directory: Path, settings: dict[str, str]) -> tuple[Server, Dial]:
    directory.mkdir()
    its = {"RESYNC__T1": "0.01", "NETWORK__FRESHNESS": "1e9"} | settings | without_limits()
    return Server(directory, its, (WRAPPER,)), Dial(directory / "dial")


async def _tried(effort: Effort, outcome: Outcome, directory: Path, seeds: list[int], told: Counter[str]) -> list[int]:
    """The seeds that failed."""
    sip = await sip_side()
    server, dial = _faulty(directory, route(sip))
    red, secrets, caller = [], {CANARY}, None
    try:
        await asyncio.to_thread(server.start)
        caller = Caller(server)
        for seed in seeds:
            effort.say(f"seed {seed}")
            before = len(outcome.through)
            world = World(caller, dial, seed, outcome, told)
            await world.run()
            secrets |= world.secrets
            if len(outcome.through) > before:
                red.append(seed)
        await _recovered(outcome, server, told)
        told["faults"] += dial.fired
        told["NOTIFY"] += len(sip.requests)
        await caller.close()
        if (code := server.stop()) != 0:
            outcome.fail(f"the server ended with {code}")
        text = server.log.read_text(errors="replace")
        if "Traceback" in text:
            outcome.fail(f"the log has a traceback: {text[text.index('Traceback') :][:300]}")
        text += (directory / "access.log").read_text(errors="replace")
        outcome.through += [f"the log shows {secret[:6]}..." for secret in sorted(secrets) if secret in text][:5]
    finally:
        if caller is not None:
            await caller.close()
        server.kill()
        await sip.stop()
    return red


async def _recovered(outcome: Outcome, server: Server, told: Counter[str]) -> None:
    """Without faults all that is owed is told, also what a broken attempt had claimed."""
    deadline = time.monotonic() + LEASE + 4
    while (found := ledger.read(server.data / "provisioning.db", thorough=False)).untold:
        if time.monotonic() > deadline:
            outcome.fail(f"{len(found.untold)} operations were not told after the faults")
            break
        await asyncio.sleep(0.2)
    found = ledger.read(server.data / "provisioning.db")
    outcome.through += [f"at the end: {sentence}" for sentence in found.wrong]
    told["operations"] += len(found.operations)


class World:
    """One seed: an account of its own, and what must hold of it."""

    def __init__(self, caller: Caller, dial: Dial, seed: int, outcome: Outcome, told: Counter[str]) -> None:
        self.caller, self.dial, self.seed, self.outcome, self.told = caller, dial, seed, outcome, told
        self.chance = random.Random(seed)
        self.account = f"a{seed}"
        self.phones: list[Phone] = []
        self.slots: dict[str, int] = {}
        self.held: dict[str, dict[int, str]] = {}
        self.passwords: dict[str, str] = {}
        self.operations: set[str] = set()
        self.secrets: set[str] = set()

    async def run(self) -> None:
        self.dial.seed = 0
        await self._prepare()
        self.dial.seed = self.seed
        acts = (self._attach, self._attach, self._attach, self._detach, self._promote, self._resync, self._reset)
        acts += (
            self._password,
            self._make,
            self._drop,
            self._fetch,
            self._fetch,
            self._burst,
            self._double,
            self._keyed,
        )
        try:
            for _ in range(ACTS):
                await self.chance.choice(acts)()
        finally:
            self.dial.seed = 0
        await self._compare()

    async def _prepare(self) -> None:
        await self.caller.api.account(self.account)
        for number, (model, slots) in enumerate(MODELS):
            main = await self._line(f"s{self.seed}main{number}")
            phone = await self.caller.phone(self.seed % 2_000_000 * 4 + number, main, model, self.account)
            self.phones.append(phone)
            self.slots[phone.mac], self.held[phone.mac] = slots, {1: main}
            self.secrets.add(phone.path.strip("/"))
            await self.caller.fetch(phone.url(self.caller.server))
        for number in range(LINES):
            await self._line(f"s{self.seed}l{number}")

    async def _line(self, name: str) -> str:
        await self.caller.lines([name], self.account)
        self._known(name, f"pw-{name}")
        return name

    def _known(self, line: str, password: str) -> None:
        self.passwords[line] = password
        self.secrets.add(password)

    # What is done, and what it must be answered

    def _taken(self, what: str, answer: Answer, good: int = 202, *refused: str) -> bool:
        """It was acknowledged. Otherwise it was refused, or a fault met it: then nothing was changed."""
        self.outcome.tried += 1
        if answer.status == good and not refused:
            self.told["acknowledged"] += 1
            if good == 202:
                self.operations.add(answer.body["id"])
            return True
        if (answer.status, answer.code) in FAILED:
            self.told[f"{answer.status} {answer.code}"] += 1
        elif answer.code not in refused:
            self._fail(f"{what} was answered {answer.status} {answer.code}, {' or '.join(refused) or good} was due")
        return False

    def _fail(self, sentence: str) -> None:
        self.outcome.fail(f"seed {self.seed}: {sentence}")

    def _on(self, line: str) -> tuple[str, int] | None:
        return next(((mac, slot) for mac, held in self.held.items() for slot, its in held.items() if its == line), None)

    def _any_line(self) -> str:
        return self.chance.choice(sorted(self.passwords))

    def _due(self, line: str, mac: str) -> tuple[str, ...]:
        """Why an attach has to be refused."""
        if self._on(line):
            return ("line-already-attached",)
        return ("no-free-slot",) if len(self.held[mac]) == self.slots[mac] else ()

    async def _attach(self) -> None:
        line, mac = self._any_line(), self.chance.choice(self.phones).mac
        due = self._due(line, mac)
        answer = await self.caller.attach(line, mac)
        if self._taken("an attach", answer, 202, *due):
            self._fill(mac, answer.body["slot"], line)

    def _fill(self, mac: str, slot: int, line: str) -> None:
        if slot in self.held[mac] or slot > self.slots[mac]:
            self._fail(f"slot {slot} was given twice")
        self.held[mac][slot] = line

    async def _detach(self) -> None:
        line = self._any_line()
        on = self._on(line)
        answer = await self.caller.detach(line)
        if self._taken("a detach", answer, 202, *([] if on else ["line-not-attached"])) and on:
            del self.held[on[0]][on[1]]

    async def _promote(self) -> None:
        phone = self.chance.choice(self.phones)
        held = self.held[phone.mac]
        line = self.chance.choice(sorted(held.values()) or [self._any_line()])
        slot = next((slot for slot, its in held.items() if its == line), None)
        due = ["line-not-attached"] if slot is None else ["already-main-line"] if slot == 1 else []
        answer = await self.caller.ask("POST", f"/v1/phones/{phone.mac}/promote", {"line": line})
        if self._taken("a promote", answer, 202, *due) and slot is not None:
            main = held.pop(1, None)
            held.pop(slot)
            held[1] = line
            if main is not None:
                held[slot] = main

    async def _resync(self) -> None:
        phone = self.chance.choice(self.phones)
        self._taken(
            "a resync",
            await self.caller.ask("POST", f"/v1/phones/{phone.mac}/resync", {"reboot": self.chance.random() < 0.3}),
        )

    async def _reset(self) -> None:
        phone = self.chance.choice(self.phones)
        answer = await self.caller.ask("POST", f"/v1/phones/{phone.mac}/reset", {"public_ip": HERE})
        if self._taken("a reset", answer):
            phone.path = path_of(answer.body)
            self.secrets.add(phone.path.strip("/"))

    async def _password(self) -> None:
        line, password = self._any_line(), f"new-{self.chance.randbytes(8).hex()}"
        answer = await self.caller.ask("PATCH", f"/v1/lines/{line}", {"password": password})
        if self._taken("a new password", answer, 200):
            self._known(line, password)
            # A line that is attached is an operation too, which this answer does not name.
            if self._on(line):
                self.told["updates"] += 1

    async def _make(self) -> None:
        name = f"s{self.seed}n{len(self.passwords)}-{self.chance.randrange(1000)}"
        if name in self.passwords:
            return
        its = {
            "line": name,
            "account": self.account,
            "number": "+331",
            "username": name,
            "password": f"pw-{name}",
            "domain": "sip.example.net",
        }
        if self._taken("a new line", await self.caller.ask("POST", "/v1/lines", its), 201):
            self._known(name, f"pw-{name}")

    async def _drop(self) -> None:
        line = self._any_line()
        due = ["line-already-attached"] if self._on(line) else []
        if self._taken("a removal", await self.caller.ask("DELETE", f"/v1/lines/{line}"), 204, *due):
            del self.passwords[line]

    async def _fetch(self) -> None:
        phone = self.chance.choice(self.phones)
        self.outcome.tried += 1
        self._shown(phone, await self.caller.fetch(phone.url(self.caller.server)), faults=True)

    def _shown(self, phone: Phone, answer: Answer, *, faults: bool) -> None:
        if answer.status != 200:
            if not faults or answer.status != 503:
                self._fail(f"a fetch was answered {answer.status}")
            self.told["fetch 503"] += 1
        elif shown(answer.body) != self.held[phone.mac]:
            self._fail(f"a fetch shows {shown(answer.body)}, acknowledged was {self.held[phone.mac]}")
        elif any(self.passwords[line].encode() not in answer.body for line in self.held[phone.mac].values()):
            self._fail("a fetch shows an old password")

    async def _burst(self) -> None:
        """Several lines for the same phone at once."""
        mac = self.chance.choice(self.phones).mac
        lines = [line for line in sorted(self.passwords) if not self._on(line)][:6]
        free = self.slots[mac] - len(self.held[mac])
        answers = await asyncio.gather(*(self.caller.attach(line, mac) for line in lines))
        won = 0
        for line, answer in zip(lines, answers, strict=True):
            if answer.code == "no-free-slot":
                self.outcome.tried += 1
            elif self._taken("one of several attaches", answer):
                won += 1
                self._fill(mac, answer.body["slot"], line)
        refused = sum(answer.code == "no-free-slot" for answer in answers)
        if won > free or (refused and won != free):
            self._fail(f"of {free} free slots {won} were filled, and {refused} attaches refused")

    async def _double(self) -> None:
        """The same line for two phones at once."""
        free = [line for line in sorted(self.passwords) if not self._on(line)]
        if not free:
            return
        line, (one, other) = free[0], self.chance.sample([phone.mac for phone in self.phones], 2)
        answers = await asyncio.gather(self.caller.attach(line, one), self.caller.attach(line, other))
        for mac, answer in zip((one, other), answers, strict=True):
            if answer.code == "no-free-slot" and len(self.held[mac]) == self.slots[mac]:
                continue
            if answer.code == "line-already-attached" and any(its.status == 202 for its in answers):
                continue
            if self._taken("one of two attaches", answer):
                if self._on(line):
                    self._fail("a line was acknowledged on two phones")
                self._fill(mac, answer.body["slot"], line)

    async def _keyed(self) -> None:
        """Under an Idempotency-Key, again until it is acknowledged, and then once more."""
        line, mac = self._any_line(), self.chance.choice(self.phones).mac
        if self._due(line, mac):
            return
        key, first = self.chance.randbytes(8).hex(), None
        for _ in range(6):
            answer = await self.caller.ask(
                "POST", f"/v1/lines/{line}/attach", {"mac": mac, "public_ip": HERE}, Idempotency_Key=key
            )
            if not self._taken("an attach under a key", answer):
                continue
            if first is None:
                first = answer.body["id"]
                self._fill(mac, answer.body["slot"], line)
            elif answer.body["id"] != first:
                self._fail("an attach under one key was made twice")
            else:
                return

    async def _compare(self) -> None:
        found = ledger.read(self.caller.server.data / "provisioning.db", self.account, thorough=False)
        for sentence in found.wrong:
            self._fail(sentence)
        if found.held != self.held:
            self._fail(f"the slots hold {found.held}, acknowledged was {self.held}")
        if found.lines != set(self.passwords):
            self._fail(f"lines differ from what was acknowledged: {sorted(found.lines ^ set(self.passwords))}")
        really = {name for name, row in found.operations.items() if row["kind"] != "update"}
        if really != self.operations:
            self._fail(
                f"{len(self.operations - really)} acknowledged operations are gone, {len(really - self.operations)} nobody was told of"
            )
        for phone in self.phones:
            self._shown(phone, await self.caller.fetch(phone.url(self.caller.server)), faults=False)
