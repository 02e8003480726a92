"""Files that phones PUT: counted while they come, never inflated, under fixed names."""

import asyncio

from aiohttp import hdrs, web

from provisioning.domain.catalogue import Upload
from provisioning.phones.protocol import Handler


class Unwanted(Exception):  # noqa: N818  an answer, not a fault
    """The upload is not taken, for the reason that the status says."""

    def __init__(self, status: int, told: bytes) -> None:
        super().__init__()
        self.status = status
        self.told = told


async def read(request: web.BaseRequest, upload: Upload, seconds: float) -> bytes:
    """The whole body of a phone that has proved itself. Unwanted: 408, 411, 413 or 415."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        # What is small when it comes may be large when it is unpacked.
        raise Unwanted(415, b"send it as it is\n")
    length, most = request.content_length, upload.most_bytes
    if length is None and "chunked" not in request.headers.get(hdrs.TRANSFER_ENCODING, "").lower():
        raise Unwanted(411, b"its length is needed\n")
    if length is not None and length > most:
        raise Unwanted(413, b"too large\n")
    if isinstance(request.protocol, Handler):
        request.protocol.expect_body(most)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
        # RFC 9110 section 10.1.1; libcurl, which Poly's phones are made with, waits a second for it.
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > most:
                    raise Unwanted(413, b"too large\n")
    except TimeoutError:
        raise Unwanted(408, b"too slow\n") from None
    return bytes(body)
