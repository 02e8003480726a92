"""No display name and no password can add, change or break a setting of any vendor."""

from functools import cache

import hypothesis
import pytest
from hypothesis import strategies as st
from sample_phones import CATALOGUE, RENDERER, line, own, values

from provisioning.rendering.encoders import Unencodable
from provisioning.simulator.files import read, read_settings

MODELS = {"yealink": "yealink-t23g", "snom": "snom-d140", "linphone": "linphone-desktop"}
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
hostile = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=5).map("".join)


@cache
def tame(vendor):
    return rendered(vendor, "Tame", "tame")


def rendered(vendor, display_name, password):
    model = CATALOGUE.models[MODELS[vendor]]
    lines = {
        1: line(1, display_name=display_name, password=password),
        2: line(2, display_name="Other", password="other"),
    }
    return RENDERER.render(own(model), model, values(model, lines))


NAMES = {
    "yealink": ("account.1.display_name", "account.1.label"),
    "snom": ("user_realname[1]", "user_idle_text[1]", "fkey[0].label"),
    "linphone": ("proxy_0/reg_identity",),
}
PASSWORDS = {"yealink": "account.1.password", "snom": "user_pass[1]", "linphone": "auth_info_0/passwd"}


@pytest.mark.parametrize("vendor", MODELS)
@hypothesis.given(display_name=hostile, password=hostile)
@hypothesis.settings(max_examples=400, deadline=None, database=None)
def test_a_value_arrives_exactly_or_not_at_all(vendor, display_name, password):
    try:
        body = rendered(vendor, display_name, password)
    except Unencodable as refusal:
        told = str(refusal)
        if any(len(value) > 3 and value in told for value in (display_name, password)):
            pytest.fail("the refusal tells the value")
        return
    settings, expected = read_settings(vendor, body), read_settings(vendor, tame(vendor))
    assert settings.keys() == expected.keys()
    theirs = {*NAMES[vendor], PASSWORDS[vendor]}
    assert {key: settings[key] for key in settings if key not in theirs} == {
        key: expected[key] for key in expected if key not in theirs
    }
    first, second = read(vendor, body).lines
    assert (first.display_name, first.password) == (display_name, password)
    assert (second.display_name, second.password) == ("Other", "other")
    assert settings[PASSWORDS[vendor]] == password
    if vendor != "linphone":
        label = line(1, display_name=display_name).label
        name, *labels = NAMES[vendor]
        assert settings[name] == display_name
        assert {settings[key] for key in labels} == {label}


@pytest.mark.parametrize("vendor", MODELS)
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_each_fragment_in_the_middle(vendor, fragment):
    value = f"a{fragment}b"
    try:
        body = rendered(vendor, value, value)
    except Unencodable:
        assert any(not character.isprintable() for character in fragment)
        return
    first = read(vendor, body).lines[0]
    assert (first.display_name, first.password) == (value, value)


@pytest.mark.parametrize("vendor", MODELS)
@pytest.mark.parametrize(
    "value",
    [
        "Zoé d'Arc",
        'She said "no"',
        "A & B <c@d.example>",
        "100 %",
        "C:\\phones",
        "#1; = x",
        "日本 😀",
        "👩\u200d💻",
        "{{ x }}",
        "x" * 128,
    ],
)
def test_an_ordinary_name_is_never_refused(vendor, value):
    assert read(vendor, rendered(vendor, value, value)).lines[0].display_name == value
