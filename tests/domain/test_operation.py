from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import operation as operations
from provisioning.domain.operation import Facts

FACTS = Facts(committed_at=1000.0, deadline_at=1300.0)


@pytest.mark.parametrize(
    ("facts", "now", "state"),
    [
        ({}, 1000, "todo"),
        ({}, 1299.9, "todo"),
        ({}, 1300, "error"),
        ({"attempts": 1}, 1001, "doing"),
        ({"attempts": 1, "notified_at": 1001.0, "sip_status": 200}, 1002, "doing"),
        ({"attempts": 1, "notified_at": 1001.0, "sip_status": 200}, 1300, "error"),
        ({"untold": "no proxy"}, 1001, "doing"),
        ({"untold": "no proxy"}, 1300, "error"),
        ({"fetched_at": 1002.0}, 1003, "done"),
        ({"fetched_at": 1400.0}, 1401, "done"),
        ({"fetched_at": 1002.0, "attempts": 3, "untold": "x", "sip_status": 480}, 9999, "done"),
        ({"registered_at": 1002.0}, 1003, "todo"),
        ({"registered_at": 1002.0}, 1300, "error"),
    ],
)
def test_a_state_is_derived_from_facts(facts: dict, now: float, state: str):
    assert operations.state(replace(FACTS, **facts), now) == state


@pytest.mark.parametrize(
    ("facts", "code", "told"),
    [
        ({}, "not-told", "was never seen"),
        ({"seen_at": 900.0}, "not-told", "was last seen at 1970-01-01T00:15:00.000Z"),
        ({"untold": "No SIP proxy."}, "told-at-next-poll", "No SIP proxy. The phone was never seen."),
        ({"sip_status": 200, "notified_at": 1001.0}, "not-fetched", "accepted the resync at 1970-01-01T00:16:41.000Z"),
        ({"sip_status": 408, "notified_at": 1001.0}, "not-fetched", "in a call"),
        *(({"sip_status": status}, "phone-offline", "not registered") for status in (404, 410, 480, 604)),
        *(({"sip_status": status}, "phone-unreachable", "does not answer") for status in (408, 430, 487)),
        *(({"sip_status": status}, "resync-not-supported", str(status)) for status in (405, 420, 481, 489, 501, 603)),
        *(({"sip_status": status}, "resync-unauthorized", "[resync] username") for status in (401, 403, 407)),
        *(({"sip_status": status}, "sip-proxy-failed", f"({status})") for status in (400, 483, 500, 503, 606)),
        ({"refused_at": 1100.0, "refused_from": "203.0.113.7"}, "fetch-refused", "from 203.0.113.7 without its secret"),
        ({"refused_at": 1100.0}, "fetch-refused", "from an unknown address"),
        ({"refused_at": 1100.0, "sip_status": 200, "notified_at": 1001.0}, "fetch-refused", "factory reset"),
        ({"refused_at": 999.0, "sip_status": 480}, "phone-offline", "not registered"),
    ],
)
def test_an_error_says_what_a_person_can_do(facts: dict, code: str, told: str):
    reason = operations.why_error(replace(FACTS, **facts))
    assert reason.code == code
    assert told in reason.detail


SIP = st.none() | st.integers(100, 699)


@given(SIP, st.none() | st.floats(0, 2000), st.none() | st.text(max_size=5), st.none() | st.floats(0, 2000))
def test_every_error_has_a_reason(status, notified_at, untold, refused_at):
    facts = replace(FACTS, sip_status=status, notified_at=notified_at, untold=untold, refused_at=refused_at)
    reason = operations.why_error(facts)
    assert reason.code
    assert reason.detail.endswith(".")


def test_a_phone_is_told_at_once_then_after_5_15_45_and_120_seconds():
    told = [operations.next_attempt(1000.0, attempts, 408) for attempts in range(6)]
    assert told == [1000.0, 1005.0, 1015.0, 1045.0, 1120.0, None]


@pytest.mark.parametrize("status", [None, 401, 404, 408, 480, 500, 503])
def test_a_failure_that_may_pass_is_tried_again(status: int | None):
    assert operations.next_attempt(1000.0, 1, status) == 1005.0


@pytest.mark.parametrize("status", [405, 420, 481, 489, 501, 603])
def test_a_phone_that_does_not_understand_is_not_told_again(status: int):
    assert operations.next_attempt(1000.0, 1, status) is None


@pytest.mark.parametrize(("attempts", "again"), [(1, 1045.0), (2, 1045.0), (3, 1045.0), (4, 1120.0), (5, None)])
def test_a_phone_that_accepted_is_left_in_peace_for_a_while(attempts: int, again: float | None):
    assert operations.next_attempt(1000.0, attempts, 200) == again


@given(st.integers(1, 10), SIP)
def test_telling_a_phone_ends(attempts: int, status):
    again = operations.next_attempt(0.0, attempts, status)
    assert again is None or (attempts < 5 and 0 < again <= 120)


@pytest.mark.parametrize(
    ("fetched", "attached", "target"),
    [
        ((), (), None),
        ((), ("a",), None),
        (("a",), (), "a"),
        (("a", "b"), ("a", "b"), "a"),
        (("a", "b"), ("b", "a"), "b"),
        (("a", "b"), ("c", "b"), "b"),
        (("a", "b"), ("c",), "a"),
    ],
)
def test_a_notify_goes_to_an_address_that_the_phone_knows(fetched: tuple, attached: tuple, target: str | None):
    assert operations.target(fetched, attached) == target


NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5).map(tuple)


@given(NAMES, NAMES)
def test_a_target_is_always_one_that_was_fetched(fetched: tuple, attached: tuple):
    assert operations.target(fetched, attached) in (fetched or (None,))
