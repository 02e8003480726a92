"""The phones' fast reader against what SQLAlchemy reads."""

import sqlite3
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from stored import HERE, Stored

from provisioning.domain.address import place
from provisioning.domain.errors import Fault
from provisioning.domain.mac import Mac
from provisioning.store import lines, phones
from provisioning.store.fetch import PhoneReader
from provisioning.store.secrets import fingerprint

MAC, OTHER = Mac("001565000001"), Mac("001565000002")


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    await its.account()
    for name in ("a", "b", "c"):
        await its.line(name)
    yield its
    await its.close()


@pytest.fixture
async def reader(stored: Stored) -> AsyncIterator[PhoneReader]:
    its = PhoneReader(stored.path, stored.keys)
    yield its
    its.close()


async def test_a_phone_is_found_by_its_secret(stored: Stored, reader: PhoneReader):
    _, secret = await stored.phone(MAC, main_line="a")
    found, read = reader.by_secret(fingerprint(secret)), await stored.find(MAC)
    assert found is not None
    assert (found.id, found.mac, found.model, found.revision, found.fetched_revision) == (
        read.id, read.phone.mac, read.phone.model, read.revision, read.fetched_revision,
    )  # fmt: skip
    assert (found.public_ip, found.user_agent, found.shown_at) == (None, None, None)
    assert found.secret_hash == fingerprint(secret)


async def test_no_other_secret_finds_it(stored: Stored, reader: PhoneReader):
    _, secret = await stored.phone(MAC)
    assert reader.by_secret(fingerprint(secret[:-1] + "x")) is None
    assert reader.by_secret(secret.encode()) is None


async def test_every_attached_line_is_read_with_its_slot(stored: Stored, reader: PhoneReader):
    phone_id, _ = await stored.phone(MAC, "yealink-t33g", main_line="b")
    await stored.attach("a", MAC)
    read, held = await stored.find(MAC), reader.lines(phone_id)
    assert [(number, line and line.name) for number, line in held] == [
        (slot.number, slot.line) for slot in read.phone.lines
    ]
    assert [(number, line and line.name) for number, line in held] == [(1, "b"), (2, "a")]


async def test_a_line_is_read_as_it_is_stored(stored: Stored, reader: PhoneReader):
    phone_id, _ = await stored.phone(MAC, main_line="a")
    its, read = reader.lines(phone_id)[0][1], await stored.read(lambda c: lines.find(c, "a"))
    for name in ("account", "number", "username", "domain", "display_name", "outbound_proxy", "transport"):
        assert getattr(its, name) == getattr(read, name)
    assert its.password == "pw-a"


async def test_the_phones_newest_secret_is_read(stored: Stored, reader: PhoneReader):
    phone_id, first = await stored.phone(MAC)
    second = await stored.write(lambda c: phones.new_phone_secret(c, stored.keys, phone_id, MAC, time.time()))
    assert reader.secret(phone_id, MAC) == second
    assert reader.by_secret(fingerprint(first)) is None


async def test_a_reader_sees_a_change_as_soon_as_it_was_acknowledged(stored: Stored, reader: PhoneReader):
    phone_id, secret = await stored.phone(MAC, main_line="a")
    before = reader.by_secret(fingerprint(secret))
    await stored.attach("b", MAC)
    after = reader.by_secret(fingerprint(secret))
    assert after.revision > before.revision
    assert reader.lines(phone_id)[1][1].name == "b"


@pytest.mark.parametrize(
    ("mac", "at", "offset", "passes"),
    [
        (MAC, HERE, 0.0, True),
        (MAC, HERE, 1799.0, True),
        (MAC, HERE, 1801.0, False),
        (MAC, HERE, -1.0, False),
        (MAC, "198.51.100.8", 0.0, False),
        (OTHER, HERE, 0.0, False),
    ],
)
async def test_who_passes_a_door(stored: Stored, reader: PhoneReader, mac: Mac, at: str, offset: float, passes: bool):
    phone_id, _ = await stored.phone(MAC)
    await stored.phone(OTHER)
    await stored.write(lambda c: phones.open_door(c, phone_id, MAC, HERE, 1000.0, 1800.0, "admin"))
    found = reader.by_door(mac, place(ip_address(at)), 1000.0 + offset)
    assert (found is not None) is passes


async def test_a_door_for_ipv6_is_open_to_its_64(stored: Stored, reader: PhoneReader):
    phone_id, _ = await stored.phone(MAC)
    await stored.write(lambda c: phones.open_door(c, phone_id, MAC, place(ip_address("2001:db8::1")), 1000.0, 1800.0, "admin"))
    assert reader.by_door(MAC, place(ip_address("2001:db8::ffff")), 1001.0) is not None


async def test_a_new_door_closes_the_one_before(stored: Stored, reader: PhoneReader):
    phone_id, _ = await stored.phone(MAC)
    for address in (HERE, "198.51.100.8"):
        await stored.write(lambda c, its=address: phones.open_door(c, phone_id, MAC, place(ip_address(its)), 1000.0, 1800.0, "admin"))
    assert reader.by_door(MAC, HERE, 1001.0) is None


async def test_a_reader_cannot_write(stored: Stored, reader: PhoneReader):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM phones")


async def test_a_sealed_password_of_another_line_is_a_fault_and_no_configuration(stored: Stored, reader: PhoneReader):
    phone_id, _ = await stored.phone(MAC, main_line="a")
    await stored.write(
        lambda c: c.exec_driver_sql(
            "UPDATE lines SET password = (SELECT password FROM lines WHERE line = 'b') WHERE line = 'a'"
        )
    )
    with pytest.raises(Fault, match="line:a does not open"):
        reader.lines(phone_id)


async def test_a_reader_reads_while_somebody_writes(stored: Stored, reader: PhoneReader):
    _, secret = await stored.phone(MAC)

    def slow(connection):
        connection.exec_driver_sql("UPDATE phones SET revision = revision + 1")
        return reader_revision()

    def reader_revision() -> int:
        other = PhoneReader(stored.path, stored.keys)
        try:
            return other.by_secret(fingerprint(secret)).revision
        finally:
            other.close()

    assert await stored.write(slow) == 1
    assert reader_revision() == 2
