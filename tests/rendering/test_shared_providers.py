"""DECT systems whose lines share a few providers: each line has its own way to its registrar, or none."""

import pytest
from sample_phones import CATALOGUE, RENDERER, dialect, line, own, values

from provisioning.simulator.dialects.base import read

MOST = [("gigaset-n870", 20), ("gigaset-n720", 10), ("snom-m900", 10)]


def found(model_id, lines):
    model = CATALOGUE.models[model_id]
    return read(dialect(model), RENDERER.render(own(model), model, values(model, lines)))


@pytest.mark.parametrize(("model_id", "most"), MOST, ids=[model for model, _ in MOST])
def test_lines_of_one_registrar_share_a_provider(model_id, most):
    lines = {number: line(1, name=f"l{number}", username=f"u{number}") for number in range(1, 41)}
    assert [one.username for one in found(model_id, lines).lines] == [f"u{number}" for number in range(1, 41)]


@pytest.mark.parametrize(("model_id", "most"), MOST, ids=[model for model, _ in MOST])
def test_a_line_without_a_provider_of_its_own_stays_inactive(model_id, most):
    lines = {number: line(1, domain=f"sip{number}.example.net") for number in range(1, most + 3)}
    lines[most + 5] = line(1, domain="sip2.example.net")
    assert [(one.slot, one.domain) for one in found(model_id, lines).lines] == [
        *((number, f"sip{number}.example.net") for number in range(1, most + 1)),
        (most + 5, "sip2.example.net"),
    ]
