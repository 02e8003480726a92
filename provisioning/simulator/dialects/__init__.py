"""How phones of each family behave, by vendor and family.

Only families that are described here can be simulated; a server's vendors are data, a phone's
behaviour is not.
"""

import importlib
from pathlib import Path

from provisioning.simulator.dialects.base import Dialect

VENDORS = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "base"))
)
"By the folder's name below templates/phones; one module each."


def of(vendor: str, family: str = "") -> Dialect:
    """KeyError: nobody has described how such a phone behaves. No family: the vendor's first."""
    if vendor not in VENDORS:
        raise KeyError(vendor)
    module = importlib.import_module(f"provisioning.simulator.dialects.{vendor}")
    dialects: dict[str, Dialect] = module.DIALECTS
    return dialects[family or next(iter(dialects))]


def model_name(vendor: str, model: str) -> str:
    """`yealink-t46s`, or `T46S`, as the phone spells itself."""
    name = model.removeprefix(f"{vendor}-")
    return name if name != name.lower() else name.upper()
