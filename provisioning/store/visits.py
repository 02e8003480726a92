"""What phones' fetches leave behind, recorded in batches behind the answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Float, String, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import sqlite

from provisioning.domain.address import far_apart, place_of
from provisioning.domain.mac import Mac
from provisioning.store import alarms
from provisioning.store.phones import event
from provisioning.store.tables import doors, events, operations, phone_secrets, phones, places

REFUSALS_APART = 60.0
"Seconds between two refusals of one phone that are worth telling."
TWO_PLACES_SECONDS = 600.0
"A phone that is seen in two networks within so long is worth an alarm."
_DAY = 86400.0


class Visit(NamedTuple):
    """A tuple, for one is made on every fetch."""

    phone_id: int
    at: float
    public_ip: str | None
    "None: a trusted proxy did not say."
    user_agent: str
    moved_from: str | None = None
    revision: int | None = None
    "The revision whose lines the phone now has, when that is news."
    addresses: str = ""
    "The addresses of record among them."
    document: str = ""
    proof: str = ""
    first_shown: bytes | None = None
    "The secret's hash, when the phone showed it for the first time."
    found_again: bool = False
    "The phone shows a secret, and had asked without one."
    keyed_by: bytes | None = None
    "The hash of the secret of which the key in the revision is made; None: there is no key in it."
    mismatch: Mapping[str, str] | None = None
    "In what the phone newly calls itself something else than it is recorded as."

    @property
    def is_news(self) -> bool:
        """More than that the phone was seen again."""
        return (
            self.revision is not None
            or self.moved_from is not None
            or self.first_shown is not None
            or self.found_again
            or self.mismatch is not None
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    mac: Mac
    at: float
    public_ip: str | None
    document: str
    reason: str = "no-proof"
    codes: int = 0
    "Wrong activation codes among what was shown."
    user_agent: str = ""


_SEEN = (
    update(phones)
    .where(phones.c.id == bindparam("phone"))
    .values(
        seen_at=bindparam("at"),
        # Unknown when a trusted proxy did not say: the address before it is not current either.
        public_ip=bindparam("ip"),
        user_agent=bindparam("agent"),
    )
)
_FETCHED = (
    update(phones)
    .where(phones.c.id == bindparam("phone"), phones.c.fetched_revision <= bindparam("fetched"))
    .values(
        fetched_revision=bindparam("fetched"),
        fetched_addresses=bindparam("addresses"),
        keyed_by=bindparam("keyed"),
    )
)
_DONE = (
    update(operations)
    .where(
        operations.c.phone_id == bindparam("phone"),
        operations.c.fetched_at.is_(None),
        operations.c.revision <= bindparam("fetched"),
    )
    .values(fetched_at=bindparam("at"), next_attempt_at=None)
)
_SHOWN = (
    update(phone_secrets)
    .where(phone_secrets.c.hash == bindparam("shown_hash"), phone_secrets.c.shown_at.is_(None))
    .values(shown_at=bindparam("at"))
)
# The phone is bound: from now on its newest secret is its proof. The door, earlier secrets and
# tokens that nobody used have done their work; used ones stay, to be known when they come again.
# A visit is recorded behind its answer: what was reset since is another secret's and another door's.
_newest = phone_secrets.alias()
_still_valid = select(_newest.c.hash).where(_newest.c.hash == bindparam("shown_hash")).exists()
_CLOSE = delete(doors).where(
    doors.c.phone_id == bindparam("phone"), doors.c.opened_at <= bindparam("at"), _still_valid
)
_REPLACED = delete(phone_secrets).where(
    phone_secrets.c.phone_id == bindparam("phone"),
    or_(
        and_(
            phone_secrets.c.kind == "own",
            phone_secrets.c.created_at
            < select(_newest.c.created_at).where(_newest.c.hash == bindparam("shown_hash")).scalar_subquery(),
        ),
        and_(phone_secrets.c.kind == "bootstrap", phone_secrets.c.used_at.is_(None), _still_valid),
    ),
)
_FOUND_AGAIN = (
    update(phones)
    .where(phones.c.id == bindparam("phone"), phones.c.secret_lost_at.is_not(None))
    .values(secret_lost_at=None)
)
_PASSED = (
    update(doors)
    .where(
        doors.c.phone_id == bindparam("phone"), doors.c.passed_at.is_(None), doors.c.opened_at <= bindparam("at")
    )
    .values(passed_at=bindparam("at"))
)
_known_place = sqlite.insert(places).from_select(
    ["place", "account_id", "seen_at"],
    select(bindparam("place", type_=String), phones.c.account_id, bindparam("at", type_=Float)).where(
        phones.c.id == bindparam("phone")
    ),
)
_PLACES = _known_place.on_conflict_do_update(
    index_elements=["place", "account_id"],
    set_={"seen_at": _known_place.excluded.seen_at},
    # A phone that stays is written once a day.
    where=_known_place.excluded.seen_at > places.c.seen_at + _DAY,
)
_WAS_SEEN = select(phones.c.id, phones.c.mac, phones.c.seen_at).where(
    phones.c.id.in_(bindparam("moved", expanding=True))
)


def record(connection: Connection, visits: Sequence[Visit]) -> int:
    """One visit a phone at most. How many alarms were raised."""
    moved = [v for v in visits if v.moved_from is not None]
    raised = _watch(connection, moved) if moved else 0
    connection.execute(
        _SEEN, [{"phone": v.phone_id, "at": v.at, "ip": v.public_ip, "agent": v.user_agent} for v in visits]
    )
    if located := [{"phone": v.phone_id, "at": v.at, "place": place_of(v.public_ip)} for v in visits if v.public_ip]:
        connection.execute(_PLACES, located)
    if passed := [{"phone": v.phone_id, "at": v.at} for v in visits if v.proof == "door"]:
        connection.execute(_PASSED, passed)
    news = [v for v in visits if v.is_news]
    if not news:
        return raised
    # A phone may have been removed since it was answered.
    known = set(connection.scalars(select(phones.c.id).where(phones.c.id.in_([v.phone_id for v in news]))))
    news = [v for v in news if v.phone_id in known]
    if fetched := [
        {"phone": v.phone_id, "at": v.at, "fetched": v.revision, "addresses": v.addresses, "keyed": v.keyed_by}
        for v in news
        if v.revision is not None
    ]:
        connection.execute(_FETCHED, fetched)
        connection.execute(_DONE, fetched)
    if shown := [{"phone": v.phone_id, "at": v.at, "shown_hash": v.first_shown} for v in news if v.first_shown]:
        connection.execute(_SHOWN, shown)
        connection.execute(_CLOSE, shown)
        connection.execute(_REPLACED, shown)
    if again := [{"phone": v.phone_id} for v in news if v.found_again]:
        connection.execute(_FOUND_AGAIN, again)
    if story := list(_story(news)):
        connection.execute(insert(events), story)
    return raised


def _watch(connection: Connection, moved: Sequence[Visit]) -> int:
    """The same secret from two networks within minutes: a copy of it, or a line that failed over."""
    raised = 0
    seen = {row.id: row for row in connection.execute(_WAS_SEEN, {"moved": [v.phone_id for v in moved]})}
    for v in moved:
        row = seen.get(v.phone_id)
        if row is None or row.seen_at is None or v.public_ip is None or v.moved_from is None:
            continue
        if v.at - row.seen_at <= TWO_PLACES_SECONDS and far_apart(v.moved_from, v.public_ip):
            alarms.raise_alarm(
                connection, v.at, "phone-in-two-places", Mac(row.mac), **{"from": v.moved_from, "to": v.public_ip}
            )
            raised += 1
    return raised


def _story(news: Iterable[Visit]) -> Iterable[dict[str, object]]:
    for v in news:
        if v.moved_from is not None:
            yield event(v.phone_id, v.at, "moved", {"from": v.moved_from, "to": v.public_ip})
        if v.mismatch is not None:
            yield event(v.phone_id, v.at, "mismatch", {**v.mismatch, "user_agent": v.user_agent})
        if v.first_shown is not None:
            yield event(v.phone_id, v.at, "bound", {"public_ip": v.public_ip})
        if v.revision is not None:
            yield event(
                v.phone_id,
                v.at,
                "fetched",
                {
                    "document": v.document,
                    "revision": v.revision,
                    "proof": v.proof,
                    "public_ip": v.public_ip,
                    "user_agent": v.user_agent,
                },
            )


def known_macs(connection: Connection, macs: Sequence[Mac]) -> dict[Mac, int]:
    """Which of them are phones; read apart, so that a stranger's request never takes the write lock."""
    rows = connection.execute(select(phones.c.mac, phones.c.id).where(phones.c.mac.in_(macs)))
    return {Mac(mac): phone_id for mac, phone_id in rows}


def note_refusal(connection: Connection, phone_id: int, refusal: Refusal) -> bool:
    """At most one a minute for each phone reaches its story. False: this one does not."""
    done = connection.execute(
        update(phones)
        .where(
            phones.c.id == phone_id,
            or_(phones.c.refused_at.is_(None), phones.c.refused_at < refusal.at - REFUSALS_APART),
        )
        .values(refused_at=refusal.at, refused_from=refusal.public_ip)
    )
    if done.rowcount:
        detail: dict[str, object] = {
            "document": refusal.document,
            "public_ip": refusal.public_ip,
            "reason": refusal.reason,
        }
        connection.execute(insert(events), [event(phone_id, refusal.at, "refused", detail)])
    return done.rowcount > 0


def reopened_at_place(connection: Connection, place: str, since: float) -> int:
    """How many phones that live there had a door opened by itself."""
    addresses = connection.scalars(select(phones.c.public_ip).where(phones.c.reopened_at > since))
    return sum(1 for public_ip in addresses if public_ip is not None and place_of(public_ip) == place)
