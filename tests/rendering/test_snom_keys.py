"""What Snom's function keys say, and where those of a module stand."""

from xml.etree import ElementTree as ET

import pytest
from sample_phones import CATALOGUE, RENDERER, filled, own, values

from provisioning.domain.keys import Key


def keys_of(model_id, *keys, count=0):
    model = CATALOGUE.models[model_id]
    root = ET.fromstring(RENDERER.render(own(model), model, values(model, filled(model, count), keys=keys)))
    return {key.get("idx"): (key.get("context"), key.get("label"), key.text) for key in root.iterfind("*/fkey")}


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("speed-dial", "42", "speed 42"),
        ("blf", "42", "blf 42"),
        ("voicemail", "", "keyevent F_RETRIEVE"),
        ("voicemail", "888", "speed 888"),
        ("transfer", "", "keyevent F_TRANSFER"),
        ("transfer", "42", "transfer 42"),
        ("forward", "", "keyevent F_REDIRECT"),
        ("forward", "42", "redirect 42"),
        ("park", "70", "orbit 70"),
        ("park", "", "none"),
        ("pickup", "*8", "speed *8"),
        ("pickup", "", "none"),
        ("url", "http://crm.example.net/", "url http://crm.example.net/"),
        ("none", "", "none"),
    ],
)
def test_what_a_key_does(type_, value, expected):
    assert keys_of("snom-d785", Key(0, 20, type_, value, "Label"))["19"] == ("active", "Label", expected)


@pytest.mark.parametrize(
    ("model_id", "module", "number", "idx"),
    [("snom-d785", 1, 1, "24"), ("snom-d785", 2, 18, "59"), ("snom-370", 1, 1, "12"), ("snom-370", 1, 42, "53")],
)
def test_a_module_s_keys_count_on_behind_the_phone_s(model_id, module, number, idx):
    assert keys_of(model_id, Key(module, number, "speed-dial", "42", "Far"))[idx] == ("active", "Far", "speed 42")


def test_an_empty_slot_s_key_shows_no_line():
    shown = keys_of("snom-d785", count=1)
    assert shown["0"][0] == "1"
    assert shown["1"] == ("active", "", "line")
