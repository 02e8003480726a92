"""Vendors' folders as they are read at a start: what was compiled and tried before is not again."""

import shutil
from pathlib import Path

import pytest

from provisioning import vendors
from provisioning.domain.errors import Fault
from provisioning.rendering import renderer

ROOT = Path(__file__).parent.parent


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    its = tmp_path / "phones"
    for vendor in ("yealink", "linphone"):
        shutil.copytree(ROOT / "templates" / "phones" / vendor, its / vendor)
    return its


def load(templates: Path, slots: dict[str, int] | None = None) -> vendors.Vendors:
    return vendors.load(templates, templates / "no-firmware", slots)


def kept(templates: Path) -> list[Path]:
    return list((templates / "__pycache__").glob("*"))


def works_without_compiling(templates: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    with monkeypatch.context() as patch:
        patch.setattr(renderer, "_check", lambda *_: 1 / 0)
        patch.setattr(renderer.Renderer, "trial", lambda *_: 1 / 0)
        try:
            load(templates)
        except ZeroDivisionError:
            return False
    return True


def test_a_second_start_compiles_and_tries_nothing(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not works_without_compiling(templates, monkeypatch)
    first = load(templates)
    assert len(kept(templates)) == 1
    assert works_without_compiling(templates, monkeypatch)
    again, model = load(templates), first.catalogue.models["yealink-t46s"]
    assert again.catalogue == first.catalogue
    assert again.renderer.settings_of(model) == first.renderer.settings_of(model)


def test_a_template_that_changed_is_checked_and_its_fault_is_named(templates: Path) -> None:
    load(templates)
    file = templates / "linphone" / "phone.xml.j2"
    good = file.read_text()
    file.write_text(good.replace("{{ line.username }}", "{{ line.user }}"))
    for _ in range(2):
        with pytest.raises(Fault, match=r"^linphone/phone\.xml\.j2:\d+: "):
            load(templates)
    file.write_text(good)
    load(templates)


def test_a_vendor_toml_that_changed_is_tried_again(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(templates)
    file = templates / "yealink" / "vendor.toml"
    file.write_text(file.read_text().replace("slots = 16", "slots = 15", 1))
    assert not works_without_compiling(templates, monkeypatch)


def test_slots_of_the_operators_own_are_tried_each_time(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(templates)
    with monkeypatch.context() as patch:
        patch.setattr(renderer.Renderer, "trial", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load(templates, {"yealink-t46s": 10})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00" * 100, b"N", b"i\x01\x00\x00\x00"])
def test_what_was_kept_and_is_broken_is_made_anew(
    templates: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    load(templates)
    (file,) = kept(templates)
    file.write_bytes(content)
    load(templates)
    assert works_without_compiling(templates, monkeypatch)


def test_what_another_version_of_ours_kept_is_made_anew(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(templates)
    monkeypatch.setattr(vendors.sys, "version", "another")
    assert not works_without_compiling(templates, monkeypatch)


def test_a_folder_that_cannot_be_written_does_as_well(templates: Path) -> None:
    (templates / "__pycache__").write_text("a file stands where the folder would")
    assert load(templates).catalogue.models


def test_zones_are_those_of_the_package() -> None:
    zones = vendors.zones()
    assert zones["Europe/Paris"].offset == 60
    assert "UTC" in zones
