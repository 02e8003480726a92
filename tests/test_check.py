"""`provisioning check`: what is wrong in a vendor's folder is found and named before a phone meets it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import Server
from telling import told

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "templates" / "phones"
VENDOR = "digium"
TEMPLATE = "phone.xml.j2"


class Folder:
    """A copy of one vendor's folder, and an installation that has no other vendor."""

    def __init__(self, directory: Path, vendor: str = VENDOR) -> None:
        self.path = directory / "templates" / vendor
        shutil.copytree(SHIPPED / vendor, self.path)
        self.server = Server(directory, {"PATHS__TEMPLATES": str(directory / "templates")})
        told(self.server, "init")

    def change(self, file: str, old: str, new: str) -> int:
        """The line of the change."""
        text = (self.path / file).read_text("utf-8")
        assert old in text
        (self.path / file).write_text(text.replace(old, new, 1), "utf-8")
        return text[: text.index(old)].count("\n") + 1

    def check(self, *more: str, code: int) -> dict[str, dict[str, str]]:
        """Results by part."""
        found = told(self.server, "check", *more, code=code)
        assert found["ok"] is (code == 0)
        return {result["part"]: result for result in found["results"]}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def faults(parts: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: part["told"] for name, part in parts.items() if part["result"] == "fault"}


def test_a_sound_folder_is_read_back(folder: Folder) -> None:
    parts = folder.check(code=0)
    assert parts["documents of digium"]["told"].startswith("7 models, ")
    assert parts["documents of digium"]["told"].endswith("read back as written; every name is known")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('password="{{ line.password }}"', 'password="{{ line.password[:8] }}"', "password 'a"),
        ('username="{{ line.username }}"', 'username="{{ line.number }}"', "username 'a-b'"),
        ('caller_id="{{ line.display_name }}"', 'caller_id="{{ line.display_name[:8] }}"', "display_name 'a"),
        ('server="{{ line.domain | host }}"', 'server="x{{ line.domain | host }}"', "domain 'sip.example.net'"),
    ],
    ids=["password", "username", "display name", "domain"],
)
def test_a_value_that_is_cut_or_changed_is_found_with_its_line(folder: Folder, old: str, new: str, what: str) -> None:
    line = folder.change(TEMPLATE, old, new)
    found = faults(folder.check(code=1))
    assert found.keys() == {"documents of digium"}
    assert re.search(rf"^digium/{TEMPLATE}:(28,)?{line}: {what}", found["documents of digium"])
    assert "is read back as" in found["documents of digium"]
    assert "digium-d65" in found["documents of digium"]


def test_a_value_that_only_the_last_slot_loses_is_found(folder: Folder) -> None:
    folder.change(
        TEMPLATE, 'password="{{ line.password }}"', 'password="{{ line.password if slot.number < 6 else 1 }}"'
    )
    found = faults(folder.check(code=1))["documents of digium"]
    # Two of its models have six slots.
    assert "password '6a" in found
    assert "(digium-d65, digium-d70)" in found


def test_an_unknown_parameter_is_named(folder: Folder) -> None:
    line = folder.change(
        TEMPLATE, '  <setting id="time_source"', '  <setting id="time_sauce" value="x"/>\n  <setting id="time_source"'
    )
    found = faults(folder.check(code=1))["documents of digium"]
    assert f"digium/{TEMPLATE}:{line}: 'setting time_sauce' is no parameter that is known" in found
    assert "(digium-d65, digium-d40, digium-d45 and 4 more)" in found


def test_a_cited_parameter_is_known(folder: Folder) -> None:
    folder.change(
        TEMPLATE, '  <setting id="time_source"', '  <setting id="time_sauce" value="x"/>\n  <setting id="time_source"'
    )
    folder.change("vendor.toml", "[cited]\n", '[cited]\n"setting time_sauce" = "A guide, page 1"\n')
    folder.check(code=0)


def test_names_are_compared_with_the_lists_that_are_given(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    found = faults(folder.check("--parameters", str(tmp_path / "lists"), code=1))["documents of digium"]
    # Without the vendor's list only the cited ones are known.
    assert "'setting config_server_url' is" not in found
    assert "is no parameter that is known, nor [cited]" in found
    assert "setting ntp_server" not in found
    nowhere = told(folder.server, "check", "--parameters", str(tmp_path / "nowhere"), code=1)
    assert "is no directory" in nowhere["error"]["detail"]


def test_it_says_that_names_were_not_compared(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where the package is installed without its tests.
    monkeypatch.setattr("provisioning.commands.checking._NAMES", tmp_path / "nowhere")
    folder.change(
        TEMPLATE, '  <setting id="time_source"', '  <setting id="time_sauce" value="x"/>\n  <setting id="time_source"'
    )
    assert "names not compared" in folder.check(code=0)["documents of digium"]["told"]


def test_a_line_for_who_shows_no_proof_is_found(folder: Folder) -> None:
    account = '<account index="0" status="1" register="1" account_id="u" username="u" authname="u" password="p"/>'
    folder.change(
        TEMPLATE, "</config>", f"{{% if not phone.slots %}}<accounts>{account}</accounts>{{% endif %}}</config>"
    )
    found = faults(folder.check(code=1))["documents of digium"]
    assert found.startswith(f"digium/{TEMPLATE}: {{mac}}.cfg: without a proof the phone is given a line (digium-d65, ")


def test_a_document_that_no_phone_reads_is_found(folder: Folder) -> None:
    folder.change(TEMPLATE, "</config>", "</configuration>")
    found = faults(folder.check(code=1))["documents of digium"]
    assert f"digium/{TEMPLATE}: {{mac}}.cfg: the phone cannot read it: " in found


def test_what_only_one_choice_of_a_setting_breaks_is_found_with_every_model(folder: Folder) -> None:
    line = folder.change(
        TEMPLATE,
        'value="{{ settings.ntp_server }}"',
        "value=\"{{ 1 // (settings.language != 'pl' or model.model != 'D70') }}\"",
    )
    # The start tries the settings' choices with one model of a family, this one with all.
    found = faults(folder.check(code=1))
    assert found.keys() == {"documents of digium"}
    assert f"digium/{TEMPLATE}:{line}: integer division" in found["documents of digium"]
    assert "(digium-d70)" in found["documents of digium"]


@pytest.mark.parametrize(
    ("file", "old", "new", "told_"),
    [
        ("vendor.toml", "D40 = { slots = 2", "D40 = { slots = 0", "digium/vendor.toml:{}: models.D40.slots: "),
        (TEMPLATE, "{{ zone.name }}", "{{ zoom.name }}", f"digium/{TEMPLATE}:{{}}: 'zoom' is not given to templates"),
        (TEMPLATE, "{{ zone.name }}", "{{ zone.nome }}", f"digium/{TEMPLATE}:{{}}: "),
    ],
)
def test_a_fault_that_refuses_the_start_is_named_with_its_place(
    folder: Folder, file: str, old: str, new: str, told_: str
) -> None:
    line = folder.change(file, old, new)
    parts = folder.check(code=1)
    found = faults(parts)
    assert found["catalogue, templates and firmware"].startswith(told_.format(line))
    # What needs no vendor's folder is looked at all the same.
    assert parts["database"]["result"] == "ok"
    assert "documents of digium" not in parts


def test_a_family_without_a_simulated_phone_is_rendered_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.path.rename(folder.path.with_name("acme"))
    parts = folder.check(code=0)
    assert parts["documents of acme"]["told"].endswith("not read back, for no simulated phone is one: acme/d-series")


def test_another_vendor_is_left_out_and_an_unknown_one_named(folder: Folder) -> None:
    shutil.copytree(SHIPPED / "linphone", folder.path.parent / "linphone")
    assert "documents of linphone" in folder.check(code=0)
    assert "documents of linphone" not in folder.check("--vendor", "digium", code=0)
    error = told(folder.server, "check", "--vendor", "digum", code=1)["error"]
    assert "there are digium, linphone" in error["detail"]


def test_all_models_with_fewer_slots_than_are_in_use_are_named_with_their_phones(
    folder: Folder, tmp_path: Path
) -> None:
    server = folder.server
    server.environment["PROVISIONING__PHONES__URL"] = "https://phones.example.net"
    told(server, "account", "add", "acme")
    for number, model in (("1", "digium-d65"), ("2", "digium-d70"), ("3", "digium-d70")):
        told(server, "phone", "add", f"000fd300000{number}", "--model", model, "--account", "acme")
        line = ["--line", f"l{number}", "--account", "acme", "--number", "+33972100000", "--username", f"u{number}"]
        told(server, "line", "add", *line, "--domain", "sip.example.net")
        told(server, "attach", f"l{number}", "--mac", f"000fd300000{number}", "--slot", "5")
    (tmp_path / "config.toml").write_text("[models]\nslots = {digium-d65 = 4, digium-d70 = 4}\n")
    found = faults(folder.check(code=1))["phones and models"]
    assert "digium-d65 has 4 slots, but lines are in higher ones of 1 phones: 00:0F:D3:00:00:01" in found
    assert (
        "digium-d70 has 4 slots, but lines are in higher ones of 2 phones: 00:0F:D3:00:00:02, 00:0F:D3:00:00:03"
        in found
    )


def test_a_person_sees_how_far_it_is_and_a_program_does_not(folder: Folder) -> None:
    shown = folder.server.command("check")
    assert shown.stderr.splitlines() == ["digium/d-series ..."]
    assert shown.stdout.startswith("ok     configuration")
    asked = folder.server.command("check", "--json")
    assert asked.stderr == ""
    assert json.loads(asked.stdout)["ok"] is True


def test_an_installation_without_a_database_is_told_so_and_gets_none(tmp_path: Path) -> None:
    data = tmp_path / "var"
    done = subprocess.run(
        [sys.executable, "-m", "provisioning", "check", "--json", "--vendor", "linphone"],
        check=False,
        env=os.environ | {"PROVISIONING__DATA__DIR": str(data)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    results = {its["part"]: its for its in json.loads(done.stdout)["results"]}
    assert results["database"]["result"] == results["phones and models"]["result"] == "fault"
    assert "init" in results["phones and models"]["told"]
    assert results["documents of linphone"]["result"] == "ok"
    assert not data.exists()
