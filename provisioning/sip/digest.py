"""Digest authentication of SIP, both sides (RFC 3261 §22, RFC 7616, RFC 8760)."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from provisioning.sip.message import TOKEN

# Strongest first. MD5 stays because most phones and proxies know nothing else.
ALGORITHMS = {
    "SHA-256": hashlib.sha256,
    "SHA-256-sess": hashlib.sha256,
    "MD5": hashlib.md5,
    "MD5-sess": hashlib.md5,
}
_SPELLING = {name.lower(): name for name in ALGORITHMS}

_PARAMETER = rf'(?P<name>{TOKEN})\s*+=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<bare>[^\s",]++))'
_ITEM = re.compile(rf"\s*+(?:(?P<scheme>{TOKEN})(?:\s++|(?=,|\Z)))?(?:{_PARAMETER})?\s*+(?:,|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str = field(repr=False)
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if re.search(r"[\x00-\x1f\x7f]", self.username):
            raise ValueError("a control character in a username")  # it goes into a header


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate."""

    realm: str
    nonce: str
    algorithm: str = "MD5"  # what a challenge without algorithm means, RFC 7616 §3.3
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False

    def __str__(self) -> str:
        return _header(
            realm=_quote(self.realm),
            nonce=_quote(self.nonce),
            algorithm=self.algorithm,
            qop=_quote(",".join(self.qop)) if self.qop else None,
            opaque=_quote(self.opaque),
            stale="true" if self.stale else None,
        )


@dataclass(frozen=True, slots=True)
class Authorization:
    """One Authorization or Proxy-Authorization."""

    username: str = field(repr=False)
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    algorithm: str = "MD5"
    qop: str | None = None
    nc: int | None = None
    cnonce: str | None = None
    opaque: str | None = None

    @classmethod
    def parse(cls, value: str) -> Self:
        match [values for scheme, values in _schemes(value) if scheme == "digest"]:
            case [values]:
                pass
            case _:
                raise ValueError("not one Digest authorization")
        nc = values.get("nc")
        if nc is not None and not re.fullmatch("[0-9a-fA-F]{8}", nc):
            raise ValueError("nc is not eight hexadecimal digits")
        if not re.fullmatch("[0-9a-fA-F]+", values.get("response", "")):
            raise ValueError("response is not hexadecimal")
        try:
            return cls(
                values["username"],
                values["realm"],
                values["nonce"],
                values["uri"],
                values["response"].lower(),
                _algorithm(values),
                values.get("qop"),
                int(nc, 16) if nc is not None else None,
                values.get("cnonce"),
                values.get("opaque"),
            )
        except KeyError as missing:
            raise ValueError(f"a Digest authorization without {missing}") from None

    def __str__(self) -> str:
        return _header(
            username=_quote(self.username),
            realm=_quote(self.realm),
            nonce=_quote(self.nonce),
            uri=_quote(self.uri),
            response=_quote(self.response),
            algorithm=self.algorithm,
            cnonce=_quote(self.cnonce),
            opaque=_quote(self.opaque),
            qop=self.qop,
            nc=f"{self.nc:08x}" if self.nc is not None else None,
        )


def challenge(realm: str, algorithm: str = "SHA-256", *, stale: bool = False) -> Challenge:
    return Challenge(realm, secrets.token_hex(16), algorithm, ("auth",), stale=stale)


def challenges(value: str) -> list[Challenge]:
    """The Digest challenges of one header line; those of other schemes are left out."""
    found = []
    for scheme, values in _schemes(value):
        if scheme != "digest":
            continue
        if "realm" not in values or "nonce" not in values:
            raise ValueError("a Digest challenge without realm or nonce")
        found.append(
            Challenge(
                values["realm"],
                values["nonce"],
                _algorithm(values),
                tuple(qop for qop in re.split(r"[\s,]+", values.get("qop", "").lower()) if qop),
                values.get("opaque"),
                values.get("stale", "").lower() == "true",
            )
        )
    return found


def strongest(offered: Iterable[Challenge]) -> Challenge | None:
    """Among equals the first, which the server prefers (RFC 8760 §2.4); None when we can answer none."""
    ours = [c for c in offered if c.algorithm in ALGORITHMS and (not c.qop or "auth" in c.qop)]
    strength = list(ALGORITHMS)
    return min(ours, key=lambda c: strength.index(c.algorithm), default=None)


def answer(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    uri: str,
    nc: int = 1,
    cnonce: str | None = None,
) -> Authorization:
    """`nc` counts the requests sent with this nonce, this one included."""
    session = challenge.algorithm.endswith("-sess")
    qop = "auth" if challenge.qop else None
    if not qop and not session:
        cnonce = None  # RFC 2617 §3.2.2: must not be sent without qop
    elif cnonce is None:
        cnonce = secrets.token_hex(8)

    def digest(*parts: str | None) -> str:
        text = ":".join(part for part in parts if part is not None)
        return ALGORITHMS[challenge.algorithm](text.encode(), usedforsecurity=False).hexdigest()

    secret = digest(credentials.username, challenge.realm, credentials.password)
    if session:
        secret = digest(secret, challenge.nonce, cnonce)  # RFC 7616 §3.4.2
    count = [f"{nc:08x}", cnonce, qop] if qop else []
    return Authorization(
        credentials.username,
        challenge.realm,
        challenge.nonce,
        uri,
        digest(secret, challenge.nonce, *count, digest(method, uri)),  # RFC 7616 §3.4.1
        challenge.algorithm,
        qop,
        nc if qop else None,
        cnonce,
        challenge.opaque,
    )


def verify(value: str, challenge: Challenge, credentials: Credentials, *, method: str, uri: str) -> bool:
    """Whether this header answers this challenge for this very request.

    That `nc` grows from one request to the next is the caller's to keep: see `Authorization.parse`.
    """
    try:
        given = Authorization.parse(value)
        expected = answer(challenge, credentials, method=method, uri=uri, nc=given.nc or 1, cnonce=given.cnonce)
    except ValueError:
        return False
    # Every field, not only the response: an answer to another nonce, or without the qop that was asked
    # for, would be a replay.
    genuine = hmac.compare_digest(given.response, expected.response)
    return genuine and replace(given, response="") == replace(expected, response="")


def _schemes(value: str) -> list[tuple[str, dict[str, str]]]:
    """A comma separates parameters and challenges alike: a new challenge is told by its scheme."""
    schemes: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(value):
        item = _ITEM.match(value, at)
        if not item:
            raise ValueError(f"not a challenge: {value[at:][:80]!r}")
        at = item.end()
        if item["scheme"]:
            schemes.append((item["scheme"].lower(), {}))
        if item["name"]:
            name = item["name"].lower()
            if not schemes or name in schemes[-1][1]:
                raise ValueError(f"{name} stands before any scheme, or twice")
            quoted = item["quoted"]
            # RFC 9110 §5.6.4: an escaped character counts as itself, in the hash too.
            schemes[-1][1][name] = item["bare"] if quoted is None else re.sub(r"(?s)\\(.)", r"\1", quoted)
    return schemes


def _algorithm(values: dict[str, str]) -> str:
    given = values.get("algorithm", "MD5")
    return _SPELLING.get(given.lower(), given)


def _header(**parameters: str | None) -> str:
    return "Digest " + ", ".join(f"{name}={value}" for name, value in parameters.items() if value is not None)


def _quote(value: str | None) -> str | None:
    return None if value is None else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
