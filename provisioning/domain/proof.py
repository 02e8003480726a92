"""Whether a request may have a phone's lines. The one place where that is decided.

Nothing here depends on whether a MAC exists: the secret and the door are looked up by what the
request shows, never the phone by its MAC, so that a stranger's request takes the same way for a
phone that exists and one that does not.
"""

from dataclasses import dataclass
from typing import Literal

from provisioning.domain.mac import Mac


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows beside the MAC it asks for."""

    secret_of: Mac | None = None
    "The phone whose own secret is in the URL."
    door_of: Mac | None = None
    "The phone for which a door is open from this address."


Proof = Literal["secret", "door"]


def prove(asked: Mac, shown: Shown) -> Proof | None:
    """Which proof lets the lines of `asked` leave; None: stage 0."""
    if shown.secret_of == asked:
        return "secret"
    if shown.door_of == asked:
        return "door"
    return None
