"""One socket to the next hop, shared by any number of transactions at once: asyncio meets `Transaction`."""

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar, Literal, Self, cast

from provisioning.sip.message import MAX_MESSAGE, Request, Response, frame, parse
from provisioning.sip.transaction import (
    Action,
    Deliver,
    Send,
    SetTimer,
    TimedOut,
    Timer,
    Transaction,
    TransportFailed,
)

_NEXT_HOP = re.compile(r"(udp|tcp|tls):(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", re.IGNORECASE | re.ASCII)
_HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*+[A-Za-z0-9_-]{1,63}\.?")


@dataclass(frozen=True, slots=True)
class NextHop:
    transport: Literal["udp", "tcp", "tls"]
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _NEXT_HOP.fullmatch(text)
        if not found:
            raise ValueError(
                f"{text!r} is not transport:host:port, for example udp:proxy.example.net:5060, "
                "tcp:[2001:db8::1]:5060 or tls:proxy.example.net:5061"
            )
        transport, ipv6, name, port = found.groups()
        if ipv6 and ip_address(ipv6).version != 6:
            raise ValueError(f"{ipv6!r} in brackets is not an IPv6 address")
        if name and (not _HOST_NAME.fullmatch(name) or len(name) > 253):
            raise ValueError(f"{name!r} is neither a host name nor an address")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"port {port} is not between 1 and 65535")
        return cls(cast("Literal['udp', 'tcp', 'tls']", transport.lower()), ipv6 or name, int(port))

    def __str__(self) -> str:
        return f"{self.transport}:{_host_port(self.host, self.port)}"

    async def addresses(self) -> list[tuple[Any, ...]]:
        kind = socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM
        try:
            # The usual case, a number, is not worth a thread.
            found = socket.getaddrinfo(self.host, self.port, type=kind, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self.host, self.port, type=kind)
        except UnicodeError:  # from the IDNA codec, for what cannot be a name
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
        return list(found)


class FlowError(ConnectionError):
    """The request may or may not have arrived; its text is for a person."""


class Flow(asyncio.BaseProtocol):
    reliable: ClassVar[bool]

    def __init__(self, next_hop: NextHop) -> None:
        self.next_hop = next_hop
        self.local = ""
        """Our end, as it is written in a Via."""
        self.peer = ""
        self.broken = ""
        """Why; a broken flow never heals."""
        self.retired = False
        self.heard = 0
        """Messages received, whatever they said."""
        self._exchanges: dict[tuple[str, str], _Exchange] = {}
        self._lost = asyncio.Event()

    async def request(self, request: Request, t1: float) -> Response:
        """The final response; `TimeoutError` when none comes, `FlowError` when none can come."""
        if self.broken:
            raise FlowError(self.broken)
        data = request.serialise()
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a request of {len(data)} bytes, {MAX_MESSAGE} are possible")
        key = request.branch, request.method
        exchange = self._exchanges[key] = _Exchange(self, data, Transaction(t1, reliable=self.reliable))
        heard_before = self.heard
        try:
            exchange.start()
            result = await exchange.result
        finally:
            # Timer K is not waited for: it absorbs duplicates, and `receive` drops what nobody expects.
            exchange.stop()
            del self._exchanges[key]
            if self.retired:
                self.retire()
        if isinstance(result, Response):
            return result
        if isinstance(result, TimeoutError) and self.heard == heard_before:
            # Not a sound in 64 * T1: nobody is there any more, or not at this address. The next request
            # opens a new flow and resolves the name again.
            self.retire()
        raise result

    async def moved(self) -> bool:
        """Whether the next hop's name has come to mean other addresses."""
        try:
            found = await self.next_hop.addresses()
        except OSError:
            return False  # a resolver out of order has moved nobody
        return all(self.peer != info[4][0] for info in found)

    @property
    def gone(self) -> bool:
        return self._lost.is_set()

    def retire(self) -> None:
        """Takes no new request; those on their way may still be answered."""
        self.retired = True
        if not self._exchanges:
            self.fail("it was given up for a new one")

    def fail(self, why: str) -> None:
        if not self.broken:
            self.broken = why
            self.retired = True
            for exchange in list(self._exchanges.values()):
                exchange.fail()
            self._abort()

    async def close(self) -> None:
        self.fail("the client was closed")
        await self._lost.wait()

    def receive(self, data: bytes) -> None:
        self.heard += 1
        try:
            message = parse(data)
            # RFC 3261 §17.1.3. A request, too, is dropped here: this socket answers nobody.
            if isinstance(message, Response):
                exchange = self._exchanges.get((message.branch, message.cseq[1]))
                if exchange:
                    exchange.receive(message)
        except ValueError:
            pass  # not SIP, or a response that names no transaction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, port, *_ = transport.get_extra_info("sockname")
        self.local = _host_port(host.partition("%")[0], port)  # a zone means nothing to the peer
        self.peer, *_ = transport.get_extra_info("peername") or ("",)  # none when it has already hung up

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(in_words(error) if error else "the connection was closed")
        self._lost.set()

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def _abort(self) -> None:
        raise NotImplementedError


class DatagramFlow(Flow, asyncio.DatagramProtocol):
    reliable = False
    _transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        super().connection_made(transport)

    def datagram_received(self, data: bytes, _address: Any) -> None:
        # The socket is connected: the kernel lets nobody but the next hop through.
        self.receive(data)

    def error_received(self, error: Exception) -> None:
        self.fail(in_words(error))

    def send(self, data: bytes) -> None:
        self._transport.sendto(data)

    def _abort(self) -> None:
        self._transport.abort()


class StreamFlow(Flow, asyncio.Protocol):
    reliable = True
    _transport: asyncio.Transport

    def __init__(self, next_hop: NextHop) -> None:
        super().__init__(next_hop)
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while message := frame(self._buffer):
                self.receive(message)
        except ValueError as error:
            self.fail(f"the next hop does not speak SIP: {error}")

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def _abort(self) -> None:
        self._transport.abort()


async def open_flow(next_hop: NextHop, ssl_context: ssl.SSLContext | None) -> Flow:
    unreachable = OSError("the name has no address")
    for family, kind, protocol, _, address in await next_hop.addresses():
        end = socket.socket(family, kind, protocol)
        try:
            return await _connect(end, address, next_hop, ssl_context)
        except OSError as error:  # say, no route for IPv6: the name may have an IPv4 address as well
            end.close()
            unreachable = error
        except BaseException:
            end.close()
            raise
    raise unreachable


async def _connect(end: socket.socket, address: Any, next_hop: NextHop, ssl_context: ssl.SSLContext | None) -> Flow:
    loop = asyncio.get_running_loop()
    end.setblocking(False)
    await loop.sock_connect(end, address)
    flow: Flow
    if end.type == socket.SOCK_DGRAM:
        _, flow = await loop.create_datagram_endpoint(lambda: DatagramFlow(next_hop), sock=end)
    else:
        name = next_hop.host if ssl_context else None
        _, flow = await loop.create_connection(
            lambda: StreamFlow(next_hop), sock=end, ssl=ssl_context, server_hostname=name
        )
    return flow


class _Exchange:
    """One transaction on its flow, with real timers."""

    def __init__(self, flow: Flow, data: bytes, transaction: Transaction) -> None:
        self._flow = flow
        self._data = data
        self._transaction = transaction
        self._loop = asyncio.get_running_loop()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self.result: asyncio.Future[Response | Exception] = self._loop.create_future()

    def start(self) -> None:
        self._carry_out(self._transaction.start(self._loop.time()))

    def receive(self, response: Response) -> None:
        self._carry_out(self._transaction.response(response, self._loop.time()))

    def fail(self) -> None:
        self._carry_out(self._transaction.transport_error(self._loop.time()))

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _fire(self, timer: Timer) -> None:
        self._carry_out(self._transaction.timer(timer, self._loop.time()))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self._flow.send(self._data)
                case SetTimer(timer, at):
                    self._timers[timer] = self._loop.call_at(at, self._fire, timer)
                case Deliver(response):
                    if response.status >= 200:
                        self._end(response)
                case TimedOut():
                    self._end(TimeoutError())
                case TransportFailed():
                    self._end(FlowError(self._flow.broken))

    def _end(self, result: Response | Exception) -> None:
        if not self.result.done():  # it may have been cancelled
            self.result.set_result(result)


def in_words(error: Exception) -> str:
    match error:
        case FlowError():
            return str(error)
        case ssl.SSLCertVerificationError():
            return f"TLS failed: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return "the name does not resolve"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "the connection was closed"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error) or type(error).__name__


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
