"""What phones get, as files to read: UPDATE_GOLDEN=1 writes them anew, `git diff` shows the change."""

import os
from pathlib import Path

import pytest
from sample_phones import CATALOGUE, RENDERER, filled, own, stage0, values

GOLDEN = Path(__file__).parents[1] / "golden"
PHONES = (
    ("yealink-t46s", (0, 1, 16)),
    ("yealink-t53w", (0, 2, 12)),
    ("yealink-t21p_e2", (1, 2)),
    ("yealink-cp920", (0, 1)),
    ("yealink-w70b", (1,)),
    ("snom-d785", (0, 1, 12)),
    ("snom-d713", (6,)),
    ("snom-d120", (0, 1, 2)),
    ("snom-370", (1,)),
    ("linphone-desktop", (0, 1, 5)),
)


def check(model, name, body):
    path = GOLDEN / model.vendor / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    assert path.is_file(), f"{path} is missing: UPDATE_GOLDEN=1 writes it"
    assert body.decode() == path.read_bytes().decode(), f"{path} differs: is the change meant? UPDATE_GOLDEN=1"


@pytest.mark.parametrize(("model_id", "count"), [(phone, n) for phone, counts in PHONES for n in counts])
def test_a_phone_with_so_many_lines(model_id, count):
    model = CATALOGUE.models[model_id]
    document = own(model)
    body = RENDERER.render(document, model, values(model, filled(model, count), firmware=count == 1))
    check(model, f"{model.name}-{count}-lines.{document.name.rpartition('.')[2]}", body)


@pytest.mark.parametrize("model_id", ["yealink-t46s", "snom-d785", "linphone-desktop"])
def test_a_phone_that_showed_no_proof(model_id):
    model = CATALOGUE.models[model_id]
    document = own(model)
    check(
        model,
        f"{model.name}-stage-0.{document.name.rpartition('.')[2]}",
        RENDERER.render(document, model, stage0(model)),
    )


@pytest.mark.parametrize("name", ["y000000000066.cfg", "snomd785.htm"])
def test_a_common_file(name):
    model, document = CATALOGUE.common[name]
    check(model, document.name, RENDERER.render(document, model, stage0(model)))
