"""What a phone takes from the bytes it is given. Shares nothing with what wrote them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

_HEADER = "#!version:1.0.0.1"
_LPCONFIG = "{http://www.linphone.org/xsds/lpconfig.xsd}"
_YEALINK_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_SNOM_PERMISSIONS = frozenset(("", "R", "RW", "!", "$", "&"))
_YEALINK_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "2": "tls"}
_IDENTITY = re.compile(r'(?:"((?:[^"\\]|\\.)*)"\s*)?<sip:([^@>]+)@([^>;]+)>', re.DOTALL)


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
class ReadConfiguration:
    settings: Mapping[str, str] = field(repr=False)
    lines: tuple[ReadLine, ...]
    "Those that the phone would register."
    provisioning_url: str | None
    firmware_url: str | None
    poll_minutes: int | None


def read(vendor: str, body: bytes) -> ReadConfiguration:
    """ValueError, with a sentence, on anything that the phone would not accept."""
    settings = read_settings(vendor, body)
    return _CONFIGURATIONS[vendor](settings)


def read_settings(vendor: str, body: bytes) -> dict[str, str]:
    """Name to value. Snom: `user_name[1]`, `fkey[0].label`. Linphone: `proxy_0/reg_proxy`."""
    if vendor not in _SETTINGS:
        raise ValueError(f"no phone of {vendor!r} is known here")
    return _SETTINGS[vendor](body)


def _put(settings: dict[str, str], key: str, value: str) -> None:
    if key in settings:
        raise ValueError(f"{key} is set twice")
    settings[key] = value


# Yealink


def _yealink_settings(body: bytes) -> dict[str, str]:
    # splitlines() ends a line wherever any reader might.
    lines = body.decode("utf-8").splitlines()
    if not lines or lines[0] != _HEADER:
        raise ValueError(f"the first line is not {_HEADER}")
    settings: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or _YEALINK_KEY.fullmatch(key) is None:
            raise ValueError(f"line {number} is no parameter = value")
        _put(settings, key, "" if value == "%NULL%" else value)
    return settings


def _yealink(settings: dict[str, str]) -> ReadConfiguration:
    slots = _indexes(r"account\.(\d+)\.enable", settings)
    lines = []
    for slot in slots:
        account = f"account.{slot}."

        def get(name: str, account: str = account) -> str:
            return settings.get(account + name, "")

        if get("enable") != "1" or not get("user_name"):
            continue
        transport = _known(_YEALINK_TRANSPORTS, get("sip_server.1.transport_type"), account + "transport_type")
        default_port = "5061" if transport == "tls" else "5060"
        proxy = ""
        if get("outbound_proxy_enable") == "1":
            proxy = _join(get("outbound_proxy.1.address"), get("outbound_proxy.1.port"), default_port)
        domain = _join(get("sip_server.1.address"), get("sip_server.1.port"), default_port)
        lines.append(ReadLine(slot, get("user_name"), get("password"), domain, proxy, transport, get("display_name")))
    polls = settings.get("static.auto_provision.repeat.enable") == "1"
    minutes = settings.get("static.auto_provision.repeat.minutes") if polls else None
    return ReadConfiguration(
        settings=settings,
        lines=tuple(lines),
        provisioning_url=settings.get("static.auto_provision.server.url") or None,
        firmware_url=settings.get("static.firmware.url") or None,
        poll_minutes=_number(minutes, "static.auto_provision.repeat.minutes"),
    )


def _join(host: str, port: str, default_port: str) -> str:
    return host if port in ("", default_port) else f"{host}:{port}"


# Snom


def _snom_settings(body: bytes) -> dict[str, str]:
    root = _xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    settings: dict[str, str] = {}
    for section in root:
        if section.tag not in ("phone-settings", "functionKeys"):
            raise ValueError(f"<{section.tag}> is no section of <settings>")
        for element in section:
            if len(element):
                raise ValueError(f"<{element.tag}> holds an element where a value belongs")
            if element.get("perm", "") not in _SNOM_PERMISSIONS:
                raise ValueError(f"<{element.tag}> has an unknown perm")
            index = element.get("idx")
            key = element.tag if index is None else f"{element.tag}[{index}]"
            _put(settings, key, element.text or "")
            for attribute, text in element.items():
                if attribute not in ("idx", "perm"):
                    _put(settings, f"{key}.{attribute}", text)
    return settings


def _snom(settings: dict[str, str]) -> ReadConfiguration:
    lines = []
    for slot in _indexes(r"user_active\[(\d+)\]", settings):

        def get(name: str, slot: int = slot) -> str:
            return settings.get(f"{name}[{slot}]", "")

        if get("user_active") != "on" or not get("user_name"):
            continue
        next_hop, *parameters = get("user_outbound").split(";")
        transport = "udp"
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "transport":
                transport = value
        domain = get("user_host")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("user_name"),
                password=get("user_pass"),
                domain=domain,
                # A registrar that is written here only for its transport is no proxy.
                outbound_proxy="" if next_hop == domain else next_hop,
                transport=transport,
                display_name=get("user_realname"),
            )
        )
    seconds = _number(settings.get("settings_refresh_timer"), "settings_refresh_timer")
    return ReadConfiguration(
        settings=settings,
        lines=tuple(lines),
        provisioning_url=settings.get("setting_server") or None,
        firmware_url=settings.get("firmware") or None,
        poll_minutes=seconds // 60 if seconds else None,
    )


# Linphone


def _linphone_settings(body: bytes) -> dict[str, str]:
    root = _xml(body)
    if root.tag != f"{_LPCONFIG}config":
        raise ValueError(f"the root is <{root.tag}>, not <config> of lpconfig.xsd")
    settings: dict[str, str] = {}
    for section in root:
        name = section.get("name")
        if section.tag != f"{_LPCONFIG}section" or not name:
            raise ValueError("<config> holds something other than named sections")
        for entry in section:
            key = entry.get("name")
            if entry.tag != f"{_LPCONFIG}entry" or not key or len(entry):
                raise ValueError(f"section {name} holds something other than named entries")
            _put(settings, f"{name}/{key}", entry.text or "")
    return settings


def _linphone(settings: dict[str, str]) -> ReadConfiguration:
    lines = []
    for index in _indexes(r"proxy_(\d+)/reg_identity", settings):
        proxy, auth = f"proxy_{index}/", f"auth_info_{index}/"
        identity, server = settings[f"{proxy}reg_identity"], settings.get(f"{proxy}reg_proxy", "")
        # Without both, Linphone 5.1.65 drops the account when it loads its configuration.
        if not identity or not server or settings.get(f"{proxy}reg_sendregister") != "1":
            continue
        match = _IDENTITY.fullmatch(identity)
        next_hop = re.fullmatch(r"<sip:([^;>]+)(?:;transport=(\w+))?>", server)
        if match is None or next_hop is None:
            raise ValueError(f"proxy_{index} names no SIP address")
        quoted, username, domain = match.groups()
        host, transport = next_hop.groups()
        lines.append(
            ReadLine(
                slot=index + 1,
                username=username,
                password=settings.get(f"{auth}passwd", ""),
                domain=domain,
                outbound_proxy="" if host == domain else host,
                transport=transport or "udp",
                display_name=re.sub(r"\\(.)", r"\1", quoted or "", flags=re.DOTALL),
            )
        )
    return ReadConfiguration(
        settings=settings,
        lines=tuple(lines),
        provisioning_url=settings.get("misc/config-uri") or None,
        firmware_url=None,
        poll_minutes=None,
    )


def _xml(body: bytes) -> ET.Element:
    # A document type could define entities; no phone's configuration has one.
    if b"<!DOCTYPE" in body:
        raise ValueError("a document type is declared")
    try:
        return ET.fromstring(body)  # noqa: S314  from our own server, and without a document type
    except ET.ParseError as error:
        raise ValueError(f"this is not well-formed XML: {error}") from None


def _indexes(pattern: str, settings: Mapping[str, str]) -> list[int]:
    return sorted(int(match[1]) for key in settings if (match := re.fullmatch(pattern, key, re.ASCII)))


def _known(table: Mapping[str, str], value: str, key: str) -> str:
    if value not in table:
        raise ValueError(f"{key} is {value!r}; known are {', '.join(filter(None, table))}")
    return table[value]


def _number(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{key} is {text!r}, which is no number")
    return int(text)


_SETTINGS = {"yealink": _yealink_settings, "snom": _snom_settings, "linphone": _linphone_settings}
_CONFIGURATIONS = {"yealink": _yealink, "snom": _snom, "linphone": _linphone}
