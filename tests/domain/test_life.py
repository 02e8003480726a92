from dataclasses import replace

import pytest

from provisioning.domain.life import Asking, Known, Life, lost_its_secret, state, why_no_door

NEW = Life(None, None, None, None)


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (NEW, "ordered"),
        (replace(NEW, shipped_at=1.0), "shipped"),
        (replace(NEW, bound_at=2.0), "bound"),
        (replace(NEW, shipped_at=1.0, bound_at=2.0), "bound"),
        (replace(NEW, bound_at=2.0, secret_lost_at=3.0), "reset"),
        # What a phone never bound was asked without is no loss.
        (replace(NEW, shipped_at=1.0, secret_lost_at=3.0), "shipped"),
        (replace(NEW, shipped_at=1.0, bound_at=2.0, returned_at=4.0), "returned"),
    ],
)
def test_a_phones_state_is_derived(life: Life, expected: str):
    assert state(life) == expected


NOW = 1_000_000_000.0
KNOWN = Known(place="203.0.113.7", seen_at=NOW - 3600, shared=False, reopened_there=0, reopened_at=None, doors=True)
ASKING = Asking("203.0.113.7", NOW)


def test_a_phone_that_was_reset_where_it_lives_gets_a_door():
    assert lost_its_secret(ASKING, KNOWN)
    assert why_no_door(ASKING, KNOWN) is None


@pytest.mark.parametrize("place", [None, "203.0.113.8", "2001:db8::/64"])
def test_the_mac_asked_for_from_elsewhere_is_a_stranger(place: str | None):
    assert not lost_its_secret(replace(ASKING, place=place), KNOWN)
    assert not lost_its_secret(replace(ASKING, place=place), replace(KNOWN, place=None))


@pytest.mark.parametrize(
    "known",
    [
        replace(KNOWN, shared=True),
        replace(KNOWN, reopened_there=3),
        replace(KNOWN, doors=False),
        replace(KNOWN, seen_at=None),
        replace(KNOWN, seen_at=NOW - 86401),
        # The clock was set back since: nothing is known of how long ago that is.
        replace(KNOWN, seen_at=NOW + 5),
        replace(KNOWN, reopened_at=NOW - 86400),
        replace(KNOWN, reopened_at=NOW + 86400),
    ],
)
def test_no_door_opens_by_itself(known: Known):
    assert why_no_door(ASKING, known)


def test_what_it_asked_before_its_last_proof_is_no_loss():
    """As whoever asks without a password first, and is told that one is needed."""
    assert not lost_its_secret(ASKING, replace(KNOWN, seen_at=NOW))


def test_a_week_later_it_may_again():
    assert why_no_door(ASKING, replace(KNOWN, reopened_at=NOW - 7 * 86400)) is None
