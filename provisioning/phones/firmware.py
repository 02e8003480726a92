"""Firmware: exactly the images of the manifest, with Range (RFC 9110 section 14) and If-Range."""

import asyncio
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from aiohttp import hdrs, web

from provisioning.domain.firmware import Image
from provisioning.phones import request as requests

log = logging.getLogger(__name__)

# No image has more bytes than eighteen digits count, and Python reads no number of thousands of them.
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_CHUNK = 64 * 1024


class Firmware:
    def __init__(self, folder: Path, images: Iterable[Image]) -> None:
        self._folder = folder
        self._images = {image.file: image for image in images}

    def find(self, file: str) -> Image | None:
        """By its name in the manifest, and by no other path."""
        return self._images.get(file)

    async def send(self, request: web.BaseRequest, image: Image) -> web.StreamResponse:
        etag = f'"{image.sha256[:32]}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Server": "provisioning",
        }
        if requests.has_already(request.headers.get(hdrs.IF_NONE_MATCH), etag):
            return web.Response(status=304, headers=headers)
        start, end = 0, image.size
        status = 200
        # Of a HEAD there is no part (RFC 9110 section 14.2).
        wanted = request.headers.get(hdrs.RANGE) if request.method == hdrs.METH_GET else None
        if wanted is not None and request.headers.get(hdrs.IF_RANGE, etag) == etag:
            part = byte_range(wanted, image.size)
            if part == ():
                return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{image.size}"})
            if part:
                start, end = part
                status = 206
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{image.size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        # Before the first byte of an answer, so that a missing file is a 500.
        file = await asyncio.to_thread((self._folder / image.file).open, "rb")
        try:
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                file.seek(start)
                await _copy(response, file, end - start)
        finally:
            file.close()
        await response.write_eof()
        return response


async def _copy(response: web.StreamResponse, file: BinaryIO, length: int) -> None:
    while length:
        try:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, length))
        except OSError:
            chunk = b""
        if not chunk:
            # The file shrank since the start, or its disk fails; the answer must not look complete.
            log.error("firmware %s cannot be read to its end", file.name)
            raise ConnectionResetError
        await response.write(chunk)
        length -= len(chunk)


def byte_range(header: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """(start, end) of a single range; () if no byte of it exists; None for what RFC 9110 lets us ignore."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = int(last)
        return (max(0, size - length), size) if length else ()
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, end) if start < size else ()
