"""Where the operator's registrar sees a line."""

from collections.abc import Iterable
from dataclasses import dataclass

from provisioning.domain.address import Address


@dataclass(frozen=True, slots=True)
class Sighting:
    address: Address
    "The public IP from which the line is registered."
    user_agent: str
    seen_at: float


def of_phone(sightings: Iterable[Sighting], vendor_name: str) -> Sighting | None:
    """The newest that can be the phone's: a line may also be registered from something else.

    A User-Agent that does not name the vendor is another device; an empty one says nothing.
    """
    fitting = [s for s in sightings if not s.user_agent or vendor_name.lower() in s.user_agent.lower()]
    return max(fitting, key=lambda sighting: sighting.seen_at, default=None)
