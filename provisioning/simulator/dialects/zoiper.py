"""Zoiper: fetches when it is started, and is never told."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from provisioning.simulator.dialects.base import (
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    indexes,
    known,
    put,
    xml,
)

_TRANSPORTS = {"": "udp", "udp": "udp", "tcp": "tcp", "tls": "tls"}
_BOOLEANS = {"": False, "false": False, "0": False, "true": True, "1": True}


def boot(phone: Handset) -> Boot:
    # Its user's name and password, of which it knows none here, and the version of the format.
    answer = yield Ask(f"{phone.url}?u=&p=&v=1.12", own=True)
    return configuration(settings(answer.body))


def settings(body: bytes) -> dict[str, str]:
    """`prov_version`, `accounts/1/username`, `accounts/1/codecs/2/codec_id`: the items of a list count from 1."""
    root = xml(body)
    if root.tag != "options":
        raise ValueError(f"the root is <{root.tag}>, not <options>")
    found: dict[str, str] = {}
    _walk(root, "", found)
    return found


def _walk(parent: ET.Element, above: str, found: dict[str, str]) -> None:
    items = 0
    for node in parent:
        name = node.tag
        if node.tag in ("account", "codec"):
            if parent.tag != f"{node.tag}s":
                raise ValueError(f"<{node.tag}> stands outside <{node.tag}s>")
            items += 1
            name = str(items)
        if len(node):
            if node.tag in ("accounts", "codecs") and any(child.tag != node.tag[:-1] for child in node):
                raise ValueError(f"<{node.tag}> holds something other than <{node.tag[:-1]}>")
            _walk(node, f"{above}{name}/", found)
        else:
            put(found, f"{above}{name}", node.text or "")


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    seen: set[str] = set()
    for slot in indexes(r"accounts/(\d+)/ident", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"accounts/{slot}/{name}", "")

        if get("ident") in seen:
            raise ValueError(f"the ident {get('ident')!r} is there twice")
        seen.add(get("ident"))
        if not get("username") or not get("SIP_domain"):
            continue
        if get("protocol") != "sip":
            raise ValueError(f"protocol is {get('protocol')!r}; this is no SIP account")
        proxied = _BOOLEANS.get(get("SIP_use_outbound_proxy"))
        if proxied is None:
            raise ValueError("SIP_use_outbound_proxy is neither true nor false")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("username"),
                password=get("password"),
                domain=get("SIP_domain"),
                outbound_proxy=get("SIP_outbound_proxy") if proxied else "",
                transport=known(_TRANSPORTS, get("SIP_transport_type"), "SIP_transport_type"),
                display_name=get("SIP_callerId"),
            )
        )
    return ReadConfiguration(
        settings=found, lines=tuple(lines), provisioning_url=None, firmware_url=None, poll_minutes=None
    )


DIALECTS = {
    "softphone": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda _: "Zoiper/5.6.4",
        sip_agent=lambda _: "Z 5.6.4 v2.10.20.4",
        told=lambda *_: "nothing",
        oracle_name=lambda key: key.rpartition("/")[2],
        keeps_polling=False,
    )
}
