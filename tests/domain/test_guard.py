"""How often a stranger may fail, and what the log says of it."""

import ipaddress
import re
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import guard as guards
from provisioning.domain.guard import FailureLimits, Guard, Misses, Sweep, _Counts, refusal_line
from provisioning.domain.mac import Mac

HERE = IPv4Address("198.51.100.7")
PHONE = Mac("001565aabbcc")
MANY = 60_000
"A limit that a test does not reach."


def only(**limits: float) -> FailureLimits:
    """One limit, the others out of the way."""
    return FailureLimits(**dict.fromkeys(("address", "network", "mac", "prefix"), MANY) | limits)


def mac(number: int) -> Mac:
    return Mac(f"{number:012x}")


def size(guard: Guard) -> int:
    """Bytes that all counts hold."""
    return sum(sys.getsizeof(cells) for counts in guard._counts for cells in (counts._now, counts._before))


# Each limit


@pytest.mark.parametrize("limit", ["address", "network", "mac", "prefix"])
def test_what_is_within_a_limit_is_answered_and_the_next_is_not(limit: str) -> None:
    guard = Guard(only(**{limit: 5}))
    assert [guard.failed(HERE, PHONE, 0.0).limit for _ in range(8)] == [None] * 5 + [limit] * 3


def test_the_limits_of_the_reference() -> None:
    limits = FailureLimits()
    assert (limits.address, limits.network, limits.mac, limits.prefix, limits.seconds) == (20, 300, 10, 600, 600.0)
    guard = Guard(limits)
    assert [guard.failed(HERE, mac(n), 0.0).limit for n in range(21)] == [None] * 20 + ["address"]
    network = [IPv4Address(int(IPv4Address("203.0.113.0")) + n) for n in range(31)]
    tried = [guard.failed(one, mac(n << 24), 0.0).limit for n, one in enumerate(network * 10, 1000)]
    assert tried == [None] * 300 + ["network"] * 10


@pytest.mark.parametrize(
    ("one", "other", "limit", "shared"),
    [
        ("198.51.100.7", "198.51.100.7", "address", True),
        ("198.51.100.7", "198.51.100.8", "address", False),
        ("198.51.100.7", "198.51.100.255", "network", True),
        ("198.51.100.7", "198.51.101.7", "network", False),
        ("2001:db8:0:aa00::1", "2001:db8:0:aaff:ffff::1", "address", True),
        ("2001:db8:0:aa00::1", "2001:db8:0:ab00::1", "address", False),
        ("2001:db8:0:aa00::1", "2001:db8:0:ffff::1", "network", True),
        ("2001:db8:0:aa00::1", "2001:db8:1:aa00::1", "network", False),
    ],
)
def test_who_shares_a_limit(one: str, other: str, limit: str, shared: bool) -> None:
    guard = Guard(only(**{limit: 3}))
    for _ in range(3):
        assert guard.failed(ipaddress.ip_address(one), PHONE, 0.0).limit is None
    assert guard.failed(ipaddress.ip_address(other), PHONE, 0.0).limit == (limit if shared else None)


def test_whoever_is_shut_out_uses_up_nobody_elses_limit() -> None:
    guard = Guard(only(address=3, network=10, mac=10, prefix=10))
    for _ in range(1000):
        guard.failed(HERE, PHONE, 0.0)
    assert [guard.failed(IPv4Address("198.51.100.8"), PHONE, 0.0).limit for _ in range(3)] == [None] * 3
    assert [guard.failed(IPv4Address("192.0.2.1"), PHONE, 0.0).limit for _ in range(3)] == [None] * 3


def test_nobody_knows_the_address_or_the_mac() -> None:
    guard = Guard(FailureLimits(address=5, mac=5))
    assert [guard.failed(None, PHONE, 0.0).limit for _ in range(6)] == [None] * 5 + ["mac"]
    assert [guard.failed(HERE, None, 0.0).limit for _ in range(6)] == [None] * 5 + ["address"]
    assert guard.failed(None, None, 0.0).limit is None


def test_asking_counts_nothing() -> None:
    guard = Guard(FailureLimits(address=2, mac=4))
    for _ in range(50):
        assert guard.limit(HERE, PHONE, 0.0) is None
    guard.failed(HERE, PHONE, 0.0)
    assert guard.limit(HERE, PHONE, 0.0) is None
    guard.failed(HERE, PHONE, 0.0)
    assert guard.limit(HERE, PHONE, 0.0) == "address"
    assert guard.limit(None, PHONE, 0.0) is None


def test_the_answer_does_not_depend_on_the_mac() -> None:
    guard = Guard(FailureLimits())
    assert guard.retry_after == 600
    assert Guard(FailureLimits(seconds=0.2)).retry_after == 1


@pytest.mark.parametrize("most", [0, -1, 2**32])
def test_a_limit_is_a_number_that_can_be_counted_to(most: int) -> None:
    with pytest.raises(ValueError, match="a limit of failures"):
        FailureLimits(mac=most)


# Time


def test_failures_are_forgotten_after_one_to_two_windows() -> None:
    guard = Guard(FailureLimits(address=20))
    guard.failed(IPv4Address("192.0.2.1"), None, 0.0)
    for _ in range(20):
        guard.failed(HERE, None, 590.0)
    assert guard.failed(HERE, None, 600.0).limit == "address"
    assert guard.failed(HERE, None, 1199.9).limit == "address"
    assert guard.failed(HERE, None, 1200.0).limit is None


def test_who_comes_back_too_early_is_let_in_all_the_same() -> None:
    guard = Guard(FailureLimits(address=20))
    answered = [guard.failed(HERE, None, second).limit is None for second in range(3600)]
    assert answered.count(True) >= 40


def test_after_a_long_quiet_everything_is_forgotten() -> None:
    guard = Guard(FailureLimits(address=1))
    guard.failed(HERE, None, 0.0)
    assert guard.failed(HERE, None, 0.0).limit == "address"
    assert guard.failed(HERE, None, 1e9).limit is None


TIMES = st.lists(st.floats(0, 100, allow_nan=False), max_size=200).map(sorted)


@given(TIMES, st.integers(1, 10))
def test_never_more_than_the_limit_in_any_window_and_never_limited_before_it(times: list[float], most: int) -> None:
    guard = Guard(only(address=most, seconds=10.0))
    answered: list[float] = []
    for now in times:
        if guard.failed(HERE, None, now).limit is None:
            answered.append(now)
            assert sum(1 for then in answered if then > now - 10.0) <= most
        else:
            # Two windows hold what they were limited for.
            assert sum(1 for then in answered if then >= now - 20.0) >= most


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
TRIES = st.lists(st.tuples(ADDRESSES, st.integers(0, 2**48 - 1), st.floats(0, 50)), max_size=150)


@given(TRIES)
def test_strangers_who_fail_once_or_twice_are_never_limited(tries: list[tuple[IPv4Address, int, float]]) -> None:
    guard = Guard(FailureLimits(address=150, network=150, mac=150, prefix=150, seconds=10.0))
    for address, number, now in sorted(tries, key=lambda one: one[2]):
        assert guard.failed(address, mac(number), now).limit is None


@given(st.lists(st.integers(0, 30), max_size=300))
def test_a_count_is_never_below_what_happened(keys: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Four cells in a row, so that everybody shares his with others.
        patch.setattr(guards, "_MASK", 3)
        counts = _Counts(MANY)
        for done, key in enumerate(keys, 1):
            if done == len(keys) // 2:
                counts.turn(forget=False)
            assert counts.add(f"{key}") >= keys[:done].count(key)


# A crowd of strangers


def test_memory_is_the_same_however_many_come() -> None:
    guard = Guard(FailureLimits())
    before = size(guard)
    for n in range(150_000):
        now = n / 100
        # Odd multipliers: every address, network, MAC and vendor prefix is another one.
        guard.failed(IPv4Address(n * 2654435761 % 2**32), mac(n * 0x9E3779B97F4B % 2**48), now)
    for n in range(30_000):
        guard.failed(IPv6Address(n << 90), mac(n << 24), 1600.0)
    assert size(guard) <= before
    assert size(guard) < 5_000_000


def test_nobody_clears_his_own_count_by_a_crowd() -> None:
    guard = Guard(FailureLimits())
    for _ in range(20):
        guard.failed(HERE, PHONE, 0.0)
    for n in range(100_000):
        guard.failed(IPv4Address(n * 2654435761 % 2**32), mac(n * 0x9E3779B97F4B % 2**48), 1.0)
    assert guard.failed(HERE, PHONE, 2.0).limit == "address"
    assert guard.failed(IPv4Address("192.0.2.77"), PHONE, 2.0).limit == "mac"


def test_a_guard_of_phones_that_prove_themselves_takes_no_memory() -> None:
    guard = Guard(FailureLimits())
    for n in range(1000):
        guard.proved(n * 60.0)
    assert len({id(cells) for counts in guard._counts for cells in (counts._now, counts._before)}) == 1


# Alarms


def test_a_sweep_is_told_once_with_its_prefix() -> None:
    guard = Guard(FailureLimits(prefix=50))
    told = [guard.failed(IPv4Address(n << 8), mac(0x001565000000 + n), 0.0) for n in range(200)]
    assert [alarm for verdict in told for alarm in verdict.alarms if isinstance(alarm, Sweep)] == [Sweep("001565", 50)]
    assert [verdict.limit for verdict in told] == [None] * 50 + ["prefix"] * 150
    assert "001565" in str(Sweep("001565", 50))
    assert guard.failed(IPv4Address("192.0.2.1"), mac(0x805EC0000000), 0.0).limit is None


def misses(guard: Guard, failures: int, now: float) -> list[Misses]:
    """Each failure from elsewhere, for another MAC."""
    verdicts = [guard.failed(IPv4Address(n << 8), mac(n << 24), now) for n in range(failures)]
    return [alarm for verdict in verdicts for alarm in verdict.alarms if isinstance(alarm, Misses)]


def test_many_misses_are_told_once_a_window() -> None:
    guard = Guard(FailureLimits())
    assert misses(guard, 99, 0.0) == []
    assert misses(guard, 500, 0.0) == [Misses(100, 100)]
    assert misses(guard, 500, 599.0) == []
    assert len(misses(guard, 500, 700.0)) == 1
    assert misses(guard, 500, 701.0) == []


def test_misses_among_more_phones_that_prove_themselves_are_nothing() -> None:
    guard = Guard(FailureLimits())
    for _ in range(1000):
        guard.proved(0.0)
    assert misses(guard, 1000, 0.0) == []
    assert misses(guard, 1, 0.0) == [Misses(1001, 2001)]


def test_limited_requests_count_as_misses() -> None:
    guard = Guard(FailureLimits())
    told = [alarm for _ in range(100) for alarm in guard.failed(HERE, PHONE, 0.0).alarms]
    assert told == [Misses(100, 100)]


# The log line, and who reads it

FILTER = Path(__file__).parents[2] / "docs" / "fail2ban" / "provisioning-phones.conf"
# What fail2ban puts for it, without its names for groups.
ADDR = r"(?P<address>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)"
STAMP = "2026-11-22 20:47:07,123"
"fail2ban takes it off the line before it looks further."


def failregex() -> re.Pattern[str]:
    (line,) = re.findall(r"(?m)^failregex = (.+)$", FILTER.read_text())
    assert line.count("<ADDR>") == 1
    return re.compile(line.replace("<ADDR>", ADDR))


def banned(line: str, level: str = "INFO") -> list[str]:
    """Addresses that fail2ban finds in this line, and in those that it may have become."""
    found = []
    for one in f"{STAMP} {level} {line}\n".splitlines():
        seen = one, one.removeprefix(STAMP), f"host provisioning[7]: {one}"
        found += [match["address"] for match in map(failregex().search, seen) if match]
    return found


def test_the_line_of_the_documentation() -> None:
    line = refusal_line(HERE, "no-proof", PHONE, "001565aabbcc.cfg")
    assert line == "refused 198.51.100.7 no-proof 001565aabbcc 001565aabbcc.cfg"
    assert line in FILTER.read_text()


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7", "2001:db8:1:2:3:4:5:6", "::1"])
@pytest.mark.parametrize("level", ["INFO", "WARNING"])
@pytest.mark.parametrize("reason", ["no-proof", "wrong-secret", "address-limit"])
@pytest.mark.parametrize("known", [PHONE, None])
def test_fail2ban_finds_the_address(address: str, level: str, reason: str, known: Mac | None) -> None:
    line = refusal_line(ipaddress.ip_address(address), reason, known, "001565aabbcc.cfg")
    assert set(banned(line, level)) == {address}


def test_nobody_is_banned_for_an_address_that_nobody_knows() -> None:
    assert banned(refusal_line(None, "no-proof", PHONE, "001565aabbcc.cfg")) == []


FORGED = "refused 203.0.113.9 no-proof 001565aabbcc x.cfg"


@pytest.mark.parametrize(
    "path",
    [
        FORGED,
        f"x\n{STAMP} INFO {FORGED}",
        f"x\r\n{STAMP} INFO {FORGED}",
        f"x\u2028{STAMP} INFO {FORGED}",
        f"x\x85{STAMP} INFO {FORGED}",
        f" {FORGED}",
        "a" * 5000,
        "",
        "\x00\x1b[2K",
        "é",
    ],
)
def test_a_path_forges_nothing(path: str) -> None:
    line = refusal_line(HERE, "no-proof", PHONE, path)
    assert len(line.splitlines()) == 1
    assert len(line.split(" ")) == 5
    assert line.isascii()
    assert len(line) < 250
    assert set(banned(line)) == {"198.51.100.7"}


@given(st.text(max_size=300))
def test_no_path_at_all_forges_anything(path: str) -> None:
    line = refusal_line(HERE, "no-proof", PHONE, path)
    assert len(line.split()) == 5
    assert set(banned(line)) == {"198.51.100.7"}


@given(st.text(max_size=100), st.text(max_size=100))
def test_other_lines_with_strangers_text_in_them_ban_nobody(before: str, after: str) -> None:
    its = " ".join(f"{before} {FORGED} {after}".splitlines())
    assert banned(f"{its} cannot be served to 198.51.100.7: RuntimeError", "ERROR") == []
