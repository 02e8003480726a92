"""Every parameter that a document sets is one that phones of the vendor know.

`tests/data/params-<vendor>.txt` lists what other provisioning servers write for the vendor's phones; a
name that is not there has its guide cited in vendor.toml.
"""

from pathlib import Path

import pytest
from sample_phones import CATALOGUE, CONTACTS, FAMILIES, RENDERER, dialect, filled, representative, stage0, values

from provisioning.domain.keys import NEEDS, Key

DATA = Path(__file__).parents[1] / "data"
VALUE = {"nothing": "", "slot": "1", "number": "+33972101234", "maybe-number": "", "url": "http://crm.example.net/"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_known(family):
    model = representative(family)
    vendor = CATALOGUE.vendor(model.vendor)
    file = DATA / f"params-{model.vendor}.txt"
    known = {*(file.read_text("utf-8").splitlines() if file.exists() else ()), *vendor.cited}
    keys = [
        Key(0, number, type_, VALUE[NEEDS[type_]], "K")
        for number, type_ in zip(range(1, model.keys + 1), model.family.keys, strict=False)
    ]
    used = set()
    for document in model.documents.values():
        if document.holds == "contacts":
            continue
        for given in (
            stage0(model),
            values(model, {}, firmware=True),
            values(
                model,
                filled(model, model.slots),
                keys=keys,
                contacts=CONTACTS,
                syslog_server="192.0.2.5",
                srtp="optional",
                voice_vlan=20,
                voicemail_number="888",
                encrypt_configuration=True,
                time_zone="UTC",
            ),
        ):
            its = dialect(model)
            used |= {its.oracle_name(key) for key in its.settings(RENDERER.render(document, model, given))}
    assert used
    assert used - known == set()
