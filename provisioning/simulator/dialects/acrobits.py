"""Acrobits softphones: one account, asked for at each start and from time to time."""

import re
from collections.abc import Mapping

from provisioning.simulator.dialects.base import (
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    known,
    number,
    put,
    xml,
)

_TRANSPORTS = {"": "udp", "udp": "udp", "tcp": "tcp", "tls": "tls", "tls+sip:": "tls"}
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)


def boot(phone: Handset) -> Boot:
    answer = yield Ask(phone.url, own=True)
    found = settings(answer.body)
    # Merged: a node that is not there keeps its value.
    held = phone.held.settings if phone.held else {}
    return configuration({**held, **found})


def settings(body: bytes) -> dict[str, str]:
    root = xml(body)
    if root.tag != "account":
        raise ValueError(f"the root is <{root.tag}>, not <account>")
    found: dict[str, str] = {}
    for node in root:
        if len(node):
            raise ValueError(f"<{node.tag}> holds a node where a value belongs")
        put(found, node.tag, node.text or "")
    if found.get("title") == "":
        raise ValueError("an account without a title is not saved")
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    if found.get("username") and found.get("host"):
        for key in ("host", "proxy"):
            if found.get(key) and _HOST.fullmatch(found[key]) is None:
                raise ValueError(f"<{key}> is no host")
        lines.append(
            ReadLine(
                slot=1,
                username=found["username"],
                password=found.get("password", ""),
                domain=found["host"],
                outbound_proxy=found.get("proxy", ""),
                transport=known(_TRANSPORTS, found.get("transport", ""), "transport"),
                display_name=found.get("userDisplayName", ""),
            )
        )
    seconds = number(found.get("extProvInterval"), "extProvInterval")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("extProvUrl") or None,
        firmware_url=None,
        poll_minutes=seconds // 60 if seconds else None,
    )


DIALECTS = {
    "softphone": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"{phone.model}/1.5.6",
        sip_agent=lambda phone: f"{phone.model}/1.5.6",
        told=lambda *_: "nothing",
        oracle_name=lambda key: key,
    )
}
