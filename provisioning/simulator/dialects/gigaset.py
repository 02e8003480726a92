"""Gigaset's base stations and desk phones: two formats of XML, five lists of parameters."""

import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from provisioning.domain.mac import Mac
from provisioning.simulator.dialects.base import (
    Act,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    check_sync,
    hashed,
    indexes,
    join,
    known,
    put,
    xml,
)

_SCHEMA = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
_SYMBOL = re.compile(r"BS_\w+(?:\.\w+(?:\[[0-9%]+\])?)+", re.ASCII)
_NUMBER = r"(?:0x[0-9A-Fa-f]{1,8}|[0-9]{1,10})"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*", re.ASCII)
_QUOTED = ("S_CONFIGFILE_URL", "S_SPECIAL_DATA_SRV")
"Of the elements beside SYMB_ITEM, those whose text has quotes of its own."
_CLASSES = {"S": "string", "I": "integer", "B": "boolean"}
_IP_PROTOCOLS = {"17": "udp", "6": "tcp"}
_MACROS = re.compile("%MACD", re.ASCII)


def boot(
    read: Callable[[bytes], dict[str, str]], make: Callable[[Mapping[str, str]], ReadConfiguration]
) -> Callable[[Handset], Boot]:
    """A URL with a file in it is asked for as it is; one without gets `provisioning.xml`, then the phone's own file."""

    def steps(phone: Handset) -> Boot:
        url = _MACROS.sub(phone.mac, phone.url)
        if not url.endswith(".xml"):
            base = url if url.endswith("/") else f"{url}/"
            yield Ask(f"{base}provisioning.xml")
            url = f"{base}{phone.mac}.xml"
        answer = yield Ask(url, own=True)
        found = read(answer.body)
        _is_for(phone.mac, found)
        return make(found)

    return steps


def _is_for(mac: Mac, found: Mapping[str, str]) -> None:
    named = found.get("MAC_ADDRESS")
    if named is not None and named != mac.upper():
        raise ValueError(f"MAC_ADDRESS is {named!r}, which is another phone's: nothing is taken")


def frame(body: bytes) -> dict[str, str]:
    """<ProviderFrame>: the name of an element, or the ID of a SYMB_ITEM, to its value without the quotes of a text."""
    if b'encoding="ISO-8859-1"' not in body.partition(b"\n")[0]:
        raise ValueError("the first line does not say ISO-8859-1")
    root = xml(body)
    if root.tag != "ProviderFrame" or _SCHEMA not in root.attrib or [child.tag for child in root] != ["Provider"]:
        raise ValueError("the root is no <ProviderFrame> of a schema with one <Provider> in it")
    found: dict[str, str] = {}
    for element in root[0]:
        value = element.get("value")
        if value is None or len(element) or (element.text or "").strip():
            raise ValueError(f"<{element.tag}> is no empty element with a value")
        if element.tag == "SYMB_ITEM":
            name = element.get("ID", "")
            if element.get("class") != "symb_item" or _SYMBOL.fullmatch(name) is None:
                raise ValueError(f"SYMB_ITEM {name!r} has no class symb_item, or no name")
            put(found, name, _symbol(name, value))
        elif element.tag == "MAC_ADDRESS":
            put(found, element.tag, value)
        else:
            wanted = "string" if element.tag == "PROFILE_NAME" else _CLASSES.get(element.tag.partition("_")[0])
            if wanted is None or element.get("class") != wanted:
                raise ValueError(f"<{element.tag}> has not the class that its name says")
            put(found, element.tag, _unquoted(element.tag, value) if element.tag in _QUOTED else value)
    return found


def _symbol(name: str, value: str) -> str:
    if value.startswith('"'):
        return _unquoted(name, value)
    if _NUMBERS.fullmatch(value) is None:
        raise ValueError(f"{name} is {value!r}: neither a text in quotes nor numbers")
    return value


def _unquoted(name: str, value: str) -> str:
    if not value.startswith('"') or len(value) < 2 or not value.endswith('"') or '"' in value[1:-1]:
        raise ValueError(f"{name} is a text whose quotes do not match")
    return value[1:-1]


def _port(found: Mapping[str, str], key: str) -> str:
    text = found.get(key, "")
    return str(int(text, 0)) if text else ""


def base(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"BS_IP_Data1\.ucB_SIP_ACCOUNT_IS_ACTIVE_(\d+)", found):
        # The first account's names have no number at their end.
        suffix = "" if slot == 1 else f"_{slot}"

        def key(name: str, suffix: str = suffix) -> str:
            return f"BS_IP_Data1.{name}{suffix}"

        user = found.get(key("aucS_SIP_USER_ID"), "")
        if int(found[f"BS_IP_Data1.ucB_SIP_ACCOUNT_IS_ACTIVE_{slot}"], 0) != 1 or not user:
            continue
        if found.get(f"BS_IP_Data3.aucS_SIP_LOGIN_ID{suffix}") != user:
            raise ValueError(f"account {slot} logs in by another name than its own")
        proxy = ""
        if int(found[key("ucI_OUTBOUND_PROXY_MODE")], 0) == 0:
            proxy = join(found[key("aucS_OUTBOUND_PROXY")], _port(found, key("uiI_OUTBOUND_PROXY_PORT")), "5060")
        domain = join(found[key("aucS_SIP_REGISTRAR")], _port(found, key("uiI_SIP_REGISTRAR_PORT")), "5060")
        lines.append(
            ReadLine(
                slot, user, found[key("aucS_SIP_PASSWORD")], domain, proxy, "udp", found[key("aucS_SIP_DISPLAYNAME")]
            )
        )
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("S_CONFIGFILE_URL") or None,
        firmware_url=found.get("S_SPECIAL_DATA_SRV") or None,
        poll_minutes=None,
    )


def n720(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for index in indexes(r"BS_VOIP_Data\.astVoipAccounts\[(\d+)\]\.ucB_SIP_ACCOUNT_IS_ACTIVE_1", found):
        account = f"BS_VOIP_Data.astVoipAccounts[{index}]."
        user = found.get(f"{account}aucS_SIP_USER_ID[0]", "")
        if found[f"{account}ucB_SIP_ACCOUNT_IS_ACTIVE_1"] != "1" or not user:
            continue
        number = int(found[f"{account}ucVoipProviderIndex"], 0)
        if number > 9:
            raise ValueError(f"account {index} has provider {number}; there are ten, from 0")
        provider = f"BS_VOIP_Data.astVoipProviders[{number}]."
        proxy = ""
        if int(found[f"{provider}ucOUTBOUND_PROXY_MODE"], 0) == 0:
            proxy = join(
                found[f"{provider}aucOUTBOUND_PROXY[%]"], _port(found, f"{provider}uiOUTBOUND_PROXY_PORT"), "5060"
            )
        lines.append(
            ReadLine(
                slot=index + 1,
                username=user,
                password=found[f"{account}aucS_SIP_PASSWORD[0]"],
                domain=join(
                    found[f"{provider}aucSIP_REGISTRAR[%]"], _port(found, f"{provider}uiSIP_REGISTRAR_PORT"), "5060"
                ),
                outbound_proxy=proxy,
                transport=known(
                    {"17": "udp", "6": "tcp"}, found[f"{provider}ucSIP_PREFERRED_TRANSPORT_LAYER"], provider
                ),
                display_name=found[f"{account}aucS_SIP_DISPLAYNAME[0]"],
            )
        )
    return ReadConfiguration(found, tuple(lines), found.get("S_CONFIGFILE_URL") or None, None, None)


def desk(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"B_SIP_ACCOUNT_IS_ACTIVE_(\d+)", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"{name}_{slot}", "")

        if get("B_SIP_ACCOUNT_IS_ACTIVE") != "true" or not get("S_SIP_USER_ID"):
            continue
        proxy = ""
        if get("I_OUTBOUND_PROXY_MODE") == "0":
            proxy = join(get("S_OUTBOUND_PROXY"), get("I_OUTBOUND_PROXY_PORT"), "5060")
        domain = join(get("S_SIP_REGISTRAR"), get("I_SIP_REGISTRAR_PORT"), "5060")
        lines.append(
            ReadLine(slot, get("S_SIP_USER_ID"), get("S_SIP_PASSWORD"), domain, proxy, "udp", get("S_SIP_DISPLAYNAME"))
        )
    # The phone keeps the URL that the redirect service gave it.
    return ReadConfiguration(found, tuple(lines), None, None, None)


def nvm(body: bytes) -> dict[str, str]:
    """<provisioning>: `SIP.Account.0.Active`, `add_hs[00001].hs.RegStatus`, `firmware`."""
    root = xml(body)
    if root.tag != "provisioning" or root.get("version") != "1.1":
        raise ValueError("the root is no <provisioning> of version 1.1")
    found: dict[str, str] = {}
    for section in root:
        if section.tag == "firmware":
            for file in section:
                if file.tag != "file" or not file.get("version"):
                    raise ValueError("<firmware> holds something other than files with a version")
                put(found, "firmware", file.get("url", ""))
        elif section.tag == "nvm":
            for element in section:
                _operation(element, found) if element.tag == "oper" else _parameter(element, "", found)
        elif section.tag != "custom":
            raise ValueError(f"<{section.tag}> is no section of <provisioning>")
    return found


def _operation(element: ET.Element, found: dict[str, str]) -> None:
    name = element.get("name")
    if not name:
        raise ValueError("an oper has no name")
    own = f"{name}[{element.get('value', '')}]"
    put(found, own, element.get("value", ""))
    for child in element:
        _parameter(child, f"{own}.", found)


def _parameter(element: ET.Element, prefix: str, found: dict[str, str]) -> None:
    name, value = element.get("name"), element.get("value")
    if element.tag != "param" or not name or value is None or len(element):
        raise ValueError(f"<{element.tag}> is no param with a name and a value")
    put(found, prefix + name, value)


def dect(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"SipAccount\.(\d{5})\.UserName", found):
        account = f"SipAccount.{slot:05d}."
        if not found[f"{account}UserName"]:
            continue
        number = int(found[f"{account}ProviderId"])
        if number > 19:
            raise ValueError(f"account {slot} has provider {number}; there are twenty, from 0")
        provider = f"SipProvider.{number}."
        transport = known({"1": "udp", "2": "tcp", "3": "tls"}, found[f"{provider}TransportProtocol"], provider)
        port = "5061" if transport == "tls" else "5060"
        proxy = ""
        if found[f"{provider}OutboundProxyMode"] == "0":
            proxy = join(found[f"{provider}OutboundProxyAddress"], found[f"{provider}OutboundProxyPort"], port)
        lines.append(
            ReadLine(
                slot=slot,
                username=found[f"{account}UserName"],
                password=found[f"{account}AuthPassword"],
                domain=join(found[f"{provider}RegServerAddress"], found[f"{provider}RegServerPort"], port),
                outbound_proxy=proxy,
                transport=transport,
                display_name=found[f"{account}DisplayName"],
            )
        )
    url = found.get("Provisioning.global.ProvisioningServer") or None
    return ReadConfiguration(found, tuple(lines), url, found.get("firmware") or None, None)


def maxwell(found: Mapping[str, str]) -> ReadConfiguration:
    transport = known(
        {"": "udp", "1": "udp", "2": "tcp"}, found.get("SIP.TransportProtocol", ""), "SIP.TransportProtocol"
    )
    if found.get("SIP.Security.UseSIPS") == "1":
        transport = "tls"
    port = "5061" if transport == "tls" else "5060"
    lines = []
    for index in indexes(r"SIP\.Account\.(\d+)\.Active", found):
        account = f"SIP.Account.{index}."

        def get(name: str, account: str = account) -> str:
            return found.get(account + name, "")

        if get("Active") != "1" or not get("Username"):
            continue
        proxy = ""
        if get("OutboundProxy.Mode") == "0":
            proxy = join(get("OutboundProxy.Address"), get("OutboundProxy.Port"), port)
        domain = join(get("RegistrationServer.Address"), get("RegistrationServer.Port"), port)
        lines.append(
            ReadLine(index + 1, get("Username"), get("AuthPassword"), domain, proxy, transport, get("DisplayName"))
        )
    url = found.get("System.Provision.ProvisioningServer") or None
    return ReadConfiguration(found, tuple(lines), url, found.get("firmware") or None, None)


# Of the first account these stand without a number, of the others with one.
_SUFFIXED = re.compile(
    r"(aucS_SIP_(?:DISPLAYNAME|DOMAIN|LOGIN_ID|PASSWORD|PROVIDER_NAME|REGISTRAR|SERVER|USER_ID)|aucS_OUTBOUND_PROXY"
    r"|ucB_SIP_USE_STUN|ucI_OUTBOUND_PROXY_MODE|ucI_SIP_PREFERRED_VOCODER"
    r"|uiI_(?:OUTBOUND_PROXY|SIP_REGISTRAR|SIP_SERVER)_PORT|uiI_RE_REGISTRATION_TIMER)(?:_\d+)?",
    re.ASCII,
)


def frame_name(key: str) -> str:
    """`BS_IP_Data#.aucS_SIP_PASSWORD#` of `BS_IP_Data1.aucS_SIP_PASSWORD_2`."""
    block, _, name = key.partition(".")
    if (match := _SUFFIXED.fullmatch(name)) is not None:
        return f"{hashed(block)}.{match[1]}#"
    return hashed(key)


def nvm_name(key: str) -> str:
    """The parameter of an operation, without the operation."""
    operation, _, name = key.partition("].")
    return hashed(name or operation.partition("[")[0])


def dect_told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    restarts = found.get("SystemSettings.global.CheckSyncRebootEnabled") == "1"
    return "fetch" if act == "reboot" and not restarts else act


def never_restarts(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    return "fetch" if check_sync(event, body, found) else None


def _agent(firmware: str, suffix: str = "") -> Callable[[Handset], str]:
    def agent(phone: Handset) -> str:
        return f"{phone.model}{suffix}/{firmware};{phone.mac.upper()}"

    return agent


def _sip_agent(phone: Handset) -> str:
    return f"Gigaset {phone.model}"


DIALECTS = {
    "base": Dialect(
        boot=boot(frame, base),
        settings=frame,
        configuration=base,
        http_agent=_agent("42.258.00.000.000", " IP PRO"),
        sip_agent=_sip_agent,
        told=never_restarts,
        oracle_name=frame_name,
        keeps_polling=False,
    ),
    "dect": Dialect(
        boot=boot(nvm, dect),
        settings=nvm,
        configuration=dect,
        http_agent=lambda phone: f"Gigaset {phone.model} IP PRO/83.V2.65.0+build.a546b91;{phone.mac.upper()}",
        sip_agent=_sip_agent,
        told=dect_told,
        oracle_name=nvm_name,
        keeps_polling=False,
    ),
    "maxwell": Dialect(
        boot=boot(nvm, maxwell),
        settings=nvm,
        configuration=maxwell,
        http_agent=_agent("2.22.4"),
        sip_agent=_sip_agent,
        told=never_restarts,
        oracle_name=nvm_name,
        keeps_polling=False,
    ),
    "desk": Dialect(
        boot=boot(frame, desk),
        settings=frame,
        configuration=desk,
        # The catalogue's DE410IP is the DE410 IP PRO.
        http_agent=lambda phone: f"{phone.model.removesuffix('IP')} IP PRO/02.00.00;{phone.mac.upper()}",
        sip_agent=_sip_agent,
        told=never_restarts,
        oracle_name=frame_name,
        keeps_polling=False,
    ),
    "n720": Dialect(
        boot=boot(frame, n720),
        settings=frame,
        configuration=n720,
        http_agent=lambda phone: f"Gigaset {phone.model} DM PRO/70.108.00.000.000;{phone.mac.upper()}",
        sip_agent=_sip_agent,
        told=never_restarts,
        oracle_name=frame_name,
        keeps_polling=False,
    ),
}
