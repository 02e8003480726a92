import pytest
from markupsafe import Markup

from provisioning.rendering.encoders import (
    FILTERS,
    SYNTAXES,
    Unencodable,
    given_port,
    host,
    ini_latin1,
    key_value,
    latin1,
    local,
    port,
    quoted_text,
    sip_quoted,
    xml,
)

BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("encode", [syntax.encode for syntax in SYNTAXES.values()], ids=SYNTAXES)
class TestEverySyntax:
    @pytest.mark.parametrize(
        "character", [*BREAKS, "\0", "\t", "\x1b", "\x7f", "\x9f", chr(0xD800), chr(0xDFFF), "\ufffe"]
    )
    @pytest.mark.parametrize("place", ["{}end", "mid{}dle", "start{}", "{}"])
    def test_refuses_what_could_end_a_line_or_a_document(self, encode, character, place):
        with pytest.raises(Unencodable, match=f"U\\+{ord(character):04X}|blank"):
            encode(place.format(character))

    @pytest.mark.parametrize("value", [None, True, False, 1.5, b"x", [], Markup("<b>"), {}])
    def test_refuses_what_is_neither_text_nor_a_number(self, encode, value):
        with pytest.raises(Unencodable, match="neither text nor a number"):
            encode(value)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "x",
            "Zoé",
            "a  b",
            "#=\\",
            "{{7*7}}",
            "%41",
            "日本 😀",
            "👩\u200d💻",
            "\u202eabc",
            "a\ufeffb",
            "a\u00a0b",
            0,
            -1,
            3600,
        ],
    )
    def test_lets_everything_else_through_as_it_is(self, encode, value):
        if encode is ini_latin1 and isinstance(value, str) and latin1(value) != value:
            with pytest.raises(Unencodable, match="another alphabet"):
                encode(value)
        else:
            assert encode(value) == str(value)

    def test_never_tells_the_value(self, encode):
        with pytest.raises(Unencodable) as refusal:
            encode("hunter2\nhunter2")
        assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("value", [" x", "x ", " ", "\u3000x", "x\u00a0"])
def test_key_value_loses_blanks_at_the_ends_so_it_refuses_them(value):
    with pytest.raises(Unencodable, match="blank"):
        key_value(value)


@pytest.mark.parametrize(("syntax", "value"), [("colon", 'a"b'), ("quoted", 'a"b'), ("ini", "a;b")])
def test_what_a_syntax_has_no_way_to_write_is_refused(syntax, value):
    with pytest.raises(Unencodable, match=r"cannot carry|takes for a comment"):
        SYNTAXES[syntax].encode(value)


def test_numbers_for_phones_that_dial_no_plus():
    assert (local("+33972101234"), local("42"), local("+33972101234", "011")) == ("0033972101234", "42", "01133972101234")


def test_a_port_only_where_one_is_given():
    assert (given_port("a.example:5070"), given_port("a.example"), given_port("[2001:db8::1]")) == ("5070", "", "")


def test_a_quoted_text_cannot_hold_a_quote():
    assert quoted_text("a b") == '"a b"'
    with pytest.raises(Unencodable):
        quoted_text('a"b')


def test_xml_keeps_blanks_at_the_ends():
    assert xml(" x ") == " x "


def test_key_value_refuses_the_word_for_a_factory_default():
    with pytest.raises(Unencodable, match="factory default"):
        key_value("%NULL%")
    assert key_value("%NULL% of it") == "%NULL% of it"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("Zoé", '"Zoé"'), ('a "b" c', r'"a \"b\" c"'), ("back\\slash", r'"back\\slash"'), ('\\"', r'"\\\""'), ("", '""')],
)
def test_sip_quoted(text, quoted):
    assert sip_quoted(text) == quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.example.net", ("sip.example.net", 5060)),
        ("sip.example.net:5070", ("sip.example.net", 5070)),
        ("192.0.2.1:5070", ("192.0.2.1", 5070)),
        ("[2001:db8::1]", ("[2001:db8::1]", 5060)),
        ("[2001:db8::1]:5070", ("[2001:db8::1]", 5070)),
    ],
)
def test_host_and_port(text, expected):
    assert (host(text), port(text, 5060)) == expected


def test_the_filters_are_a_short_list():
    assert sorted(FILTERS) == [
        *("cut", "given_port", "host", "join", "latin1", "local", "number", "port", "quoted_text", "sip_quoted")
    ]
