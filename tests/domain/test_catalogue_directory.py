import pytest

from provisioning.domain.catalogue import catalogue
from provisioning.domain.errors import Fault
from provisioning.domain.vendor_file import parse_vendor

VENDOR = """\
name = "Acme"
prefixes = []
[families.desk]
syntax = "ini"
provisioning_path = ""
[[families.desk.documents]]
name = "acme.inf"
template = "where.j2"
content_type = "text/plain"
holds = "{holds}"
[[families.desk.documents]]
name = "acme_{{MAC}}.txt"
template = "phone.j2"
content_type = "text/plain"
holds = "lines"
[sources]
here = "here"
[models]
One = {{ slots = 1, confidence = "peer", source = "here" }}
"""


def test_a_document_that_tells_the_directory_is_everybody_s():
    found = catalogue([parse_vendor("acme", VENDOR.format(holds="directory"))])
    _, document = found.common["acme.inf"]
    assert (document.holds, document.stage, document.lines) == ("directory", 0, False)


def test_what_is_known_of_one_phone_needs_its_mac_in_the_name():
    with pytest.raises(Fault, match="no MAC says whose"):
        parse_vendor("acme", VENDOR.format(holds="contacts"))
