"""Phones that asked and are nobody's: a bounded trace, never a row for each request."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import sqlite

from provisioning.domain.mac import Mac
from provisioning.store.tables import unknown_phones

MOST = 1000
"What nobody has looked at among so many, nobody will; the ones seen longest ago make room."


@dataclass(frozen=True, slots=True)
class Unknown:
    mac: Mac
    vendor: str | None
    "What the path, the User-Agent and the MAC's prefix say; nobody has proved it."
    model: str | None
    firmware: str | None
    user_agent: str
    document: str
    public_ip: str | None
    first_seen_at: float
    seen_at: float


_COLUMNS = tuple(unknown_phones.c)


def seen(connection: Connection, strangers: Sequence[Unknown]) -> None:
    """Their later sights overwrite the earlier ones."""
    query = sqlite.insert(unknown_phones)
    told = ("vendor", "model", "firmware", "user_agent", "document", "public_ip", "seen_at")
    connection.execute(
        query.on_conflict_do_update(index_elements=["mac"], set_={name: query.excluded[name] for name in told}),
        [{column.name: getattr(one, column.name) for column in _COLUMNS} for one in strangers],
    )
    oldest = (
        select(unknown_phones.c.mac)
        .order_by(unknown_phones.c.seen_at.desc(), unknown_phones.c.mac)
        .offset(MOST)
        .scalar_subquery()
    )
    if (connection.scalar(select(func.count()).select_from(unknown_phones)) or 0) > MOST:
        connection.execute(delete(unknown_phones).where(unknown_phones.c.mac.in_(oldest)))


def page(connection: Connection, *, after: str, limit: int) -> list[Unknown]:
    rows = connection.execute(
        select(*_COLUMNS).where(unknown_phones.c.mac > after).order_by(unknown_phones.c.mac).limit(limit)
    )
    return [Unknown(*row) for row in rows]


def find(connection: Connection, mac: Mac) -> Unknown | None:
    row = connection.execute(select(*_COLUMNS).where(unknown_phones.c.mac == mac)).first()
    return None if row is None else Unknown(*row)


def forget(connection: Connection, mac: Mac) -> bool:
    """It is known now, or nobody wants it. False: it was not there."""
    return connection.execute(delete(unknown_phones).where(unknown_phones.c.mac == mac)).rowcount > 0
