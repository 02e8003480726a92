"""The phones' sockets: caps on connections, taken before TLS; deadlines; and the PROXY protocol.

aiohttp and asyncio accept without a bound and give a silent TLS connection a minute; after a
power cut a street of phones arrives at once (docs/ARCHITECTURE.md). So accepting is ours; HTTP
and TLS are theirs.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import typing
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from provisioning.domain import address as addresses
from provisioning.domain.address import Network
from provisioning.metrics import Metrics
from provisioning.phones import proxy_protocol
from provisioning.phones import request as requests
from provisioning.phones.connection import Connection, Kind
from provisioning.phones.protocol import END_OF_TLS, GOODBYE, UNSENT, Handler, Server
from provisioning.phones.response import Ready

log = logging.getLogger(__name__)

BACKLOG = 4096
_AT_ONCE = 64
"Connections accepted in one turn of the loop, so that those being served get theirs."
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 60\r\n"
    b"Cache-Control: no-store\r\nServer: provisioning\r\nDate: "
)
_PLAIN: dict[Kind, Connection] = {kind: Connection(kind) for kind in typing.get_args(Kind)}
"Of all connections without a PROXY header."
_GONE = _PLAIN["http"]
"Of a request whose connection ended before its turn came: whatever is answered, nobody reads it."
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Answer = Callable[[web.BaseRequest, Connection], Awaitable[web.StreamResponse | Ready]]


class PhonesListener:
    """Several sockets (HTTP, HTTPS) with one cap."""

    def __init__(
        self,
        answer: Answer,
        *,
        connections: int,
        connections_per_address: int,
        answers: int,
        handshake: float,
        request: float,
        trusted: tuple[Network, ...],
        metrics: Metrics,
    ) -> None:
        self._answer = answer
        self._most = connections
        self._most_of_one = connections_per_address
        self._most_answers = answers
        self._handshake = handshake
        self._trusted = trusted
        self._metrics = metrics
        self._open = 0
        self._held_back = False
        self._sockets: dict[socket.socket, tuple[Kind, ssl.SSLContext | None]] = {}
        self._places: dict[str | bytes, int] = {}
        "Connections of each address."
        self._connections: dict[RequestHandler, Connection] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._http = Server(
            self._handle,  # type: ignore[arg-type]  # what phones/response.py gives is not in aiohttp's types
            deadline=request,
            lost=self._lost,
            cut=lambda: metrics.count("answers_cut_total"),
        )

    def add(self, listening: socket.socket, context: ssl.SSLContext | None, kind: Kind) -> None:
        # The kernel would take megabytes for a peer that reads nothing; accepted sockets inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        self._sockets[listening] = kind, context
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def use(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        """For connections from now on; those that are there, and handshakes under way, go on with theirs."""
        if listening in self._sockets:
            kind, _ = self._sockets[listening]
            self._sockets[listening] = kind, context

    async def close(self) -> None:
        """Stops accepting, lets running requests end."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._http.pre_shutdown()
        await self._http.shutdown(timeout=5.0)
        # A closed TLS connection lasts until its peer has said good-bye too, or has taken what was sent.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._http.all_gone()
        for transport in list(self._http.transports.values()):
            transport.abort()
        await self._http.all_gone()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if self._open >= self._most:
                self._hold_back()
                return
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                log.error("no more connections can be taken: %s", error.strerror)  # noqa: TRY400
                self._hold_back()
                self._loop.call_later(0.1, self._resume)
                return
            # A proxy's connections are many people's.
            proxy = bool(self._trusted) and addresses.within(addresses.parse(peer[0]), self._trusted)
            place = None if proxy else _place(peer[0])
            if place is not None:
                held = self._places.get(place, 0)
                if held >= self._most_of_one:
                    self._metrics.count("connections_refused_total")
                    connection.close()
                    continue
                self._places[place] = held + 1
            connection.setblocking(False)
            self._open += 1
            self._metrics.count("connections_accepted_total")
            task = self._loop.create_task(self._serve(connection, place, *self._sockets[listening]))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(
        self, connection: socket.socket, place: str | bytes | None, kind: Kind, context: ssl.SSLContext | None
    ) -> None:
        """`place` None: a trusted proxy."""
        handler: Handler | None = None
        its = _PLAIN[kind]
        taken = False

        def protocol() -> Handler:
            nonlocal handler
            handler = self._http()
            handler.place = place
            self._connections[handler] = its
            return handler

        try:
            if place is None:
                async with asyncio.timeout(self._handshake):
                    its = Connection(kind, *await proxy_protocol.read(connection))
            await self._loop.connect_accepted_socket(
                protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._handshake,
                ssl_shutdown_timeout=None if context is None else END_OF_TLS,
            )
            taken = True
        except (OSError, TimeoutError, ValueError):
            # A handshake that failed, a phone that went away, a PROXY header that is none.
            if context is not None:
                self._metrics.count("handshakes_failed_total")
        finally:
            if not taken:
                connection.close()
                if handler is not None:
                    self._connections.pop(handler, None)
                self._closed(place)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse | Ready:
        handler = typing.cast("Handler", request.protocol)
        answering = self._http.answering
        if len(answering) >= self._most_answers and _lasts(request):
            self._metrics.count("answers_refused_total")
            return Ready(503, _BUSY, b"")
        answering.add(handler)
        try:
            return await self._answer(request, self._connections.get(handler, _GONE))
        finally:
            answering.discard(handler)

    def _lost(self, handler: Handler) -> None:
        self._connections.pop(handler, None)
        self._closed(handler.place)

    def _closed(self, place: str | bytes | None) -> None:
        self._open -= 1
        if place is not None:
            held = self._places.get(place, 0)
            if held > 1:
                self._places[place] = held - 1
            else:
                self._places.pop(place, None)
        if self._held_back and self._open < self._most:
            self._resume()

    def _hold_back(self) -> None:
        """The kernel's backlog queues meanwhile, and phones' SYNs are retried: no connection is refused."""
        if not self._held_back:
            self._held_back = True
            self._metrics.count("connections_held_back_total")
            for listening in self._sockets:
                self._loop.remove_reader(listening.fileno())

    def _resume(self) -> None:
        if self._held_back:
            self._held_back = False
            for listening in self._sockets:
                self._loop.add_reader(listening.fileno(), self._accept, listening)


def _place(peer: str) -> str | bytes:
    """Whose connections are counted together: as domain.address.place, without its cost."""
    if ":" not in peer:
        return peer
    if "." in peer:
        # IPv4 at a socket that takes both, ::ffff:198.51.100.7.
        return peer.rpartition(":")[2]
    return socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])[:8]


def _lasts(request: web.BaseRequest) -> bool:
    """A document is answered in no time, so that refusing it would spare nothing."""
    asked = requests.read(request.raw_path)
    return asked is not None and asked.firmware
