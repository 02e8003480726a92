"""How a phone comes to a secret of its own: one-time tokens and codes, each burnt in the same
transaction that issues the secret, so that of many who show one only the first is served.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import BindParameter, ColumnElement, Connection, and_, case, delete, insert, or_, select, update

from provisioning.domain.mac import Mac
from provisioning.domain.phone import rfc3339
from provisioning.store import alarms, lines, phones
from provisioning.store.phones import SET_SECONDS, StoredPhone
from provisioning.store.secrets import KeyRing
from provisioning.store.tables import activation_codes, phone_secrets
from provisioning.store.tables import phones as phones_table

TRIES = 3
"Wrong codes before a phone's code is locked."
LOCK_SECONDS = 1800.0
MOST_TRIES = 9
"Wrong codes after which only a new one helps."

Spent = Literal["bound", "again", "burnt", "expired", "gone"]
"""bound: the phone has a new secret. again: another document of the same set. burnt: used up before,
which is an alarm. expired: too late. gone: there is none such any more."""


@dataclass(frozen=True, slots=True)
class Showing:
    """What a request shows, and where from."""

    document: str
    "Its shape: one set of fetches asks for each document once."
    place: str
    now: float


# One-time tokens


def new_bootstrap(connection: Connection, keys: KeyRing, phone: StoredPhone, now: float, seconds: float) -> str:
    """Arms the phone. Earlier tokens that nobody used are void."""
    connection.execute(
        delete(phone_secrets).where(
            phone_secrets.c.phone_id == phone.id,
            phone_secrets.c.kind == "bootstrap",
            phone_secrets.c.used_at.is_(None),
        )
    )
    return phones.add_secret(
        connection, keys, phone.id, phone.phone.mac, now, kind="bootstrap", expires_at=now + seconds
    )


def spend_bootstrap(
    connection: Connection, keys: KeyRing, shown_hash: bytes, showing: Showing, *, new_passwords: bool
) -> Spent:
    its = phone_secrets.c
    token = connection.execute(
        select(its.phone_id, its.expires_at, its.used_at, its.used_from, its.used_for).where(
            its.hash == shown_hash, its.kind == "bootstrap"
        )
    ).first()
    phone = None if token is None else phones.get(connection, token.phone_id)
    if token is None or phone is None:
        return "gone"
    if token.used_at is None:
        if not showing.now < token.expires_at:
            phones.tell(connection, phone.id, showing.now, "bootstrap-expired", place=showing.place)
            return "expired"
        burnt = connection.execute(
            update(phone_secrets)
            .where(its.hash == shown_hash, its.used_at.is_(None))
            .values(used_at=showing.now, used_from=showing.place, used_for=showing.document)
        )
        if burnt.rowcount == 1:
            _issue(connection, keys, phone, showing, "bootstrap", new_passwords=new_passwords)
            return "bound"
    seen = token.used_for.split("\n")
    if (
        token.used_from == showing.place
        and 0 <= showing.now - token.used_at < SET_SECONDS
        and showing.document not in seen
    ):
        connection.execute(
            update(phone_secrets).where(its.hash == shown_hash).values(used_for="\n".join([*seen, showing.document]))
        )
        return "again"
    phones.tell(connection, phone.id, showing.now, "bootstrap-shown-again", place=showing.place)
    alarms.raise_alarm(
        connection,
        showing.now,
        "bootstrap-shown-again",
        phone.phone.mac,
        place=showing.place,
        first_used_at=rfc3339(token.used_at),
        first_used_from=token.used_from,
    )
    return "burnt"


# Activation codes


def new_code(connection: Connection, keys: KeyRing, phone: StoredPhone, now: float, seconds: float) -> str:
    """Replaces an earlier one, and with it its lock."""
    mac = phone.phone.mac
    code = f"{secrets.randbelow(1_000_000):06d}"
    key_id, sealed = keys.seal(code, code_context(mac))
    connection.execute(delete(activation_codes).where(activation_codes.c.phone_id == phone.id))
    connection.execute(
        insert(activation_codes).values(
            phone_id=phone.id,
            hash=code_hash(keys, mac, code),
            code=sealed,
            key_id=key_id,
            created_at=now,
            expires_at=now + seconds,
        )
    )
    phones.tell(connection, phone.id, now, "code-made", seconds=seconds)
    return code


def code_hash(keys: KeyRing, mac: Mac, code: str) -> bytes:
    """Keyed, for a million codes are soon tried on a copied database."""
    return hmac.digest(keys.signing_key, f"code:{mac}:{code}".encode(), "sha256")


def code_context(mac: Mac) -> str:
    return f"code:{mac}"


def spend_code(
    connection: Connection, keys: KeyRing, shown_hash: bytes, showing: Showing, *, new_passwords: bool
) -> Spent:
    """The rest of the boot comes through a door."""
    its = activation_codes.c
    phone_id = connection.scalar(select(its.phone_id).where(its.hash == shown_hash, usable(showing.now)))
    phone = None if phone_id is None else phones.get(connection, phone_id)
    if phone is None:
        return "gone"
    connection.execute(delete(activation_codes).where(its.hash == shown_hash))
    _issue(connection, keys, phone, showing, "code", new_passwords=new_passwords)
    phones.open_door(connection, phone.id, phone.phone.mac, showing.place, showing.now, SET_SECONDS, "code")
    return "bound"


def usable(now: float | BindParameter[float]) -> ColumnElement[bool]:
    """The condition on a code's row."""
    its = activation_codes.c
    return and_(
        its.created_at <= now,
        its.expires_at > now,
        its.failures < MOST_TRIES,
        or_(its.locked_until.is_(None), its.locked_until <= now),
    )


def wrong_codes(connection: Connection, phone_id: int, tried: int, now: float) -> None:
    """Counts them; every third locks the code, and after nine only a new one helps."""
    its = activation_codes.c
    row = connection.execute(
        update(activation_codes)
        .where(its.phone_id == phone_id)
        .values(
            failures=its.failures + tried,
            locked_until=case(
                ((its.failures + tried) // TRIES > its.failures // TRIES, now + LOCK_SECONDS), else_=its.locked_until
            ),
        )
        .returning(its.failures)
    ).first()
    if row is not None and row.failures // TRIES > (row.failures - tried) // TRIES:
        phones.tell(connection, phone_id, now, "code-locked", tried=row.failures, dead=row.failures >= MOST_TRIES)


# The phone's own secret


def _issue(
    connection: Connection, keys: KeyRing, phone: StoredPhone, showing: Showing, by: str, *, new_passwords: bool
) -> None:
    was_bound = phone.life.bound_at is not None
    phones.add_secret(connection, keys, phone.id, phone.phone.mac, showing.now, kind="own")
    phones.change(connection, phone.id, {"secret_lost_at": None})
    phones.raise_revision(connection, phone.id)
    phones.tell(connection, phone.id, showing.now, "secret-issued", by=by, place=showing.place)
    if was_bound and new_passwords:
        replace_passwords(connection, keys, phone, showing.now)


def replace_passwords(connection: Connection, keys: KeyRing, phone: StoredPhone, now: float) -> None:
    """Of all its lines: whoever had the phone's earlier configuration knows them."""
    for slot in phone.phone.lines:
        line = lines.find(connection, slot.line or "")
        if line is not None:
            lines.plan_new_password(connection, keys, line, now)


def reopened(
    connection: Connection,
    keys: KeyRing,
    phone: StoredPhone,
    place: str,
    now: float,
    seconds: float,
    *,
    new_passwords: bool,
) -> None:
    """A door by itself, for a phone that was reset where it lives (domain.life)."""
    phones.change(connection, phone.id, {"reopened_at": now})
    phones.new_phone_secret(connection, keys, phone.id, phone.phone.mac, now, keep_shown=True)
    phones.raise_revision(connection, phone.id)
    phones.open_door(connection, phone.id, phone.phone.mac, place, now, seconds, "reopen")
    if new_passwords:
        replace_passwords(connection, keys, phone, now)


def secret_lost(connection: Connection, phone_id: int, now: float) -> bool:
    """Notes it once, until the phone shows a secret again."""
    done = connection.execute(
        update(phones_table)
        .where(phones_table.c.id == phone_id, phones_table.c.secret_lost_at.is_(None))
        .values(secret_lost_at=now)
    )
    return done.rowcount == 1
