from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.timezone import Change, Summer, Zone, parse
from provisioning.vendors import zones

ZONES = zones()
YEARS = range(2028, 2033)
MINUTE = timedelta(minutes=1)


def oracle(name: str) -> ZoneInfo:
    """Of the same tzdata, whatever this machine has installed."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def moment(change: Change, year: int) -> datetime:
    """By the clock that holds until then."""
    first = datetime(year, change.month, 1)  # noqa: DTZ001  a clock on the wall
    days = [first + timedelta(days) for days in range(31)]
    on_weekday = [day for day in days if day.month == change.month and day.isoweekday() == change.iso_weekday]
    return on_weekday[min(change.week, len(on_weekday)) - 1] + timedelta(minutes=change.minutes)


def instants(zone: Zone, year: int) -> list[tuple[datetime, int]]:
    """(UTC, minutes east of it from then on) in order of time."""
    if zone.summer is None:
        return []
    summer = zone.offset + zone.summer.minutes
    return sorted(
        [
            ((moment(zone.summer.start, year) - timedelta(minutes=zone.offset)).replace(tzinfo=UTC), summer),
            ((moment(zone.summer.end, year) - timedelta(minutes=summer)).replace(tzinfo=UTC), zone.offset),
        ]
    )


def offset(its: ZoneInfo, at: datetime) -> int:
    found = at.astimezone(its).utcoffset()
    assert found is not None
    return found // MINUTE


@pytest.mark.parametrize("name", ZONES)
def test_a_phone_that_is_told_the_rule_shows_the_time_that_python_shows(name: str):
    zone, its = ZONES[name], oracle(name)
    for year in YEARS:
        changes = instants(zone, year)
        for at, new in changes:
            assert offset(its, at) == new
            assert offset(its, at - MINUTE) == zone.offset + zone.summer.minutes + zone.offset - new
        # And no other change: every noon of the year is as the rule says.
        noon = datetime(year, 1, 1, 12, tzinfo=UTC)
        while noon.year == year:
            past = [new for at, new in changes if at <= noon]
            expected = past[-1] if past else (changes[-1][1] if changes else zone.offset)
            assert offset(its, noon) == expected, noon
            noon += timedelta(days=1)


def test_all_zones_of_the_package_are_there():
    assert set(ZONES) == set(resources.files("tzdata").joinpath("zones").read_text("ascii").split())


@pytest.mark.parametrize("name", ["Europe/Paris", "Europe/Dublin", "America/St_Johns", "Asia/Tokyo", "UTC"])
def test_a_zone_is_called_in_winter_as_python_calls_it(name: str):
    assert ZONES[name].abbreviation == datetime(2030, 1, 15, tzinfo=UTC).astimezone(oracle(name)).tzname()


PARIS = Summer(60, Change(3, 5, 0, 120), Change(10, 5, 0, 180))


@pytest.mark.parametrize(
    ("posix", "zone_offset", "summer", "abbreviation"),
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", 60, PARIS, "CET"),
        ("CET-1CEST-2,M3.5.0/2,M10.5.0/3:00:00", 60, PARIS, "CET"),
        ("NST3:30NDT,M3.2.0,M11.1.0", -210, Summer(60, Change(3, 2, 0, 120), Change(11, 1, 0, 120)), "NST"),
        # Its standard time is the summer's, and winter a saving of an hour less than nothing.
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 0, Summer(60, Change(3, 5, 0, 60), Change(10, 5, 0, 120)), "GMT"),
        ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 630, Summer(30, Change(10, 1, 0, 120), Change(4, 1, 0, 120)), "+1030"),
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", -120, Summer(60, Change(3, 5, 0, -60), Change(10, 5, 0, 0)), "-02"),
        ("EET-2EEST,M3.4.4/50,M10.4.4/50", 120, Summer(60, Change(3, 4, 4, 3000), Change(10, 4, 4, 3000)), "EET"),
        ("JST-9", 540, None, "JST"),
        ("UTC0", 0, None, "UTC"),
        ("<+0545>-5:45", 345, None, "+0545"),
        ("<-00>0", 0, None, "-00"),
        ("HST+10", -600, None, "HST"),
    ],
)
def test_a_rule_is_read(posix: str, zone_offset: int, summer: Summer | None, abbreviation: str):
    assert parse("X/Y", posix) == Zone("X/Y", zone_offset, summer, posix, abbreviation)


@pytest.mark.parametrize(
    "posix",
    [
        "",
        "Europe/Paris",
        "CET",
        "CE-1",
        "-1",
        "CET-1 ",
        "CET-1\n",
        "CET-1CEST",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M3.5.0,M10.5.0/3,M1.1.1",
        "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.0.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,M0.5.0,M10.5.0",
        "CET-1CEST,M3.5.0,M13.5.0",
        # By day of the year, which phones cannot be told.
        "CET-1CEST,J60,J300",
        "XXX-2<+01>-1,0/0,J365/23",
        "<CET-1",
        "<+1\u0660>-1",
        "CET-\u0661",
    ],
)
def test_what_phones_cannot_be_told_is_refused(posix: str):
    with pytest.raises(ValueError, match="no POSIX TZ string with rules by month, week and weekday"):
        parse("X/Y", posix)


@given(st.text(max_size=30) | st.text("CETS-1,M350./<>:+", max_size=30))
def test_whatever_ends_a_file_is_read_or_a_value_error(posix: str):
    try:
        zone = parse("X/Y", posix)
    except ValueError:
        return
    assert zone.posix == posix
    assert zone.summer is None or zone.summer.minutes >= 0


@pytest.mark.parametrize(
    ("minutes", "hours", "clock"),
    [
        (0, "0", "+00:00"),
        (60, "+1", "+01:00"),
        (-210, "-3:30", "-03:30"),
        (345, "+5:45", "+05:45"),
        (-30, "-0:30", "-00:30"),
        (840, "+14", "+14:00"),
        (-720, "-12", "-12:00"),
    ],
)
def test_how_an_offset_is_written(minutes: int, hours: str, clock: str):
    zone = Zone("X/Y", minutes, None, "", "X")
    assert (zone.hours, zone.clock) == (hours, clock)


def test_a_change_by_hour_and_iso_weekday():
    assert [Change(3, 5, weekday, 0).iso_weekday for weekday in range(7)] == [7, 1, 2, 3, 4, 5, 6]
    times = [(at.hour, at.minute) for at in (Change(3, 5, 0, m) for m in (-60, 0, 59, 120, 1439, 1440, 3000))]
    assert times == [(0, 0), (0, 0), (0, 59), (2, 0), (23, 59), (23, 59), (23, 59)]
