"""Snom's desk phones, its DECT bases, its conference phones and the old m3."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

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

_PERMISSIONS = frozenset(("", "R", "RW", "!", "$", "&"))
_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


def boot(phone: Handset) -> Boot:
    """A URL with a file in it is asked for as it is; without one come the two classic files."""
    url = phone.url.replace("{mac}", phone.mac.upper())
    if url.endswith("/"):
        yield Ask(f"{url}snom{phone.model}.htm")
        url = f"{url}snom{phone.model}-{phone.mac.upper()}.htm"
    answer = yield Ask(url, own=True)
    if answer.status == 304 and phone.held is not None:
        return phone.held
    found = configuration(settings(answer.body))
    if found.phonebook_url:
        book = yield Ask(found.phonebook_url)
        if book.status == 200:
            contacts(book.body)
    return found


def settings(body: bytes) -> dict[str, str]:
    """`user_name[1]`, `fkey[0].label`, `file`."""
    root = xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    found: dict[str, str] = {}
    for section in root:
        if section.tag == "setting-files":
            for file in section:
                put(found, "file", file.get("url", ""))
        elif section.tag in ("phone-settings", "functionKeys"):
            for element in section:
                _setting(element, found)
        else:
            raise ValueError(f"<{section.tag}> is no section of <settings>")
    return found


def _setting(element: ET.Element, found: dict[str, str]) -> None:
    if len(element):
        raise ValueError(f"<{element.tag}> holds an element where a value belongs")
    if _NAME.fullmatch(element.tag) is None:
        raise ValueError(f"<{element.tag}> is no name of a setting")
    if element.get("perm", "") not in _PERMISSIONS:
        raise ValueError(f"<{element.tag}> has an unknown perm")
    index = element.get("idx")
    key = element.tag if index is None else f"{element.tag}[{index}]"
    put(found, key, element.text or "")
    for attribute, text in element.items():
        if attribute not in ("idx", "perm"):
            put(found, f"{key}.{attribute}", text)


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"user_active\[(\d+)\]", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"{name}[{slot}]", "")

        if get("user_active") != "on" or not get("user_name"):
            continue
        next_hop, *parameters = get("user_outbound").split(";")
        transport = "udp"
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "transport":
                transport = value
        domain = get("user_host")
        lines.append(
            ReadLine(
                slot=slot,
                username=get("user_name"),
                password=get("user_pass"),
                domain=domain,
                # A registrar that is written here only for its transport is no proxy.
                outbound_proxy="" if next_hop == domain else next_hop,
                transport=transport,
                display_name=get("user_realname"),
            )
        )
    seconds = number(found.get("settings_refresh_timer"), "settings_refresh_timer")
    if found.get("prov_polling_enabled", "off") not in ("on", "off"):
        raise ValueError("prov_polling_enabled is neither on nor off")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("setting_server") or None,
        firmware_url=found.get("firmware") or None,
        poll_minutes=seconds // 60 if seconds else None,
        phonebook_url=found.get("file") or None,
    )


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    """Entries of one name that follow each other are one contact: each has one number."""
    root = xml(body)
    if root.tag != "settings" or any(section.tag != "tbook" for section in root):
        raise ValueError("this is no <settings> with <tbook> in it")
    found: list[ReadContact] = []
    for item in root.iter("item"):
        name, dialled = item.findtext("name") or "", item.findtext("number") or ""
        if not name or not dialled:
            raise ValueError("an <item> has no name or no number")
        if found and found[-1].name == name:
            found[-1] = ReadContact(name, (*found[-1].numbers, dialled))
        else:
            found.append(ReadContact(name, (dialled,)))
    return tuple(found)


def oracle_name(key: str) -> str:
    """Indexes are attributes in Snom's XML: `user_name` of `user_name[1]`."""
    name, bracket, rest = key.partition("[")
    # The list has `time_#_format`, and names of ours are cited as they are.
    return (name if name == "time_24_format" else hashed(name)) + (hashed(bracket + rest).replace("[#]", ""))


# The bases of the M series.

_SECTIONS = ("global", "server", "extension")
_SERVERS = 10


def dect_boot(phone: Handset) -> Boot:
    url = phone.url.replace("{mac}", phone.mac.upper())
    if url.endswith("/"):
        for name in (f"snom{phone.model}.htm", f"snom{phone.model}.xml"):
            yield Ask(url + name)
        url = f"{url}snom{phone.model}-{phone.mac.upper()}.htm"
    answer = yield Ask(url, own=True)
    found = dect(dect_settings(answer.body))
    if found.phonebook_url:
        book = yield Ask(found.phonebook_url)
        if book.status == 200:
            dect_contacts(book.body)
    return found


def dect_settings(body: bytes) -> dict[str, str]:
    root = xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    found: dict[str, str] = {}
    for section in root:
        if section.tag not in _SECTIONS:
            raise ValueError(f"<{section.tag}> is no section of <settings>")
        for element in section:
            if ("idx" in element.attrib) != (section.tag != "global"):
                raise ValueError(f"<{element.tag}> of <{section.tag}> has an idx where none belongs, or none")
            _setting(element, found)
    return found


def dect(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"user_active\[(\d+)\]", found):

        def get(name: str, index: int = slot) -> str:
            return found.get(f"{name}[{index}]", "")

        if get("user_active") != "on" or not get("user_name"):
            continue
        server = number(get("subscr_sip_ua_data_server_id"), "subscr_sip_ua_data_server_id")
        if server is None or not 1 <= server <= _SERVERS or not get("user_host", server):
            raise ValueError(f"extension {slot} has no server")
        transport = known(
            {"udp": "udp", "tcp": "tcp", "tls": "tls"}, get("srv_sip_transport", server), "srv_sip_transport"
        )
        lines.append(
            ReadLine(
                slot=slot,
                username=get("user_name"),
                password=get("user_pass"),
                domain=get("user_host", server),
                outbound_proxy=get("user_outbound", server),
                transport=transport,
                display_name=get("user_realname"),
            )
        )
    book = None
    if found.get("phonebook_filename"):
        book = f"{found['phonebook_location'].rstrip('/')}/{found['phonebook_filename']}"
    return ReadConfiguration(found, tuple(lines), found.get("setting_server") or None, None, None, book)


def dect_contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "IPPhoneDirectory":
        raise ValueError(f"the root is <{root.tag}>, not <IPPhoneDirectory>")
    found = []
    for entry in root:
        numbers = [entry.findtext(kind) for kind in ("Office", "Mobile", "Telephone")]
        if entry.tag != "DirectoryEntry" or None in numbers:
            raise ValueError("an entry lacks one of its three numbers")
        dialled = tuple(text for text in numbers if text)
        if not all(text.isascii() and text.isdigit() for text in dialled):
            raise ValueError("a number is not of digits alone")
        found.append(ReadContact(entry.findtext("Name") or "", dialled))
    return tuple(found)


def dect_told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    return "reboot" if act and found.get("sip_check_sync_always_reboot") == "on" else act


# C520 and C620.


def conference_boot(phone: Handset) -> Boot:
    answer = yield Ask(phone.url.replace("{mac}", phone.mac), own=True)
    return conference(conference_settings(answer.body))


def conference_settings(body: bytes) -> dict[str, str]:
    """`sip_account/idx[1]/user_id`: a tree whose leaves are values."""
    root = xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    found: dict[str, str] = {}
    _leaves(root, "", found)
    return found


def _leaves(element: ET.Element, path: str, found: dict[str, str]) -> None:
    for child in element:
        index = child.get("id")
        if child.tag == "idx" and (index is None or not index.isdigit()):
            raise ValueError(f"an <idx> of <{element.tag}> has no number")
        step = f"{path}{child.tag}" if index is None else f"{path}{child.tag}[{index}]"
        if len(child):
            _leaves(child, f"{step}/", found)
        else:
            put(found, step, child.text or "")


def conference(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"sip_account/idx\[(\d+)\]/sip_account_enable", found):
        account = f"sip_account/idx[{slot}]/"

        def get(name: str, account: str = account) -> str:
            return found.get(account + name, "")

        if get("sip_account_enable") != "1" or not get("user_id"):
            continue
        transport = known({"udp": "udp", "tcp": "tcp", "tls": "tls"}, get("transport_mode"), "transport_mode")
        port = "5061" if transport == "tls" else "5060"
        lines.append(
            ReadLine(
                slot=slot,
                username=get("user_id"),
                password=get("authentication_access_password"),
                domain=join(get("primary_registration_server_address"), get("primary_registration_server_port"), port),
                outbound_proxy=join(
                    get("primary_outbound_proxy_server_address"), get("primary_outbound_proxy_server_port"), port
                ),
                transport=transport,
                display_name=get("display_name"),
            )
        )
    minutes = number(found.get("provisioning/resync_time"), "resync_time")
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("provisioning/server_address") or None,
        firmware_url=found.get("provisioning/firmware_url") or None,
        poll_minutes=minutes if found.get("provisioning/schedule_mode") == "interval" else None,
    )


def conference_told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    if found.get("provisioning/remote_check_sync_enable") != "1":
        return "nothing"
    return "fetch" if check_sync(event, body, found) else None


def conference_name(key: str) -> str:
    """The leaf: `user_id` of `sip_account/idx[1]/user_id`; of a list, the list's."""
    steps = [step.partition("[")[0] for step in key.split("/")]
    leaf = next(step for step in reversed(steps) if step != "idx") if steps[-1] == "idx" else steps[-1]
    return hashed(leaf)


# The m3.

_M3_LINE = re.compile(r'%([A-Z0-9_]+)%:(?:"([^"]*)"|([0-9A-Fa-fx,]+))', re.ASCII)


def m3_boot(phone: Handset) -> Boot:
    answer = yield Ask(phone.url.replace("{mac}", phone.mac), own=True)
    return m3(m3_settings(answer.body))


def m3_settings(body: bytes) -> dict[str, str]:
    lines = body.decode("utf-8").splitlines()
    if "END_OF_FILE" not in lines or any(line.strip() for line in lines[lines.index("END_OF_FILE") + 1 :]):
        raise ValueError("the file does not end with END_OF_FILE")
    found: dict[str, str] = {}
    for position, line in enumerate(lines[: lines.index("END_OF_FILE")], 1):
        if not line.strip() or line.startswith("//"):
            continue
        if (match := _M3_LINE.fullmatch(line)) is None:
            raise ValueError(f"line {position} is no %NAME%:value")
        put(found, match[1], match[2] if match[2] is not None else match[3])
    return found


def m3(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for index in indexes(r"SUBSCR_(\d+)_SIP_UA_DATA_SIP_NAME", found):
        server, registration = f"SRV_{index}_SIP_UA_DATA_", f"SUBSCR_{index}_"
        if not found[f"{registration}SIP_UA_DATA_SIP_NAME"]:
            continue
        lines.append(
            ReadLine(
                slot=index + 1,
                username=found[f"{registration}SIP_UA_DATA_SIP_NAME"],
                password=found[f"{registration}UA_DATA_AUTH_PASS"],
                domain=join(found[f"{server}DOMAIN"], found[f"{server}SERVER_PORT"], "5060"),
                outbound_proxy=found[f"{server}PROXY_ADDR"],
                transport="udp",
                display_name=found[f"{registration}UA_DATA_DISP_NAME"],
            )
        )
    return ReadConfiguration(found, tuple(lines), None, None, None)


DIALECTS = {
    "desk": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: (
            f"Mozilla/4.0 (compatible; snom{phone.model}-SIP 10.1.33.33 2010.12-00004-g9ba52f5 "
            f"{phone.mac.upper()} SXM:0 UXM:0)"
        ),
        sip_agent=lambda phone: f"snom{phone.model}/10.1.33.33",
        contacts=contacts,
        challenges=lambda found: found.get("challenge_checksync") == "on",
        oracle_name=oracle_name,
        conditional=True,
    ),
    "dect": Dialect(
        boot=dect_boot,
        settings=dect_settings,
        configuration=dect,
        http_agent=lambda phone: f"Mozilla/4.0 (compatible; Snom {phone.model} 05.20.0001 {phone.mac})",
        sip_agent=lambda phone: f"snom{phone.model}/05.20.0001 (MAC={phone.mac.upper()}; SER= 00000; HW=255)",
        contacts=dect_contacts,
        told=dect_told,
        oracle_name=oracle_name,
        keeps_polling=False,
    ),
    "conference": Dialect(
        boot=conference_boot,
        settings=conference_settings,
        configuration=conference,
        http_agent=lambda phone: f"snom {phone.model} {macs.spelled(phone.mac)}",
        sip_agent=lambda phone: f"snom {phone.model}",
        told=conference_told,
        oracle_name=conference_name,
    ),
    "m3": Dialect(
        boot=m3_boot,
        settings=m3_settings,
        configuration=m3,
        http_agent=lambda phone: f"snom-m3-SIP/02.11 (MAC={phone.mac.upper()})",
        sip_agent=lambda phone: f"snom-m3-SIP/02.11 (MAC={phone.mac.upper()})",
        told=lambda *_: None,
        keeps_polling=False,
    ),
}
