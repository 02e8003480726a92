import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, filled, own, values

from provisioning.domain.keys import Key


def test_a_key_that_watches_somebody_takes_a_button_that_no_line_has():
    model = CATALOGUE.models["lg-ip8820"]
    keys = [Key(0, 1, "blf", "11"), Key(0, 2, "blf", "22"), Key(0, 12, "blf", "33")]
    found = dialect(model).settings(RENDERER.render(own(model), model, values(model, filled(model, 1), keys=keys)))
    assert [(found[f"line{n}_type"], found[f"line{n}_extension"]) for n in (1, 2, 12)] == [
        ("private", ""),
        ("dss", "22"),
        ("dss", "33"),
    ]


@pytest.mark.parametrize("model", ["lg-ip8815", "lg-ip8820", "lg-ip8830", "lg-ip8840"])
def test_the_operators_models_are_there(model):
    assert CATALOGUE.model(model).event == "check-sync"
