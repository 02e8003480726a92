"""Which files a Poly phone's master file names."""

import pytest
from sample_phones import CATALOGUE, RENDERER, line, mac_of, site, values

from provisioning.rendering import compose
from provisioning.simulator.dialects import polycom


def files(model, its):
    return polycom.settings(RENDERER.render(model.documents["{mac}.cfg"], model, its))["CONFIG_FILES"]


@pytest.mark.parametrize("model_id", ["polycom-vvx450", "polycom-ip5000", "polycom-ip301"])
def test_a_known_phone_has_its_own_mac_in_the_names_and_another_puts_it_there(model_id):
    model = CATALOGUE.models[model_id]
    mac = mac_of(model)
    assert files(model, values(model, {1: line()})) == f"{mac}-settings.cfg"
    named = files(model, values(model, {1: line()}, parameters=[("up.warningLevel", "2")]))
    assert named == f"{mac}-parameters.cfg, {mac}-settings.cfg"
    assert files(model, compose.stage0(site(model), model)) == "[PHONE_MAC_ADDRESS]-settings.cfg"
