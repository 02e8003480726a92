"""Settings and vendors' own parameters that were chosen, for whom."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from provisioning.domain.settings import Value
from provisioning.store.tables import choices, phones, slots

SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Subject:
    """For whom: `scope` of domain.settings.SCOPES, and the row's id or, of a model, its name."""

    scope: str
    name: str | int = ""

    @property
    def stored(self) -> str:
        return f"{self.scope}{SEPARATOR}{self.name}" if self.name else self.scope


OPERATOR = Subject("operator")


def settings_of(connection: Connection, subject: Subject) -> dict[str, Value]:
    return _of(connection, subject, is_parameter=False)


def parameters_of(connection: Connection, subject: Subject) -> dict[str, str]:
    return {name: str(value) for name, value in _of(connection, subject, is_parameter=True).items()}


def _of(connection: Connection, subject: Subject, *, is_parameter: bool) -> dict[str, Value]:
    rows = connection.execute(
        select(choices.c.name, choices.c.value).where(
            choices.c.subject == subject.stored, choices.c.is_parameter == is_parameter
        )
    )
    return {name: decoded(value) for name, value in rows}


def decoded(text: str) -> Value:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


def change(
    connection: Connection, subject: Subject, changed: Mapping[str, Value | None], *, are_parameters: bool
) -> None:
    """None takes a choice back: the next farther one holds again."""
    if not changed:
        return
    connection.execute(
        delete(choices).where(
            choices.c.subject == subject.stored,
            choices.c.is_parameter == are_parameters,
            choices.c.name.in_(list(changed)),
        )
    )
    belongs: dict[str, Any] = {}
    if subject.scope in ("account", "phone", "line"):
        belongs[f"{subject.scope}_id"] = subject.name
    rows = [
        {
            "subject": subject.stored,
            "is_parameter": are_parameters,
            "name": name,
            "value": json.dumps(value, ensure_ascii=False),
            **belongs,
        }
        for name, value in changed.items()
        if value is not None
    ]
    if rows:
        connection.execute(insert(choices), rows)


def phones_concerned(connection: Connection, subject: Subject) -> list[int]:
    """The ids of the phones whose documents a choice for the subject may change."""
    query = select(phones.c.id)
    match subject.scope:
        case "model":
            query = query.where(phones.c.model == subject.name)
        case "account":
            query = query.where(phones.c.account_id == subject.name)
        case "phone":
            query = query.where(phones.c.id == subject.name)
        case "line":
            query = query.join(slots).where(slots.c.line_id == subject.name)
    return list(connection.scalars(query.order_by(phones.c.id)))


def raise_revisions(connection: Connection, subject: Subject) -> int:
    """Without telling the phones: they learn at their next poll. How many there are."""
    query = update(phones).values(revision=phones.c.revision + 1)
    if subject.scope == "model":
        query = query.where(phones.c.model == subject.name)
    elif subject.scope != "operator":
        query = query.where(phones.c.id.in_(phones_concerned(connection, subject)))
    return connection.execute(query).rowcount


def forget(connection: Connection, subject: Subject) -> None:
    connection.execute(delete(choices).where(choices.c.subject == subject.stored))
