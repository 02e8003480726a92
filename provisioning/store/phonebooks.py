"""Phonebooks: of an account, for all its phones, and of single phones."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from provisioning.domain.contact import Contact
from provisioning.store.tables import contacts


class Owner(NamedTuple):
    scope: Literal["account", "phone"]
    id: int

    @property
    def condition(self) -> ColumnElement[bool]:
        return (contacts.c.account_id if self.scope == "account" else contacts.c.phone_id) == self.id


class StoredContact(NamedTuple):
    id: int
    contact: Contact


_FIELDS = (
    contacts.c.group,
    contacts.c.name,
    contacts.c.surname,
    contacts.c.work,
    contacts.c.mobile,
    contacts.c.home,
)


def of_owner(connection: Connection, owner: Owner) -> list[StoredContact]:
    rows = connection.execute(select(contacts.c.id, *_FIELDS).where(owner.condition).order_by(contacts.c.id))
    return [StoredContact(number, Contact(*fields)) for number, *fields in rows]


def count(connection: Connection, owner: Owner) -> int:
    return int(connection.scalar(select(func.count()).select_from(contacts).where(owner.condition)) or 0)


def find(connection: Connection, owner: Owner, number: int) -> StoredContact | None:
    row = connection.execute(select(contacts.c.id, *_FIELDS).where(owner.condition, contacts.c.id == number)).first()
    return None if row is None else StoredContact(row[0], Contact(*row[1:]))


def add(connection: Connection, owner: Owner, new: Iterable[Contact]) -> list[int]:
    column = f"{owner.scope}_id"
    return [
        int(
            (
                connection.execute(insert(contacts).values({column: owner.id, **asdict(one)})).inserted_primary_key
                or (0,)
            )[0]
        )
        for one in new
    ]


def change(connection: Connection, owner: Owner, number: int, changed: Mapping[str, str]) -> None:
    connection.execute(update(contacts).where(owner.condition, contacts.c.id == number).values(dict(changed)))


def remove(connection: Connection, owner: Owner, number: int | None = None) -> int:
    """One contact, or all of them. How many there were."""
    query = delete(contacts).where(owner.condition)
    return connection.execute(query if number is None else query.where(contacts.c.id == number)).rowcount
