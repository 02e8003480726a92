from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import address as addresses
from provisioning.domain.errors import Refused

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48"))
PROXY = ip_address("10.0.0.1")


def refused(text: str, *, private_addresses: bool = False) -> str:
    with pytest.raises(Refused) as caught:
        addresses.parse_public_ip(text, private_addresses=private_addresses)
    assert caught.value.code == "public-ip-malformed"
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("8.8.8.8", "8.8.8.8"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.168.1.20", "192.168.1.20"),
    ],
)
def test_an_address_is_read(text: str, address: str):
    assert str(addresses.parse_public_ip(text, private_addresses=True)) == address


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("203.0.113.7:5060", "203.0.113.7"),
        ("[2001:db8::7]:5060", "2001:db8::7"),
        ("2001:db8:0:0:0:0:0:7:5060", "2001:db8:0:0:0:0:0:7"),
        ("[203.0.113.7]", "203.0.113.7"),
    ],
)
def test_a_port_is_named_as_what_is_too_much(text: str, alone: str):
    assert refused(text) == f"Give the address alone, without the port: {alone}"


@pytest.mark.parametrize("text", ["", "here", "203.0.113", "203.0.113.256", "203.0.113.007", "0x7f000001", "1", "::g"])
def test_what_is_no_address_is_told_what_one_looks_like(text: str):
    assert "looks like" in refused(text)


@pytest.mark.parametrize(
    "text", ["192.168.1.20", "10.1.2.3", "172.16.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "fd00::1", "fe80::1"]
)
def test_a_private_address_is_refused_as_private(text: str):
    assert "private address" in refused(text)


def test_a_private_address_mapped_into_ipv6_is_still_private():
    assert refused("::ffff:192.168.1.20").startswith("192.168.1.20 is a private address")


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "224.0.0.1", "239.1.2.3", "ff02::1"])
@pytest.mark.parametrize("private_addresses", [True, False])
def test_nobodys_address_is_no_phones(text: str, private_addresses: bool):
    assert "not the address of a phone" in refused(text, private_addresses=private_addresses)


@given(st.text(max_size=60))
def test_whatever_is_typed_is_an_address_or_refused(text: str):
    try:
        address = addresses.parse_public_ip(text, private_addresses=True)
    except Refused:
        assert refused(text, private_addresses=True)
    else:
        assert addresses.parse_public_ip(str(address), private_addresses=True) == address


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_two_addresses_of_one_ipv6_64_are_one_place(address, host: int):
    neighbour = IPv6Address(int(address) >> 64 << 64 | host)
    assert addresses.place(address) == addresses.place(neighbour)


@given(st.ip_addresses(v=6), st.integers(64, 127))
def test_another_ipv6_network_is_another_place(address, bit: int):
    assert addresses.place(address) != addresses.place(IPv6Address(int(address) ^ 1 << bit))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_ipv4_place_is_the_address(one, other):
    assert (addresses.place(one) == addresses.place(other)) == (one == other)


def test_an_address_of_a_socket_loses_its_scope():
    assert str(addresses.parse("fe80::1%eth0")) == "fe80::1"


def test_a_mapped_address_of_a_socket_is_ipv4():
    assert str(addresses.parse("::ffff:203.0.113.7")) == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        # Only what the last trusted hop appended counts; what stands left of it may be invented.
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7, 10.0.0.9", "10.0.0.8"], "203.0.113.7"),
        (["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (["garbage, 203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7:49152"], "203.0.113.7"),
        (["[2001:db8::7]:49152"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["2001:db8::7, 2001:db8:ffff::2"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["  203.0.113.7  "], "203.0.113.7"),
        (["203.0.113.7, garbage"], None),
        (["203.0.113.7, "], None),
        (["unknown"], None),
        (["_hidden"], None),
        (['for="203.0.113.7"'], None),
        (["203.0.113.7,203.0.113.8:x:y"], None),
        (["10.0.0.9, 10.0.0.8"], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_client_behind_a_trusted_proxy(forwarded: list[str], client: str | None):
    found = addresses.client(PROXY, forwarded, TRUSTED)
    assert (None if found is None else str(found)) == client


@pytest.mark.parametrize("peer", ["203.0.113.99", "11.0.0.1", "2001:db8::1"])
def test_nobody_else_speaks_for_a_client(peer: str):
    assert addresses.client(ip_address(peer), ["198.51.100.1"], TRUSTED) == ip_address(peer)


def test_an_unknown_peer_speaks_for_nobody():
    assert addresses.client(None, ["198.51.100.1"], TRUSTED) is None


def test_without_trusted_proxies_a_header_says_nothing():
    assert addresses.client(PROXY, ["198.51.100.1"], ()) == PROXY


@given(st.lists(st.text(max_size=40), max_size=4), st.ip_addresses())
def test_nothing_a_client_invents_changes_what_the_proxy_saw(invented: list[str], seen):
    if addresses.within(addresses.normal(seen), TRUSTED):
        return
    found = addresses.client(PROXY, [*invented, str(seen)], TRUSTED)
    assert found == addresses.client(PROXY, [str(seen)], TRUSTED) == addresses.normal(seen)
