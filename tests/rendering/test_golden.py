"""What phones get, as files to read: UPDATE_GOLDEN=1 writes them anew, `git diff` shows the change.

Of each family one model, with one line and with all; the further ones show what is special about them.
"""

import os
from pathlib import Path

import pytest
from sample_phones import CATALOGUE, CONTACTS, FAMILIES, RENDERER, filled, own, representative, stage0, values

from provisioning.domain.keys import NEEDS, Key

GOLDEN = Path(__file__).parents[1] / "golden"
FURTHER = (
    ("yealink-t46s", (0, 1, 16)),
    ("yealink-t53w", (2,)),
    ("yealink-cp920", (0, 1)),
    ("yealink-w70b", (1,)),
    ("snom-d785", (0, 1, 12)),
    ("linphone-desktop", (0,)),
)
VALUE = {"nothing": "", "slot": "1", "number": "+33972101234", "maybe-number": "", "url": "http://crm.example.net/?a=1&b=2"}


def check(model, name, body):
    path = GOLDEN / model.vendor / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    assert path.is_file(), f"{path} is missing: UPDATE_GOLDEN=1 writes it"
    assert body == path.read_bytes(), f"{path} differs: is the change meant? UPDATE_GOLDEN=1"


def render(model, count, **more):
    document = own(model)
    return RENDERER.render(document, model, values(model, filled(model, count), firmware=count == 1, **more))


def ending(model):
    _, dot, ending = own(model).name.rpartition(".")
    return ending if dot else "txt"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phone_of_each_family_with_one_line_and_with_all(family):
    model = representative(family)
    for count in {1, model.slots}:
        check(model, f"{model.name}-{count}-lines.{ending(model)}", render(model, count))


@pytest.mark.parametrize(("model_id", "count"), [(phone, n) for phone, counts in FURTHER for n in counts])
def test_a_phone_with_so_many_lines(model_id, count):
    model = CATALOGUE.models[model_id]
    check(model, f"{model.name}-{count}-lines.{ending(model)}", render(model, count))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phone_with_everything_chosen(family):
    """One key of each type, expert settings away from their defaults, a parameter by name, encryption."""
    model = representative(family)
    types = list(model.family.keys)
    keys = [
        Key(0, number, type_, VALUE[NEEDS[type_]], f"Key {number}")
        for number, type_ in zip(range(1, model.keys + 1), types, strict=False)
    ]
    if model.expansion_modules and model.module_keys:
        type_ = types[min(1, len(types) - 1)]
        keys.append(Key(1, 1, type_, VALUE[NEEDS[type_]], "On a module"))
    body = render(
        model,
        1,
        keys=keys,
        language="de",
        time_zone="America/New_York",
        time_format="12h",
        tone_country="US",
        call_waiting=False,
        codecs=("opus", "pcma"),
        dtmf="info",
        srtp="optional",
        register_expires=600,
        keep_alive=15,
        syslog_server="192.0.2.5",
        voice_vlan=20,
        voicemail_number="888",
        web_access=False,
        encrypt_configuration=True,
    )
    check(model, f"{model.name}-everything.{ending(model)}", body)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phone_that_showed_no_proof(family):
    model = representative(family)
    check(model, f"{model.name}-stage-0.{ending(model)}", RENDERER.render(own(model), model, stage0(model)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phonebook(family):
    model = representative(family)
    if (document := model.contacts) is not None:
        body = RENDERER.render(document, model, values(model, {}, contacts=CONTACTS))
        check(model, f"{model.family.name}-phonebook.{document.name.rpartition('.')[2]}", body)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_holds_nothing_of_the_phone(family):
    model = representative(family)
    for document in model.documents.values():
        if not document.stage:
            name = document.name.replace("{mac}", "MAC").replace("{MAC}", "MAC").replace("/", "-")
            check(model, f"{model.family.name}-{name}", RENDERER.render(document, model, stage0(model)))
