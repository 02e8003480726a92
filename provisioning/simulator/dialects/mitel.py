"""Mitel SIP phones, formerly Aastra. Pages: administrator guide 41-001343-02, if no other is named."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from provisioning.domain import mac as macs
from provisioning.simulator.dialects.base import (
    Act,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadContact,
    ReadLine,
    indexes,
    join,
    known,
    number,
    put,
)

_NAME = re.compile(r"[a-z][a-z0-9]*(?: [a-z0-9|\[\]-]+)*", re.ASCII)
_TRANSPORTS = {"": "udp", "1": "udp", "2": "tcp", "4": "tls"}
_UNSET = ("", "0.0.0.0")  # noqa: S104  the factory's word for no server
_CLOCK = re.compile(r"[0-2][0-9][:h][0-5][0-9]", re.ASCII)
_DAY = 1440
# Digits only; what it cannot take it answers with its default (Password Settings, Appendix A).
_HIGHEST_PASSWORD = 4294967295


def _boot_from(common: str) -> Callable[[Handset], Boot]:
    def boot(phone: Handset) -> Boot:
        base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
        # Without the vendor's key file it takes the plain files.
        yield Ask(f"{base}security.tuz")
        merged: dict[str, str] = {}
        for name in (common, f"{_model(phone)}.cfg"):
            answer = yield Ask(f"{base}{name}")
            if answer.status == 200:
                merged |= settings(answer.body)
        answer = yield Ask(f"{base}{phone.mac.upper()}.cfg", own=True)
        merged |= settings(answer.body)
        found = configuration(merged)
        if found.firmware_url is None:
            return found
        return replace(found, firmware_url=f"{found.firmware_url}/{_model(phone)}.st")

    return boot


def settings(body: bytes) -> dict[str, str]:
    """By name, without the mark before it."""
    found: dict[str, str] = {}
    # splitlines() ends a line wherever any reader might.
    for position, line in enumerate(body.decode("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, value = text.partition(":")
        name = name.removeprefix("!").removeprefix("^")
        if not colon or _NAME.fullmatch(name) is None:
            raise ValueError(f"line {position} is no parameter: value")
        put(found, name, _value(value.strip(), position))
    return found


def _value(text: str, position: int) -> str:
    if not text.startswith('"'):
        if '"' in text:
            raise ValueError(f"line {position} has a quote in the middle of a value")
        return text.partition("#")[0].rstrip()
    if len(text) < 2 or not text.endswith('"') or '"' in text[1:-1]:
        raise ValueError(f"line {position} is not quoted as a whole")
    return text[1:-1]


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    for name in ("admin password", "user password"):
        if (number(found.get(name) or None, name) or 0) > _HIGHEST_PASSWORD:
            raise ValueError(f"{name} is more than {_HIGHEST_PASSWORD}, so the phone has its default")
    transport = known(_TRANSPORTS, found.get("sip transport protocol", ""), "sip transport protocol")
    default_port = "5061" if transport == "tls" else "5060"
    lines = []
    for slot in indexes(r"sip line(\d+) user name", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"sip line{slot} {name}", "")

        # Without a registrar it does not register (release 2.1, p. A-58).
        if not get("user name") or get("registrar ip") in _UNSET:
            continue
        proxy = get("outbound proxy")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("auth name"),
                password=get("password"),
                domain=join(get("registrar ip"), get("registrar port"), default_port),
                outbound_proxy="" if proxy in _UNSET else join(proxy, get("outbound proxy port"), default_port),
                transport=transport,
                display_name=get("display name"),
            )
        )
    url = _url(found)
    directory = found.get("directory 1")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=url,
        firmware_url=found.get("firmware server") or None,
        poll_minutes=_poll(found),
        phonebook_url=f"{url}{directory}" if url and directory else None,
    )


def _url(found: Mapping[str, str]) -> str | None:
    if "download protocol" not in found:
        return None
    scheme = known({"HTTP": "http", "HTTPS": "https"}, found["download protocol"], "download protocol")
    host, path = found.get(f"{scheme} server", ""), found.get(f"{scheme} path", "").strip("/")
    if not host:
        raise ValueError(f"there is no {scheme} server")
    server = join(host, found.get(f"{scheme} port", ""), "443" if scheme == "https" else "80")
    return f"{scheme}://{server}/{path}/" if path else f"{scheme}://{server}/"


def _poll(found: Mapping[str, str]) -> int | None:
    """Once a day at a time, or every so many days."""
    mode = known({"0": "", "1": "files", "2": "", "3": "files"}, found.get("auto resync mode", "0"), "auto resync mode")
    if not mode:
        return None
    at = found.get("auto resync time", "00:00")
    # The one on a phone that speaks French or Spanish, the other on all others (p. A-22 and the release notes).
    wanted = "h" if found.get("language 1", "").startswith(("lang_fr", "lang_es")) else ":"
    if _CLOCK.fullmatch(at) is None or at[2] != wanted:
        raise ValueError(f"auto resync time is {at!r}, which this phone does not read")
    return max(1, number(found.get("auto resync days", "0"), "auto resync days") or 0) * _DAY


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    """`name, number, line, mode`: entries of one name are one contact (p. 5-230)."""
    found: dict[str, list[str]] = {}
    lines = (line for line in body.decode("utf-8").splitlines() if line.strip() and not line.startswith("#"))
    for row in csv.reader(lines, strict=True, skipinitialspace=True):
        if len(row) < 2 or not row[0] or not row[1]:
            raise ValueError("an entry of the directory has no name or no number")
        found.setdefault(row[0], []).append(row[1])
    return tuple(ReadContact(name, tuple(numbers)) for name, numbers in found.items())


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    """It fetches at any check-sync, whatever stands behind it, and restarts if a file has changed."""
    return "fetch" if event.partition(";")[0].strip().lower() == "check-sync" else None


def _model(phone: Handset) -> str:
    """`6867i`, `6757iCT`, `6920w`: capitals only in a cordless one."""
    return phone.model.lower().replace("ct", "CT")


def _brand(phone: Handset) -> tuple[str, str]:
    if phone.model.startswith("69"):
        return "Mitel", "6.4.0.140"
    return "Aastra", "4.1.0.128" if phone.model.startswith("68") else "3.2.2.6038"


def _http_agent(phone: Handset) -> str:
    brand, firmware = _brand(phone)
    return f"{brand}{_model(phone)} MAC:{macs.spelled(phone.mac).replace(':', '-')} V:{firmware}-SIP"


def _sip_agent(phone: Handset) -> str:
    brand, firmware = _brand(phone)
    return f"{brand} {_model(phone)}/{firmware}"


def _dialect(common: str) -> Dialect:
    return Dialect(
        boot=_boot_from(common),
        settings=settings,
        configuration=configuration,
        http_agent=_http_agent,
        sip_agent=_sip_agent,
        contacts=contacts,
        told=told,
    )


DIALECTS = {"desk": _dialect("startup.cfg"), "aastra": _dialect("aastra.cfg"), "first": _dialect("aastra.cfg")}
