"""What a path asks for, and what of it a log may hold. No server here."""

import re
import struct
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning.domain.address import Address
from provisioning.phones.firmware import byte_range
from provisioning.phones.proxy_protocol import version1, version2
from provisioning.phones.request import read, redacted

# Zeros alone are no phone's: all Yealinks ask for y000000000000.boot.
MACS = st.text("0123456789abcdef", min_size=12, max_size=12).filter(lambda mac: mac != "0" * 12)
SECRETS = st.text("0123456789abcdef", min_size=32, max_size=32)
ANYTHING = st.one_of(st.text(), st.text("/%.0123456789abcdefABCDEF:-\\\x00\r\n ٣é"), st.from_regex(r"/[^\s]*"))
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@given(MACS, SECRETS, st.sampled_from(["", ":", "-", "."]), st.booleans(), st.booleans(), st.sampled_from(["/", "//"]))
def test_every_spelling_of_a_phones_own_path_is_one(
    mac: str, secret: str, separator: str, upper: bool, escaped: bool, slash: str
) -> None:
    spelled = separator.join(mac[i : i + 2] for i in range(0, 12, 2))
    spelled = spelled.upper() if upper else spelled
    asked = read(f"{slash}{secret}{slash}{quote(spelled, safe='') if escaped else spelled}.cfg")
    assert asked is not None
    assert (asked.mac, asked.shape, asked.secret, asked.firmware) == (mac, "{mac}.cfg", secret, False)


def test_the_boot_file_of_all_yealinks_names_no_phone() -> None:
    asked = read(f"/{'0' * 32}/y000000000000.boot")
    assert asked is not None
    assert (asked.mac, asked.shape) == (None, "y000000000000.boot")


@pytest.mark.parametrize("path", ["/123456", "/123456/", "/123456/x/y", "/x/123456"])
def test_a_code_in_a_mistyped_url_is_no_secret_less(path: str) -> None:
    assert "123456" not in redacted(path)
    assert redacted("/1234567.rom") == "/1234567.rom"


@given(ANYTHING)
@example("/../etc/passwd")
@example("/..%2f..%2fetc%2fpasswd")
@example("/firmware/..%2fsecret-key")
@example("/firmware/../secret-key")
@example("/%252e%252e/secret-key")
def test_no_path_leaves_its_folder(path: str) -> None:
    asked = read(path)
    if asked is not None:
        # A dialect's folders are part of a name that is only looked up; none of them leads upwards.
        assert re.fullmatch(r"(?:[A-Za-z0-9._-]+/){0,3}[A-Za-z0-9:._-]+", asked.name, re.ASCII)
        assert not {".", ".."} & set(asked.name.split("/")[:-1])
        assert asked.secret is None or re.fullmatch("[0-9a-f]{32}", asked.secret, re.ASCII)
        assert asked.mac is None or re.fullmatch("[0-9a-f]{12}", asked.mac, re.ASCII)


@pytest.mark.parametrize("path", ["/00156500000\u0663.cfg", "/%D9%A3%D9%A300156500000.cfg", "/0015650000001.cfg"])
def test_digits_are_ascii_and_twelve(path: str) -> None:
    asked = read(path)
    assert asked is None or asked.mac is None


@pytest.mark.parametrize("path", ["http://phones/001565000001.cfg", "HTTPS://phones:8443//001565000001.cfg?a=b"])
def test_an_absolute_url_asks_for_its_path(path: str) -> None:
    asked = read(path)
    assert asked is not None
    assert asked.mac == "001565000001"


@given(ANYTHING)
def test_a_log_gets_one_short_printable_word(path: str) -> None:
    told = redacted(path)
    assert told.isascii()
    assert told.isprintable()
    assert " " not in told
    assert len(told) <= 10 * 120


@given(
    st.text("/x.-gé", max_size=130),
    SECRETS,
    st.text("/x.-g%"),
    st.sampled_from(["plain", "upper", "escaped", "partly", "twice"]),
)
def test_a_log_never_gets_a_secret(before: str, secret: str, after: str, how: str) -> None:
    hidden = "".join(f"%{ord(c):02x}" for c in secret)
    written = {
        "plain": secret,
        "upper": secret.upper(),
        "escaped": hidden,
        "partly": hidden[: 3 * 16] + secret[16:],
        "twice": hidden.replace("%", "%25"),
    }[how]
    told = redacted(f"/{before}{written}{after}")
    for _ in range(3):
        assert re.search("[0-9a-f]{8}", told, re.IGNORECASE) is None
        told = unquote(told)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 1000)),
        ("bytes=100-199", (100, 200)),
        ("bytes=900-5000", (900, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=999-", (999, 1000)),
        ("bytes=1000-", ()),
        ("bytes=5000-6000", ()),
        ("bytes=-0", ()),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-2", None),
        ("", None),
    ],
)
def test_a_range_is_read(header: str, expected: object) -> None:
    assert byte_range(header, 1000) == expected


@given(st.one_of(st.text(), st.from_regex(r"\Abytes=\d*-\d*\Z")), st.integers(1, 10**10))
@example("bytes=" + "9" * 8000 + "-", 10)
def test_a_range_is_within_the_image(header: str, size: int) -> None:
    part = byte_range(header, size)
    if part:
        assert 0 <= part[0] < part[1] <= size


ADDRESSES = st.ip_addresses(v=4)
ADDRESSES6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)


@given(st.one_of(ADDRESSES, ADDRESSES6))
def test_both_versions_of_proxy_say_the_same(address: Address) -> None:
    kind = f"TCP{address.version}"
    family = bytes([0x11 if address.version == 4 else 0x21])
    packed = address.packed * 2 + struct.pack("!HH", 1, 2)
    assert version1(f"PROXY {kind} {address} {address} 1 2".encode()) == address
    assert version2(V2 + b"\x21" + family + struct.pack("!H", len(packed)) + packed) == address


@given(st.one_of(st.binary(max_size=110), st.from_regex(rb"\APROXY (TCP4|TCP6|UNKNOWN|X) [^\r\n]*\Z")))
def test_a_proxy_line_is_read_or_refused(line: bytes) -> None:
    try:
        version1(line)
    except ValueError:
        return


@given(st.binary(min_size=4, max_size=300))
def test_a_proxy_header_is_read_or_refused(rest: bytes) -> None:
    try:
        version2(V2 + rest)
    except ValueError:
        return
