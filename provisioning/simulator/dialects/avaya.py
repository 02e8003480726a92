"""Avaya J100 phones: a script names the phone's own file; both are lines of SET, GET, IF and GOTO."""

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
    join,
    number,
    put,
)

_SCRIPT = "J100Supgrade.txt"
_SET = re.compile(r'SET ([A-Z][A-Z0-9_]*) (?:"([^"]*)"|([^ "]+))', re.ASCII)
_GET = re.compile(r"GET ([A-Za-z0-9$._-]+)", re.ASCII)
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:;,]+):([0-9]+);transport=(udp|tcp|tls)", re.ASCII)


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    answer = yield Ask(f"{base}{_SCRIPT}")
    if answer.status != 200:
        raise ValueError(f"{_SCRIPT} does not name the phone's own file")
    named = [match[1] for line in _lines(answer.body) if (match := _GET.fullmatch(line))]
    if not named:
        raise ValueError(f"{_SCRIPT} gets no file")
    answer = yield Ask(f"{base}{named[0].replace('$MACADDR', phone.mac)}", own=True)
    return configuration(settings(answer.body))


def _lines(body: bytes) -> list[str]:
    # splitlines() ends a line wherever any reader might.
    return [text for line in body.decode("utf-8").splitlines() if (text := line.strip()) and not text.startswith("#")]


def settings(body: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in _lines(body):
        if _GET.fullmatch(text):
            continue
        match = _SET.fullmatch(text)
        if match is None:
            raise ValueError("a line is neither SET with a name and a value nor GET")
        name, in_quotes, bare = match.groups()
        put(found, name, bare or in_quotes or "")
    return found


def _good(password: str) -> bool:
    """For its web page: J100 guide R4.1.x."""
    kinds = "".join("0" if c.isdigit() else "A" if c.isupper() else "a" if c.islower() else "-" for c in password)
    return (
        8 <= len(password) <= 31
        and "0" in kinds
        and "-" in kinds
        and kinds.strip("0-") != ""
        and re.search(r"(.)\1{4}", kinds) is None
        and re.search(r"(.)\1{2}", password) is None
    )


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    web, menu = found.get("FORCE_WEB_ADMIN_PASSWORD"), found.get("PROCPSWD")
    if web and not _good(web):
        raise ValueError("FORCE_WEB_ADMIN_PASSWORD is none that the phone takes")
    if menu and re.fullmatch(r"[0-9]{4,7}", menu, re.ASCII) is None:
        raise ValueError("PROCPSWD is not of 4 to 7 digits")
    wait = number(found.get("REGISTERWAIT"), "REGISTERWAIT")
    if wait is not None and not 30 <= wait <= 86400:
        raise ValueError("REGISTERWAIT is not from 30 to 86400")
    lines = []
    servers, username = found.get("SIP_CONTROLLER_LIST", ""), found.get("FORCE_SIP_USERNAME", "")
    if servers and username:
        match = _SERVER.fullmatch(servers)
        if match is None:
            raise ValueError("SIP_CONTROLLER_LIST is no host:port;transport=")
        host, port, transport = match.groups()
        default_port = "5061" if transport == "tls" else "5060"
        server = join(host, port, default_port)
        domain = found.get("SIPDOMAIN") or server
        lines.append(
            ReadLine(
                slot=1,
                username=username,
                password=found.get("FORCE_SIP_PASSWORD", ""),
                domain=domain,
                outbound_proxy="" if server == domain else server,
                transport=transport,
                display_name=found.get("DISPLAY_NAME", ""),
            )
        )
    return ReadConfiguration(
        settings=found, lines=tuple(lines), provisioning_url=None, firmware_url=None, poll_minutes=None
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    return act if act is None or found.get("ENABLE_OOD_RESET_NOTIFY") == "1" else "nothing"


DIALECTS = {
    "j100": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"Mozilla/4.0 (compatible; MSIE 6.0) AVAYA/{phone.model}-4.1.3.0.6 (MAC:{phone.mac})",
        sip_agent=lambda phone: f"Avaya {phone.model} 4.1.3.0.6",
        told=told,
        oracle_name=lambda key: key,
        keeps_polling=False,
    )
}
