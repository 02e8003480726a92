"""Linphone, as measured with 5.1.65: fetches at start only, follows no redirect, answers 200 to any event."""

import re
from collections.abc import Mapping

from provisioning.simulator.dialects.base import (
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    hashed,
    indexes,
    put,
    xml,
)

_LPCONFIG = "{http://www.linphone.org/xsds/lpconfig.xsd}"
_IDENTITY = re.compile(r'(?:"((?:[^"\\]|\\.)*)"\s*)?<sip:([^@>]+)@([^>;]+)>', re.DOTALL)


def boot(phone: Handset) -> Boot:
    answer = yield Ask(phone.url, own=True)
    return configuration(settings(answer.body))


def settings(body: bytes) -> dict[str, str]:
    """`proxy_0/reg_proxy`."""
    root = xml(body)
    if root.tag != f"{_LPCONFIG}config":
        raise ValueError(f"the root is <{root.tag}>, not <config> of lpconfig.xsd")
    found: dict[str, str] = {}
    for section in root:
        name = section.get("name")
        if section.tag != f"{_LPCONFIG}section" or not name:
            raise ValueError("<config> holds something other than named sections")
        for entry in section:
            key = entry.get("name")
            if entry.tag != f"{_LPCONFIG}entry" or not key or len(entry):
                raise ValueError(f"section {name} holds something other than named entries")
            put(found, f"{name}/{key}", entry.text or "")
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for index in indexes(r"proxy_(\d+)/reg_identity", found):
        proxy, auth = f"proxy_{index}/", f"auth_info_{index}/"
        identity, server = found[f"{proxy}reg_identity"], found.get(f"{proxy}reg_proxy", "")
        # Without both, Linphone 5.1.65 drops the account when it loads its configuration.
        if not identity or not server or found.get(f"{proxy}reg_sendregister") != "1":
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
                password=found.get(f"{auth}passwd", ""),
                domain=domain,
                outbound_proxy="" if host == domain else host,
                transport=transport or "udp",
                display_name=re.sub(r"\\(.)", r"\1", quoted or "", flags=re.DOTALL),
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("misc/config-uri") or None,
        firmware_url=None,
        poll_minutes=None,
    )


def oracle_name(key: str) -> str:
    section, _, entry = key.partition("/")
    return hashed(f"[{section}] {entry}")


DIALECTS = {
    "softphone": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: "Linphonec/5.1.65" if phone.held and phone.held.lines else "Unknown",
        sip_agent=lambda _: "Linphonec/5.1.65 (belle-sip/5.1.65)",
        told=lambda *_: "nothing",
        oracle_name=oracle_name,
        follows_redirects=False,
        keeps_polling=False,
        names_account=True,
    )
}
