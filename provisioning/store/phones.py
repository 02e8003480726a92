"""Phones, their slots, secrets, doors and story."""

import ipaddress
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, or_, select, true, update

from provisioning.domain.life import Life
from provisioning.domain.mac import Mac
from provisioning.domain.phone import CLOCK_SLACK, Phone, Slot
from provisioning.store.secrets import KeyRing, fingerprint, new_secret
from provisioning.store.tables import (
    accounts,
    activation_codes,
    doors,
    events,
    lines,
    phone_secrets,
    phones,
    places,
    slots,
)

ADDRESS_SEPARATOR = " "
"Between the addresses of record in phones.fetched_addresses; no SIP URI of ours holds a blank."


OpenedBy = Literal["attach", "reset", "admin", "code", "reopen"]

SET_SECONDS = 900.0
"A door's one set of fetches: its place may repeat for so long after the first, for phones boot twice."
SHARED_SECONDS = 30 * 86400.0
"For how long a place remembers whose phones were seen there."


@dataclass(frozen=True, slots=True)
class Door:
    place: str
    opened_by: str
    opened_at: float
    closes_at: float


@dataclass(frozen=True, slots=True)
class StoredPhone:
    id: int
    account_id: int
    account_proofs: str | None
    serial: str | None
    revision: int
    fetched_revision: int
    user_agent: str | None
    refused_at: float | None
    refused_from: str | None
    created_at: float
    life: Life
    reopened_at: float | None
    door: Door | None
    phone: Phone


_BOUND_AT = (
    select(func.min(phone_secrets.c.shown_at))
    .where(phone_secrets.c.phone_id == phones.c.id, phone_secrets.c.kind == "own")
    .scalar_subquery()
)
_SELECT: Select[Any] = select(
    phones.c.id,
    phones.c.account_id,
    accounts.c.proofs,
    phones.c.serial,
    phones.c.revision,
    phones.c.fetched_revision,
    phones.c.user_agent,
    phones.c.refused_at,
    phones.c.refused_from,
    phones.c.created_at,
    phones.c.mac,
    accounts.c.account,
    phones.c.model,
    phones.c.public_ip,
    phones.c.seen_at,
    phones.c.shipped_at,
    _BOUND_AT.label("bound_at"),
    phones.c.secret_lost_at,
    phones.c.returned_at,
    phones.c.reopened_at,
    doors.c.place,
    doors.c.opened_by,
    doors.c.opened_at,
    doors.c.closes_at,
).select_from(phones.join(accounts).outerjoin(doors))

_SLOTS = (
    select(slots.c.phone_id, slots.c.slot, lines.c.line)
    .outerjoin(lines, lines.c.id == slots.c.line_id)
    .where(slots.c.phone_id.in_(bindparam("phone_ids", expanding=True)))
    .order_by(slots.c.phone_id, slots.c.slot)
)


def _load(connection: Connection, rows: Sequence[Any]) -> list[StoredPhone]:
    now = time.time()
    held: dict[int, list[Slot]] = {row[0]: [] for row in rows}
    for phone_id, number, line in connection.execute(_SLOTS, {"phone_ids": list(held)}):
        held[phone_id].append(Slot(number, line))
    return [
        StoredPhone(
            id=row.id,
            account_id=row.account_id,
            account_proofs=row.proofs,
            serial=row.serial,
            revision=row.revision,
            fetched_revision=row.fetched_revision,
            user_agent=row.user_agent,
            refused_at=row.refused_at,
            refused_from=row.refused_from,
            created_at=row.created_at,
            life=Life(row.shipped_at, row.bound_at, row.secret_lost_at, row.returned_at),
            reopened_at=row.reopened_at,
            door=None
            if row.place is None or row.closes_at <= now
            else Door(row.place, row.opened_by, row.opened_at, row.closes_at),
            phone=Phone(
                mac=Mac(row.mac),
                account=row.account,
                model=row.model,
                slots=tuple(held[row.id]),
                public_ip=None if row.public_ip is None else ipaddress.ip_address(row.public_ip),
                seen_at=row.seen_at,
            ),
        )
        for row in rows
    ]


# Statements of the attach path are made once: building one costs as much as running it.
_BY_MAC = _SELECT.where(phones.c.mac == bindparam("wanted"))
_OWN_BY_MAC = _BY_MAC.where(phones.c.account_id == bindparam("only"))
_OF_ACCOUNT = _SELECT.where(phones.c.account_id == bindparam("only")).order_by(phones.c.mac)
_FILL = (
    update(slots)
    .where(slots.c.phone_id == bindparam("phone"), slots.c.slot == bindparam("number"), slots.c.line_id.is_(None))
    .values(line_id=bindparam("line"))
)
_RAISE = (
    update(phones)
    .where(phones.c.id == bindparam("phone"))
    .values(revision=phones.c.revision + 1)
    .returning(phones.c.revision)
)
_CLOSE_DOORS = delete(doors).where(doors.c.phone_id == bindparam("phone"))
_OPEN_DOOR = insert(doors)
_SHARED = select(places.c.account_id).where(
    places.c.place == bindparam("place"),
    places.c.account_id != bindparam("own"),
    places.c.seen_at > bindparam("since"),
)
_TELL = insert(events)


def find(connection: Connection, mac: Mac, *, only: int | None = None) -> StoredPhone | None:
    """`only`: the account a token is restricted to."""
    query = _BY_MAC if only is None else _OWN_BY_MAC
    rows = connection.execute(query, {"wanted": mac, "only": only}).all()
    return next(iter(_load(connection, rows)), None)


def get(connection: Connection, phone_id: int) -> StoredPhone | None:
    return next(iter(_load(connection, connection.execute(_SELECT.where(phones.c.id == phone_id)).all())), None)


def page(connection: Connection, *, account_id: int | None, after: str, limit: int) -> list[StoredPhone]:
    query = _SELECT.where(phones.c.mac > after).order_by(phones.c.mac).limit(limit)
    if account_id is not None:
        query = query.where(phones.c.account_id == account_id)
    return _load(connection, connection.execute(query).all())


def of_account(connection: Connection, account_id: int) -> list[StoredPhone]:
    return _load(connection, connection.execute(_OF_ACCOUNT, {"only": account_id}).all())


def add(
    connection: Connection, *, mac: Mac, model: str, account_id: int, serial: str | None, slot_count: int, now: float
) -> int:
    """IntegrityError: the MAC is known already."""
    done = connection.execute(
        insert(phones).values(mac=mac, model=model, account_id=account_id, serial=serial, revision=1, created_at=now)
    )
    phone_id = int((done.inserted_primary_key or (0,))[0])
    connection.execute(insert(slots), [{"phone_id": phone_id, "slot": n} for n in range(1, slot_count + 1)])
    return phone_id


def set_slot_count(connection: Connection, phone_id: int, had: int, wanted: int) -> None:
    """For another model. The caller has checked that the slots that go are empty."""
    if wanted > had:
        connection.execute(insert(slots), [{"phone_id": phone_id, "slot": n} for n in range(had + 1, wanted + 1)])
    else:
        # An occupied row is kept by the condition, and then the caller's check was wrong.
        connection.execute(
            delete(slots).where(slots.c.phone_id == phone_id, slots.c.slot > wanted, slots.c.line_id.is_(None))
        )


def change(connection: Connection, phone_id: int, changed: dict[str, Any]) -> None:
    connection.execute(update(phones).where(phones.c.id == phone_id).values(**changed))


def remove(connection: Connection, phone_id: int) -> None:
    connection.execute(delete(phones).where(phones.c.id == phone_id))


def fill(connection: Connection, phone_id: int, slot: int, line_id: int) -> bool:
    """False: somebody else was faster. IntegrityError: the line is in another slot."""
    done = connection.execute(_FILL, {"phone": phone_id, "number": slot, "line": line_id})
    return done.rowcount == 1


def empty(connection: Connection, phone_id: int, slot: int) -> None:
    connection.execute(update(slots).where(slots.c.phone_id == phone_id, slots.c.slot == slot).values(line_id=None))


def swap(connection: Connection, phone_id: int, one: int, other: int) -> None:
    """Two slots change their lines; emptied in between, for a line is in at most one slot."""
    held = dict(
        connection.execute(
            select(slots.c.slot, slots.c.line_id).where(slots.c.phone_id == phone_id, slots.c.slot.in_((one, other)))
        ).all()
    )
    for number in (one, other):
        empty(connection, phone_id, number)
    for number, line_id in ((one, held[other]), (other, held[one])):
        if line_id is not None:
            fill(connection, phone_id, number, line_id)


def raise_revision(connection: Connection, phone_id: int) -> int:
    """Every later fetch, in any process, renders anew."""
    return int(connection.execute(_RAISE, {"phone": phone_id}).scalar_one())


def beyond_their_slots(connection: Connection, slot_counts: Mapping[str, int]) -> dict[str, list[Mac]]:
    """By model: the phones that hold a line in a slot that their model has not any more.

    A fleet's slots are a million rows, of which hardly any beyond the smallest phone's hold a line.
    """
    found: dict[str, list[Mac]] = {}
    rows = connection.execute(
        select(phones.c.model, phones.c.mac, func.max(slots.c.slot))
        .join(slots)
        .where(slots.c.line_id.is_not(None), slots.c.slot > min(slot_counts.values(), default=0))
        .group_by(phones.c.id)
        .order_by(phones.c.mac)
    )
    for model, mac, highest in rows:
        if model in slot_counts and highest > slot_counts[model]:
            found.setdefault(model, []).append(Mac(mac))
    return found


def fit_slots(connection: Connection, slot_counts: Mapping[str, int]) -> int:
    """Gives phones the slots that their model has now. How many phones it concerned."""
    last, further = slots.alias(), slots.alias()
    concerned = 0
    for model in sorted(models_in_use(connection) & set(slot_counts)):
        wanted = slot_counts[model]
        unfit = connection.execute(
            select(phones.c.id, select(func.count()).where(slots.c.phone_id == phones.c.id).scalar_subquery()).where(
                phones.c.model == model,
                or_(
                    ~select(last.c.slot).where(last.c.phone_id == phones.c.id, last.c.slot == wanted).exists(),
                    select(further.c.slot).where(further.c.phone_id == phones.c.id, further.c.slot > wanted).exists(),
                ),
            )
        ).all()
        for phone_id, had in unfit:
            set_slot_count(connection, phone_id, had, wanted)
            raise_revision(connection, phone_id)
        concerned += len(unfit)
    return concerned


def models_in_use(connection: Connection) -> set[str]:
    return set(connection.scalars(select(phones.c.model).distinct()))


# The phone's own secret


def secret_context(mac: Mac) -> str:
    return f"phone:{mac}"


def new_phone_secret(
    connection: Connection, keys: KeyRing, phone_id: int, mac: Mac, now: float, *, keep_shown: bool = False
) -> str:
    """The secret itself, returned this once. `keep_shown`: what the phone shows now stays valid until it
    shows the new one; otherwise nothing that the phone had is worth anything any more.
    """
    earlier = delete(phone_secrets).where(phone_secrets.c.phone_id == phone_id)
    if keep_shown:
        shown = (
            select(phone_secrets.c.hash)
            .where(phone_secrets.c.phone_id == phone_id, phone_secrets.c.shown_at.is_not(None))
            .order_by(phone_secrets.c.created_at.desc())
            .limit(1)
            .scalar_subquery()
        )
        earlier = earlier.where(phone_secrets.c.kind == "own", func.coalesce(phone_secrets.c.hash != shown, true()))
    connection.execute(earlier)
    return add_secret(connection, keys, phone_id, mac, now, kind="own")


def add_secret(
    connection: Connection,
    keys: KeyRing,
    phone_id: int,
    mac: Mac,
    now: float,
    *,
    kind: Literal["own", "bootstrap"],
    expires_at: float | None = None,
) -> str:
    secret = new_secret()
    key_id, sealed = keys.seal(secret, secret_context(mac))
    connection.execute(
        insert(phone_secrets).values(
            hash=fingerprint(secret),
            phone_id=phone_id,
            secret=sealed,
            key_id=key_id,
            created_at=now,
            kind=kind,
            expires_at=expires_at,
        )
    )
    return secret


def forget_secrets(connection: Connection, phone_id: int) -> None:
    """Nothing that anybody knows of the phone proves anything any more."""
    for table in (phone_secrets, activation_codes, doors):
        connection.execute(delete(table).where(table.c.phone_id == phone_id))


def forget_unproved(connection: Connection, phone_id: int) -> None:
    """What would let somebody else become the phone; what it has shown itself still tells that it is it."""
    for query in (
        delete(phone_secrets).where(phone_secrets.c.phone_id == phone_id, phone_secrets.c.shown_at.is_(None)),
        delete(activation_codes).where(activation_codes.c.phone_id == phone_id),
        delete(doors).where(doors.c.phone_id == phone_id),
    ):
        connection.execute(query)


def open_door(
    connection: Connection,
    phone_id: int,
    mac: Mac,
    place: str,
    now: float,
    seconds: float,
    opened_by: OpenedBy,
) -> None:
    """For one place at a time: an earlier door of the phone is closed."""
    close_door(connection, phone_id)
    connection.execute(
        _OPEN_DOOR,
        {
            "phone_id": phone_id,
            "mac": mac,
            "place": place,
            "opened_at": now,
            "closes_at": now + seconds,
            "opened_by": opened_by,
        },
    )
    tell(connection, phone_id, now, "door-opened", place=place, by=opened_by, seconds=seconds)


def close_door(connection: Connection, phone_id: int) -> bool:
    """False: none was there."""
    return connection.execute(_CLOSE_DOORS, {"phone": phone_id}).rowcount > 0


def is_shared(connection: Connection, place: str, account_id: int, now: float) -> bool:
    """Phones of another account were seen at this place lately: an address there confirms nothing."""
    return (
        connection.execute(_SHARED, {"place": place, "own": account_id, "since": now - SHARED_SECONDS}).first()
        is not None
    )


# The phone's story


def tell(connection: Connection, phone_id: int, at: float, kind: str, **detail: object) -> None:
    connection.execute(_TELL, event(phone_id, at, kind, detail))


def event(phone_id: int, at: float, kind: str, detail: dict[str, object]) -> dict[str, object]:
    """A row of the story, for those who write several at once."""
    return {"phone_id": phone_id, "at": at, "kind": kind, "detail": json.dumps(detail, ensure_ascii=False)}


def story(
    connection: Connection, phone_id: int, *, before: int | None, limit: int
) -> list[tuple[int, float, str, Any]]:
    """(id, at, kind, detail), the newest first."""
    query = (
        select(events.c.id, events.c.at, events.c.kind, events.c.detail)
        .where(events.c.phone_id == phone_id)
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(events.c.id < before)
    return [(row.id, row.at, row.kind, json.loads(row.detail)) for row in connection.execute(query)]


def forget_story(connection: Connection, phone_id: int) -> None:
    """For another owner, whom the earlier one's lines do not concern."""
    connection.execute(delete(events).where(events.c.phone_id == phone_id))


def split_addresses(text: str) -> tuple[str, ...]:
    return tuple(text.split(ADDRESS_SEPARATOR)) if text else ()


def join_addresses(addresses: Iterable[str]) -> str:
    return ADDRESS_SEPARATOR.join(addresses)


# Where the registrar sees a phone


@dataclass(frozen=True, slots=True)
class Unseen:
    id: int
    model: str
    address_of_record: str
    "Of the first line in the configuration that the phone has."


def not_seen_since(connection: Connection, account_id: int, before: float, mac: Mac | None, limit: int) -> list[Unseen]:
    """Phones of the account that hold a line, but whose last sight is too old."""
    query = (
        select(phones.c.id, phones.c.model, phones.c.fetched_addresses)
        .where(phones.c.account_id == account_id, phones.c.seen_at < before, phones.c.fetched_addresses != "")
        .limit(limit)
    )
    if mac is not None:
        query = query.where(phones.c.mac == mac)
    return [Unseen(row.id, row.model, split_addresses(row.fetched_addresses)[0]) for row in connection.execute(query)]


def sighted(connection: Connection, seen: Sequence[tuple[int, str, float]]) -> None:
    """(phone, public IP, when): a later fetch is not overwritten."""
    for phone_id, public_ip, at in seen:
        earlier = connection.scalar(select(phones.c.public_ip).where(phones.c.id == phone_id))
        done = connection.execute(
            update(phones)
            # A fetch in the future was made under a clock that was wrong.
            .where(phones.c.id == phone_id, or_(phones.c.seen_at < at, phones.c.seen_at > at + CLOCK_SLACK))
            .values(public_ip=public_ip, seen_at=at)
        )
        if done.rowcount and earlier != public_ip:
            tell(connection, phone_id, at, "moved", **{"from": earlier, "to": public_ip, "seen_by": "registrar"})
