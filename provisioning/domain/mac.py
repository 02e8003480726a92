"""A phone's MAC: twelve lower-case hex digits once it is inside."""

import re
from typing import NewType

Mac = NewType("Mac", str)

# One separator throughout, or none: "00-0413AA" inside `snom3200-000413AABBCC` is no MAC.
_PAIR = "[0-9A-Fa-f]{2}"
_MAC = re.compile(rf"{_PAIR}([:.-]?)(?:{_PAIR}\1){{4}}{_PAIR}", re.ASCII)
_DOTTED = re.compile(r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}", re.ASCII)
_MAC_IN_NAME = re.compile(rf"(?<![0-9A-Fa-f]){_MAC.pattern}(?![0-9A-Fa-f])", re.ASCII)
_NOBODYS = "000000000"
"What begins so is the number of a file that many phones ask for: y000000000066.cfg, 000000000000.cfg."
_SEPARATORS = str.maketrans("", "", ":.-")


def parse(text: str) -> Mac:
    """Any case, separated by `:`, `-`, `.` or nothing; ValueError otherwise."""
    if _MAC.fullmatch(text) is None and _DOTTED.fullmatch(text) is None:
        raise ValueError("a MAC is twelve hex digits, such as 001565a1b2c3 or 00:15:65:A1:B2:C3")
    return Mac(text.translate(_SEPARATORS).lower())


def find(name: str) -> tuple[Mac, str] | None:
    """The MAC in a file name, and the name's shape: `SEP001565A1B2C3.cnf.xml` → `sep{mac}.cnf.xml`."""
    match = _MAC_IN_NAME.search(name)
    if match is None:
        return None
    mac = Mac(match.group().translate(_SEPARATORS).lower())
    if mac.startswith(_NOBODYS):
        return None
    return mac, f"{name[: match.start()]}{{mac}}{name[match.end() :]}".lower()


def prefix(mac: Mac) -> str:
    """The vendor's part of the MAC (OUI)."""
    return mac[:6]


def spelled(mac: Mac) -> str:
    """As printed on the phone's sticker."""
    return ":".join(mac[i : i + 2] for i in range(0, 12, 2)).upper()
