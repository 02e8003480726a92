"""One connection of a phone, as the listener that took it knows it."""

from dataclasses import dataclass
from typing import Literal

from provisioning.domain.address import Address

Kind = Literal["http", "https", "mtls", "legacy"]


# Each connection is itself and none other, so that what was learnt of it can be kept beside it.
@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Connection:
    kind: Kind
    "The listener by which it came."
    proxied: Address | None = None
    "The address that a PROXY header gave for it."
