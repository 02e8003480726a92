"""Poly phones: UC Software, and SIP 3 before it."""

import re
from collections.abc import Mapping
from itertools import groupby
from urllib.parse import urljoin

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
    xml,
)

_MASTER = "APPLICATION"
_TRANSPORTS = {"": "udp", "DNSnaptr": "udp", "TCPpreferred": "tcp", "UDPOnly": "udp", "TCPOnly": "tcp", "TLS": "tls"}
_CATEGORIES = frozenset(("line", "blf", "speeddial", "presence", "efk", "unassigned"))
# Of CONFIG_FILES.
_LONGEST_NAME = 255
_LONGEST_LIST = 2047
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9_]+)+", re.ASCII)


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    yield Ask(f"{base}{phone.mac}-boot.log", method="PUT", body=b"0000000.000|boot|*|00|Initial log entry\n")
    master = yield Ask(f"{base}{phone.mac}.cfg")
    if master.status != 200:
        master = yield Ask(f"{base}000000000000.cfg")
    merged: dict[str, str] = {}
    for name in _files(phone, settings(master.body) if master.status == 200 else {}):
        answer = yield Ask(urljoin(base, name), own=name == f"{phone.mac}-settings.cfg")
        if answer.status == 200:
            # What the first file says, a later one does not change.
            merged = settings(answer.body) | merged
    for name in ("phone.cfg", "web.cfg"):
        answer = yield Ask(f"{base}{phone.mac}-{name}")
        if answer.status == 200:
            merged |= settings(answer.body)
    yield Ask(f"{base}000000000000-license.cfg")
    yield Ask(f"{base}{phone.mac}-license.cfg")
    yield Ask(f"{base}{phone.mac}-calls.xml")
    answer = yield Ask(f"{base}{phone.mac}-directory.xml")
    if answer.status == 200:
        contacts(answer.body)
    else:
        yield Ask(f"{base}000000000000-directory.xml")
    log = f"{base}{phone.mac}-app.log"
    yield Ask(log, method="HEAD")
    yield Ask(log, method="PUT", body=b"0000000.000|cfg|3|00|Prov|Configuration of URL is done\n")
    return configuration(merged)


def _files(phone: Handset, master: Mapping[str, str]) -> list[str]:
    listed = master.get("CONFIG_FILES", "")
    names = [
        name.strip()
        .replace("[PHONE_MAC_ADDRESS]", phone.mac)
        .replace("[PHONE_MODEL]", phone.model)
        .replace("[MACADDRESS]", phone.mac)
        for name in listed.split(",")
        if name.strip()
    ]
    if len(listed) > _LONGEST_LIST or any(len(name) > _LONGEST_NAME for name in names):
        raise ValueError("CONFIG_FILES is longer than a phone reads")
    return names


def settings(body: bytes) -> dict[str, str]:
    """The attributes of all elements, whatever these are called; of a master file those of <APPLICATION>."""
    root = xml(body)
    found: dict[str, str] = {}
    if root.tag == _MASTER:
        for key, value in root.items():
            put(found, key, value)
        return found
    for element in root.iter():
        if (element.text or "").strip() or (element.tail or "").strip():
            raise ValueError(f"<{element.tag}> holds text, which is no parameter")
        for key, value in element.items():
            if _PARAMETER.fullmatch(key) is None:
                raise ValueError(f"{key!r} is no parameter")
            put(found, key, value)
    for key in found:
        kept = key.startswith("device.") and not key.endswith(".set")
        if kept and (found.get("device.set"), found.get(f"{key}.set")) != ("1", "1"):
            raise ValueError(f"{key} is not taken: {key}.set is not 1")
    for position in indexes(r"lineKey\.(\d+)\.category", found):
        category = found[f"lineKey.{position}.category"]
        if category.lower() not in _CATEGORIES:
            raise ValueError(f"lineKey.{position}.category is {category!r}")
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"reg\.(\d+)\.address", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"reg.{slot}.{name}", "")

        if not get("address"):
            continue
        transport = known(_TRANSPORTS, get("server.1.transport"), f"reg.{slot}.server.1.transport")
        default_port = "5061" if transport == "tls" else "5060"
        username, at, domain = get("address").partition("@")
        lines.append(
            ReadLine(
                slot=slot,
                username=username,
                password=get("auth.password"),
                domain=domain if at else join(get("server.1.address"), get("server.1.port"), default_port),
                outbound_proxy=join(get("outboundProxy.address"), get("outboundProxy.port"), default_port),
                transport=transport,
                display_name=get("displayName"),
            )
        )
    seconds = number(found.get("prov.polling.period"), "prov.polling.period")
    if seconds is not None and seconds <= 3600:
        raise ValueError(f"prov.polling.period is {seconds}; it is more than 3600")
    server = found.get("device.prov.serverName")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=server or None,
        firmware_url=found.get("APP_FILE_PATH") or None,
        poll_minutes=seconds // 60 if seconds and found.get("prov.polling.enabled") == "1" else None,
        # Asked for by its name, in the directory of the URL.
        phonebook_url=None,
    )


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "directory" or [child.tag for child in root] != ["item_list"]:
        raise ValueError("this is no <directory> with an <item_list>")
    items = []
    for item in root.iter("item"):
        if not item.findtext("ct"):
            raise ValueError("a contact has no <ct>")
        parts = (item.findtext("fn") or "", item.findtext("ln") or "")
        items.append((" ".join(part for part in parts if part), item.findtext("ct") or ""))
    return tuple(
        ReadContact(name, tuple(contact for _, contact in same)) for name, same in groupby(items, lambda item: item[0])
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    """What is done is configured, and not told: parameters of the event mean nothing to it."""
    if event.partition(";")[0].strip().lower() != "check-sync":
        return None
    return "reboot" if found.get("voIpProt.SIP.specialEvent.checkSync.alwaysReboot") == "1" else "fetch"


def challenges(found: Mapping[str, str]) -> bool:
    return found.get("voIpProt.SIP.requestValidation.1.method", "").lower() == "digest"


_SERIES = {
    "VVX": "PolycomVVX",
    "SPI": "PolycomSoundPointIP",
    "SSI": "PolycomSoundStationIP",
    "Tri": "PolycomRealPresenceTrio",
}


def _spelled(model: str) -> str:
    """`VVX_450` of `VVX450`, `SPIP_335` of `IP335`, `SSIP_5000` of `IP5000`, `Edge_E350` of `EdgeE350`."""
    match = re.fullmatch(r"(IP|VVX|CCX|Edge|Trio)(E?\d+)", model, re.ASCII | re.IGNORECASE)
    if match is None:
        return model
    series = {"EDGE": "Edge", "TRIO": "Trio", "IP": "SSIP" if int(match[2].strip("Ee")) >= 4000 else "SPIP"}
    return f"{series.get(match[1].upper(), match[1].upper())}_{match[2].upper()}"


def http_agent(phone: Handset) -> str:
    model = _spelled(phone.model)
    series = _SERIES.get(model[:3], f"Poly{model.partition('_')[0]}")
    held = phone.held.settings if phone.held else {}
    serial = f" (SN:{phone.mac})" if held.get("device.prov.tagSerialNo") == "1" else ""
    return f"FileTransport {series}-{model}-UA/6.4.6.2494{serial} Type/Application"


def sip_agent(phone: Handset) -> str:
    model = _spelled(phone.model)
    return f"{_SERIES.get(model[:3], 'Poly' + model.partition('_')[0])}-{model}-UA/6.4.6.2494"


_POLY = Dialect(
    boot=boot,
    settings=settings,
    configuration=configuration,
    http_agent=http_agent,
    sip_agent=sip_agent,
    contacts=contacts,
    told=told,
    challenges=challenges,
)
DIALECTS = {"ucs": _POLY, "sip3": _POLY}
