"""How phones open what they are sent encrypted. Shares nothing with rendering/encryption.py, which made it."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALTED = b"Salted__"
"What a file of the openssl command begins with."
_TAG = 16


def openssl(body: bytes, password: str) -> bytes:
    """`openssl enc -d -aes-256-cbc -md md5 -pass pass:PASSWORD`: key and IV of one round of MD5, as openssl 0.9.7.

    ValueError: cut off, or of another password.
    """
    salt, sealed = body[8:16], body[16:]
    if not body.startswith(SALTED) or not sealed or len(sealed) % 16:
        raise ValueError("the encrypted file is cut off: it is blocks of 16 bytes behind its salt")
    first = hashlib.md5(password.encode() + salt, usedforsecurity=False).digest()
    second = hashlib.md5(first + password.encode() + salt, usedforsecurity=False).digest()
    third = hashlib.md5(second + password.encode() + salt, usedforsecurity=False).digest()
    decryptor = Cipher(algorithms.AES(first + second), modes.CBC(third)).decryptor()
    plain = decryptor.update(sealed) + decryptor.finalize()
    fill = plain[-1]
    if not 1 <= fill <= 16 or plain[-fill:] != bytes([fill]) * fill:
        raise ValueError("the file is encrypted with another password")
    return plain[:-fill]


def aes128gcm(body: bytes, keying_material: bytes) -> bytes:
    """RFC 8188 section 2; HKDF by RFC 5869, for at most one block. ValueError: cut off, or of another key."""
    salt, size = body[:16], int.from_bytes(body[16:20])
    records = body[21 + body[20] :] if len(body) > 21 else b""
    if not records or size < _TAG + 2:
        raise ValueError("the encrypted content is cut off in its header")
    pseudorandom = hmac.digest(salt, keying_material, "sha256")
    cipher = AESGCM(hmac.digest(pseudorandom, b"Content-Encoding: aes128gcm\0\1", "sha256")[:16])
    base = int.from_bytes(hmac.digest(pseudorandom, b"Content-Encoding: nonce\0\1", "sha256")[:12])
    pieces = []
    for number, start in enumerate(range(0, len(records), size)):
        try:
            padded = cipher.decrypt((base ^ number).to_bytes(12), records[start : start + size], None).rstrip(b"\0")
        except InvalidTag:
            raise ValueError("the content is encrypted with another key, or was changed on its way") from None
        # The last record, and no other, ends with a 2: of what was cut off none does.
        if padded[-1:] != (b"\2" if start + size >= len(records) else b"\1"):
            raise ValueError("the encrypted content is cut off")
        pieces.append(padded[:-1])
    return b"".join(pieces)
