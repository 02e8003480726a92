"""Thomson and Technicolor desk phones: a .inf file says where the phone's own file is."""

import re
from collections.abc import Mapping

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
    check_sync,
    hashed,
    indexes,
    join,
    known,
    number,
    put,
    xml,
)

_SECTIONS = frozenset(
    (
        *("application", "config", "ipp", "net", "pstn", "sip", "snmp", "cwmp", "sys", "autoprovision"),
        *("qos", "ftp", "ntp", "pppoe", "stun", "upnp", "customer"),
    )
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "2": "tls"}
_KEY = re.compile(r"[LS]/<sip:[^<>;]*>", re.ASCII)


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    named = next((name for name in phone.common if name.endswith(".inf")), "ST2030S.inf")
    answer = yield Ask(f"{base}{named}")
    if answer.status != 200:
        raise ValueError(f"{named} does not say where the phone's own file is")
    directory = settings(answer.body).get("config", "")
    if not directory:
        raise ValueError(f"{named} names no directory")
    answer = yield Ask(f"{directory}{named.removesuffix('.inf')}_{phone.mac.upper()}.txt", own=True)
    found = settings(answer.body)
    serial = found.get("config_sn", "")
    if re.fullmatch(r"[0-9]{12}", serial, re.ASCII) is None:
        raise ValueError("config_sn is not 12 digits")
    if phone.held is not None and phone.held.settings.get("config_sn") == serial:
        # It has this file already, and does not look at what it says.
        return phone.held
    return configuration(found)


def settings(body: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    section = ""
    # Any byte is a letter of ISO-8859-1; what that makes of a letter's two bytes of UTF-8 is another name.
    for position, line in enumerate(re.split(r"\r\n|\r|\n", body.decode("iso-8859-1")), 1):
        text = line.strip(" \t")
        if not text or text.startswith(";"):
            continue
        if text.startswith("["):
            section = text[1:-1]
            if not text.endswith("]") or section not in _SECTIONS:
                raise ValueError(f"line {position} begins no section that the phone knows")
            continue
        if not section:
            raise ValueError(f"line {position} stands before any section")
        key, equals, value = text.partition("=")
        if not equals or _NAME.fullmatch(key) is None:
            raise ValueError(f"line {position} is no parameter=value")
        if key.startswith("FeatureKeyExt") and _KEY.fullmatch(value) is None:
            raise ValueError(f"{key} is no L/<sip:> or S/<sip:>")
        put(found, key, value.partition(";")[0].rstrip(" \t"))
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"TEL0(\d)Use", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"{name}{slot}", "")

        username = found.get(f"TEL{slot}Number", "")
        if found[f"TEL0{slot}Use"] != "1" or not username:
            continue
        transport = known(_TRANSPORTS, get("TransportFlgMP"), f"TransportFlgMP{slot}")
        default_port = "5061" if transport == "tls" else "5060"
        server = join(get("RegisterServerMP"), get("sip_reg_srv_portMP"), default_port)
        domain = get("ServiceDomainMP") or server
        proxy = "" if server == domain else server
        lines.append(ReadLine(slot, username, get("regpwd"), domain, proxy, transport, get("DisplayName")))
    days = number(found.get("AutoprovisionTimeDays"), "AutoprovisionTimeDays")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("AutoprovisionHTTPServer") or None,
        firmware_url=found.get("fwurl") or None,
        poll_minutes=days * 1440 if days else None,
        phonebook_url=found.get("Phonebook1_url") or None,
    )


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "ThomsonPhoneBook":
        raise ValueError(f"the root is <{root.tag}>, not <ThomsonPhoneBook>")
    found: list[ReadContact] = []
    for entry in root.iter("DirectoryEntry"):
        name, telephone = entry.findtext("Name") or "", entry.findtext("Telephone") or ""
        # An entry has one number: who has two stands there twice.
        if found and found[-1].name == name:
            found[-1] = ReadContact(name, (*found[-1].numbers, telephone))
        else:
            found.append(ReadContact(name, (telephone,)))
    return tuple(found)


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    return act if act is None or found.get("sw_notify_autoprovision") == "1" else "nothing"


def oracle_name(key: str) -> str:
    return re.sub(r"^TEL\d\d", "TEL##", key) if key.endswith("Use") else hashed(key)


def _agent(phone: Handset) -> str:
    name = phone.model.removesuffix("S")
    if name == "TB30":
        return "Thomson TB30 hw1 fw1.74.0"
    return f"THOMSON {name} {'hw2 fw4.68' if name == 'ST2022' else 'hw5 fw2.74'}"


DIALECTS = {
    "desk": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"{_agent(phone)} {macs.spelled(phone.mac).upper().replace(':', '-')}",
        sip_agent=_agent,
        contacts=contacts,
        told=told,
        oracle_name=oracle_name,
    )
}
