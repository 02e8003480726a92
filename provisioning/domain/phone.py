"""Slots, and the rules of attach, detach and promote (docs/ARCHITECTURE.md).

Pure: the facts come in, read under the write lock; a decision or a `Refused` comes out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from provisioning.domain.address import Address, place
from provisioning.domain.errors import Refused
from provisioning.domain.mac import Mac, spelled

CLOCK_SLACK = 60.0
"Seconds by which two machines' clocks may differ."
MAIN = 1
"The slot of the main line."


@dataclass(frozen=True, slots=True)
class Slot:
    number: int
    line: str | None


@dataclass(frozen=True, slots=True)
class Phone:
    mac: Mac
    account: str
    model: str
    slots: tuple[Slot, ...]
    public_ip: Address | None
    seen_at: float | None
    "Unix time of the last authenticated fetch, or of the registrar's last sight."

    @property
    def lines(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.line is not None)

    @property
    def free(self) -> tuple[int, ...]:
        return tuple(slot.number for slot in self.slots if slot.line is None)

    def slot_of(self, line: str) -> int | None:
        return next((slot.number for slot in self.slots if slot.line == line), None)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and what they say of where the phone is."""

    public_ip: Address | None
    mac: Mac | None
    operator: bool
    "An operator's token may prepare a phone that nobody has seen yet."
    now: float
    freshness: float
    "Seconds for which a phone counts as being where it was last seen."


def is_at(phone: Phone, public_ip: Address, now: float, freshness: float) -> bool:
    """The phone was seen from there lately; a sight in the future is of a clock that was wrong."""
    return (
        phone.public_ip is not None
        and phone.seen_at is not None
        and place(phone.public_ip) == place(public_ip)
        and -CLOCK_SLACK <= now - phone.seen_at <= freshness
    )


def choose(own: Sequence[Phone], asking: Asking) -> Phone:
    """The phone that is meant, among the account's own.

    The address confirms: it never selects across accounts and is no permission by itself.
    """
    if asking.mac is not None:
        phone = next((phone for phone in own if phone.mac == asking.mac), None)
        if phone is None:
            # The same answer for another account's phone and for none at all.
            raise Refused("phone-not-found", f"The account has no phone {spelled(asking.mac)}.")
        return confirm(phone, asking)
    if asking.public_ip is None:
        raise _address_required()
    there = [phone for phone in own if is_at(phone, asking.public_ip, asking.now, asking.freshness)]
    if not there:
        raise Refused(
            "public-ip-not-yours",
            f"None of the account's phones is at {asking.public_ip} now. " + _last_seen(own),
            phones=[sighting(phone) for phone in own],
        )
    if len(there) > 1:
        raise Refused(
            "public-ip-ambiguous",
            f"{len(there)} of the account's phones are at {asking.public_ip}; give the mac of the one meant.",
            candidates=[phone.mac for phone in there],
        )
    return there[0]


def confirm(phone: Phone, asking: Asking) -> Phone:
    """The named phone is where the caller says. Refused: `public-ip-mismatch`, `public-ip-required`."""
    unseen = phone.seen_at is None
    if asking.operator and unseen:
        return phone
    if asking.public_ip is None:
        raise _address_required()
    if not is_at(phone, asking.public_ip, asking.now, asking.freshness):
        raise Refused(
            "public-ip-mismatch",
            f"The phone {spelled(phone.mac)} is not at {asking.public_ip} now. " + _last_seen([phone]),
        )
    return phone


def free_slot(phone: Phone, asked: int | None) -> int:
    """The slot for one more line: the lowest free, or the one asked for."""
    if asked is not None and not 1 <= asked <= len(phone.slots):
        raise Refused("slot-out-of-range", f"The phone has slots 1 to {len(phone.slots)}.")
    if not phone.free:
        raise Refused("no-free-slot", f"All {len(phone.slots)} slots of the phone {spelled(phone.mac)} hold a line.")
    if asked is None:
        return phone.free[0]
    if asked not in phone.free:
        raise Refused("slot-taken", f"Slot {asked} holds a line already; free are {_numbers(phone.free)}.")
    return asked


def slot_to_empty(phone: Phone, line: str, *, force: bool) -> int:
    """The slot that a detach empties. The main line leaves last, unless an operator forces it."""
    number = phone.slot_of(line)
    if number is None:
        raise Refused("line-not-attached", f"The line {line} is not on the phone {spelled(phone.mac)}.")
    if force:
        return number
    if len(phone.lines) == 1:
        raise Refused(
            "last-line",
            "This is the phone's only line. It leaves with the phone: return or exchange the phone instead.",
        )
    if number == MAIN:
        raise Refused(
            "main-line",
            "This is the phone's main line. Make another of its lines the main line first.",
            candidates=[slot.line for slot in phone.lines if slot.number != MAIN],
        )
    return number


def promoted(phone: Phone, line: str) -> tuple[Slot, ...]:
    """The slots once `line` is the main line: it changes places with whatever is in slot 1."""
    number = phone.slot_of(line)
    if number is None:
        raise Refused("line-not-attached", f"The line {line} is not on the phone {spelled(phone.mac)}.")
    if number == MAIN:
        raise Refused("already-main-line", f"The line {line} is the phone's main line already.")
    main = phone.slots[MAIN - 1].line
    changed = {MAIN: line, number: main}
    return tuple(Slot(slot.number, changed.get(slot.number, slot.line)) for slot in phone.slots)


def why_not_attachable(phone: Phone, line_on: Mac | None, asking: Asking) -> Refused | None:
    """What an attach of a line to this phone would be refused for, given the phone's own address."""
    if line_on is not None:
        return already_attached(line_on)
    try:
        free_slot(phone, None)
    except Refused as refused:
        return refused
    if phone.seen_at is None:
        if asking.operator:
            return None
        return Refused("phone-never-seen", "The phone has never fetched its configuration: plug it in first.")
    if asking.now - phone.seen_at > asking.freshness:
        return Refused("phone-not-seen-lately", _last_seen([phone]) + " Restart it, so that its address is known.")
    return None


def already_attached(mac: Mac) -> Refused:
    return Refused("line-already-attached", f"The line is on the phone {spelled(mac)} already; detach it there first.")


def sighting(phone: Phone) -> dict[str, str | None]:
    return {"mac": phone.mac, "last_seen": None if phone.seen_at is None else rfc3339(phone.seen_at)}


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _last_seen(phones: Iterable[Phone]) -> str:
    told = [
        f"{spelled(phone.mac)} was last seen at {rfc3339(phone.seen_at)}."
        if phone.seen_at is not None
        else f"{spelled(phone.mac)} was never seen."
        for phone in phones
    ]
    # An account may own hundreds; the members of the answer hold them all.
    return " ".join(told[:5]) if told else "It has no phones."


def _address_required() -> Refused:
    return Refused("public-ip-required", "Give the phone's current public IP.")


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
