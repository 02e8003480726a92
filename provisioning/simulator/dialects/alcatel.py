"""Alcatel-Lucent Enterprise: Myriad DeskPhones, the 80x8s in SIP mode, and the IP Touch in SIP mode."""

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
    indexes,
    join,
    known,
    put,
    xml,
)

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_SWITCHES = {"": "", "true": "true", "false": "false"}
_WORDS = {"": "udp", "udp": "udp", "tcp": "tcp", "tls": "tls"}
_MODES = {"": "udp", "1": "udp", "2": "tcp"}
_SECTIONS = ("dns", "sip", "sntp", "telnet", "audio", "appl")


def _base(phone: Handset) -> str:
    return phone.url if phone.url.endswith("/") else f"{phone.url}/"


# Files of <setting id= value=>


def settings(body: bytes) -> dict[str, str]:
    root = xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    found: dict[str, str] = {}
    for element in root:
        if element.tag != "setting" or len(element) or (element.text or "").strip():
            raise ValueError(f"<{element.tag}> is no empty <setting>")
        name, value = element.get("id"), element.get("value")
        if name is None or value is None or element.attrib.keys() - {"id", "value", "override"}:
            raise ValueError("a <setting> has id, value and perhaps override, and nothing else")
        if _ID.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no setting's name")
        if element.get("override", "true") not in ("true", "false"):
            raise ValueError(f"{name} has an override that is neither true nor false")
        put(found, name, value)
    return found


def _boot_of(first: tuple[str, ...], phone: Handset) -> Boot:
    """The files before its own may be missing; each later one wins."""
    merged: dict[str, str] = {}
    for name in (*first, f"config.{phone.model}.xml"):
        answer = yield Ask(f"{_base(phone)}{name}")
        if answer.status == 200:
            merged |= settings(answer.body)
    answer = yield Ask(f"{_base(phone)}config.{phone.mac}.xml", own=True)
    merged |= settings(answer.body)
    return noe_configuration(merged) if not first else myriad_configuration(merged)


def myriad_boot(phone: Handset) -> Boot:
    return _boot_of(("config.xml",), phone)


def noe_boot(phone: Handset) -> Boot:
    return _boot_of((), phone)


def myriad_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"Account(\d+)Enable", found):
        account = f"Account{slot}"

        def get(name: str, account: str = account) -> str:
            return found.get(account + name, "")

        if known(_SWITCHES, get("Enable"), f"{account}Enable") != "true" or not get("UserName"):
            continue
        transport = known(_WORDS, get("Server1Transport"), f"{account}Server1Transport")
        default_port = "5061" if transport == "tls" else "5060"
        proxy = get("OutboundProxy1Address")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("RegName") or get("UserName"),
                password=get("Password"),
                domain=join(get("Server1Address"), get("Server1Port"), default_port),
                outbound_proxy=join(proxy, get("OutboundProxy1Port"), default_port) if proxy else "",
                transport=transport,
                display_name=get("DisplayName"),
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("DeviceProvisionServerUrl") or None,
        firmware_url=found.get("DeviceFirmwareUpgradeUrl") or None,
        poll_minutes=None,
    )


def noe_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"SIPGroup(\d+)DeviceUri", found):
        group = f"SIPGroup{slot}"

        def get(name: str, group: str = group) -> str:
            return found.get(group + name, "")

        if not get("DeviceUri") or not get("DomainName"):
            continue
        proxy = join(get("OutBoundProxyAddress"), get("OutBoundProxyPort"), "5060")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("AuthenticationName") or get("DeviceUri"),
                password=get("AuthenticationPassword"),
                domain=get("DomainName"),
                # The domain itself stands there where its port is not the usual one.
                outbound_proxy="" if proxy == get("DomainName") else proxy,
                transport="udp",
                display_name=get("DisplayName"),
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("LocalEnetcfgDmUrl") or None,
        firmware_url=None,
        poll_minutes=None,
    )


def _agent(phone: Handset) -> str:
    name = {"M3": "M3-CE", "M5": "M5-CE", "M7": "M7-CE", "M8": "M8-CE"}.get(phone.model, phone.model)
    return f"ALE {name} 2.11.01.1604"


# IP Touch


def iptouch_settings(body: bytes) -> dict[str, str]:
    """`sip/user_name`. A name without a value has its default."""
    found: dict[str, str] = {}
    section = ""
    # splitlines() ends a line wherever any reader might.
    for position, line in enumerate(body.decode("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1]
            if section not in _SECTIONS:
                raise ValueError(f"line {position}: [{section}] is no section")
            continue
        name, equals, value = text.partition("=")
        if not section or not equals or _ID.fullmatch(name.strip()) is None:
            raise ValueError(f"line {position} is no name=value in a section")
        put(found, f"{section}/{name.strip()}", value.strip())
    return found


def iptouch_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    def get(name: str) -> str:
        return found.get(f"sip/{name}", "")

    lines: tuple[ReadLine, ...] = ()
    transport = known(_MODES, get("sip_transport_mode"), "sip_transport_mode")
    if get("user_name") and get("domain_name"):
        proxy = get("outbound_proxy_addr")
        lines = (
            ReadLine(
                slot=1,
                username=get("authentication_name") or get("user_name"),
                password=get("authentication_password"),
                domain=join(get("registrar_addr"), get("registrar_port"), "5060"),
                outbound_proxy=join(proxy, get("outbound_proxy_port"), "5060") if proxy else "",
                transport=transport,
                display_name=get("display_name"),
            ),
        )
    zone = found.get("sntp/timezone", "")
    if zone and re.fullmatch(r"[A-Z]*:[A-Z]*:-?\d+:\d{6}:\d{6}", zone) is None:
        raise ValueError(f"timezone is {zone!r}; it is names, minutes and two days")
    for name in ("appl/admin_password", "telnet/telnet_password"):
        if not found.get(name, "0").isdigit():
            raise ValueError(f"{name} has something else than digits")
    return ReadConfiguration(settings=found, lines=lines, provisioning_url=None, firmware_url=None, poll_minutes=None)


def iptouch_boot(phone: Handset) -> Boot:
    """Where these files are, lanpbx.cfg said, which comes by TFTP."""
    merged: dict[str, str] = {}
    answer = yield Ask(f"{_base(phone)}sipconfig.txt")
    if answer.status == 200:
        merged |= iptouch_settings(answer.body)
    answer = yield Ask(f"{_base(phone)}sipconfig-{phone.mac}.txt", own=True)
    merged |= iptouch_settings(answer.body)
    return iptouch_configuration(merged)


def deaf(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    """It knows no event."""
    return None


def iptouch_name(key: str) -> str:
    return re.sub(r"\d+", "#", key.rpartition("/")[2])


def iptouch_agent(phone: Handset) -> str:
    return f"Alcatel IP Touch {phone.model}/2.01.20"


DIALECTS = {
    "myriad": Dialect(
        boot=myriad_boot,
        settings=settings,
        configuration=myriad_configuration,
        http_agent=lambda phone: f"{_agent(phone)} {phone.mac}",
        sip_agent=_agent,
    ),
    "noe": Dialect(
        boot=noe_boot,
        settings=settings,
        configuration=noe_configuration,
        http_agent=lambda phone: f"{_agent(phone)} {phone.mac}",
        sip_agent=_agent,
    ),
    "iptouch": Dialect(
        boot=iptouch_boot,
        settings=iptouch_settings,
        configuration=iptouch_configuration,
        http_agent=iptouch_agent,
        sip_agent=iptouch_agent,
        told=deaf,
        oracle_name=iptouch_name,
        keeps_polling=False,
    ),
}
