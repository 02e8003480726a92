"""Function keys that are set on a phone."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import sqlite

from provisioning.domain.keys import Key
from provisioning.store.tables import function_keys

_COLUMNS = (
    function_keys.c.module,
    function_keys.c.number,
    function_keys.c.type,
    function_keys.c.value,
    function_keys.c.label,
)


def of_phone(connection: Connection, phone_id: int) -> list[Key]:
    rows = connection.execute(
        select(*_COLUMNS)
        .where(function_keys.c.phone_id == phone_id)
        .order_by(function_keys.c.module, function_keys.c.number)
    )
    return [Key(*row) for row in rows]


def put(connection: Connection, phone_id: int, keys: Iterable[Key]) -> None:
    """The last of several for one place holds."""
    rows = [
        {
            "phone_id": phone_id,
            "module": key.module,
            "number": key.number,
            "type": key.type,
            "value": key.value,
            "label": key.label,
        }
        for key in {key.place: key for key in keys}.values()
    ]
    if not rows:
        return
    query = sqlite.insert(function_keys)
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["phone_id", "module", "number"],
            set_={name: query.excluded[name] for name in ("type", "value", "label")},
        ),
        rows,
    )


def forget(connection: Connection, phone_id: int) -> None:
    connection.execute(delete(function_keys).where(function_keys.c.phone_id == phone_id))
