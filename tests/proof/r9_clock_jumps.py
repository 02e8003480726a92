"""R9: the wall clock is wrong by an hour or a year, and is set right again, while the server works.

Time is only ever the server's clock here: it passes by turning the clock forward, and a jump is a
turn that no time corresponds to. Monotonic clocks are left alone, as a clock that is set leaves them.

What a door promises: it is never open to a phone it was not opened for, nor before it was opened;
forward jumps close it early. A jump back gives it at most that much more, and never more than its
life once again: whoever keeps wall time across restarts cannot know better.
"""

import asyncio
import random
import time
from pathlib import Path
from urllib.parse import urlsplit

import ledger
from attacked import attacked
from customers import HERE, Caller, Phone, route, shown, sip_side
from dial import Dial
from outcome import Effort, Outcome
from scripted_sip_server import ScriptedServer

TITLE = "clock jumps of an hour and a year, during doors, operations, keys and tokens"
WRAPPER = str(Path(__file__).with_name("faulty_server.py"))
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 31_557_600
JUMPS = (HOUR, -HOUR, YEAR, -YEAR)
LIFE = 30
"Minutes, of a door: the setting's default."
SET = 15
"Minutes after its first fetch, when a door closes."
REQUEST = 2.0
"Seconds: the deadline of a request, which is not the wall clock's."


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="requests under a clock that jumps")
    directory = effort.directory / "server"
    directory.mkdir()
    dial = Dial(directory / "dial")
    sip = await sip_side()
    settings = route(sip) | {"LIMITS__REQUEST": str(REQUEST), "RESYNC__T1": "0.05"}
    try:
        async with attacked(directory, outcome, (WRAPPER,), **settings) as (server, _):
            caller = Caller(server)
            try:
                world = World(effort, outcome, caller, dial, sip)
                await world.prepare()
                await world.doors()
                await world.operations()
                await world.keys()
                await world.addresses()
                await world.timers()
                found = ledger.read(server.data / "provisioning.db")
                outcome.through += [f"afterwards: {sentence}" for sentence in found.wrong]
            finally:
                await caller.close()
    finally:
        await sip.stop()
    return outcome


class World:
    def __init__(self, effort: Effort, outcome: Outcome, caller: Caller, dial: Dial, sip: ScriptedServer) -> None:
        self.effort, self.outcome, self.caller, self.dial, self.sip = effort, outcome, caller, dial, sip
        self.server = caller.server
        self.number = 0
        self.longest = 0

    async def prepare(self) -> None:
        await self.caller.api.account()

    async def phone(self, *, seen: bool = True) -> Phone:
        self.number += 1
        await self.caller.lines([f"main{self.number}"])
        phone = await self.caller.phone(self.number, f"main{self.number}")
        if seen:
            await self.fetch(phone.url(self.server))
        return phone

    async def fetch(self, url: str) -> dict[int, str]:
        answer = await self.caller.fetch(url)
        self.outcome.tried += 1
        if answer.status not in (200, 404):
            self.outcome.fail(f"a fetch was answered {answer.status}, the clock wrong by {self.dial.offset:.0f} s")
        return shown(answer.body)

    async def ask(self, method: str, path: str, body: object = None, *, wanted: tuple[int, ...], **headers: str):
        answer = await self.caller.ask(method, path, body, **headers)
        self.outcome.tried += 1
        if answer.status not in wanted:
            self.outcome.fail(
                f"{method} {path.split('/')[2]} was answered {answer.status} {answer.code}, the clock wrong by {self.dial.offset:.0f} s"
            )
        return answer

    # Doors

    async def doors(self) -> None:
        stories = [[]] + [[(age, jump)] for jump in (*JUMPS, -10 * MINUTE) for age in (0, 10, 20)]
        # Wrong for a while, and then set right.
        stories += [[(5, jump), (15, -jump)] for jump in JUMPS]
        # Opened under a wrong clock, which is set right then.
        stories += [[(-1, jump), (10, -jump)] for jump in JUMPS]
        chance = self.effort.random()
        stories += [_any_jumps(chance) for _ in range(self.effort.of(0, 100))]
        for index, story in enumerate(stories):
            self.effort.say(f"door {index + 1} of {len(stories)}")
            await self.door(story)
        self.outcome.figures["doors"] = str(len(stories))
        self.outcome.figures["longest open"] = f"{self.longest} min of {LIFE}, after a jump back"

    async def door(self, story: list[tuple[int, float]]) -> None:
        """`story`: (minutes since the door was opened, the jump that happens then)."""
        self.dial.offset = 0
        phone = await self.phone(seen=False)
        wrong = sum(jump for age, jump in story if age < 0)
        for offset in (0, HOUR, -YEAR, wrong):
            self.dial.offset = offset
            if await self.fetch(phone.without_secret(self.server)):
                self.outcome.fail("a door is open that nobody has opened")
        await self.ask("POST", f"/v1/phones/{phone.mac}/reset", {"public_ip": HERE}, wanted=(202,))
        open_for, jumps = 0, dict(story)
        back = sum(-jump for age, jump in story if jump < 0)
        step = self.effort.of(5, 1)
        ages = [*range(0, 4 * LIFE + 1, step)]
        # And when the clock shows again what it showed when the door was opened.
        ages += [int(back // MINUTE) + age for age in range(-step, LIFE + step, step)] if back > HOUR else []
        done: set[int] = set()
        for age in ages:
            for at in sorted(at for at in jumps if 0 <= at <= age and at not in done):
                done.add(at)
                wrong += jumps[at]
            self.dial.offset = wrong + age * MINUTE + 1
            is_open = bool(await self.fetch(phone.without_secret(self.server)))
            open_for += step * is_open
            # In between it closes as soon as its first fetch is recorded, a moment behind the answer.
            if not story and ((age < SET and not is_open) or (age >= LIFE and is_open)):
                self.outcome.fail(f"a door of {LIFE} minutes is {'open' if is_open else 'closed'} after {age}")
            if is_open and not back and age >= LIFE:
                self.outcome.fail(f"a door is open after {age} minutes; jumps: {story}")
        self.longest = max(self.longest, open_for)
        if open_for > LIFE + min(back / MINUTE, LIFE) * max(1, len(story)):
            self.outcome.fail(f"a door was open for {open_for} minutes; jumps: {story}")
        self.dial.offset = wrong + 10 * YEAR
        if await self.fetch(phone.without_secret(self.server)):
            self.outcome.fail(f"a door is open for ever; jumps: {story}")
        self.dial.offset = 0

    # Operations

    async def operations(self) -> None:
        """Told, and done, whatever the clock says; and an error is one only while the clock says so."""
        for index, jump in enumerate([*JUMPS, 0]):
            self.dial.offset = 0
            phone = await self.phone()
            await self.until(f"/v1/phones/{phone.mac}", lambda body: body["last_seen"], "its visit was not recorded")
            line = f"op{index}"
            await self.caller.lines([line])
            self.dial.offset = jump
            # Under a jump back it was seen in the future, under a jump forward too long ago: it comes again.
            await self.fetch(phone.url(self.server))
            await asyncio.sleep(0.7)
            before = len(self.sip.requests)
            attached = await self.ask(
                "POST", f"/v1/lines/{line}/attach", {"mac": phone.mac, "public_ip": HERE}, wanted=(202,)
            )
            if attached.status != 202:
                continue
            path = f"/v1/operations/{attached.body['id']}"
            await self.until(
                path,
                lambda body: body["facts"]["notified_at"],
                f"an operation was not told, the clock wrong by {jump} s",
            )
            if len(self.sip.requests) == before:
                self.outcome.fail("nothing was sent to the phone")
            for further in JUMPS:
                self.dial.offset = jump + further
                state = (await self.ask("GET", path, wanted=(200,))).body["state"]
                if state != ("error" if further > 0 else "doing"):
                    self.outcome.fail(f"an operation is {state} after a jump of {further} s")
            self.dial.offset = jump
            if line not in (await self.fetch(phone.url(self.server))).values():
                self.outcome.fail(f"an attached line is not shown, the clock wrong by {jump} s")
            await self.until(
                path, lambda body: body["state"] == "done", f"fetched, but not done, the clock wrong by {jump} s"
            )
            self.dial.offset = 0

    # Idempotency-Keys and tokens

    async def keys(self) -> None:
        phone = await self.phone()
        for jump in JUMPS:
            self.dial.offset = 0
            key = f"key-of-{jump}"
            path = f"/v1/phones/{phone.mac}/resync"
            first = await self.ask("POST", path, {}, wanted=(202,), Idempotency_Key=key)
            self.dial.offset = jump
            await self.ask("GET", "/v1/accounts", wanted=(200,))
            second = await self.ask("POST", path, {}, wanted=(202,), Idempotency_Key=key)
            # An answer is kept for a day: a year ahead it is forgotten, and the request is a new one.
            if (second.body["id"] == first.body["id"]) != (jump != YEAR):
                self.outcome.fail(f"a key was {'used up' if jump == YEAR else 'forgotten'} after a jump of {jump} s")
            self.dial.offset = 0
            third = await self.ask("POST", path, {}, wanted=(202,), Idempotency_Key=key)
            if third.body["id"] not in (first.body["id"], second.body["id"]):
                self.outcome.fail(f"a key had a third effect after a jump of {jump} s")

    # Where a phone is

    async def addresses(self) -> None:
        """An address confirms for an hour after the phone was seen there, and no longer."""
        for index, jump in enumerate([0, *JUMPS]):
            self.dial.offset = jump
            phone = await self.phone()
            await self.until(f"/v1/phones/{phone.mac}", lambda body: body["last_seen"], "its visit was not recorded")
            await self.caller.lines([f"ad{index}"])
            self.dial.offset = 2 * HOUR
            answer = await self.caller.attach(f"ad{index}", phone.mac)
            self.outcome.tried += 1
            if answer.status == 202:
                self.outcome.fail(
                    f"seen once while the clock was wrong by {jump} s, a phone still counts as being there two hours later"
                )
            elif answer.code != "public-ip-mismatch":
                self.outcome.fail(f"an attach was answered {answer.status} {answer.code}")
        self.dial.offset = 0

    # Monotonic timers

    async def timers(self) -> None:
        """A request that is not ended, and a connection that is kept, each have their seconds."""
        kept = []
        for jump in JUMPS:
            for sent in (b"GET /half.cfg HTTP/1.1\r\n", b"GET /no.cfg HTTP/1.1\r\nHost: x\r\n\r\n"):
                self.dial.offset = 0
                kept.append(self._kept(sent, jump))
            self.effort.say("timers")
        lasted = await asyncio.gather(*kept)
        self.dial.offset = 0
        self.outcome.figures["connections lasted"] = f"{min(lasted):.1f} to {max(lasted):.1f} s of {REQUEST:g}"
        self.outcome.tried += len(lasted)
        for seconds in lasted:
            if not REQUEST - 0.5 < seconds < REQUEST + 2.5:
                self.outcome.fail(f"a connection lasted {seconds:.1f} s; its deadline is {REQUEST:g}")

    async def _kept(self, sent: bytes, jump: float) -> float:
        parts = urlsplit(self.server.http)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(sent)
            began = time.monotonic()
            await asyncio.sleep(0.3)
            self.dial.offset = jump
            async with asyncio.timeout(15):
                while await reader.read(65_536):
                    pass
            return time.monotonic() - began
        except (TimeoutError, ConnectionError):
            return time.monotonic() - began
        finally:
            writer.close()

    async def until(self, path: str, holds, otherwise: str) -> None:
        deadline = time.monotonic() + 6
        while True:
            answer = await self.ask("GET", path, wanted=(200,))
            if answer.status == 200 and holds(answer.body):
                return
            if time.monotonic() > deadline:
                self.outcome.fail(otherwise)
                return
            await asyncio.sleep(0.05)


def _any_jumps(chance: random.Random) -> list[tuple[int, float]]:
    ages = sorted(chance.sample(range(2 * LIFE), chance.randint(1, 3)))
    return [(age, chance.choice([*JUMPS, 10 * MINUTE, -10 * MINUTE, chance.uniform(-HOUR, HOUR)])) for age in ages]
