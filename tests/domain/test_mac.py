import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import mac as macs
from provisioning.domain.mac import Mac

DIGITS = st.text("0123456789abcdef", min_size=12, max_size=12)


@given(DIGITS, st.sampled_from(["", ":", "-", "."]), st.booleans())
def test_every_spelling_of_a_mac_is_one_mac(digits: str, separator: str, upper: bool):
    text = separator.join(digits[i : i + 2] for i in range(0, 12, 2))
    assert macs.parse(text.upper() if upper else text) == digits


@given(DIGITS)
def test_the_dotted_spelling_of_routers_is_understood(digits: str):
    assert macs.parse(".".join((digits[:4], digits[4:8], digits[8:]))) == digits


@given(DIGITS)
def test_a_mac_as_printed_on_the_sticker_reads_back(digits: str):
    assert macs.parse(macs.spelled(Mac(digits))) == digits


@given(st.text(max_size=20))
def test_what_is_parsed_is_twelve_lower_case_hex_digits_or_refused(text: str):
    try:
        parsed = macs.parse(text)
    except ValueError:
        return
    assert re.fullmatch("[0-9a-f]{12}", parsed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "001565a1b2c",
        "001565a1b2c33",
        "001565a1b2cg",
        "00:15-65:a1:b2:c3",
        "00:15:65a1b2c3",
        " 001565a1b2c3",
        "001565a1b2c3\n",
        "00156\uff15a1b2c3",
        "0015.65a1b2c3",
    ],
)
def test_what_is_no_mac_is_refused(text: str):
    with pytest.raises(ValueError, match="twelve hex digits"):
        macs.parse(text)


@pytest.mark.parametrize(
    ("name", "mac", "shape"),
    [
        ("001565A1B2C3.cfg", "001565a1b2c3", "{mac}.cfg"),
        ("SEP001565A1B2C3.cnf.xml", "001565a1b2c3", "sep{mac}.cnf.xml"),
        ("snomD785-000413AABBCC.htm", "000413aabbcc", "snomd785-{mac}.htm"),
        ("snom3200-000413AABBCC.htm", "000413aabbcc", "snom3200-{mac}.htm"),
        ("cfg00-04-13-aa-bb-cc.xml", "000413aabbcc", "cfg{mac}.xml"),
    ],
)
def test_a_mac_is_found_in_a_file_name(name: str, mac: str, shape: str):
    assert macs.find(name) == (mac, shape)


@pytest.mark.parametrize("name", ["y000000000066.cfg", "y000000000000.boot", "000000000000-license.cfg"])
def test_a_number_in_twelve_digits_is_no_mac(name: str):
    assert macs.find(name) is None


@pytest.mark.parametrize("name", ["snomD785.htm", "001565a1b2c.cfg", "001565a1b2c34.cfg", "a001565a1b2c3.cfg", ""])
def test_a_name_without_a_whole_mac_has_none(name: str):
    assert macs.find(name) is None


def test_the_vendor_is_the_first_half():
    assert macs.prefix(Mac("001565a1b2c3")) == "001565"
