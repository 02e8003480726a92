"""One SQLite database: how it is opened, read and written.

Store functions are plain functions of a Connection; `read` and `write` run them. A write is one
transaction, begun with BEGIN IMMEDIATE on the process's one writing connection and committed with
synchronous=FULL: what was acknowledged survives a power cut, and two processes that count slots
at once cannot both be right (docs/ARCHITECTURE.md).

Reads go through aiosqlite. A write runs as a whole in the writer's thread: one hand-over instead of
several for each of a dozen statements, which made an attach half as dear again (`make bench`, T8).
"""

import asyncio
import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import ClauseElement, Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from provisioning.domain.errors import Fault

SCHEMA = "0003"
"The newest migration in migrations/versions/; a test holds them together."
BUSY_SECONDS = 5
READERS = 2

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = create_engine(URL.create("sqlite", database=str(path)), pool_size=1, max_overflow=0)
        _prepare(self._writer, self._begin)
        self._writing = ThreadPoolExecutor(1, "writer")
        self._patience_ends = 0.0
        url = URL.create("sqlite+aiosqlite", database=str(path))
        self._readers = create_async_engine(url, pool_size=READERS, max_overflow=0)
        _prepare(self._readers.sync_engine, lambda connection: connection.exec_driver_sql("BEGIN"))

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """All of `work`, or nothing of it. A caller that is cancelled does not stop it half-way."""
        unit = functools.partial(self._write, time.monotonic() + BUSY_SECONDS, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._writing, unit)

    def _begin(self, connection: Connection) -> None:
        """Waits for another process's lock no longer than is left since the caller asked: those who wait
        behind one another wait together.
        """
        left = max(0, int(1000 * (self._patience_ends - time.monotonic())))
        connection.exec_driver_sql(f"PRAGMA busy_timeout={left}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _write(
        self, patience_ends: float, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._patience_ends = patience_ends
        with self._writer.begin() as connection:
            return work(connection, *args, **kwargs)

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` on one unchanging view of the database."""
        async with self._readers.begin() as connection:
            return await connection.run_sync(work, *args, **kwargs)

    async def close(self) -> None:
        await self._readers.dispose()
        await asyncio.to_thread(self._close_writer)

    def _close_writer(self) -> None:
        self._writing.shutdown()
        self._writer.dispose()


def _prepare(engine: Engine, begin: Callable[[Connection], object]) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN comes too late (not before a SELECT) and is deferred.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begins(connection: Connection) -> None:
        begin(connection)


PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)


def create_or_upgrade(path: Path) -> None:
    """Brings the schema to SCHEMA, from nothing or from an older one."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Imported here: a server that starts on a good schema does without Alembic's memory and time.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(URL.create("sqlite", database=str(path)))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
    path.chmod(0o600)


def check_schema(path: Path) -> None:
    """Fault, with what to do, unless the database has exactly the schema this program knows."""
    if not path.exists():
        raise Fault(f"{path}: there is no database; run `provisioning init`")
    found: Any = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Fault(f"{path}: is no database of this program ({error})") from None
    if found is None:
        raise Fault(f"{path}: says nothing of its schema; was its creation interrupted? Run `provisioning init`")
    if found[0] < SCHEMA:
        raise Fault(
            f"{path}: has schema {found[0]}, this program needs {SCHEMA}; run `provisioning init` to upgrade it"
        )
    if found[0] > SCHEMA:
        raise Fault(f"{path}: has schema {found[0]}, made by a newer program than this one ({SCHEMA})")


def direct(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection of a write, for what every change runs: statements that are compiled
    already cost a tenth of what they cost through SQLAlchemy. In the same transaction.
    """
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def compiled(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def is_busy(error: BaseException) -> bool:
    """Somebody else has been writing for longer than we wait."""
    return isinstance(error, DBAPIError) and "locked" in str(error.orig)
