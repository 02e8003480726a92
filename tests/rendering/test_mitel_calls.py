"""What Mitel's phones have once for all their lines."""

import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, line, own, values

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
