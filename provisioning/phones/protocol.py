"""aiohttp's HTTP, held to bounds that it has not: a whole head's size, and the end of a TLS connection."""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

LONGEST_HEAD = 32 * 1024
"""Of a request, in bytes. aiohttp bounds a field and their number, whose product is half a megabyte."""
MOST_FIELDS = 64
LONGEST_FIELD = 8190
"A proxy may pass a phone's certificate on in one field."
GOODBYE = 2.0
"Seconds that a peer has to close its side, once it has everything."
_UNSENT = 64 * 1024
"Bytes of an answer that wait here for their phone before the rest of it is made."
# struct tcp_info of linux/tcp.h: tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes.
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


class Handler(RequestHandler):
    """One connection, from its first byte after TLS to its last."""

    __slots__ = ("_head", "goodbye", "place")

    def __init__(self, server: "Server", loop: asyncio.AbstractEventLoop, **options: object) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type]  # passed on as they are
        self.place: str | bytes | None = None
        "Whose it is, where connections are counted by address."
        self.goodbye: asyncio.TimerHandle | None = None
        self._head = 0

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head = 0
            return
        # Either a head that is not complete, or a body, which nobody reads.
        self._head += len(data)
        if self._head > LONGEST_HEAD:
            self.force_close()

    async def start(self) -> None:
        server = self._manager
        try:
            await super().start()
        finally:
            if isinstance(server, Server):
                server.ended(self)


class Server(web.Server):
    """aiohttp's low-level server, which knows its connections until they are really gone, and tells then."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        deadline: float,
        lost: Callable[[Handler], None],
    ) -> None:
        super().__init__(
            answer,
            # From the connection's first moment: also the deadline of the first complete request.
            keepalive_timeout=deadline,
            tcp_keepalive=False,
            max_line_size=LONGEST_FIELD,
            max_field_size=LONGEST_FIELD,
            max_headers=MOST_FIELDS,
            # A request's body is nothing we read: not waited for, not inflated.
            lingering_time=0.0,
            auto_decompress=False,
            access_log=None,
            # aiohttp prints a traceback for each malformed request, which is a stranger's to choose.
            logger=_quiet(),
        )
        self._told = lost
        self.transports: dict[RequestHandler, asyncio.Transport] = {}
        self._one_gone = asyncio.Event()

    def __call__(self) -> Handler:
        return Handler(self, self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.transports[handler] = transport
        # A TLS connection would take half a megabyte of an answer that nobody reads.
        transport.set_write_buffer_limits(high=_UNSENT)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.transports.pop(handler, None)
        self._one_gone.set()
        if isinstance(handler, Handler):
            if handler.goodbye is not None:
                handler.goodbye.cancel()
            self._told(handler)

    def ended(self, handler: Handler) -> None:
        """Nothing more is answered on this connection, which may yet have to send."""
        transport = self.transports.get(handler)
        if transport is not None and transport.get_extra_info("sslcontext") is not None:
            handler.goodbye = self._loop.call_later(GOODBYE, self._part, handler)

    def _part(self, handler: Handler) -> None:
        """Our close_notify is sent and RFC 8446 section 6.1 lets us go; a stranger's may never come."""
        transport = self.transports.get(handler)
        if transport is None:
            return
        if taken(transport)[1] == 0:
            transport.abort()
        else:
            # It takes its time over what it asked for. asyncio's own deadline for the end of TLS goes on.
            handler.goodbye = self._loop.call_later(GOODBYE, self._part, handler)

    async def all_gone(self) -> None:
        while self.transports:
            self._one_gone.clear()
            await self._one_gone.wait()


def taken(transport: asyncio.Transport) -> tuple[int, int]:
    """How many bytes the peer has acknowledged so far, and how much of the kernel's queue it has not."""
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return 0, 0
    unacknowledged, acknowledged, unsent = _TCP_INFO.unpack(info)
    return acknowledged, unacknowledged + unsent


def _quiet() -> logging.Logger:
    quiet = logging.getLogger("provisioning.phones.http")
    quiet.setLevel(logging.CRITICAL)
    return quiet
