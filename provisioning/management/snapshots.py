"""Every change leaves a row in the audit log, with what the API shows of its subject before and after.

For the API (`context.once`) and the command line alike.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection

from provisioning.domain.mac import Mac
from provisioning.management import views
from provisioning.store import accounts, audit, choices, function_keys, lines, phonebooks, phones, tokens, unknown
from provisioning.store.audit import Author

T = TypeVar("T")

MASK = "***"


class Subject(NamedTuple):
    """What a change is made to; spelled as the audit log is searched for it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _settings(connection: Connection, name: str) -> dict[str, Any] | None:
    """`operator`, `model yealink-t46s`, `account demo`, `phone 001565decaf1`, `line line-1`."""
    scope, _, named = name.partition(" ")
    found: Any = None
    if scope == "account":
        found = accounts.find(connection, named)
    elif scope == "phone":
        found = phones.find(connection, Mac(named))
    elif scope == "line":
        found = lines.look(connection, named)
    if scope in ("account", "phone", "line") and found is None:
        return None
    subject = choices.Subject(scope, named if found is None else found.id)
    return {
        "settings": choices.settings_of(connection, subject),
        "parameters": choices.parameters_of(connection, subject),
    }


def _keys(connection: Connection, mac: str) -> dict[str, Any] | None:
    found = phones.find(connection, Mac(mac))
    if found is None:
        return None
    return {str(key): {"type": key.type, "value": key.value} for key in function_keys.of_phone(connection, found.id)}


def _phonebook(connection: Connection, name: str) -> dict[str, Any] | None:
    """How many contacts: whom somebody knows is nobody else's business."""
    scope, _, named = name.partition(" ")
    found = accounts.find(connection, named) if scope == "account" else phones.find(connection, Mac(named))
    if found is None:
        return None
    of = phonebooks.Owner("account" if scope == "account" else "phone", found.id)
    return {"contacts": phonebooks.count(connection, of)}


_FIND: dict[str, Callable[[Connection, str], Any]] = {
    "account": accounts.find,
    "line": lines.look,
    "phone": lambda connection, mac: phones.find(connection, Mac(mac)),
    "token": tokens.find,
    "settings": _settings,
    "keys": _keys,
    "phonebook": _phonebook,
    "unknown-phone": lambda connection, mac: unknown.find(connection, Mac(mac)),
}
_SHOW: dict[str, Callable[[Any], object]] = {
    "account": views.account,
    "line": views.line,
    "phone": views.phone,
    "token": views.token,
    "unknown-phone": views.unknown,
}


def _as_it_is(found: Any) -> object:
    return found


def shown(connection: Connection, subject: Subject) -> dict[str, Any] | None:
    """As the API shows it, which is without secrets; None: there is no such thing."""
    found = _FIND[subject.kind](connection, subject.name)
    return None if found is None else msgspec.to_builtins(_SHOW.get(subject.kind, _as_it_is)(found))


def audited(
    connection: Connection,
    author: Author,
    now: float,
    verb: str,
    subject: Subject,
    change: Callable[[], T],
    masked: Iterable[str] = (),
) -> T:
    """Makes the change and records it, in the transaction. `masked`: the secrets that it sets, by their names."""
    before = shown(connection, subject)
    result = change()
    after = shown(connection, subject)
    if after is not None:
        after |= dict.fromkeys(masked, MASK)
    audit.recorded(connection, author, now, f"{subject.kind}.{verb}", str(subject), before, after)
    return result
