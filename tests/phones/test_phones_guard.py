"""What one address, one slow peer and one greedy request can take of the phones' sockets."""

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from running import Server, fetch
from wire import closed_within, connect, endpoint, get, read_reply, request, running, text, until

from provisioning.phones.listener import _place
from provisioning.phones.protocol import LONGEST_HEAD, MOST_FIELDS

COMMON = "/y000000000096.cfg"
LARGE = 30_000_000
FAILREGEX = Path(__file__).parents[2] / "docs" / "fail2ban" / "provisioning-phones.conf"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with deadlines of a second, and a large image to ask for."""
    directory = tmp_path_factory.mktemp("strict")
    with running(directory, LIMITS__REQUEST="1", LIMITS__HANDSHAKE="1", PATHS__FIRMWARE=firmware(directory)) as its:
        yield its


def firmware(directory: Path) -> str:
    folder = directory / "firmware"
    folder.mkdir()
    (folder / "large.rom").write_bytes(bytes(LARGE))
    sha256 = hashlib.sha256(bytes(LARGE)).hexdigest()
    (folder / "manifest.toml").write_text(
        f'[[image]]\nmodel = "yealink-t54w"\nversion = "96.86.0.23"\nfile = "large.rom"\nsize = {LARGE}\nsha256 = "{sha256}"\n'
    )
    return str(folder)


def sockets(server: Server) -> int:
    """Connections as the server has them, whatever their peers believe."""
    found = 0
    for descriptor in Path(f"/proc/{server.ready['pid']}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def memory(server: Server) -> int:
    """Peak, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", text(Path(f"/proc/{server.ready['pid']}/status")))
    assert found
    return int(found[1]) * 1024


async def counted(server: Server, name: str) -> int:
    body = (await fetch(f"{server.management}/metrics", server)).body.decode()
    found = re.search(rf"(?m)^provisioning_{name} (\d+)$", body)
    assert found, name
    return int(found[1])


def served(server: Server, source: str, *, tls: bool = False) -> bool:
    """Whether a document comes; False: closed without a word."""
    try:
        with connect(server, tls=tls, source=source) as its:
            its.sendall(request(COMMON))
            with its.makefile("rb") as file:
                return bool(file.peek(1)) and read_reply(file).status == 200
    except (ConnectionError, ssl.SSLError):
        return False


# Connections of one address


@pytest.mark.parametrize("tls", [False, True])
async def test_one_address_has_its_share_and_the_others_have_theirs(
    new_server: Callable[..., Server], tls: bool
) -> None:
    server = new_server(LIMITS__CONNECTIONS_PER_ADDRESS="50")
    silent = [connect(server, source="127.0.0.2") for _ in range(50)]
    assert not any(served(server, "127.0.0.2", tls=tls) for _ in range(5))
    assert all(served(server, source, tls=tls) for source in ("127.0.0.1", "127.0.0.3"))
    assert await counted(server, "connections_refused_total") == 5
    silent.pop().close()
    assert await until(lambda: served(server, "127.0.0.2", tls=tls))
    for its in silent:
        its.close()


async def test_every_way_to_end_a_connection_gives_its_place_back(new_server: Callable[..., Server]) -> None:
    server = new_server(LIMITS__CONNECTIONS_PER_ADDRESS="10", LIMITS__HANDSHAKE="1", LIMITS__REQUEST="1")
    for n in range(100):
        kind = n % 5
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(endpoint(server, tls=kind > 2), timeout=5, source_address=("127.0.0.2", 0)) as its,
        ):
            if kind == 0:
                its.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            elif kind == 1:
                its.sendall(b"garbage\r\n\r\n")
            elif kind == 2:
                its.sendall(request(COMMON) * 3)
            elif kind == 3:
                its.sendall(b"this is no TLS at all, not even nearly\r\n")
    # Those that a flood made too many are gone as well by then.
    for tls in (False, True):
        assert await until(lambda tls=tls: served(server, "127.0.0.2", tls=tls))
    silent = [connect(server, source="127.0.0.2") for _ in range(9)]
    assert await until(lambda: served(server, "127.0.0.2"))
    for its in silent:
        its.close()


async def test_a_trusted_proxy_has_no_share(new_server: Callable[..., Server]) -> None:
    server = new_server(LIMITS__CONNECTIONS_PER_ADDRESS="5", NETWORK__TRUSTED_PROXIES="127.0.0.9/32")
    silent = [connect(server, source="127.0.0.9") for _ in range(30)]
    assert served(server, "127.0.0.9")
    others = [connect(server, source="127.0.0.2") for _ in range(5)]
    assert not served(server, "127.0.0.2")
    assert await counted(server, "connections_refused_total") == 1
    for its in silent + others:
        its.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_whose_connections_are_counted_together(one: str, other: str, same: bool) -> None:
    assert (_place(one) == _place(other)) is same


# Slow requests


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_body_that_trickles_in_is_not_waited_for(strict: Server, method: str, tls: bool) -> None:
    with connect(strict, tls=tls) as its:
        its.sendall(request(COMMON, "Content-Length: 1000000", method=method))
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 6:
                its.sendall(b"x")
                await asyncio.sleep(0.1)
        assert time.monotonic() - started < 5
        assert closed_within(its, 1)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_second_request_that_trickles_in_is_cut(strict: Server, tls: bool) -> None:
    with connect(strict, tls=tls) as its, its.makefile("rb") as file:
        its.sendall(request(COMMON))
        assert read_reply(file).status == 200
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in request(COMMON, *(f"X-{n}: y" for n in range(60))):
                its.sendall(bytes([byte]))
                await asyncio.sleep(0.05)
                if time.monotonic() - started > 8:
                    break
        assert time.monotonic() - started < 6
        assert closed_within(its, 1)


@pytest.mark.parametrize(
    "sent", [b"", request(COMMON), request(COMMON, "Connection: close")], ids=["none", "one", "last"]
)
async def test_a_tls_peer_that_says_no_goodbye_is_gone_all_the_same(strict: Server, sent: bytes) -> None:
    before = sockets(strict)
    silent = [connect(strict, tls=True) for _ in range(10)]
    for its in silent:
        its.sendall(sent)
    started = time.monotonic()
    assert await until(lambda: sockets(strict) >= before + 10 or time.monotonic() - started > 2)
    # The deadline and two seconds; asyncio gives such a peer thirty.
    assert await until(lambda: sockets(strict) <= before, within=12)
    for its in silent:
        its.close()


# Slow readers


def small(server: Server, sent: bytes, *, tls: bool = False, room: int = 2304) -> socket.socket:
    """A peer with next to no room for what it asks."""
    its = socket.socket()
    its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    # The segments of a network; loopback's are larger than the buffer.
    its.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    its.settimeout(10)
    its.connect(endpoint(server, tls=tls))
    if tls:
        its = server.trust().wrap_socket(its, server_hostname="127.0.0.1")
    its.settimeout(0.5)
    with contextlib.suppress(OSError):
        its.sendall(sent)
    return its


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "sent", [request("/firmware/large.rom"), request(COMMON) * 5000], ids=["firmware", "documents"]
)
async def test_a_peer_that_reads_nothing_is_cut(strict: Server, sent: bytes, tls: bool) -> None:
    before = sockets(strict)
    greedy = [small(strict, sent, tls=tls) for _ in range(5)]
    # Six times the deadline.
    assert await until(lambda: sockets(strict) <= before, within=30)
    for its in greedy:
        its.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_peer_that_reads_a_little_now_and_then_is_cut(strict: Server, tls: bool) -> None:
    before = await counted(strict, "answers_cut_total")
    with small(strict, request("/firmware/large.rom"), tls=tls) as its:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            # Enough to open its window again and again, so that TCP itself has nothing against it.
            for _ in range(80):
                if not its.recv(512):
                    break
                await asyncio.sleep(0.5)
        assert time.monotonic() - started < 38
    assert await counted(strict, "answers_cut_total") == before + 1


async def test_a_phone_with_a_small_buffer_that_reads_on_is_served(strict: Server) -> None:
    """Also longer than the time in which one that reads nothing is cut; TCP_USER_TIMEOUT would end it then."""
    with small(strict, request("/firmware/large.rom"), room=8192) as its:
        its.settimeout(8)
        started = time.monotonic()
        while time.monotonic() - started < 14:
            assert its.recv(2048)
            await asyncio.sleep(0.05)


async def test_a_slow_but_steady_peer_gets_it_all(strict: Server) -> None:
    with connect(strict) as its:
        its.sendall(request("/firmware/large.rom"))
        got = 0
        for _ in range(90):
            got += len(its.recv(20_000))
            await asyncio.sleep(0.1)
        while got < LARGE:
            piece = its.recv(1_000_000)
            assert piece
            got += len(piece)


# Large requests


async def test_thousands_of_header_fields_are_refused(strict: Server) -> None:
    get(strict, COMMON)
    before = memory(strict)
    for _ in range(30):
        with connect(strict) as its, its.makefile("rb") as file:
            with contextlib.suppress(ConnectionError):
                its.sendall(request(COMMON, *(f"X-{n}: y" for n in range(5000))))
            with contextlib.suppress(ConnectionError):
                assert read_reply(file).status == 400
            assert closed_within(its, 5)
    assert memory(strict) - before < 20_000_000
    assert get(strict, COMMON, *(f"X-{n}: y" for n in range(MOST_FIELDS - 5))).status == 200


async def test_a_head_has_a_size_as_a_whole(new_server: Callable[..., Server]) -> None:
    server = new_server(LIMITS__REQUEST="60")
    fields = [f"X-{n}: {'y' * 4000}" for n in range(50)]
    with connect(server) as its:
        its.settimeout(5)
        with contextlib.suppress(ConnectionError):
            for part in request(COMMON, *fields)[:-2].split(b"\r\n"):
                its.sendall(part + b"\r\n")
                await asyncio.sleep(0.02)
        assert closed_within(its, 10)
    whole = request(COMMON, *fields[: LONGEST_HEAD // 4100 - 1])
    with connect(server) as its, its.makefile("rb") as file:
        for start in range(0, len(whole), 1000):
            its.sendall(whole[start : start + 1000])
        assert read_reply(file).status == 200
    # A certificate that a proxy passes on.
    assert get(server, COMMON, f"Client-Cert: {'c' * 8000}").status == 200


async def test_many_heads_that_are_almost_complete_take_little_memory(new_server: Callable[..., Server]) -> None:
    server = new_server(LIMITS__REQUEST="60")
    get(server, COMMON)
    before = memory(server)
    half = request(COMMON, *(f"X-{n}: {'y' * 8000}" for n in range(MOST_FIELDS - 2)))[:-2]
    greedy = [connect(server) for _ in range(200)]
    for its in greedy:
        its.settimeout(0.2)
        with contextlib.suppress(OSError):
            for start in range(0, len(half), 20_000):
                its.sendall(half[start : start + 20_000])
                await asyncio.sleep(0.001)
    assert get(server, COMMON).status == 200
    assert memory(server) - before < 40_000_000
    for its in greedy:
        its.close()


async def test_thousands_of_requests_ahead_are_all_answered(strict: Server) -> None:
    with connect(strict) as its, its.makefile("rb") as file:
        sending = asyncio.create_task(asyncio.to_thread(its.sendall, request(COMMON) * 5000))
        await asyncio.sleep(0.5)

        def read() -> int:
            return sum(read_reply(file).status == 200 for _ in range(5000))

        assert await asyncio.to_thread(read) == 5000
        await sending


# Answers under way


@pytest.fixture
async def busy(new_server: Callable[..., Server], tmp_path: Path) -> AsyncIterator[tuple[Server, list[socket.socket]]]:
    """A server whose answers are all under way."""
    server = new_server(LIMITS__ANSWERS="2", PATHS__FIRMWARE=firmware(tmp_path))
    taking = [connect(server) for _ in range(2)]
    for its in taking:
        its.sendall(request("/firmware/large.rom"))
        its.recv(1000)
    yield server, taking
    for its in taking:
        its.close()


async def test_firmware_waits_and_documents_do_not(busy: tuple[Server, list[socket.socket]]) -> None:
    server, taking = busy
    for _ in range(3):
        reply = get(server, "/firmware/large.rom")
        assert (reply.status, reply["Retry-After"], reply["Content-Length"]) == (503, "60", "0")
        assert get(server, COMMON).status == 200
    assert await counted(server, "answers_refused_total") == 3
    taking[0].close()
    assert await until(lambda: get(server, "/firmware/large.rom", "Range: bytes=0-9").status == 206)


# Failures


def test_who_fails_often_is_told_so_alike_for_every_mac(new_server: Callable[..., Server]) -> None:
    # Where private addresses are taken, one machine's are no stranger's.
    server = new_server(LIMITS__FAILURES_PER_ADDRESS="5", NETWORK__PRIVATE_ADDRESSES="false")
    paths = [f"/001565aa{n:04x}.cfg" for n in range(8)]
    replies = [get(server, path, source="127.0.0.2") for path in paths]
    assert [reply.status for reply in replies] == [200] * 5 + [429] * 3
    assert {reply["Retry-After"] for reply in replies[5:]} == {"600"}
    assert len({reply.shape for reply in replies[5:]}) == 1
    assert get(server, paths[0], source="127.0.0.3").status == 200
    assert get(server, COMMON, source="127.0.0.2").status == 200
    (failregex,) = re.findall(r"(?m)^failregex = (.+)$", text(FAILREGEX))
    found = re.findall(failregex.replace("<ADDR>", r"([\d.]+)").replace("^", "(?m)^"), text(server.log))
    assert found == ["127.0.0.2"] * 8 + ["127.0.0.3"]
