"""The documents say what is true."""

import re
import tomllib
from pathlib import Path

from provisioning import config
from provisioning.domain.catalogue import Vendor
from provisioning.domain.vendor_file import parse_vendor
from provisioning.management.routes import ROUTES
from provisioning.simulator import dialects

ROOT = Path(__file__).parent.parent


def test_the_example_configuration_has_every_setting_with_its_default(tmp_path: Path) -> None:
    text = (ROOT / "config.example.toml").read_text()
    example = tomllib.loads(re.sub(r"(?m)^# (templates|firmware) = ", r"\1 = ", text))
    assert {name: set(keys) for name, keys in example.items()} == {
        name: set(keys) for name, keys in config.settings().items()
    }
    assert config.load(ROOT / "config.example.toml", {}) == config.Config()


def test_every_setting_of_the_example_has_a_comment_above() -> None:
    lines = (ROOT / "config.example.toml").read_text().splitlines()
    commented = False
    for line in lines:
        if line.startswith("#"):
            commented = True
        elif not line or line.startswith("["):
            commented = commented and not line
        else:
            assert commented, line


def test_the_vendor_guide_names_every_field_of_vendor_toml() -> None:
    guide = (ROOT / "docs" / "adding-a-vendor.md").read_text()
    for field in (
        "name", "prefixes", "agents", "sources", "cited", "families", "models", "syntax", "provisioning_path",
        "provisioning_macro", "parameter", "resync", "event", "reboot_event", "content_type", "body", "reboot_body", "keys",
        "traits", "documents", "template", "holds", "encryption", "always_encrypted", "uploads", "most_bytes", "readable",
        "family", "aka", "slots", "expansion_modules", "module_keys", "line_keys", "certificate", "tls", "confidence", "source",
    ):  # fmt: skip
        assert f"`{field}`" in guide, field


def vendors() -> list[Vendor]:
    paths = (ROOT / "templates" / "phones").glob("*/vendor.toml")
    return [parse_vendor(path.parent.name, path.read_text("utf-8")) for path in paths]


def test_every_vendor_has_a_page_and_the_readme_counts_them() -> None:
    found = vendors()
    assert {vendor.folder for vendor in found} == {path.stem for path in (ROOT / "docs" / "vendors").glob("*.md")}
    counted = f"{sum(len(vendor.models) for vendor in found)} models of {len(found)} vendors"
    assert counted in (ROOT / "README.md").read_text(), counted


def test_the_models_that_the_operator_hands_out_are_there() -> None:
    """By the names under which docs/vendors and the operator's own lists have them."""
    models = {model.id for vendor in vendors() for model in vendor.models}
    handed_out = {
        "cisco": "spa112 spa504g spa508g spa525g cp-6861 cp-7832 cp-7841 cp-8841 cp-8851 cp-8861 ata191 pap2t",
        "gigaset": "c530ip c610ip de410ip de900ip maxwell3 n670",
        "yealink": "t41p t41s t46g t46s t53 t53w t54w t58wpro t73w t85w t88wpro w53p w56p w70b ax83h ax86r cp860 cp920 "
        "cp925 cp960",
        "fanvil": "v65 v66pro w620w",
        "grandstream": "ht802",
        "polycom": "ip5000",
        "lg": "ip8815 ip8820 ip8830 ip8840",
        "technicolor": "tb30 st2030",
    }
    wanted = {f"{vendor}-{name}" for vendor, names in handed_out.items() for name in names.split()}
    assert wanted - models == set()


def test_every_family_has_a_simulated_phone() -> None:
    for vendor in vendors():
        for family in vendor.families:
            assert dialects.of(vendor.folder, family.name)


def test_the_readme_names_only_what_there_is() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)`?", readme):
        assert f"\n{target}:" in makefile, target
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"\$V1(/[a-z]+)", readme):
        assert any(route.path.startswith(f"/v1{path}") for route in ROUTES), path
