"""One connection of a phone, as the listener that took it knows it."""

from dataclasses import dataclass
from typing import Literal

from provisioning.domain.address import Address

Kind = Literal["http", "https", "mtls", "legacy"]


@dataclass(frozen=True, slots=True)
class Connection:
    kind: Kind
    "The listener by which it came."
    proxied: bool = False
    "It began with a PROXY header: whatever stands in its requests was written by the phone."
    proxied_for: Address | None = None
    "The address that the header gave; it may say nobody."
