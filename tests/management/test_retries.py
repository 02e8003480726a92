"""Idempotency-Key: nothing is done twice by a retry."""

import asyncio
from collections import Counter

import pytest
from running import Api, Server

HERE = {"public_ip": "127.0.0.1"}


async def phone(api: Api, account: str, mac: str) -> None:
    await api.account(account)
    for number in (1, 2):
        await api.line(f"{account}{number}", account)
    await api.phone(mac, account=account)


async def operations(api: Api, mac: str) -> list[dict]:
    return (await api.get(f"/v1/operations?phone={mac}")).body["items"]


async def test_a_retry_gets_the_first_answer_and_does_nothing(api: Api) -> None:
    await phone(api, "retry", "001565600001")
    first, again = [
        await api.post("/v1/lines/retry1/attach", {"mac": "001565600001"}, Idempotency_Key="retry-1") for _ in range(2)
    ]
    assert (first.status, first.body, first.headers["Location"]) == (
        again.status,
        again.body,
        again.headers["Location"],
    )
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(await operations(api, "001565600001")) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/lines/other1/attach", {"mac": "001565600002", "slot": 3}),
        ("/v1/lines/other2/attach", {"mac": "001565600002"}),
        ("/v1/phones/001565600002/resync", {"mac": "001565600002"}),
    ],
)
async def test_a_key_is_for_one_request(api: Api, path: str, body: dict) -> None:
    if (await api.get("/v1/accounts/other")).status == 404:
        await phone(api, "other", "001565600002")
        await api.post("/v1/lines/other1/attach", {"mac": "001565600002"}, Idempotency_Key="other-1")
    if path.endswith("resync"):
        body = {}
    answer = await api.post(path, body, Idempotency_Key="other-1")
    assert (answer.status, answer.code) == (422, "idempotency-key-reused")
    assert len(await operations(api, "001565600002")) == 1


async def test_a_retried_phone_has_the_same_provisioning_url(api: Api) -> None:
    await api.account("url")
    new = {"mac": "001565600003", "model": "yealink-t54w", "account": "url"}
    first, again = [await api.post("/v1/phones", new, Idempotency_Key="url-1") for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert again.body["provisioning_url"] == first.body["provisioning_url"]


async def test_a_retried_reset_has_the_same_provisioning_url(api: Api) -> None:
    await phone(api, "rereset", "001565600004")
    first, again = [await api.post("/v1/phones/001565600004/reset", HERE, Idempotency_Key="reset-1") for _ in range(2)]
    assert again.body == first.body
    assert len(await operations(api, "001565600004")) == 1


async def test_a_retried_removal_and_change_are_one_too(api: Api) -> None:
    await phone(api, "patch", "001565600005")
    await api.make("/v1/lines/patch1/attach", {"mac": "001565600005"})
    for _ in range(2):
        answer = await api.call("PATCH", "/v1/lines/patch1", {"display_name": "x"}, Idempotency_Key="patch-1")
        assert answer.status == 200
    assert Counter(its["kind"] for its in await operations(api, "001565600005")) == {"attach": 1, "update": 1}


async def test_a_retried_removal_is_done_once_and_answered_alike(api: Api) -> None:
    await phone(api, "gone", "001565600010")
    for path in ("/v1/lines/gone1", "/v1/lines/gone2", "/v1/phones/001565600010", "/v1/accounts/gone"):
        first, again = [await api.call("DELETE", path, Idempotency_Key=f"delete {path}") for _ in range(2)]
        assert (first.status, again.status, first.body, again.body) == (204, 204, b"", b"")
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (await api.call("DELETE", path)).status == 404


async def test_twenty_at_once_under_one_key_are_one(api: Api) -> None:
    await phone(api, "twenty", "001565600006")
    answers = await asyncio.gather(
        *(api.post("/v1/phones/001565600006/resync", {}, Idempotency_Key="twenty-1") for _ in range(20))
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(await operations(api, "001565600006")) == 1


async def test_a_refusal_is_not_kept(api: Api) -> None:
    """What was refused may be right a moment later."""
    await phone(api, "later", "001565600007")
    key = {"Idempotency_Key": "later-1"}
    assert (await api.post("/v1/phones/001565600007/promote", {"line": "later1"}, **key)).code == "line-not-attached"
    await api.make("/v1/lines/later2/attach", {"mac": "001565600007"})
    await api.make("/v1/lines/later1/attach", {"mac": "001565600007"})
    assert (await api.post("/v1/phones/001565600007/promote", {"line": "later1"}, **key)).status == 202


async def test_without_a_key_every_request_is_its_own(api: Api) -> None:
    await phone(api, "nokey", "001565600008")
    for _ in range(2):
        await api.make("/v1/phones/001565600008/resync", {})
    assert len(await operations(api, "001565600008")) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_cannot_be_kept_is_refused(api: Api, key: str) -> None:
    answer = await api.post("/v1/accounts", {"account": "unkept"}, Idempotency_Key=key)
    assert answer.body["field"] == "Idempotency-Key"
    assert (await api.get("/v1/accounts/unkept")).status == 404


async def test_what_was_answered_survives_a_restart(server: Server, api: Api) -> None:
    await phone(api, "restart", "001565600009")
    first = await api.post("/v1/phones/001565600009/resync", {}, Idempotency_Key="restart-1")
    server.kill()
    server.start()
    again = await api.post("/v1/phones/001565600009/resync", {}, Idempotency_Key="restart-1")
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
