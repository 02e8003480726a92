"""What an operator and a customer may choose, and whose choice holds. Pure.

A setting is chosen for the operator, a model, an account, a phone or, where it concerns one, a line;
the nearest choice holds, and everybody is shown where it comes from.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from provisioning.domain.errors import Refused
from provisioning.domain.line import check_text

Scope = Literal["operator", "model", "account", "phone", "line"]
SCOPES: tuple[Scope, ...] = ("operator", "model", "account", "phone", "line")
"From the farthest to the nearest."
Level = Literal["standard", "expert", "admin"]
"Who is shown it: everybody, who asks for more, and the operator alone, who alone may change it."
Kind = Literal["boolean", "enumeration", "choices", "number", "address", "host", "number-to-dial", "string"]
Value = bool | int | str | tuple[str, ...]

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*{_LABEL}", re.ASCII)
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    kind: Kind
    default: Value
    group: str
    level: Level
    does: str
    of_line: bool = False
    "Each line has its own; it may be chosen for one."
    among: tuple[str, ...] = ()
    "Of an enumeration; of choices, each at most once and in the wanted order."
    least: int = 0
    most: int = 0
    "Of a number; of text, its length."

    def parse(self, given: object) -> Value:
        """From JSON. Refused: `invalid-value`, with what it should be."""
        value, should_be = self._parsed(given)
        if value is None:
            raise Refused("invalid-value", f"{self.name} is {should_be}.", field=self.name)
        return value

    def _parsed(self, given: object) -> tuple[Value | None, str]:
        match self.kind:
            case "boolean":
                return (given if isinstance(given, bool) else None), "true or false"
            case "number":
                good = isinstance(given, int) and not isinstance(given, bool) and self.least <= given <= self.most
                return (given if good else None), f"a whole number from {self.least} to {self.most}"  # type: ignore[return-value]
            case "enumeration":
                return (given if isinstance(given, str) and given in self.among else None), (
                    f"one of {', '.join(self.among)}"
                )
            case "choices":
                should_be = f"a list of some of {', '.join(self.among)}, each once"
                if not isinstance(given, list | tuple) or not given or len(set(map(str, given))) != len(given):
                    return None, should_be
                return (tuple(map(str, given)) if all(item in self.among for item in given) else None), should_be
        if not isinstance(given, str):
            return None, "text"
        match self.kind:
            case "address":
                return _address(given), "an IPv4 or IPv6 address, or empty"
            case "host":
                return _host(given), "a host name or an address"
            case "number-to-dial":
                return (given if not given or _NUMBER.fullmatch(given) else None), "a number to dial, or empty"
        return check_text(self.name, given, self.most), "text"


def _host(given: str) -> str | None:
    # What ends in a number is an IPv4 address or nothing; no name of the DNS does.
    if ":" in given or given.rpartition(".")[2].isdigit():
        return _address(given)
    return given if _HOST.fullmatch(given) else None


def _address(given: str) -> str | None:
    if not given:
        return ""
    # Behind % stands an interface: of this machine, not of the phone, and in any characters.
    if "%" in given:
        return None
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return None


LANGUAGES = ("fr", "en", "de", "es", "it", "nl", "pt", "pl")
COUNTRIES = ("FR", "BE", "CH", "LU", "DE", "AT", "ES", "IT", "GB", "IE", "NL", "PT", "PL", "US", "CA")
CODECS = ("g722", "pcma", "pcmu", "g729", "opus")

ALL = (
    Setting("language", "enumeration", "fr", "display", "standard", "Language of the phone's menus", among=LANGUAGES),
    Setting("time_zone", "string", "Europe/Paris", "display", "standard", "IANA name of its time zone", most=64),
    Setting("time_format", "enumeration", "24h", "display", "standard", "How it shows the time", among=("24h", "12h")),
    Setting("tone_country", "enumeration", "FR", "audio", "standard", "Whose tones it plays", among=COUNTRIES),
    Setting("call_waiting", "boolean", True, "calls", "standard", "A second call is signalled during a call"),
    Setting("phonebook_name", "string", "Phonebook", "phonebook", "standard", "How it calls the phonebook", most=32),
    Setting(
        "voicemail_number",
        "number-to-dial",
        "",
        "calls",
        "standard",
        "What the message key dials",
        of_line=True,
    ),
    Setting(
        "codecs",
        "choices",
        ("g722", "pcma", "pcmu", "g729"),
        "audio",
        "expert",
        "Codecs offered, the best first",
        of_line=True,
        among=CODECS,
    ),
    Setting(
        "dtmf",
        "enumeration",
        "rfc4733",
        "audio",
        "expert",
        "How digits are sent during a call",
        of_line=True,
        among=("rfc4733", "info", "inband"),
    ),
    Setting(
        "srtp",
        "enumeration",
        "off",
        "security",
        "expert",
        "Encryption of speech",
        of_line=True,
        among=("off", "optional", "mandatory"),
    ),
    Setting(
        "register_expires",
        "number",
        3600,
        "network",
        "expert",
        "Seconds for which it registers",
        of_line=True,
        least=60,
        most=86400,
    ),
    Setting(
        "keep_alive",
        "number",
        30,
        "network",
        "expert",
        "Seconds between packets that keep its router's port open; 0: none",
        of_line=True,
        most=300,
    ),
    Setting("ntp_server", "host", "pool.ntp.org", "network", "expert", "Where it gets the time"),
    Setting("syslog_server", "address", "", "network", "expert", "Where it sends its log; empty: nowhere"),
    Setting("syslog_port", "number", 514, "network", "expert", "UDP port of the log server", least=1, most=65535),
    Setting("voice_vlan", "number", 0, "network", "expert", "VLAN of its calls; 0: none", most=4094),
    Setting("sip_dscp", "number", 26, "network", "expert", "DSCP of its SIP packets", most=63),
    Setting("rtp_dscp", "number", 46, "network", "expert", "DSCP of its speech packets", most=63),
    Setting(
        "poll_minutes", "number", 1440, "provisioning", "admin", "How often it asks by itself", least=5, most=10080
    ),
    Setting("web_access", "boolean", True, "security", "admin", "Its own web page can be opened"),
    Setting(
        "encrypt_configuration",
        "boolean",
        False,
        "security",
        "admin",
        "Its configuration is encrypted with a key of its own",
    ),
    Setting(
        "http_content_encryption",
        "boolean",
        False,
        "security",
        "admin",
        "Where its configuration is encrypted: as HTTP content (RFC 8188), not as its vendor's phones have files",
    ),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in ALL}
DEFAULTS: Mapping[str, Value] = {setting.name: setting.default for setting in ALL}
OF_LINES = tuple(setting.name for setting in ALL if setting.of_line)


class Chosen(NamedTuple):
    value: Value
    source: str
    "default, config, or the scope whose choice it is."


_OF_DEFAULT: Mapping[str, Chosen] = {name: Chosen(value, "default") for name, value in DEFAULTS.items()}


def find(name: str, scope: Scope) -> Setting:
    """Refused: `setting-unknown`."""
    setting = BY_NAME.get(name)
    if setting is None:
        raise Refused("setting-unknown", f"There is no setting {name!r}; there are {', '.join(BY_NAME)}.", field=name)
    if scope == "line" and not setting.of_line:
        raise Refused("setting-unknown", f"{name} is a phone's and not a line's.", field=name)
    return setting


def resolve(layers: Iterable[tuple[str, Mapping[str, Value]]]) -> dict[str, Chosen]:
    """`layers` from the farthest to the nearest, each with its name: the nearest choice holds."""
    found = dict(_OF_DEFAULT)
    for source, choices in layers:
        for name, value in choices.items():
            # A choice of an earlier version's setting is no longer anybody's.
            if name in found:
                found[name] = Chosen(value, source)
    return found


def values(chosen: Mapping[str, Chosen]) -> dict[str, Value]:
    return {name: choice.value for name, choice in chosen.items()}


def check_parameter(name: str, value: Any, pattern: str | None, model: str) -> tuple[str, str]:
    """A vendor's own parameter: its name is one of the dialect's, its value one line of text."""
    if pattern is None:
        raise Refused("unsupported-by-model", f"A {model} takes no parameters by name.", field=name)
    if re.fullmatch(pattern, name, re.ASCII) is None or len(name) > 128:
        raise Refused("invalid-value", f"{name[:80]!r} is no parameter of a {model}.", field=name[:80])
    if not isinstance(value, str):
        raise Refused("invalid-value", f"{name} is text.", field=name)
    return name, check_text(name, value, 512)
