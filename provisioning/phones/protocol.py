"""aiohttp's HTTP, held to bounds that it has not: the size of a whole head, and peers that do not take
what they asked for, or do not end what they began.

TCP_USER_TIMEOUT is no such bound. Linux counts by it the time in which a window was too small for the
next segment, also while the peer reads on: a phone that takes 35 kB a second through a buffer of 8 kB,
as one does that writes firmware to its flash, is cut after that time (measured; Linux 6.18).
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from provisioning.phones.response import SERVER

LONGEST_HEAD = 32 * 1024
"""Of a request, in bytes. aiohttp bounds a field and their number, whose product is half a megabyte."""
MOST_FIELDS = 64
LONGEST_FIELD = 8190
"A proxy may pass a phone's certificate on in one field."
UNSENT = 64 * 1024
"Bytes of answers that wait for their phone here, and as many in the kernel, before more is made."
GOODBYE = 2.0
"Seconds that a peer has to end its side, once it has everything."
_STALLED = 6
"Times the deadline of a request that a phone may take next to nothing of an answer: some write flash meanwhile."
_LEAST = 16 * 1024
"Bytes that it takes in that time; whoever takes less holds the connection for its own sake."
END_OF_TLS = 3600.0
"Seconds that asyncio is given for it: never, for the end is looked after here."
_AT_ONCE = struct.pack("ii", 1, 0)
# struct tcp_info of linux/tcp.h: tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes.
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


class Handler(RequestHandler):
    """One connection, from its first byte after TLS to its last."""

    __slots__ = ("_head", "_most", "acknowledged", "place", "since")

    def __init__(self, server: "Server", loop: asyncio.AbstractEventLoop, **options: object) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type]  # passed on as they are
        self.place: str | bytes | None = None
        "Whose it is, where connections are counted by address."
        self.since: float | None = None
        "When it had last taken a good piece of what is sent to it; None: it is not waited for."
        self.acknowledged = 0
        "Bytes that it had taken by then."
        self._head = 0
        self._most = LONGEST_HEAD

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head, self._most = 0, LONGEST_HEAD
            if self._messages and getattr(self._messages[-1][0], "method", "") == "PUT":
                # Nothing more of it is taken before it is known whose it is.
                self._pause_transport_reading()
            return
        # A head that is not complete, a body that nobody reads, or one that is expected.
        self._head += len(data)
        if self._head > self._most:
            self.force_close()

    def expect_body(self, most: int) -> None:
        """Of the PUT that is being answered, and of so many bytes; 0: no more than of any other request."""
        self._most = LONGEST_HEAD + most
        # Not where aiohttp itself waits for requests before it to be answered.
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  its text is told to nobody
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """aiohttp's own tells the exception's text, and its name and version."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = web.Response(status=status, text="bad request\n" if status < 500 else "broken\n")
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    async def start(self) -> None:
        server = self._manager
        try:
            await super().start()
        finally:
            if isinstance(server, Server) and self in server.transports:
                server.ending.add(self)


class Server(web.Server):
    """aiohttp's low-level server, which knows its connections until they are really gone, and tells then."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        deadline: float,
        lost: Callable[[Handler], None],
        cut: Callable[[], None],
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
        self._lost = lost
        self._cut = cut
        self._stalled = _STALLED * deadline
        self.transports: dict[RequestHandler, asyncio.Transport] = {}
        self.answering: set[Handler] = set()
        "With a request that is being answered."
        self.ending: set[Handler] = set()
        "Where nothing more is answered; what was answered may be under way."
        self._one_gone = asyncio.Event()
        self._looking = self._loop.call_later(GOODBYE / 2, self._look)

    def __call__(self) -> Handler:
        return Handler(self, self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.transports[handler] = transport
        # A TLS connection would take half a megabyte of an answer that nobody reads.
        transport.set_write_buffer_limits(high=UNSENT)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.transports.pop(handler, None)
        self._one_gone.set()
        if isinstance(handler, Handler):
            self.ending.discard(handler)
            self._lost(handler)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's own signature
        self._looking.cancel()
        await super().shutdown(timeout)

    def _look(self) -> None:
        now = self._loop.time()
        for handler in list(self.answering):
            transport = self.transports.get(handler)
            if transport is not None and handler.writing_paused:
                self._takes(handler, transport, now)
            else:
                # Its phone waits for us.
                handler.since = None
        for handler in list(self.ending):
            transport = self.transports.get(handler)
            if transport is not None:
                self._goes(handler, transport, now)
        self._looking = self._loop.call_later(GOODBYE / 2, self._look)

    def _takes(self, handler: Handler, transport: asyncio.Transport, now: float) -> None:
        """Ends it if its peer, a good while long, did not."""
        acknowledged, _ = _taken(transport)
        if handler.since is None or acknowledged - handler.acknowledged >= _LEAST:
            handler.since, handler.acknowledged = now, acknowledged
        elif now - handler.since >= self._stalled:
            self._cut()
            # Or the kernel would go on with what it has, as slowly.
            if (its := transport.get_extra_info("socket")) is not None:
                its.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()

    def _goes(self, handler: Handler, transport: asyncio.Transport, now: float) -> None:
        acknowledged, outstanding = _taken(transport)
        if outstanding:
            self._takes(handler, transport, now)
        elif handler.since is not None and handler.acknowledged == acknowledged:
            # It had everything at the last look, our close_notify too. RFC 8446 section 6.1 lets us go
            # without its own, which a stranger may keep back.
            transport.abort()
        else:
            handler.since, handler.acknowledged = now, acknowledged

    async def all_gone(self) -> None:
        while self.transports:
            self._one_gone.clear()
            await self._one_gone.wait()


def _taken(transport: asyncio.Transport) -> tuple[int, bool]:
    """How many bytes the peer has acknowledged so far; and whether there are others in the kernel's queue."""
    its = transport.get_extra_info("socket")
    if its is None:
        # It went away in this very moment.
        return 0, False
    try:
        info = its.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return 0, False
    unacknowledged, acknowledged, unsent = _TCP_INFO.unpack(info)
    return acknowledged, unacknowledged + unsent > 0


def _quiet() -> logging.Logger:
    quiet = logging.getLogger("provisioning.phones.http")
    quiet.setLevel(logging.CRITICAL)
    return quiet
