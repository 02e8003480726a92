"""Files that phones PUT."""

from typing import NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import sqlite

from provisioning.store.tables import uploads


class StoredUpload(NamedTuple):
    shape: str
    size: int
    at: float


def put(connection: Connection, phone_id: int, shape: str, body: bytes, now: float) -> None:
    query = sqlite.insert(uploads).values(phone_id=phone_id, shape=shape, body=body, at=now)
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["phone_id", "shape"], set_={"body": query.excluded.body, "at": query.excluded.at}
        )
    )


def of_phone(connection: Connection, phone_id: int) -> list[StoredUpload]:
    rows = connection.execute(
        select(uploads.c.shape, uploads.c.body, uploads.c.at)
        .where(uploads.c.phone_id == phone_id)
        .order_by(uploads.c.shape)
    )
    return [StoredUpload(shape, len(body), at) for shape, body, at in rows]


def read(connection: Connection, phone_id: int, shape: str) -> bytes | None:
    return connection.scalar(select(uploads.c.body).where(uploads.c.phone_id == phone_id, uploads.c.shape == shape))


def forget(connection: Connection, phone_id: int) -> None:
    """For another owner, whom the earlier one's logs and contacts do not concern."""
    connection.execute(delete(uploads).where(uploads.c.phone_id == phone_id))
