"""What phones' fetches leave behind, recorded in batches behind the answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from provisioning.domain.mac import Mac
from provisioning.store.phones import event
from provisioning.store.tables import doors, events, operations, phone_secrets, phones

REFUSALS_APART = 60.0
"Seconds between two refusals of one phone that are worth telling."


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

    @property
    def is_news(self) -> bool:
        """More than that the phone was seen again."""
        return self.revision is not None or self.moved_from is not None or self.first_shown is not None


@dataclass(frozen=True, slots=True)
class Refusal:
    mac: Mac
    at: float
    public_ip: str | None
    document: str


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
    .values(fetched_revision=bindparam("fetched"), fetched_addresses=bindparam("addresses"))
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
# The phone is bound: from now on its secret is its proof, and the door has done its work.
_CLOSE = delete(doors).where(doors.c.phone_id == bindparam("phone"))


def record(connection: Connection, visits: Sequence[Visit]) -> None:
    """One visit a phone at most."""
    connection.execute(
        _SEEN, [{"phone": v.phone_id, "at": v.at, "ip": v.public_ip, "agent": v.user_agent} for v in visits]
    )
    news = [v for v in visits if v.is_news]
    if not news:
        return
    # A phone may have been removed since it was answered.
    known = set(connection.scalars(select(phones.c.id).where(phones.c.id.in_([v.phone_id for v in news]))))
    news = [v for v in news if v.phone_id in known]
    if fetched := [
        {"phone": v.phone_id, "at": v.at, "fetched": v.revision, "addresses": v.addresses}
        for v in news
        if v.revision is not None
    ]:
        connection.execute(_FETCHED, fetched)
        connection.execute(_DONE, fetched)
    if shown := [{"phone": v.phone_id, "at": v.at, "shown_hash": v.first_shown} for v in news if v.first_shown]:
        connection.execute(_SHOWN, shown)
        connection.execute(_CLOSE, shown)
    if story := list(_story(news)):
        connection.execute(insert(events), story)


def _story(news: Iterable[Visit]) -> Iterable[dict[str, object]]:
    for v in news:
        if v.moved_from is not None:
            yield event(v.phone_id, v.at, "moved", {"from": v.moved_from, "to": v.public_ip})
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


def record_refusals(connection: Connection, refusals: Sequence[tuple[int, Refusal]]) -> None:
    """At most one a minute for each phone reaches its story."""
    for phone_id, refusal in refusals:
        done = connection.execute(
            update(phones)
            .where(
                phones.c.id == phone_id,
                or_(phones.c.refused_at.is_(None), phones.c.refused_at < refusal.at - REFUSALS_APART),
            )
            .values(refused_at=refusal.at, refused_from=refusal.public_ip)
        )
        if done.rowcount:
            detail: dict[str, object] = {"document": refusal.document, "public_ip": refusal.public_ip}
            connection.execute(insert(events), [event(phone_id, refusal.at, "refused", detail)])
