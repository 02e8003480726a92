"""What Mitel's phones have once for all their lines."""

import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, line, mac_of, own, site, values

from provisioning.domain.held import Held
from provisioning.domain.settings import DEFAULTS
from provisioning.rendering import compose

OF_FAMILIES = ["mitel-6867i", "mitel-6735i", "mitel-480i"]


def settings(name, **chosen):
    model = CATALOGUE.models[name]
    lines = chosen.pop("lines", {1: line(1)})
    return dialect(model).settings(RENDERER.render(own(model), model, values(model, lines, **chosen)))


@pytest.mark.parametrize("name", OF_FAMILIES[:2])
def test_tls_is_one_connection_that_is_kept_alive(name):
    found = settings(name, lines={1: line(1, transport="tls")}, keep_alive=45)
    assert (found["sips persistent tls"], found["sip persistent tls keep alive"]) == ("1", "45")
    assert "sip persistent tls keep alive" not in settings(name, lines={1: line(1, transport="tls")}, keep_alive=0)
    found = settings(name)
    assert found["sips persistent tls"] == "0"
    assert "sip persistent tls keep alive" not in found


def test_the_first_phones_are_told_nothing_of_a_kept_connection():
    assert "sips persistent tls" not in settings("mitel-480i", lines={1: line(1, transport="tls")})


@pytest.mark.parametrize("name", OF_FAMILIES)
@pytest.mark.parametrize(
    ("main", "second", "expected"),
    [("rfc4733", "info", ("1", "0", "0", "0")), ("info", "rfc4733", ("0", "1", "1", "1")), ("inband", "info", "0000")],
)
def test_no_line_sends_a_digit_twice_or_in_the_speech_where_the_main_line_does_not(name, main, second, expected):
    model = CATALOGUE.models[name]
    chosen = {"line1": {"dtmf": main}, "line2": {"dtmf": second}}
    held = Held([(1, line(1)), (2, line(2))], DEFAULTS, chosen)
    given = compose.stage1(site(model), model, mac_of(model), "secret", held)
    found = dialect(model).settings(RENDERER.render(own(model), model, given))
    shown = ("sip out-of-band dtmf", "sip dtmf method", "sip line1 dtmf method", "sip line2 dtmf method")
    assert [found[setting] for setting in shown] == list(expected)
