"""…/settings: whose choice holds, who may choose, and what a model can have."""

from typing import Any

import pytest
from running import Answer, Api, Server, fetch
from waiting import address

from provisioning.simulator.dialects import yealink


def found(answer: Answer, name: str) -> tuple[Any, str]:
    (its,) = [setting for setting in answer.body["settings"] if setting["name"] == name]
    return its["value"], its["source"]


async def choose(api: Api, of: str, **settings: Any) -> Answer:
    return await api.call("PATCH", f"/v1/{of}/settings" if of else "/v1/settings", {"settings": settings})


async def test_the_nearest_choice_holds_and_null_takes_it_back(api: Api) -> None:
    await api.account("near")
    await api.line("near-1", "near")
    await api.phone("001565a20001", "yealink-t46s", "near", main_line="near-1")
    places = ("", "models/yealink-t46s", "accounts/near", "phones/001565a20001", "lines/near-1")
    scopes = ("operator", "model", "account", "phone", "line")
    name, line = "register_expires", "/v1/lines/near-1/settings"
    assert found(await api.get(line), name) == (3600, "default")
    for number, (place, scope) in enumerate(zip(places, scopes, strict=True), 1):
        assert found(await choose(api, place, **{name: 600 + number}), name) == (600 + number, scope)
        assert found(await api.get(line), name) == (600 + number, scope)
    for number, place in reversed(list(enumerate(places, 1))):
        assert (await choose(api, place, **{name: None})).status == 200
        its = (600 + number - 1, scopes[number - 2]) if number > 1 else (3600, "default")
        assert found(await api.get(line), name) == its


async def test_a_change_is_in_the_next_fetch(server: Server, api: Api) -> None:
    await api.account("next")
    made = await api.phone("001565a20002", "yealink-t54w", "next")
    for place in ("models/yealink-t54w", "accounts/next", "phones/001565a20002"):
        for value in ("192.0.2.1", "192.0.2.2"):
            await choose(api, place, syslog_server=value)
            read = yealink.settings((await fetch(address(server, made), server)).body)
            assert value in read.values(), place
    await choose(api, "models/yealink-t54w", syslog_server=None)


async def test_what_phones_are_told_of_it(api: Api) -> None:
    """An account's and a phone's at once; an operator's and a model's at their next poll."""
    await api.account("told")
    for mac in ("001565a20003", "001565a20004"):
        await api.phone(mac, "yealink-t41s", "told")
    assert len((await choose(api, "accounts/told", language="de")).body["operations"]) == 2
    assert len((await choose(api, "phones/001565a20003", language="fr")).body["operations"]) == 1
    assert (await choose(api, "models/yealink-t41s", language="it")).body["operations"] == []
    await choose(api, "models/yealink-t41s", language=None)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("language", "xx"),
        ("language", 5),
        ("call_waiting", "yes"),
        ("call_waiting", 1),
        ("codecs", []),
        ("codecs", ["pcma", "pcma"]),
        ("codecs", ["mp3"]),
        ("codecs", "pcma"),
        ("register_expires", 59),
        ("register_expires", 86_401),
        ("register_expires", True),
        ("register_expires", "600"),
        ("syslog_server", "log.example.net"),
        ("ntp_server", "a b"),
        ("ntp_server", ""),
        ("voicemail_number", "call me"),
        ("time_zone", "Mars/Olympus"),
        ("phonebook_name", "a\nb"),
        ("phonebook_name", "x" * 33),
    ],
)
async def test_a_value_that_is_none_names_its_field_and_changes_nothing(api: Api, name: str, wrong: object) -> None:
    before = (await api.get("/v1/settings")).body
    refused = await choose(api, "", srtp="mandatory", **{name: wrong})
    assert (refused.status, refused.code, refused.body["field"]) == (422, "invalid-value", name)
    assert (await api.get("/v1/settings")).body == before


async def test_a_setting_that_is_none_is_unknown(api: Api) -> None:
    refused = await choose(api, "", colour="red")
    assert (refused.status, refused.code, refused.body["field"]) == (422, "setting-unknown", "colour")
    await api.account("of-line")
    await api.line("of-line-1", "of-line")
    refused = await choose(api, "lines/of-line-1", language="de")
    assert (refused.status, refused.code, refused.body["field"]) == (422, "setting-unknown", "language")


async def test_an_accounts_token_neither_sees_nor_changes_the_operators(server: Server, api: Api) -> None:
    await api.account("shop")
    await api.phone("001565a20010", "yealink-t54w", "shop")
    made = await api.make("/v1/tokens", {"name": "shop", "scope": "admin", "account": "shop"})
    its = Api(server, made["token"])
    shown = (await its.get("/v1/phones/001565a20010/settings")).body
    assert shown["parameters"] == []
    assert "admin" not in {setting["level"] for setting in shown["settings"]}
    assert "admin" in {setting["level"] for setting in (await api.get("/v1/settings")).body["settings"]}
    for name, value in (("web_access", False), ("poll_minutes", 60), ("encrypt_configuration", True)):
        refused = await choose(its, "phones/001565a20010", **{name: value})
        assert (refused.status, refused.code, refused.body["field"]) == (403, "forbidden", name)
    assert (await choose(its, "phones/001565a20010", language="de")).status == 200
    for place in ("", "models/yealink-t54w"):
        assert (await choose(its, place, language="de")).code == "forbidden"
    assert (await its.get("/v1/settings")).code == "forbidden"
    parameters = {"parameters": {"account.1.dnd.enable": "1"}}
    refused = await its.call("PATCH", "/v1/phones/001565a20010/settings", parameters)
    assert (refused.status, refused.code) == (403, "forbidden")
    await its.close()


async def test_what_a_model_has_not_is_said(api: Api) -> None:
    await api.account("without")
    await api.phone("02c0dea20011", "linphone-desktop", "without")
    path = "phones/02c0dea20011"
    shown = (await api.get(f"/v1/{path}/settings")).body["settings"]
    assert {setting["name"]: setting["supported"] for setting in shown}["syslog_server"] is False
    refused = await choose(api, path, syslog_server="192.0.2.1")
    assert (refused.status, refused.code, refused.body["field"]) == (501, "unsupported-by-model", "syslog_server")
    refused = await api.call("PATCH", f"/v1/{path}/settings", {"parameters": {"any.name": "1"}})
    assert (refused.status, refused.code, refused.body["field"]) == (501, "unsupported-by-model", "any.name")


async def test_a_parameter_that_is_written_already_is_taken(server: Server, api: Api) -> None:
    await api.account("named")
    made = await api.phone("001565a20012", "yealink-t54w", "named")
    path = "/v1/phones/001565a20012/settings"
    for name in ("account.1.enable", "account.16.password", "lang.gui"):
        refused = await api.call("PATCH", path, {"parameters": {name: "1"}})
        assert (refused.status, refused.code, refused.body["field"]) == (422, "parameter-taken", name)
    for name in ("no name", "x\ny.z", "UPPER"):
        refused = await api.call("PATCH", path, {"parameters": {name: "1"}})
        assert (refused.status, refused.code) == (422, "invalid-value")
    for place, value in (("/v1/models/yealink-t54w/settings", "1"), (path, "2")):
        answer = await api.call("PATCH", place, {"parameters": {"account.1.1rel_enable": value}})
        assert answer.status == 200, answer
        read = yealink.settings((await fetch(address(server, made), server)).body)
        assert read["account.1.1rel_enable"] == value
    (shown,) = (await api.get(path)).body["parameters"]
    assert shown == {"name": "account.1.1rel_enable", "value": "2", "source": "phone"}
    for place in (path, "/v1/models/yealink-t54w/settings"):
        assert (await api.call("PATCH", place, {"parameters": {"account.1.1rel_enable": None}})).status == 200
    read = yealink.settings((await fetch(address(server, made), server)).body)
    assert "account.1.1rel_enable" not in read


async def test_parameters_are_a_models_or_a_phones(api: Api) -> None:
    await api.account("whose")
    for place in ("/v1/settings", "/v1/accounts/whose/settings"):
        refused = await api.call("PATCH", place, {"parameters": {"account.1.1rel_enable": "1"}})
        assert (refused.status, refused.code, refused.body["field"]) == (422, "invalid-value", "parameters")
