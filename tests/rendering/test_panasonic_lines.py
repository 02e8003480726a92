"""Whom a KX-HDV and a KX-UT register."""

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
