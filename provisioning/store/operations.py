"""Operations: the facts that make their state, and the outbox of resyncs."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, case, exists, insert, or_, select, update

from provisioning.domain.mac import Mac
from provisioning.domain.operation import Facts, State
from provisioning.store.phones import StoredPhone, split_addresses
from provisioning.store.tables import accounts, lines, operations, phones, slots


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    kind: str
    account: str
    mac: Mac
    line: str | None
    slot: int | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Resync:
    """Everything that one phone has to be told, in one NOTIFY."""

    phone_id: int
    mac: Mac
    model: str
    operation_ids: tuple[str, ...]
    reboot: bool
    requested_at: float
    attempts: int
    fetched_addresses: tuple[str, ...]
    attached_addresses: tuple[str, ...]


_SELECT = (
    select(
        operations.c.id,
        operations.c.kind,
        accounts.c.account,
        operations.c.mac,
        operations.c.line,
        operations.c.slot,
        operations.c.requested_at,
        operations.c.deadline_at,
        operations.c.attempts,
        operations.c.notified_at,
        operations.c.sip_status,
        operations.c.untold,
        operations.c.fetched_at,
        operations.c.registered_at,
        phones.c.seen_at,
        phones.c.refused_at,
        phones.c.refused_from,
    )
    .select_from(operations)
    .join(accounts, accounts.c.id == operations.c.account_id)
    .outerjoin(phones, phones.c.id == operations.c.phone_id)
)


def _operation(row: Any) -> Operation:
    return Operation(row.id, row.kind, row.account, Mac(row.mac), row.line, row.slot, Facts(*row[6:]))


# The outbox's statements are made once: building one costs as much as running it.
_ADD = insert(operations)
_OTHER = operations.alias("other")
_CLAIMABLE = (
    select(operations.c.phone_id)
    .where(operations.c.next_attempt_at <= bindparam("now"))
    # By the phone's own few operations: a fleet that is off has very many open ones.
    .where(
        ~exists().where(
            _OTHER.c.phone_id == operations.c.phone_id,
            _OTHER.c.fetched_at.is_(None),
            _OTHER.c.claimed_until > bindparam("now"),
            _OTHER.c.next_attempt_at.is_not(None),
        )
    )
    # The longest due first; without DISTINCT, for which SQLite would read every operation there ever was.
    .order_by(operations.c.next_attempt_at)
    .limit(bindparam("most"))
)
_CLAIM = (
    update(operations)
    .where(
        operations.c.phone_id.in_(_CLAIMABLE),
        operations.c.fetched_at.is_(None),
        operations.c.next_attempt_at.is_not(None),
    )
    .values(claimed_until=bindparam("until"))
    .returning(
        operations.c.phone_id,
        operations.c.id,
        operations.c.reboot,
        operations.c.requested_at,
        operations.c.attempts,
    )
)
_CLAIMED = select(phones.c.id, phones.c.mac, phones.c.model, phones.c.fetched_addresses).where(
    phones.c.id.in_(bindparam("ids", expanding=True))
)
_ATTACHED = (
    select(lines.c.username, lines.c.domain)
    .join(slots, slots.c.line_id == lines.c.id)
    .where(slots.c.phone_id == bindparam("phone"))
    .order_by(slots.c.slot)
)


def new_id() -> str:
    """Sorts by time, so that pages of operations are in order; 80 random bits make it unguessable."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def add(
    connection: Connection,
    *,
    kind: str,
    phone: StoredPhone,
    revision: int,
    now: float,
    deadline: float,
    line: str | None = None,
    slot: int | None = None,
    reboot: bool = False,
    untold: str | None = None,
) -> Operation:
    """Written with the change, in its transaction. `untold`: why the phone cannot be told."""
    operation_id = new_id()
    connection.execute(
        _ADD,
        {
            "id": operation_id,
            "kind": kind,
            "account_id": phone.account_id,
            "phone_id": phone.id,
            "mac": phone.phone.mac,
            "line": line,
            "slot": slot,
            "revision": revision,
            "reboot": reboot,
            "requested_at": now,
            "deadline_at": now + deadline,
            "next_attempt_at": None if untold else now,
            "untold": untold,
        },
    )
    facts = Facts(
        committed_at=now,
        deadline_at=now + deadline,
        untold=untold,
        seen_at=phone.phone.seen_at,
        refused_at=phone.refused_at,
        refused_from=phone.refused_from,
    )
    return Operation(operation_id, kind, phone.phone.account, phone.phone.mac, line, slot, facts)


def find(connection: Connection, operation_id: str, *, only: int | None = None) -> Operation | None:
    query = _SELECT.where(operations.c.id == operation_id)
    if only is not None:
        query = query.where(operations.c.account_id == only)
    row = connection.execute(query).first()
    return None if row is None else _operation(row)


def page(
    connection: Connection,
    *,
    account_id: int | None,
    mac: Mac | None,
    line: str | None,
    state: State | None,
    before: str | None,
    limit: int,
    now: float,
) -> list[Operation]:
    """The newest first. The condition of `state` is domain.operation.state, said in SQL."""
    query = _SELECT.order_by(operations.c.id.desc()).limit(limit)
    for column, wanted in (
        (operations.c.account_id, account_id),
        (operations.c.mac, mac),
        (operations.c.line, line),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(operations.c.id < before)
    if state is not None:
        tried = or_(operations.c.attempts > 0, operations.c.untold.is_not(None))
        derived = case(
            (operations.c.fetched_at.is_not(None), "done"),
            (operations.c.deadline_at <= now, "error"),
            (tried, "doing"),
            else_="todo",
        )
        query = query.where(derived == state)
    return [_operation(row) for row in connection.execute(query)]


def claim(connection: Connection, now: float, lease: float, limit: int) -> list[Resync]:
    """Phones that are due to be told, now this worker's for `lease` seconds.

    All open operations of a phone go together; a phone that another worker is telling waits.
    """
    claimed = connection.execute(_CLAIM, {"now": now, "until": now + lease, "most": limit}).mappings()
    by_phone: dict[int, list[RowMapping]] = {}
    for row in claimed:
        by_phone.setdefault(row["phone_id"], []).append(row)
    if not by_phone:
        return []
    return [
        _resync(row, by_phone[row.id], _attached_addresses(connection, row.id))
        for row in connection.execute(_CLAIMED, {"ids": list(by_phone)})
    ]


def _resync(row: Any, claimed: Sequence[RowMapping], attached: tuple[str, ...]) -> Resync:
    # The newest request sets the pace: it has not been tried yet.
    newest = max(claimed, key=lambda operation: operation["id"])
    return Resync(
        phone_id=row.id,
        mac=Mac(row.mac),
        model=row.model,
        operation_ids=tuple(operation["id"] for operation in claimed),
        reboot=any(operation["reboot"] for operation in claimed),
        requested_at=newest["requested_at"],
        attempts=newest["attempts"],
        fetched_addresses=split_addresses(row.fetched_addresses),
        attached_addresses=attached,
    )


def _attached_addresses(connection: Connection, phone_id: int) -> tuple[str, ...]:
    rows = connection.execute(_ATTACHED, {"phone": phone_id})
    return tuple(f"sip:{username}@{domain}" for username, domain in rows)


def told(
    connection: Connection,
    resync: Resync,
    *,
    now: float,
    status: int | None,
    untold: str | None,
    again_at: float | None,
) -> None:
    """The outcome of one try; the claim ends. What was fetched meanwhile needs no further try."""
    connection.execute(
        update(operations)
        .where(operations.c.id.in_(resync.operation_ids))
        .values(
            attempts=operations.c.attempts + 1,
            claimed_until=None,
            sip_status=status,
            untold=untold,
            notified_at=now if status is not None and 200 <= status < 300 else operations.c.notified_at,
            next_attempt_at=case((operations.c.fetched_at.is_(None), again_at), else_=None),
        )
    )


def give_up(connection: Connection, phone_id: int) -> None:
    """The phone is removed: nobody is left to be told."""
    connection.execute(update(operations).where(operations.c.phone_id == phone_id).values(next_attempt_at=None))


def leave_behind(connection: Connection, phone_id: int) -> None:
    """The phone goes to another account: what it does there does not concern its earlier owner."""
    connection.execute(
        update(operations).where(operations.c.phone_id == phone_id).values(phone_id=None, next_attempt_at=None)
    )


def is_due(connection: Connection, now: float) -> bool:
    """Whether a claim would find something: asked often, and takes no write lock."""
    due = select(operations.c.id).where(
        operations.c.next_attempt_at <= now,
        or_(operations.c.claimed_until.is_(None), operations.c.claimed_until <= now),
    )
    return connection.execute(due.limit(1)).first() is not None


def awaiting_registration(connection: Connection, since: float, limit: int) -> list[tuple[str, str, str]]:
    """(operation, address of record, public IP): fetched lines that a locator has not shown yet."""
    rows = connection.execute(
        select(operations.c.id, lines.c.username, lines.c.domain, phones.c.public_ip)
        .select_from(operations)
        .join(lines, lines.c.line == operations.c.line)
        .join(phones, phones.c.id == operations.c.phone_id)
        .join(slots, (slots.c.line_id == lines.c.id) & (slots.c.phone_id == phones.c.id))
        .where(
            operations.c.kind == "attach",
            operations.c.registered_at.is_(None),
            operations.c.fetched_at > since,
            phones.c.public_ip.is_not(None),
        )
        .order_by(operations.c.fetched_at)
        .limit(limit)
    )
    return [(row.id, f"sip:{row.username}@{row.domain}", row.public_ip) for row in rows]


def registered(connection: Connection, operation_ids: Sequence[str], now: float) -> None:
    connection.execute(update(operations).where(operations.c.id.in_(operation_ids)).values(registered_at=now))
