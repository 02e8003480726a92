import base64
import gzip
import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.catalogue import CIPHERS, CONTENT_CODINGS
from provisioning.rendering.compose import encryption_key
from provisioning.rendering.encryption import aes128gcm, encrypt
from provisioning.simulator import decryption

KEY = encryption_key("5ecre70f7h15ph0ne5ecre70f7h15ph0")
OTHER_KEY = encryption_key("another secret")
BODIES = [
    b"",
    b"x",
    b"15 bytes of text",
    b"16 bytes of text.",
    b"\r\n\0\xff " * 40,
    bytes(range(256)) * 64,
    "é<&>".encode() * 5000,
]
EVERY = (*CIPHERS, *CONTENT_CODINGS)
KEYS = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=16, max_size=16)
with_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
bodies = pytest.mark.parametrize("body", BODIES, ids=len)


def openssl(*arguments: str, given: bytes) -> bytes:
    done = subprocess.run(["openssl", "enc", "-d", *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@with_openssl
@bodies
def test_a_yealink_reads_it(body: bytes):
    encrypted = encrypt("yealink-aes", body, KEY)
    assert len(encrypted) % 16 == 0
    read = openssl("-aes-128-ecb", "-nopad", "-K", KEY.encode().hex(), given=encrypted)
    assert read == body + b" " * (len(encrypted) - len(body))
    assert len(encrypted) - len(body) < 16


# What phones with openssl 0.9.7 in them do, which had MD5 and one round.
AS_PHONES = ("-aes-256-cbc", "-md", "md5")


@with_openssl
@bodies
def test_a_phone_with_openssl_in_it_reads_it(body: bytes):
    encrypted = encrypt("openssl-md5", body, KEY)
    assert encrypted.startswith(b"Salted__")
    assert openssl(*AS_PHONES, "-pass", f"pass:{KEY}", given=encrypted) == body


@with_openssl
@bodies
def test_a_phone_that_unpacks_it_reads_it(body: bytes):
    compressed = openssl(*AS_PHONES, "-pass", f"pass:{KEY}", given=encrypt("openssl-md5-gzip", body, KEY))
    assert gzip.decompress(compressed) == body


@with_openssl
@bodies
def test_a_panasonic_reads_it(body: bytes):
    encrypted = encrypt("panasonic-aes", body, KEY)
    assert openssl("-a", *AS_PHONES, "-pass", f"pass:{KEY * 2}", given=encrypted) == body
    lines = encrypted.split(b"\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines[:-1]} <= {64}
    assert 1 <= len(lines[-1]) <= 64


@with_openssl
def test_another_key_opens_nothing():
    done = subprocess.run(
        ["openssl", "enc", "-d", *AS_PHONES, "-pass", f"pass:{OTHER_KEY}"],
        input=encrypt("openssl-md5", BODIES[5], KEY),
        capture_output=True,
        check=False,
    )
    assert BODIES[5] not in done.stdout


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_example_of_rfc_8188_section_3_1():
    expected = from_base64url("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg")
    key, salt = from_base64url("yqdlZ-tYemfogSmv7Ws5PQ"), from_base64url("I1BsxtFttlv3u_Oo94xnmw")
    assert aes128gcm(b"I am the walrus", key, salt) == expected


@pytest.mark.parametrize("length", [0, 1, 4078, 4079, 4080, 8157, 8158, 8159, 20_000])
def test_a_body_of_several_records(length: int):
    body = bytes(number % 251 for number in range(length))
    encrypted = encrypt("aes128gcm", body, KEY)
    assert decryption.aes128gcm(encrypted, KEY.encode()) == body
    # A record of 4096 bytes holds 16 of a tag and one that says whether it is the last.
    assert len(encrypted) == 21 + length + 17 * max(1, -(-length // 4079))


@given(st.binary(max_size=200), KEYS)
def test_whatever_the_body_and_the_key_it_reads_back(body: bytes, key: str):
    assert decryption.aes128gcm(encrypt("aes128gcm", body, key), key.encode()) == body


@pytest.mark.parametrize("cipher", EVERY)
@bodies
def test_the_same_body_and_key_give_the_same_bytes(cipher: str, body: bytes):
    assert encrypt(cipher, body, KEY) == encrypt(cipher, body, KEY)


@pytest.mark.parametrize("cipher", EVERY)
@given(body=st.binary(min_size=1, max_size=100), key=KEYS, other=KEYS)
def test_another_body_or_key_gives_other_bytes_and_neither_shows(cipher: str, body: bytes, key: str, other: str):
    encrypted = encrypt(cipher, body, key)
    assert encrypted != encrypt(cipher, body + b"!", key)
    if other != key:
        assert encrypted != encrypt(cipher, body, other)
    assert key.encode() not in encrypted
    if len(body) >= 16:
        assert body not in encrypted


@pytest.mark.parametrize(
    ("cipher", "at", "length"), [("openssl-md5", 8, 8), ("openssl-md5-gzip", 8, 8), ("aes128gcm", 0, 16)]
)
def test_no_salt_is_used_for_two_bodies_or_two_keys(cipher: str, at: int, length: int):
    salts = [encrypt(cipher, body, key)[at : at + length] for body in BODIES for key in (KEY, OTHER_KEY)]
    assert len(set(salts)) == len(salts)


def test_a_salt_says_nothing_of_the_body_to_who_has_not_the_key():
    salt = encrypt("aes128gcm", b"guess", KEY)[:16]
    assert salt not in (hashlib.sha256(b"guess").digest()[:16], encrypt("aes128gcm", b"guess", OTHER_KEY)[:16])


def test_every_cipher_of_the_catalogue_is_there():
    for cipher in EVERY:
        assert encrypt(cipher, b"x", KEY)
    with pytest.raises(KeyError):
        encrypt("rot13", b"x", KEY)
