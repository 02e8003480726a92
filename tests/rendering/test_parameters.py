"""Every parameter that a document sets is one that phones of the vendor know."""

import re
from pathlib import Path

import pytest
from sample_phones import CATALOGUE, RENDERER, filled, stage0, values

from provisioning.simulator.files import read_settings

DATA = Path(__file__).parents[1] / "data"

# In no template of another provisioning server; the source is named instead.
CITED = {
    "linphone": {
        "[misc] config-uri": "liblinphone coreapi/misc.c; measured with linphonec 5.1.65",
        "[auth_info_#] passwd": "liblinphone coreapi/authentication.c; measured with linphonec 5.1.65",
    }
}
# Attributes of a function key (service.snom.com, "functionKeys tag").
SNOM_ATTRIBUTES = {"fkey.context", "fkey.label"}


def oracle_name(vendor, key):
    if vendor == "snom":
        return re.sub(r"\[\d+\]", "", key)
    if vendor == "linphone":
        section, _, entry = key.partition("/")
        return re.sub(r"\d+", "#", f"[{section}] {entry}")
    return re.sub(r"\d+", "#", key)


@pytest.mark.parametrize("vendor", [vendor.folder for vendor in CATALOGUE.vendors])
def test_every_parameter_is_known(vendor):
    known = set((DATA / f"params-{vendor}.txt").read_text("utf-8").splitlines()) | set(CITED.get(vendor, ()))
    if vendor == "snom":
        known |= SNOM_ATTRIBUTES
    used = set()
    for model in CATALOGUE.models.values():
        if model.vendor != vendor:
            continue
        for document in model.documents.values():
            for given in (
                stage0(model),
                values(model, {}, firmware=True),
                values(model, filled(model, model.slots), firmware=True),
            ):
                body = RENDERER.render(document, model, given)
                used |= {oracle_name(vendor, key) for key in read_settings(vendor, body)}
    assert used
    assert used - known == set()
