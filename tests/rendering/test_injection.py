"""No display name and no password can add, change or break a setting of any vendor."""

import re
from functools import cache

import hypothesis
import pytest
from hypothesis import strategies as st
from sample_phones import FAMILIES, RENDERER, as_shown, dialect, line, own, representative, values

from provisioning.rendering.encoders import Unencodable
from provisioning.simulator.dialects.base import read

FRAGMENTS = (
    *("\n", "\r", "\r\n", "\n\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"),
    *('"', "'", "`", "<", ">", "&", "&amp;", "&lt;", "&#10;", "&#x0A;", "&evil;", "]]>", "<![CDATA[", "<!--", "-->"),
    *(
        "#",
        ";",
        "=",
        ":",
        "\\",
        "\\n",
        "\\u000a",
        "%0a",
        "%NULL%",
        "%EMPTY%",
        "$",
        "${mac}",
        "{mac}",
        "{{7*7}}",
        "{{",
        "{%",
    ),
    *(
        "{% raw %}",
        "{# #}",
        "\0",
        "\x1b",
        "\x1b[2J",
        "\x7f",
        "\t",
        " ",
        "\u00a0",
        "\u3000",
        "\ufeff",
        "\u202e",
        "\u200d",
        "😀",
    ),
    *("\ufffe", "\uffff", "\U0001fffe", "é", "e\u0301", "日本", "null", "None", "0", "x" * 10_000),
    "account.1.sip_server.1.address = evil",
    "\naccount.1.sip_server.1.address = evil",
    "\naccount.9.enable = 1",
    "\n[account]",
    "</user_realname><setting_server>http://evil/</setting_server><user_realname>",
    "</user_pass></phone-settings></settings><settings><phone-settings>",
    '" perm="RW" evil="',
    '" context="evil" label="',
    '</entry><entry name="reg_proxy" overwrite="true">&lt;sip:evil&gt;',
    '</entry></section><section name="misc"><entry name="config-uri">http://evil/',
    '" <sip:evil@evil.example>, "',
    "\\",
    '\\"',
)
SENTENCE = re.compile(
    r"a value (begins or ends with a blank|holds [a-z ]+( \(U\+[0-9A-F]{4,6}\))?|is a word that [a-z ]+)(, which [a-z ]+)?"
)
hostile = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=5).map("".join)


@cache
def tame(family):
    return rendered(family, "Tame", "tame")


def rendered(family, display_name, password):
    model = representative(family)
    lines = {1: line(1, display_name=display_name, password=password)}
    if model.slots > 1:
        lines[2] = line(2, display_name="Other", password="other")
    return RENDERER.render(own(model), model, values(model, lines))


def settings(family, body):
    return dialect(representative(family)).settings(body)


def lines_of(family, body):
    return read(dialect(representative(family)), body).lines


def holds(value, display_name, password):
    """What may differ: a setting that shows the name, the number instead of it, or the password."""
    return value in (display_name, password, line(1).number) or display_name in value or password in value


@pytest.mark.parametrize("family", FAMILIES)
@hypothesis.given(display_name=hostile, password=hostile)
@hypothesis.settings(max_examples=100, deadline=None, database=None)
def test_a_value_arrives_exactly_or_not_at_all(family, display_name, password):
    try:
        body = rendered(family, display_name, password)
    except Unencodable as refusal:
        told = str(refusal)
        # What it says of any value: a drawn "line" stands in "a line feed" too.
        anyway = re.sub(r"\(U\+[0-9A-F]{4}\)|:\d+:", "", told)
        if any(len(value) > 3 and value in told and value not in anyway for value in (display_name, password)):
            pytest.fail("the refusal tells the value")
        assert SENTENCE.fullmatch(told.partition(": ")[2]), told
        return
    found, expected = settings(family, body), settings(family, tame(family))
    assert found.keys() == expected.keys()
    theirs = {key for key in expected if holds(expected[key], "Tame", "tame")}
    assert theirs
    assert {key: found[key] for key in found if key not in theirs} == {
        key: expected[key] for key in expected if key not in theirs
    }
    first, *others = lines_of(family, body)
    # A dialect may show the number where there is no name, and shorten what its phones cannot hold.
    assert first.password == password
    shown = as_shown(representative(family), display_name)
    assert first.display_name in (shown, shown or line(1).number)
    assert [(other.display_name, other.password) for other in others] == [("Other", "other")][: len(others)]
    assert len(others) == (representative(family).slots > 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_each_fragment_in_the_middle(family, fragment):
    value = f"a{fragment}b"
    try:
        body = rendered(family, value, value)
    except Unencodable:
        # Some syntaxes have no way to write a quote, a semicolon or a letter of another alphabet.
        model = representative(family)
        assert any(
            not character.isprintable() or character in '";' or as_shown(model, character) != character
            for character in fragment
        )
        return
    first = lines_of(family, body)[0]
    assert (first.display_name, first.password) == (as_shown(representative(family), value), value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "value",
    [
        "Zoé d'Arc",
        "A & B <c@d.example>",
        "100 %",
        "C:\\phones",
        "#1 = x",
        "日本 😀",
        "👩\u200d💻",
        "{{ x }}",
        "x" * 128,
    ],
)
def test_an_ordinary_name_is_never_refused(family, value):
    shown = as_shown(representative(family), value)
    assert lines_of(family, rendered(family, value, "password"))[0].display_name == shown
