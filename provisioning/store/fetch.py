"""What a phone's fetch reads: the hot path.

SQLAlchemy Core compiles the statements once; a dedicated sqlite3 connection runs them directly on
the event loop. One indexed row costs 6 microseconds this way and 320 through the async engine;
in WAL mode no writer can block it (docs/ARCHITECTURE.md).
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import CompoundSelect, Select, bindparam, literal, or_, select
from sqlalchemy.dialects import sqlite

from provisioning.domain import settings
from provisioning.domain.contact import MOST_CONTACTS, Contact
from provisioning.domain.held import Held
from provisioning.domain.keys import Key
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.domain.settings import Value
from provisioning.store import binding
from provisioning.store import lines as stored_lines
from provisioning.store import phones as stored_phones
from provisioning.store.choices import SEPARATOR, decoded
from provisioning.store.phones import secret_context
from provisioning.store.secrets import KeyRing
from provisioning.store.tables import (
    accounts,
    activation_codes,
    choices,
    contacts,
    doors,
    function_keys,
    lines,
    phone_secrets,
    phones,
    slots,
    uploads,
)


class Found(NamedTuple):
    """A phone, found by what a request shows."""

    id: int
    mac: Mac
    model: str
    revision: int
    fetched_revision: int
    public_ip: str | None
    user_agent: str | None
    returned_at: float | None
    secret_lost_at: float | None
    proofs: str | None
    "Those that its account accepts, separated by blanks; None: the operator's."
    keyed_by: bytes | None
    "The hash of the secret of which the key is made that the phone last fetched."
    kind: str = ""
    "Of the secret that was shown: own or bootstrap."
    secret_hash: bytes | None = None
    shown_at: float | None = None
    "When the secret was first shown."
    used_at: float | None = None
    "When the bootstrap token was burnt."


class Choices(NamedTuple):
    settings: dict[str, dict[str, Value]]
    "By scope."
    parameters: dict[str, dict[str, str]]
    "By scope."
    of_lines: dict[str, dict[str, Value]]
    "By line."


class Candidate(NamedTuple):
    """A secret that would be the right password for a MAC."""

    kind: Literal["own", "code"]
    hash: bytes
    key_id: str
    sealed: bytes


_PHONE = (
    phones.c.id,
    phones.c.mac,
    phones.c.model,
    phones.c.revision,
    phones.c.fetched_revision,
    phones.c.public_ip,
    phones.c.user_agent,
    phones.c.returned_at,
    phones.c.secret_lost_at,
    accounts.c.proofs,
    phones.c.keyed_by,
)
_WITH_ACCOUNT = phones.join(accounts)

_BY_SECRET = (
    select(*_PHONE, phone_secrets.c.kind, phone_secrets.c.hash, phone_secrets.c.shown_at, phone_secrets.c.used_at)
    .select_from(_WITH_ACCOUNT.join(phone_secrets))
    .where(phone_secrets.c.hash == bindparam("hash"))
)
_BY_CODE = (
    select(*_PHONE)
    .select_from(_WITH_ACCOUNT.join(activation_codes))
    .where(activation_codes.c.hash == bindparam("hash"), binding.usable(bindparam("now")))
)
_BY_MAC = select(*_PHONE).select_from(_WITH_ACCOUNT).where(phones.c.mac == bindparam("mac"))
# A door that was opened, or passed, in the future is not open: the clock was set back since.
_BY_DOOR = (
    select(*_PHONE)
    .select_from(_WITH_ACCOUNT.join(doors))
    .where(
        doors.c.mac == bindparam("mac"),
        doors.c.place == bindparam("place"),
        doors.c.opened_at <= bindparam("now"),
        doors.c.closes_at > bindparam("now"),
        or_(
            doors.c.passed_at.is_(None),
            doors.c.passed_at.between(bindparam("now") - stored_phones.SET_SECONDS, bindparam("now")),
        ),
    )
)
_ANY = select(phones.c.mac).join(phone_secrets).where(phone_secrets.c.kind == "own").limit(1)
_CANDIDATES = (
    select(literal("own"), phone_secrets.c.hash, phone_secrets.c.key_id, phone_secrets.c.secret)
    .join(phones)
    .where(phones.c.mac == bindparam("mac"), phone_secrets.c.kind == "own")
    .union_all(
        select(literal("code"), activation_codes.c.hash, activation_codes.c.key_id, activation_codes.c.code)
        .join(phones)
        .where(phones.c.mac == bindparam("mac"), binding.usable(bindparam("now")))
    )
)
_LINES = (
    select(slots.c.slot, *stored_lines.WHOLE)
    .select_from(slots)
    .join(lines, lines.c.id == slots.c.line_id)
    .join(accounts, accounts.c.id == lines.c.account_id)
    .where(slots.c.phone_id == bindparam("phone_id"))
    .order_by(slots.c.slot)
)
# A phone's own, its lines', and what stands above them.
_CHOICES = (
    select(choices.c.subject, choices.c.is_parameter, choices.c.name, choices.c.value)
    .select_from(
        phones.join(
            choices,
            choices.c.subject.in_(
                (
                    literal("operator"),
                    literal("model:").concat(phones.c.model),
                    literal("account:").concat(phones.c.account_id),
                    literal("phone:").concat(phones.c.id),
                )
            ),
        )
    )
    .where(phones.c.id == bindparam("phone_id"))
    .union_all(
        select(literal("line:").concat(lines.c.line), choices.c.is_parameter, choices.c.name, choices.c.value)
        .select_from(slots.join(lines).join(choices, choices.c.subject == literal("line:").concat(lines.c.id)))
        .where(slots.c.phone_id == bindparam("phone_id"))
    )
)
_KEYS = select(
    function_keys.c.module, function_keys.c.number, function_keys.c.type, function_keys.c.value, function_keys.c.label
).where(function_keys.c.phone_id == bindparam("phone_id"))
_CONTACTS = select(
    contacts.c.group, contacts.c.name, contacts.c.surname, contacts.c.work, contacts.c.mobile, contacts.c.home
).where(
    or_(
        contacts.c.phone_id == bindparam("phone_id"),
        contacts.c.account_id
        == select(phones.c.account_id).where(phones.c.id == bindparam("phone_id")).scalar_subquery(),
    )
)
_UPLOAD = select(uploads.c.body).where(
    uploads.c.phone_id == bindparam("phone_id"), uploads.c.shape == bindparam("shape")
)
_SECRET = (
    select(phone_secrets.c.key_id, phone_secrets.c.secret)
    .where(phone_secrets.c.phone_id == bindparam("phone_id"), phone_secrets.c.kind == "own")
    .order_by(phone_secrets.c.created_at.desc())
)


class PhoneReader:
    def __init__(self, path: Path, keys: KeyRing) -> None:
        self._keys = keys
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=32)
        # Not mode=ro: a reader must be able to make the WAL's shared memory after a restart.
        self._connection.execute("PRAGMA query_only=1")
        # The default cache of 2 MB thrashes with 100,000 phones; mapped pages are shared by workers.
        self._connection.execute(f"PRAGMA mmap_size={512 * 1024 * 1024}")
        # One cursor and no named parameter, for every fetch comes here.
        self._cursor = self._connection.cursor()
        self._by_secret = str(_BY_SECRET.compile(dialect=sqlite.dialect()))
        self._by_door = _compiled(_BY_DOOR)
        self._by_code = _compiled(_BY_CODE)
        self._by_mac = _compiled(_BY_MAC)
        self._candidates = _compiled(_CANDIDATES)
        self._any = _compiled(_ANY)
        self._lines = _compiled(_LINES)
        self._choices = _compiled(_CHOICES)
        self._keys_of = _compiled(_KEYS)
        self._contacts = _compiled(_CONTACTS)
        self._upload = _compiled(_UPLOAD)
        self._secret = _compiled(_SECRET)

    def close(self) -> None:
        self._connection.close()

    def by_secret(self, secret_hash: bytes) -> Found | None:
        row = self._cursor.execute(self._by_secret, (secret_hash,)).fetchone()
        return None if row is None else Found(*row)

    def by_door(self, mac: Mac, place: str, now: float) -> Found | None:
        row = self._by_door.run(self._connection, mac=mac, place=place, now=now).fetchone()
        return None if row is None else Found(*row)

    def by_code(self, code_hash: bytes, now: float) -> Found | None:
        row = self._by_code.run(self._connection, hash=code_hash, now=now).fetchone()
        return None if row is None else Found(*row)

    def by_mac(self, mac: Mac) -> Found | None:
        """Only for a MAC that is proved already."""
        row = self._by_mac.run(self._connection, mac=mac).fetchone()
        return None if row is None else Found(*row)

    def candidates(self, mac: Mac, now: float) -> list[Candidate]:
        """What Digest needs in the clear; the caller does the same work for a MAC that has none."""
        rows = self._candidates.run(self._connection, mac=mac, now=now)
        return [Candidate(*row) for row in rows]

    def any_with_a_secret(self) -> Mac | None:
        row = self._any.run(self._connection).fetchone()
        return None if row is None else Mac(row[0])

    def lines(self, phone_id: int) -> list[tuple[int, Line]]:
        """(slot, line) of each attached line, the passwords in the clear."""
        rows = self._lines.run(self._connection, phone_id=phone_id)
        return [(slot, stored_lines.opened(self._keys, row)) for slot, *row in rows]

    def held(self, phone_id: int, below: Mapping[str, Value], *, contacts: bool = False) -> Held:
        """What the phone's documents show. `below`: what config.toml chooses, under all that is chosen here.

        `contacts`: its phonebook too, which only one document shows.
        """
        chosen = self.choices(phone_id)
        layers = [("config", below), *((scope, chosen.settings.get(scope, {})) for scope in settings.SCOPES[:-1])]
        parameters = chosen.parameters.get("model", {}) | chosen.parameters.get("phone", {})
        return Held(
            lines=self.lines(phone_id),
            chosen=settings.values(settings.resolve(layers)),
            chosen_of_lines=chosen.of_lines,
            keys=[Key(*row) for row in self._keys_of.run(self._connection, phone_id=phone_id)],
            parameters=sorted(parameters.items()),
            contacts=self.contacts(phone_id) if contacts else (),
        )

    def choices(self, phone_id: int) -> Choices:
        """Made for the phone, its lines, and what stands above them, by scope."""
        found = Choices({}, {}, {})
        for subject, is_parameter, name, text in self._choices.run(self._connection, phone_id=phone_id):
            scope, _, named = subject.partition(SEPARATOR)
            if is_parameter:
                found.parameters.setdefault(scope, {})[name] = str(decoded(text))
            elif scope == "line":
                found.of_lines.setdefault(named, {})[name] = decoded(text)
            else:
                found.settings.setdefault(scope, {})[name] = decoded(text)
        return found

    def contacts(self, phone_id: int) -> list[Contact]:
        """The account's and the phone's own, in the order of a phonebook."""
        found = {Contact(*row) for row in self._contacts.run(self._connection, phone_id=phone_id)}
        return sorted(found, key=lambda one: (one.display_name.casefold(), one))[:MOST_CONTACTS]

    def upload(self, phone_id: int, shape: str) -> bytes | None:
        row = self._upload.run(self._connection, phone_id=phone_id, shape=shape).fetchone()
        return None if row is None else row[0]

    def secret(self, phone_id: int, mac: Mac) -> str | None:
        """The phone's newest own secret."""
        row = self._secret.run(self._connection, phone_id=phone_id).fetchone()
        return None if row is None else self._keys.open(row[0], row[1], secret_context(mac))


class _Statement(NamedTuple):
    text: str
    constants: dict[str, Any]

    def run(self, connection: sqlite3.Connection, **values: object) -> sqlite3.Cursor:
        return connection.execute(self.text, self.constants | values)


def _compiled(query: Select[Any] | CompoundSelect[Any]) -> _Statement:
    made = query.compile(dialect=sqlite.dialect(paramstyle="named"))
    return _Statement(str(made), {name: value for name, value in made.params.items() if value is not None})
