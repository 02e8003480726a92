"""An operation's state, derived from facts; nothing stores it.

done   the phone fetched, with proof, the configuration that contains the change
error  the deadline passed without that fetch (it becomes done if the phone fetches later)
doing  the phone was told, or telling it was tried
todo   committed, nothing tried yet

A 200 to the NOTIFY is not done: phones answer it and fetch nothing (docs/ARCHITECTURE.md).
"""

from dataclasses import dataclass
from typing import Literal

from provisioning.domain.errors import Refused
from provisioning.domain.phone import rfc3339

State = Literal["todo", "doing", "done", "error"]
KINDS = ("attach", "detach", "promote", "resync", "reboot", "reset", "update")
RETRIES = (0.0, 5.0, 15.0, 45.0, 120.0)
"Seconds after the request at which the phone is told."

# facts: RFC 3261 section 21 and RFC 6665 section 8.3, as phones and proxies use them.
_NOT_REGISTERED = (404, 410, 480, 604)
_UNREACHABLE = (408, 430, 487)
_NOT_UNDERSTOOD = (405, 420, 481, 489, 501, 603)
_UNAUTHORISED = (401, 403, 407)


@dataclass(frozen=True, slots=True)
class Facts:
    committed_at: float
    deadline_at: float
    attempts: int = 0
    notified_at: float | None = None
    "When the phone accepted a NOTIFY (2xx)."
    sip_status: int | None = None
    "The last final answer."
    untold: str | None = None
    "Why no NOTIFY can be sent at all, when that is so."
    fetched_at: float | None = None
    registered_at: float | None = None
    seen_at: float | None = None
    "The phone's last authenticated fetch of anything."
    refused_at: float | None = None
    "The last fetch in the phone's name that showed no proof."
    refused_from: str | None = None


def state(facts: Facts, now: float) -> State:
    if facts.fetched_at is not None:
        return "done"
    if now >= facts.deadline_at:
        return "error"
    if facts.attempts or facts.untold:
        return "doing"
    return "todo"


def why_error(facts: Facts) -> Refused:
    """What a person can do about an operation that is in error. The code is stable."""
    if facts.refused_at is not None and facts.refused_at >= facts.committed_at:
        return Refused(
            "fetch-refused",
            f"A phone with this MAC asked for its configuration at {rfc3339(facts.refused_at)} from "
            f"{facts.refused_from or 'an unknown address'} without its secret (a factory reset?). Reset the phone's "
            "configuration, giving its public IP.",
        )
    seen = "was never seen" if facts.seen_at is None else f"was last seen at {rfc3339(facts.seen_at)}"
    if facts.untold is not None:
        return Refused("told-at-next-poll", f"{facts.untold} The phone {seen}. Restart it to apply the change now.")
    status = facts.sip_status
    if facts.notified_at is not None:
        return Refused(
            "not-fetched",
            f"The phone accepted the resync at {rfc3339(facts.notified_at)} but has not fetched its configuration; "
            "it may be in a call. Restart it.",
        )
    if status in _NOT_REGISTERED:
        return Refused("phone-offline", f"The phone is not registered; it {seen}. Check its power and network.")
    if status in _UNREACHABLE:
        return Refused(
            "phone-unreachable",
            f"The phone does not answer: it is off, or its router has closed the way to it. It {seen}. Restart it.",
        )
    if status in _NOT_UNDERSTOOD:
        return Refused("resync-not-supported", f"The phone answered {status}: it does not fetch when told. Restart it.")
    if status in _UNAUTHORISED:
        return Refused(
            "resync-unauthorized",
            f"The resync was answered {status}: check [resync] username and password against the SIP proxy. "
            "A restart of the phone applies the change.",
        )
    if status is not None:
        return Refused(
            "sip-proxy-failed",
            f"The SIP proxy did not pass the resync on ({status}): check [resync] proxy. A restart of the phone "
            "applies the change.",
        )
    return Refused(
        "not-told", f"No resync was answered in time, if one was sent: is a server running? The phone {seen}."
    )


def next_attempt(requested_at: float, attempts: int, status: int | None) -> float | None:
    """When to tell the phone again after `attempts` tries; None: not again.

    A phone that took the NOTIFY is left in peace for a while: it may be in a call (2xx); one that
    does not understand it will not later.
    """
    if status in _NOT_UNDERSTOOD:
        return None
    if status is not None and 200 <= status < 300:
        attempts = max(attempts, RETRIES.index(45.0))
    return requested_at + RETRIES[attempts] if attempts < len(RETRIES) else None


def target(fetched: tuple[str, ...], attached: tuple[str, ...]) -> str | None:
    """The address of record to send a NOTIFY to: one that the phone knows.

    `fetched` are those of the last configuration that the phone fetched, `attached` those of its
    lines now, both in slot order. The main line if the phone has it, then a line that is still
    the phone's, then one that it holds only because it has not heard yet.
    """
    for address in (*(address for address in attached if address in fetched), *fetched):
        return address
    return None
