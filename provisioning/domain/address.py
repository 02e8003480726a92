"""Public IP addresses: what a person types, what a proxy passes on, and when two are the same place."""

import functools
import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from provisioning.domain.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def normal(address: Address) -> Address:
    """An IPv4 address that arrived mapped into IPv6 (RFC 4291 section 2.5.5.2) is IPv4."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def parse(text: str) -> Address:
    """An address as a socket or a proxy spells it, an IPv6 scope dropped; ValueError otherwise."""
    return normal(ipaddress.ip_address(text.partition("%")[0] if ":" in text else text))


def parse_public_ip(text: str, *, private_addresses: bool) -> Address:
    """What a caller gives as a phone's public IP. Refused: `public-ip-malformed`, with the reason."""
    try:
        address = normal(ipaddress.ip_address(text))
    except ValueError:
        raise Refused("public-ip-malformed", _why_malformed(text)) from None
    if address.is_unspecified or address.is_multicast:
        raise Refused("public-ip-malformed", f"{address} is not the address of a phone.")
    if not private_addresses and not address.is_global:
        raise Refused(
            "public-ip-malformed",
            f"{address} is a private address, used inside a home or office only. "
            "Give the phone's public IP, the one the operator sees.",
        )
    return address


def _why_malformed(text: str) -> str:
    for candidate in (text.rpartition(":")[0], text.removeprefix("[").partition("]")[0]):
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return f"Give the address alone, without the port: {candidate}"
    return "This is not an IP address; it looks like 203.0.113.7 or 2001:db8::7."


def place(address: Address) -> str:
    """What two addresses of one router have in common: the IPv4 address, or the IPv6 /64.

    A phone and its owner's browser have different IPv6 addresses in one /64 (RFC 8981).
    """
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


@functools.lru_cache(maxsize=65_536)
def place_of(text: str) -> str:
    """The place of an address that was stored as text."""
    return place(parse(text))


def far_apart(one: str, other: str) -> bool:
    """In different networks of one family: an IPv4 /24 or IPv6 /48. A dual-stack phone uses both families."""
    first, second = parse(one), parse(other)
    if first.version != second.version:
        return False
    host_bits = 8 if first.version == 4 else 80
    return int(first) >> host_bits != int(second) >> host_bits


def within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def client(peer: Address | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The address of whoever is behind the trusted proxies.

    `forwarded` are the X-Forwarded-For field lines in order. They count only if the peer is a
    trusted proxy, and are read from the right: the first hop that is no trusted proxy is the
    client. None: a trusted proxy did not say, or said it unreadably, so nobody is known.
    """
    if peer is None or not within(peer, trusted):
        return peer
    for text in reversed([part for line in forwarded for part in line.split(",")]):
        hop = _hop(text.strip())
        if hop is None or not within(hop, trusted):
            return hop
    return None


def _hop(text: str) -> Address | None:
    """One X-Forwarded-For entry; some proxies add the port, and brackets around IPv6."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse(text)
    except ValueError:
        return None
