from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.domain import phone as rules
from provisioning.domain.errors import Refused
from provisioning.domain.mac import Mac
from provisioning.domain.phone import Asking, Phone, Slot

NOW, HOUR = 100_000.0, 3600.0
HERE, THERE = ip_address("203.0.113.7"), ip_address("203.0.113.8")


def phone(*lines: str | None, mac: str = "001565000001", at=HERE, seen: float | None = NOW) -> Phone:
    slots = tuple(Slot(number, line) for number, line in enumerate(lines, 1))
    return Phone(Mac(mac), "acme", "yealink-t54w", slots, at, seen)


def asking(public_ip=HERE, mac: str | None = None, *, operator: bool = False, now: float = NOW) -> Asking:
    return Asking(public_ip, None if mac is None else Mac(mac), operator, now, HOUR)


def refusal(rule, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        rule(*arguments, **named)
    return caught.value


# Slots


def test_a_line_gets_the_lowest_free_slot():
    assert rules.free_slot(phone("a", None, "b", None), None) == 2


def test_a_slot_may_be_asked_for():
    assert rules.free_slot(phone("a", None, "b", None), 4) == 4


@pytest.mark.parametrize(
    ("its", "asked", "code"),
    [
        (phone("a", "b"), None, "no-free-slot"),
        (phone("a", "b"), 1, "no-free-slot"),
        (phone("a", None), 1, "slot-taken"),
        (phone("a", None), 0, "slot-out-of-range"),
        (phone("a", None), 3, "slot-out-of-range"),
        (phone("a", None), -1, "slot-out-of-range"),
        (phone("a", "b"), 3, "slot-out-of-range"),
    ],
)
def test_a_slot_that_is_not_to_be_had(its: Phone, asked: int | None, code: str):
    assert refusal(rules.free_slot, its, asked).code == code


@pytest.mark.parametrize(
    ("its", "line", "code"),
    [
        (phone("a", "b"), "c", "line-not-attached"),
        (phone("a", "b"), "a", "main-line"),
        (phone("a", None), "a", "last-line"),
        (phone(None, "a"), "a", "last-line"),
    ],
)
def test_a_line_that_stays(its: Phone, line: str, code: str):
    assert refusal(rules.slot_to_empty, its, line, force=False).code == code


def test_a_refused_main_line_names_who_could_follow_it():
    assert refusal(rules.slot_to_empty, phone("a", "b", None, "c"), "a", force=False).members == {
        "candidates": ["b", "c"]
    }


@pytest.mark.parametrize(("its", "slot"), [(phone("a", "b"), 1), (phone("a", None), 1)])
def test_an_operator_may_force_the_main_and_the_last_line_out(its: Phone, slot: int):
    assert rules.slot_to_empty(its, "a", force=True) == slot


def test_force_does_not_detach_what_is_not_there():
    assert refusal(rules.slot_to_empty, phone("a"), "b", force=True).code == "line-not-attached"


def test_a_promoted_line_changes_places_with_the_main_line():
    assert [slot.line for slot in rules.promoted(phone("a", None, "b"), "b")] == ["b", None, "a"]


def test_a_promoted_line_takes_an_empty_main_slot():
    assert [slot.line for slot in rules.promoted(phone(None, "b"), "b")] == ["b", None]


@pytest.mark.parametrize(("line", "code"), [("a", "already-main-line"), ("c", "line-not-attached")])
def test_what_cannot_be_promoted(line: str, code: str):
    assert refusal(rules.promoted, phone("a", "b"), line).code == code


LINES = ("a", "b", "c", "d", "e")
STEP = st.tuples(
    st.sampled_from(["attach", "detach", "force", "promote"]), st.sampled_from(LINES), st.none() | st.integers(-1, 5)
)


@settings(max_examples=300)
@given(st.integers(1, 4), st.lists(STEP, max_size=40))
def test_no_sequence_of_changes_breaks_the_rules(capacity: int, steps):
    """Against a model that is nothing but a dictionary of slots."""
    model: dict[int, str] = {}
    for step, line, asked in steps:
        its = phone(*(model.get(number) for number in range(1, capacity + 1)))
        where = next((number for number, held in model.items() if held == line), None)
        if step == "attach":
            if where is not None:
                continue
            if asked is not None and not 1 <= asked <= capacity:
                assert refusal(rules.free_slot, its, asked).code == "slot-out-of-range"
            elif len(model) == capacity:
                assert refusal(rules.free_slot, its, asked).code == "no-free-slot"
            elif asked in model:
                assert refusal(rules.free_slot, its, asked).code == "slot-taken"
            else:
                number = rules.free_slot(its, asked)
                assert number == (asked or min(set(range(1, capacity + 1)) - set(model)))
                model[number] = line
        elif step in ("detach", "force"):
            force = step == "force"
            if where is None:
                assert refusal(rules.slot_to_empty, its, line, force=force).code == "line-not-attached"
            elif not force and len(model) == 1:
                assert refusal(rules.slot_to_empty, its, line, force=False).code == "last-line"
            elif not force and where == 1:
                assert refusal(rules.slot_to_empty, its, line, force=False).code == "main-line"
            else:
                assert model.pop(rules.slot_to_empty(its, line, force=force)) == line
        elif where in (None, 1):
            code = "line-not-attached" if where is None else "already-main-line"
            assert refusal(rules.promoted, its, line).code == code
        else:
            after = {slot.number: slot.line for slot in rules.promoted(its, line) if slot.line is not None}
            assert after[1] == line
            assert sorted(after.values()) == sorted(model.values())
            model = after
        assert len(model) <= capacity
        assert len(set(model.values())) == len(model)


# Where a phone is


@pytest.mark.parametrize(
    ("its", "at", "current"),
    [
        (phone("a"), HERE, True),
        (phone("a", seen=NOW - HOUR), HERE, True),
        (phone("a", seen=NOW - HOUR - 1), HERE, False),
        (phone("a"), THERE, False),
        (phone("a", seen=None), HERE, False),
        (phone("a", at=None), HERE, False),
        (phone("a", at=ip_address("2001:db8::1")), ip_address("2001:db8::ffff:2"), True),
        (phone("a", at=ip_address("2001:db8::1")), ip_address("2001:db8:0:1::1"), False),
        (phone("a", at=ip_address("2001:db8::1")), HERE, False),
    ],
)
def test_an_address_is_current_for_as_long_as_the_freshness_says(its: Phone, at, current: bool):
    assert rules.is_at(its, at, NOW, HOUR) is current


def test_the_one_phone_there_is_meant():
    own = [phone("a", mac="001565000001", at=THERE), phone("b", mac="001565000002")]
    assert rules.choose(own, asking()) is own[1]


def test_several_phones_there_are_named_as_candidates():
    own = [phone("a", mac="001565000001"), phone("b", mac="001565000002"), phone("c", mac="001565000003", at=THERE)]
    refused = refusal(rules.choose, own, asking())
    assert refused.code == "public-ip-ambiguous"
    assert refused.members == {"candidates": ["001565000001", "001565000002"]}


def test_a_mac_tells_several_phones_apart():
    own = [phone("a", mac="001565000001"), phone("b", mac="001565000002")]
    assert rules.choose(own, asking(mac="001565000002")) is own[1]


def test_no_phone_there_says_when_each_was_last_seen():
    own = [phone("a", at=THERE, seen=0.0), phone("b", mac="001565000002", at=None, seen=None)]
    refused = refusal(rules.choose, own, asking())
    assert refused.code == "public-ip-not-yours"
    assert "00:15:65:00:00:01 was last seen at 1970-01-01T00:00:00.000Z" in refused.detail
    assert "00:15:65:00:00:02 was never seen" in refused.detail
    assert refused.members["phones"] == [
        {"mac": "001565000001", "last_seen": "1970-01-01T00:00:00.000Z"},
        {"mac": "001565000002", "last_seen": None},
    ]


@pytest.mark.parametrize(
    ("own", "asked", "code"),
    [
        ([], asking(), "public-ip-not-yours"),
        ([phone("a")], asking(None), "public-ip-required"),
        ([phone("a")], asking(None, operator=True), "public-ip-required"),
        ([phone("a")], asking(None, "001565000001"), "public-ip-required"),
        # The operator's licence to leave the address out ends when the phone has been seen.
        ([phone("a")], asking(None, "001565000001", operator=True), "public-ip-required"),
        ([phone("a")], asking(THERE, "001565000001"), "public-ip-mismatch"),
        ([phone("a")], asking(THERE, "001565000001", operator=True), "public-ip-mismatch"),
        ([phone("a")], asking(HERE, "001565000001", now=NOW + HOUR + 1), "public-ip-mismatch"),
        ([phone("a", seen=None, at=None)], asking(HERE, "001565000001"), "public-ip-mismatch"),
        ([phone("a", seen=None, at=None)], asking(None, "001565000001"), "public-ip-required"),
        ([phone("a")], asking(HERE, "001565000009"), "phone-not-found"),
        ([], asking(HERE, "001565000001", operator=True), "phone-not-found"),
    ],
)
def test_a_phone_that_is_not_meant(own: list[Phone], asked: Asking, code: str):
    assert refusal(rules.choose, own, asked).code == code


@pytest.mark.parametrize("public_ip", [None, HERE])
def test_an_operator_prepares_a_phone_that_nobody_has_seen(public_ip):
    its = phone("a", seen=None, at=None)
    assert rules.choose([its], asking(public_ip, "001565000001", operator=True)) is its


@pytest.mark.parametrize(
    ("its", "line_on", "operator", "code"),
    [
        (phone("a", None), None, False, None),
        (phone("a", None), "001565000009", False, "line-already-attached"),
        (phone("a"), "001565000009", False, "line-already-attached"),
        (phone("a"), None, False, "no-free-slot"),
        (phone("a", None, seen=None), None, False, "phone-never-seen"),
        (phone("a", None, seen=None), None, True, None),
        (phone("a", None, seen=NOW - HOUR - 1), None, False, "phone-not-seen-lately"),
        (phone("a", None, seen=NOW - HOUR - 1), None, True, "phone-not-seen-lately"),
    ],
)
def test_why_a_line_cannot_be_attached(its: Phone, line_on: Mac | None, operator: bool, code: str | None):
    refused = rules.why_not_attachable(its, line_on, asking(None, operator=operator))
    assert (refused and refused.code) == code


@given(
    st.lists(st.none() | st.sampled_from(LINES), min_size=1, max_size=4, unique_by=lambda line: line or object()),
    st.none() | st.floats(NOW - 2 * HOUR, NOW),
    st.booleans(),
)
def test_a_phone_that_is_attachable_is_then_not_refused(lines, seen, operator: bool):
    its = phone(*lines, seen=seen)
    asked = asking(HERE, its.mac, operator=operator)
    attachable = rules.why_not_attachable(its, None, asked) is None
    try:
        rules.free_slot(rules.choose([its], asked), None)
    except Refused:
        assert not attachable
    else:
        assert attachable


def test_a_time_is_rfc_3339_in_utc():
    assert rules.rfc3339(1_700_000_000.1234) == "2023-11-14T22:13:20.123Z"
