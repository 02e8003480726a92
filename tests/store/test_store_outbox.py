"""The outbox of resyncs: who tells a phone, and when again."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from stored import Stored

from provisioning.domain.mac import Mac
from provisioning.management import changes
from provisioning.store import operations, phones, visits
from provisioning.store.operations import Resync
from provisioning.store.visits import Visit

MACS = [f"0015650000{number:02x}" for number in range(12)]
MAC = MACS[0]


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    await its.account()
    for name in ("a", "b", "c"):
        await its.line(name)
    for mac in MACS:
        await its.phone(mac)
    yield its
    await its.close()


async def resync(stored: Stored, mac: str, *, reboot: bool = False, now: float | None = None) -> str:
    terms = stored.terms(now)
    return (await stored.write(lambda c: changes.resync(c, terms, Mac(mac), reboot=reboot))).id


async def claim(stored: Stored, now: float | None = None, lease: float = 30.0, limit: int = 100) -> list[Resync]:
    at = time.time() if now is None else now
    return await stored.write(lambda c: operations.claim(c, at, lease, limit))


async def told(stored: Stored, claimed: Resync, again_at: float | None, status: int | None = 408) -> None:
    await stored.write(
        lambda c: operations.told(c, claimed, now=time.time(), status=status, untold=None, again_at=again_at)
    )


async def facts(stored: Stored, operation_id: str):
    return (await stored.read(lambda c: operations.find(c, operation_id))).facts


async def test_all_changes_of_a_phone_are_one_resync(stored: Stored):
    made = [(await stored.attach(line, MAC)).id for line in ("a", "b")] + [await resync(stored, MAC)]
    (claimed,) = await claim(stored)
    assert claimed.mac == MAC
    assert sorted(claimed.operation_ids) == sorted(made)
    assert not claimed.reboot


async def test_one_reboot_among_them_is_a_reboot(stored: Stored):
    await resync(stored, MAC, reboot=True)
    await resync(stored, MAC)
    assert [claimed.reboot for claimed in await claim(stored)] == [True]


async def test_a_claim_says_what_the_phone_knows_and_what_it_should(stored: Stored):
    phone_id = (await stored.find(MAC)).id
    for line in ("b", "a"):
        await stored.attach(line, MAC)
    its = Visit(phone_id, 1.0, None, "", revision=1, addresses="sip:old@sip.example.net")
    await stored.write(lambda c: visits.record(c, [its]))
    (claimed,) = await claim(stored)
    assert claimed.fetched_addresses == ("sip:old@sip.example.net",)
    assert claimed.attached_addresses == ("sip:b@sip.example.net", "sip:a@sip.example.net")


async def test_a_claimed_phone_is_nobody_elses(stored: Stored):
    await resync(stored, MAC)
    assert len(await claim(stored, 1e10)) == 1
    assert await claim(stored, 1e10 + 1) == []


async def test_a_new_change_of_a_claimed_phone_waits_for_the_claim(stored: Stored):
    await resync(stored, MAC)
    (claimed,) = await claim(stored)
    later = await resync(stored, MAC)
    assert await claim(stored) == []
    await told(stored, claimed, None)
    assert [its.operation_ids for its in await claim(stored)] == [(later,)]


async def test_a_lease_that_ran_out_is_taken_over(stored: Stored):
    made = await resync(stored, MAC)
    now = time.time()
    await claim(stored, now, lease=30.0)
    assert await claim(stored, now + 29.0) == []
    assert [its.operation_ids for its in await claim(stored, now + 31.0)] == [(made,)]


async def test_two_claimers_never_get_one_phone(stored: Stored, tmp_path: Path):
    for mac in MACS:
        await resync(stored, mac)
    other = Stored(tmp_path, new=False)
    try:
        claims = await asyncio.gather(*(claim(its, limit=2) for _ in range(5) for its in (stored, other)))
    finally:
        await other.close()
    got = [claimed.mac for its in claims for claimed in its]
    assert sorted(got) == MACS


async def test_a_claim_takes_no_more_than_asked(stored: Stored):
    for mac in MACS:
        await resync(stored, mac)
    assert len(await claim(stored, limit=5)) == 5


async def test_a_phone_is_not_told_before_it_is_due(stored: Stored):
    await resync(stored, MAC)
    now = time.time()
    (claimed,) = await claim(stored, now)
    await told(stored, claimed, now + 5.0)
    assert await claim(stored, now + 4.0) == []
    assert not await stored.read(lambda c: operations.is_due(c, now + 4.0))
    assert await stored.read(lambda c: operations.is_due(c, now + 5.0))
    assert [its.attempts for its in await claim(stored, now + 5.0)] == [1]


async def test_the_newest_change_sets_the_pace(stored: Stored):
    await resync(stored, MAC, now=1000.0)
    (claimed,) = await claim(stored, 1000.0)
    await told(stored, claimed, 1005.0)
    await asyncio.sleep(0.005)
    await resync(stored, MAC, now=1004.0)
    (claimed,) = await claim(stored, 1004.0)
    assert (claimed.requested_at, claimed.attempts, len(claimed.operation_ids)) == (1004.0, 0, 2)


@pytest.mark.parametrize(("status", "notified"), [(200, True), (202, True), (480, False), (None, False)])
async def test_only_a_2xx_is_a_notification(stored: Stored, status: int | None, notified: bool):
    made = await resync(stored, MAC)
    (claimed,) = await claim(stored)
    await told(stored, claimed, None, status)
    its = await facts(stored, made)
    assert (its.notified_at is not None) is notified
    assert (its.sip_status, its.attempts) == (status, 1)


async def test_a_later_failure_does_not_undo_a_notification(stored: Stored):
    made = await resync(stored, MAC)
    (claimed,) = await claim(stored)
    for status in (200, 480):
        await told(stored, claimed, 0.0, status)
    its = await facts(stored, made)
    assert its.notified_at is not None
    assert its.sip_status == 480


async def test_what_was_fetched_while_the_phone_was_told_is_not_tried_again(stored: Stored):
    await resync(stored, MAC)
    (claimed,) = await claim(stored)
    its = Visit(claimed.phone_id, time.time(), None, "", revision=2)
    await stored.write(lambda c: visits.record(c, [its]))
    await told(stored, claimed, 0.0)
    assert not await stored.read(lambda c: operations.is_due(c, 1e10))


async def test_a_phone_that_was_removed_is_not_told(stored: Stored):
    made = await resync(stored, MAC)
    phone_id = (await stored.find(MAC)).id
    await stored.write(lambda c: phones.remove(c, phone_id))
    assert await claim(stored) == []
    assert (await stored.read(lambda c: operations.find(c, made))).mac == MAC


@pytest.mark.parametrize("state", ["todo", "doing", "done", "error"])
async def test_a_state_said_in_sql_is_the_one_that_is_derived(stored: Stored, state: str):
    from provisioning.domain.operation import state as derived

    ids = [await resync(stored, mac, now=now) for mac in MACS[:6] for now in (1000.0, 2000.0)]
    for number, operation_id in enumerate(ids):
        facts = {"attempts": number // 2 % 2, "fetched_at": 2100.0 if number % 3 == 0 else None}
        await stored.write(
            lambda c, its=operation_id, facts=facts: c.exec_driver_sql(
                "UPDATE operations SET attempts = :attempts, fetched_at = :fetched_at WHERE id = :id",
                facts | {"id": its},
            )
        )
    now = 2000.0 + 1.0
    query = {"account_id": None, "mac": None, "line": None, "before": None, "limit": 100, "now": now}
    everything = await stored.read(lambda c: operations.page(c, state=None, **query))
    asked = await stored.read(lambda c: operations.page(c, state=state, **query))
    assert asked == [its for its in everything if derived(its.facts, now) == state]
    assert asked


async def test_a_claimed_phone_is_not_due(stored: Stored):
    await resync(stored, MAC)
    now = time.time()
    assert await stored.read(lambda c: operations.is_due(c, now))
    await claim(stored, now, lease=30.0)
    assert not await stored.read(lambda c: operations.is_due(c, now + 29.0))
    assert await stored.read(lambda c: operations.is_due(c, now + 31.0))


async def test_a_claim_and_its_question_read_only_what_is_due(stored: Stored):
    """A fleet that is off leaves very many operations behind; the plan must not depend on them."""
    claim = str(operations._CLAIM.compile(dialect=sqlite.dialect()))
    due = "SELECT id FROM operations WHERE next_attempt_at <= ? AND (claimed_until IS NULL OR claimed_until <= ?) LIMIT 1"

    def plan(connection: Connection) -> str:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim}", (1.0,) * claim.count("?")).all()
        rows += connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {due}", (1.0, 1.0)).all()
        return "\n".join(row[3] for row in rows)

    told = await stored.read(plan)
    assert "SCAN operations" not in told, told
    assert told.count("ix_operations_due") == 2, told
