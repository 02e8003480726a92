"""A phone's life: ordered → shipped → bound → reset → returned, derived from what happened to it.

And the door that opens by itself for a phone that was reset, under conditions that a stranger
cannot make true.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["ordered", "shipped", "bound", "reset", "returned"]

REOPEN_SEEN_WITHIN = 86400.0
"Seconds since the phone's last proved contact from the same place."
REOPEN_APART = 7 * 86400.0
"Seconds between two doors that opened by themselves for one phone."
REOPEN_AT_ONE_PLACE = 3
"Doors that may open by themselves at one place in a day: a neighbour who asks for every MAC gets no more."


@dataclass(frozen=True, slots=True)
class Life:
    """Unix times of what happened; None: it did not."""

    shipped_at: float | None
    "Last armed with a one-time token."
    bound_at: float | None
    "First showed a secret of its own that is still valid."
    secret_lost_at: float | None
    "Asked without its secret since it was bound, from where it lives."
    returned_at: float | None


def state(life: Life) -> State:
    if life.returned_at is not None:
        return "returned"
    if life.bound_at is not None:
        return "bound" if life.secret_lost_at is None else "reset"
    return "ordered" if life.shipped_at is None else "shipped"


@dataclass(frozen=True, slots=True)
class Asking:
    """A bound phone's MAC was asked for without a proof."""

    place: str | None
    "Where from (domain.address.place)."
    now: float


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of that phone."""

    place: str | None
    seen_at: float | None
    shared: bool
    "Phones of other accounts are seen at its place, or it is no place of one customer's own."
    reopened_there: int
    "Doors that opened by themselves at its place within a day."
    reopened_at: float | None
    doors: bool
    "Its model and account accept doors."


def lost_its_secret(asking: Asking, known: Known) -> bool:
    """It asks from where the phone lives, so it is the phone and not somebody who read a sticker."""
    since = known.seen_at is None or asking.now > known.seen_at
    return since and known.place is not None and asking.place == known.place


def why_no_door(asking: Asking, known: Known) -> str | None:
    """Why none opens by itself; None: one does."""
    if not known.doors:
        return "doors are switched off for it"
    if known.shared:
        return "phones of several accounts share this address"
    if known.seen_at is None or not 0 <= asking.now - known.seen_at <= REOPEN_SEEN_WITHIN:
        return "its last proved contact is more than a day ago"
    if known.reopened_there >= REOPEN_AT_ONE_PLACE:
        return "too many doors opened by themselves at this address today"
    if known.reopened_at is not None and asking.now - known.reopened_at < REOPEN_APART:
        return "a door opened by itself less than a week ago"
    return None
