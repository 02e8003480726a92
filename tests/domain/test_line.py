from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.errors import Refused
from provisioning.domain.line import Line, check, check_name, check_text

GOOD = Line("l1", "acme", "+33972101234", "0033972101234", "s3cret pass\"<&'", "sip.example.net")
HOSTILE = ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800", "\ufffe", "\uffff", "\t"]


def field_refused(**changed: str) -> str:
    with pytest.raises(Refused) as caught:
        check(replace(GOOD, **changed))
    assert caught.value.code == "invalid-value"
    return str(caught.value.members["field"])


def test_a_good_line_passes():
    assert check(GOOD) is GOOD


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "a"},
        {"name": "0033972101234@sip.example.net"},
        {"number": "*21#"},
        {"username": "a-b_c.d!e~f*g'h(i)j&k=l+m$n,o;p?q/r"},
        {"domain": "192.0.2.1"},
        {"domain": "[2001:db8::1]:5080"},
        {"domain": "localhost"},
        {"outbound_proxy": "proxy.example.net:5061"},
        {"outbound_proxy": "[2001:db8::1]:5061"},
        {"display_name": 'Zoë <Accueil> & "fils" 日本 🎉'},
        {"password": "x" * 128},
        {"password": "#;=%:{{7*7}}"},
        {"transport": "tls"},
    ],
)
def test_values_that_operators_use_pass(changed: dict[str, str]):
    check(replace(GOOD, **changed))


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "field", ["name", "number", "username", "password", "domain", "display_name", "outbound_proxy"]
)
def test_no_value_breaks_out_of_its_line(field: str, hostile: str):
    assert field_refused(**{field: f"a{hostile}b"}) == {"name": "line"}.get(field, field)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "line"),
        ({"name": "../x"}, "line"),
        ({"name": "-x"}, "line"),
        ({"name": "x" * 65}, "line"),
        ({"name": "a b"}, "line"),
        ({"number": ""}, "number"),
        ({"number": "0" * 33}, "number"),
        ({"number": "٣٣"}, "number"),
        ({"username": ""}, "username"),
        ({"username": "a@b"}, "username"),
        ({"username": 'a"b'}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "a<b"}, "username"),
        ({"password": ""}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": " x"}, "password"),
        ({"domain": ""}, "domain"),
        ({"domain": "sip.example.net;lr"}, "domain"),
        ({"domain": "-a.example.net"}, "domain"),
        ({"domain": "a..b"}, "domain"),
        ({"domain": "a" * 64}, "domain"),
        ({"domain": ".".join(["a" * 60] * 5)}, "domain"),
        ({"domain": "sip.example.net:123456"}, "domain"),
        ({"domain": "sip:a@b"}, "domain"),
        ({"outbound_proxy": "a b"}, "outbound_proxy"),
        ({"outbound_proxy": "http://a"}, "outbound_proxy"),
        ({"outbound_proxy": "proxy.example.net:99999"}, "outbound_proxy"),
        ({"outbound_proxy": "proxy.example.net:0"}, "outbound_proxy"),
        ({"domain": "[::::]"}, "domain"),
        ({"domain": "[2001:db8::1]:70000"}, "domain"),
        ({"display_name": "x" * 129}, "display_name"),
        ({"display_name": "x "}, "display_name"),
        ({"transport": "UDP"}, "transport"),
        ({"transport": ""}, "transport"),
    ],
)
def test_a_value_that_no_phone_could_use_is_refused_with_its_field(changed: dict[str, str], field: str):
    assert field_refused(**changed) == field


def test_a_refusal_does_not_repeat_the_password():
    with pytest.raises(Refused) as caught:
        check(replace(GOOD, password="hunter2\n"))
    assert "hunter2" not in caught.value.detail


def test_a_line_shows_no_password():
    assert "s3cret" not in repr(GOOD)


def test_an_address_of_record():
    assert GOOD.address_of_record == "sip:0033972101234@sip.example.net"


@pytest.mark.parametrize(("display_name", "label"), [("", "+33972101234"), ("Accueil", "Accueil")])
def test_a_phone_shows_the_name_or_else_the_number(display_name: str, label: str):
    assert replace(GOOD, display_name=display_name).label == label


@given(st.text(max_size=70))
def test_a_name_that_passes_is_safe_in_a_url_a_log_and_a_file(text: str):
    try:
        check_name("line", text)
    except Refused:
        return
    assert text.isascii()
    assert not set(text) & set("/\\ \n\r\t%?#&:\"'<>")


@given(st.text(max_size=30))
def test_a_text_that_passes_is_one_line(text: str):
    try:
        check_text("display_name", text, 20)
    except Refused:
        return
    assert len(text) <= 20
    assert len(text.splitlines()) <= 1
    text.encode()
