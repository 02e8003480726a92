"""R2: the power fails while the server writes. What is found afterwards is a prefix of what was done.

The server is stopped in mid-work (SIGSTOP), its files are copied as they are, and the copy's -wal is
damaged. Two claims, and they differ:

- Damage behind the last acknowledged commit, which is all that an honest disk can lose, for a commit
  is synced before it is acknowledged (synchronous=FULL): every acknowledged change is there.
- Damage anywhere in the -wal, which a disk that lied about a sync can do: the frames' checksums run
  on from each other, so SQLite takes nothing behind the first bad frame. Acknowledged changes behind
  it are gone, and nothing that any database says to the disk could prevent it; but what is left is
  everything up to one moment, and whole.

Frames that a checkpoint has copied into the database already are left alone: they were synced twice.
"""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import ledger
from attacked import without_limits
from customers import Caller, route, sip_side
from outcome import Effort, Outcome
from running import Server

sys.path.append(str(Path(__file__).resolve().parents[1] / "store"))

from stored import Stored

from provisioning.domain.mac import Mac
from provisioning.store import operations, phones
from provisioning.store.database import check_schema
from provisioning.store.fetch import PhoneReader

TITLE = "the power fails: the -wal cut, zeroed, garbled or with a hole"
KINDS = ("truncated", "zeroed tail", "garbled tail", "hole")
HOLE = 4096
HEAD, FRAME_HEAD = 32, 24
PHONES, LINES = 6, 40


@dataclass
class Image:
    """The files as they were at one moment, and what was acknowledged by then."""

    directory: Path
    acknowledged: int
    wal: bytes
    backfilled: int
    "The -wal's first byte that no checkpoint has copied into the database."
    end: int
    "Behind what may hold frames of now; what follows is left of an earlier round of the -wal."
    durable: int = 0
    "Behind the commit of the last acknowledged operation."


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="cuts of the -wal")
    chance = effort.random()
    cuts = effort.of(152, 2000)
    images, order = await _images(effort, chance, outcome, effort.of(8, 50))
    lost: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    consistent = 0
    await _synced(images[0], effort.directory / "synced", outcome)
    for number, image in enumerate(images):
        effort.say(f"image {number + 1} of {len(images)}")
        here = effort.directory / "cut"
        whole = await _reopened(image, image.wal, here, order, outcome, "undamaged")
        if whole < image.acknowledged:
            outcome.fail(f"undamaged: {whole} of {image.acknowledged} acknowledged operations are there")
            continue
        image.durable = await _durable(image, here)
        for index in range(cuts // len(images)):
            kind, honest = KINDS[index % len(KINDS)], index % 8 < 4
            told = f"{kind} {'behind the last commit' if honest else 'anywhere'}"
            damaged = _damaged(image, kind, chance, honest=honest)
            before = len(outcome.through)
            found = await _reopened(image, damaged, here, order, outcome, told, goes_on=index % 8 == 0)
            outcome.tried += 1
            kinds[kind] += 1
            consistent += len(outcome.through) == before
            missing = max(0, image.acknowledged - found)
            lost["honest" if honest else "lying"] += missing
            lost["cuts that lost"] += bool(missing)
            if honest and missing:
                outcome.fail(f"{told}: {missing} acknowledged operations are gone")
    outcome.figures = {
        "prefix-consistent": f"{consistent} of {outcome.tried}",
        "acknowledged operations lost by an honest disk": str(lost["honest"]),
        "by one that lied": f"{lost['lying']} in {lost['cuts that lost']} cuts",
        "images of the running server": str(len(images)),
    } | {kind: str(count) for kind, count in kinds.items()}
    return outcome


async def _images(
    effort: Effort, chance: random.Random, outcome: Outcome, wanted: int
) -> tuple[list[Image], list[str]]:
    directory = effort.directory / "server"
    directory.mkdir()
    server = Server(directory, {"NETWORK__FRESHNESS": "1e9"} | without_limits())
    sip = await sip_side()
    server.environment |= {f"PROVISIONING__{name}": value for name, value in route(sip).items()}
    order: list[str] = []
    images: list[Image] = []
    try:
        await asyncio.to_thread(server.start)
        caller = Caller(server)
        try:
            await caller.api.account()
            lines = await caller.lines(f"l{number}" for number in range(LINES))
            macs = []
            for number in range(PHONES):
                await caller.lines([f"main{number}"])
                phone = await caller.phone(number + 1, f"main{number}")
                await caller.fetch(phone.url(server))
                macs.append(phone.mac)
            work = asyncio.create_task(_work(caller, lines, macs, chance, order, outcome))
            for number in range(wanted):
                effort.say(f"taking image {number + 1} of {wanted}")
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                if work.done():
                    break
                images.append(_taken(server, effort.directory / f"image{number}", len(order), stop=number < wanted - 1))
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        finally:
            await caller.close()
    finally:
        server.kill()
        await sip.stop()
    return images, order


async def _work(
    caller: Caller, lines: list[str], macs: list[str], chance: random.Random, order: list[str], outcome: Outcome
) -> None:
    """One after another, so that what is acknowledged has an order."""
    on: dict[str, str] = {}
    while True:
        line = chance.choice(lines)
        if line in on:
            answer = await caller.detach(line)
            on.pop(line)
        else:
            on[line] = chance.choice(macs)
            answer = await caller.attach(line, on[line])
            if answer.code == "no-free-slot":
                on.pop(line)
                continue
        if answer.status == 202:
            order.append(answer.body["id"])
        elif answer.status == 0:
            return
        else:
            outcome.fail(f"a good change was answered {answer.status} {answer.code}")
            return


def _taken(server: Server, to: Path, acknowledged: int, *, stop: bool) -> Image:
    """One moment of the running server; the last one is of a killed server."""
    to.mkdir()
    if stop:
        os.kill(server.process.pid, signal.SIGSTOP)
        # The signal is delivered to each thread at its next step; a moment later all of them stand.
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    else:
        server.kill()
    try:
        for name in ("provisioning.db", "provisioning.db-wal", "provisioning.db-shm"):
            shutil.copy(server.data / name, to / name)
    finally:
        if stop:
            os.kill(server.process.pid, signal.SIGCONT)
    shutil.copy(server.data / "secret-key", to / "secret-key")
    index = (to / "provisioning.db-shm").read_bytes()
    wal = (to / "provisioning.db-wal").read_bytes()
    frame = FRAME_HEAD + int.from_bytes(wal[8:12], "big")
    # The wal-index: https://www.sqlite.org/walformat.html, "The WAL-Index File Format".
    newest, copied = (int.from_bytes(index[at : at + 4], sys.byteorder) for at in (16, 96))
    # A transaction that was being written has frames that the index does not tell of yet.
    end = min(len(wal), HEAD + (newest + 16) * frame)
    return Image(to, acknowledged, wal, HEAD + copied * frame if copied else 0, end)


async def _durable(image: Image, here: Path) -> int:
    """The shortest -wal that holds every acknowledged operation."""
    frame = FRAME_HEAD + int.from_bytes(image.wal[8:12], "big")
    salt = image.wal[16:24]
    commits = [
        at + frame
        for at in range(HEAD, image.end - frame + 1, frame)
        if at + frame > image.backfilled
        and image.wal[at + 8 : at + 16] == salt
        and image.wal[at + 4 : at + 8] != bytes(4)
    ]
    low, high = 0, len(commits)
    while low < high:
        middle = (low + high) // 2
        _copied(image, image.wal[: commits[middle]], here)
        if _count(here) >= image.acknowledged:
            high = middle
        else:
            low = middle + 1
    return max(image.backfilled, commits[low] if low < len(commits) else image.end)


def _count(here: Path) -> int:
    connection = sqlite3.connect(here / "provisioning.db")
    try:
        return connection.execute("SELECT count(*) FROM operations").fetchone()[0]
    finally:
        connection.close()


def _damaged(image: Image, kind: str, chance: random.Random, *, honest: bool) -> bytes:
    """At a random byte. Where nothing follows the last commit, a torn write is put there first."""
    wal, start = image.wal, image.durable if honest else image.backfilled
    end = image.end
    if end - start < 2:
        torn = bytearray(wal[-(FRAME_HEAD + 4096) * chance.randint(1, 3) :])
        wal, end = wal[:start] + torn, start + len(torn)
    at = chance.randrange(start, end)
    if kind == "truncated":
        return wal[:at]
    if kind == "zeroed tail":
        return wal[:at] + bytes(len(wal) - at)
    if kind == "garbled tail":
        return wal[:at] + chance.randbytes(len(wal) - at)
    return wal[:at] + bytes(min(HOLE, len(wal) - at)) + wal[at + HOLE :]


def _copied(image: Image, wal: bytes, here: Path) -> None:
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    for name in ("provisioning.db", "secret-key"):
        shutil.copy(image.directory / name, here / name)
    (here / "provisioning.db-wal").write_bytes(wal)


async def _reopened(
    image: Image, wal: bytes, here: Path, order: list[str], outcome: Outcome, told: str, *, goes_on: bool = False
) -> int:
    """How many operations are there, opened as the product opens them."""
    _copied(image, wal, here)
    path = here / "provisioning.db"
    check_schema(path)
    stored = Stored(here, new=False)
    try:
        held = await stored.read(lambda c: phones.page(c, account_id=None, after="", limit=100))
        listed = await stored.read(
            lambda c: operations.page(
                c, account_id=None, mac=None, line=None, state=None, before=None, limit=100_000, now=0
            )
        )
        reader = PhoneReader(path, stored.keys)
        try:
            served = {its.phone.mac: {slot: line.name for slot, line in reader.lines(its.id)} for its in held}
        finally:
            reader.close()
        found = ledger.read(path)
        outcome.through += [f"{told}: {wrong}" for wrong in found.wrong]
        if served != found.held:
            outcome.fail(f"{told}: phones are served other lines than their slots hold")
        present = {operation.id for operation in listed}
        # The newest may have been committed and not yet acknowledged when the image was taken.
        if missing := set(order[: len(present)]) - present:
            outcome.fail(
                f"{told}: {len(present)} operations are there, but {len(missing)} of the first of them are not"
            )
        if goes_on:
            await _goes_on(stored, held[0].phone.mac, outcome, told)
        return len(present)
    finally:
        await stored.close()


async def _goes_on(stored: Stored, mac: Mac, outcome: Outcome, told: str) -> None:
    """What was found can be worked with."""
    await stored.line("after-the-cut")
    phone = await stored.find(mac)
    if phone.phone.free:
        await stored.write(lambda c: phones.change(c, phone.id, {"seen_at": None}))
        await stored.attach("after-the-cut", mac)
        wrong = ledger.read(stored.path).wrong
        outcome.through += [f"{told}, then an attach: {sentence}" for sentence in wrong]


async def _synced(image: Image, here: Path, outcome: Outcome) -> None:
    """The product's writer asks for the sync that the first claim rests on."""
    _copied(image, image.wal, here)
    stored = Stored(here, new=False)
    try:
        level = await stored.database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar())
        if level < 2:
            outcome.fail(f"the writer's synchronous is {level}; a commit is not on disk when it is acknowledged")
    finally:
        await stored.close()
