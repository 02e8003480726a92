"""Yealink phones and DECT bases: those of firmware V80 and later, and those that stayed below it."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

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

_HEADER = "#!version:1.0.0.1"
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_INCLUDE = re.compile(r'include:config\s+(?:"([^"]+)"|<([^>]+)>|(\S+))', re.ASCII)
_AES_KEY = re.compile(r"(?:[0-9A-Za-z#$%*+,\-.:=?@\[\]^_{}~]{16}){1,2}", re.ASCII)
_CHANGE = re.compile(r"(?:[1-9]|1[0-2])/[1-5]/[1-7]/(?:[0-9]|1[0-9]|2[0-3])", re.ASCII)
_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "2": "tls"}
_PASSWORDS = ("static.security.user_password", "security.user_password")
_SERVERS = range(1, 11)

Read = Callable[[Mapping[str, str]], ReadConfiguration]


def boot(phone: Handset, read: Read) -> Boot:
    """What a .boot file includes, or without one the common file and the phone's own."""
    base, held = _base(phone), phone.held.settings if phone.held else {}
    own = f"{phone.mac}.cfg"
    names: Iterable[str] = (*_common(phone), own)
    for name in (f"{phone.mac}.boot", "y000000000000.boot"):
        answer = yield Ask(f"{base}{name}")
        if answer.status == 200:
            names = included(answer.body)
            break
    merged: dict[str, str] = {}
    for name in names:
        if held.get("static.auto_provision.aes_key_in_file") == "1":
            yield Ask(f"{base}{name.removesuffix('.cfg')}_Security.enc")
        answer = yield Ask(f"{base}{name}", own=name == own)
        if answer.status == 200:
            key = held.get("static.auto_provision.aes_key.mac", "") if name == own else ""
            merged |= settings(_decrypted(answer.body, key))
    if (
        merged.get("static.auto_provision.custom.protect") == "1"
        and merged.get("static.auto_provision.custom.sync") == "1"
    ):
        # What the user changed on the phone is kept on the server, and wins but for `static.`.
        url = f"{base}{phone.mac}-local.cfg"
        answer = yield Ask(url)
        changed = settings(answer.body) if answer.status == 200 else {}
        merged |= {key: value for key, value in changed.items() if not key.startswith("static.")}
        lines = [_HEADER, *(f"{key} = {value}" for key, value in changed.items())]
        yield Ask(url, method="PUT", body="".join(f"{line}\n" for line in lines).encode())
    return read(merged)


def boot_legacy(phone: Handset) -> Boot:
    """Below V80: no .boot file."""
    base = _base(phone)
    merged: dict[str, str] = {}
    for name in _common(phone):
        answer = yield Ask(f"{base}{name}")
        if answer.status == 200:
            merged |= settings(answer.body)
    answer = yield Ask(f"{base}{phone.mac}.cfg", own=True)
    key = phone.held.settings.get("auto_provision.aes_key_16.mac", "") if phone.held else ""
    merged |= settings(_decrypted(answer.body, key))
    return configuration_legacy(merged)


def _base(phone: Handset) -> str:
    return phone.url if phone.url.endswith("/") else f"{phone.url}/"


def _common(phone: Handset) -> tuple[str, ...]:
    return tuple(name for name in phone.common if name.endswith(".cfg"))


def _decrypted(body: bytes, key: str) -> bytes:
    if not key or body.startswith(_HEADER.encode()):
        return body
    if len(body) % 16:
        raise ValueError("this is neither a configuration nor one that is encrypted")
    decryptor = Cipher(algorithms.AES(key.encode()), modes.ECB()).decryptor()  # noqa: S305  the vendor's framing
    return decryptor.update(body) + decryptor.finalize()


def included(body: bytes) -> tuple[str, ...]:
    """Of a .boot file: the configurations it names, in order."""
    lines = body.decode("utf-8").splitlines()
    if not lines or lines[0] != _HEADER:
        raise ValueError(f"the first line is not {_HEADER}")
    names = []
    for position, line in enumerate(lines[1:], 2):
        text = line.strip()
        if not text or text.startswith("#") or re.fullmatch(r"overwrite_mode\s*=\s*[01]", text):
            continue
        match = _INCLUDE.fullmatch(text)
        if match is None:
            raise ValueError(f"line {position} includes no configuration")
        names.append(next(filter(None, match.groups())))
    return tuple(names)


def settings(body: bytes) -> dict[str, str]:
    """The password of `admin:secret` as `static.security.user_password[admin]`, for each user has his own."""
    # splitlines() ends a line wherever any reader might.
    lines = body.decode("utf-8").splitlines()
    if not lines or lines[0] != _HEADER:
        raise ValueError(f"the first line is not {_HEADER}")
    found: dict[str, str] = {}
    for position, line in enumerate(lines[1:], 2):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or _KEY.fullmatch(key) is None:
            raise ValueError(f"line {position} is no parameter = value")
        if key in _PASSWORDS:
            user, colon, value = value.partition(":")
            if not colon or user not in ("admin", "user", "var") or not value:
                raise ValueError(f"line {position} sets no user's password")
            key = f"{key}[{user}]"
        put(found, key, "" if value == "%NULL%" else value)
    return found


def _configuration(
    found: Mapping[str, str], server_of: Callable[[Mapping[str, str], int], tuple[str, str, str]], static: str
) -> ReadConfiguration:
    _check(found)
    lines = []
    for slot in indexes(r"account\.(\d+)\.enable", found):

        def get(name: str, slot: int = slot) -> str:
            return found.get(f"account.{slot}.{name}", "")

        if get("enable") != "1" or not get("user_name"):
            continue
        domain, proxy, transport = server_of(found, slot)
        lines.append(ReadLine(slot, get("user_name"), get("password"), domain, proxy, transport, get("display_name")))
    polls = found.get(f"{static}auto_provision.repeat.enable") == "1"
    minutes = f"{static}auto_provision.repeat.minutes"
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get(f"{static}auto_provision.server.url") or None,
        firmware_url=found.get(f"{static}firmware.url") or None,
        poll_minutes=number(found.get(minutes), minutes) if polls else None,
        phonebook_url=found.get("remote_phonebook.data.1.url") or None,
    )


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    return _configuration(found, _numbered_server, "static.")


def configuration_multicell(found: Mapping[str, str]) -> ReadConfiguration:
    return _configuration(found, _shared_server, "static.")


def configuration_legacy(found: Mapping[str, str]) -> ReadConfiguration:
    return _configuration(found, _legacy_server, "")


def _server(
    found: Mapping[str, str], transport_key: str, server: tuple[str, str], enable: str, proxy: tuple[str, str]
) -> tuple[str, str, str]:
    """Registrar, outbound proxy and transport, of the names of their parameters."""

    def get(name: str) -> str:
        return found.get(name, "")

    transport = known(_TRANSPORTS, get(transport_key), transport_key)
    default_port = "5061" if transport == "tls" else "5060"
    domain = join(get(server[0]), get(server[1]), default_port)
    uses_proxy = get(enable) == "1"
    return domain, join(get(proxy[0]), get(proxy[1]), default_port) if uses_proxy else "", transport


def _numbered_server(found: Mapping[str, str], slot: int) -> tuple[str, str, str]:
    account = f"account.{slot}."
    return _server(
        found,
        f"{account}sip_server.1.transport_type",
        (f"{account}sip_server.1.address", f"{account}sip_server.1.port"),
        f"{account}outbound_proxy_enable",
        (f"{account}outbound_proxy.1.address", f"{account}outbound_proxy.1.port"),
    )


def _shared_server(found: Mapping[str, str], slot: int) -> tuple[str, str, str]:
    name = f"account.{slot}.sip_server.template"
    chosen = number(found.get(name, ""), name)
    if chosen not in _SERVERS:
        raise ValueError(f"{name} is {chosen}; there are ten")
    template = f"template.{chosen}."
    return _server(
        found,
        f"{template}sip_server.1.transport_type",
        (f"{template}sip_server.1.address", f"{template}sip_server.1.port"),
        f"{template}outbound.enable",
        (f"{template}outbound.1.address", f"{template}outbound.1.port"),
    )


def _legacy_server(found: Mapping[str, str], slot: int) -> tuple[str, str, str]:
    account = f"account.{slot}."
    if f"{account}sip_server_host" in found:
        server = (f"{account}sip_server_host", f"{account}sip_server_port")
        proxy = (f"{account}outbound_host", f"{account}outbound_port")
    else:
        server = (f"{account}sip_server.1.address", f"{account}sip_server.1.port")
        proxy = (f"{account}outbound_proxy.1.address", f"{account}outbound_proxy.1.port")
    return _server(found, f"{account}transport", server, f"{account}outbound_proxy_enable", proxy)


def _check(found: Mapping[str, str]) -> None:
    """What a phone would not take, or take for something else."""
    for name in ("local_time.start_time", "local_time.end_time"):
        if name in found and _CHANGE.fullmatch(found[name]) is None:
            raise ValueError(f"{name} is {found[name]!r}, which is no month/week/weekday/hour")
    for name, value in found.items():
        if name.endswith(("aes_key.mac", "aes_key_16.mac")) and value and _AES_KEY.fullmatch(value) is None:
            raise ValueError(f"{name} is not of 16 or 32 characters that it may hold")
    for slot in indexes(r"account\.(\d+)\.enable", found):
        named = rf"account\.{slot}\.codec\.[a-z]\w*\.priority"
        priorities = [value for name, value in found.items() if re.fullmatch(named, name)]
        if len(set(priorities)) != len(priorities):
            raise ValueError(f"two codecs of account {slot} have one priority")


def oracle_name(key: str) -> str:
    return hashed(key.partition("[")[0])


def contacts(body: bytes) -> tuple[ReadContact, ...]:
    root = xml(body)
    if root.tag != "YealinkIPPhoneDirectory":
        raise ValueError(f"the root is <{root.tag}>, not <YealinkIPPhoneDirectory>")
    return tuple(
        ReadContact(entry.findtext("Name") or "", tuple(item.text or "" for item in entry.iter("Telephone")))
        for entry in root.iter("DirectoryEntry")
    )


def told(event: str, body: str, found: Mapping[str, str]) -> Act | None:
    act = check_sync(event, body, found)
    if act is None:
        return None
    # 0: as the event says; 1, the default: always reboot; 2: ignore.
    policy = found.get("sip.notify_reboot_enable", "1")
    return "nothing" if policy == "2" else "reboot" if policy == "1" else act


def _agent(phone: Handset, version: str = "86.0.15") -> str:
    # The firmware's first number is, on most models, the product id in the common file's name.
    ids = [int(match[1]) for file in phone.common if (match := re.fullmatch(r"y0*(\d+)\.cfg", file))]
    return f"Yealink {'SIP-' if phone.model.startswith('T') else ''}{phone.model} {ids[0] if ids else 66}.{version}"


def _agent_legacy(phone: Handset) -> str:
    agent = _agent(phone, "73.0.30")
    return agent.removeprefix("Yealink ") if phone.model.startswith("VP530") else agent


def _with_mac(agent: str, phone: Handset) -> str:
    return f"{agent} {macs.spelled(phone.mac).lower()}"


_DESK = Dialect(
    boot=partial(boot, read=configuration),
    settings=settings,
    configuration=configuration,
    http_agent=lambda phone: _with_mac(_agent(phone), phone),
    sip_agent=_agent,
    contacts=contacts,
    told=told,
    oracle_name=oracle_name,
)
DIALECTS = {
    "desk": _DESK,
    "dect": _DESK,
    "multicell": Dialect(
        boot=partial(boot, read=configuration_multicell),
        settings=settings,
        configuration=configuration_multicell,
        http_agent=_DESK.http_agent,
        sip_agent=_agent,
        contacts=contacts,
        told=told,
        oracle_name=oracle_name,
    ),
    "legacy": Dialect(
        boot=boot_legacy,
        settings=settings,
        configuration=configuration_legacy,
        http_agent=lambda phone: _with_mac(_agent_legacy(phone), phone),
        sip_agent=_agent_legacy,
        contacts=contacts,
        told=told,
        oracle_name=oracle_name,
    ),
}
