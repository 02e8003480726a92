"""From order to return: one-time tokens, codes, new secrets, doors that open by themselves."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from running import Api, Server
from wire import Bound, Reply, bound, get, managing, secret_of, until

HERE, ELSEWHERE = "203.0.113.7", "198.51.100.9"
_next = iter(range(1, 1000))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its phones come through a proxy, so that they have public addresses; no stranger is limited."""
    generous = {f"LIMITS__FAILURES_PER_{of}": "60000" for of in ("ADDRESS", "NETWORK", "MAC", "PREFIX")}
    its = Server(tmp_path_factory.mktemp("life"), {"NETWORK__TRUSTED_PROXIES": "127.0.0.1/32"} | generous)
    its.start()
    yield its
    assert its.stop() == 0
    assert "Traceback" not in its.log.read_text()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with managing(server) as its:
        yield its


@pytest.fixture
async def phone(api: Api) -> Bound:
    return await bound(api, f"0015650{next(_next):05x}", "yealink-t54w")


@pytest.fixture
def place() -> str:
    """A public address of this test's own."""
    return f"198.18.{next(_next)}.7"


def fetch(server: Server, path: str, address: str = HERE, *fields: str, method: str = "GET") -> Reply:
    return get(server, path, f"X-Forwarded-For: {address}", *fields, method=method)


def has_lines(reply: Reply, phone: Bound) -> bool:
    return reply.status == 200 and phone.password.encode() in reply.body


async def ship(api: Api, phone: Bound) -> str:
    """The path of the phone's document under its one-time URL."""
    answer = await api.post(f"/v1/phones/{phone.mac}/ship")
    assert answer.status == 200, answer
    return f"{urlsplit(answer.body['bootstrap_url']).path}{phone.mac}.cfg"


async def story(api: Api, phone: Bound) -> list[str]:
    return [event["kind"] for event in (await api.get(f"/v1/phones/{phone.mac}/events")).body["items"]]


async def told(api: Api, phone: Bound, kind: str) -> None:
    await until(lambda: _is_told(api, phone, kind))


async def _is_told(api: Api, phone: Bound, kind: str) -> bool:
    return kind in await story(api, phone)


async def shown(api: Api, phone: Bound) -> dict[str, Any]:
    return (await api.get(f"/v1/phones/{phone.mac}")).body


async def in_state(api: Api, phone: Bound, state: str) -> None:
    async def it_is() -> bool:
        return (await shown(api, phone))["state"] == state

    await until(it_is)


def own_secret(reply: Reply) -> str:
    found = re.search(rb"://[^/]+/([0-9a-f]{32})/", reply.body)
    assert found, reply.body
    return found[1].decode()


# One-time tokens


async def test_a_shipped_phone_is_bound_by_its_token_and_only_once(server: Server, api: Api, phone: Bound, place: str):
    assert (await shown(api, phone))["state"] == "ordered"
    path = await ship(api, phone)
    assert (await shown(api, phone))["state"] == "shipped"
    assert not has_lines(fetch(server, path, place, method="HEAD"), phone)
    first = fetch(server, path, place)
    assert has_lines(first, phone)
    secret = own_secret(first)
    assert secret not in (phone.secret, path.split("/")[1])

    stranger = fetch(server, phone.bare(), ELSEWHERE)
    for address in (place, ELSEWHERE):
        assert fetch(server, path, address).shape == stranger.shape
    alarms = (await api.get("/v1/alarms")).body["items"]
    assert [(its["kind"], its["detail"]["place"]) for its in alarms if its["mac"] == phone.mac] == [
        ("bootstrap-shown-again", ELSEWHERE),
        ("bootstrap-shown-again", place),
    ]
    assert has_lines(fetch(server, f"/{secret}{phone.bare()}", place), phone)
    await in_state(api, phone, "bound")


async def test_of_fifty_at_once_one_is_bound(server: Server, api: Api, phone: Bound, place: str):
    path = await ship(api, phone)
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda n: fetch(server, path, place if n % 2 else ELSEWHERE), range(50)))
    assert [reply.status for reply in replies] == [200] * 50
    assert sum(has_lines(reply, phone) for reply in replies) == 1
    assert (await story(api, phone)).count("secret-issued") == 1


async def test_a_token_serves_each_document_of_one_boot(server: Server, api: Api, place: str):
    phone = await bound(api, f"0004130{next(_next):05x}", "snom-d785")
    answer = await api.post(f"/v1/phones/{phone.mac}/ship")
    folder = "/" + secret_of(answer.body["bootstrap_url"])
    its = (await api.get(f"/v1/phones/{phone.mac}/documents")).body
    names = [phone.bare(one["name"]) for one in its if one["stage"] and "phonebook" not in one["name"]]
    assert len(names) > 1
    for name in names:
        assert not has_lines(fetch(server, folder + name, ELSEWHERE), phone) or name == names[0]
        break
    # From elsewhere the set is over before it began for the rest.
    assert not has_lines(fetch(server, folder + names[1], place), phone)
    answer = await api.post(f"/v1/phones/{phone.mac}/ship")
    folder = "/" + secret_of(answer.body["bootstrap_url"])
    for name in names:
        assert has_lines(fetch(server, folder + name, place), phone)
    assert not has_lines(fetch(server, folder + names[0], place), phone)


async def test_a_lost_answer_heals_by_itself(server: Server, api: Api, phone: Bound, place: str):
    path = await ship(api, phone)
    fetch(server, path, place)
    await until(lambda: _is_told(api, phone, "fetched"))
    assert not has_lines(fetch(server, path, place), phone)
    await told(api, phone, "door-opened")
    assert has_lines(fetch(server, path, place), phone)
    assert not has_lines(fetch(server, path, ELSEWHERE), phone)


async def test_a_token_expires(new_server: Callable[..., Server]):
    server = new_server(PROOFS__BOOTSTRAP_DAYS="0.00001", NETWORK__TRUSTED_PROXIES="127.0.0.1/32")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        path = await ship(api, phone)
        await asyncio.sleep(1)
        assert not has_lines(fetch(server, path), phone)
        assert "bootstrap-expired" in await story(api, phone)


async def test_a_bound_phone_needs_no_token(server: Server, api: Api, phone: Bound, place: str):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    answer = await api.post(f"/v1/phones/{phone.mac}/ship")
    assert (answer.status, answer.code) == (409, "phone-bound")


async def test_arming_again_voids_the_token_before(server: Server, api: Api, phone: Bound, place: str):
    first, second = await ship(api, phone), await ship(api, phone)
    assert not has_lines(fetch(server, first, place), phone)
    assert has_lines(fetch(server, second, place), phone)


# Activation codes


async def code_of(api: Api, phone: Bound) -> str:
    answer = await api.post(f"/v1/phones/{phone.mac}/code")
    assert answer.status == 200, answer
    assert re.fullmatch("[0-9]{6}", answer.body["code"])
    return answer.body["code"]


async def test_a_code_in_the_path_binds_the_phone_once(server: Server, api: Api, phone: Bound, place: str):
    code = await code_of(api, phone)
    first = fetch(server, f"/{code}{phone.bare()}", place)
    assert has_lines(first, phone)
    assert not has_lines(fetch(server, f"/{code}{phone.bare()}", ELSEWHERE), phone)
    # The rest of its boot comes through a door.
    assert has_lines(fetch(server, phone.bare(), place), phone)
    assert has_lines(fetch(server, f"/{own_secret(first)}{phone.bare()}", place), phone)


async def test_a_code_is_of_one_phone(server: Server, api: Api, phone: Bound, place: str):
    other = await bound(api, f"0015650{next(_next):05x}")
    code = await code_of(api, phone)
    assert not has_lines(fetch(server, f"/{code}{other.bare()}", place), other)
    assert has_lines(fetch(server, f"/{code}{phone.bare()}", place), phone)


async def test_three_wrong_codes_lock_it_and_a_new_one_helps(server: Server, api: Api, phone: Bound, place: str):
    code = await code_of(api, phone)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    for _ in range(3):
        assert not has_lines(fetch(server, f"/{wrong}{phone.bare()}", place), phone)
    await told(api, phone, "code-locked")
    assert not has_lines(fetch(server, f"/{code}{phone.bare()}", place), phone)
    assert has_lines(fetch(server, f"/{await code_of(api, phone)}{phone.bare()}", place), phone)


async def test_a_stranger_who_guesses_too_often_is_not_heard_even_when_right(new_server: Callable[..., Server]):
    server = new_server(LIMITS__FAILURES_PER_MAC="2", NETWORK__TRUSTED_PROXIES="127.0.0.1/32")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        code = await code_of(api, phone)
        statuses = [fetch(server, phone.bare(), f"198.51.100.{n}").status for n in range(3)]
        assert statuses == [200, 200, 429]
        limited = fetch(server, f"/{code}{phone.bare()}", "198.51.100.77")
        assert (limited.status, limited["Retry-After"]) == (429, "600")
        # Whoever proves what he is never is.
        assert has_lines(fetch(server, phone.path(), "198.51.100.77"), phone)


# New secrets


async def test_two_secrets_are_valid_until_the_phone_shows_the_new_one(
    server: Server, api: Api, phone: Bound, place: str
):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    answer = await api.post(f"/v1/phones/{phone.mac}/secret")
    assert answer.status == 202
    new = secret_of(answer.body["provisioning_url"])
    by_old = fetch(server, phone.path(), place)
    assert has_lines(by_old, phone)
    assert own_secret(by_old) == new
    assert has_lines(fetch(server, f"/{new}{phone.bare()}", place), phone)

    async def old_is_dead() -> bool:
        return not has_lines(fetch(server, phone.path(), ELSEWHERE), phone)

    await until(old_is_dead)


# Return, and another owner


async def test_a_returned_phone_gets_a_blank_configuration_and_nothing_else(
    server: Server, api: Api, phone: Bound, place: str
):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    answer = await api.post(f"/v1/phones/{phone.mac}/return")
    assert (answer.status, answer.body["kind"]) == (202, "return")
    blank = fetch(server, phone.path(), place)
    assert blank.status == 200
    assert b"account.1.enable = 0" in blank.body
    assert b"pw-" not in blank.body
    assert phone.secret.encode() not in blank.body
    assert blank.shape != fetch(server, phone.bare(), place).shape
    its = await shown(api, phone)
    assert (its["state"], its["lines"]) == ("returned", [])
    await api.operation(answer.body["id"], "done")
    for path, body in (("attach", None), ("reset", None)):
        target = f"/v1/lines/{phone.line}/attach" if path == "attach" else f"/v1/phones/{phone.mac}/{path}"
        refused = await api.post(target, {"public_ip": place} | ({"mac": phone.mac} if path == "attach" else {}) | (body or {}))
        assert (refused.status, refused.code) == (409, "phone-returned"), path
    assert (await api.post(f"/v1/phones/{phone.mac}/return")).code == "phone-returned"

    path = await ship(api, phone)
    assert fetch(server, phone.path(), ELSEWHERE).shape == fetch(server, phone.bare(), ELSEWHERE).shape
    assert b"account.1.enable" in fetch(server, path, place).body


async def test_another_account_gets_a_phone_of_which_the_earlier_knows_nothing(
    server: Server, api: Api, phone: Bound, place: str
):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    await api.post(f"/v1/phones/{phone.mac}/return")
    buyer = await api.account(f"buyer-{phone.mac}")
    answer = await api.call("PATCH", f"/v1/phones/{phone.mac}", {"account": buyer})
    assert answer.status == 200, answer
    assert answer.body["state"] == "ordered"
    secret = secret_of(answer.body["provisioning_url"])
    assert fetch(server, phone.path(), ELSEWHERE).shape == fetch(server, phone.bare(), ELSEWHERE).shape
    assert b"account.1.enable" in fetch(server, f"/{secret}{phone.bare()}", place).body


# Doors


async def test_no_door_where_several_accounts_share_the_address(server: Server, api: Api, phone: Bound, place: str):
    neighbour = await bound(api, f"0015650{next(_next):05x}")
    fetch(server, neighbour.path(), place)
    await told(api, neighbour, "fetched")
    for path in ("reset", "door"):
        refused = await api.post(f"/v1/phones/{phone.mac}/{path}", {"public_ip": place})
        assert (refused.status, refused.code) == (409, "door-refused")
        assert "share" in refused.body["detail"]
    assert not has_lines(fetch(server, phone.bare(), place), phone)
    assert has_lines(fetch(server, f"/{await code_of(api, phone)}{phone.bare()}", place), phone)


async def test_attach_opens_no_door_at_a_shared_address(server: Server, api: Api, place: str):
    neighbour = await bound(api, f"0015650{next(_next):05x}")
    fetch(server, neighbour.path(), place)
    await told(api, neighbour, "fetched")
    account = await api.account(f"a{place}")
    mac = f"0015650{next(_next):05x}"
    await api.line(f"l{mac}", account)
    await api.phone(mac, account=account)
    answer = await api.post(f"/v1/lines/l{mac}/attach", {"public_ip": place, "mac": mac})
    assert answer.status == 202, answer
    phone = Bound(mac, "", f"l{mac}", account)
    assert (await shown(api, phone))["door"] is None
    assert not has_lines(fetch(server, phone.bare(), place), phone)


async def test_a_door_is_opened_shown_and_closed(server: Server, api: Api, phone: Bound, place: str):
    answer = await api.post(f"/v1/phones/{phone.mac}/door", {"public_ip": place})
    assert (answer.body["door"]["public_ip"], answer.body["door"]["opened_by"]) == (place, "admin")
    assert has_lines(fetch(server, phone.bare(), place), phone)
    assert not has_lines(fetch(server, phone.bare(), ELSEWHERE), phone)
    closed = await api.call("DELETE", f"/v1/phones/{phone.mac}/door")
    assert closed.status == 204, closed
    assert not has_lines(fetch(server, phone.bare(), place), phone)
    again = await api.call("DELETE", f"/v1/phones/{phone.mac}/door")
    assert (again.status, again.code) == (404, "no-open-door")


async def test_a_phone_that_was_reset_where_it_lives_comes_back_by_itself_once(
    server: Server, api: Api, phone: Bound, place: str
):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    stranger = fetch(server, phone.bare(), ELSEWHERE)
    assert fetch(server, phone.bare(), place).shape == stranger.shape
    await told(api, phone, "door-opened")
    its = await shown(api, phone)
    assert (its["state"], its["door"]["opened_by"], its["door"]["public_ip"]) == ("reset", "reopen", place)
    back = fetch(server, phone.bare(), place)
    assert has_lines(back, phone)
    secret = own_secret(back)
    assert secret != phone.secret
    assert has_lines(fetch(server, f"/{secret}{phone.bare()}", place), phone)
    await in_state(api, phone, "bound")
    assert (await shown(api, phone))["door"] is None
    assert ("door-reopened", phone.mac) in [
        (its["kind"], its["mac"]) for its in (await api.get("/v1/alarms")).body["items"]
    ]


async def test_nothing_opens_for_a_stranger_elsewhere(server: Server, api: Api, phone: Bound, place: str):
    fetch(server, phone.path(), place)
    await in_state(api, phone, "bound")
    fetch(server, phone.bare(), ELSEWHERE)
    await told(api, phone, "refused")
    its = await shown(api, phone)
    assert (its["state"], its["door"]) == ("bound", None)


async def test_no_door_opens_by_itself_at_a_shared_address(server: Server, api: Api, phone: Bound, place: str):
    neighbour = await bound(api, f"0015650{next(_next):05x}")
    for its in (phone, neighbour):
        fetch(server, its.path(), place)
        await in_state(api, its, "bound")
    fetch(server, phone.bare(), place)
    await told(api, phone, "needs-door")
    its = await shown(api, phone)
    assert (its["state"], its["door"]) == ("reset", None)


async def test_a_neighbour_who_asks_for_every_mac_is_not_let_into_them_all(server: Server, api: Api, place: str):
    account = await api.account(f"office-{place}")
    phones = []
    for _ in range(5):
        mac = f"0015650{next(_next):05x}"
        await api.line(f"l{mac}", account)
        made = await api.phone(mac, account=account, main_line=f"l{mac}")
        phones.append(Bound(mac, secret_of(made["provisioning_url"]), f"l{mac}", account))
        fetch(server, phones[-1].path(), place)
    for phone in phones:
        await in_state(api, phone, "bound")
    for phone in phones:
        fetch(server, phone.bare(), place)
        await told(api, phone, "needs-door")
    assert sum(has_lines(fetch(server, phone.bare(), place), phone) for phone in phones) == 3


# Switched off, and unencrypted


async def test_proofs_can_be_switched_off_for_an_account(server: Server, api: Api, phone: Bound, place: str):
    answer = await api.call("PATCH", f"/v1/accounts/{phone.account}", {"proofs": ["certificate", "bootstrap"]})
    assert answer.body["proofs"] == ["certificate", "bootstrap"]
    stranger = fetch(server, phone.bare(), ELSEWHERE)
    assert fetch(server, phone.path(), place).shape == stranger.shape
    refused = await api.post(f"/v1/phones/{phone.mac}/code")
    assert (refused.status, refused.code) == (409, "proof-switched-off")
    assert (await api.post(f"/v1/phones/{phone.mac}/door", {"public_ip": place})).code == "door-refused"
    assert has_lines(fetch(server, await ship(api, phone), place), phone)
    wrong = await api.call("PATCH", f"/v1/accounts/{phone.account}", {"proofs": ["mac"]})
    assert (wrong.status, wrong.code) == (422, "invalid-value")
    await api.call("PATCH", f"/v1/accounts/{phone.account}", {"proofs": None})
    assert has_lines(fetch(server, phone.path(), place), phone)


async def test_a_proof_that_is_switched_off_hides_no_other(server: Server, api: Api, phone: Bound, place: str):
    await api.call("PATCH", f"/v1/accounts/{phone.account}", {"proofs": ["door"]})
    assert not has_lines(fetch(server, phone.path(), place), phone)
    await api.post(f"/v1/phones/{phone.mac}/door", {"public_ip": place})
    assert has_lines(fetch(server, phone.path(), place), phone)
    assert has_lines(fetch(server, f"/{'0' * 32}{phone.bare()}", place), phone)
    assert not has_lines(fetch(server, phone.path(), ELSEWHERE), phone)


async def test_proofs_can_be_switched_off_for_a_model(new_server: Callable[..., Server]):
    server = new_server(PROOFS__MODELS='{"yealink-t54w": ["certificate"]}')
    async with managing(server) as api:
        its, other = await bound(api, "001565000001", "yealink-t54w"), await bound(api, "001565000002", "yealink-t46s")
        assert not has_lines(get(server, its.path()), its)
        assert has_lines(get(server, other.path()), other)


@pytest.mark.parametrize(
    ("setting", "public", "private"), [("never", False, False), ("private", False, True), ("always", True, True)]
)
async def test_lines_over_plain_http(new_server: Callable[..., Server], setting: str, public: bool, private: bool):
    server = new_server(PHONES__LINES_OVER_HTTP=setting, NETWORK__TRUSTED_PROXIES="127.0.0.2/32")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        assert has_lines(get(server, phone.path()), phone) is private
        assert has_lines(get(server, phone.path(), tls=True), phone)
        for scheme, expected in (("http", public), ("https", True)):
            # One that is public indeed: the ranges for documentation are as private as any.
            forwarded = ("X-Forwarded-For: 5.39.0.7", f"X-Forwarded-Proto: {scheme}")
            assert has_lines(get(server, phone.path(), *forwarded, source="127.0.0.2"), phone) is expected
        # Nobody else's word counts.
        assert has_lines(get(server, phone.path(), "X-Forwarded-Proto: https"), phone) is private


def test_the_database_upgrades_with_its_phones(tmp_path: Path):
    """A schema 0001 with a phone, a secret, a door, a token in it keeps them all."""
    import sqlite3

    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from provisioning.store import database as stored

    path = tmp_path / "a.db"
    config = Config()
    config.set_main_option("script_location", str(Path(stored.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    engine.dispose()
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO accounts VALUES (1, 'acme', '', 1)")
        old.execute("INSERT INTO phones (id, mac, model, account_id, revision, created_at) VALUES (1, '001565000001', 'm', 1, 1, 1)")
        old.execute("INSERT INTO phone_secrets VALUES (x'00', 1, x'01', 'k', 1, 2)")
        old.execute("INSERT INTO doors VALUES (1, 1, '001565000001', '203.0.113.7', 1, 2)")
        old.execute("INSERT INTO tokens (id, name, hash, created_at) VALUES ('t1', 'admin', x'02', 1)")
    old.close()
    stored.create_or_upgrade(path)
    stored.check_schema(path)
    with sqlite3.connect(path) as new:
        assert new.execute("SELECT kind, shown_at FROM phone_secrets").fetchall() == [("own", 2.0)]
        assert new.execute("SELECT opened_by FROM doors").fetchall() == [("attach",)]
        assert new.execute("SELECT scope, expires_at FROM tokens").fetchall() == [("admin", None)]
        assert new.execute("SELECT proofs FROM accounts").fetchall() == [(None,)]
    new.close()
