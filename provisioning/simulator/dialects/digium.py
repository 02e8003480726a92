"""Digium phones of the D series: one XML file of settings and accounts."""

import re
from collections.abc import Mapping

from provisioning.simulator.dialects.base import (
    Act,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    check_sync,
    indexes,
    join,
    put,
    xml,
)

_TRANSPORTS = ("udp", "tcp", "tls")
_HOSTS = ("host_primary", "host_alternate")
_MAP = r"(?:[0-9x*#.]|\[[0-9-]+\])+(?:T[0-9]*)?"
_PLAN = re.compile(rf"(?:{_MAP}(?:\|{_MAP})*)?", re.ASCII)


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    answer = yield Ask(f"{base}{phone.mac}.cfg", own=True)
    return configuration(settings(answer.body))


def settings(body: bytes) -> dict[str, str]:
    """`setting login_password`, `account[0].username`, `account[0].host_primary.server`."""
    root = xml(body)
    if root.tag != "config":
        raise ValueError(f"the root is <{root.tag}>, not <config>")
    found: dict[str, str] = {}
    for element in root:
        if element.tag == "setting":
            key, value = element.get("id"), element.get("value")
            if not key or value is None:
                raise ValueError("a <setting> has no id or no value")
            put(found, f"setting {key}", value)
        elif element.tag != "accounts":
            raise ValueError(f"<{element.tag}> is no element of <config>")
        else:
            for account in element:
                index = account.get("index", "")
                if account.tag != "account" or not index.isascii() or not index.isdigit():
                    raise ValueError("<accounts> holds something other than numbered accounts")
                for name, value in account.items():
                    put(found, f"account[{index}].{name}", value)
                for host in account:
                    if host.tag not in _HOSTS:
                        raise ValueError(f"<{host.tag}> is no host of an account")
                    for name, value in host.items():
                        put(found, f"account[{index}].{host.tag}.{name}", value)
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for index in indexes(r"account\[(\d+)\]\.index", found):

        def get(name: str, index: int = index) -> str:
            return found.get(f"account[{index}].{name}", "")

        if get("status") != "1" or get("register") != "1" or not get("username"):
            continue
        if _PLAN.fullmatch(get("dial_plan")) is None:
            raise ValueError(f"account {index} has a dial plan that the phone cannot read")
        transport = get("host_primary.transport") or "udp"
        if transport not in _TRANSPORTS:
            raise ValueError(f"account {index} has the transport {transport!r}")
        default_port = "5061" if transport == "tls" else "5060"
        lines.append(
            ReadLine(
                slot=index + 1,
                username=get("username"),
                password=get("password"),
                domain=join(get("host_primary.server"), get("host_primary.port"), default_port),
                outbound_proxy=join(get("outbound_proxy"), get("outbound_port"), default_port),
                transport=transport,
                display_name=get("caller_id"),
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("setting config_server_url") or None,
        firmware_url=None,
        poll_minutes=None,
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    return None if check_sync(event, body, found) is None else "fetch"


def oracle_name(key: str) -> str:
    """The list has the attributes; a setting's id is one's value."""
    return key if key.startswith("setting ") else key.rpartition(".")[2]


DIALECTS = {
    "d-series": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        # Model and firmware, as the guide says; how they are spelled it does not.
        http_agent=lambda phone: f"Digium {phone.model} 2_8_1",
        sip_agent=lambda phone: f"Digium {phone.model} 2_8_1",
        told=told,
        oracle_name=oracle_name,
        keeps_polling=False,
    )
}
