"""Secrets at rest: AES-256-GCM under a key that the database does not hold.

The key file has a line `<key id> <base64 of 32 bytes>` per key; the first seals, all open. Its line
`sign` is another thing: it keys hashes (of ETags, nonces, codes), and no rotation changes it. The
row holds the key id. `context` (such as `line:17`) is authenticated, so that a sealed value
moved to another row does not open.
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisioning.domain.errors import Fault

_NONCE = 12
SIGN = "sign"


class KeyRing:
    """The keys of one key file. Reads the file again when that has changed, or a key is new to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, AESGCM] = {}
        self._read()

    def __repr__(self) -> str:
        return f"KeyRing({self._path}, {len(self._keys)} keys)"

    def _read(self) -> None:
        try:
            # Before the text: a change in between is then met at the next look.
            version = self._version()
            text = self._path.read_text("ascii")
            mode = self._path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise Fault(f"{self._path}: the secret key cannot be read ({type(error).__name__})") from None
        if mode & 0o077:
            raise Fault(f"{self._path}: others may read the secret key; chmod 600 it")
        try:
            pairs = [line.split() for line in text.splitlines() if line.strip()]
            raw = {key_id: base64.b64decode(key, validate=True) for key_id, key in pairs}
            signing = raw.pop(SIGN, None)
            keys = {key_id: AESGCM(key) for key_id, key in raw.items()}
        except ValueError:
            raise Fault(f"{self._path}: is not lines of `<key id> <base64 of 32 bytes>`") from None
        if not keys:
            raise Fault(f"{self._path}: holds no key")
        self._keys, self._read_version = keys, version
        self.current = next(iter(keys))
        self.signing_key = _derived(list(raw.values())[-1]) if signing is None else signing

    def _version(self) -> tuple[int, int]:
        its = self._path.stat()
        return its.st_ino, its.st_mtime_ns

    def seal(self, plain: str, context: str) -> tuple[str, bytes]:
        """(key id, sealed). With the file's first key as it is now: another may be dropped already."""
        try:
            changed = self._version() != self._read_version
        except OSError as error:
            raise Fault(f"{self._path}: the secret key cannot be read ({type(error).__name__})") from None
        if changed:
            self._read()
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._keys[self.current].encrypt(nonce, plain.encode(), context.encode())
        return self.current, nonce + sealed

    def open(self, key_id: str, sealed: bytes, context: str) -> str:
        key = self._keys.get(key_id)
        if key is None:
            self._read()
            key = self._keys.get(key_id)
            if key is None:
                raise Fault(f"{self._path}: the key {key_id} that sealed {context} is missing")
        try:
            return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], context.encode()).decode()
        except (InvalidTag, ValueError):
            raise Fault(f"{self._path}: {context} does not open with the key {key_id}") from None


def _derived(oldest: bytes) -> bytes:
    """The signing key of a file that has no line for it yet; `add_key` writes it down."""
    return hashlib.blake2b(oldest, digest_size=32, person=b"etag").digest()


def new_key_file(path: Path) -> None:
    write_private(path, _new_line() + _line(SIGN, secrets.token_bytes(32)))


def add_key(path: Path) -> None:
    """A new key in front of the others: it seals from now on."""
    text = path.read_text("ascii")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if all(key_id != SIGN for key_id, _ in lines):
        text = text.rstrip("\n") + "\n" + _line(SIGN, _derived(base64.b64decode(lines[-1][1])))
    write_private(path, _new_line() + text)


def keep_only(path: Path, key_ids: set[str]) -> int:
    """Drops all other keys; how many were dropped."""
    lines = path.read_text("ascii").splitlines(keepends=True)
    lines = [line for line in lines if line.strip()]
    kept = [line for line in lines if line.split()[0] in key_ids | {SIGN}]
    write_private(path, "".join(kept))
    return len(lines) - len(kept)


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _new_line() -> str:
    return _line(f"k{secrets.token_hex(4)}", secrets.token_bytes(32))


def _line(key_id: str, key: bytes) -> str:
    return f"{key_id} {base64.b64encode(key).decode()}\n"


def new_secret() -> str:
    """128 random bits, in letters and digits that every phone's URL takes."""
    return secrets.token_hex(16)


def fingerprint(secret: str) -> bytes:
    """How a random secret is looked up: it has 128 bits or more, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def etag(key: bytes, body: bytes) -> str:
    """Strong, and no oracle: without the key nobody can compare a guessed configuration with it."""
    return f'"{hmac.digest(key, body, "sha256")[:16].hex()}"'
