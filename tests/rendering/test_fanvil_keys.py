"""Where a Fanvil phone's keys stand: beside the screen or below it, and on which page."""

from xml.etree import ElementTree as ET

import pytest
from sample_phones import CATALOGUE, RENDERER, filled, line, own, values

from provisioning.domain.keys import Key


def places(model_id, *keys, lines=()):
    """Of each key: its container, page, place, type, value and title."""
    model = CATALOGUE.models[model_id]
    given = {number: line(number) for number in lines}
    root = ET.fromstring(RENDERER.render(own(model), model, values(model, given, keys=keys)))
    return [
        (page.tag, page.get("index"), key.get("index"), *(key.findtext(name) for name in ("Type", "Value", "Title")))
        for page in root.iterfind("dsskey/*")
        for key in page
    ]


@pytest.mark.parametrize(
    ("model_id", "number", "place"),
    [
        ("fanvil-v65", 1, ("dssSide", "1", "1")),
        ("fanvil-v65", 9, ("dssSide", "1", "9")),
        ("fanvil-v65", 10, ("dssSide", "2", "1")),
        ("fanvil-v65", 27, ("dssSide", "3", "9")),
        ("fanvil-v66pro", 1, ("internal", "1", "1")),
        ("fanvil-v66pro", 30, ("internal", "2", "1")),
        ("fanvil-v67", 116, ("internal", "4", "29")),
        ("fanvil-w620w", 1, ("internal", "1", "1")),
        ("fanvil-w620w", 16, ("internal", "2", "8")),
        ("fanvil-x6u", 5, ("dssSide", "1", "5")),
        ("fanvil-x6u", 6, ("internal", "1", "1")),
        ("fanvil-x6u", 65, ("internal", "5", "12")),
        ("fanvil-x210", 106, ("internal", "3", "32")),
    ],
)
def test_where_a_key_stands(model_id, number, place):
    assert places(model_id, Key(0, number, "speed-dial", "42", "Desk")) == [(*place, "1", "42@1/f", "Desk")]


@pytest.mark.parametrize(
    ("model_id", "number", "pages"),
    [
        ("fanvil-v65", 9, (None, None)),
        ("fanvil-v65", 10, (None, "3")),
        ("fanvil-v66pro", 29, (None, None)),
        ("fanvil-v66pro", 30, ("4", None)),
        ("fanvil-w620w", 9, ("2", None)),
        ("fanvil-x4u", 9, (None, None)),
        ("fanvil-x4u", 10, ("5", None)),
        ("fanvil-x6u", 65, ("5", None)),
    ],
)
def test_all_pages_are_shown_where_a_further_one_has_a_key(model_id, number, pages):
    model = CATALOGUE.models[model_id]
    key = Key(0, number, "speed-dial", "42", "Desk")
    root = ET.fromstring(RENDERER.render(own(model), model, values(model, {}, keys=[key])))
    assert (root.findtext("dsskey/FuncKeyPageNum"), root.findtext("dsskey/SideKeyPageNum")) == pages


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("blf", "42", ("1", "42@1/ba")),
        ("park", "70", ("1", "70@1/c")),
        ("park", "", ("0", "")),
        ("voicemail", "", ("3", "F_MWI")),
        ("voicemail", "888", ("1", "888@1/f")),
        ("forward", "", ("3", "F_CFWD")),
        ("forward", "42", ("1", "42@1/a")),
        ("hold", "", ("3", "F_HOLD")),
        ("url", "http://crm.example.net/", ("7", "http://crm.example.net/")),
        ("none", "", ("0", "")),
    ],
)
def test_what_a_key_does(type_, value, expected):
    assert places("fanvil-v65", Key(0, 2, type_, value, "Label")) == [("dssSide", "1", "2", *expected, "Label")]


def test_a_line_s_key_shows_the_line_s_own_name():
    assert places("fanvil-v65", lines=(2,)) == [("dssSide", "1", "2", "2", "SIP2", "")]
    assert places("fanvil-v65", Key(0, 2, "line", "2", "Shop"), lines=(2,)) == [
        ("dssSide", "1", "2", "2", "SIP2", "Shop")
    ]


def test_a_door_s_button_is_no_line_s():
    assert places("fanvil-i10s", lines=(1,)) == []


def test_each_page_is_there_once():
    model = CATALOGUE.models["fanvil-x4u"]
    keys = [Key(0, number, "speed-dial", "42") for number in (20, 5, 4, 10, 9, 30, 2)]
    root = ET.fromstring(RENDERER.render(own(model), model, values(model, filled(model, 12), keys=keys)))
    pages = [(page.tag, page.get("index")) for page in root.iterfind("dsskey/*")]
    assert len(pages) == len(set(pages))
