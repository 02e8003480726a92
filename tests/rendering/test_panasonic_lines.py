"""Whom a KX-HDV and a KX-UT register, and what is peculiar to a KX-UT670."""

import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, line, own, values


@pytest.mark.parametrize("name", ["panasonic-kx-hdv230", "panasonic-kx-ut136"])
@pytest.mark.parametrize(("username", "uri"), [("0033972101201", ""), ("alice.smith", "alice.smith")])
def test_a_user_who_is_no_number_is_a_uri_too(name, username, uri):
    model = CATALOGUE.models[name]
    body = RENDERER.render(own(model), model, values(model, {1: line(1, username=username)}))
    found = dialect(model).settings(body)
    assert (found["PHONE_NUMBER_1"], found["SIP_AUTHID_1"], found["SIP_URI_1"]) == (username, username, uri)
    assert found["SIP_URI_2"] == ""


def test_a_ut670_is_not_told_what_it_calls_otherwise():
    found = {}
    for name in ("panasonic-kx-ut670", "panasonic-kx-ut248"):
        model = CATALOGUE.models[name]
        found[name] = dialect(model).settings(RENDERER.render(own(model), model, values(model, {1: line(1)})))
    others = set(found["panasonic-kx-ut248"]) - set(found["panasonic-kx-ut670"])
    assert {name for name in others if not name.startswith("DST_")} == {"TIME_ZONE", "DEFAULT_LANGUAGE"}
