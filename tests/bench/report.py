"""The table and the JSON report."""

import json
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    target: str
    what: str
    wanted: str
    measured: str
    good: bool | None
    "None: for information."
    note: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        return "" if self.good is None else "pass" if self.good else "FAIL"


def table(rows: list[Row]) -> str:
    cells = [("", "what", "target", "measured: median (best)", "", "")]
    cells += [(row.target, row.what, row.wanted, row.measured, row.result, row.note) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(5)]
    lines = ["  ".join([*(text.ljust(width) for text, width in zip(cell, widths, strict=False)), cell[5]]).rstrip()
             for cell in cells]  # fmt: skip
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def write(rows: list[Row], path: Path, **more: Any) -> None:
    report = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.release(),
        **more,
        "rows": [asdict(row) | {"result": row.result} for row in rows],
    }
    path.write_text(json.dumps(report, indent=2) + "\n")
