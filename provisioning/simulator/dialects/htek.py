"""Htek desk phones."""

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
    known,
    number,
    put,
    xml,
)

_TRANSPORTS = {"0": "udp", "1": "tcp", "2": "tls"}
_P_VALUE = re.compile(r"P[1-9][0-9]{0,4}", re.ASCII)
# The code that a model's first file is named by (Device Information for Provisioning).
_CODES = {
    "UC926": "0010",
    "UC926E": "0110",
    "UC924": "0012",
    "UC924E": "0112",
    "UC923": "0013",
    "UC903": "0016",
    "UC902": "0017",
    "UC912": "0019",
    "UC912E": "0019",
    "UC912G": "0019",
    "UC862": "0000",
    "UC842": "0001",
    "UC860": "0002",
    "UC840": "0003",
    "UC806": "0004",
    "UC806T": "0041",
    "UC804": "0005",
    "UC804T": "0051",
    "UC803": "0006",
    "UC803T": "0006",
    "UC802": "0007",
    "UC802T": "0007",
}
# active, server, outbound proxy, transport, user, password, name, profile
_ACCOUNTS = (
    (271, 47, 48, 130, 35, 34, 3, 24082),
    (401, 747, 748, 830, 735, 734, 703, 24083),
    (501, 502, 503, 930, 504, 506, 507, 24084),
    (601, 602, 603, 1030, 604, 606, 607, 24085),
)


def boot(phone: Handset) -> Boot:
    """One edition of the vendor's page has a phone stop at the first file that it gets; this one does."""
    base = phone.url.rstrip("/")
    answer = yield Ask(f"{base}/cfg{_CODES.get(phone.model, '0010')}.xml")
    if answer.status == 200:
        return configuration(settings(answer.body))
    answer = yield Ask(f"{base}/cfg{phone.mac}")
    if answer.status == 200:
        raise ValueError("the private file is not of this vendor's own making")
    answer = yield Ask(f"{base}/cfg{phone.mac}.xml", own=True)
    return configuration(settings(answer.body))


def settings(body: bytes) -> dict[str, str]:
    root = xml(body)
    if root.tag != "hl_provision" or root.get("version") != "1":
        raise ValueError(f'the root is <{root.tag} version="{root.get("version")}">, not <hl_provision version="1">')
    if [child.tag for child in root] != ["config"] or root[0].get("version") != "1":
        raise ValueError('<hl_provision> holds something other than one <config version="1">')
    found: dict[str, str] = {}
    for element in root[0]:
        if _P_VALUE.fullmatch(element.tag) is None or set(element.keys()) - {"para"}:
            raise ValueError(f"<{element.tag}> is no P-value")
        if len(element):
            raise ValueError(f"<{element.tag}> holds an element where a value belongs")
        put(found, element.tag, element.text or "")
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot, keys in enumerate(_ACCOUNTS, 1):
        active, _, _, _, user, password, name, profile = (found.get(f"P{key}", "") for key in keys)
        if active != "1" or not user:
            continue
        # Older firmware knows no profiles, and reads the account's own numbers: both must say the same.
        if profile and profile != str(slot - 1):
            raise ValueError(f"P{keys[7]} points to another account's server")
        server, proxy, transport = (found.get(f"P{key}", "") for key in keys[1:4])
        if server:
            means = known(_TRANSPORTS, transport, f"P{keys[3]}")
            lines.append(ReadLine(slot, user, password, server, proxy, means, name))
    scheme = {"1": "http", "3": "https"}.get(found.get("P212", ""), "")
    path = found.get("P237", "")
    if path and not path.startswith(f"{scheme}://"):
        raise ValueError(f"P237 is {path!r}, which is not by {scheme or 'P212'}")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=f"{path}/" if path else None,
        firmware_url=found.get("P192") or None,
        poll_minutes=number(found.get("P193"), "P193") if found.get("P194") == "1" else None,
        phonebook_url=found.get("P4401") or None,
    )


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "PhoneDirectory":
        raise ValueError(f"the root is <{root.tag}>, not <PhoneDirectory>")
    return tuple(
        ReadContact(entry.findtext("Name") or "", tuple(item.text or "" for item in entry.iter("Telephone")))
        for entry in root.iter("DirectoryEntry")
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    if found.get("P24012", "1") != "1":
        return "nothing"
    package, _, parameter = (part.strip().lower() for part in event.partition(";"))
    if package == "resync":
        return "fetch"
    if package == "check-sync":
        return "reboot" if parameter == "reboot=true" else "fetch"
    return None


DIALECTS = {
    "uc": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"Htek {phone.model} 2.0.4.6.41 {macs.spelled(phone.mac).lower()}",
        sip_agent=lambda phone: f"Htek {phone.model} V2.0.4.6.41",
        contacts=contacts,
        told=told,
        challenges=lambda found: found.get("P20983") == "1",
        oracle_name=str,
    )
}
