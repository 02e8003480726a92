import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from stored import HERE, Stored

from provisioning.domain.mac import Mac
from provisioning.management import life
from provisioning.store import operations, phones, visits
from provisioning.store.secrets import fingerprint
from provisioning.store.visits import Refusal, Visit

MAC = Mac("001565000001")
AGENT = "Yealink SIP-T54W 96.86.0.23"


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    await its.account()
    for name in ("a", "b", "c"):
        await its.line(name)
    yield its
    await its.close()


def visit(phone_id: int, at: float = 1000.0, public_ip: str | None = HERE, **more) -> Visit:
    return Visit(phone_id, at, public_ip, AGENT, **more)


async def record(stored: Stored, *its: Visit) -> None:
    await stored.write(lambda c: visits.record(c, its))


async def count(stored: Stored, table: str) -> int:
    return await stored.read(lambda c: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar())


async def test_a_visit_says_where_and_when_the_phone_was(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id))
    found = await stored.find(MAC)
    assert (str(found.phone.public_ip), found.phone.seen_at, found.user_agent) == (HERE, 1000.0, AGENT)


async def test_a_visit_without_news_leaves_no_event(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    before = await count(stored, "events")
    await record(stored, visit(phone_id))
    assert await count(stored, "events") == before


async def test_after_a_visit_from_nowhere_known_no_address_is_current(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id))
    await record(stored, visit(phone_id, 1001.0, None))
    assert (await stored.find(MAC)).phone.public_ip is None


async def test_visits_of_many_phones_are_recorded_at_once(stored: Stored):
    ids = [(await stored.phone(f"0015650000{number:02x}"))[0] for number in range(20)]
    await record(stored, *(visit(phone_id, 1000.0 + phone_id) for phone_id in ids))
    seen = [(await stored.find(f"0015650000{number:02x}")).phone.seen_at for number in range(20)]
    assert seen == [1000.0 + phone_id for phone_id in ids]


async def test_a_phone_that_was_removed_meanwhile_is_passed_over(stored: Stored):
    gone, _ = await stored.phone("001565000002")
    phone_id, _ = await stored.phone(MAC)
    await stored.write(lambda c: phones.remove(c, gone))
    news = {"revision": 1, "moved_from": "203.0.113.1", "first_shown": b"hash", "document": "x", "proof": "secret"}
    await record(stored, visit(gone, **news), visit(phone_id, **news))
    assert (await stored.find(MAC)).fetched_revision == 1
    assert await stored.story(gone) == []


async def test_a_phone_that_moved_is_told_of(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id, moved_from="203.0.113.1"))
    assert (await stored.story(phone_id))[-1] == ("moved", {"from": "203.0.113.1", "to": HERE})


async def test_a_fetch_is_told_of_with_its_proof(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id, revision=1, document="a.cfg", proof="secret"))
    assert (await stored.story(phone_id))[-1] == (
        "fetched",
        {"document": "a.cfg", "revision": 1, "proof": "secret", "public_ip": HERE, "user_agent": AGENT},
    )


async def test_the_first_show_of_the_secret_binds_the_phone_and_closes_its_door(stored: Stored):
    phone_id, secret = await stored.phone(MAC)
    await stored.attach("a", MAC, public_ip=HERE)
    assert await count(stored, "doors") == 1
    assert not (await stored.find(MAC)).life.bound_at
    await record(stored, visit(phone_id, time.time(), first_shown=fingerprint(secret)))
    assert await count(stored, "doors") == 0
    assert (await stored.find(MAC)).life.bound_at
    assert (await stored.story(phone_id))[-1][0] == "bound"


async def test_a_visit_that_is_recorded_late_closes_no_door_that_a_reset_has_opened(stored: Stored):
    phone_id, secret = await stored.phone(MAC)
    now = time.time()
    await stored.write(lambda c: life.reset(c, stored.terms(now), MAC, ip_address(HERE)))
    late = visit(phone_id, now - 0.1, first_shown=fingerprint(secret))
    await record(stored, late)
    assert await count(stored, "doors") == 1
    assert (await stored.find(MAC)).life.bound_at is None
    # Nor does a fetch before it count as its first.
    await record(stored, visit(phone_id, now - 0.1, proof="door"))
    assert await stored.read(lambda c: c.exec_driver_sql("SELECT passed_at FROM doors").scalar()) is None


async def test_a_fetch_through_the_door_leaves_it_open(stored: Stored):
    """It may take several documents until the phone knows its secret."""
    phone_id, _ = await stored.phone(MAC)
    await stored.attach("a", MAC, public_ip=HERE)
    await record(stored, visit(phone_id, revision=2, proof="door"))
    assert await count(stored, "doors") == 1


async def test_a_bound_phone_gets_no_door(stored: Stored):
    phone_id, secret = await stored.phone(MAC)
    await record(stored, visit(phone_id, first_shown=fingerprint(secret)))
    await stored.write(lambda c: phones.change(c, phone_id, {"seen_at": None}))
    await stored.attach("a", MAC, public_ip=HERE)
    assert await count(stored, "doors") == 0


async def test_an_operation_is_done_by_a_fetch_of_its_revision_or_a_later_one(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    first, second, third = [await stored.attach(line, MAC) for line in ("a", "b", "c")]
    revision = (await stored.find(MAC)).revision
    await record(stored, visit(phone_id, 2000.0, revision=revision - 1))
    fetched = [
        (await stored.read(lambda c, its=its: operations.find(c, its.id))).facts.fetched_at
        for its in (first, second, third)
    ]
    assert fetched == [2000.0, 2000.0, None]


async def test_a_later_fetch_does_not_change_when_an_operation_was_done(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    its = await stored.attach("a", MAC)
    for at in (2000.0, 3000.0):
        await record(stored, visit(phone_id, at, revision=2))
    assert (await stored.read(lambda c: operations.find(c, its.id))).facts.fetched_at == 2000.0


async def test_a_phone_that_fetched_need_not_be_told(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await stored.attach("a", MAC)
    await record(stored, visit(phone_id, revision=2))
    assert not await stored.read(lambda c: operations.is_due(c, 1e10))


async def test_an_older_fetch_that_is_recorded_late_takes_nothing_back(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id, revision=3, addresses="sip:new@x"))
    await record(stored, visit(phone_id, revision=2, addresses="sip:old@x"))
    assert (await stored.find(MAC)).fetched_revision == 3


async def test_a_refusal_reaches_the_story_at_most_once_a_minute(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    for at in (1000.0, 1001.0, 1059.0, 1061.0, 1062.0):
        its = Refusal(MAC, at, HERE, "001565000001.cfg")
        await stored.write(lambda c, its=its: visits.note_refusal(c, phone_id, its))
    story = [detail for kind, detail in await stored.story(phone_id) if kind == "refused"]
    assert story == [{"document": "001565000001.cfg", "public_ip": HERE, "reason": "no-proof"}] * 2
    assert (await stored.find(MAC)).refused_at >= 1061.0


async def test_refusals_of_two_phones_do_not_hide_one_another(stored: Stored):
    ids = [(await stored.phone(mac))[0] for mac in (MAC, "001565000002")]
    its = Refusal(MAC, 1000.0, HERE, "x")
    await stored.write(lambda c: [visits.note_refusal(c, phone_id, its) for phone_id in ids])
    for phone_id in ids:
        assert (await stored.story(phone_id))[-1][0] == "refused"


async def test_only_phones_that_exist_are_known(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    macs = [MAC, Mac("001565ffffff")]
    assert await stored.read(lambda c: visits.known_macs(c, macs)) == {MAC: phone_id}


async def test_the_registrars_sight_does_not_overwrite_a_later_fetch(stored: Stored):
    phone_id, _ = await stored.phone(MAC)
    await record(stored, visit(phone_id, 2000.0))
    await stored.write(lambda c: phones.sighted(c, [(phone_id, "203.0.113.9", 1999.0)]))
    assert str((await stored.find(MAC)).phone.public_ip) == HERE
    await stored.write(lambda c: phones.sighted(c, [(phone_id, "203.0.113.9", 2001.0)]))
    assert str((await stored.find(MAC)).phone.public_ip) == "203.0.113.9"
    assert (await stored.story(phone_id))[-1] == (
        "moved",
        {"from": HERE, "to": "203.0.113.9", "seen_by": "registrar"},
    )
