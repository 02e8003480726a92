"""The audit log: what is written, that it cannot be altered unseen, and that writers keep one chain."""

import asyncio
import itertools
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError
from stored import Stored

from provisioning.store import audit
from provisioning.store.audit import START, Author, Verdict

HER = Author("token her (t00000001)", "198.51.100.7")


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    yield its
    await its.close()


async def record(stored: Stored, *names: str) -> None:
    for name in names:
        await stored.write(lambda c, name=name: audit.recorded(c, HER, 1.5, "line.change", f"line {name}", {"a": name}, None))


async def verdict(stored: Stored, head: bytes | None = None) -> Verdict:
    return await stored.read(lambda c: audit.verified(c, head))


def tamper(stored: Stored, statement: str, *values: object) -> None:
    """As whoever has the file: the triggers are the first to go."""
    connection = sqlite3.connect(stored.path)
    connection.executescript("DROP TRIGGER audit_refuses_update; DROP TRIGGER audit_refuses_delete;")
    with connection:
        connection.execute(statement, values)
    connection.close()


async def test_what_is_recorded_is_read_back_the_newest_first(stored: Stored) -> None:
    await record(stored, "a", "b", "a")
    found = await stored.read(lambda c: audit.page(c, subject=None, before=None, limit=2))
    assert [(its.id, its.subject) for its in found] == [(3, "line a"), (2, "line b")]
    its = found[0]
    assert (its.at, its.who, its.address, its.action) == (1.5, HER.who, HER.address, "line.change")
    assert (its.before, its.after) == ({"a": "a"}, None)
    (rest,) = await stored.read(lambda c: audit.page(c, subject="line a", before=3, limit=9))
    assert rest.id == 1


async def test_an_empty_log_is_whole(stored: Stored) -> None:
    assert await verdict(stored) == Verdict(0, START, None, True)
    assert (await verdict(stored, START)).passed
    assert not (await verdict(stored, bytes(31) + b"x")).passed


async def test_a_log_of_several_batches_is_followed_to_its_end(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_ROWS", audit._ROWS.limit(2))
    await record(stored, *"abcde")
    found = await verdict(stored)
    assert (found.rows, found.broken) == (5, None)


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE id = 2"])
async def test_the_database_refuses_to_alter_it(stored: Stored, statement: str) -> None:
    await record(stored, "a", "b")
    with pytest.raises(DatabaseError, match="append-only"):
        await stored.write(lambda c: c.exec_driver_sql(statement))
    assert (await verdict(stored)).rows == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", 1.6), ("who", "token him (t00000002)"), ("address", "198.51.100.8"), ("action", "line.remove"),
        ("subject", "line x"), ("before", '{"a":"x"}'), ("before", '{"a": "b"}'), ("after", "{}"), ("hash", bytes(32)),
    ],
)  # fmt: skip
async def test_an_altered_row_is_named(stored: Stored, column: str, value: object) -> None:
    await record(stored, *"abcd")
    assert (await verdict(stored)).broken is None
    tamper(stored, f'UPDATE audit SET "{column}" = ? WHERE id = 2', value)
    found = await verdict(stored)
    assert (found.rows, found.broken) == (1, 2)


async def test_a_row_whose_hash_was_made_to_fit_breaks_the_next(stored: Stored) -> None:
    await record(stored, *"abc")
    tamper(
        stored,
        "UPDATE audit SET who = 'x', hash = ? WHERE id = 2",
        audit._hash(
            (await stored.read(lambda c: audit.page(c, subject="line a", before=None, limit=1)))[0].hash,
            2, 1.5, "x", HER.address, "line.change", "line b", '{"a":"b"}', "null",
        ),
    )  # fmt: skip
    assert (await verdict(stored)).broken == 3


@pytest.mark.parametrize(("gone", "named"), [(1, 2), (2, 3), (3, 4)])
async def test_a_row_that_was_taken_out_is_missed_by_the_next(stored: Stored, gone: int, named: int) -> None:
    await record(stored, *"abcd")
    tamper(stored, "DELETE FROM audit WHERE id = ?", gone)
    assert (await verdict(stored)).broken == named


async def test_an_end_that_was_cut_off_is_missed_by_a_noted_head(stored: Stored) -> None:
    await record(stored, *"abcd")
    noted = (await verdict(stored)).head
    await record(stored, "e")
    assert (await verdict(stored, noted)).passed
    tamper(stored, "DELETE FROM audit WHERE id >= ?", 4)
    found = await verdict(stored, noted)
    assert (found.rows, found.broken, found.passed) == (3, None, False)
    # Also once something else was written in its place.
    await record(stored, "x", "y")
    assert not (await verdict(stored, noted)).passed


async def test_a_change_that_is_undone_leaves_no_row(stored: Stored) -> None:
    def half(connection: object) -> None:
        audit.recorded(connection, HER, 1.0, "line.change", "line a", None, None)
        raise LookupError

    with pytest.raises(LookupError):
        await stored.write(half)
    assert (await verdict(stored)).rows == 0


WRITER = """
import asyncio, sys
from pathlib import Path
from stored import Stored
from provisioning.store import audit

async def main():
    stored = Stored(Path(sys.argv[1]), new=False)
    who = audit.Author(sys.argv[2], "")
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(
        stored.write(lambda c, n=n: audit.recorded(c, who, float(n), "a.b", f"line {n}", None, {"n": n}))
        for n in range(100)
    ))
    await stored.close()

asyncio.run(main())
"""


async def test_writers_of_several_processes_keep_one_chain(stored: Stored, tmp_path: Path) -> None:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), name,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent,
        )
        for name in ("one", "two", "three")
    ]  # fmt: skip
    for writer in writers:
        assert await writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.stdin.write(b"go\n")
    assert [(await writer.communicate(), writer.returncode)[1] for writer in writers] == [0, 0, 0]
    found = await verdict(stored)
    assert (found.rows, found.broken) == (300, None)
    order = [its.who for its in await stored.read(lambda c: audit.page(c, subject=None, before=None, limit=300))]
    assert sum(one != other for one, other in itertools.pairwise(order)) > 2, "they did not write at once"
