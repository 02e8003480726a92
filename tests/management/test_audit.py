"""Every change leaves a row: who, what, from where, before and after, and never a secret."""

import asyncio
import dataclasses
import json
import os
import pwd
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from running import Api, Server
from telling import told

from provisioning import config, demo, installation, vendors
from provisioning.app import Listening

MAC = "001565a30001"
ME = f"command line ({pwd.getpwuid(os.getuid()).pw_name})"


async def rows(api: Api, subject: str) -> list[dict[str, Any]]:
    """The oldest first."""
    found = (await api.get(f"/v1/audit?subject={subject.replace(' ', '%20')}&limit=1000")).body["items"]
    return list(reversed(found))


async def test_a_lines_life_is_told(server: Server, api: Api) -> None:
    await api.account("told")
    made = await api.make("/v1/tokens", {"name": "shop", "scope": "admin"})
    shop = Api(server, made["token"])
    await shop.line("told-1", "told")
    await shop.phone(MAC, account="told")
    await shop.post("/v1/lines/told-1/attach", {"mac": MAC, "slot": 3})
    await shop.call("PATCH", "/v1/lines/told-1", {"display_name": "Accueil"})
    await shop.call("PATCH", "/v1/lines/told-1", {"password": "hush-hush"})
    await shop.post("/v1/lines/told-1/detach", {"mac": MAC, "force": True})
    await shop.call("DELETE", "/v1/lines/told-1")
    found = await rows(api, "line told-1")
    assert [its["action"] for its in found] == [
        "line.create", "line.attach", "line.change", "line.change", "line.detach", "line.remove",
    ]  # fmt: skip
    assert {(its["who"], its["address"]) for its in found} == {(f"token shop ({made['id']})", "127.0.0.1")}
    created, attached, renamed, hushed, detached, removed = found
    assert created["before"] is None
    assert created["after"]["number"] == "+33972100000"
    assert created["after"]["password"] == hushed["after"]["password"] == "***"
    assert "password" not in renamed["after"]
    assert (attached["before"]["phone"], attached["before"]["slot"]) == (None, None)
    assert (attached["after"]["phone"], attached["after"]["slot"]) == (MAC, 3)
    assert (renamed["before"]["display_name"], renamed["after"]["display_name"]) == ("", "Accueil")
    assert (detached["before"]["slot"], detached["after"]["slot"]) == (3, None)
    assert (removed["before"]["line"], removed["after"]) == ("told-1", None)
    assert "hush-hush" not in json.dumps(found)
    await shop.close()


async def test_phones_accounts_and_tokens_are_told(api: Api) -> None:
    mac, spelled = "001565a30002", "00:15:65:A3:00:02"
    await api.account("told-2")
    made = await api.phone(spelled, account="told-2")
    again = await api.make(f"/v1/phones/{spelled}/reset", {"public_ip": "127.0.0.1"})
    await api.post(f"/v1/phones/{mac}/resync")
    await api.call("PATCH", f"/v1/phones/{mac}", {"serial": "S1"})
    await api.call("DELETE", f"/v1/phones/{mac}")
    await api.call("PATCH", "/v1/accounts/told-2", {"name": "x"})
    await api.call("DELETE", "/v1/accounts/told-2")
    token = await api.make("/v1/tokens", {"name": "brief", "scope": "read"})
    await api.call("DELETE", f"/v1/tokens/{token['id']}")
    phone = await rows(api, f"phone {mac}")
    assert [its["action"] for its in phone] == [
        "phone.create", "phone.reset", "phone.resync", "phone.change", "phone.remove",
    ]  # fmt: skip
    assert [its["after"].get("provisioning_url") for its in phone[:3]] == ["***", "***", None]
    assert phone[3]["after"]["serial"] == "S1"
    account = await rows(api, "account told-2")
    assert [its["action"] for its in account] == ["account.create", "account.change", "account.remove"]
    its = await rows(api, f"token {token['id']}")
    assert [row["action"] for row in its] == ["token.create", "token.remove"]
    assert its[0]["after"] == {**token, "token": "***"}
    text = json.dumps((await api.get("/v1/audit?limit=1000")).body)
    for url in (made["provisioning_url"], again["provisioning_url"]):
        assert url.rstrip("/").rpartition("/")[2] not in text
    assert token["token"] not in text


async def test_a_session_signs_what_it_does(api: Api) -> None:
    made = await api.make("/v1/tokens", {"name": "her", "scope": "admin"})
    answer = await api.post("/v1/sessions", {"token": made["token"]})
    cookie = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    console = Api(api.server, "")
    sent = {"Cookie": f"session={cookie}", "X-Requested-With": "console"}
    async with console.session.post(api.server.management + "/v1/accounts", data='{"account": "by-her"}', headers=sent):
        pass
    async with console.session.delete(api.server.management + "/v1/sessions/current", headers=sent) as ended:
        assert ended.status == 204
    await console.close()
    (account,) = await rows(api, "account by-her")
    assert account["who"] == f"session of her ({made['id']})"
    token = await rows(api, f"token {made['id']}")
    assert [its["action"] for its in token] == ["token.create", "session.create", "session.remove"]
    assert token[1]["who"] == f"token her ({made['id']})"
    assert token[2]["who"] == f"session of her ({made['id']})"
    assert cookie not in json.dumps(token)


async def newest(api: Api) -> int:
    return (await api.get("/v1/audit?limit=1")).body["items"][0]["id"]


async def test_a_refused_change_leaves_no_row(api: Api) -> None:
    await api.account("refused")
    before = await newest(api)
    for method, path, body in (
        ("POST", "/v1/accounts", {"account": "refused"}),
        ("POST", "/v1/accounts", {"account": "no/name"}),
        ("PATCH", "/v1/lines/none", {"number": "1"}),
        ("DELETE", "/v1/phones/001565a3ffff", None),
        ("POST", "/v1/lines/none/attach", {"public_ip": "127.0.0.1"}),
        ("DELETE", "/v1/tokens/none", None),
        ("POST", "/v1/sessions", {"token": "pt_wrong"}),
    ):
        assert (await api.call(method, path, body)).status >= 400
    assert await newest(api) == before


async def test_a_replayed_request_leaves_no_second_row(api: Api) -> None:
    for _ in range(3):
        await api.post("/v1/accounts", {"account": "replayed"}, Idempotency_Key="audit-replayed")
    assert len(await rows(api, "account replayed")) == 1


async def test_the_log_is_read_a_page_at_a_time_the_newest_first(api: Api) -> None:
    for number in range(5):
        await api.account(f"paged-{number}")
    every = [its["id"] for its in (await api.get("/v1/audit?limit=1000")).body["items"]]
    assert every == sorted(every, reverse=True)
    first = (await api.get("/v1/audit?limit=2")).body
    second = (await api.get(f"/v1/audit?limit=2&after={first['next']}")).body
    assert [its["id"] for its in (*first["items"], *second["items"])] == every[:4]
    assert (await api.get("/v1/audit?after=x")).code == "invalid-value"
    assert (await api.get("/v1/audit?subject=line%20none")).body == {"items": [], "next": None}


@pytest.fixture
def alone(new_server: Callable[..., Server]) -> Server:
    """With a fixed URL, for commands print it; and with nobody else's rows."""
    return new_server(PHONES__URL="https://phones.example.net")


def test_every_command_that_changes_something_leaves_a_row(alone: Server) -> None:
    line = ("--account", "cli", "--number", "+33972100000", "--domain", "sip.example.net")
    told(alone, "account", "add", "cli")
    for name in ("c1", "c2"):
        told(alone, "line", "add", *line, "--line", name, "--username", name)
    made = told(alone, "phone", "add", MAC, "--model", "yealink-t54w", "--account", "cli", "--main-line", "c1")
    told(alone, "attach", "c2", "--mac", MAC)
    told(alone, "promote", MAC, "c2")
    told(alone, "resync", MAC)
    reset = told(alone, "reset", MAC, "--public-ip", "203.0.113.7")
    told(alone, "detach", "c1", "--mac", MAC)
    told(alone, "line", "change", "c1", "--password", "random", "--number", "+33972100001")
    told(alone, "phone", "change", MAC, "--serial", "S1")
    told(alone, "line", "remove", "c1")
    token = told(alone, "token", "add", "portal", "--scope", "operate")
    told(alone, "token", "remove", token["id"])
    told(alone, "detach", "c2", "--mac", MAC, "--force")
    told(alone, "phone", "remove", MAC)
    told(alone, "line", "remove", "c2")
    told(alone, "account", "remove", "cli")
    told(alone, "key", "rotate")
    told(alone, "key", "prune")
    refused = told(alone, "account", "remove", "cli", code=1)
    assert refused["error"]["code"] == "account-not-found"
    items = told(alone, "audit", "list")["items"]
    assert [its["action"] for its in reversed(items)] == [
        "token.create", "account.create", "line.create", "line.create", "phone.create", "line.attach", "phone.promote",
        "phone.resync", "phone.reset", "line.detach", "line.change", "phone.change", "line.remove", "token.create",
        "token.remove", "line.detach", "phone.remove", "line.remove", "account.remove", "key.rotate", "key.prune",
    ]  # fmt: skip
    assert {(its["who"], its["address"]) for its in items} == {(ME, "local")}
    text = json.dumps(items)
    for secret in (made["provisioning_url"], reset["provisioning_url"]):
        assert secret.rstrip("/").rpartition("/")[2] not in text
    assert token["token"] not in text
    assert [its["action"] for its in told(alone, "audit", "list", "--subject", "account cli")["items"]] == [
        "account.remove", "account.create",
    ]  # fmt: skip
    verified = told(alone, "audit", "verify")
    assert (verified["ok"], verified["rows"], verified["head"]) == (True, len(items), items[0]["hash"])


def test_the_demos_account_is_told_too(new_server: Callable[..., Server]) -> None:
    its = new_server(start=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in its.environment.items():
            patch.setenv(name, value)
        settings = config.load(None, defaults=config.DEMO)
        installation.prepare(settings, upgrade=True)
        nothing = dict.fromkeys((item.name for item in dataclasses.fields(Listening)), None)
        known = vendors.load(settings.paths.templates, settings.paths.firmware)
        demo.load(settings, known, Listening(**nothing))
    items = told(its, "audit", "list")["items"]
    assert {its["action"] for its in items} == {"token.create", "account.create", "line.create", "phone.create"}
    assert len(items) == 1 + 1 + 6 + 3


async def test_verify_finds_what_was_altered_and_what_was_cut_off(alone: Server) -> None:
    api = Api(alone)
    for number in range(5):
        await api.account(f"a{number}")
    await api.close()
    verify = ("audit", "verify")
    noted = (await asyncio.to_thread(told, alone, *verify))["head"]
    assert (await asyncio.to_thread(told, alone, *verify, "--head", noted))["ok"]
    people = await asyncio.to_thread(alone.command, *verify)
    assert people.stdout == f"6 rows, none altered. Head: {noted}\n"

    connection = sqlite3.connect(alone.data / "provisioning.db")
    connection.executescript("DROP TRIGGER audit_refuses_update; DROP TRIGGER audit_refuses_delete;")
    (kept,) = connection.execute("SELECT who FROM audit WHERE id = 3").fetchone()
    connection.execute("UPDATE audit SET who = 'nobody' WHERE id = 3")
    connection.commit()
    broken = (await asyncio.to_thread(told, alone, *verify, code=1))["error"]
    assert (broken["code"], broken["broken"], broken["rows"]) == ("audit-broken", 3, 2)
    assert "row 3 " in broken["detail"]

    connection.execute("UPDATE audit SET who = ? WHERE id = 3", (kept,))
    connection.execute("DELETE FROM audit WHERE id = 6")
    connection.commit()
    connection.close()
    cut = await asyncio.to_thread(told, alone, *verify)
    assert (cut["ok"], cut["rows"]) == (True, 5)
    missing = (await asyncio.to_thread(told, alone, *verify, "--head", noted, code=1))["error"]
    assert missing["code"] == "audit-head-missing"
    assert (await asyncio.to_thread(alone.command, *verify, "--head", "xyz")).returncode == 2


async def test_changes_of_two_workers_and_a_command_are_one_chain(new_server: Callable[..., Server]) -> None:
    server = new_server(SERVER__WORKERS="2")
    apis = [Api(server) for _ in range(4)]
    commands = asyncio.create_task(asyncio.to_thread(told, server, "account", "add", "by-command"))
    await asyncio.gather(*(api.account(f"w{n}-{m}") for n, api in enumerate(apis) for m in range(25)))
    await commands
    for api in apis:
        await api.close()
    verified = await asyncio.to_thread(told, server, "audit", "verify")
    assert (verified["ok"], verified["rows"]) == (True, 1 + 1 + 100)
