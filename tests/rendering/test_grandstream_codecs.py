"""All of a Grandstream phone's places for a codec are written, and no number that it has not."""

import pytest
from sample_phones import CATALOGUE, RENDERER, own, values

from provisioning.simulator.dialects import grandstream

_PLACES = ("P57", "P58", "P59", "P60", "P61", "P62", "P46", "P98")


@pytest.mark.parametrize(
    ("model_id", "told"),
    [
        ("grandstream-gxp2170", ["123", "9", *["8"] * 6]),
        ("grandstream-gxp1780", ["125", "9", *["8"] * 6]),
        ("grandstream-gxp1630", ["9", *["8"] * 6]),
        ("grandstream-gxp1405", ["123", "9", *["8"] * 5]),
    ],
)
def test_places_and_numbers_of_codecs(model_id, told):
    model = CATALOGUE.models[model_id]
    body = RENDERER.render(own(model), model, values(model, {}, codecs=("opus", "g722", "pcma")))
    read = grandstream.p_values(body)
    assert [read[place] for place in _PLACES if place in read] == told
