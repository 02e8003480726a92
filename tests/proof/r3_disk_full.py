"""R3: the data directory's disk is full. Phones get their configuration; changes are refused whole."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ledger
from attacked import without_limits
from customers import Caller, Phone, shown
from outcome import Effort, Outcome
from running import Server

TITLE = "the disk is full"
WRAPPER = Path(__file__).with_name("small_disk.py")
SIZE = "6m"
PHONES, LINES = 4, 40
REFUSED = {(503, "storage-failed"), (503, "busy"), (507, "storage-failed")}


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="fetches and changes on a full disk")
    directory = effort.directory / "server"
    directory.mkdir()
    # The access log is on the full disk too.
    settings = {"NETWORK__FRESHNESS": "1e9", "LOG__ACCESS": str(directory / "var" / "access.log")} | without_limits()
    server = Server(directory, settings, (str(WRAPPER),))
    server.environment["PROOF_DISK"] = SIZE
    if why := await asyncio.to_thread(_why_not, server):
        outcome.skipped = f"no disk of our own can be mounted here: {why}"
        return outcome
    server.data = directory / "seen"
    caller = None
    try:
        await asyncio.to_thread(server.start)
        caller = Caller(server)
        disk = Disk(effort, outcome, server, caller)
        await disk.prepare()
        for number in range(effort.of(6, 60)):
            effort.say(f"filling {number + 1}")
            await disk.fill_and_free(last=number % 2 == 1)
        disk.look_back()
        await caller.close()
        if (code := server.stop()) != 0:
            outcome.fail(f"the server ended with {code}")
        if "Traceback" in server.log.read_text(errors="replace"):
            outcome.fail("the server's log has a traceback")
    finally:
        if caller is not None:
            await caller.close()
        server.kill()
    return outcome


def _why_not(server: Server) -> str:
    """Empty where it can."""
    tried = subprocess.run(
        [sys.executable, str(WRAPPER), "try"],
        env=os.environ | server.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return tried.stderr.strip().rpartition("\n")[2] if tried.returncode else ""


class Disk:
    def __init__(self, effort: Effort, outcome: Outcome, server: Server, caller: Caller) -> None:
        self.effort, self.outcome, self.server, self.caller = effort, outcome, server, caller
        self.chance = effort.random()
        self.ballast = server.data / "ballast"
        self.phones: list[Phone] = []
        self.lines = [f"l{number}" for number in range(LINES)]
        self.on: dict[str, str] = {}
        "What was acknowledged: line → MAC."
        self.acknowledged: set[str] = set()
        self.refused = self.fetched = self.made = 0
        self.worked_again: list[float] = []

    async def prepare(self) -> None:
        await self.caller.api.account()
        await self.caller.lines(self.lines)
        for number in range(PHONES):
            await self.caller.lines([f"main{number}"])
            phone = await self.caller.phone(number + 1, f"main{number}")
            self.phones.append(phone)
            if number:
                await self.caller.fetch(phone.url(self.server))

    async def fill_and_free(self, *, last: bool) -> None:
        """`last`: the last byte is taken before the changes begin, not while they run."""
        self.made += 1
        new = f"new{self.made}"
        await self.caller.lines([new])
        unseen = await self.caller.phone(PHONES + self.made, new)
        if not last:
            await asyncio.gather(self._changes(30), self._fill(slowly=True))
        await self._fill()
        before = self.refused
        # Whatever the -wal still has room for is acknowledged, and then must be kept.
        for _ in range(60):
            await self._changes(5)
            await self._fill()
            if self.refused >= before + 10:
                break
        else:
            self.outcome.fail("a full disk refused no change")
        # Its configuration was never rendered, and its visit is one that only the full disk saw.
        if shown((await self.caller.fetch(unseen.url(self.server))).body) != {1: new}:
            self.outcome.fail("a new phone was not given its configuration on a full disk")
        await self._fetches(40)
        ready = (await self.caller.ask("GET", "/healthz")).status
        if ready != 200:
            self.outcome.fail(f"/healthz on a full disk: {ready}")
        await self._compare("on the full disk")
        self.ballast.unlink()
        await self._works_again()
        await self._seen(unseen)
        await self._compare("after the disk was freed")

    async def _seen(self, phone: Phone) -> None:
        deadline = time.monotonic() + 10
        while self._read().seen[phone.mac] is None:
            if time.monotonic() > deadline:
                self.outcome.fail("a visit to the full disk was not recorded after it was freed")
                return
            await asyncio.sleep(0.2)

    def look_back(self) -> None:
        found = self._read()
        self.outcome.figures = {
            "fetches answered": str(self.fetched),
            "changes refused": str(self.refused),
            "acknowledged": str(len(self.acknowledged)),
            "lost": str(len(self.acknowledged - set(found.operations))),
            "works again after": f"{max(self.worked_again, default=0):.2f} s",
        }

    async def _changes(self, count: int) -> None:
        for _ in range(count):
            line = self.chance.choice(self.lines)
            attaching = line not in self.on
            mac = self.chance.choice(self.phones).mac
            # The first phone was never seen, and so it is an operator who prepares it.
            answer = await (self.caller.attach(line, mac) if attaching else self.caller.detach(line))
            self.outcome.tried += 1
            if answer.status == 202:
                self.acknowledged.add(answer.body["id"])
                if attaching:
                    self.on[line] = mac
                else:
                    self.on.pop(line)
            elif (answer.status, answer.code) in REFUSED:
                self.refused += 1
                if "problem+json" not in answer.headers.get("Content-Type", "") or "Retry-After" not in answer.headers:
                    self.outcome.fail("a refusal is no problem document with Retry-After")
            elif answer.code != "no-free-slot":
                self.outcome.fail(f"a change on a full disk was answered {answer.status} {answer.code}")

    async def _fetches(self, count: int) -> None:
        for _ in range(count):
            phone = self.chance.choice(self.phones)
            answer = await self.caller.fetch(phone.url(self.server))
            self.outcome.tried += 1
            self.fetched += answer.status == 200
            missing = {line for line, mac in self.on.items() if mac == phone.mac} - set(shown(answer.body).values())
            if answer.status != 200:
                self.outcome.fail(f"a fetch on a full disk was answered {answer.status}")
            elif missing:
                self.outcome.fail(f"a fetch on a full disk does not show {sorted(missing)}")

    async def _works_again(self) -> None:
        """Without a restart."""
        began = time.monotonic()
        line = next(line for line in self.lines if line not in self.on) if len(self.on) < LINES else None
        while True:
            if line is None:
                answer = await self.caller.detach(self.lines[0])
            else:
                phone = min(self.phones, key=lambda its: list(self.on.values()).count(its.mac))
                answer = await self.caller.attach(line, phone.mac)
            if answer.status == 202:
                self.acknowledged.add(answer.body["id"])
                if line is None:
                    self.on.pop(self.lines[0])
                else:
                    self.on[line] = phone.mac
                self.worked_again.append(time.monotonic() - began)
                return
            if time.monotonic() - began > 10:
                self.outcome.fail(f"freed for 10 s, and a change is answered {answer.status} {answer.code}")
                return
            await asyncio.sleep(0.1)

    async def _compare(self, when: str) -> None:
        found = self._read()
        self.outcome.through += [f"{when}: {sentence}" for sentence in found.wrong]
        if found.operations.keys() != self.acknowledged:
            self.outcome.fail(
                f"{when}: {len(self.acknowledged - found.operations.keys())} acknowledged operations are gone, "
                f"{len(found.operations.keys() - self.acknowledged)} are there that nobody was told of"
            )
        really = {
            line: mac
            for mac, held in found.held.items()
            for line in held.values()
            if not line.startswith(("main", "new"))
        }
        if really != self.on:
            self.outcome.fail(f"{when}: lines are elsewhere than acknowledged")

    def _read(self) -> ledger.Ledger:
        """Of a copy: SQLite follows no path into another mount namespace. The server stands meanwhile."""
        copy = self.effort.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        pid = self.server.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
            for name in ("provisioning.db", "provisioning.db-wal"):
                shutil.copy(self.server.data / name, copy / name)
        finally:
            os.kill(pid, signal.SIGCONT)
        return ledger.read(copy / "provisioning.db")

    async def _fill(self, *, slowly: bool = False) -> None:
        with self.ballast.open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(65_536 if slowly else 4096))
                except OSError:
                    return
                if slowly:
                    await asyncio.sleep(0.002)
