"""The phones' sockets: a cap on connections taken before TLS, deadlines, and the PROXY protocol.

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
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from provisioning.domain import address as addresses
from provisioning.domain.address import Address, Network
from provisioning.metrics import Metrics
from provisioning.phones import proxy_protocol
from provisioning.phones.response import Ready

log = logging.getLogger(__name__)

BACKLOG = 4096
_AT_ONCE = 64
"Connections accepted in one turn of the loop, so that those being served get theirs."
_GOODBYE = 2.0
"Seconds that a stop waits for connections whose peers are slow to close."
_STALLED = 6
"Times the deadline of a request that a phone may take nothing of an answer: some write flash meanwhile."
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Answer = Callable[[web.BaseRequest, Address | None], Awaitable[web.StreamResponse | Ready]]


class PhonesListener:
    """Several sockets (HTTP, HTTPS) with one cap."""

    def __init__(
        self,
        answer: Answer,
        *,
        connections: int,
        handshake: float,
        request: float,
        trusted: tuple[Network, ...],
        metrics: Metrics,
    ) -> None:
        self._answer = answer
        self._most = connections
        self._handshake = handshake
        # For a phone that vanished, or reads nothing of what it asked for: in milliseconds.
        self._stalled = int(_STALLED * request * 1000)
        self._trusted = trusted
        self._metrics = metrics
        self._open = 0
        self._held_back = False
        self._sockets: dict[socket.socket, ssl.SSLContext | None] = {}
        self._proxied: dict[RequestHandler, Address | None] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._http = _Server(
            self._handle,
            closed=self._closed,
            # From the connection's first moment: also the deadline of the first complete request.
            keepalive_timeout=request,
            tcp_keepalive=False,
            # A request's body is nothing we read.
            lingering_time=0.0,
            access_log=None,
            # aiohttp prints a traceback for each malformed request, which is a stranger's to choose.
            logger=_quiet(),
        )

    def add(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        self._sockets[listening] = context
        self._loop.add_reader(listening.fileno(), self._accept, listening)

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
            async with asyncio.timeout(_GOODBYE):
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
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._stalled)
            self._open += 1
            self._metrics.count("connections_accepted_total")
            task = self._loop.create_task(self._serve(connection, peer[0], self._sockets[listening]))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket, peer: str, context: ssl.SSLContext | None) -> None:
        handler: RequestHandler | None = None
        proxied: Address | None = None
        taken = False

        def protocol() -> RequestHandler:
            nonlocal handler
            handler = self._http()
            if proxied is not None:
                self._proxied[handler] = proxied
            return handler

        try:
            if self._trusted and addresses.within(addresses.parse(peer), self._trusted):
                async with asyncio.timeout(self._handshake):
                    proxied = await proxy_protocol.read(connection)
            await self._loop.connect_accepted_socket(
                protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._handshake,
            )
            taken = True
        except (OSError, TimeoutError, ValueError):
            # A handshake that failed, a phone that went away, a PROXY header that is none.
            if context is not None:
                self._metrics.count("handshakes_failed_total")
        finally:
            if not taken:
                connection.close()
                self._closed(handler)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse | Ready:
        return await self._answer(request, self._proxied.get(request.protocol) if self._proxied else None)

    def _closed(self, handler: RequestHandler | None) -> None:
        self._open -= 1
        if handler is not None:
            self._proxied.pop(handler, None)
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


class _Server(web.Server):
    """aiohttp's low-level server, which knows its connections until they are really gone, and tells then."""

    def __init__(self, *args: object, closed: Callable[[RequestHandler], None], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        self._told = closed
        self.transports: dict[RequestHandler, asyncio.Transport] = {}
        self._one_gone = asyncio.Event()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.transports[handler] = transport

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.transports.pop(handler, None)
        self._one_gone.set()
        self._told(handler)

    async def all_gone(self) -> None:
        while self.transports:
            self._one_gone.clear()
            await self._one_gone.wait()


def _quiet() -> logging.Logger:
    quiet = logging.getLogger("provisioning.phones.http")
    quiet.setLevel(logging.CRITICAL)
    return quiet
