"""Accounts."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select, update

from provisioning.store.tables import accounts, lines, phones


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    account: str
    name: str
    created_at: float
    proofs: str | None = None
    "What its phones' proofs are narrowed to, separated by blanks."


_COLUMNS = (accounts.c.id, accounts.c.account, accounts.c.name, accounts.c.created_at, accounts.c.proofs)


def find(connection: Connection, account: str) -> Account | None:
    row = connection.execute(select(*_COLUMNS).where(accounts.c.account == account)).first()
    return None if row is None else Account(*row)


def to_list(connection: Connection, account: str | None, only: int | None) -> int | None:
    """Whose things to list: of the named account, as far as a token restricted to `only` may see.

    None: everybody's. 0, which is nobody's id: an account that is unknown, or another's.
    """
    if account is None:
        return only
    stored = find(connection, account)
    return stored.id if stored is not None and only in (None, stored.id) else 0


def page(connection: Connection, *, only: int | None, after: str, limit: int) -> list[Account]:
    """In order of their names, `only` one of them where a token is restricted to it."""
    query = select(*_COLUMNS).where(accounts.c.account > after).order_by(accounts.c.account).limit(limit)
    if only is not None:
        query = query.where(accounts.c.id == only)
    return [Account(*row) for row in connection.execute(query)]


def add(connection: Connection, account: str, name: str, now: float) -> Account:
    """IntegrityError: the name is taken."""
    done = connection.execute(insert(accounts).values(account=account, name=name, created_at=now))
    (key,) = done.inserted_primary_key or (0,)
    return Account(key, account, name, now)


def change(connection: Connection, account_id: int, changed: dict[str, Any]) -> None:
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(**changed))


def is_used(connection: Connection, account_id: int) -> bool:
    """It still owns lines or phones."""
    owns = [select(exists().where(table.c.account_id == account_id)) for table in (lines, phones)]
    return any(connection.scalar(query) for query in owns)


def remove(connection: Connection, account_id: int) -> None:
    connection.execute(delete(accounts).where(accounts.c.id == account_id))
