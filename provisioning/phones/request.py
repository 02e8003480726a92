"""What a phone's request asks for, read from its path, and what it has already. Pure."""

import functools
import re
from typing import Any, NamedTuple
from urllib.parse import unquote

from provisioning.domain import mac as macs
from provisioning.domain.mac import Mac

LOGIN = "login"
"The directory that asks for a user name and password."
CODE_DIGITS = 6

_DIGITS = f"[0-9]{{{CODE_DIGITS}}}"
# No directory but what is shown: nothing of a request's text ever becomes a path.
_SHOWN = rf"/{{1,2}}(?:([0-9a-f]{{32}}|{_DIGITS}|{LOGIN})/{{1,2}})?"
# Folders that a dialect has (`Cisco/CP-8851-3PCC/`) are part of a document's name, which is only looked up.
_PATH = re.compile(_SHOWN + r"((?:(?!\.{1,2}/)[A-Za-z0-9._-]{1,40}/){0,3}[A-Za-z0-9:._-]{1,96})", re.ASCII)
_FIRMWARE = re.compile(_SHOWN + r"firmware/([A-Za-z0-9._-]{1,128})", re.ASCII)
_LONGEST_REMEMBERED = 128
_LONG_HEX = re.compile("[0-9A-Fa-f]{20,}")
_CODE = re.compile(rf"(?<![^/]){_DIGITS}(?![^/])", re.ASCII)
"An activation code where it does not belong, of a URL that was mistyped."
# RFC 9112 section 3.2.2: a server takes the absolute form too.
_ORIGIN = re.compile(r"https?://[^/]*", re.ASCII | re.IGNORECASE)


class Asked(NamedTuple):
    name: str
    shape: str
    "The name in lower case, the MAC in it replaced by {mac}."
    mac: Mac | None
    secret: str | None = None
    "A phone's own, or its bootstrap token."
    code: str | None = None
    login: bool = False
    firmware: bool = False


def read(raw_path: str) -> Asked | None:
    """None: no path of ours."""
    # A stranger's long paths are not worth the memory.
    return _remembered(raw_path) if len(raw_path) <= _LONGEST_REMEMBERED else _read(raw_path)


def _read(raw_path: str) -> Asked | None:
    path = raw_path.partition("?")[0]
    if path[:1] != "/":
        path = _ORIGIN.sub("", path, count=1)
    if "%" in path:
        # Some phones spell the colons of their MAC %3A.
        path = unquote(path, errors="replace")
    if (match := _FIRMWARE.fullmatch(path)) is not None:
        return Asked(match[2], "", None, **_shown(match[1]), firmware=True)
    if (match := _PATH.fullmatch(path)) is None:
        return None
    found = macs.find(match[2])
    if found is None:
        return Asked(match[2], match[2].lower(), None, **_shown(match[1]))
    return Asked(match[2], found[1], found[0], **_shown(match[1]))


def _shown(directory: str | None) -> dict[str, Any]:
    if directory is None:
        return {}
    if directory == LOGIN:
        return {"login": True}
    return {"code" if len(directory) == CODE_DIGITS else "secret": directory}


# Phones ask for the same all their lives.
_remembered = functools.lru_cache(maxsize=16_384)(_read)


def has_already(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110 section 13.1.2, where a weak comparison is asked for."""
    if if_none_match is None:
        return False
    return if_none_match in (etag, "*") or any(
        part.strip().removeprefix("W/") == etag for part in if_none_match.split(",")
    )


def redacted(raw_path: str) -> str:
    """A path or name that may be none of ours, fit for a log: no secret, no control character, not long."""
    # Decoded and cut before anything is shortened, so that neither an escape nor the end hides a secret's digits.
    text = _LONG_HEX.sub("-", unquote(raw_path.partition("?")[0], errors="replace"))
    text = _CODE.sub("-", text)[:120]
    if "%" in text or not text.isprintable():
        return "?"
    return text.encode("ascii", "backslashreplace").decode().replace(" ", "%20")
