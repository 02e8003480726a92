"""Each of P1 to P32 is held by a test or a proof that is there."""

import ast
from pathlib import Path

import pytest
from negative import NEGATIVE_TESTS

TESTS = Path(__file__).resolve().parents[1]


def test_none_is_left_out() -> None:
    assert list(NEGATIVE_TESTS) == [f"P{number}" for number in range(1, 33)]
    assert all(NEGATIVE_TESTS.values())


@pytest.mark.parametrize("name", sorted({name for names in NEGATIVE_TESTS.values() for name in names}))
def test_every_named_test_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    assert function in {its.name for its in ast.walk(tree) if isinstance(its, ast.FunctionDef | ast.AsyncFunctionDef)}
