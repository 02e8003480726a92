"""A SIP socket: sends requests until they are answered, and hears each request once (RFC 3261 section 17).

Non-INVITE only. Phones have it over UDP; the registrar listens on TCP beside it.
"""

import asyncio
import re
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from provisioning.sip import message
from provisioning.sip.message import Request, Response

Address = tuple[str, int]

T1 = 0.5
T2 = 4.0
# Timer J is 64*T1 and bounds what is remembered by time; a bound by count does without timers.
_REMEMBERED = 4096
# A port that the system picks for UDP may be taken on TCP.
_PORT_TRIES = 10


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a message came from, and the way back: a UDP peer or a TCP connection."""

    peer: Address
    transport: str
    send: Callable[[bytes], None]


class Endpoint:
    """Requests that arrive are given to `on_request`, which answers by `reply`, now, later or never."""

    def __init__(self, on_request: Callable[[Request, Flow], None], *, t1: float = T1) -> None:
        self._on_request = on_request
        self._t1 = t1
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._asked: dict[str, asyncio.Future[Response]] = {}
        self._heard: OrderedDict[tuple[str, str, Address], bytes | None] = OrderedDict()
        self.address: Address = ("", 0)
        self.silent = False
        "Nothing is heard and nothing is sent, as behind a pulled plug."

    async def open(self, host: str, port: int = 0, *, tcp: bool = False) -> None:
        loop = asyncio.get_running_loop()
        for tries_left in reversed(range(_PORT_TRIES if port == 0 else 1)):
            # Bound here: uvloop leaves a socket open that it could not bind.
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((host, port))
            except OSError:
                sock.close()
                raise
            sock.setblocking(False)
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
            self.address = self._udp.get_extra_info("sockname")[:2]
            if not tcp:
                return
            try:
                self._tcp = await loop.create_server(lambda: _Connection(self), host, self.address[1])
                return
            except OSError:
                self._udp.close()
                if not tries_left:
                    raise

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for connection in tuple(self._connections):
            connection.abort()
        for answer in self._asked.values():
            answer.cancel()
        # Transports close in the loop's next turn.
        await asyncio.sleep(0)

    def to(self, peer: Address) -> Flow:
        """The flow to a UDP peer."""
        return Flow(peer, "UDP", lambda data: self._send(data, peer))

    async def ask(self, request: Request, flow: Flow, *, within: float | None = None) -> Response | None:
        """The final response to a request that is given without our Via; None: nobody answered in time."""
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        host, port = self.address
        via = f"SIP/2.0/{flow.transport} {_bracketed(host)}:{port};branch={branch};rport"
        data = replace(request, headers=(("Via", via), *request.headers)).serialise()
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._asked[branch] = answer
        try:
            async with asyncio.timeout(64 * self._t1 if within is None else within):
                interval = self._t1
                while True:
                    flow.send(data)
                    if flow.transport != "UDP":
                        return await answer
                    done, _ = await asyncio.wait((answer,), timeout=interval)
                    if done:
                        return answer.result()
                    interval = min(2 * interval, T2)
        except TimeoutError:
            return None
        finally:
            del self._asked[branch]

    def reply(self, request: Request, flow: Flow, response: Response) -> None:
        data = response.serialise()
        self._heard[_key(request, flow)] = data
        flow.send(data)

    def receive(self, data: bytes, flow: Flow) -> None:
        if self.silent:
            return
        try:
            received = message.parse(data)
            if isinstance(received, Response):
                answer = self._asked.get(received.branch)
                if answer is not None and not answer.done() and received.status >= 200:
                    answer.set_result(received)
                return
            request = stamped(received, flow.peer)
            key = _key(request, flow)
        except ValueError:
            return  # nothing in it says whom to answer; keep-alives end here too
        if key in self._heard:
            answered = self._heard[key]
            if answered is not None:
                flow.send(answered)
            return
        self._heard[key] = None
        while len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
        self._on_request(request, flow)

    def _send(self, data: bytes, peer: Address) -> None:
        if self._udp is not None and not self._udp.is_closing() and not self.silent:
            self._udp.sendto(data, peer)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        peer = (str(addr[0]), int(addr[1]))
        self._endpoint.receive(data, self._endpoint.to(peer))

    def error_received(self, exc: Exception) -> None:
        """A closed port is as good as a lost packet: the transaction times out."""


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it
        self._endpoint._connections.add(self._transport)  # noqa: SLF001  its other half
        peer = transport.get_extra_info("peername")[:2]
        self._flow = Flow(peer, "TCP", self._send)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (whole := message.frame(self._buffer)) is not None:
                self._endpoint.receive(whole, self._flow)
        except ValueError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._endpoint._connections.discard(self._transport)  # noqa: SLF001

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing() and not self._endpoint.silent:
            self._transport.write(data)


def stamped(request: Request, peer: Address) -> Request:
    """RFC 3581: a top Via that asks for it learns where the request really came from."""
    vias = request.values("Via")
    if not vias:
        raise ValueError("no Via")
    top = re.sub(r";\s*rport\s*(?=;|$)", f";received={peer[0]};rport={peer[1]}", vias[0], count=1)
    return replace(request, headers=(*(("Via", via) for via in (top, *vias[1:])), *without_vias(request)))


def without_vias(received: Request | Response) -> tuple[message.Header, ...]:
    return tuple(header for header in received.headers if header[0].lower() != "via")


def _key(request: Request, flow: Flow) -> tuple[str, str, Address]:
    """RFC 3261 section 17.2.3."""
    return request.branch, request.method, flow.peer


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
