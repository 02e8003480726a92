"""The client: one thread, epoll, every connection a small state machine.

`kept` sends one request after another on its connections. `fresh` makes a new connection for
every request, with a full TLS 1.3 handshake where a context is given.
"""

import contextlib
import errno
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_GOOD = b"HTTP/1.1 200 "
_PATIENCE = 10.0


@dataclass
class Load:
    done: int = 0
    errors: int = 0
    resumed: int = 0
    seconds: float = 0.0
    "Until no new request was begun."
    latencies: list[float] = field(default_factory=list)
    late: int = 0
    "Requests that a paced load could not begin in time."

    def quantile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def request(path: str, *, keep: bool) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: phones.example.net\r\n"
        "User-Agent: Yealink SIP-T54W 96.86.0.23 00:15:65:00:00:01\r\n"
        f"Accept: */*\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    ).encode()


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _length(head: bytes) -> int:
    """Of the whole answer, from its first bytes; 0: not enough of them yet."""
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return 0
    start = head.find(b"Content-Length: ")
    return end + 4 + int(head[start + 16 : head.find(b"\r", start + 16)])


def kept(
    port: int, requests: Iterator[bytes], *, connections: int = 16, seconds: float = 1e9, count: int = 1 << 60
) -> Load:
    told = Load()
    latencies, clock = told.latencies, time.perf_counter
    epoll = select.epoll()
    ends: dict[int, list] = {}
    begun = clock()
    deadline, last = begun + seconds, begun
    given = 0
    for _ in range(min(connections, count)):
        end = socket.create_connection(("127.0.0.1", port))
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
        # [socket, begun, bytes wanted, bytes so far, head]
        ends[end.fileno()] = [end, clock(), 0, 0, b""]
        epoll.register(end.fileno(), _IN)
        end.send(next(requests))
        given += 1
    while ends:
        ready = epoll.poll(_PATIENCE)
        if not ready:
            told.errors += len(ends)
            break
        for number, _ in ready:
            state = ends[number]
            end = state[0]
            try:
                data = end.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                told.errors += 1
                end.close()
                del ends[number]
                continue
            if not state[2]:
                data = state[4] + data
                state[2] = _length(data)
                if not state[2]:
                    state[4] = data
                    continue
                state[3] = 0
                if data[:13] != _GOOD:
                    told.errors += 1
            state[3] += len(data)
            if state[3] < state[2]:
                continue
            now = clock()
            latencies.append(now - state[1])
            if now < deadline and given < count:
                last = now
                given += 1
                state[1], state[2], state[4] = now, 0, b""
                end.send(next(requests))
            else:
                end.close()
                del ends[number]
    told.done = len(latencies)
    told.seconds = max(last - begun, 1e-6)
    for state in ends.values():
        state[0].close()
    epoll.close()
    return told


class _Exchange:
    __slots__ = ("begun", "end", "got", "head", "incoming", "outgoing", "request", "ssl", "unsent", "wanted")


def fresh(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int = 16,
    seconds: float = 1e9,
    count: int = 1 << 60,
    context: ssl.SSLContext | None = None,
    rate: float | None = None,
    keep_open: list[socket.socket] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Load:
    """`rate`: begun at this pace, whatever is still open. `keep_open` takes the connections that were answered."""
    told = Load()
    latencies, clock = told.latencies, time.perf_counter
    epoll = select.epoll()
    open_now: dict[int, _Exchange] = {}
    begun = clock()
    deadline, last = begun + seconds, begun
    given = 0

    def begin() -> None:
        nonlocal given
        given += 1
        its = _Exchange()
        its.begun = clock()
        its.end = end = socket.socket()
        end.setblocking(False)
        its.request = next(requests)
        its.wanted, its.got, its.head, its.ssl = 0, 0, b"", None
        wrong = end.connect_ex(("127.0.0.1", port))
        if wrong not in (0, errno.EINPROGRESS):
            told.errors += 1
            end.close()
            return
        if context is not None:
            its.incoming, its.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            its.ssl = context.wrap_bio(its.incoming, its.outgoing, server_hostname="phones.example.net")
            with contextlib.suppress(ssl.SSLWantReadError):
                its.ssl.do_handshake()
            its.unsent = its.outgoing.read()
        else:
            its.unsent = its.request
        open_now[end.fileno()] = its
        try:
            end.send(its.unsent)
            its.unsent = b""
            epoll.register(end.fileno(), _IN)
        except BlockingIOError:
            epoll.register(end.fileno(), _OUT)

    def finish(number: int, its: _Exchange, now: float, *, good: bool) -> None:
        del open_now[number]
        if good:
            latencies.append(now - its.begun)
        else:
            told.errors += 1
        if keep_open is None:
            its.end.close()
        else:
            epoll.unregister(number)
            keep_open.append(its.end)

    while True:
        now = clock()
        if now < deadline and given < count and not (stop is not None and stop()):
            last = now
            if rate is None:
                for _ in range(min(connections - len(open_now), count - given)):
                    begin()
            else:
                due = int((now - begun) * rate) - given
                room = min(due, connections - len(open_now))
                told.late += due - room
                given += due - room
                for _ in range(room):
                    begin()
        elif not open_now:
            break
        ready = epoll.poll(_PATIENCE if rate is None else 0.001)
        if not ready:
            if rate is None or clock() > deadline + _PATIENCE:
                break
            continue
        for number, event in ready:
            its = open_now[number]
            try:
                if event & _OUT and its.unsent:
                    its.end.send(its.unsent)
                    its.unsent = b""
                    epoll.modify(number, _IN)
                    continue
                data = its.end.recv(65536)
                if data and its.ssl is not None:
                    data = _decrypted(its, told, data)
                    if data is None:
                        continue
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except (OSError, ssl.SSLError):
                finish(number, its, 0.0, good=False)
                continue
            if not data:
                finish(number, its, 0.0, good=False)
                continue
            if not its.wanted:
                data = its.head + data
                its.wanted = _length(data)
                if not its.wanted:
                    its.head = data
                    continue
                if data[:13] != _GOOD:
                    finish(number, its, 0.0, good=False)
                    continue
            its.got += len(data)
            if its.got >= its.wanted:
                finish(number, its, clock(), good=True)
    told.errors += len(open_now)
    for its in open_now.values():
        its.end.close()
    told.done = len(latencies)
    told.seconds = max(last - begun, 1e-6)
    epoll.close()
    return told


def _decrypted(its: _Exchange, told: Load, data: bytes) -> bytes | None:
    """None: the handshake, or nothing whole yet."""
    its.incoming.write(data)
    if its.request:
        its.ssl.do_handshake()
        told.resumed += bool(its.ssl.session_reused)
        its.ssl.write(its.request)
        its.request = b""
        its.end.send(its.outgoing.read())
    parts = []
    with contextlib.suppress(ssl.SSLWantReadError):
        while part := its.ssl.read(65536):
            parts.append(part)
    return b"".join(parts) or None
