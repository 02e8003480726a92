"""Phones of LG-Nortel and LG-Ericsson with SIP firmware: `[SECTION]`, `name value ;comment`."""

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
    known,
    number,
    put,
)

_LONGEST = 50
"Characters of a line's name, authname, password and displayname."
_COMMENT = re.compile(r"(?:^|[ \t]);.*")
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_SWITCH = {"enable": "enable", "disable": "disable"}
_TYPES = {"": "private", "private": "private", "shared": "shared", "dss": "dss", "service": "service"}


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    shared = next((name for name in phone.common if name.startswith("sysconf_")), "sysconf_8820_sip.cfg")
    digits = shared.removeprefix("sysconf_").removesuffix("_sip.cfg")
    merged: dict[str, str] = {}
    answer = yield Ask(f"{base}{shared}")
    if answer.status == 200:
        merged |= settings(answer.body)
    answer = yield Ask(f"{base}{phone.mac}", own=True)
    merged |= settings(answer.body)
    # Then the software: without the file that names a version it keeps what it has.
    if digits == "8002":
        yield Ask(f"{base}{phone.mac}/IP_8002_VER_SIP2")
    yield Ask(f"{base}IP_{digits}_VER_SIP2")
    return configuration(merged)


def settings(body: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    section = ""
    # splitlines() ends a line wherever any reader might.
    for position, line in enumerate(body.decode("utf-8").splitlines(), 1):
        text = _COMMENT.sub("", line).strip()
        if not text:
            continue
        if text.startswith("["):
            section = text[1:-1]
            if re.fullmatch(r"\[[A-Z]+\]", text, re.ASCII) is None:
                raise ValueError(f"line {position} begins no section")
            continue
        if not section:
            raise ValueError(f"line {position} stands before any section")
        key, _, value = text.partition(" ")
        if key in ("function", "vsc"):
            which, _, value = value.strip().partition(" ")
            key = f"{key} {which}"
        if _NAME.fullmatch(key.partition(" ")[0]) is None:
            raise ValueError(f"line {position} is no name and value")
        put(found, key, value.strip())
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    number(found.get("timer_register_expires"), "timer_register_expires")
    lines = []
    for slot in indexes(r"line(\d+)_type", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"line{slot}_{name}", "")

        if known(_TYPES, get("type"), f"line{slot}_type") not in ("private", "shared"):
            continue
        if known(_SWITCH, get("registration") or "enable", f"line{slot}_registration") != "enable" or not get("name"):
            continue
        if any(len(get(name)) > _LONGEST for name in ("name", "authname", "displayname")):
            raise ValueError(f"line {slot} has a value of more than {_LONGEST} characters")
        port = number(get("proxy_port") or "5060", f"line{slot}_proxy_port")
        server = join(get("proxy_address"), str(port), "5060")
        lines.append(ReadLine(slot, get("name"), get("password"), server, "", "udp", get("displayname")))
    return ReadConfiguration(
        settings=found, lines=tuple(lines), provisioning_url=None, firmware_url=None, poll_minutes=None
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    # It restarts, and fetches when it is up again.
    return None if check_sync(event, body, found) is None else "reboot"


DIALECTS = {
    "sip": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        # What it sends is not stated in the guides.
        http_agent=lambda phone: f"LG-Ericsson {phone.model}",
        sip_agent=lambda phone: f"LG-Ericsson {phone.model}",
        told=told,
        keeps_polling=False,
    )
}
