"""Whole documents, encrypted as phones decrypt them. Pure: the same body and key give the same bytes.

What is random in each framing (a salt) is made of body and key instead: it differs wherever one of
them does, which is all that it is for, and an unchanged configuration keeps its ETag.
"""

import base64
import gzip
import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_BLOCK = 16
_RECORD = 4096


def encrypt(cipher: str, body: bytes, key: str) -> bytes:
    """`cipher`: of domain.catalogue.CIPHERS or CONTENT_CODINGS; `key`: the phone's, 16 letters and digits."""
    return _CIPHERS[cipher](body, key)


def _yealink(body: bytes, key: str) -> bytes:
    """AES in ECB mode, the key's letters as its bytes, filled up with blanks: what the vendor's own tool writes."""
    padded = body + b" " * (-len(body) % _BLOCK)
    # The framing is the phone's; there is no IV in it. TLS is what protects, this is a second lock.
    encryptor = Cipher(algorithms.AES(key.encode()), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(padded) + encryptor.finalize()


def _openssl(body: bytes, key: str) -> bytes:
    """`openssl enc -aes-256-cbc -md md5 -k KEY`: EVP_BytesToKey with one round of MD5, as openssl 0.9.7 had it."""
    salt = _salt(body, key, 8)
    material = b""
    block = b""
    while len(material) < 32 + _BLOCK:
        block = hashlib.md5(block + key.encode() + salt, usedforsecurity=False).digest()
        material += block
    fill = _BLOCK - len(body) % _BLOCK
    encryptor = Cipher(algorithms.AES(material[:32]), modes.CBC(material[32:48])).encryptor()
    return b"Salted__" + salt + encryptor.update(body + bytes([fill]) * fill) + encryptor.finalize()


def _openssl_gzip(body: bytes, key: str) -> bytes:
    """Compressed first (Cisco SPA provisioning guide, "Encrypted profile"); no time in it, for the same bytes."""
    return _openssl(gzip.compress(body, mtime=0), key)


def _panasonic(body: bytes, key: str) -> bytes:
    """`openssl enc -a`: base64 in lines of 64; and the key is of 32 characters (KX-UTG200 guide, p. 47 and 48)."""
    text = base64.b64encode(_openssl(body, key + key))
    return b"".join(text[i : i + 64] + b"\n" for i in range(0, len(text), 64))


def _aes128gcm(body: bytes, key: str) -> bytes:
    """RFC 8188, the input keying material being the key's bytes."""
    return aes128gcm(body, key.encode(), _salt(body, key, 16))


def aes128gcm(body: bytes, keying_material: bytes, salt: bytes) -> bytes:
    """RFC 8188 section 2, with no key id and records of 4096 bytes."""

    def derived(info: bytes, length: int) -> bytes:
        kdf = HKDF(hashes.SHA256(), length, salt, b"Content-Encoding: " + info + b"\0")
        return kdf.derive(keying_material)

    cipher, base = AESGCM(derived(b"aes128gcm", 16)), int.from_bytes(derived(b"nonce", 12))
    # A record's padding delimiter and its tag take 17 bytes (section 2.1).
    size = _RECORD - 17
    pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    records = [
        cipher.encrypt((base ^ number).to_bytes(12), piece + (b"\2" if number == len(pieces) - 1 else b"\1"), None)
        for number, piece in enumerate(pieces)
    ]
    return salt + _RECORD.to_bytes(4) + b"\0" + b"".join(records)


def _salt(body: bytes, key: str, length: int) -> bytes:
    return hmac.digest(key.encode(), body, "sha256")[:length]


_CIPHERS: Mapping[str, Callable[[bytes, str], bytes]] = {
    "yealink-aes": _yealink,
    "openssl-md5": _openssl,
    "openssl-md5-gzip": _openssl_gzip,
    "panasonic-aes": _panasonic,
    "aes128gcm": _aes128gcm,
}
