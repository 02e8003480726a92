"""Which phones that are nobody's leave a trace, and how often: real ones do, a sweep over MACs hardly.

What a request says of itself is not believed, only noted, for an admin who waits for a phone to appear.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable

from provisioning.domain.identification import Identifier
from provisioning.domain.mac import Mac
from provisioning.store.unknown import Unknown
from provisioning.store.visits import Refusal

APART = 60.0
"Seconds between two traces of one phone."
NEW_A_MINUTE = 60
"Phones that appear: an operator plugs in no more, and whoever makes up MACs fills nothing faster."
_REMEMBERED = 2000


class Strangers:
    def __init__(self, identifier: Identifier) -> None:
        self.identifier = identifier
        "Replaced when the catalogue is reloaded."
        self._written: OrderedDict[Mac, float] = OrderedDict()
        self._minute, self._new = 0, 0

    def traces(self, refusals: Iterable[Refusal]) -> list[Unknown]:
        return [trace for refusal in refusals if (trace := self._trace(refusal)) is not None]

    def _trace(self, refusal: Refusal) -> Unknown | None:
        said = self.identifier.identify(agent=refusal.user_agent, path=refusal.document)
        # A phone names its make, and has a MAC of it: what does neither is not worth a look.
        if said.vendor is None or not refusal.user_agent:
            return None
        last = self._written.pop(refusal.mac, None)
        if last is None and not self._may_appear():
            return None
        due = last is None or not 0 <= refusal.at - last < APART
        self._written[refusal.mac] = refusal.at if due or last is None else last
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
        if not due:
            return None
        return Unknown(
            mac=refusal.mac,
            vendor=said.vendor,
            model=said.model,
            firmware=said.firmware,
            user_agent=refusal.user_agent,
            document=refusal.document,
            public_ip=refusal.public_ip,
            first_seen_at=refusal.at,
            seen_at=refusal.at,
        )

    def _may_appear(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._new = minute, 0
        self._new += 1
        return self._new <= NEW_A_MINUTE
