"""Time zones as phones need them: an offset and, where clocks change, the rule by which they do. Pure.

Phones know no IANA names, or an old list of them; the rule is what all of them understand in some
spelling. It is read from the POSIX TZ string that ends each zone's file (RFC 9636 section 3.3).
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """When clocks change, each year: `M<month>.<week>.<weekday>/<time>` of POSIX TZ."""

    month: int
    week: int
    "1 to 4, or 5: the last."
    weekday: int
    "0 is Sunday."
    minutes: int
    "After midnight, by the clock that holds until then; may be below 0 or above 1440 (RFC 9636)."

    @property
    def minutes_of_day(self) -> int:
        """0 to 1439: phones know no other. Where clocks change on the day before or after, its edge is nearest."""
        return min(max(self.minutes, 0), 24 * 60 - 1)

    @property
    def hour(self) -> int:
        """Of minutes_of_day."""
        return self.minutes_of_day // 60

    @property
    def minute(self) -> int:
        return self.minutes_of_day % 60

    @property
    def iso_weekday(self) -> int:
        """1 is Monday, 7 Sunday."""
        return self.weekday or 7


@dataclass(frozen=True, slots=True)
class Summer:
    minutes: int
    "By how much the clock is put forward."
    start: Change
    end: Change


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    "IANA's."
    offset: int
    "Minutes east of UTC, in winter."
    summer: Summer | None
    posix: str
    abbreviation: str
    "In winter."

    @property
    def hours(self) -> str:
        """`+1`, `-3:30`, `0`."""
        return _signed(self.offset, pad=False)

    @property
    def clock(self) -> str:
        """`+01:00`, `-03:30`."""
        return _signed(self.offset, pad=True)


def _signed(minutes: int, *, pad: bool) -> str:
    hours, rest = divmod(abs(minutes), 60)
    if pad:
        return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"
    sign = "-" if minutes < 0 else "+" if minutes else ""
    return f"{sign}{hours}" + (f":{rest:02d}" if rest else "")


_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME = r"[+-]?[0-9]{1,3}(?::[0-9]{2}){0,2}"
_RULE = rf"M(0?[1-9]|1[0-2])\.([1-5])\.([0-6])(?:/({_TIME}))?"
_TZ = re.compile(rf"({_NAME})({_TIME})(?:({_NAME})({_TIME})?,{_RULE},{_RULE})?", re.ASCII)


def parse(name: str, posix: str) -> Zone:
    """ValueError: this is no POSIX TZ string, or one whose rule phones cannot be told (by day of the year)."""
    match = _TZ.fullmatch(posix)
    if match is None:
        raise ValueError(f"{posix!r} is no POSIX TZ string with rules by month, week and weekday")
    standard, west, summer_name, summer_west, *rules = match.groups()
    offset = -_minutes(west)
    summer = None
    if summer_name is not None:
        forward = 60 if summer_west is None else -_minutes(summer_west) - offset
        start, end = (_change(*rules[i : i + 4]) for i in (0, 4))
        if forward < 0:
            # Europe/Dublin calls its summer time standard, and its winter time a saving of -60.
            offset, forward, start, end, standard = offset + forward, -forward, end, start, summer_name
        summer = Summer(forward, start, end)
    return Zone(name, offset, summer, posix, standard.strip("<>"))


def _change(month: str, week: str, weekday: str, at: str | None) -> Change:
    # 02:00 where none is given (POSIX).
    return Change(int(month), int(week), int(weekday), 120 if at is None else _minutes(at))


def _minutes(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, minutes, *_ = [*map(int, text.lstrip("+-").split(":")), 0]
    return sign * (hours * 60 + minutes)
