"""S7: two whole servers on one database fight for the last slot.

The second server has a data directory of its own, with a copy of the first's secret key and admin
token, and [database] url set to the first's file.
"""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import ledger
from attacked import attacked
from customers import Caller
from outcome import Effort, Outcome
from running import Answer, Server

TITLE = "two servers, one database: 40 concurrent attaches for the last slots"
AT_ONCE = 40
SLOTS = 12
"Of the phones' model."
LOST = {"no-free-slot", "slot-taken", "line-already-attached", "line-not-attached", "already-main-line"}
"What a loser of a race may be told."


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="concurrent attaches, detaches and promotes")
    rounds = effort.of(20, 200)
    async with attacked(effort.directory / "one", outcome) as (one, _):
        data = effort.directory / "two" / "var"
        data.mkdir(parents=True)
        for name in ("secret-key", "admin-token"):
            shutil.copy(one.data / name, data / name)
        database = one.data / "provisioning.db"
        async with attacked(effort.directory / "two", outcome, DATABASE__URL=f"sqlite:///{database}") as (two, _):
            await _fight(effort, outcome, database, one, two, rounds)
    return outcome


async def _fight(effort: Effort, outcome: Outcome, database: Path, one: Server, two: Server, rounds: int) -> None:
    chance = effort.random()
    callers = [Caller(one), Caller(two)]
    arena = Arena(callers, chance, outcome)
    try:
        await arena.prepare()
        for number in range(rounds):
            effort.say(f"round {number + 1} of {rounds}")
            fight = (arena.last_slots, arena.two_phones, arena.everything)[number % 3]
            await fight()
            await arena.clear()
        found = ledger.read(database)
        for told in found.wrong:
            outcome.fail(f"afterwards: {told}")
        if missing := arena.acknowledged - set(found.operations):
            outcome.fail(f"{len(missing)} acknowledged operations are not in the database")
        if more := set(found.operations) - arena.acknowledged:
            outcome.fail(f"{len(more)} operations are in the database that nobody was told of")
        outcome.figures = {
            "rounds": str(rounds),
            "won": str(arena.won),
            "lost": ", ".join(f"{code} {count}" for code, count in sorted(arena.lost.items())),
            "over-booked": "0" if not outcome.through else "see below",
            "503 busy": str(arena.busy),
        }
    finally:
        for caller in callers:
            await caller.close()


class Arena:
    """Two phones and the lines that want onto them; every round begins with what the one before left empty."""

    def __init__(self, callers: list[Caller], chance: random.Random, outcome: Outcome) -> None:
        self.callers, self.chance, self.outcome = callers, chance, outcome
        self.lost: Counter[str] = Counter()
        self.won = self.busy = 0
        self.acknowledged: set[str] = set()
        self.macs: list[str] = []
        self.lines = [f"l{number}" for number in range(AT_ONCE)]
        self.fillers = [f"filler{number}" for number in range(SLOTS)]

    async def prepare(self) -> None:
        first = self.callers[0]
        await first.api.account()
        await first.lines(["main0", "main1", *self.lines, *self.fillers])
        for number in range(2):
            self.macs.append((await first.phone(number + 1, f"main{number}")).mac)

    async def last_slots(self) -> None:
        """Exactly the free slots are filled, whoever asks whom."""
        mac, free = self.macs[0], self.chance.choice((1, 1, 2, 3))
        await self._fill(mac, SLOTS - 1 - free)
        # Some name a slot: its first is taken by somebody else meanwhile.
        named = self.chance.random() < 0.3
        asked = [{"slot": SLOTS} if named and index % 2 else {} for index in range(AT_ONCE)]
        answers = await self._at_once(
            [
                self._caller(index).attach(line, mac, **more)
                for index, (line, more) in enumerate(zip(self.lines, asked, strict=True))
            ]
        )
        won = self._won(answers)
        held = await self._held(mac)
        if len(held) > SLOTS:
            self.outcome.fail(f"over-booked: {len(held)} lines on {SLOTS} slots")
        if won != free - self._busy_at_the_end(answers, free, won) or len(held) != SLOTS - free + won:
            self.outcome.fail(
                f"{free} slots were free, {won} attaches were acknowledged, the phone holds {len(held)} lines"
            )

    async def two_phones(self) -> None:
        """Each line is wanted for two phones, half of them in one order and half in the other."""
        lines = self.lines[: SLOTS - 2]
        wanted = [(line, mac) for line in lines for mac in self.macs] + [
            (line, mac) for line in lines for mac in reversed(self.macs)
        ]
        answers = await self._at_once(
            [self._caller(index // 2).attach(line, mac) for index, (line, mac) in enumerate(wanted)]
        )
        self._won(answers)
        winners = Counter(line for (line, _), answer in zip(wanted, answers, strict=True) if answer.status == 202)
        for line in lines:
            if winners[line] != 1 and not any(a.status == 503 for a in answers):
                self.outcome.fail(f"the line {line} was acknowledged {winners[line]} times")
        both = Counter([line for mac in self.macs for line in await self._held(mac)])
        self.outcome.through += [f"the line {line} is on {times} phones" for line, times in both.items() if times > 1]

    async def everything(self) -> None:
        """Attaches, detaches and promotes of the same lines at once: what is left is what was acknowledged."""
        mac, free = self.macs[0], self.chance.choice((0, 1, 3))
        held = await self._fill(mac, SLOTS - 1 - free)
        wanted = [("attach", line) for line in self.lines[: AT_ONCE - 14]]
        wanted += [("detach", line) for line in held[:8]] + [("promote", line) for line in held[4:10]]
        self.chance.shuffle(wanted)
        acts = [
            caller.ask("POST", f"/v1/phones/{mac}/promote", {"line": line})
            if kind == "promote"
            else (caller.attach(line, mac) if kind == "attach" else caller.detach(line))
            for caller, (kind, line) in ((self._caller(index), its) for index, its in enumerate(wanted))
        ]
        before = set(await self._held(mac))
        answers = await self._at_once(acts)
        self._won(answers)
        expected = before
        for (kind, line), answer in zip(wanted, answers, strict=True):
            if answer.status == 202 and kind == "attach":
                expected = expected | {line}
            elif answer.status == 202 and kind == "detach":
                expected = expected - {line}
        left = await self._held(mac)
        if sorted(left) != sorted(expected) or len(left) > SLOTS:
            self.outcome.fail(f"the phone holds {sorted(left)}, acknowledged were {sorted(expected)}")

    async def clear(self) -> None:
        for mac in self.macs:
            for line in await self._held(mac):
                if not line.startswith("main"):
                    self._note(await self.callers[0].detach(line))

    # What a round is made of

    def _caller(self, index: int) -> Caller:
        return self.callers[index % 2]

    async def _fill(self, mac: str, upto: int) -> list[str]:
        held = self.fillers[:upto]
        for line in held:
            answer = await self.callers[0].attach(line, mac)
            self._note(answer)
        return held

    async def _held(self, mac: str) -> list[str]:
        body = (await self.callers[1].ask("GET", f"/v1/phones/{mac}")).body
        return [held["line"] for held in body["lines"]]

    async def _at_once(self, acts: list[Awaitable[Answer]]) -> list[Answer]:
        self.outcome.tried += len(acts)
        return await asyncio.gather(*acts)

    def _note(self, answer: Answer) -> None:
        if answer.status == 202:
            self.acknowledged.add(answer.body["id"])
        else:
            self.outcome.fail(f"between two rounds: {answer.status} {answer.code}")

    def _won(self, answers: list[Answer]) -> int:
        won = 0
        for answer in answers:
            if answer.status == 202:
                won += 1
                self.acknowledged.add(answer.body["id"])
            elif answer.status == 409 and answer.code in LOST:
                self.lost[answer.code] += 1
            elif answer.status == 503 and answer.code == "busy":
                self.busy += 1
            else:
                self.outcome.fail(f"a loser was answered {answer.status} {answer.code}")
        self.won += won
        return won

    def _busy_at_the_end(self, answers: list[Answer], free: int, won: int) -> int:
        """A slot stays free only where those who could have had it were told to come again."""
        return free - won if any(answer.status == 503 for answer in answers) else 0
