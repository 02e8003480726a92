"""Grandstream adapters, phones and DECT bases, by what each reads: numbered P-values, or named settings."""

import re
from collections.abc import Callable, Mapping

from provisioning.domain.mac import Mac
from provisioning.simulator import decryption
from provisioning.simulator.dialects.base import (
    Act,
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadContact,
    ReadLine,
    hashed,
    known,
    number,
    put,
    xml,
)

_TRANSPORTS = {"0": "udp", "1": "tcp", "2": "tls"}
_NAMED_TRANSPORTS = {"UDP": "udp", "TCP": "tcp", "TlsOrTcp": "tls"}
_P_VALUE = re.compile(r"P[1-9][0-9]{0,4}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+", re.ASCII)
_PATH = re.compile(r"[^/\s]+(?:/[^/\s]+)*", re.ASCII)

# server, outbound proxy, user, authentication, password, name, transport, active, by port or account
_Numbers = tuple[int, int, int, int, int, int, int, int]
_FIRST: _Numbers = (47, 48, 35, 36, 34, 3, 130, 271)
_PORTS = (_FIRST, (747, 748, 735, 736, 734, 703, 830, 401))
_ACCOUNTS = (
    _FIRST,
    (402, 403, 404, 405, 406, 407, 448, 401),
    (502, 503, 504, 505, 506, 507, 548, 501),
    (602, 603, 604, 605, 606, 607, 648, 601),
    (1702, 1703, 1704, 1705, 1706, 1707, 1748, 1701),
    (1802, 1803, 1804, 1805, 1806, 1807, 1848, 1801),
)
# server, outbound proxy, transport, active
_PROFILES = ((47, 48, 130, 271), (747, 748, 830, 401), (547, 548, 530, 501), (602, 603, 4648, 601))
_DECT_ACCOUNTS = 10


def _boot(binary: str, password: str, reader: Callable[[bytes], ReadConfiguration]) -> Callable[[Handset], Boot]:
    """`binary`: what follows cfg<mac> in the name of the binary file; `password`: the setting that decrypts."""

    def boot(phone: Handset) -> Boot:
        base = f"{phone.url.rstrip('/')}/cfg{phone.mac}"
        answer = yield Ask(f"{base}{binary}")
        if answer.status == 200:
            raise ValueError("the binary file is not of this vendor's own making")
        answer = yield Ask(f"{base}.xml", own=True)
        body = decrypted(answer.body, phone.held.settings.get(password, "") if phone.held else "")
        _check_mac(body, phone.mac)
        return reader(body)

    return boot


def decrypted(body: bytes, password: str) -> bytes:
    """As the openssl command did it (XML provisioning guide, "XML file encryption")."""
    if not body.startswith(decryption.SALTED):
        return body
    if not password:
        raise ValueError("the file is encrypted, and no XML Config File Password is set")
    return decryption.openssl(body, password)


def _check_mac(body: bytes, mac: Mac) -> None:
    said = xml(body).findtext("mac")
    if said is not None and said.lower() != mac:
        raise ValueError(f"<mac> is {said}, and the phone's is {mac}")


def _config(body: bytes, version: str) -> list[tuple[str, str, dict[str, str]]]:
    """The elements of <config>: tag, text, attributes."""
    root = xml(body)
    if root.tag != "gs_provision" or root.get("version") != "1":
        raise ValueError(f'the root is <{root.tag} version="{root.get("version")}">, not <gs_provision version="1">')
    tags = [child.tag for child in root]
    if tags not in (["config"], ["mac", "config"]):
        raise ValueError(f"<gs_provision> holds {', '.join(tags) or 'nothing'}, not <mac> and <config>")
    config = root[-1]
    if config.get("version") != version:
        raise ValueError(f'this phone reads <config version="{version}">')
    for element in config:
        if len(element):
            raise ValueError(f"<{element.tag}> holds an element where a value belongs")
    return [(element.tag, element.text or "", dict(element.items())) for element in config]


def p_values(body: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag, text, attributes in _config(body, "1"):
        if _P_VALUE.fullmatch(tag) is None or attributes:
            raise ValueError(f"<{tag}> is no P-value")
        put(found, tag, text)
    return found


def named(body: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag, text, attributes in _config(body, "2"):
        name = attributes.pop("name", "")
        if tag != "item" or attributes or _NAME.fullmatch(name) is None:
            raise ValueError(f"<{tag}> is no item with a name")
        put(found, name, text)
    return found


def _url(scheme: str | None, path: str, end: str) -> str | None:
    """Of a path without a scheme, which the phone refuses to have in it."""
    if not path:
        return None
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"{path!r} is no host and folder")
    return f"{scheme}://{path}{end}"


def _p_configuration(found: Mapping[str, str], lines: tuple[ReadLine, ...], *, gxp: bool) -> ReadConfiguration:
    schemes = {"1": "http", "2": "https"}
    # On adapters and bases 1 is once a day and 3 each P193 minutes; on phones 1 is each P193 minutes.
    every = number(found.get("P193"), "P193")
    if every is not None and every < 60:
        raise ValueError(f"P193 is {every}; it is 60 minutes or more")
    daily = not gxp and found.get("P194") == "1"
    polls = found.get("P194") == ("1" if gxp else "3")
    book = {"1": "http", "3": "https"}.get(found.get("P330", "0"))
    return ReadConfiguration(
        settings=found,
        lines=lines,
        provisioning_url=_url(schemes.get(found.get("P212", "")), found.get("P237", ""), "/"),
        firmware_url=_url(schemes.get(found.get("P6767", "")), found.get("P192", ""), "/"),
        poll_minutes=1440 if daily else every if polls else None,
        phonebook_url=_url(book, found.get("P331", ""), "/phonebook.xml") if book else None,
    )


def _per_port(numbers: tuple[_Numbers, ...], *, gxp: bool) -> Callable[[Mapping[str, str]], ReadConfiguration]:
    def configuration(found: Mapping[str, str]) -> ReadConfiguration:
        lines = []
        for slot, keys in enumerate(numbers, 1):
            server, proxy, user, _, password, name, transport, active = (found.get(f"P{key}", "") for key in keys)
            if active == "1" and user and server:
                means = known(_TRANSPORTS, transport, f"P{keys[6]}")
                lines.append(ReadLine(slot, user, password, server, proxy, means, name))
        return _p_configuration(found, tuple(lines), gxp=gxp)

    return configuration


def _by_profile(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for place in range(_DECT_ACCOUNTS):

        def get(base: int, place: int = place) -> str:
            return found.get(f"P{base + place}", "")

        if get(4595) != "1" or not get(4060):
            continue
        profile = number(get(4150), f"P{4150 + place}")
        if profile is None or profile >= len(_PROFILES):
            raise ValueError(f"P{4150 + place} is no profile")
        server, proxy, transport, active = (found.get(f"P{key}", "") for key in _PROFILES[profile])
        if active == "1" and server:
            means = known(_TRANSPORTS, transport, f"P{_PROFILES[profile][2]}")
            lines.append(ReadLine(place + 1, get(4060), get(4120), server, proxy, means, get(4180)))
    return _p_configuration(found, tuple(lines), gxp=False)


def _named_configuration(found: Mapping[str, str]) -> ReadConfiguration:
    slots = sorted({int(match[1]) for key in found if (match := re.fullmatch(r"account\.(\d+)\.enable", key))})
    lines = []
    for slot in slots:

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"account.{slot}.{name}", "")

        if get("enable") not in ("Yes", "No"):
            raise ValueError(f"account.{slot}.enable is neither Yes nor No")
        if get("enable") == "Yes" and get("sip.userid") and get("sip.server.1.address"):
            lines.append(
                ReadLine(
                    slot,
                    get("sip.userid"),
                    get("sip.subscriber.password"),
                    get("sip.server.1.address"),
                    get("sip.outboundProxy.1.address"),
                    known(_NAMED_TRANSPORTS, get("sip.transport"), f"account.{slot}.sip.transport"),
                    get("sip.subscriber.name"),
                )
            )
    schemes = {"HTTP": "http", "HTTPS": "https"}
    every = number(found.get("provisioning.auto.minute"), "provisioning.auto.minute")
    book = {"EnabledUseHTTP": "http", "EnabledUseHTTPS": "https"}.get(found.get("phonebook.download.mode", ""))
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=_url(
            schemes.get(found.get("provisioning.config.protocol", "")),
            found.get("provisioning.config.serverPath", ""),
            "/",
        ),
        firmware_url=_url(
            schemes.get(found.get("provisioning.firmware.protocol", "")),
            found.get("provisioning.firmware.serverPath", ""),
            "/",
        ),
        poll_minutes=every if found.get("provisioning.auto.mode") == "YesUpgradeMin" else None,
        phonebook_url=_url(book, found.get("phonebook.download.server", ""), "/phonebook.xml") if book else None,
    )


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    """GXP series XML phonebook guide: names are case-sensitive, a number's account index is mandatory."""
    root = xml(body)
    if root.tag != "AddressBook":
        raise ValueError(f"the root is <{root.tag}>, not <AddressBook>")
    found = []
    for entry in root.iter("Contact"):
        numbers = []
        for phone in entry.iter("Phone"):
            if phone.get("type") not in ("Work", "Home", "Mobile", "Fax", "Other"):
                raise ValueError(f"a <Phone> is of type {phone.get('type')!r}")
            if not (phone.findtext("accountindex") or "").isdigit():
                raise ValueError("a <Phone> says no account")
            numbers.append(phone.findtext("phonenumber") or "")
        parts = (entry.findtext("FirstName"), entry.findtext("LastName"))
        found.append(ReadContact(" ".join(part for part in parts if part), tuple(numbers)))
    return tuple(found)


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:  # noqa: ARG001  one signature for all
    package = event.partition(";")[0].strip().lower()
    return {"resync": "fetch", "check-sync": "reboot"}.get(package)  # type: ignore[return-value]


def challenges(found: Mapping[str, str]) -> bool:
    """ "Disable SIP NOTIFY Authentication": 1, and with names the other way round, No."""
    if "P4428" in found:
        return found["P4428"] != "1"
    return found.get("sip.notify.challenge", "No") != "No"


def _dialect(
    settings: Callable[[bytes], dict[str, str]],
    configuration: Callable[[Mapping[str, str]], ReadConfiguration],
    *,
    binary: str,
    names: bool,
    book: bool,
    firmware: str,
) -> Dialect:
    def of(body: bytes) -> ReadConfiguration:
        return configuration(settings(body))

    return Dialect(
        boot=_boot(binary, "provisioning.config.filePassword" if names else "P1359", of),
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"Grandstream Model HW {phone.model} SW {firmware} DevId {phone.mac}",
        sip_agent=lambda phone: f"Grandstream {phone.model} {firmware}",
        contacts=contacts if book else None,
        told=told,
        challenges=challenges,
        oracle_name=hashed if names else str,
    )


DIALECTS = {
    "ata": _dialect(p_values, _per_port(_PORTS, gxp=False), binary="", names=False, book=False, firmware="1.0.10.6"),
    "gxp": _dialect(p_values, _per_port(_ACCOUNTS, gxp=True), binary="", names=False, book=True, firmware="1.0.9.127"),
    "grp": _dialect(named, _named_configuration, binary=".bin", names=True, book=True, firmware="1.0.5.15"),
    "gxv": _dialect(named, _named_configuration, binary=".bin", names=True, book=True, firmware="1.0.3.27"),
    "dect": _dialect(p_values, _by_profile, binary="", names=False, book=True, firmware="1.0.2.16"),
}
