"""The management application on its socket, with the deadlines and the manners that aiohttp has not."""

import asyncio
import socket
from http import HTTPStatus

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from provisioning.domain.errors import Refused
from provisioning.management.problem import respond

REQUEST_SECONDS = 30.0
"Until a request's head is complete, and again until its body is."
STOP_SECONDS = 5.0


class ManagementListener:
    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            # From the connection's first moment: also the deadline of its first request.
            keepalive_timeout=REQUEST_SECONDS,
            shutdown_timeout=STOP_SECONDS,
            # A body's size is bounded as it is sent; nobody's is inflated.
            auto_decompress=False,
        )
        self._listening: asyncio.Server | None = None

    async def start(self, bound: socket.socket) -> None:
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        if server is not None:
            its: web.Server = server
            self._listening = await loop.create_server(
                lambda: _Handler(its, loop=loop, **its._kwargs), sock=bound  # noqa: SLF001  as aiohttp's own does
            )

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()


class _Handler(RequestHandler):
    """aiohttp answers what is no HTTP with the exception's text, and with its own name and version."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  its text is told to nobody
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        malformed = status < HTTPStatus.INTERNAL_SERVER_ERROR
        response = respond(
            Refused("malformed-request", "This is no HTTP request.")
            if malformed
            else Refused("broken", "This is our fault, and it is logged.")
        )
        response.headers["Server"] = "provisioning"
        response.force_close()
        return response
