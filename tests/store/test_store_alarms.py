"""Alarms: the newest first, and never more than MOST of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stored import Stored

from provisioning.domain.mac import Mac
from provisioning.store import alarms


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    yield its
    await its.close()


async def test_alarms_are_read_the_newest_first_a_page_at_a_time(stored: Stored) -> None:
    for number in range(5):
        mac = Mac("001565000001") if number % 2 else None
        await stored.write(
            lambda c, number=number, mac=mac: alarms.raise_alarm(c, float(number), "burnt-token", mac, address="é", n=number)
        )
    first = await stored.read(lambda c: alarms.page(c, before=None, limit=3))
    assert [(its.at, its.kind, its.mac, its.detail) for its in first[:2]] == [
        (4.0, "burnt-token", None, {"address": "é", "n": 4}),
        (3.0, "burnt-token", "001565000001", {"address": "é", "n": 3}),
    ]
    rest = await stored.read(lambda c: alarms.page(c, before=first[-1].id, limit=3))
    assert [its.at for its in rest] == [1.0, 0.0]


async def test_the_oldest_make_room(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "MOST", 3)
    ids = [await stored.write(lambda c, n=n: alarms.raise_alarm(c, float(n), "sweep")) for n in range(7)]
    assert len(set(ids)) == 7
    kept = await stored.read(lambda c: alarms.page(c, before=None, limit=100))
    assert [its.at for its in kept] == [6.0, 5.0, 4.0]
