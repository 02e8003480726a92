"""Alarms: what an operator should look at. Told once each, for people; the newest MOST are kept."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from provisioning.domain.mac import Mac
from provisioning.store.tables import alarms

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Alarm:
    id: int
    at: float
    kind: str
    mac: Mac | None
    detail: dict[str, Any]


_RAISE = insert(alarms)
_DROP = delete(alarms).where(alarms.c.id <= bindparam("last"))


def raise_alarm(
    connection: Connection, /, at: float, kind: str, mac: Mac | None = None, **detail: object
) -> int:
    """Its id. The caller counts `alarms_raised_total`, once this is committed."""
    done = connection.execute(
        _RAISE, {"at": at, "kind": kind, "mac": mac, "detail": json.dumps(detail, ensure_ascii=False)}
    )
    (alarm_id,) = done.inserted_primary_key or (0,)
    connection.execute(_DROP, {"last": alarm_id - MOST})
    return int(alarm_id)


def page(connection: Connection, *, before: int | None, limit: int) -> list[Alarm]:
    """The newest first."""
    query = select(alarms.c.id, alarms.c.at, alarms.c.kind, alarms.c.mac, alarms.c.detail)
    query = query.order_by(alarms.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(alarms.c.id < before)
    return [
        Alarm(row.id, row.at, row.kind, None if row.mac is None else Mac(row.mac), json.loads(row.detail))
        for row in connection.execute(query)
    ]
