"""What a simulated phone does wrong when it is told to."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Chances are from 0 (never) to 1 (always)."""

    drop: float = 0.0
    "Chance that a NOTIFY, with all its retransmissions, is not answered."
    duplicate: float = 0.0
    "Chance that a fetch, or a REGISTER, is done twice."
    delay: float = 0.0
    "Seconds between the answer to a NOTIFY and the fetch, as of a phone in a call."
    lie: float = 0.0
    "Chance that, after a fetch, a neighbour's configuration is asked for with this phone's secret."
    offline: float = 0.0
    "Chance that, after a fetch or at a NOTIFY, the phone is unplugged for a while."
    offline_seconds: float = 5.0
    refuse: float = 0.0
    "Chance that a check-sync is answered 489."
    truncate: float = 0.0
    "Chance that the connection is given up in the middle of a body; the phone then tries again."


NONE = Misbehaviour()

_IN_SECONDS = ("delay", "offline_seconds")


def parse(text: str) -> Misbehaviour:
    """`drop=0.1,delay=2`; ValueError otherwise."""
    known = tuple(field.name for field in fields(Misbehaviour))
    found = NONE
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in known:
            raise ValueError(f"{name!r} is no misbehaviour; known are {', '.join(known)}")
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"{part!r} is not written as {name}=NUMBER") from None
        most = 3600.0 if name in _IN_SECONDS else 1.0
        if not 0 <= value <= most:
            raise ValueError(f"{name} is {number}; it is between 0 and {most:g}")
        found = replace(found, **{name: value})
    return found
