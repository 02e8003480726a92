"""/healthz, /readyz and /metrics: for machines, without a token."""

from aiohttp import web
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from provisioning.management.context import context


async def healthz(_: web.Request) -> web.Response:
    """This process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """It can serve: the database answers."""

    def look(connection: Connection) -> object:
        return connection.scalar(text("SELECT version_num FROM alembic_version"))

    try:
        await context(request).database.read(look)
    except SQLAlchemyError as error:
        return web.json_response({"status": "not ready", "database": type(error).__name__}, status=503)
    return web.json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    return web.Response(text=context(request).metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})
