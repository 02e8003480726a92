"""A token of one account: it sees its own, and everybody else's is as if it did not exist."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from running import Answer, Api, Server
from waiting import seen

MINE, THEIRS, NOBODYS = "001565400001", "001565400002", "001565400003"


@pytest.fixture(scope="module")
def restricted_token(server: Server) -> str:
    async def build() -> None:
        api = Api(server)
        for account, mac in (("mine", MINE), ("theirs", THEIRS)):
            await api.account(account)
            for number in (1, 2):
                await api.line(f"{account}-{number}", account)
            made = await api.phone(mac, account=account, main_line=f"{account}-1")
            await seen(api, server, made)
            await api.make(f"/v1/phones/{mac}/resync", {})
        await api.close()

    asyncio.run(build())
    told = server.command("token", "add", "shop", "--account", "mine", "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["token"]


@pytest.fixture
async def mine(server: Server, restricted_token: str) -> AsyncIterator[Api]:
    its = Api(server, restricted_token)
    yield its
    await its.close()


@pytest.mark.parametrize(
    "path", ["/v1/accounts", "/v1/lines", "/v1/phones", "/v1/operations"]
)  # fmt: skip
async def test_a_list_holds_only_ones_own(mine: Api, path: str) -> None:
    items = (await mine.get(path)).body["items"]
    assert {item["account"] for item in items} == {"mine"}


@pytest.mark.parametrize(
    "path",
    ["/v1/accounts/mine", "/v1/lines/mine-1", f"/v1/phones/{MINE}", f"/v1/phones/{MINE}/events", f"/v1/phones/{MINE}/documents",
     f"/v1/phones/{MINE}/documents/{MINE}.cfg", "/v1/lines/mine-2/attachable-phones", "/v1/models"],
)  # fmt: skip
async def test_ones_own_is_read(mine: Api, path: str) -> None:
    assert (await mine.get(path)).status == 200


def without_names(answer: Answer, *names: str) -> tuple[int, str, str]:
    text = json.dumps(answer.body)
    for name in names:
        text = text.replace(name, "NAME")
    return answer.status, text, answer.headers["Content-Type"]


def spelled(mac: str) -> str:
    return ":".join(mac[i : i + 2] for i in range(0, 12, 2)).upper()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/accounts/{account}", None),
        ("GET", "/v1/lines/{line}", None),
        ("GET", "/v1/lines/{line}/attachable-phones", None),
        ("GET", "/v1/lines?account={account}", None),
        ("GET", "/v1/phones?account={account}", None),
        ("GET", "/v1/phones/{mac}", None),
        ("GET", "/v1/phones/{mac}/events", None),
        ("GET", "/v1/phones/{mac}/documents", None),
        ("GET", "/v1/phones/{mac}/documents/{mac}.cfg", None),
        ("GET", "/v1/operations?phone={mac}", None),
        ("GET", "/v1/operations?line={line}", None),
        ("POST", "/v1/lines/{line}/attach", {"public_ip": "127.0.0.1"}),
        ("POST", "/v1/lines/{line}/attach", {"public_ip": "127.0.0.1", "mac": MINE}),
        ("POST", "/v1/lines/{line}/detach", {"public_ip": "127.0.0.1"}),
        ("POST", "/v1/lines/mine-2/attach", {"public_ip": "127.0.0.1", "mac": "{mac}"}),
        ("POST", "/v1/lines/mine-2/attach", {"public_ip": "203.0.113.7", "mac": "{mac}"}),
        ("POST", "/v1/lines/mine-2/attach", {"mac": "{mac}"}),
        ("POST", "/v1/lines/mine-1/detach", {"public_ip": "127.0.0.1", "mac": "{mac}"}),
        ("POST", "/v1/phones/{mac}/promote", {"line": "mine-1"}),
        ("POST", f"/v1/phones/{MINE}/promote", {"line": "{line}"}),
        ("POST", "/v1/phones/{mac}/resync", {}),
        ("POST", "/v1/phones/{mac}/reset", {"public_ip": "127.0.0.1"}),
    ],
)
async def test_what_is_others_is_answered_as_what_does_not_exist(
    mine: Api, method: str, path: str, body: object
) -> None:
    told = []
    for names in (
        {"account": "theirs", "line": "theirs-1", "mac": THEIRS},
        {"account": "nobody", "line": "nobody-1", "mac": NOBODYS},
    ):
        text = json.dumps(body)
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        answer = await mine.call(method, path.format(**names), None if body is None else json.loads(text))
        told.append(without_names(answer, *names.values(), spelled(names["mac"])))
    assert told[0] == told[1]
    assert told[0][0] in (200, 404)


async def test_an_operation_of_others_does_not_exist(mine: Api, api: Api) -> None:
    theirs = (await api.get(f"/v1/operations?phone={THEIRS}")).body["items"][0]["id"]
    nobodys = theirs[:-4] + ("0000" if theirs[-4:] != "0000" else "1111")
    answers = [await mine.get(f"/v1/operations/{its}") for its in (theirs, nobodys)]
    assert without_names(answers[0], theirs) == without_names(answers[1], nobodys)
    assert answers[0].status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/accounts", {"account": "more"}),
        ("PATCH", "/v1/accounts/mine", {"name": "x"}),
        ("DELETE", "/v1/accounts/mine", None),
        ("POST", "/v1/lines", {}),
        ("PATCH", "/v1/lines/mine-1", {"number": "1"}),
        ("DELETE", "/v1/lines/mine-2", None),
        ("POST", "/v1/phones", {"mac": NOBODYS, "model": "yealink-t54w", "account": "mine"}),
        ("PATCH", f"/v1/phones/{MINE}", {"serial": "x"}),
        ("DELETE", f"/v1/phones/{MINE}", None),
        ("POST", "/v1/lines/mine-1/detach", {"force": True}),
        # The same for what is others': a refusal must not tell that it exists.
        ("PATCH", "/v1/lines/theirs-1", {"number": "1"}),
        ("DELETE", f"/v1/phones/{THEIRS}", None),
    ],
)
async def test_what_only_operators_do_is_forbidden(mine: Api, method: str, path: str, body: object) -> None:
    answer = await mine.call(method, path, body)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "mine" in answer.body["detail"]


async def test_a_public_ip_that_accounts_share_selects_only_among_ones_own(mine: Api) -> None:
    """Another account's phone is at the same address."""
    attached = await mine.post("/v1/lines/mine-2/attach", {"public_ip": "127.0.0.1"})
    assert attached.status == 202, attached
    assert attached.body["phone"] == MINE
    assert (await mine.get(f"/v1/operations/{attached.body['id']}")).body["line"] == "mine-2"
    detached = await mine.post("/v1/lines/mine-2/detach", {"public_ip": "127.0.0.1"})
    assert detached.status == 202


async def test_a_phone_that_was_never_seen_is_prepared_by_operators_only(server: Server, mine: Api, api: Api) -> None:
    await api.phone("001565400009", account="mine")
    for body in ({"mac": "001565400009"}, {"mac": "001565400009", "public_ip": "127.0.0.1"}):
        answer = await mine.post("/v1/lines/mine-2/attach", body)
        assert answer.code in ("public-ip-required", "public-ip-mismatch")
    explained = (await mine.get("/v1/lines/mine-2/attachable-phones")).body["items"]
    its = next(phone for phone in explained if phone["mac"] == "001565400009")
    assert its["reason"]["code"] == "phone-never-seen"
    assert (await api.call("DELETE", "/v1/phones/001565400009")).status == 204


async def test_two_tokens_may_use_the_same_idempotency_key(mine: Api, api: Api) -> None:
    answers = [await its.post(f"/v1/phones/{MINE}/resync", {}, Idempotency_Key="shared-key") for its in (mine, api)]
    assert answers[0].body["id"] != answers[1].body["id"]
    assert "Idempotency-Replayed" not in answers[1].headers


async def test_a_token_for_no_account_is_not_made(server: Server) -> None:
    told = server.command("token", "add", "x", "--account", "nobody", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["error"]["code"] == "account-not-found"
