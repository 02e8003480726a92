"""Who asks: tokens and sessions, looked up by what a request shows; and when each was used last.

A session is the console's: a cookie of 256 random bits, kept as a hash, in the place of a token
that a browser would have to keep. It acts as its token does and ends with it, when it expires, or
when it was idle for IDLE seconds.
"""

import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from provisioning.store.database import compiled
from provisioning.store.secrets import fingerprint
from provisioning.store.tables import accounts, sessions, tokens
from provisioning.store.tokens import COLUMNS, Token, by_hash

IDLE = 3600.0
PATIENCE = 0.1
"Seconds that noting a use waits for the write lock: it is a courtesy, and changes go first."


@dataclass(frozen=True, slots=True)
class Session:
    hash: bytes = field(repr=False)
    token: Token
    created_at: float
    expires_at: float
    seen_at: float

    def is_valid(self, now: float) -> bool:
        return now < self.expires_at and now - self.seen_at < IDLE and self.token.is_valid(now)


@dataclass(frozen=True, slots=True)
class Use:
    at: float
    address: str


def add(connection: Connection, token_id: str, now: float, expires_at: float) -> str:
    """The session itself, which only its browser keeps. Clears away those that have ended."""
    over = or_(sessions.c.expires_at <= now, sessions.c.seen_at <= now - IDLE)
    connection.execute(delete(sessions).where(over))
    session = secrets.token_urlsafe(32)
    connection.execute(
        insert(sessions).values(
            hash=fingerprint(session), token_id=token_id, created_at=now, expires_at=expires_at, seen_at=now
        )
    )
    return session


def remove(connection: Connection, session_hash: bytes) -> bool:
    return connection.execute(delete(sessions).where(sessions.c.hash == session_hash)).rowcount == 1


_SESSION = (
    select(sessions.c.created_at, sessions.c.expires_at, sessions.c.seen_at, *COLUMNS)
    .select_from(sessions)
    .join(tokens, tokens.c.id == sessions.c.token_id)
    .outerjoin(accounts, accounts.c.id == tokens.c.account_id)
    .where(sessions.c.hash == bindparam("hash"))
)
_USED = (
    update(tokens)
    .where(tokens.c.id == bindparam("token"))
    .values(used_at=bindparam("at"), used_from=bindparam("from"))
)
_SEEN = (
    update(sessions)
    .where(sessions.c.hash == bindparam("session"))
    .values(seen_at=bindparam("at"))
)


class CallerReader:
    """Every request of the management API asks this first: on a connection of its own, as store.fetch does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA query_only=1")
        self._token, self._session = compiled(by_hash(bindparam("hash"))), compiled(_SESSION)
        self._used, self._seen = compiled(_USED), compiled(_SEEN)

    def close(self) -> None:
        self._connection.close()

    def token(self, token: str) -> Token | None:
        row = self._connection.execute(self._token, {"hash": fingerprint(token)}).fetchone()
        return None if row is None else Token(*row)

    def session(self, session: str) -> Session | None:
        wanted = fingerprint(session)
        row = self._connection.execute(self._session, {"hash": wanted}).fetchone()
        return None if row is None else Session(wanted, Token(*row[3:]), *row[:3])

    def note(self, tokens_used: Mapping[str, Use], sessions_seen: Mapping[bytes, float]) -> None:
        """Blocks; sqlite3.Error: somebody else writes, or the disk is full.

        Apart from the process's writer: behind a lock that is held, changes would wait for this first.
        """
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                self._used,
                [{"token": token, "at": use.at, "from": use.address} for token, use in tokens_used.items()],
            )
            connection.executemany(
                self._seen, [{"session": session, "at": at} for session, at in sessions_seen.items()]
            )
            connection.execute("COMMIT")
        finally:
            connection.close()
