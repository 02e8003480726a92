"""Basic and Digest (RFC 7617, RFC 7616): a phone's MAC as the user name, its own secret or an activation
code as the password. Asked for below /login/, and heeded wherever they are sent.
"""

import base64
import binascii
import hmac
import mmap
import re
import secrets
import time
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisioning.domain import mac as macs
from provisioning.domain.mac import Mac
from provisioning.phones.request import CODE_DIGITS
from provisioning.sip import digest
from provisioning.store.binding import code_context, code_hash
from provisioning.store.fetch import Candidate, Found, PhoneReader
from provisioning.store.phones import secret_context
from provisioning.store.secrets import KeyRing, fingerprint

REALM = "phone provisioning"
NONCE_SECONDS = 300
"A nonce's life, by the wall clock: another worker may have made it."
ALGORITHMS = ("SHA-256", "MD5")
"The strongest first, each in a header of its own: many phones know MD5 only (RFC 7616 section 3.7)."
_CANDIDATES = 3
"Two secrets while one replaces the other, and a code: so many answers are made for any MAC."
_NONCE = re.compile(r"([0-9a-f]{8})[0-9a-f]{16}[0-9a-f]{32}", re.ASCII)
_DIGITS = re.compile(rf"[0-9]{{{CODE_DIGITS}}}", re.ASCII)
_NOTHING = "00000000000000000000000000000000"
_NONCE_OF_NOTHING = bytes(12)
_ABSENT = Mac("000000000000")


class Checked(NamedTuple):
    found: Found | None
    "The phone that the credentials are of."
    code_hash: bytes | None = None
    "Of the activation code that was the password."
    wrong_code: bool = False


class NonceUses:
    """How often each nonce was used, in memory that all workers share: a used count is never taken again.

    Only a right answer is noted, so no stranger fills the table. Where two phones' nonces meet in one
    cell, the later one takes it.
    """

    _CELLS = 1 << 16

    def __init__(self) -> None:
        self.start = secrets.token_hex(16)
        self._cells = memoryview(mmap.mmap(-1, 8 * self._CELLS)).cast("Q")

    def is_new(self, nonce: str, count: int) -> bool:
        number = int(nonce[8:24], 16)
        cell, tag = number % self._CELLS, number >> 32
        used = self._cells[cell]
        if used >> 32 == tag and count <= used & 0xFFFFFFFF:
            return False
        self._cells[cell] = tag << 32 | min(count, 0xFFFFFFFF)
        return True


class Login:
    def __init__(self, reader: PhoneReader, keys: KeyRing, uses: NonceUses) -> None:
        self._reader = reader
        self._keys = keys
        self._uses = uses
        # Opened where a MAC has no secret, so that it costs what a MAC with one does.
        self._nothing = AESGCM(secrets.token_bytes(32))
        self._sealed = self._nothing.encrypt(_NONCE_OF_NOTHING, _NOTHING.encode(), _NOTHING.encode())
        self._decoy: Mac | None = None

    def challenges(self, mac: Mac, *, basic: bool) -> list[str]:
        """Values of WWW-Authenticate; the same but for the nonce for every MAC."""
        nonce = self._nonce(mac, int(time.time()), secrets.token_hex(8))
        offered = [str(digest.Challenge(REALM, nonce, algorithm, ("auth",))) for algorithm in ALGORITHMS]
        # Basic tells the password itself to whoever listens.
        return [*offered, f'Basic realm="{REALM}", charset="UTF-8"'] if basic else offered

    def check(self, header: str, mac: Mac, method: str, uri: str, *, basic: bool, codes: bool) -> Checked | None:
        """None: no credentials that we ask for. The user name must be the MAC that is asked for.

        `codes`: activation codes count, too.
        """
        scheme, _, text = header.partition(" ")
        if scheme.lower() == "digest":
            return self._digest(header, mac, method, uri, codes=codes)
        if scheme.lower() == "basic" and basic:
            return self._basic(text.strip(), mac, codes=codes)
        return None

    def _basic(self, text: str, mac: Mac, *, codes: bool) -> Checked:
        """Looked up by what is shown."""
        try:
            # The last colon: some phones write them into the MAC, and none is in a password of ours.
            user, _, password = base64.b64decode(text, validate=True).decode().rpartition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Checked(None)
        if not _is(user, mac):
            return Checked(None)
        if _DIGITS.fullmatch(password):
            if not codes:
                return Checked(None)
            hashed = code_hash(self._keys, mac, password)
            found = self._reader.by_code(hashed, time.time())
            return Checked(found, hashed, wrong_code=found is None)
        found = self._reader.by_secret(fingerprint(password))
        return Checked(found if found is not None and found.kind == "own" else None)

    def _digest(self, header: str, mac: Mac, method: str, uri: str, *, codes: bool) -> Checked:
        try:
            given = digest.Authorization.parse(header)
        except ValueError:
            return Checked(None)
        if not (_is(given.username, mac) and given.algorithm in ALGORITHMS and self._is_ours(given.nonce, mac)):
            return Checked(None)
        challenge = digest.Challenge(REALM, given.nonce, given.algorithm, ("auth",))
        now = time.time()
        candidates = self._candidates(mac, now)
        matching: Candidate | None = None
        for number in range(_CANDIDATES):
            candidate = candidates[number] if number < len(candidates) else None
            if candidate is None:
                password = self._nothing.decrypt(_NONCE_OF_NOTHING, self._sealed, _NOTHING.encode()).decode()
            else:
                context = code_context(mac) if candidate.kind == "code" else secret_context(mac)
                password = self._keys.open(candidate.key_id, candidate.sealed, context)
            credentials = digest.Credentials(given.username, password)
            right = digest.verify(header, challenge, credentials, method=method, uri=uri)
            if right and candidate is not None and (codes or candidate.kind == "own"):
                matching = candidate
        if matching is None or not self._uses.is_new(given.nonce, given.nc or 0):
            # Which of them was meant cannot be told; a code that waits counts the try.
            return Checked(None, wrong_code=codes and matching is None)
        if matching.kind == "code":
            return Checked(self._reader.by_code(matching.hash, now), matching.hash)
        return Checked(self._reader.by_secret(matching.hash))

    def _candidates(self, mac: Mac, now: float) -> list[Candidate]:
        """One look-up that finds something and one that finds nothing, whichever `mac` is."""
        found = self._reader.candidates(mac, now)
        if found:
            self._reader.candidates(_ABSENT, now)
            return found
        if self._decoy is None or not self._reader.candidates(self._decoy, now):
            self._decoy = self._reader.any_with_a_secret()
        return found

    def _nonce(self, mac: Mac, now: int, random: str) -> str:
        """Time, chance, and a seal over both, the MAC and this start: it answers for no other phone, and not
        after a restart, for which uses are known no more.
        """
        seal = hmac.digest(self._keys.signing_key, f"{self._uses.start}:{now:08x}:{random}:{mac}".encode(), "sha256")
        return f"{now:08x}{random}{seal.hex()[:32]}"

    def _is_ours(self, nonce: str, mac: Mac) -> bool:
        match = _NONCE.fullmatch(nonce)
        if match is None:
            return False
        made = int(match[1], 16)
        genuine = hmac.compare_digest(nonce, self._nonce(mac, made, nonce[8:24]))
        return genuine and 0 <= time.time() - made < NONCE_SECONDS


def _is(user: str, mac: Mac) -> bool:
    try:
        return macs.parse(user) == mac
    except ValueError:
        return False
