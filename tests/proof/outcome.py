"""What one proof tried, and what got through."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Effort:
    """How hard to try, and where."""

    full: bool
    "The whole target of docs/security.md; otherwise a share that suits every change."
    seed: int
    "Of everything that is drawn at random: a failure is repeated by it."
    directory: Path
    "Of this proof's own, empty."
    say: Callable[[str], None]
    "Shows progress; one short line, which the next one replaces."

    def of(self, short: int, full: int) -> int:
        return full if self.full else short

    def random(self) -> random.Random:
        return random.Random(self.seed)


@dataclass
class Outcome:
    tried: int = 0
    what: str = ""
    "What was tried, in a few words: the unit of `tried` first."
    through: list[str] = field(default_factory=list)
    "What got through: a sentence for each leak, loss or refusal of a good phone. Empty is green."
    figures: dict[str, str] = field(default_factory=dict)
    "Measured on the way, such as {'p99': '12 ms'}."
    skipped: str = ""
    "Why it could not be run here; then it is neither green nor red."

    def fail(self, sentence: str) -> None:
        self.through.append(sentence)


