"""What a phone says of itself: noted where it is somebody's, and a bounded trace where it is nobody's."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import Api, Server
from sqlalchemy import create_engine, func, select
from wire import bound, get, managing, running, until

from provisioning.domain.mac import Mac
from provisioning.phones.strangers import NEW_A_MINUTE
from provisioning.store import database, unknown
from provisioning.store.tables import unknown_phones
from provisioning.store.unknown import Unknown


def agent(mac: str, said: str = "SIP-T54W 96.86.0.23") -> str:
    """As a Yealink's HTTP requests have it, with its MAC."""
    return f"User-Agent: Yealink {said} {':'.join(mac[i : i + 2] for i in range(0, 12, 2))}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("unknown")) as its:
        yield its


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with managing(server) as its:
        yield its


async def listed(api: Api) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    path = "/v1/unknown-phones?limit=50"
    after = ""
    while after is not None:
        answer = await api.get(f"{path}&after={after}")
        assert answer.status == 200, answer
        for one in answer.body["items"]:
            assert one["mac"] not in found
            found[one["mac"]] = one
        after = answer.body["next"]
    return found


async def appears(api: Api, mac: str) -> dict[str, Any]:
    async def look() -> Any:
        return (await listed(api)).get(mac)

    return await until(look)


async def mismatches(api: Api, mac: str) -> list[dict[str, Any]]:
    events = (await api.get(f"/v1/phones/{mac}/events")).body["items"]
    return [event["detail"] for event in events if event["kind"] == "mismatch"]


async def test_a_phone_that_calls_itself_something_else_leaves_it_in_its_story(server: Server, api: Api) -> None:
    phone = await bound(api, "001565570001")
    for _ in range(3):
        # Its lines are its own all the same: what it says is no proof, in either direction.
        assert phone.password.encode() in get(server, phone.path(), agent(phone.mac, "SIP-T46S 66.86.0.15")).body
        (detail,) = await until(lambda: mismatches(api, phone.mac))
    assert detail == {"model": "yealink-t46s", "user_agent": "Yealink SIP-T46S 66.86.0.15 00:15:65:57:00:01"}


async def test_a_phone_that_calls_itself_what_it_is_leaves_nothing(server: Server, api: Api) -> None:
    phone = await bound(api, "001565570002")
    get(server, phone.path(), agent(phone.mac))

    async def fetched() -> bool:
        return any(
            event["kind"] == "fetched" for event in (await api.get(f"/v1/phones/{phone.mac}/events")).body["items"]
        )

    await until(fetched)
    assert await mismatches(api, phone.mac) == []


async def test_another_mac_in_the_user_agent_is_a_mismatch(server: Server, api: Api) -> None:
    phone = await bound(api, "001565570003")
    get(server, phone.path(), agent("001565570099"))
    (detail,) = await until(lambda: mismatches(api, phone.mac))
    assert detail["mac"] == "001565570099"


async def test_a_phone_that_is_nobodys_appears_once(server: Server, api: Api) -> None:
    mac = "001565570010"
    for _ in range(3):
        assert get(server, f"/{mac}.cfg", agent(mac)).status == 200
    its = await appears(api, mac)
    assert its["vendor"] == "yealink"
    assert its["model"] == "yealink-t54w"
    assert its["firmware"] == "96.86.0.23"
    assert its["user_agent"] == agent(mac).removeprefix("User-Agent: ")
    assert its["document"] == f"{mac}.cfg"
    assert its["public_ip"] == "127.0.0.1"
    assert its["first_seen"] <= its["last_seen"]


async def test_a_phone_that_is_somebodys_is_not_among_them(server: Server, api: Api) -> None:
    phone, stranger = await bound(api, "001565570011"), "001565570012"
    get(server, phone.bare(), agent(phone.mac))
    get(server, f"/{stranger}.cfg", agent(stranger))
    await appears(api, stranger)
    assert phone.mac not in await listed(api)


async def test_what_names_no_make_leaves_no_trace(server: Server, api: Api) -> None:
    quiet, marker = "001565570013", "001565570014"
    get(server, f"/{quiet}.cfg")
    get(server, "/02c0de570013.cfg", "User-Agent: curl/8.5.0")
    get(server, f"/{marker}.cfg", agent(marker))
    await appears(api, marker)
    assert not {quiet, "02c0de570013"} & (await listed(api)).keys()


async def test_adopting_it_removes_it(server: Server, api: Api) -> None:
    mac = "001565570020"
    get(server, f"/{mac}.cfg", agent(mac))
    its = await appears(api, mac)
    await api.account("adopters")
    await api.phone(mac, its["model"], "adopters")
    assert mac not in await listed(api)


async def test_one_may_be_forgotten_and_a_second_time_is_not_there(server: Server, api: Api) -> None:
    mac = "001565570021"
    get(server, f"/{mac}.cfg", agent(mac))
    await appears(api, mac)
    assert (await api.call("DELETE", f"/v1/unknown-phones/{mac}")).status == 204
    assert mac not in await listed(api)
    again = await api.call("DELETE", f"/v1/unknown-phones/{mac}")
    assert (again.status, again.code) == (404, "phone-not-found")


async def test_they_are_the_operators_to_see(server: Server, api: Api) -> None:
    await api.account("curious")
    made = await api.make("/v1/tokens", {"name": "shop", "scope": "admin", "account": "curious"})
    its = Api(server, made["token"])
    assert (await its.get("/v1/unknown-phones")).code == "forbidden"
    assert (await its.call("DELETE", "/v1/unknown-phones/001565570010")).code == "forbidden"
    await its.close()


async def test_a_flood_of_made_up_macs_stays_bounded(server: Server, api: Api) -> None:
    before, minute = len(await listed(api)), int(time.monotonic() // 60)
    sent = 3 * NEW_A_MINUTE
    for number in range(sent):
        mac = f"00156558{number:04x}"
        get(server, f"/{mac}.cfg", agent(mac))
    # Refusals are recorded behind the answers, batch after batch, in each the known phones' first: with the second
    # one's, the batch of the first is through, and all before it.
    for known in ("001565570030", "001565570031"):
        phone = await bound(api, known)
        get(server, phone.bare(), agent(known))
        await until(lambda mac=known: _refused(api, mac))
    minutes = int(time.monotonic() // 60) - minute + 1
    found = len(await listed(api))
    assert before < found <= before + minutes * NEW_A_MINUTE


async def _refused(api: Api, mac: str) -> bool:
    return "refused" in [event["kind"] for event in (await api.get(f"/v1/phones/{mac}/events")).body["items"]]


def test_the_ones_seen_longest_ago_make_room(tmp_path: Path) -> None:
    path = tmp_path / "provisioning.db"
    database.create_or_upgrade(path)
    engine = create_engine(f"sqlite:///{path}")
    sent = unknown.MOST + 250
    with engine.begin() as connection:
        for start in range(0, sent, 50):
            unknown.seen(connection, [_stranger(number) for number in range(start, start + 50)])
        assert connection.scalar(select(func.count()).select_from(unknown_phones)) == unknown.MOST
        assert connection.scalar(select(func.min(unknown_phones.c.seen_at))) == sent - unknown.MOST
        # One that comes again is kept for it, and was first seen when it was.
        oldest = _stranger(sent - unknown.MOST)
        unknown.seen(connection, [replace(oldest, first_seen_at=9999.0, seen_at=9999.0)])
        unknown.seen(connection, [_stranger(number) for number in range(sent, sent + 50)])
        found = unknown.find(connection, oldest.mac)
        assert found == replace(oldest, seen_at=9999.0)
    engine.dispose()


def _stranger(number: int) -> Unknown:
    mac = Mac(f"001565{number:06x}")
    return Unknown(mac, "yealink", None, None, "Yealink SIP-T54W", f"{mac}.cfg", None, float(number), float(number))
