from pathlib import Path

import pytest

from provisioning.domain.catalogue import CERTIFICATE_FIELDS, CertificateRule
from provisioning.domain.certificate import FIELDS
from provisioning.domain.errors import Fault
from provisioning.domain.vendor_file import parse_vendor

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "templates" / "phones"
ACME = """\
name = "Acme"
prefixes = ["001122"]


CERTIFICATE
[families.desk]
syntax = "key-value"
provisioning_path = ""
[[families.desk.documents]]
name = "{mac}.cfg"
template = "phone.cfg.j2"
content_type = "text/plain"
holds = "lines"

[sources]
guide = "a guide"
[models]
One = { slots = 1, confidence = "guide", source = "guide" }
"""


def rule(table: str) -> CertificateRule | None:
    return parse_vendor("acme", ACME.replace("CERTIFICATE", table)).certificate


def test_a_vendor_without_the_table_has_no_certificates():
    assert rule("") is None


def test_the_field_and_the_generic_values():
    assert rule('[certificate]\nmac = "CN"') == CertificateRule("CN", ())
    assert rule('[certificate]\nmac = "S"\ngeneric = ["ciscogeneric"]') == CertificateRule("S", ("ciscogeneric",))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[certificate]", "acme/vendor.toml:5: certificate.mac: is missing"),
        ('[certificate]\nmac = "OU"', "acme/vendor.toml:6: certificate.mac: is 'OU'; known are CN, S"),
        ("[certificate]\nmac = 1", "acme/vendor.toml:6: certificate.mac: is 1, which is no str"),
        ('[certificate]\nmac = "CN"\ngeneric = "x"', "acme/vendor.toml:7: certificate.generic: is 'x', which is no list"),
        ('[certificate]\nmac = "CN"\ngeneric = [""]', "acme/vendor.toml:7: certificate.generic: '' is no text"),
        ('[certificate]\nmac = "CN"\nissuer = "x"', "acme/vendor.toml:7: certificate.issuer: is no field here; known are mac, generic"),
        ("certificate = 3", "acme/vendor.toml:5: certificate: is 3, which is no dict"),
    ],
)
def test_a_fault_names_file_line_and_field(table: str, told: str):
    with pytest.raises(Fault) as caught:
        rule(table)
    assert str(caught.value) == told


def test_every_field_that_is_known_can_be_read():
    assert set(FIELDS) == set(CERTIFICATE_FIELDS)


@pytest.mark.parametrize(("folder", "field"), [("yealink", "CN"), ("snom", "CN"), ("linphone", None)])
def test_the_shipped_vendors(folder: str, field: str | None):
    its = parse_vendor(folder, (SHIPPED / folder / "vendor.toml").read_text("utf-8")).certificate
    assert (its and its.mac) == field


def test_the_vendor_guide_names_the_fields():
    guide = (ROOT / "docs" / "adding-a-vendor.md").read_text()
    assert all(f"`{field}`" in guide for field in ("[certificate]", "generic"))
