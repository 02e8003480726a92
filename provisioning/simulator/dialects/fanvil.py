"""Fanvil phones, of the newer firmware (`<sysConf>`) and of the older (`<VOIP_CONFIG_FILE>`).

Settings are called by their path: `sip/line[1]/PhoneNumber`, `SIP_CONFIG_MODULE/SIP_Line_List/SIP1/Phone_Number`.
"""

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

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

_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "3": "tls"}
_PROTOCOLS = {"1": "ftp", "2": "tftp", "4": "http", "5": "https"}


class _Names(NamedTuple):
    """What one generation calls the same things."""

    line: str
    "Of a line, with {} for its number."
    number: str
    registers: str
    address: str
    port: str
    user: str
    password: str
    display_name: str
    proxy: str
    proxy_port: str
    transport: str
    server: str
    protocol: str
    mode: str
    interval: str
    common: str
    firmware: str
    phonebook: str
    notify_reboot: str


_NEW = _Names(
    line="sip/line[{}]/",
    number="PhoneNumber",
    registers="EnableReg",
    address="RegisterAddr",
    port="RegisterPort",
    user="RegisterUser",
    password="RegisterPswd",  # noqa: S106  a setting's name
    display_name="DisplayName",
    proxy="ProxyAddr",
    proxy_port="ProxyPort",
    transport="Transport",
    server="ap/FlashServerIP",
    protocol="ap/FlashProtocol",
    mode="ap/FlashMode",
    interval="ap/FlashInterval",
    common="ap/DownloadCommonConf",
    firmware="ap/AutoImageUrl",
    phonebook="phone/xmlContact[1]/Addr",
    notify_reboot="sip/NotifyReboot",
)
_OLD = _Names(
    line="SIP_CONFIG_MODULE/SIP_Line_List/SIP{}/",
    number="Phone_Number",
    registers="Enable_Reg",
    address="Register_Addr",
    port="Register_Port",
    user="Register_User",
    password="Register_Pswd",  # noqa: S106  a setting's name
    display_name="Display_Name",
    proxy="Proxy_Addr",
    proxy_port="Proxy_Port",
    transport="Transport",
    server="AUTOUPDATE_CONFIG_MODULE/Download_Server_IP",
    protocol="AUTOUPDATE_CONFIG_MODULE/Download_Protocol",
    mode="AUTOUPDATE_CONFIG_MODULE/Download_Mode",
    interval="AUTOUPDATE_CONFIG_MODULE/Download_Interval",
    common="AUTOUPDATE_CONFIG_MODULE/Download_CommonConf",
    firmware="AUTOUPDATE_CONFIG_MODULE/Auto_Image_URL",
    phonebook="",
    notify_reboot="SIP_CONFIG_MODULE/Notify_Reboot",
)


def new_settings(body: bytes) -> dict[str, str]:
    root = _root(body, "sysConf", "Version")
    found: dict[str, str] = {}
    _walk(root, "", found)
    return found


def _walk(parent: ET.Element, path: str, found: dict[str, str]) -> None:
    for element in parent:
        index = element.get("index")
        if element.attrib.keys() - {"index"} or (index is not None and not index.isdigit()):
            raise ValueError(f"<{element.tag}> has an attribute that is no index")
        name = f"{path}{element.tag}" + (f"[{index}]" if index else "")
        if len(element):
            if (element.text or "").strip():
                raise ValueError(f"<{element.tag}> holds text beside elements")
            if any(key.startswith(f"{name}/") for key in found):
                raise ValueError(f"{name} is there twice")
            _walk(element, f"{name}/", found)
        # An empty section says nothing; an empty setting is one without line breaks.
        elif "\n" not in (element.text or ""):
            put(found, name, element.text or "")


def old_settings(body: bytes) -> dict[str, str]:
    root = _root(body, "VOIP_CONFIG_FILE", "version")
    found: dict[str, str] = {}
    for module in root:
        if module.tag == "version":
            put(found, "version", module.text or "")
            continue
        if not module.tag.endswith("_MODULE"):
            raise ValueError(f"<{module.tag}> is no module")
        for element in module:
            name = f"{module.tag}/{element.tag}"
            if not len(element):
                put(found, name, element.text or "")
                continue
            for entry in element:
                if entry.tag != f"{element.tag}_Entry":
                    raise ValueError(f"<{entry.tag}> is no entry of <{element.tag}>")
                own = entry.findtext("ID")
                if not own:
                    raise ValueError(f"an entry of <{element.tag}> has no ID")
                for item in entry:
                    if len(item):
                        raise ValueError(f"<{item.tag}> holds an element where a value belongs")
                    put(found, f"{name}/{own}/{item.tag}", item.text or "")
    return found


def _root(body: bytes, tag: str, version: str) -> ET.Element:
    root = xml(body)
    if root.tag != tag:
        raise ValueError(f"the root is <{root.tag}>, not <{tag}>")
    if not len(root) or root[0].tag != version or not (root[0].text or "").replace(".", "").isdigit():
        raise ValueError(f"it does not begin with its <{version}>")
    return root


def _configuration(names: _Names, found: Mapping[str, str]) -> ReadConfiguration:
    pattern = names.line.replace("[", r"\[").replace("]", r"\]").format(r"(\d+)") + names.registers
    lines = []
    for slot in indexes(pattern, found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(names.line.format(slot) + name, "")

        if get(names.registers) != "1" or not get(names.number):
            continue
        transport = known(_TRANSPORTS, get(names.transport), f"{names.line.format(slot)}{names.transport}")
        default_port = "5061" if transport == "tls" else "5060"
        proxy = get(names.proxy)
        lines.append(
            ReadLine(
                slot=slot,
                username=get(names.user) or get(names.number),
                password=get(names.password),
                domain=join(get(names.address), get(names.port), default_port),
                outbound_proxy=join(proxy, get(names.proxy_port), default_port) if proxy else "",
                transport=transport,
                display_name=get(names.display_name),
            )
        )
    server = found.get(names.server, "")
    scheme = known({"": "", **_PROTOCOLS}, found.get(names.protocol, ""), names.protocol)
    if "://" in server and not server.startswith(f"{scheme}://"):
        raise ValueError(f"{names.server} is not the {scheme} that {names.protocol} says")
    hours = number(found.get(names.interval), names.interval) if found.get(names.mode) == "2" else None
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=f"{server}/" if server else None,
        firmware_url=found.get(names.firmware) or None,
        poll_minutes=hours * 60 if hours else None,
        phonebook_url=found.get(names.phonebook) or None,
    )


def new_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    return _configuration(_NEW, found)


def old_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    return _configuration(_OLD, found)


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "FanvilIPPhoneDirectory":
        raise ValueError(f"the root is <{root.tag}>, not <FanvilIPPhoneDirectory>")
    return tuple(
        ReadContact(
            entry.findtext("Name") or "",
            tuple(text for kind in ("Telephone", "Mobile", "Other") if (text := entry.findtext(kind))),
        )
        for entry in root.iter("DirectoryEntry")
    )


def _boot(names: _Names, phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    merged: dict[str, str] = {}
    settings = new_settings if names is _NEW else old_settings
    # The common file is wanted from the factory on, until the phone is told otherwise.
    if phone.held is None or phone.held.settings.get(names.common) != "0":
        for name in phone.common:
            answer = yield Ask(f"{base}{name}")
            if answer.status == 200:
                merged |= settings(answer.body)
    answer = yield Ask(f"{base}{phone.mac}.cfg", own=True)
    merged |= settings(answer.body)
    return _configuration(names, merged)


def new_boot(phone: Handset) -> Boot:
    return _boot(_NEW, phone)


def old_boot(phone: Handset) -> Boot:
    return _boot(_OLD, phone)


def _told(names: _Names, event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    # Otherwise any check-sync restarts it.
    return "reboot" if act == "fetch" and found.get(names.notify_reboot) == "1" else act


def new_told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    return _told(_NEW, event, body, found)


def old_told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    return _told(_OLD, event, body, found)


def oracle_name(key: str) -> str:
    """The last part of the path: sections and indexes are no parameters."""
    return hashed(key.rpartition("/")[2])


def http_agent(phone: Handset) -> str:
    return f"{sip_agent(phone)} {phone.mac}"


def sip_agent(phone: Handset) -> str:
    return f"Fanvil {phone.model} 2.12.2.4"


DIALECTS = {
    "desk": Dialect(
        boot=new_boot,
        settings=new_settings,
        configuration=new_configuration,
        http_agent=http_agent,
        sip_agent=sip_agent,
        contacts=contacts,
        told=new_told,
        oracle_name=oracle_name,
    ),
    "classic": Dialect(
        boot=old_boot,
        settings=old_settings,
        configuration=old_configuration,
        http_agent=http_agent,
        sip_agent=sip_agent,
        told=old_told,
        oracle_name=oracle_name,
    ),
}
