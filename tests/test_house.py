"""The house as docs/ARCHITECTURE.md draws it: which part may import which, and what stays pure."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "provisioning"
PURE = ("domain", "rendering")
# Standard modules that compute; everything else of the standard library may do I/O.
COMPUTING = {
    "array", "ast", "base64", "collections", "csv", "dataclasses", "datetime", "enum", "functools", "gzip", "hashlib", "hmac", "ipaddress",
    "itertools", "json", "keyword", "math", "re", "string", "tomllib", "types", "typing", "unicodedata",
}  # fmt: skip
MAY_IMPORT = {
    "domain": {"domain"},
    "rendering": {"rendering", "domain"},
    "sip": {"sip"},
    "store": {"store", "domain"},
    "phones": {"phones", "sip", "store", "rendering", "domain", "metrics", "vendors", "config"},
    "management": {"management", "store", "rendering", "domain", "metrics", "vendors", "config"},
    "resync": {"resync", "sip", "store", "domain", "metrics"},
    "simulator": {"simulator", "sip", "domain"},
    "doctor": {"doctor", "domain", "config", "vendors", "installation"},
}


def imports(path: Path) -> set[str]:
    """Full names of what a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "provisioning" else {module}
    return names


def modules(part: str) -> list[Path]:
    return [path for path in (PACKAGE / part).rglob("*.py") if "migrations" not in path.parts]


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_arrows_run_one_way(part: str) -> None:
    for path in modules(part):
        for name in imports(path):
            if name.startswith("provisioning."):
                assert name.split(".")[1] in MAY_IMPORT[part], f"{path.name} imports {name}"


@pytest.mark.parametrize("part", PURE)
def test_the_core_does_no_io(part: str) -> None:
    for path in modules(part):
        for name in imports(path):
            top = name.split(".")[0]
            allowed = top in ("provisioning", "jinja2", "markupsafe", "cryptography") or top in COMPUTING
            assert allowed, f"{path.name} imports {name}"
        tree = ast.parse(path.read_text())
        assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree)), path.name
        assert not any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open" for node in ast.walk(tree))


def test_every_part_is_named_here() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert parts == set(MAY_IMPORT) | {"commands"}


def test_the_list_of_computing_modules_is_of_the_standard_library() -> None:
    assert set(sys.stdlib_module_names) >= COMPUTING
