"""What a simulated phone is made of: a vendor's behaviour, which is no data, and readers of its files.

The readers share nothing with what wrote the files: they are the second opinion.
"""

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree as ET

from provisioning.domain.mac import Mac

Act = Literal["fetch", "reboot", "nothing"]


@dataclass(frozen=True, slots=True)
class ReadLine:
    slot: int
    username: str
    password: str = field(repr=False)
    domain: str
    outbound_proxy: str
    transport: str
    display_name: str


@dataclass(frozen=True, slots=True)
class ReadContact:
    name: str
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadConfiguration:
    settings: Mapping[str, str] = field(repr=False)
    lines: tuple[ReadLine, ...]
    "Those that the phone would register."
    provisioning_url: str | None
    firmware_url: str | None
    poll_minutes: int | None
    phonebook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Handset:
    """What a phone knows when it begins to fetch."""

    mac: Mac
    model: str
    "As it spells itself: `T46S`."
    url: str
    "The provisioning URL that it holds."
    common: tuple[str, ...] = ()
    "The files without a MAC in their name that its model asks for."
    held: ReadConfiguration | None = None
    "What it took from its last fetch; None: nothing yet, or it was reset."


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a fetch."""

    url: str
    own: bool = False
    "The file that holds this phone's lines. Of the others a 404 is an answer, and the phone goes on."
    method: Literal["GET", "HEAD", "PUT"] = "GET"
    body: bytes = b""
    "Of a PUT."


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    "200, or 404 where the file is not the phone's own, or 304 where it is and the phone has it; of a PUT any."
    body: bytes = field(default=b"", repr=False)
    coding: str = ""
    "Its Content-Encoding."


Boot = Generator[Ask, Answer, ReadConfiguration]
"""The vendor's sequence: yields what is asked for next, is sent what came, returns what the phone then has.
ValueError, with a sentence, on anything that the phone would not accept."""


def check_sync(event: str, body: str, settings: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    """Most phones': `check-sync`, and restart only if `reboot=true`. None: answered 489."""
    package, *parameters = (part.strip().lower() for part in event.split(";"))
    if package != "check-sync":
        return None
    return "reboot" if "reboot=true" in parameters else "fetch"


def hashed(key: str) -> str:
    """`account.#.label` of `account.1.label`: how the list of known parameters spells them."""
    return re.sub(r"\d+", "#", key)


def _never(settings: Mapping[str, str]) -> bool:  # noqa: ARG001  one signature for all
    return False


@dataclass(frozen=True, slots=True)
class Dialect:
    """How phones of one family behave."""

    boot: Callable[[Handset], Boot]
    settings: Callable[[bytes], dict[str, str]]
    "Of a document's bytes: parameter to value, flat and in the vendor's own names. ValueError as the phone would."
    configuration: Callable[[Mapping[str, str]], ReadConfiguration]
    "What the phone makes of its settings."
    http_agent: Callable[[Handset], str]
    sip_agent: Callable[[Handset], str]
    contacts: Callable[[bytes], tuple[ReadContact, ...]] | None = None
    "Of the phonebook that it downloads; None: it downloads none."
    told: Callable[[str, str, Mapping[str, str]], Act | None] = check_sync
    "What it does at a NOTIFY: of Event, body and its settings. None: it answers 489."
    challenges: Callable[[Mapping[str, str]], bool] = _never
    "Whether it answers a NOTIFY with 401 first, to be shown the SIP password of a line."
    oracle_name: Callable[[str], str] = hashed
    "A key of `settings` as the list of known parameters spells it."
    conditional: bool = False
    "Sends If-None-Match with the last ETag."
    follows_redirects: bool = True
    keeps_polling: bool = True
    "Fetches again by itself while it runs."
    names_account: bool = False
    "Sends From with its first account, once it has one."


def read(dialect: Dialect, body: bytes) -> ReadConfiguration:
    return dialect.configuration(dialect.settings(body))


# For readers


def put(settings: dict[str, str], key: str, value: str) -> None:
    if key in settings:
        raise ValueError(f"{key} is set twice")
    settings[key] = value


def xml(body: bytes) -> ET.Element:
    # A document type could define entities; no phone's configuration has one.
    if b"<!DOCTYPE" in body:
        raise ValueError("a document type is declared")
    try:
        return ET.fromstring(body)  # noqa: S314  from our own server, and without a document type
    except ET.ParseError as error:
        raise ValueError(f"this is not well-formed XML: {error}") from None


def indexes(pattern: str, settings: Mapping[str, str]) -> list[int]:
    """The numbers that the pattern's one group finds among the keys."""
    return sorted({int(match[1]) for key in settings if (match := re.fullmatch(pattern, key, re.ASCII))})


def known(table: Mapping[str, str], value: str, key: str) -> str:
    if value not in table:
        raise ValueError(f"{key} is {value!r}; known are {', '.join(filter(None, table))}")
    return table[value]


def number(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{key} is {text!r}, which is no number")
    return int(text)


def join(host: str, port: str, default_port: str) -> str:
    return host if port in ("", "0", default_port) else f"{host}:{port}"
