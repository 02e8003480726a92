import base64
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.simulator.decryption import aes128gcm, openssl

PASSWORD = "7pryJeRDW9ccWA6W"
BODIES = [b"", b"x", b"16 bytes of text", bytes(range(256)) * 20]


def made_by_openssl(body: bytes, password: str = PASSWORD) -> bytes:
    command = ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-pass", f"pass:{password}"]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_it_opens_what_the_openssl_command_made(body: bytes):
    assert openssl(made_by_openssl(body), PASSWORD) == body


@pytest.mark.parametrize("spoil", [lambda body: body[:-1], lambda body: body[:16], lambda body: b"x" + body])
def test_a_file_that_is_cut_off(spoil):
    with pytest.raises(ValueError, match="cut off"):
        openssl(spoil(made_by_openssl(b"some text")), PASSWORD)


def test_a_file_of_another_password():
    # Once in 256 its last byte looks like a filling; then the text is what is wrong.
    refused = 0
    for _ in range(20):
        try:
            assert openssl(made_by_openssl(b"some text"), "another") != b"some text"
        except ValueError as error:
            assert "another password" in str(error)
            refused += 1
    assert refused > 10


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


WALRUS = b"I am the walrus"
ONE_RECORD = from_base64url("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg")
KEY = from_base64url("yqdlZ-tYemfogSmv7Ws5PQ")
TWO_RECORDS = from_base64url(
    "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA"
)
KEY_OF_TWO = from_base64url("BO3ZVPxUlnLORbVGMpbT1Q")


def test_the_examples_of_rfc_8188():
    """Sections 3.1, and 3.2: with a key id, two records, and padding."""
    assert aes128gcm(ONE_RECORD, KEY) == WALRUS
    assert aes128gcm(TWO_RECORDS, KEY_OF_TWO) == WALRUS


@given(st.integers(0, len(TWO_RECORDS) - 1))
def test_content_that_is_cut_off_is_never_taken_for_the_whole(length: int):
    with pytest.raises(ValueError, match=r"cut off|another key"):
        aes128gcm(TWO_RECORDS[:length], KEY_OF_TWO)


@given(st.integers(0, len(TWO_RECORDS) - 1), st.integers(1, 255))
def test_content_that_was_changed_is_never_taken(at: int, change: int):
    changed = bytearray(TWO_RECORDS)
    changed[at] ^= change
    # Its key id names the key; it takes no part in anything.
    if 21 <= at < 23:
        assert aes128gcm(bytes(changed), KEY_OF_TWO) == WALRUS
    else:
        with pytest.raises(ValueError, match=r"cut off|another key"):
            aes128gcm(bytes(changed), KEY_OF_TWO)


def test_content_of_another_key():
    with pytest.raises(ValueError, match="another key"):
        aes128gcm(ONE_RECORD, KEY_OF_TWO)
