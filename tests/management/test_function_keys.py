"""…/keys: what keys a phone has, and what they may do."""

import zlib
from typing import Any

import pytest
from running import Api, Server, fetch
from waiting import address

from provisioning.simulator.dialects import yealink

BOSS = {"type": "speed-dial", "value": "+33972109999", "label": "Boss"}


async def shown(api: Api, mac: str) -> dict[str, dict[str, Any]]:
    return {key["key"]: key for key in (await api.get(f"/v1/phones/{mac}/keys")).body["keys"]}


async def test_the_first_keys_are_the_slots_own_until_they_are_set(api: Api) -> None:
    await api.account("layout")
    await api.line("layout-1", "layout")
    await api.phone("001565a30001", "yealink-t54w", "layout", main_line="layout-1")
    keys = await shown(api, "001565a30001")
    assert [keys["1"][name] for name in ("type", "value", "label", "line", "set")] == ["line", "1", "", "layout-1", False]
    assert keys["2"]["line"] is None
    answer = await api.call("PUT", "/v1/phones/001565a30001/keys/2", BOSS)
    assert answer.status == 200, answer
    assert len(answer.body["operations"]) == 1
    key = (await shown(api, "001565a30001"))["2"]
    assert (key["type"], key["value"], key["label"], key["set"]) == ("speed-dial", "+33972109999", "Boss", True)


async def test_several_at_once_all_or_nothing_and_no_others(server: Server, api: Api) -> None:
    await api.account("several")
    made = await api.phone("001565a30002", "yealink-t54w", "several")
    path = "/v1/phones/001565a30002/keys"
    answer = await api.call("PUT", path, {"keys": [{"number": 20, **BOSS}, {"module": 1, "number": 3, **BOSS}]})
    assert answer.status == 200, answer
    keys = await shown(api, "001565a30002")
    assert keys["20"]["label"] == keys["1.3"]["label"] == "Boss"
    both = [{"number": 20, "type": "none"}, {"number": 28, **BOSS}]
    refused = await api.call("PUT", path, {"keys": both})
    assert (refused.status, refused.code, refused.body["key"]) == (404, "key-unknown", "28")
    assert await shown(api, "001565a30002") == keys
    read = yealink.settings((await fetch(address(server, made), server)).body)
    assert [value for name, value in read.items() if name in ("linekey.20.value", "linekey.20.label")] == [
        "+33972109999",
        "Boss",
    ]


@pytest.mark.parametrize(
    ("model", "key", "body", "status", "code"),
    [
        ("yealink-t54w", "28", BOSS, 404, "key-unknown"),
        ("yealink-t54w", "0", BOSS, 404, "key-unknown"),
        ("yealink-t54w", "4.1", BOSS, 404, "key-unknown"),
        ("yealink-t54w", "1.999", BOSS, 404, "key-unknown"),
        ("yealink-t54w", "1.", BOSS, 404, "key-unknown"),
        ("yealink-w60b", "1", BOSS, 501, "unsupported-by-model"),
        ("technicolor-st2030", "1", {"type": "park"}, 501, "unsupported-by-model"),
        ("yealink-t54w", "1", {"type": "disco"}, 422, "invalid-value"),
        ("yealink-t54w", "1", BOSS | {"value": "nobody"}, 422, "invalid-value"),
        ("yealink-t54w", "1", {"type": "line", "value": "17"}, 422, "invalid-value"),
        ("yealink-t54w", "1", {"type": "url", "value": "file:///etc"}, 422, "invalid-value"),
        ("yealink-t54w", "1", BOSS | {"label": "a\nb"}, 422, "invalid-value"),
    ],
)
async def test_what_a_model_has_not_is_refused_with_the_key(
    api: Api, model: str, key: str, body: dict[str, Any], status: int, code: str
) -> None:
    mac = f"02c0de{zlib.crc32(f'{model} {key} {body}'.encode()) % 2**24:06x}"
    account = await api.account(f"no-{mac}")
    await api.phone(mac, model, account)
    refused = await api.call("PUT", f"/v1/phones/{mac}/keys/{key}", body)
    assert (refused.status, refused.code) == (status, code), refused
    if code != "invalid-value":
        assert refused.body["key"] == key
    assert not any(one["set"] for one in (await shown(api, mac)).values())


async def test_copying_gives_a_result_for_each(api: Api) -> None:
    await api.account("copy")
    source, same, small, none = "001565a30010", "001565a30011", "001565a30012", "001565a30013"
    for mac, model in ((source, "t54w"), (same, "t54w"), (small, "t41s"), (none, "w60b")):
        await api.phone(mac, f"yealink-{model}", "copy")
    path = f"/v1/phones/{source}/keys"
    await api.call("PUT", f"{path}/27", BOSS)
    await api.call("PUT", f"/v1/phones/{same}/keys/5", BOSS | {"label": "beside"})
    missing = "001565a3001f"
    answer = await api.post(f"{path}/copy", {"to": [same, small, none, missing]})
    assert answer.status == 200, answer
    results = {one["phone"]: one for one in answer.body["results"]}
    assert results[same]["copied"]
    assert results[same]["operation"]
    assert results[small]["reason"]["code"] == "key-unknown"
    assert results[none]["reason"]["code"] == "unsupported-by-model"
    assert results[missing]["reason"]["code"] == "phone-not-found"
    keys = await shown(api, same)
    assert keys["27"]["label"] == "Boss"
    assert keys["5"]["type"] == "none"
    assert not any(key["set"] for key in (await shown(api, small)).values())


async def test_copying_needs_someone_to_copy_to(api: Api) -> None:
    await api.account("copy-2")
    await api.phone("001565a30020", account="copy-2")
    path = "/v1/phones/001565a30020/keys/copy"
    assert (await api.post(path, {"to": []})).body["field"] == "to"
    assert (await api.post(path, {"to": ["no mac"]})).code == "mac-malformed"


async def test_an_account_copies_to_no_other_accounts_phone(server: Server, api: Api) -> None:
    await api.account("mine")
    await api.account("theirs")
    await api.phone("001565a30030", account="mine")
    await api.phone("001565a30031", account="theirs")
    await api.call("PUT", "/v1/phones/001565a30030/keys/20", BOSS)
    made = await api.make("/v1/tokens", {"name": "mine", "scope": "operate", "account": "mine"})
    its = Api(server, made["token"])
    answer = await its.post("/v1/phones/001565a30030/keys/copy", {"to": ["001565a30031"]})
    assert answer.body["results"][0]["copied"] is False
    assert "20" not in {name for name, key in (await shown(api, "001565a30031")).items() if key["set"]}
    await its.close()
