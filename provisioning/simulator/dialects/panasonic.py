"""Panasonic SIP phones: KX-HDV, KX-UT, KX-TGP and, in XML, KX-UTG."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping

from provisioning.domain.mac import Mac
from provisioning.simulator import decryption
from provisioning.simulator.dialects.base import (
    Act,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    hashed,
    indexes,
    join,
    known,
    number,
    put,
    xml,
)

_FIRMWARE = "01.133"
_STANDARD = "# Panasonic SIP Phone Standard Format File #"
_PCC = "# PCC Standard Format File #"
_LINE = re.compile(r'([A-Z][A-Z0-9_]*)="([^"]*)"', re.ASCII)
_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "2": "tls"}
_OF_LINE = (
    *("PHONE_NUMBER", "SIP_AUTHID", "SIP_PASS", "DISPLAY_NAME", "SIP_RGSTR_ADDR", "SIP_RGSTR_PORT"),
    *("SIP_OUTPROXY_ADDR", "SIP_OUTPROXY_PORT", "SIP_TRANSPORT"),
)
_LONGEST_NAME = 32
_LONGEST_LINE = 537
_PERMISSIONS = frozenset(("", "R", "RW", "!", "!R", "!RW"))


# KX-HDV, KX-UT and KX-TGP: `NAME="value"` (KX-UT123 administrator guide, section 2.4)


def _reader(header: str) -> Callable[[bytes], dict[str, str]]:
    def settings(body: bytes) -> dict[str, str]:
        text = body.decode("utf-8")
        if not text.startswith(header):
            raise ValueError(f"the file does not begin with {header}")
        if not text.endswith("\r\n\r\n"):
            raise ValueError("the file does not end with an empty line")
        lines = text.split("\r\n")
        # splitlines() ends a line wherever any reader might.
        if lines[:-1] != text.splitlines():
            raise ValueError("a line ends with something other than CR LF")
        found: dict[str, str] = {}
        for position, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None or len(match[1]) > _LONGEST_NAME:
                raise ValueError(f'line {position} is no NAME="value"')
            put(found, match[1], match[2])
        return found

    return settings


def _boot(read: Callable[[bytes], dict[str, str]]) -> Callable[[Handset], Boot]:
    def taken(body: bytes) -> dict[str, str]:
        # The phone passes over a longer line without a word.
        if any(len(line) + 2 > _LONGEST_LINE for line in body.split(b"\r\n")):
            raise ValueError(f"a line is longer than {_LONGEST_LINE} bytes")
        return read(body)

    def boot(phone: Handset) -> Boot:
        """The file that it was sent to, then those that this one names; the first value of a parameter holds."""
        asked = _expanded(phone.url, phone.mac, phone.model)
        answer = yield Ask(asked, own=phone.mac in asked.lower())
        merged = taken(answer.body) if answer.status == 200 else {}
        standard = _expanded(merged.get("CFG_STANDARD_FILE_PATH", ""), phone.mac, phone.model)
        if standard and standard != asked:
            answer = yield Ask(standard, own=True)
            merged |= taken(answer.body)
        for name in ("CFG_PRODUCT_FILE_PATH", "CFG_MASTER_FILE_PATH"):
            if path := _expanded(merged.get(name, ""), phone.mac, phone.model):
                answer = yield Ask(path)
                if answer.status == 200:
                    merged = taken(answer.body) | merged
        return configuration(merged)

    return boot


def _expanded(url: str, mac: Mac, model: str) -> str:
    """Case matters in a macro, and an unknown one is text (KX-HDV230 administrator guide, section 2.1.3)."""
    for macro, value in (("{mac}", mac), ("{MAC}", mac.upper()), ("{MODEL}", model), ("{fwver}", _FIRMWARE)):
        url = url.replace(macro, value)
    return url


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"PHONE_NUMBER_(\d+)", found):
        enabled = known(
            {"Enabled": "1", "Disabled": ""}, found.get(f"LINE_ENABLE_{slot}", "Enabled"), f"LINE_ENABLE_{slot}"
        )
        line = _line(slot, {name: found.get(f"{name}_{slot}", "") for name in _OF_LINE})
        if enabled and line is not None:
            lines.append(line)
    url = found.get("CFG_STANDARD_FILE_PATH")
    return _with_lines(found, lines, url)


def _line(slot: int, its: Mapping[str, str]) -> ReadLine | None:
    if not its["PHONE_NUMBER"] or not its["SIP_RGSTR_ADDR"]:
        return None
    transport = known(_TRANSPORTS, its["SIP_TRANSPORT"], f"SIP_TRANSPORT_{slot}")
    default_port = "5061" if transport == "tls" else "5060"
    proxy = its["SIP_OUTPROXY_ADDR"]
    return ReadLine(
        slot=slot,
        username=its["SIP_AUTHID"],
        password=its["SIP_PASS"],
        domain=join(its["SIP_RGSTR_ADDR"], its["SIP_RGSTR_PORT"], default_port),
        outbound_proxy=join(proxy, its["SIP_OUTPROXY_PORT"], default_port) if proxy else "",
        transport=transport,
        display_name=its["DISPLAY_NAME"],
    )


def _with_lines(found: Mapping[str, str], lines: list[ReadLine], url: str | None) -> ReadConfiguration:
    # A time of day switches the interval off.
    polls = found.get("CFG_CYCLIC") == "Y" and not found.get("CFG_RESYNC_TIME")
    upgrades = found.get("FIRM_UPGRADE_ENABLE") == "Y"
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=url or None,
        firmware_url=(found.get("FIRM_FILE_PATH") or None) if upgrades else None,
        poll_minutes=number(found.get("CFG_CYCLIC_INTVL"), "CFG_CYCLIC_INTVL") if polls else None,
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    """It minds the one event that it was told, and none as it leaves the factory."""
    wanted = found.get("CFG_RESYNC_FROM_SIP", "")
    return "fetch" if wanted and event.strip().lower() == wanted.lower() else None


# KX-UTG: XML (KX-UTG200 administrator guide, section 2.4)


def utg_settings(body: bytes) -> dict[str, str]:
    """`NTP_ADDR`, and `SIP_AUTHID[1]` of a line."""
    root = xml(body)
    if root.tag != "PANASIPPhoneConfig":
        raise ValueError(f"the root is <{root.tag}>, not <PANASIPPhoneConfig>")
    found: dict[str, str] = {}
    for part in root:
        if part.tag not in ("Initial", "Device"):
            raise ValueError(f"<{part.tag}> is no part of <PANASIPPhoneConfig>")
        for group in part:
            for section in group:
                index = section.get("idx") if section.tag == "Line" else None
                for inner in section if index else [section]:
                    for element in inner:
                        if len(element):
                            raise ValueError(f"<{element.tag}> holds an element where a value belongs")
                        if element.get("perm", "") not in _PERMISSIONS:
                            raise ValueError(f"<{element.tag}> has an unknown perm")
                        put(found, f"{element.tag}[{index}]" if index else element.tag, element.text or "")
    return found


def utg_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"LINE_ENABLE\[(\d+)\]", found):
        if known({"Yes": "1", "No": ""}, found[f"LINE_ENABLE[{slot}]"], f"LINE_ENABLE[{slot}]"):
            line = _line(slot, {name: found.get(f"{name}[{slot}]", "") for name in _OF_LINE})
            if line is not None:
                lines.append(line)
    return _with_lines(found, lines, found.get("USR_PROV_SVR_URL"))


def utg_boot(phone: Handset) -> Boot:
    url = _expanded(phone.url, phone.mac, phone.model)
    answer = yield Ask(url, own=True)
    body = answer.body
    if url.endswith(".enc"):
        body = utg_decrypted(body, phone.held.settings if phone.held else {})
    return utg_configuration(utg_settings(body))


def utg_decrypted(body: bytes, found: Mapping[str, str]) -> bytes:
    """Of a file called `.enc`: what `openssl enc -a` made with the key that it was told (guide p. 48)."""
    key, bits = found.get("CFG_FILE_KEY", ""), found.get("CFG_FILE_KEY_LENGTH", "")
    if len(key) != 32:
        raise ValueError("the file is encrypted, and the phone has no key of 32 characters")
    if bits != "256":
        raise ValueError(f"CFG_FILE_KEY_LENGTH is {bits!r}, not 256")
    try:
        sealed = base64.b64decode(b"".join(body.split(b"\n")), validate=True)
    except binascii.Error:
        raise ValueError("the file is no base64") from None
    return decryption.openssl(sealed, key)


def utg_oracle_name(key: str) -> str:
    """The other series count a parameter's line behind its name: `SIP_AUTHID_1`."""
    name, bracket, _ = key.partition("[")
    return f"{hashed(name) if not bracket else name}{'_#' if bracket else ''}"


def _agent(phone: Handset) -> str:
    return f"Panasonic_{phone.model}/{_FIRMWARE} ({phone.mac})"


def _text_dialect(header: str) -> Dialect:
    read = _reader(header)
    return Dialect(
        boot=_boot(read), settings=read, configuration=configuration, http_agent=_agent, sip_agent=_agent, told=told
    )


DIALECTS = {
    "hdv": _text_dialect(_STANDARD),
    "ut": _text_dialect(_STANDARD),
    "tgp5": _text_dialect(_PCC),
    "utg": Dialect(
        boot=utg_boot,
        settings=utg_settings,
        configuration=utg_configuration,
        http_agent=_agent,
        sip_agent=_agent,
        told=told,
        oracle_name=utg_oracle_name,
    ),
}
