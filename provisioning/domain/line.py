"""A SIP line, and what its values may hold."""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field

from provisioning.domain.errors import Refused

TRANSPORTS = ("udp", "tcp", "tls")
RESERVED = "%NULL%"
"Yealink's word for a parameter without a value."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"[+*#0-9]{1,32}", re.ASCII)
# RFC 3261 section 25.1: user = 1*( unreserved / escaped / user-unreserved ), without the escapes,
# which phones spell differently from one another.
_USERNAME = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]{1,64}", re.ASCII)
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)*[A-Za-z0-9][A-Za-z0-9-]{0,62}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII
)
_HOST_PORT = re.compile(rf"(?:{_HOST.pattern})(?::[0-9]{{1,5}})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    "What the API calls the line; the operator's own identifier."
    account: str
    number: str
    username: str
    password: str = field(repr=False)
    domain: str
    display_name: str = ""
    outbound_proxy: str = ""
    "host or host:port that the phone sends to; empty: the domain itself."
    transport: str = "udp"

    @property
    def address_of_record(self) -> str:
        """RFC 3261 section 6: the SIP URI under which the line is registered."""
        return f"sip:{self.username}@{self.domain}"

    @property
    def label(self) -> str:
        """What the phone shows beside the line's key."""
        return self.display_name or self.number


def check_name(what: str, text: str) -> str:
    """An identifier that callers choose: safe in a URL, a log line and a file."""
    if _NAME.fullmatch(text) is None:
        raise Refused(
            "invalid-value",
            f"{what} is 1 to 64 letters, digits, '.', '_', '@', '+' or '-', and begins with a letter or digit.",
            field=what,
        )
    return text


def check_text(what: str, text: str, longest: int) -> str:
    """Text that a phone shows: one line, printable, at most `longest` characters."""
    if len(text) > longest:
        raise Refused("invalid-value", f"{what} is longer than {longest} characters.", field=what)
    if not printable(text):
        raise Refused("invalid-value", f"{what} holds a control character or a line break.", field=what)
    if text == RESERVED:
        raise Refused("invalid-value", f"{what} is a word that phones read as their factory default.", field=what)
    if text != text.strip():
        raise Refused("invalid-value", f"{what} begins or ends with a space.", field=what)
    return text


def printable(text: str) -> bool:
    """No control, line separator, surrogate or non-character: nothing a document's syntax cannot carry."""
    return not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or (ord(c) & 0xFFFE) == 0xFFFE for c in text)


def check(line: Line) -> Line:
    """Refused with `invalid-value` and the field's name."""
    check_name("line", line.name)
    check_text("display_name", line.display_name, 128)
    if not line.password:
        raise Refused("invalid-value", "password is empty.", field="password")
    check_text("password", line.password, 128)
    for what, value, pattern, looks_like in (
        ("number", line.number, _NUMBER, "digits, which may begin with +, such as +33972101234"),
        ("username", line.username, _USERNAME, "the user part of a SIP address, such as 0033972101234"),
        ("domain", line.domain, _HOST_PORT, "a host name, such as sip.example.net"),
        ("outbound_proxy", line.outbound_proxy or "unset", _HOST_PORT, "host or host:port"),
    ):
        if pattern.fullmatch(value) is None or len(value) > 253 or (pattern is _HOST_PORT and not _exists(value)):
            raise Refused("invalid-value", f"{what} is {looks_like}.", field=what)
    if line.transport not in TRANSPORTS:
        raise Refused("invalid-value", f"transport is one of {', '.join(TRANSPORTS)}.", field="transport")
    return line


def _exists(host: str) -> bool:
    """What a pattern cannot say: that the port is one, and that brackets hold an IPv6 address."""
    bracketed, _, rest = host.rpartition("]")
    port = rest.partition(":")[2]
    if port and not 1 <= int(port) <= 65535:
        return False
    if bracketed:
        try:
            ipaddress.IPv6Address(bracketed.removeprefix("["))
        except ValueError:
            return False
    return True
