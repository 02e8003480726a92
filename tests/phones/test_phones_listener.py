"""The phones' sockets under silence, slowness, garbage and crowds."""

import asyncio
import contextlib
import gzip
import itertools
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import Server
from wire import (
    bound,
    closed_within,
    connect,
    endpoint,
    get,
    managing,
    raw,
    read_reply,
    request,
    running,
    status_of,
    text,
    until,
)

COMMON = "/y000000000096.cfg"
CROWD = 2000

CHECKOUT = str(Path(__file__).resolve().parents[2]).encode()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with deadlines of a second."""
    with running(tmp_path_factory.mktemp("strict"), LIMITS__REQUEST="1", LIMITS__HANDSHAKE="1") as its:
        yield its


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.ready['pid']}/fd").iterdir()))


def peak_memory(server: Server) -> int:
    """Bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", text(Path(f"/proc/{server.ready['pid']}/status")))
    assert found
    return int(found[1]) * 1024


# The cap


@pytest.mark.parametrize("tls", [False, True])
def test_beyond_the_cap_a_connection_waits_and_is_then_served(new_server: Callable[..., Server], tls: bool) -> None:
    server = new_server(LIMITS__CONNECTIONS="50")
    silent = [connect(server) for _ in range(50)]
    with socket.create_connection(endpoint(server, tls=tls), timeout=5) as waiting:
        if not tls:
            waiting.sendall(request(COMMON))
        waiting.settimeout(0.5)
        with pytest.raises(TimeoutError):
            (server.trust().wrap_socket(waiting, server_hostname="127.0.0.1") if tls else waiting).recv(1)
        silent.pop().close()
        if tls:
            assert get(server, COMMON, tls=True).status == 200
        else:
            waiting.settimeout(5)
            with waiting.makefile("rb") as file:
                assert read_reply(file).status == 200
    for its in silent:
        its.close()
    assert all(get(server, COMMON, tls=tls).status == 200 for _ in range(60))


def test_every_way_to_end_a_connection_gives_its_place_back(new_server: Callable[..., Server]) -> None:
    server = new_server(LIMITS__CONNECTIONS="10", LIMITS__HANDSHAKE="1", LIMITS__REQUEST="1")
    for n in range(100):
        kind = n % 5
        with socket.create_connection(endpoint(server, tls=kind > 2), timeout=5) as its:
            if kind == 0:
                its.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            elif kind == 1:
                its.sendall(b"garbage\r\n\r\n")
            elif kind == 2:
                its.sendall(request(COMMON) * 3)
            elif kind == 3:
                its.sendall(b"this is no TLS at all, not even nearly\r\n")
    assert all(get(server, COMMON, tls=tls).status == 200 for tls in (False, True) for _ in range(20))


# Deadlines


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ", request(COMMON) + b"GET /y0000"],
    ids=["nothing", "byte", "half", "second"],
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_request_that_is_never_completed_is_cut(strict: Server, sent: bytes, tls: bool) -> None:
    with connect(strict, tls=tls) as its:
        its.sendall(sent)
        assert closed_within(its, 3)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_is_never_completed_is_cut(strict: Server, sent: bytes) -> None:
    with socket.create_connection(endpoint(strict, tls=True)) as its:
        its.sendall(sent)
        assert closed_within(its, 3)


async def test_a_header_that_comes_byte_by_byte_is_cut(strict: Server) -> None:
    with connect(strict) as its:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in request(COMMON, *(f"X-{n}: y" for n in range(100))):
                its.sendall(bytes([byte]))
                await asyncio.sleep(0.05)
                if time.monotonic() - started > 4:
                    break
        assert time.monotonic() - started < 3
        assert closed_within(its, 1)


def test_many_that_are_silent_are_all_cut_and_cost_nothing_after(strict: Server) -> None:
    get(strict, COMMON)
    before = descriptors(strict)
    silent = [socket.create_connection(endpoint(strict, tls=n % 2 == 0)) for n in range(300)]
    for its in silent[::3]:
        its.sendall(b"GET / HTTP/1.1\r\n")
    started = time.monotonic()
    assert get(strict, COMMON).status == 200
    assert time.monotonic() - started < 0.5
    assert all(closed_within(its, 4) for its in silent)
    for its in silent:
        its.close()
    assert descriptors(strict) <= before + 2


@pytest.mark.parametrize("tls", [False, True])
def test_an_idle_connection_is_kept_and_then_closed(strict: Server, tls: bool) -> None:
    with connect(strict, tls=tls) as its, its.makefile("rb") as file:
        for _ in range(3):
            its.sendall(request(COMMON))
            assert read_reply(file).status == 200
            time.sleep(0.4)
        assert closed_within(its, 3)


def test_requests_may_be_sent_ahead(strict: Server) -> None:
    with connect(strict) as its, its.makefile("rb") as file:
        its.sendall(request(COMMON) * 20 + request("/nothing", method="HEAD") + request("/snomD785.htm"))
        assert [read_reply(file).status for _ in range(20)] == [200] * 20
        assert read_reply(file, body=False).status == 404
        assert b"<settings>" in read_reply(file).body


# Garbage

SECRET_FILES = [
    f"/{up}{name}"
    for name in ("secret-key", "var/secret-key", "admin-token", "etc/passwd", "templates/phones/yealink/vendor.toml")
    for up in (
        "../" * 3,
        "..%2f" * 3,
        "%2e%2e/" * 3,
        "..%252f" * 3,
        "..\\" * 3,
        "....//" * 3,
        "%c0%ae%c0%ae/" * 3,
        "/",
        "./",
    )
]
PATHS = [
    *SECRET_FILES,
    "/%00",
    "/001565000001.cfg%00",
    "/001565000001.cfg%0d%0aSet-Cookie:%20a=b",
    "/%D9%A1%D9%A1565000001.cfg",
    "/٠٠١٥٦٥٠٠٠٠٠١.cfg",
    "/" + "a" * 100_000,
    "/" + "%41" * 2000,
    "//" * 500,
    "//evil.example/001565000001.cfg",
    "/firmware/" + "../" * 10 + "etc/passwd",
    "/firmware//etc/passwd",
    "/firmware/%2fetc%2fpasswd",
    "http://evil.example/001565000001.cfg",
    "http://evil.example/../../etc/passwd",
    "*",
    "?",
    "/?/../../etc/passwd",
    "/#x",
    "/;x",
    "/{mac}.cfg",
    "/{{ 7*7 }}.cfg",
    "/001565000001.cfg/..",
    "/%",
    "/%zz",
    "/%u0041",
]
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\rHost: a\r\r",
    b"GET /\r\n\r\n",
    b"GET /y000000000096.cfg\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/3.7\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET  /  HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nrest",
    b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\nIf-None-Match: \xff\xfe\r\nUser-Agent: \xff\r\n\r\n",
    b"CONNECT evil.example:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300,
    b"\r\n" * 10_000,
    b"\x80" * 1000,
    b"G" * 20_000,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path[:60]))
async def test_no_path_breaks_the_server_or_leads_out(server: Server, path: str) -> None:
    answered = raw(server, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answered) in (0, 200, 400, 404, 414)
    if status_of(answered) == 200:
        assert answered.partition(b"\r\n\r\n")[2].startswith((b"#!version", b"<?xml"))
    assert not any(word in answered for word in (b"root:", b"Traceback", b"Set-Cookie", CHECKOUT, b"File "))


@pytest.mark.parametrize("sent", REQUESTS, ids=lambda sent: ascii(sent[:70]))
async def test_no_garbage_breaks_the_server(server: Server, sent: bytes) -> None:
    answered = raw(server, sent)
    for status in re.findall(rb"^HTTP/\d\.\d (\d{3})", answered, re.MULTILINE):
        assert int(status) in (100, 200, 304, 400, 404, 405, 414, 417, 431), answered
    assert b"Traceback" not in answered
    assert str(Path(__file__).parents[2]).encode() not in answered
    assert get(server, COMMON).status == 200


def test_what_was_smuggled_is_not_answered(server: Server) -> None:
    for sent in REQUESTS[:4]:
        answered = raw(server, sent + request("/snomD785.htm"))
        assert b"<settings>" not in answered


PIECES = st.sampled_from(["/", "..", "%2e", "%2f", "%00", "%0d%0a", "%", ":", "001565", "0015650000", "aa", "firmware", ".cfg", ".xml", "?", "#", "\\", "é", "%c3%a9", "\u0661", "+", "~", "{mac}", "y000000000096.cfg", "0" * 32])  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(PIECES, st.text("abc019ABC-._", max_size=4)), max_size=12))
def test_no_path_at_all_breaks_the_server(fuzzed: tuple[Server, list[socket.socket]], pieces: list[str]) -> None:
    server, kept = fuzzed
    if not kept:
        kept.append(connect(server))
    its = kept[0]
    its.sendall(request("/" + "".join(pieces)))
    with its.makefile("rb") as file:
        reply = read_reply(file)
    assert reply.status in (200, 400, 404)
    if reply["Connection"] == "close" or reply.status == 400:
        kept.pop().close()


@pytest.fixture
def fuzzed(server: Server) -> Iterator[tuple[Server, list[socket.socket]]]:
    kept: list[socket.socket] = []
    yield server, kept
    for its in kept:
        its.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_at_all_break_the_server(server: Server, sent: bytes) -> None:
    answered = raw(server, sent + b"\r\n\r\n", quiet=0.01)
    assert status_of(answered) in (0, 200, 400, 404, 405, 505)


# Bodies


def test_a_body_is_not_read(new_server: Callable[..., Server]) -> None:
    server = new_server()
    get(server, COMMON)
    before = peak_memory(server)
    bodies = {"gzip": gzip.compress(bytes(200_000_000), 1), "deflate": bytes(20_000_000), "identity": bytes(20_000_000)}
    for (encoding, body), method in itertools.product(bodies.items(), ("GET", "POST", "PUT")):
        with connect(server) as its:
            fields = f"Content-Encoding: {encoding}", f"Content-Length: {len(body)}"
            with contextlib.suppress(ConnectionError, TimeoutError):
                its.settimeout(3)
                its.sendall(request(COMMON, *fields, method=method))
                its.sendall(body)
            assert closed_within(its, 3)
    assert peak_memory(server) - before < 20_000_000
    assert get(server, COMMON).status == 200


def test_a_body_that_never_ends_ends_the_connection(strict: Server) -> None:
    with connect(strict) as its, its.makefile("rb") as file:
        its.sendall(request(COMMON, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        assert read_reply(file).status == 200
        assert closed_within(its, 3)


def test_whoever_asks_and_does_not_read_takes_no_memory(strict: Server) -> None:
    before = peak_memory(strict)
    greedy = []
    for _ in range(20):
        its = connect(strict)
        its.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            its.sendall(request(COMMON) * 50_000)
        greedy.append(its)
    assert get(strict, COMMON).status == 200
    assert peak_memory(strict) - before < 40_000_000
    for its in greedy:
        its.close()


def test_long_paths_of_strangers_are_not_remembered(new_server: Callable[..., Server]) -> None:
    server = new_server()
    get(server, COMMON)
    before = peak_memory(server)
    with connect(server) as its, its.makefile("rb") as file:
        for n in range(4000):
            its.sendall(request(f"/{n}{'x' * 8000}"))
            assert read_reply(file).status == 404
    assert peak_memory(server) - before < 15_000_000


# Crowds


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_street_of_phones_at_once_is_served(new_server: Callable[..., Server], tls: bool) -> None:
    # The phones of this test share the server's processors, and are slower than real ones together.
    server = new_server(LIMITS__HANDSHAKE="60", LIMITS__REQUEST="60")
    async with managing(server) as api:
        phone = await bound(api, f"00156500ff0{int(tls)}")
    host, port = endpoint(server, tls=tls)
    context = server.trust() if tls else None
    answered: Counter[bytes] = Counter()
    longest = 0.0

    async def visit() -> None:
        nonlocal longest
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, ssl_handshake_timeout=60 if tls else None
        )
        writer.write(request(phone.path(), "Connection: close"))
        answer = await reader.read(-1)
        answered[answer[:15]] += 1
        longest = max(longest, time.monotonic() - started)
        writer.transport.abort()

    started = time.monotonic()
    errors = [
        error for error in await asyncio.gather(*(visit() for _ in range(CROWD)), return_exceptions=True) if error
    ]
    print(f"{CROWD} {'TLS' if tls else 'plain'}: {time.monotonic() - started:.2f} s, longest {longest:.2f} s")
    assert errors == []
    assert answered == {b"HTTP/1.1 200 OK": CROWD}


async def test_old_tls_is_refused(server: Server) -> None:
    context = server.trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(endpoint(server, tls=True)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as its,
    ):
        assert its.version() == "TLSv1.2"
    # A ClientHello of TLS 1.1 (record 3.1, version 3.2), written out, for the library may refuse to.
    body = b"\x03\x02" + bytes(32) + b"\x00" + b"\x00\x04\xc0\x09\xc0\x13" + b"\x01\x00"
    hello = b"\x01" + len(body).to_bytes(3) + body
    with socket.create_connection(endpoint(server, tls=True), timeout=5) as its:
        its.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2) + hello)
        answered = its.recv(100)
    # An alert or nothing, but no ServerHello.
    assert answered[:1] in (b"\x15", b"")


async def test_it_serves_on_after_all_this(server: Server) -> None:
    assert await until(lambda: get(server, COMMON).status == 200)
    assert await until(lambda: get(server, COMMON, tls=True).status == 200)
