"""Lines, their passwords sealed."""

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, insert, select, update

from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.store.database import compiled, direct
from provisioning.store.secrets import KeyRing
from provisioning.store.tables import accounts, lines, new_passwords, phones, slots


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


# Statements of the attach path are made once: building one costs as much as running it.
_BY_NAME = _SELECT.where(lines.c.line == bindparam("name"))
_LOOK = compiled(_BY_NAME)
WHOLE = (
    lines.c.line,
    accounts.c.account,
    lines.c.number,
    lines.c.username,
    lines.c.key_id,
    lines.c.password,
    lines.c.domain,
    lines.c.display_name,
    lines.c.outbound_proxy,
    lines.c.transport,
)
"What `opened` makes a line of."
_WHOLE = compiled(select(*WHOLE).select_from(lines.join(accounts)).where(lines.c.line == bindparam("name")))
_OWN_BY_NAME = _BY_NAME.where(lines.c.account_id == bindparam("only"))


def find(connection: Connection, line: str, *, only: int | None = None) -> StoredLine | None:
    """`only`: the account a token is restricted to."""
    query = _BY_NAME if only is None else _OWN_BY_NAME
    row = connection.execute(query, {"name": line, "only": only}).first()
    return None if row is None else StoredLine(*row)


def look(connection: Connection, line: str) -> StoredLine | None:
    """`find` for what every change of a line asks twice, before and after; in a write only."""
    row = direct(connection).execute(_LOOK, {"name": line}).fetchone()
    return None if row is None else StoredLine(*row)


def whole(connection: Connection, keys: KeyRing, line: str) -> Line | None:
    """With its password in the clear: for what is done with it now, and never for people."""
    row = connection.exec_driver_sql(_WHOLE, {"name": line}).fetchone()
    return None if row is None else opened(keys, row)


def opened(keys: KeyRing, row: Iterable[Any]) -> Line:
    """Of the columns WHOLE, the password in the clear."""
    name, account, number, username, key_id, sealed, *more = row
    return Line(name, account, number, username, keys.open(key_id, sealed, context(name)), *more)


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


# A password that replaces what a detached phone knows

PASSWORD_LENGTH = 24
_ALPHABET = string.ascii_letters + string.digits
"What every phone and every syntax takes; 24 of them are 142 bits."


@dataclass(frozen=True, slots=True)
class NewPassword:
    line_id: int
    line: str
    username: str
    domain: str
    password: str = field(repr=False)
    attempts: int


def plan_new_password(connection: Connection, keys: KeyRing, line: StoredLine, now: float) -> None:
    """In the transaction of the detach. One that waits already is as good."""
    password = "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))
    key_id, sealed = keys.seal(password, new_context(line.id))
    waiting = select(new_passwords.c.line_id).where(new_passwords.c.line_id == line.id)
    if connection.execute(waiting).first() is None:
        connection.execute(
            insert(new_passwords).values(line_id=line.id, password=sealed, key_id=key_id, next_attempt_at=now)
        )


def take_new_passwords(
    connection: Connection, keys: KeyRing, now: float, lease: float, limit: int
) -> list[NewPassword]:
    """Those that are due, put off by `lease` so that another process does not hand them over too."""
    query = (
        select(
            new_passwords.c.line_id,
            lines.c.line,
            lines.c.username,
            lines.c.domain,
            new_passwords.c.key_id,
            new_passwords.c.password,
            new_passwords.c.attempts,
        )
        .join(lines)
        .where(new_passwords.c.next_attempt_at <= now)
        .order_by(new_passwords.c.next_attempt_at)
        .limit(limit)
    )
    found = connection.execute(query).all()
    connection.execute(
        update(new_passwords)
        .where(new_passwords.c.line_id.in_([row.line_id for row in found]))
        .values(next_attempt_at=now + lease, attempts=new_passwords.c.attempts + 1)
    )
    return [
        NewPassword(
            row.line_id,
            row.line,
            row.username,
            row.domain,
            keys.open(row.key_id, row.password, new_context(row.line_id)),
            row.attempts,
        )
        for row in found
    ]


def new_passwords_due(connection: Connection, now: float) -> bool:
    due = select(new_passwords.c.line_id).where(new_passwords.c.next_attempt_at <= now).limit(1)
    return connection.execute(due).first() is not None


def put_off_new_password(connection: Connection, line_id: int, until: float) -> None:
    connection.execute(update(new_passwords).where(new_passwords.c.line_id == line_id).values(next_attempt_at=until))


def adopt_new_password(connection: Connection, keys: KeyRing, new: NewPassword) -> StoredLine | None:
    """The registrar has it: from now on it is the line's. None: the line is gone."""
    connection.execute(delete(new_passwords).where(new_passwords.c.line_id == new.line_id))
    stored = find(connection, new.line)
    if stored is not None:
        change(connection, keys, stored, {"password": new.password})
    return stored


def new_context(line_id: int) -> str:
    return f"new-password:{line_id}"
