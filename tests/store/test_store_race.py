"""Several processes attach at once, on one SQLite file."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stored import Stored

RACER = Path(__file__).with_name("racer.py")
MAC, OTHER = "001565000001", "001565000002"


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    await its.account()
    yield its
    await its.close()


def race(directory: Path, *wanted: list[str]) -> list[list[str]]:
    """The outcomes, process by process."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(RACER), str(directory), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for pairs in wanted
    ]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        told = [racer.communicate(timeout=60)[0] for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert [racer.returncode for racer in racers] == [0] * len(racers)
    return [json.loads(text) for text in told]


async def held(stored: Stored) -> list[tuple]:
    rows = "SELECT phone_id, slot, line_id FROM slots WHERE line_id IS NOT NULL"
    return await stored.read(lambda c: [tuple(row) for row in c.exec_driver_sql(rows)])


async def attaches(stored: Stored) -> int:
    return await stored.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM operations").scalar())


@pytest.mark.parametrize("model", ["yealink-t33g", "yealink-t41s"])
async def test_two_processes_fill_exactly_the_free_slots(stored: Stored, tmp_path: Path, model: str):
    names = [[f"p{process}-{number}" for number in range(40)] for process in range(2)]
    await stored.line("main")
    for name in (*names[0], *names[1]):
        await stored.line(name)
    await stored.phone(MAC, model, main_line="main")
    free = len((await stored.find(MAC)).phone.free)
    outcomes = race(tmp_path, *([f"{name}/{MAC}" for name in its] for its in names))
    assert Counter(outcomes[0] + outcomes[1]) == {"attached": free, "no-free-slot": 80 - free}
    assert len(await held(stored)) == free + 1
    assert await attaches(stored) == free
    events = await stored.read(
        lambda c: c.exec_driver_sql(
            "SELECT count(*) FROM events WHERE kind = 'attach' AND detail NOT LIKE '%main%'"
        ).scalar()
    )
    assert events == free


async def test_a_line_that_two_processes_attach_is_on_one_phone(stored: Stored, tmp_path: Path):
    names = [f"l{number}" for number in range(12)]
    for name in names:
        await stored.line(name)
    for mac in (MAC, OTHER):
        await stored.phone(mac)
    outcomes = race(tmp_path, [f"{name}/{MAC}" for name in names], [f"{name}/{OTHER}" for name in names])
    for one, other in zip(*outcomes, strict=True):
        assert sorted((one, other)) == ["attached", "line-already-attached"]
    assert len(await held(stored)) == len(names) == await attaches(stored)
