"""The commands: the same rules as the API, on a server that runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from running import Api, Server, fetch
from telling import told
from waiting import address, seen

from provisioning.__main__ import main
from provisioning.rendering.compose import MASK

MAC = "001565800001"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a fixed URL, for commands print it."""
    its = Server(tmp_path_factory.mktemp("server"), {"PHONES__URL": "https://phones.example.net"})
    its.start()
    yield its
    assert its.stop() == 0
    assert "Traceback" not in its.log.read_text()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    its = Api(server)
    yield its
    await its.close()


@pytest.fixture(scope="module")
def phone(server: Server) -> dict[str, Any]:
    """Made by commands alone."""
    told(server, "account", "add", "cli", "--name", "Commands")
    for name in ("c1", "c2", "c3"):
        line = ["--line", name, "--account", "cli", "--number", "+33972100000", "--username", name]
        told(server, "line", "add", *line, "--domain", "sip.example.net", "--password", "stdin", given=f"pw-{name}\n")
    return told(server, "phone", "add", MAC, "--model", "yealink-t54w", "--account", "cli", "--main-line", "c1")


async def test_what_commands_made_the_api_shows(server: Server, api: Api, phone: dict[str, Any]) -> None:
    shown = await asyncio.to_thread(told, server, "phone", "show", "00:15:65:80:00:01")
    assert shown == (await api.get(f"/v1/phones/{MAC}")).body
    assert await asyncio.to_thread(told, server, "line", "show", "c1") == (await api.get("/v1/lines/c1")).body
    assert await asyncio.to_thread(told, server, "account", "show", "cli") == (await api.get("/v1/accounts/cli")).body
    assert (await asyncio.to_thread(told, server, "phone", "list"))["items"] == (await api.get("/v1/phones")).body[
        "items"
    ]
    assert phone["provisioning_url"].startswith("https://phones.example.net/")
    assert "provisioning_url" not in shown


async def test_an_attach_by_command_is_an_operation_like_any_other(server: Server, api: Api, phone: dict) -> None:
    await seen(api, server, phone)
    done = await asyncio.to_thread(server.command, "attach", "c2", "--public-ip", "127.0.0.1", "--json")
    assert done.returncode == 0, done
    attached = json.loads(done.stdout)
    assert (attached["kind"], attached["phone"], attached["slot"]) == ("attach", MAC, 2)
    assert b"pw-c2" in (await fetch(address(server, phone), server)).body
    await api.operation(attached["id"], "done")
    assert (
        await asyncio.to_thread(told, server, "operations", "show", attached["id"])
        == (await api.get(f"/v1/operations/{attached['id']}")).body
    )
    (listed,) = (await asyncio.to_thread(told, server, "operations", "list", "--line", "c2", "--state", "done"))[
        "items"
    ]
    assert listed["id"] == attached["id"]
    assert (await asyncio.to_thread(told, server, "promote", MAC, "c2"))["kind"] == "promote"
    assert (await asyncio.to_thread(told, server, "promote", MAC, "c1"))["kind"] == "promote"
    assert (await asyncio.to_thread(told, server, "detach", "c2", "--public-ip", "127.0.0.1"))["kind"] == "detach"
    assert b"pw-c2" not in (await fetch(address(server, phone), server)).body


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("attach none --mac 001565800001", "line-not-found"),
        ("attach c3 --mac 001565fffffe", "phone-not-found"),
        ("attach c3 --mac x", "mac-malformed"),
        ("attach c3 --public-ip 127.0.0.1:5060", "public-ip-malformed"),
        ("attach c3", "public-ip-required"),
        ("attach c1 --mac 001565800001", "line-already-attached"),
        ("detach c3", "line-not-attached"),
        ("resync 001565fffffe", "phone-not-found"),
        ("phone show x", "mac-malformed"),
        ("phone remove 001565800001", "phone-has-lines"),
        ("phone change 001565800001 --model none", "model-unknown"),
        ("account remove cli", "account-not-empty"),
        ("line show none", "line-not-found"),
        ("line change c1 --number x", "invalid-value"),
        ("model show none", "model-unknown"),
        ("operations show none", "operation-not-found"),
        ("token remove none", "token-not-found"),
        ("token add x --expires tomorrow", "invalid-value"),
        ("token add x --expires 2020-01-01", "invalid-value"),
        ("token add x --expires 0d", "invalid-value"),
        ("token add x --expires 99999d", "invalid-value"),
        ("token add x --expires 9999-12-31", "invalid-value"),
        ("render 001565800001 none.cfg", "document-not-found"),
        ("render 001565fffffe", "phone-not-found"),
        ("phone list --config /nowhere.toml", "fault"),
    ],
)
def test_a_refused_command_exits_with_1_and_the_code(server: Server, phone: dict, command: str, code: str) -> None:
    error = told(server, *command.split(), code=1)["error"]
    assert error["code"] == code
    assert len(error["detail"]) > 10


def test_a_refusal_for_people_stands_on_stderr(server: Server, phone: dict) -> None:
    done = server.command("detach", "c1", "--public-ip", "203.0.113.7")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("public-ip-")


@pytest.mark.parametrize(
    "command", ["", "lost", "attach", "attach c1 --slot x", "phone", "phone show", "operations list --state x", "token add x --scope root",
     "audit", "audit verify --head x", "phones", "phones adopt 001565800001", "settings show", "settings set --operator --model x a=1",
     "keys set 001565800001 5", "phonebook export", "phonebook import --account cli x --format doc"]
)
def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_wrong_usage_ends_the_process_with_2(server: Server) -> None:
    assert server.command("lost").returncode == 2


@pytest.mark.parametrize(
    "command", ["", "attach", "phone add", "operations list", "token add", "key rotate", "render", "check", "audit verify", "alarms", "identify", "phones", "phones adopt",
     "settings set", "keys copy", "phonebook import"]
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expires", "hours"), [("30d", (30 * 24, 30 * 24)), ("12h", (12, 12)), ("2099-12-31", (24 * 365 * 50, 24 * 365 * 99))]
)
def test_a_token_is_made_for_a_while(server: Server, expires: str, hours: tuple[int, int]) -> None:
    made = told(server, "token", "add", "brief", "--scope", "read", "--expires", expires)
    left = (datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)).total_seconds() / 3600
    assert hours[0] - 0.1 <= left <= hours[1]
    assert (made["scope"], made["used_at"], made["token"][:3]) == ("read", None, "pt_")
    listed = next(its for its in told(server, "token", "list")["items"] if its["id"] == made["id"])
    assert listed == {name: value for name, value in made.items() if name != "token"}


def test_a_token_is_made_for_ever_and_for_everything_unless_told(server: Server) -> None:
    made = told(server, "token", "add", "plain")
    assert (made["scope"], made["account"], made["expires_at"]) == ("admin", None, None)


def test_everything_checks_out(server: Server, phone: dict) -> None:
    done = server.command("check", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    checked = json.loads(done.stdout)
    assert checked["ok"] is True
    assert {result["result"] for result in checked["results"]} == {"ok"}


def test_a_rendered_document_is_masked(server: Server, phone: dict) -> None:
    secret = phone["provisioning_url"].rstrip("/").rpartition("/")[2]
    text = server.command("render", MAC).stdout
    assert "account.1.user_name = c1" in text
    assert MASK in text
    assert "pw-c1" not in text
    assert secret not in text
    assert told(server, "render", MAC, f"{MAC}.cfg")["text"] == text


def test_a_random_password_is_shown_once_on_stderr(server: Server, phone: dict) -> None:
    done = server.command("line", "change", "c3", "--password", "random", "--json")
    password = done.stderr.rpartition(" ")[2].strip()
    assert len(password) >= 20
    assert password not in done.stdout


async def test_a_rotated_key_goes_unnoticed_by_the_running_server(server: Server, api: Api, phone: dict) -> None:
    rotated = await asyncio.to_thread(told, server, "key", "rotate")
    assert rotated["sealed"] > 3
    assert b"pw-c1" in (await fetch(address(server, phone), server)).body
    await api.line("after-rotate", "cli")
    await api.make("/v1/lines/after-rotate/attach", {"public_ip": "127.0.0.1"})
    assert b"pw-after-rotate" in (await fetch(address(server, phone), server)).body
    assert (await asyncio.to_thread(told, server, "check", "--vendor", "yealink"))["ok"] is True


async def test_what_the_running_server_seals_after_a_prune_opens_after_a_restart(
    server: Server, api: Api, phone: dict
) -> None:
    await asyncio.to_thread(told, server, "key", "rotate")
    # Nothing was opened in between, so the server has not met the new key yet.
    assert (await asyncio.to_thread(told, server, "key", "prune"))["dropped"] >= 1
    await api.line("after-prune", "cli")
    await api.make("/v1/lines/after-prune/attach", {"public_ip": "127.0.0.1"})
    assert (await asyncio.to_thread(told, server, "check", "--vendor", "yealink"))["ok"] is True
    server.kill()
    server.start()
    assert b"pw-after-prune" in (await fetch(address(server, phone), server)).body
    # And the line that no rotation changes.
    kept = [line.split()[0] for line in (server.data / "secret-key").read_text().splitlines()]
    assert len(kept) == 2
    assert kept[1] == "sign"
