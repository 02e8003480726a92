"""Cisco: SPA and Linksys phones and adapters, Multiplatform (3PCC) phones, and phones with enterprise SIP firmware.

The first three are one engine: a rule names the URL, macros in it are the phone's own to fill in, and
what comes is a flat profile. Guides: SPA100/SPA200 provisioning guide; 6800 and 8800 MPP
provisioning and administration guides. The enterprise reader follows usecallmanager.nz.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree as ET

from provisioning.simulator import decryption
from provisioning.simulator.dialects.base import (
    Act,
    Answer,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadContact,
    ReadLine,
    hashed,
    indexes,
    join,
    known,
    number,
    xml,
)

_ACCESS = frozenset(("na", "ro", "rw"))
_TRANSPORTS = {"UDP": "udp", "TCP": "tcp", "TLS": "tls"}
_BOOLEAN = {"Yes": True, "No": False, "": False}
_RULE = re.compile(r"(?:\[([^]]*)\]\s*)?(\S*)")
_MACRO = re.compile(r"\$(?:\((\w+)\)|(\w+)|(\$))")
_SELF_CLOSING = re.compile(rb"<(?![?!])[^<>]*/>")
_WHOLE = "router-configuration"
_MOST_RULES = 4


# The rule: options, a URL, macros


def _options(rule: str) -> tuple[dict[str, str], str]:
    """Of `[--key secret] https://host/$MA.xml`: its options and its URL."""
    match = _RULE.fullmatch(rule.strip())
    if match is None:
        raise ValueError("a rule with alternatives or conditions is none of ours")
    words = (match[1] or "").split()
    if len(words) % 2 or any(not word.startswith("--") for word in words[::2]):
        raise ValueError("a rule's options are pairs of --name and value")
    return {word[2:]: value for word, value in zip(words[::2], words[1::2], strict=True)}, match[2]


def _expanded(url: str, macros: Mapping[str, str]) -> str:
    """An unknown name stays as it is; `$$` is one `$`."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[3] else macros.get(match[1] or match[2], match[0])

    return _MACRO.sub(value, url)


def _macros(phone: Handset, product: str) -> dict[str, str]:
    pairs = [phone.mac[i : i + 2] for i in range(0, 12, 2)]
    series = re.sub(r"^(CP-|SPA|ATA)", "", product)
    return {"MA": phone.mac, "MAU": phone.mac.upper(), "MAC": ":".join(pairs), "PN": product, "PSN": series}


# The boot


def _first_asks(phone: Handset, macros: Mapping[str, str]) -> Iterator[Ask]:
    """What a phone of the factory asks for at the server that DHCP gave it, in order."""
    name = macros["PN"]
    if name.startswith(("CP-", "DP-")):
        yield Ask(f"{phone.url}{macros['PSN']}.xml")
        yield Ask(f"{phone.url}Cisco/{name}/{phone.mac}.cfg", own=True)
    elif name.startswith("PAP"):
        yield Ask(f"{phone.url}init.cfg")
    else:
        yield Ask(f"{phone.url}{'ata' if name.startswith('ATA') else 'spa'}{macros['PSN']}.cfg")


def boot(phone: Handset) -> Boot:
    product = f"{phone.model}-3PCC" if phone.model.startswith("CP-") else phone.model
    macros = _macros(phone, product)
    held = phone.held
    if phone.url.endswith("/"):
        found: Mapping[str, str] = {}
        for ask in _first_asks(phone, macros):
            answer = yield ask
            if ask.own:
                return _taken(answer, held)
            if answer.status == 200:
                found = settings(answer.body)
                break
        rule = found.get("Profile_Rule", "")
        if not rule:
            raise ValueError("the factory's file is not there, or names no Profile_Rule")
    else:
        rule = phone.url
    answer = yield Ask(_expanded(_options(rule)[1], macros), own=True)
    return _taken(answer, held)


def _taken(answer: Answer, held: ReadConfiguration | None) -> ReadConfiguration:
    found = held.settings if held else {}
    options = _options(found.get("Profile_Rule", ""))[0]
    return configuration(settings(opened(answer, options.get("key", ""), found.get("IKM_HTTP_Encrypt_Content", ""))))


def opened(answer: Answer, key: str, keying_material: str) -> bytes:
    """By what the answer says it is in: aes128gcm, whatever the rule has; otherwise with the rule's key where it
    begins as openssl's files do (8800 MPP administration guide, "RFC 8188-Based HTTP Content Encryption");
    and unpacked.
    """
    body = answer.body
    if answer.coding:
        if answer.coding != "aes128gcm" or not keying_material:
            raise ValueError(f"the answer is in {answer.coding}, and the phone has no keying material")
        body = decryption.aes128gcm(body, keying_material.encode())
    elif body.startswith(decryption.SALTED):
        if not key:
            raise ValueError("the file is encrypted, and the rule has no --key")
        body = decryption.openssl(body, key)
    if body.startswith(b"\x1f\x8b"):
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            raise ValueError("the file is no whole gzip file") from None
    return body


# The flat profile


def settings(body: bytes) -> dict[str, str]:
    """Parameter to value; the router's are below `router-configuration/`.

    A name that is there twice is no fault: the last one counts.
    """
    if not body.isascii():
        raise ValueError("the firmware supports ASCII characters alone")
    if match := _SELF_CLOSING.search(body):
        raise ValueError(f"{match.group().decode()} keeps what the user has set; it empties nothing")
    root = xml(body)
    if root.tag != "flat-profile":
        raise ValueError(f"the root is <{root.tag}>, not <flat-profile>")
    found: dict[str, str] = {}
    for place, element in enumerate(root, 1):
        if element.tag == _WHOLE:
            if place != len(root):
                raise ValueError(f"<{_WHOLE}> is the last of all")
            found |= _nested(element, f"{_WHOLE}/")
            continue
        if len(element):
            raise ValueError(f"<{element.tag}> holds an element where a value belongs")
        access = element.get("ua", "na")
        if access not in _ACCESS or set(element.keys()) - {"ua"}:
            raise ValueError(f"<{element.tag}> has an unknown access right")
        found[element.tag] = _value(element)
    return found


def _nested(above: ET.Element, path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for element in above:
        if len(element):
            found |= _nested(element, f"{path}{element.tag}/")
        else:
            found[f"{path}{element.tag}"] = _value(element)
    return found


def _value(element: ET.Element) -> str:
    # Blanks around it are for readability, a new line inside it becomes a blank.
    return re.sub(r"[\r\n]", " ", element.text or "").strip()


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"Line_Enable_(\d+)_", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"{name}_{slot}_", "")

        if not known_boolean(get("Line_Enable"), f"Line_Enable_{slot}_") or not get("User_ID"):
            continue
        transport = known(_TRANSPORTS, get("SIP_Transport") or "UDP", f"SIP_Transport_{slot}_")
        proxy = get("Outbound_Proxy")
        # The Multiplatform phones have no switch beside the address.
        switch = f"Use_Outbound_Proxy_{slot}_"
        if switch in found and not known_boolean(found[switch], switch):
            proxy = ""
        lines.append(
            ReadLine(
                slot=slot,
                username=get("User_ID"),
                password=get("Password"),
                domain=_without_port(get("Proxy"), transport),
                outbound_proxy=_without_port(proxy, transport),
                transport=transport,
                display_name=get("Display_Name"),
            )
        )
    seconds = number(found.get("Resync_Periodic") or None, "Resync_Periodic")
    url = _options(found.get("Profile_Rule", ""))[1]
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=url or None,
        firmware_url=found.get("Upgrade_Rule") or None,
        poll_minutes=seconds // 60 if seconds else None,
        phonebook_url=found.get("XML_Directory_Service_URL") or None,
    )


def known_boolean(value: str, key: str) -> bool:
    if value not in _BOOLEAN:
        raise ValueError(f"{key} is {value!r}; known are Yes and No")
    return _BOOLEAN[value]


def _without_port(address: str, transport: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        return address
    if not port.isdigit():
        raise ValueError(f"{address!r} is no host with a port")
    return join(host, port, "5061" if transport == "tls" else "5060")


def oracle_name(key: str) -> str:
    return hashed(key.rpartition("/")[2])


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    """An entry has one name and one number; those of one name that follow each other are one person."""
    root = xml(body)
    if root.tag != "CiscoIPPhoneDirectory":
        raise ValueError(f"the root is <{root.tag}>, not <CiscoIPPhoneDirectory>")
    found: list[ReadContact] = []
    for element in root:
        if element.tag in ("Title", "Prompt", "SoftKeyItem"):
            continue
        if element.tag != "DirectoryEntry" or [part.tag for part in element] != ["Name", "Telephone"]:
            raise ValueError(f"<{element.tag}> is no entry with a name and a number")
        name, telephone = (part.text or "" for part in element)
        if found and found[-1].name == name:
            found[-1] = ReadContact(name, (*found[-1].numbers, telephone))
        else:
            found.append(ReadContact(name, (telephone,)))
    return tuple(found)


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    act = _EVENTS.get(event.partition(";")[0].strip().lower())
    if act == "fetch" and not known_boolean(found.get("Resync_From_SIP", "Yes"), "Resync_From_SIP"):
        return "nothing"
    return act


# SPA921 provisioning guide p. 53. `report` has it send its configuration, if it was told where.
_EVENTS: Mapping[str, Act] = {
    "resync": "fetch",
    "reboot": "reboot",
    "reboot_now": "reboot",
    "restart_now": "reboot",
    "report": "nothing",
}


def challenges(found: Mapping[str, str]) -> bool:
    """Unless each line says No: Auth Resync-Reboot is on in the factory."""
    slots = indexes(r"Line_Enable_(\d+)_", found) or [1]
    return any(found.get(f"Auth_Resync-Reboot_{slot}_", "Yes") != "No" for slot in slots)


# Enterprise


def boot_enterprise(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    name = phone.mac.upper()
    # Trust lists, which only a call manager signs: without them it takes an unsigned configuration.
    yield Ask(f"{base}CTLSEP{name}.tlv")
    yield Ask(f"{base}ITLSEP{name}.tlv")
    yield Ask(f"{base}ITLFile.tlv")
    answer = yield Ask(f"{base}SEP{name}.cnf.xml", own=True)
    return configuration_enterprise(settings_enterprise(answer.body))


_PROTOCOLS = {"": "udp", "1": "tcp", "2": "udp", "3": "tls"}


def settings_enterprise(body: bytes) -> dict[str, str]:
    """Path to value: `sipProfile/sipProxies/outboundProxy`, `sipProfile/sipLines/line[2]/name`."""
    root = xml(body)
    if root.tag != "device":
        raise ValueError(f"the root is <{root.tag}>, not <device>")
    found: dict[str, str] = {}
    _walk(root, "", found)
    return found


def _walk(above: ET.Element, path: str, found: dict[str, str]) -> None:
    for element in above:
        index = element.get("button") or element.get("priority") or ""
        key = f"{path}{element.tag}[{index}]" if index else f"{path}{element.tag}"
        if key in found or any(other.startswith(f"{key}/") for other in found):
            raise ValueError(f"<{element.tag}> is there twice below {path or '<device>'}")
        for name, value in element.items():
            found[f"{key}/{name}"] = value
        if len(element):
            _walk(element, f"{key}/", found)
        else:
            found[key] = element.text or ""


def configuration_enterprise(found: Mapping[str, str]) -> ReadConfiguration:
    above = "sipProfile/sipLines/line["
    transport = known(_PROTOCOLS, found.get("transportLayerProtocol", ""), "transportLayerProtocol")
    default_port = "5061" if transport == "tls" else "5060"
    lines = []
    for button in indexes(r"sipProfile/sipLines/line\[(\d+)\]/featureID", found):

        def get(name: str, button: int = button) -> str:
            return found.get(f"{above}{button}]/{name}", "")

        if get("featureID") != "9" or not get("name"):
            continue
        lines.append(
            ReadLine(
                slot=number(get("lineIndex"), "lineIndex") or 0,
                username=get("authName"),
                password=get("authPassword"),
                domain=join(get("proxy"), get("port"), default_port),
                outbound_proxy=join(
                    found.get("sipProfile/sipProxies/outboundProxy", ""),
                    found.get("sipProfile/sipProxies/outboundProxyPort", ""),
                    default_port,
                ),
                transport=transport,
                display_name=get("displayName"),
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=None,
        firmware_url=None,
        poll_minutes=None,
        phonebook_url=found.get("directoryURL") or None,
    )


def oracle_name_enterprise(key: str) -> str:
    return hashed(key.rpartition("/")[2])


def told_enterprise(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001
    if event.partition(";")[0].strip().lower() != "service-control":
        return None
    actions: Mapping[str, Act] = {"action=restart": "fetch", "action=reset": "reboot"}
    return next((actions[line.strip()] for line in body.splitlines() if line.strip() in actions), "nothing")


# The dialects


def _spa(http_agent: Callable[[Handset], str], *, reads_contacts: bool = True) -> Dialect:
    return Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=http_agent,
        sip_agent=lambda phone: http_agent(phone).partition(" ")[0],
        contacts=contacts if reads_contacts else None,
        told=told,
        challenges=challenges,
        oracle_name=oracle_name,
    )


def _agent_spa(phone: Handset) -> str:
    return f"Cisco/{phone.model}-7.6.2 ({phone.mac.upper()})(CBT141400UK)"


def _agent_ata(phone: Handset) -> str:
    if phone.model.startswith("ATA"):
        return f"Cisco/{phone.model}-MPP-11-1-0-MSR4 (FCH2443D9R4)"
    if phone.model.startswith("PAP"):
        return f"Linksys/{phone.model}-5.1.6 (FH900H000000)"
    return f"Cisco/{phone.model}-1.4.1 ({phone.mac.upper()})(CBT141400UK)"


def _agent_mpp(phone: Handset) -> str:
    return f"Cisco-{phone.model}-3PCC/11.3.7 ({phone.mac})"


DIALECTS = {
    "spa": _spa(_agent_spa),
    "ata": _spa(_agent_ata, reads_contacts=False),
    "mpp": _spa(_agent_mpp),
    "enterprise": Dialect(
        boot=boot_enterprise,
        settings=settings_enterprise,
        configuration=configuration_enterprise,
        http_agent=lambda _: "",
        sip_agent=lambda phone: f"Cisco-{phone.model.replace('-', '', 1)}/9.3.1",
        contacts=contacts,
        told=told_enterprise,
        oracle_name=oracle_name_enterprise,
        keeps_polling=False,
    ),
}
