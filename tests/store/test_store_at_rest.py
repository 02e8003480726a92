"""What a thief of the database files would read."""

import base64
import json
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from sqlalchemy import Connection
from stored import HERE, Stored

from provisioning.domain.mac import Mac
from provisioning.management import life
from provisioning.store import lines, rotation, tokens
from provisioning.store.fetch import PhoneReader
from provisioning.store.secrets import KeyRing, add_key, fingerprint

PASSWORD = "Pa55-word-of-a-line"
MAC = Mac("001565000001")


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    its = Stored(tmp_path)
    await its.account()
    yield its
    await its.close()


def plan_new_password(connection: Connection, stored: Stored) -> str:
    """The password that waits for the registrar to take it."""
    lines.plan_new_password(connection, stored.keys, lines.find(connection, "b"), 1000.0)
    (its,) = lines.take_new_passwords(connection, stored.keys, 1000.0, 0.0, 10)
    return its.password


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("provisioning.db*")}


@pytest.mark.parametrize("rotate", [False, True])
async def test_no_secret_stands_in_plain_in_any_database_file(stored: Stored, tmp_path: Path, rotate: bool):
    await stored.line("a", password=PASSWORD)
    await stored.line("b")
    _, first = await stored.phone(MAC, main_line="a")
    await stored.attach("b", MAC, public_ip=HERE)
    _, second = await stored.write(lambda c: life.reset(c, stored.terms(), MAC, ip_address(HERE)))
    _, token = await stored.write(lambda c: tokens.add(c, "admin", None, time.time()))
    token_id = (await stored.read(lambda c: tokens.Token(*c.execute(tokens.by_hash(fingerprint(token))).one()))).id
    shown = json.dumps({"provisioning_url": f"https://phones.example.net/{second}/"})
    await stored.write(lambda c: tokens.keep_answer(c, stored.keys, token_id, "key-1", b"r", shown, time.time()))
    waiting = await stored.write(lambda c: plan_new_password(c, stored))
    if rotate:
        add_key(stored.key_file)
        again = KeyRing(stored.key_file)
        while await stored.write(lambda c: rotation.sealed(c, again)):
            pass
    found = files(tmp_path)
    assert set(found) >= {"provisioning.db", "provisioning.db-wal"}
    await stored.close()
    everything = b"".join(found.values()) + b"".join(files(tmp_path).values())
    assert b"Poste a" in everything
    for secret in (PASSWORD, "pw-b", waiting, first, second, token, token.removeprefix("pt_")):
        for spelling in (secret.encode(), secret.encode("utf-16-le"), base64.b64encode(secret.encode())[:-4]):
            assert spelling not in everything
    assert bytes.fromhex(first) not in everything
    assert bytes.fromhex(second) not in everything
    for line in stored.key_file.read_text().splitlines():
        key = line.split()[1]
        assert key.encode() not in everything
        assert base64.b64decode(key) not in everything


async def test_every_secret_opens_after_a_rotation_and_only_the_new_key_is_in_use(stored: Stored):
    for number in range(6):
        await stored.line(f"l{number}")
    await stored.line("b")
    phone_id, secret = await stored.phone(MAC, main_line="l0")
    _, token = await stored.write(lambda c: tokens.add(c, "admin", None, time.time()))
    token_id = (await stored.read(lambda c: tokens.Token(*c.execute(tokens.by_hash(fingerprint(token))).one()))).id
    await stored.write(lambda c: tokens.keep_answer(c, stored.keys, token_id, "k", b"r", "answer", time.time()))
    waiting = await stored.write(lambda c: plan_new_password(c, stored))
    add_key(stored.key_file)
    again, done = KeyRing(stored.key_file), 0
    while batch := await stored.write(lambda c: rotation.sealed(c, again)):
        done += batch
    assert done == 7 + 1 + 1 + 1
    assert await stored.read(rotation.keys_in_use) == {again.current}
    given = await stored.read(lambda c: tokens.given_answer(c, again, token_id, "k", time.time()))
    assert given == (b"r", "answer")
    assert await stored.write(lambda c: plan_new_password(c, stored)) == waiting
    reader = PhoneReader(stored.path, stored.keys)
    assert reader.secret(phone_id, MAC) == secret
    assert reader.lines(phone_id)[0][1].password == "pw-l0"
    reader.close()


async def test_an_answer_is_kept_for_a_day(stored: Stored):
    _, token = await stored.write(lambda c: tokens.add(c, "admin", None, 0.0))
    token_id = (await stored.read(lambda c: tokens.Token(*c.execute(tokens.by_hash(fingerprint(token))).one()))).id
    await stored.write(lambda c: tokens.keep_answer(c, stored.keys, token_id, "k", b"r", "answer", 1000.0))
    for now, given in ((1000.0 + 86399, (b"r", "answer")), (1000.0 + 86401, None)):
        assert await stored.read(lambda c, at=now: tokens.given_answer(c, stored.keys, token_id, "k", at)) == given
