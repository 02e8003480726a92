"""Yealink phones of firmware V80 and later."""

import re
from collections.abc import Mapping

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
    indexes,
    join,
    known,
    number,
    put,
    xml,
)

_HEADER = "#!version:1.0.0.1"
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_TRANSPORTS = {"": "udp", "0": "udp", "1": "tcp", "2": "tls"}


def boot(phone: Handset) -> Boot:
    base = phone.url if phone.url.endswith("/") else f"{phone.url}/"
    # A 404 to both .boot files leads to the .cfg files.
    yield Ask(f"{base}{phone.mac}.boot")
    yield Ask(f"{base}y000000000000.boot")
    merged: dict[str, str] = {}
    for name in phone.common:
        if name.endswith(".cfg"):
            answer = yield Ask(f"{base}{name}")
            if answer.status == 200:
                merged |= settings(answer.body)
    answer = yield Ask(f"{base}{phone.mac}.cfg", own=True)
    key = phone.held.settings.get("static.auto_provision.aes_key.mac", "") if phone.held else ""
    merged |= settings(_decrypted(answer.body, key))
    return configuration(merged)


def _decrypted(body: bytes, key: str) -> bytes:
    if not key or body.startswith(_HEADER.encode()):
        return body
    decryptor = Cipher(algorithms.AES(key.encode()), modes.ECB()).decryptor()  # noqa: S305  the vendor's framing
    return decryptor.update(body) + decryptor.finalize()


def settings(body: bytes) -> dict[str, str]:
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
        put(found, key, "" if value == "%NULL%" else value)
    return found


def configuration(found: Mapping[str, str]) -> ReadConfiguration:
    lines = []
    for slot in indexes(r"account\.(\d+)\.enable", found):
        account = f"account.{slot}."

        def get(name: str, account: str = account) -> str:
            return found.get(account + name, "")

        if get("enable") != "1" or not get("user_name"):
            continue
        transport = known(_TRANSPORTS, get("sip_server.1.transport_type"), account + "transport_type")
        default_port = "5061" if transport == "tls" else "5060"
        proxy = ""
        if get("outbound_proxy_enable") == "1":
            proxy = join(get("outbound_proxy.1.address"), get("outbound_proxy.1.port"), default_port)
        domain = join(get("sip_server.1.address"), get("sip_server.1.port"), default_port)
        lines.append(ReadLine(slot, get("user_name"), get("password"), domain, proxy, transport, get("display_name")))
    polls = found.get("static.auto_provision.repeat.enable") == "1"
    minutes = found.get("static.auto_provision.repeat.minutes") if polls else None
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("static.auto_provision.server.url") or None,
        firmware_url=found.get("static.firmware.url") or None,
        poll_minutes=number(minutes, "static.auto_provision.repeat.minutes"),
        phonebook_url=found.get("remote_phonebook.data.1.url") or None,
    )


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


def _agent(phone: Handset) -> str:
    # The firmware's first number is, on most models, the product id in the common file's name.
    ids = [int(match[1]) for file in phone.common if (match := re.fullmatch(r"y0*(\d+)\.cfg", file))]
    return f"Yealink {'SIP-' if phone.model.startswith('T') else ''}{phone.model} {ids[0] if ids else 66}.86.0.15"


DIALECTS = {
    "desk": Dialect(
        boot=boot,
        settings=settings,
        configuration=configuration,
        http_agent=lambda phone: f"{_agent(phone)} {macs.spelled(phone.mac).lower()}",
        sip_agent=_agent,
        contacts=contacts,
        told=told,
    )
}
