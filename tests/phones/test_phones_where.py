"""Where a phone is: the address that its connection really comes from."""

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
from running import Api, Server
from wire import (
    Bound,
    Reply,
    bound,
    closed_within,
    connect,
    get,
    managing,
    read_reply,
    request,
    running,
    secret_of,
    seen,
    until,
)

V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its trusted proxy is 127.0.0.1; what comes from 127.0.0.2 is a stranger's."""
    directory = tmp_path_factory.mktemp("behind-a-proxy")
    with running(directory, NETWORK__TRUSTED_PROXIES="127.0.0.1/32,10.0.0.0/8", LIMITS__HANDSHAKE="1") as its:
        yield its


@pytest.fixture
async def phone(api: Api, request: pytest.FixtureRequest) -> Bound:
    return await bound(api, f"001565{zlib.crc32(request.node.name.encode()) % 0xFFFFFF:06x}")


async def where(api: Api, phone: Bound) -> str | None:
    return (await seen(api, phone.mac))["public_ip"]


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2 + bytes([command, family]) + struct.pack("!H", len(body)) + body


def tcp4(source: str) -> bytes:
    return v2(0x21, 0x11, socket.inet_aton(source) * 2 + b"\x01\x02\x01\x02")


def tcp6(source: str) -> bytes:
    return v2(0x21, 0x21, socket.inet_pton(socket.AF_INET6, source) * 2 + b"\x01\x02\x01\x02")


async def test_a_phone_is_where_its_connection_comes_from(server: Server, api: Api, phone: Bound) -> None:
    before = time.time()
    get(server, phone.path(), "User-Agent: Yealink SIP-T54W 96.86.0.23 00:15:65:00:00:01", source="127.0.0.7")
    body = await seen(api, phone.mac)
    assert body["public_ip"] == "127.0.0.7"
    assert body["firmware"] == "96.86.0.23"
    assert abs(time.mktime(time.strptime(body["last_seen"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - before) < 5


async def test_a_phone_that_moves_is_followed(server: Server, api: Api, phone: Bound) -> None:
    for source in ("127.0.0.7", "127.0.0.8"):
        get(server, phone.path(), source=source)

        async def there(wanted: str = source) -> bool:
            return await where(api, phone) == wanted

        await until(there)
    kinds = [event["kind"] for event in (await api.get(f"/v1/phones/{phone.mac}/events")).body["items"]]
    assert "moved" in kinds


@pytest.mark.parametrize(
    "field", ["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9"]
)
async def test_a_strangers_word_for_its_address_does_not_count(
    server: Server, api: Api, phone: Bound, field: str
) -> None:
    get(server, phone.path(), field, source="127.0.0.2")
    assert await where(api, phone) == "127.0.0.2"


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        (("203.0.113.9",), "203.0.113.9"),
        (("198.51.100.1, 203.0.113.9",), "203.0.113.9"),
        (("198.51.100.1", "203.0.113.9"), "203.0.113.9"),
        (("203.0.113.9", "10.1.2.3"), "203.0.113.9"),
        (("203.0.113.9, 10.1.2.3, 127.0.0.1",), "203.0.113.9"),
        (("198.51.100.1,203.0.113.9:4711",), "203.0.113.9"),
        (("2001:db8::7",), "2001:db8::7"),
        (("[2001:db8::7]:4711",), "2001:db8::7"),
        (("::ffff:203.0.113.9",), "203.0.113.9"),
        (("  203.0.113.9  ",), "203.0.113.9"),
        # A proxy that says nothing readable says nothing.
        ((), None),
        (("",), None),
        (("unknown",), None),
        (("203.0.113.9,",), None),
        (("203.0.113.9, _hidden",), None),
        (('"203.0.113.9"',), None),
        (("203.0.113.256",), None),
        (("10.1.2.3",), None),
        (("203.0.113.\u0669",), None),
        ((",".join(["10.0.0.1"] * 50),), None),
    ],
)
async def test_a_trusted_proxys_word_is_read_from_the_right(
    server: Server, api: Api, phone: Bound, fields: tuple[str, ...], address: str | None
) -> None:
    reply = get(server, phone.path(), *(f"X-Forwarded-For: {field}" for field in fields))
    assert phone.password.encode() in reply.body
    assert await where(api, phone) == address


async def test_a_door_is_for_the_forwarded_address_and_its_ipv6_neighbours(
    server: Server, api: Api, phone: Bound
) -> None:
    answer = await api.post(f"/v1/phones/{phone.mac}/reset", {"public_ip": "2001:db8:d00::1"})
    assert secret_of(answer.body["provisioning_url"])

    def opens(address: str, source: str = "127.0.0.1") -> bool:
        return phone.password.encode() in get(server, phone.bare(), f"X-Forwarded-For: {address}", source=source).body

    assert opens("2001:db8:d00::abcd")
    assert not opens("2001:db8:d00:1::1")
    assert not opens("2001:db8:d00::1", source="127.0.0.2")
    assert not opens("2001:db8:d00::1, unknown")
    assert not opens("")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n", "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n", None),
        (tcp4("203.0.113.9"), "203.0.113.9"),
        (tcp6("2001:db8::9"), "2001:db8::9"),
        (
            v2(0x21, 0x11, socket.inet_aton("203.0.113.9") * 2 + b"\x01\x02" * 2 + b"\x04\x00\x40" + b"x" * 2000),
            "203.0.113.9",
        ),
        (v2(0x20, 0x00, b""), None),
        (v2(0x21, 0x31, b"x" * 216), None),
    ],
    ids=["1-TCP4", "1-TCP6", "1-UNKNOWN", "1-UNKNOWN-more", "2-TCP4", "2-TCP6", "2-long", "2-LOCAL", "2-UNIX"],
)
async def test_a_proxy_header_says_where_a_phone_is(
    server: Server, api: Api, phone: Bound, header: bytes, address: str | None, tls: bool
) -> None:
    assert phone.password.encode() in get(server, phone.path(), first=header, tls=tls).body
    assert await where(api, phone) == address


async def test_a_proxied_phone_has_no_say_of_its_own(server: Server, api: Api, phone: Bound) -> None:
    get(server, phone.path(), "X-Forwarded-For: 198.51.100.1", first=tcp4("203.0.113.9"))
    assert await where(api, phone) == "203.0.113.9"


async def test_an_address_that_is_unknown_now_is_not_told_from_before(server: Server, api: Api, phone: Bound) -> None:
    get(server, phone.path(), "X-Forwarded-For: 203.0.113.9")

    assert await where(api, phone) == "203.0.113.9"
    get(server, phone.path())

    async def unknown() -> bool:
        return await where(api, phone) is None

    await until(unknown)


async def test_a_proxy_header_may_come_in_pieces(server: Server, api: Api, phone: Bound) -> None:
    for header in (b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n", tcp4("203.0.113.9")):
        with connect(server) as its, its.makefile("rb") as file:
            its.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + request(phone.path())[:5]:
                its.sendall(bytes([byte]))
                await asyncio.sleep(0.003)
            its.sendall(request(phone.path())[5:])
            assert read_reply(file).status == 200
    assert await where(api, phone) == "203.0.113.9"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY \r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n",
        b"PROXY TCP9 1 2 3 4\r\n",
        b"PROXY " + b"x" * 200,
        v2(0x2F, 0x11, b"x" * 12),
        v2(0x21, 0x11, b"xyz"),
        v2(0x31, 0x11, b"x" * 12),
    ],
)
def test_a_proxy_header_that_is_none_ends_the_connection(server: Server, header: bytes) -> None:
    with connect(server) as its:
        its.sendall(header + request("/y000000000096.cfg"))
        assert closed_within(its, 2)
    assert get(server, "/y000000000096.cfg").status == 200


@pytest.mark.parametrize("header", [b"", b"PROX", V2[:7], tcp4("203.0.113.9")[:20]])
def test_a_proxy_header_that_never_ends_is_waited_for_as_long_as_a_handshake(server: Server, header: bytes) -> None:
    with connect(server) as its:
        its.sendall(header)
        assert closed_within(its, 3)


@pytest.mark.parametrize("header", [b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n", tcp4("203.0.113.9")])
async def test_a_strangers_proxy_header_is_no_http(server: Server, api: Api, phone: Bound, header: bytes) -> None:
    with connect(server, source="127.0.0.2") as its, its.makefile("rb") as file:
        its.sendall(header + request(phone.path()))
        answered: Reply = read_reply(file)
    assert answered.status == 400
    assert b"pw-" not in answered.body


async def test_phones_are_served_over_ipv6(new_server: Callable[..., Server]) -> None:
    server = new_server(LISTEN__PHONES_HTTP="[::1]:0", LISTEN__PHONES_HTTPS="[::1]:0")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
        for tls in (False, True):
            assert get(server, phone.path(), tls=tls).status == 200
        assert await where(api, phone) == "::1"
