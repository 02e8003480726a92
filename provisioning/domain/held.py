"""What is stored of a phone that its documents show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provisioning.domain.contact import Contact
from provisioning.domain.keys import Key
from provisioning.domain.line import Line
from provisioning.domain.settings import DEFAULTS, Value


@dataclass(frozen=True, slots=True)
class Held:
    lines: Sequence[tuple[int, Line]] = ()
    chosen: Mapping[str, Value] = field(default_factory=lambda: DEFAULTS)
    "The phone's settings, resolved."
    chosen_of_lines: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    "By line: those of a line that differ from the phone's."
    keys: Sequence[Key] = ()
    parameters: Sequence[tuple[str, str]] = ()
    contacts: Sequence[Contact] = ()
    revision: int = 0
