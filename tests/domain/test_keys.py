from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain import keys
from provisioning.domain.catalogue import KEY_TYPES, Model
from provisioning.domain.errors import Refused
from provisioning.domain.keys import LONGEST_LABEL, NEEDS, Key, check, fits, layout
from provisioning.domain.vendor_file import parse_vendor

ACME = """\
name = "Acme"
prefixes = ["001122"]
[sources]
guide = "a guide"

[families.desk]
syntax = "key-value"
provisioning_path = ""
module_keys = 20
[families.desk.keys]
line = "1"
speed-dial = "2"
blf = "3"
park = "4"
url = "5"
dnd = "6"
none = "0"
[[families.desk.documents]]
name = "{mac}.cfg"
template = "phone.cfg.j2"
content_type = "text/plain"
holds = "lines"

[families.plain]
syntax = "key-value"
provisioning_path = ""
[[families.plain.documents]]
name = "{mac}.ini"
template = "plain.cfg.j2"
content_type = "text/plain"
holds = "lines"

[models]
Big = { family = "desk", slots = 16, keys = 10, expansion_modules = 2, confidence = "guide", source = "guide" }
Small = { family = "desk", slots = 2, keys = 4, confidence = "guide", source = "guide" }
Mute = { family = "desk", slots = 2, keys = 6, line_keys = 0, confidence = "guide", source = "guide" }
Keyless = { family = "desk", slots = 2, confidence = "guide", source = "guide" }
Untold = { family = "plain", slots = 2, keys = 8, confidence = "guide", source = "guide" }
"""
MODELS = {model.name: model for model in parse_vendor("acme", ACME).models}
BIG, SMALL, MUTE, KEYLESS, UNTOLD = (MODELS[name] for name in ("Big", "Small", "Mute", "Keyless", "Untold"))
ANY_KEY = st.builds(
    Key,
    st.integers(-1, 3),
    st.integers(-1, 25),
    st.sampled_from(KEY_TYPES) | st.text(max_size=6),
    st.sampled_from(["", "1", "2", "16", "17", "+33972101234", "https://example.net/"]) | st.text(max_size=12),
    st.text(max_size=70),
)


def refused(key: Key, model: Model = BIG) -> tuple[str, str, dict[str, object]]:
    with pytest.raises(Refused) as caught:
        check(key, model)
    assert not fits(key, model)
    return caught.value.code, caught.value.detail, caught.value.members


@pytest.mark.parametrize(
    "key",
    [
        Key(0, 1, "line", "1"),
        Key(0, 10, "line", "16"),
        Key(1, 20, "line", "2", "Zoë & <fils>"),
        Key(2, 1, "blf", "0033972101234"),
        Key(0, 3, "speed-dial", "*21#"),
        Key(0, 3, "speed-dial", "+33972101234,,1-2.3"),
        Key(0, 3, "park", ""),
        Key(0, 3, "park", "701"),
        Key(0, 3, "url", "http://192.0.2.1:8080/open?door=1&x=%20"),
        Key(0, 3, "dnd"),
        Key(0, 3, "none"),
        Key(0, 3, "dnd", "", "x" * LONGEST_LABEL),
    ],
)
def test_a_key_that_the_model_has_passes(key: Key):
    assert check(key, BIG) is key
    assert fits(key, BIG)


@pytest.mark.parametrize(
    ("key", "model", "code", "told"),
    [
        (Key(0, 0, "dnd"), BIG, "key-unknown", "count from 1"),
        (Key(0, -1, "dnd"), BIG, "key-unknown", "count from 1"),
        (Key(-1, 1, "dnd"), BIG, "key-unknown", "count from 1"),
        (Key(0, 11, "dnd"), BIG, "key-unknown", "A Acme Big has no key 11: it has 10."),
        (Key(1, 21, "dnd"), BIG, "key-unknown", "A Acme Big has no key 1.21: each of its modules has 20."),
        (Key(3, 1, "dnd"), BIG, "key-unknown", "A Acme Big takes 2 expansion modules, not 3."),
        (Key(1, 1, "dnd"), SMALL, "key-unknown", "takes 0 expansion modules"),
        (
            Key(0, 1, "dnd"),
            KEYLESS,
            "unsupported-by-model",
            "A Acme Keyless has no keys to program; key 1 was asked for.",
        ),
        (Key(0, 1, "dnd"), UNTOLD, "unsupported-by-model", "A Acme Untold has no keys to program"),
        (
            Key(0, 5, "forward"),
            BIG,
            "unsupported-by-model",
            "A Acme Big cannot have a forward key; key 5 was asked for.",
        ),
    ],
)
def test_what_the_model_has_not_is_refused_and_named(key: Key, model: Model, code: str, told: str):
    found, detail, members = refused(key, model)
    assert (found, members) == (code, {"key": str(key)})
    assert told in detail


def test_a_type_that_is_none_is_told_those_that_there_are():
    code, detail, members = refused(Key(0, 1, "DND"))
    assert (code, members) == ("invalid-value", {"field": "type"})
    assert all(one in detail for one in KEY_TYPES)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("line", "", "of a line key is a slot, 1 to 16"),
        ("line", "0", "of a line key is a slot"),
        ("line", "17", "of a line key is a slot"),
        ("line", "-1", "of a line key is a slot"),
        ("line", "+1", "of a line key is a slot"),
        ("line", " 1", "of a line key is a slot"),
        # One slot has one spelling: phones compare it as text.
        ("line", "01", "of a line key is a slot"),
        ("line", "²", "of a line key is a slot"),
        ("line", "\u0661", "of a line key is a slot"),
        # Python refuses to read so long a number, with another error.
        ("line", "1" * 5000, "of a line key is a slot"),
        ("speed-dial", "", "of a speed-dial key is a number to dial"),
        ("speed-dial", "12 34", "of a speed-dial key is a number to dial"),
        ("speed-dial", "1" * 33, "of a speed-dial key is a number to dial"),
        ("blf", "alice", "of a blf key is a number to dial"),
        ("blf", "1\n", "of a blf key is a number to dial"),
        ("park", "a", "of a park key is a number to dial"),
        ("url", "", "of a url key is an http:// or https:// address"),
        ("url", "javascript:alert(1)", "of a url key is an http"),
        ("url", "ftp://example.net/", "of a url key is an http"),
        ("url", "https://example.net/a b", "of a url key is an http"),
        ("url", "https://example.net/\n", "of a url key is an http"),
        ("url", "https://" + "a" * 241, "of a url key is an http"),
        ("dnd", "1", "of a dnd key is empty"),
        ("none", "1", "of a none key is empty"),
    ],
)
def test_a_value_that_the_type_cannot_have_is_refused(kind: str, value: str, told: str):
    code, detail, members = refused(Key(1, 3, kind, value))
    assert (code, members) == ("invalid-value", {"field": "value", "key": "1.3"})
    assert told in detail


@pytest.mark.parametrize("label", ["a\nb", "a\0", " x", "x ", "%NULL%", "x" * (LONGEST_LABEL + 1)])
def test_a_label_is_one_line_of_text(label: str):
    code, _, members = refused(Key(0, 1, "dnd", "", label))
    assert (code, members) == ("invalid-value", {"field": "label"})


def test_what_each_type_needs_is_known():
    assert NEEDS.keys() == set(KEY_TYPES)


@given(ANY_KEY, st.sampled_from(list(MODELS.values())))
def test_a_key_passes_or_is_refused_and_fits_says_which(key: Key, model: Model):
    try:
        check(key, model)
    except Refused:
        assert not fits(key, model)
    else:
        assert fits(key, model)
        assert key.type in model.family.keys
        assert 1 <= key.number <= (model.module_keys if key.module else model.keys)
        assert 0 <= key.module <= model.expansion_modules
        assert len((key.value + key.label).splitlines()) <= 1


@pytest.mark.parametrize(
    ("key", "text"), [(Key(0, 5, "dnd"), "5"), (Key(1, 5, "dnd"), "1.5"), (Key(12, 30, "dnd"), "12.30")]
)
def test_how_a_key_is_called(key: Key, text: str):
    assert str(key) == text


def slots(*numbers: int) -> list[Key]:
    return [Key(0, number, "line", str(number)) for number in numbers]


@pytest.mark.parametrize(
    ("model", "own"),
    [
        # As many as it has keys; as it has slots; none by its guide; no keys; no code for a line.
        (BIG, slots(*range(1, 11))),
        (SMALL, slots(1, 2)),
        (MUTE, []),
        (KEYLESS, []),
        (UNTOLD, []),
        (replace(BIG, line_keys=3), slots(1, 2, 3)),
        # The operator's own count of slots.
        (replace(BIG, slots=2), slots(1, 2)),
    ],
)
def test_where_nothing_is_set_the_first_keys_are_the_slots_own(model: Model, own: list[Key]):
    assert layout(model, ()) == own


def test_what_is_set_takes_a_keys_place_and_the_rest_stays():
    set_ = [Key(1, 2, "dnd"), Key(0, 4, "blf", "42", "Bob"), Key(0, 1, "none")]
    assert layout(SMALL, set_) == [Key(0, 1, "none"), Key(0, 2, "line", "2"), Key(0, 4, "blf", "42", "Bob")]
    assert layout(BIG, set_) == [
        Key(0, 1, "none"),
        *slots(2, 3),
        Key(0, 4, "blf", "42", "Bob"),
        *slots(*range(5, 11)),
        Key(1, 2, "dnd"),
    ]


def test_keys_of_a_larger_model_are_left_out_on_a_smaller_one():
    large = [Key(0, 2, "line", "9"), Key(0, 9, "dnd"), Key(2, 1, "dnd"), Key(0, 3, "url", "https://example.net/")]
    assert all(fits(key, BIG) for key in large)
    # Slot 9 is not there: the key is what it would be by itself.
    assert layout(SMALL, large) == [*slots(1, 2), Key(0, 3, "url", "https://example.net/")]
    assert layout(KEYLESS, large) == []


@given(st.lists(ANY_KEY, max_size=8), st.sampled_from(list(MODELS.values())))
def test_a_layout_holds_only_what_the_model_can_each_place_once_in_order(stored: list[Key], model: Model):
    found = layout(model, stored)
    places = [key.place for key in found]
    assert places == sorted(set(places))
    assert all(fits(key, model) for key in found)
    last = {key.place: key for key in stored if fits(key, model)}
    assert {key.place: key for key in found if key.place in last} == last
    # Written out, it is the same once more: so a phone's keys are copied to another of its model.
    assert layout(model, found) == found


@given(st.lists(ANY_KEY, max_size=8))
def test_every_type_that_any_model_writes_has_a_code_there(stored: list[Key]):
    assert all(key.type in BIG.family.keys for key in keys.layout(BIG, stored))
