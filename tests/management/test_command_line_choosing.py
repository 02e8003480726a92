"""Settings, keys, phonebooks, and phones that nobody knows: the commands, on a server that runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Api, Server, fetch
from telling import told
from waiting import address

from provisioning.__main__ import main

MAC, OTHER, SMALL, STRANGER = "001565810001", "001565810002", "020000810003", "001565810009"
AGENT = "Yealink SIP-T54W 96.86.0.23 00:15:65:81:00:09"


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
    told(server, "account", "add", "cho")
    line = ["--account", "cho", "--number", "+33972100000", "--username", "k1", "--domain", "sip.example.net"]
    told(server, "line", "add", "--line", "k1", *line)
    told(server, "phone", "add", OTHER, "--model", "yealink-t54w", "--account", "cho")
    told(server, "phone", "add", SMALL, "--model", "linphone-desktop", "--account", "cho")
    return told(server, "phone", "add", MAC, "--model", "yealink-t54w", "--account", "cho", "--main-line", "k1")


@pytest.fixture
def printed(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What a person is shown: (exit code, stdout, stderr)."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(server.data.parent)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


def setting(shown: dict[str, Any], name: str) -> tuple[Any, str]:
    (its,) = [its for its in shown["settings"] if its["name"] == name]
    return its["value"], its["source"]


# Settings


async def test_settings_are_what_the_api_shows_and_changes(server: Server, api: Api, phone: dict) -> None:
    changed = await asyncio.to_thread(
        told, server, "settings", "set", "--phone", MAC, "call_waiting=false", "codecs=pcma,g722", "voice_vlan=20",
        "time_zone=Europe/London", "voicemail_number=888",
    )  # fmt: skip
    assert len(changed.pop("operations")) == 1
    assert changed == (await api.get(f"/v1/phones/{MAC}/settings")).body
    assert await asyncio.to_thread(told, server, "settings", "show", "--phone", "00:15:65:81:00:01") == changed
    assert setting(changed, "call_waiting") == (False, "phone")
    assert setting(changed, "codecs") == (["pcma", "g722"], "phone")
    assert setting(changed, "voice_vlan") == (20, "phone")
    body = (await fetch(address(server, phone), server)).body.decode()
    assert "account.1.codec.pcma.priority = 1" in body or "pcma" in body.lower()
    (row,) = (await api.get("/v1/audit?limit=1")).body["items"]
    assert (row["action"], row["subject"]) == ("settings.change_settings", f"settings phone {MAC}")


async def test_a_choice_is_taken_back(server: Server, phone: dict) -> None:
    await asyncio.to_thread(told, server, "settings", "set", "--account", "cho", "language=de")
    shown = await asyncio.to_thread(told, server, "settings", "show", "--phone", MAC)
    assert setting(shown, "language") == ("de", "account")
    gone = await asyncio.to_thread(told, server, "settings", "set", "--account", "cho", "--unset", "language")
    assert setting(gone, "language") == ("fr", "default")


@pytest.mark.parametrize(
    ("whose", "source"),
    [(("--operator",), "operator"), (("--model", "Yealink-T54W"), "model"), (("--account", "cho"), "account"),
     (("--phone", MAC), "phone"), (("--line", "k1"), "line")],
)  # fmt: skip
def test_for_whom(server: Server, phone: dict, whose: tuple[str, ...], source: str) -> None:
    told(server, "settings", "set", *whose, "register_expires=1234")
    assert setting(told(server, "settings", "show", *whose), "register_expires") == (1234, source)
    told(server, "settings", "set", *whose, "--unset", "register_expires")


async def test_a_parameter_by_name(server: Server, phone: dict) -> None:
    name = "features.blf_pickup_only_send_code"
    changed = await asyncio.to_thread(told, server, "settings", "set", "--phone", MAC, "--parameter", f"{name}=a=b")
    assert changed["parameters"] == [{"name": name, "value": "a=b", "source": "phone"}]
    assert f"{name} = a=b\n" in (await fetch(address(server, phone), server)).body.decode()
    gone = await asyncio.to_thread(told, server, "settings", "set", "--phone", MAC, "--unset", name)
    assert gone["parameters"] == []


def test_a_person_is_shown_name_value_and_source(printed, phone: dict) -> None:
    code, shown, _ = printed("settings", "set", "--phone", MAC, "time_format=12h")
    assert code == 0
    header, row, operation = shown.splitlines()
    assert header.split() == ["NAME", "VALUE", "SOURCE"]
    assert row.split() == ["time_format", "12h", "phone"]
    assert operation.startswith("operation ")
    code, shown, _ = printed("settings", "show", "--phone", MAC)
    assert ["time_format", "12h", "phone"] in [line.split() for line in shown.splitlines()]
    # A Linphone has no tones to choose.
    assert "tone_country" not in printed("settings", "show", "--phone", SMALL)[1]


# Keys


async def test_a_key_is_set_and_shown(server: Server, api: Api, phone: dict) -> None:
    shown = await asyncio.to_thread(
        told, server, "keys", "set", MAC, "5", "speed-dial", "--value", "+33972109999", "--label", "Zoé"
    )
    assert len(shown.pop("operations")) == 1
    assert shown == await asyncio.to_thread(told, server, "keys", "show", MAC)
    assert shown == (await api.get(f"/v1/phones/{MAC}/keys")).body
    (key,) = [key for key in shown["keys"] if key["key"] == "5"]
    assert (key["type"], key["value"], key["label"], key["set"]) == ("speed-dial", "+33972109999", "Zoé", True)
    module = await asyncio.to_thread(told, server, "keys", "set", MAC, "1.5", "blf", "--value", "42")
    assert "1.5" in [key["key"] for key in module["keys"]]


def test_keys_are_copied_with_a_result_for_each(server: Server, printed, phone: dict) -> None:
    told(server, "keys", "set", MAC, "6", "speed-dial", "--value", "43")
    assert told(server, "keys", "copy", MAC, OTHER)["results"][0]["copied"] is True
    theirs, its = (told(server, "keys", "show", mac)["keys"] for mac in (OTHER, MAC))
    # The first key's label is that of the line in its slot, which the other phone has not.
    assert theirs[1:] == its[1:]
    results = told(server, "keys", "copy", MAC, OTHER, SMALL, "001565fffffe", code=1)["results"]
    assert [(one["phone"], one["copied"]) for one in results] == [
        (OTHER, True), (SMALL, False), ("001565fffffe", False)
    ]  # fmt: skip
    assert [one["reason"] and one["reason"]["code"] for one in results] == [
        None, "unsupported-by-model", "phone-not-found"
    ]  # fmt: skip
    code, shown, _ = printed("keys", "copy", MAC, OTHER, SMALL)
    assert code == 1
    assert [line.split()[:2] for line in shown.splitlines()] == [[OTHER, "copied"], [SMALL, "unsupported-by-model:"]]


# Phonebooks


@pytest.fixture
def book(server: Server, phone: dict) -> Iterator[tuple[str, str]]:
    its = ("--phone", MAC)
    yield its
    for contact in told(server, "phonebook", "list", *its)["items"]:
        told(server, "phonebook", "remove", *its, str(contact["id"]))


def test_contacts_come_and_go(server: Server, book: tuple[str, str]) -> None:
    made = told(server, "phonebook", "add", *book, "--name", "Zoé", "--work", "0033 972 10 12 34", "--group", "Friends")
    assert (made["name"], made["work"]) == ("Zoé", "+33972101234")
    assert told(server, "phonebook", "list", *book)["items"] == [made]
    assert told(server, "phonebook", "list", "--account", "cho")["items"] == []
    assert told(server, "phonebook", "remove", *book, str(made["id"])) == {"removed": made["id"]}
    assert told(server, "phonebook", "remove", *book, str(made["id"]), code=1)["error"]["code"] == "contact-not-found"


@pytest.mark.parametrize(("kind", "name"), [("csv", "book.csv"), ("vcard", "BOOK.VCF")])
def test_what_is_exported_is_imported(
    server: Server, printed, book: tuple[str, str], tmp_path: Path, kind: str, name: str
) -> None:
    told(server, "phonebook", "add", *book, "--name", "Zoé", "--surname", 'd\'Arc, "x"; y', "--mobile", "+33612345678")
    told(server, "phonebook", "add", *book, "--name", "=1+1", "--home", "42")
    code, text, _ = printed("phonebook", "export", *book, "--format", kind)
    assert code == 0
    assert text == told(server, "phonebook", "export", *book, "--format", kind)["text"]
    file = tmp_path / name
    file.write_bytes(text.encode())
    before = told(server, "phonebook", "list", *book)["items"]
    assert told(server, "phonebook", "import", *book, str(file), "--replace") == {"imported": 2}
    after = told(server, "phonebook", "list", *book)["items"]
    assert [one | {"id": 0} for one in after] == [one | {"id": 0} for one in before]
    told(server, "phonebook", "import", *book, str(file))
    assert len(told(server, "phonebook", "list", *book)["items"]) == 4


def test_each_wrong_row_is_told_and_nothing_is_taken(
    server: Server, printed, book: tuple[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "book.txt"
    file.write_text("name,work\nA,+33972101234\nB,abc\nC,\n")
    assert told(server, "phonebook", "import", *book, str(file), code=1)["error"]["code"] == "fault"
    code, shown, errors = printed("phonebook", "import", *book, str(file), "--format", "csv")
    assert (code, shown) == (1, "")
    first, second, last = errors.splitlines()
    assert first.startswith(f"{file}:3: work is 'abc'")
    assert second.startswith(f"{file}:4: ")
    assert last == "import-failed: 2 rows cannot be read; nothing was taken."
    error = told(server, "phonebook", "import", *book, str(file), "--format", "csv", code=1)["error"]
    assert [one["row"] for one in error["errors"]] == [3, 4]
    assert told(server, "phonebook", "list", *book)["items"] == []
    file.write_bytes(b"name,work\n\xff,42\n")
    assert (
        "cannot be read"
        in told(server, "phonebook", "import", *book, str(file), "--format", "csv", code=1)["error"]["detail"]
    )
    gone = told(server, "phonebook", "import", *book, str(tmp_path / "none.csv"), code=1)["error"]
    assert "none.csv: cannot be read" in gone["detail"]


# Phones that nobody knows


async def traced(server: Server, api: Api, mac: str, agent: str) -> None:
    await fetch(f"{server.http}/{mac}.cfg", server, User_Agent=agent)
    for _ in range(250):
        if mac in [one["mac"] for one in (await api.get("/v1/unknown-phones")).body["items"]]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{mac} left no trace")


async def test_an_unknown_phone_is_adopted(server: Server, api: Api, phone: dict) -> None:
    await traced(server, api, STRANGER, AGENT)
    (seen,) = (await asyncio.to_thread(told, server, "phones", "unknown"))["items"]
    assert (seen["mac"], seen["model"], seen["firmware"]) == (STRANGER, "yealink-t54w", "96.86.0.23")
    made = await asyncio.to_thread(told, server, "phones", "adopt", "00:15:65:81:00:09", "--account", "cho")
    assert (made["model"], made["account"]) == ("yealink-t54w", "cho")
    assert made["provisioning_url"].startswith("https://phones.example.net/")
    assert (await fetch(address(server, made), server)).status == 200
    assert (await asyncio.to_thread(told, server, "phones", "unknown"))["items"] == []
    error = (await asyncio.to_thread(told, server, "phones", "adopt", STRANGER, "--account", "cho", code=1))["error"]
    assert error["code"] == "phone-not-found"
    (row,) = (await api.get("/v1/audit?limit=1")).body["items"]
    assert (row["action"], row["after"]["provisioning_url"]) == ("phone.create", "***")


async def test_which_model_it_is_can_be_given_and_must_be_where_it_does_not_say(
    server: Server, api: Api, phone: dict
) -> None:
    mac = "001565810010"
    await traced(server, api, mac, "curl/8")
    error = (await asyncio.to_thread(told, server, "phones", "adopt", mac, "--account", "cho", code=1))["error"]
    assert (error["code"], "--model" in error["detail"]) == ("model-unknown", True)
    made = await asyncio.to_thread(told, server, "phones", "adopt", mac, "--account", "cho", "--model", "yealink-t46s")
    assert made["model"] == "yealink-t46s"


async def test_an_unknown_phone_is_forgotten(server: Server, api: Api, phone: dict) -> None:
    mac = "001565810011"
    await traced(server, api, mac, AGENT)
    assert await asyncio.to_thread(told, server, "phones", "forget", mac) == {"forgotten": mac}
    assert (await asyncio.to_thread(told, server, "phones", "unknown"))["items"] == []
    assert (await asyncio.to_thread(told, server, "phones", "forget", mac, code=1))["error"][
        "code"
    ] == "phone-not-found"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("settings set --operator none=1", "setting-unknown"),
        ("settings set --operator call_waiting=yes", "invalid-value"),
        ("settings set --operator voice_vlan=x", "invalid-value"),
        ("settings set --operator voice_vlan=99999", "invalid-value"),
        ("settings set --operator codecs=", "invalid-value"),
        ("settings set --operator call_waiting", "invalid-value"),
        ("settings set --operator", "invalid-value"),
        ("settings set --operator --parameter a.b=1", "invalid-value"),
        ("settings set --line k1 language=fr", "setting-unknown"),
        ("settings set --phone 001565810001 --parameter account.1.user_name=x", "parameter-taken"),
        ("settings show --model none", "model-unknown"),
        ("settings show --account none", "account-not-found"),
        ("settings show --phone x", "mac-malformed"),
        ("settings show --phone 001565fffffe", "phone-not-found"),
        ("settings show --line none", "line-not-found"),
        ("keys show 001565fffffe", "phone-not-found"),
        ("keys set 001565810001 x blf", "key-unknown"),
        ("keys set 001565810001 999 blf --value 42", "key-unknown"),
        ("keys set 001565810001 5 none-such", "invalid-value"),
        ("keys set 001565810001 5 blf", "invalid-value"),
        ("keys copy 001565810001 x", "mac-malformed"),
        ("phonebook list --account none", "account-not-found"),
        ("phonebook add --account cho --name A", "invalid-value"),
        ("phonebook add --account cho --name A --work abc", "invalid-value"),
        ("phones forget x", "mac-malformed"),
        ("phones adopt 001565fffffe --account cho", "phone-not-found"),
    ],
)
def test_a_refused_command_exits_with_1_and_the_code(server: Server, phone: dict, command: str, code: str) -> None:
    error = told(server, *command.split(), code=1)["error"]
    assert error["code"] == code
    assert len(error["detail"]) > 10


# identify


@pytest.mark.parametrize(
    ("arguments", "told_"),
    [
        (("--user-agent", AGENT), ("yealink", "yealink-t54w", "96.86.0.23", STRANGER)),
        (("--path", "/secret/001565810009.cfg"), ("yealink", None, None, STRANGER)),
        (("--path", "/x/00-15-65-81-00-0A.cfg", "--user-agent", AGENT), ("yealink", "yealink-t54w", "96.86.0.23", "00156581000a")),
        (("--path", "/y000000000096.cfg"), ("yealink", "yealink-t54w", None, None)),
    ],
    ids=["agent", "path", "both", "common file"],
)  # fmt: skip
def test_what_a_phone_says_of_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told_,
) -> None:
    """Without a database, or any data directory."""
    monkeypatch.chdir(tmp_path)
    assert main(["identify", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == dict(zip(("vendor", "model", "firmware", "mac"), told_, strict=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("--user-agent", "curl/8", "--path", "/favicon.ico")])
def test_what_says_nothing_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["identify", *arguments, "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out).values()) == {None}
