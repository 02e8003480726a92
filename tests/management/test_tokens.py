"""/v1/tokens and `provisioning token`: made once, shown once, expiring, and when each was used last."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from running import Api, Server


async def made(api: Api, name: str, **more: object) -> dict:
    return await api.make("/v1/tokens", {"name": name, "scope": "admin"} | more)


async def listed(api: Api, token_id: str) -> dict:
    return next(its for its in (await api.get("/v1/tokens?limit=1000")).body["items"] if its["id"] == token_id)


def soon(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


@pytest.fixture
async def of(server: Server) -> AsyncIterator[Callable[[str], Api]]:
    """An API for a token."""
    apis: list[Api] = []

    def use(token: str) -> Api:
        apis.append(Api(server, token))
        return apis[-1]

    yield use
    for its in apis:
        await its.close()


async def test_a_token_is_shown_once(api: Api, of: Callable[[str], Api]) -> None:
    its = await made(api, "portal", scope="operate")
    assert (its["name"], its["scope"], its["account"], its["expires_at"]) == ("portal", "operate", None, None)
    assert (await of(its["token"]).get("/v1/lines")).status == 200
    assert "token" not in await listed(api, its["id"])
    assert its["token"] not in json.dumps((await api.get("/v1/audit?limit=1000")).body)


async def test_a_retried_creation_shows_the_same_token(api: Api) -> None:
    new = {"name": "again", "scope": "read"}
    one, other = [await api.post("/v1/tokens", new, Idempotency_Key="token-again") for _ in range(2)]
    assert one.body == other.body
    assert one.body["token"]


async def test_tokens_are_listed_a_page_at_a_time(api: Api) -> None:
    for number in range(3):
        await made(api, f"page {number}")
    every = [its["id"] for its in (await api.get("/v1/tokens?limit=1000")).body["items"]]
    found, after = [], ""
    while after is not None:
        page = (await api.get(f"/v1/tokens?limit=2&after={after}")).body
        found += [its["id"] for its in page["items"]]
        after = page["next"]
    assert found == every
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scope": "read"}, "invalid-value"),
        ({"name": "x"}, "invalid-value"),
        ({"name": "x", "scope": "root"}, "invalid-value"),
        ({"name": "a\nb", "scope": "read"}, "invalid-value"),
        ({"name": "x" * 101, "scope": "read"}, "invalid-value"),
        ({"name": "x", "scope": "read", "account": "none"}, "account-not-found"),
        ({"name": "x", "scope": "read", "expires_at": "tomorrow"}, "invalid-value"),
        ({"name": "x", "scope": "read", "expires_at": "2999-01-01"}, "invalid-value"),
        ({"name": "x", "scope": "read", "expires_at": "2999-01-01T00:00:00"}, "invalid-value"),
        ({"name": "x", "scope": "read", "expires_at": "2020-01-01T00:00:00Z"}, "invalid-value"),
        ({"name": "x", "scope": "read", "expires_at": "9999-12-31T23:59:59-12:00"}, "invalid-value"),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(api: Api, body: dict, code: str) -> None:
    assert (await api.post("/v1/tokens", body)).code == code


async def test_a_removed_token_is_refused_at_once(api: Api, of: Callable[[str], Api]) -> None:
    its = await made(api, "gone")
    assert (await of(its["token"]).get("/v1/lines")).status == 200
    assert (await api.call("DELETE", f"/v1/tokens/{its['id']}")).status == 204
    assert (await of(its["token"]).get("/v1/lines")).code == "unauthorized"
    assert (await api.call("DELETE", f"/v1/tokens/{its['id']}")).code == "token-not-found"


async def test_a_token_may_remove_itself_and_no_other(api: Api, of: Callable[[str], Api]) -> None:
    await api.account("own-token")
    one, other = await made(api, "one", scope="read", account="own-token"), await made(api, "other", scope="operate")
    assert (await of(one["token"]).call("DELETE", f"/v1/tokens/{other['id']}")).code == "forbidden"
    assert (await of(other["token"]).call("DELETE", f"/v1/tokens/{one['id']}")).code == "forbidden"
    for its in (one, other):
        answer = await of(its["token"]).call("DELETE", f"/v1/tokens/{its['id']}", Idempotency_Key="own")
        assert answer.status == 204
        assert (await of(its["token"]).get("/v1/lines")).code == "unauthorized"


async def test_an_expired_token_is_as_unknown(server: Server, api: Api, of: Callable[[str], Api]) -> None:
    its = await made(api, "short", expires_at=soon(hours=1))
    assert (await listed(api, its["id"]))["expires_at"].endswith("Z")
    caller = of(its["token"])
    assert (await caller.get("/v1/lines")).status == 200
    with sqlite3.connect(server.data / "provisioning.db", timeout=5) as connection:
        connection.execute("UPDATE tokens SET expires_at = ? WHERE id = ?", (time.time() - 1, its["id"]))
    connection.close()
    expired, unknown = await caller.get("/v1/lines"), await of("pt_unknown").get("/v1/lines")
    assert (expired.status, expired.body) == (unknown.status, unknown.body)
    assert expired.code == "unauthorized"


async def noted(api: Api, token_id: str) -> dict:
    deadline = time.monotonic() + 10
    while (its := await listed(api, token_id))["used_at"] is None:
        assert time.monotonic() < deadline, its
        await asyncio.sleep(0.05)
    return its


async def test_the_last_use_is_shown_and_from_where(server: Server, api: Api, of: Callable[[str], Api]) -> None:
    its = await made(api, "used", scope="read")
    assert (its["used_at"], its["used_from"]) == (None, None)
    caller = of(its["token"])
    await caller.get("/v1/lines")
    first = await noted(api, its["id"])
    assert first["used_from"] == "127.0.0.1"
    # At most once a minute: the database is written for the first of many requests only.
    for _ in range(20):
        await caller.get("/v1/lines")
    await asyncio.sleep(1.2)
    assert (await listed(api, its["id"]))["used_at"] == first["used_at"]


async def test_a_locked_database_hinders_no_request(server: Server, api: Api, of: Callable[[str], Api]) -> None:
    its = await made(api, "locked", scope="read")
    holder = sqlite3.connect(server.data / "provisioning.db", isolation_level=None, timeout=5)
    holder.execute("BEGIN IMMEDIATE")
    caller = of(its["token"])
    for _ in range(3):
        assert (await caller.get("/v1/lines")).status == 200
        await asyncio.sleep(0.6)
    holder.execute("ROLLBACK")
    holder.close()
    assert (await listed(api, its["id"]))["used_at"] is None
    await caller.get("/v1/lines")
    assert (await noted(api, its["id"]))["used_at"]


async def test_a_use_is_noted_also_by_a_server_that_stops(new_server: Callable[..., Server]) -> None:
    server = new_server()
    api = Api(server)
    assert (await api.get("/v1/lines")).status == 200
    await api.close()
    assert server.stop() == 0
    done = json.loads(server.command("token", "list", "--json").stdout)
    assert [(its["name"], its["scope"], its["used_from"]) for its in done["items"]] == [("admin", "admin", "127.0.0.1")]
