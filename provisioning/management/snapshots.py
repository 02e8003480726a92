"""Every change leaves a row in the audit log, with what the API shows of its subject before and after.

For the API (`context.once`) and the command line alike.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection

from provisioning.domain.mac import Mac
from provisioning.management import views
from provisioning.store import accounts, audit, lines, phones, tokens
from provisioning.store.audit import Author

T = TypeVar("T")

MASK = "***"


class Subject(NamedTuple):
    """What a change is made to; spelled as the audit log is searched for it."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


_FIND: dict[str, Callable[[Connection, str], Any]] = {
    "account": accounts.find,
    "line": lines.look,
    "phone": lambda connection, mac: phones.find(connection, Mac(mac)),
    "token": tokens.find,
}
_SHOW: dict[str, Callable[[Any], object]] = {
    "account": views.account,
    "line": views.line,
    "phone": views.phone,
    "token": views.token,
}


def shown(connection: Connection, subject: Subject) -> dict[str, Any] | None:
    """As the API shows it, which is without secrets; None: there is no such thing."""
    found = _FIND[subject.kind](connection, subject.name)
    return None if found is None else msgspec.to_builtins(_SHOW[subject.kind](found))


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
