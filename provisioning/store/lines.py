"""Lines, their passwords sealed."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.store.secrets import KeyRing
from provisioning.store.tables import accounts, lines, phones, slots


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line as people read it: without its password, with the slot that holds it."""

    id: int
    line: str
    account: str
    account_id: int
    number: str
    username: str
    domain: str
    display_name: str
    outbound_proxy: str
    transport: str
    created_at: float
    phone_id: int | None
    mac: Mac | None
    slot: int | None


_SELECT: Select[Any] = (
    select(
        lines.c.id,
        lines.c.line,
        accounts.c.account,
        lines.c.account_id,
        lines.c.number,
        lines.c.username,
        lines.c.domain,
        lines.c.display_name,
        lines.c.outbound_proxy,
        lines.c.transport,
        lines.c.created_at,
        slots.c.phone_id,
        phones.c.mac,
        slots.c.slot,
    )
    .select_from(lines)
    .join(accounts)
    .outerjoin(slots, slots.c.line_id == lines.c.id)
    .outerjoin(phones, phones.c.id == slots.c.phone_id)
)


def find(connection: Connection, line: str, *, only: int | None = None) -> StoredLine | None:
    """`only`: the account a token is restricted to."""
    query = _SELECT.where(lines.c.line == line)
    if only is not None:
        query = query.where(lines.c.account_id == only)
    row = connection.execute(query).first()
    return None if row is None else StoredLine(*row)


def page(
    connection: Connection, *, account_id: int | None, after: str, limit: int, phone_id: int | None = None
) -> list[StoredLine]:
    query = _SELECT.where(lines.c.line > after).order_by(lines.c.line).limit(limit)
    if account_id is not None:
        query = query.where(lines.c.account_id == account_id)
    if phone_id is not None:
        query = query.where(slots.c.phone_id == phone_id)
    return [StoredLine(*row) for row in connection.execute(query)]


def context(line: str) -> str:
    """What a line's sealed password is bound to."""
    return f"line:{line}"


def add(connection: Connection, keys: KeyRing, account_id: int, line: Line, now: float) -> None:
    """IntegrityError: the name, or the username at its domain, is taken."""
    key_id, sealed = keys.seal(line.password, context(line.name))
    connection.execute(
        insert(lines).values(
            line=line.name,
            account_id=account_id,
            number=line.number,
            username=line.username,
            password=sealed,
            key_id=key_id,
            domain=line.domain,
            display_name=line.display_name,
            outbound_proxy=line.outbound_proxy,
            transport=line.transport,
            created_at=now,
        )
    )


def change(connection: Connection, keys: KeyRing, line: StoredLine, changed: dict[str, Any]) -> None:
    """`changed`: columns by name, a password in the clear."""
    values = dict(changed)
    if "password" in values:
        values["key_id"], values["password"] = keys.seal(values["password"], context(line.line))
    connection.execute(update(lines).where(lines.c.id == line.id).values(**values))


def remove(connection: Connection, line_id: int) -> None:
    connection.execute(delete(lines).where(lines.c.id == line_id))
