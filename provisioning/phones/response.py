"""A document's answer, sent as bytes that were put together when it was rendered.

aiohttp's Response builds its headers anew for each request, which costs as much as the rest of a
fetch (`make bench`, T1 and T2). It takes whatever has `prepare`, `write_eof` and `keep_alive`.
"""

import time
from email.utils import formatdate

from aiohttp import HttpVersion10, hdrs, web

SERVER = "provisioning"
_CLOSE = b"Connection: close\r\n"
_KEEP = b"Connection: keep-alive\r\n"


def head(status: str, content_type: str, etag: str, length: int) -> bytes:
    """All of the head but what depends on the request: the date and the connection."""
    # RFC 9110 section 15.4.5: a 304 has the validators, and no length of its own.
    content = "" if status.startswith("304") else f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
    return (
        f"HTTP/1.1 {status}\r\n{content}ETag: {etag}\r\nCache-Control: private, no-cache\r\nServer: {SERVER}\r\nDate: "
    ).encode("ascii")


def coded(head: bytes, coding: str) -> bytes:
    """The same head of a body in a content coding (RFC 9110 section 8.4)."""
    return head.replace(b"ETag: ", f"Content-Encoding: {coding}\r\nETag: ".encode("ascii"), 1)


class Ready:
    """One answer. Idempotent, for aiohttp prepares what the handler prepared already."""

    __slots__ = ("_body", "_head", "_sent", "body_length", "keep_alive", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.keep_alive = False
        self.body_length = 0
        self._head = head
        self._body = body
        self._sent = False

    async def prepare(self, request: web.BaseRequest) -> None:
        if self._sent:
            return
        self._sent = True
        self.keep_alive = request.keep_alive
        connection = b""
        if not self.keep_alive:
            connection = _CLOSE
        elif request.version == HttpVersion10:
            connection = _KEEP
        body = b"" if request.method == hdrs.METH_HEAD else self._body
        self.body_length = len(body)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the phone went away")
        transport.write(b"".join((self._head, _date(), connection, b"\r\n", body)))
        # A phone that asks on without reading waits here, and not in our memory.
        await request.writer.drain()

    async def write_eof(self) -> None:
        return


_second = 0
_line = b""


def _date() -> bytes:
    """The rest of the Date field, made once a second."""
    global _second, _line  # noqa: PLW0603  one clock for all answers
    now = int(time.time())
    if now != _second:
        _second = now
        _line = f"{formatdate(now, usegmt=True)}\r\n".encode("ascii")
    return _line
