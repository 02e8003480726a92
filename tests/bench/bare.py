"""The measure of everything: an aiohttp application that answers with a constant, and nothing else.

bare.py <document> <certificate> <key> <ready file>
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from provisioning import tls

ROUTES = 22


async def main(body: bytes, certificate: Path, key: Path, ready: Path) -> None:
    async def constant(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/plain")

    app = web.Application()
    for number in range(ROUTES - 1):
        app.router.add_get(f"/v1/resource{number}/{{name}}", constant)
    app.router.add_get("/cfg/{mac:[0-9a-f]{12}}.cfg", constant)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    ports = {}
    for name, context in (("http", None), ("https", tls.context(certificate, key))):
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096, ssl_context=context)
        await site.start()
        ports[name] = site._server.sockets[0].getsockname()[1]
    tell(ready, ports)
    await asyncio.Event().wait()


def tell(ready: Path, ports: dict[str, int]) -> None:
    unfinished = ready.with_suffix(".new")
    unfinished.write_text(json.dumps(ports))
    unfinished.replace(ready)


if __name__ == "__main__":
    document, certificate, key, ready = map(Path, sys.argv[1:])
    uvloop.run(main(document.read_bytes(), certificate, key, ready))
