"""Snom desk phones."""

from collections.abc import Mapping

from provisioning.simulator.dialects.base import (
    Ask,
    Boot,
    Dialect,
    Handset,
    ReadConfiguration,
    ReadLine,
    hashed,
    indexes,
    number,
    put,
    xml,
)

_PERMISSIONS = frozenset(("", "R", "RW", "!", "$", "&"))


def boot(phone: Handset) -> Boot:
    answer = yield Ask(phone.url.replace("{mac}", phone.mac.upper()), own=True)
    if answer.status == 304 and phone.held is not None:
        return phone.held
    return configuration(settings(answer.body))


def settings(body: bytes) -> dict[str, str]:
    """`user_name[1]`, `fkey[0].label`."""
    root = xml(body)
    if root.tag != "settings":
        raise ValueError(f"the root is <{root.tag}>, not <settings>")
    found: dict[str, str] = {}
    for section in root:
        if section.tag not in ("phone-settings", "functionKeys"):
            raise ValueError(f"<{section.tag}> is no section of <settings>")
        for element in section:
            if len(element):
                raise ValueError(f"<{element.tag}> holds an element where a value belongs")
            if element.get("perm", "") not in _PERMISSIONS:
                raise ValueError(f"<{element.tag}> has an unknown perm")
            index = element.get("idx")
            key = element.tag if index is None else f"{element.tag}[{index}]"
            put(found, key, element.text or "")
            for attribute, text in element.items():
                if attribute not in ("idx", "perm"):
                    put(found, f"{key}.{attribute}", text)
    return found


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
    return ReadConfiguration(
        settings=found,
        lines=tuple(lines),
        provisioning_url=found.get("setting_server") or None,
        firmware_url=found.get("firmware") or None,
        poll_minutes=seconds // 60 if seconds else None,
    )


def oracle_name(key: str) -> str:
    """Indexes are attributes in Snom's XML: `user_name` of `user_name[1]`."""
    return hashed(key).replace("[#]", "")


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
        challenges=lambda found: found.get("challenge_checksync") == "on",
        oracle_name=oracle_name,
        conditional=True,
    )
}
