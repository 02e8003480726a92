"""What a refusal of a known phone leaves behind: its story, a counted code, and the door that opens by
itself for a phone that was reset where it lives (domain/life.py).

All of it behind the answer, so that no stranger can tell by it which MACs exist.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain.life import Asking, Known, lost_its_secret, why_no_door
from provisioning.domain.mac import Mac
from provisioning.store import alarms, binding, phones, visits
from provisioning.store.phones import StoredPhone
from provisioning.store.secrets import KeyRing
from provisioning.store.visits import Refusal

_DAY = 86400.0
_WITHOUT_A_SECRET = ("no-proof", "burnt")
"A phone that was reset shows nothing, or what it was shipped with."


@dataclass(frozen=True, slots=True)
class Reopening:
    config: Config
    keys: KeyRing

    def record(self, connection: Connection, refusals: Sequence[tuple[int, Refusal]]) -> int:
        """(phone, its refusal). How many doors opened; each is an alarm."""
        opened = 0
        for phone_id, refusal in refusals:
            if refusal.codes:
                binding.wrong_codes(connection, phone_id, refusal.codes, refusal.at)
            told = visits.note_refusal(connection, phone_id, refusal)
            if told and refusal.reason in _WITHOUT_A_SECRET and refusal.public_ip is not None:
                phone = phones.get(connection, phone_id)
                if phone is not None and phone.phone.seen_at is not None and phone.life.returned_at is None:
                    opened += self._without_its_secret(connection, phone, refusal.public_ip, refusal.at)
        return opened

    def _without_its_secret(self, connection: Connection, phone: StoredPhone, public_ip: str, at: float) -> bool:
        its, asking = phone.phone, Asking(addresses.place_of(public_ip), at)
        known = Known(
            place=None if its.public_ip is None else addresses.place(its.public_ip),
            seen_at=its.seen_at,
            shared=not self._tells_a_network(public_ip)
            or phones.is_shared(connection, addresses.place_of(public_ip), phone.account_id, at),
            reopened_there=visits.reopened_at_place(connection, addresses.place_of(public_ip), at - _DAY),
            reopened_at=phone.reopened_at,
            doors=self.config.proofs.reopen
            and "door" in self.config.proofs.accepted(its.model, phone.account_proofs),
        )
        if phone.door is not None or not lost_its_secret(asking, known):
            return False
        if phone.life.bound_at is not None:
            binding.secret_lost(connection, phone.id, at)
        why = why_no_door(asking, known)
        phones.tell(connection, phone.id, at, "needs-door", public_ip=public_ip, why_none_opens=why)
        if why is None:
            self._open(connection, phone, its.mac, public_ip)
        return why is None

    def _open(self, connection: Connection, phone: StoredPhone, mac: Mac, public_ip: str) -> None:
        binding.reopened(
            connection,
            self.keys,
            phone,
            addresses.place_of(public_ip),
            time.time(),
            self.config.phones.door,
            new_passwords=bool(self.config.registrar.password_hook),
        )
        alarms.raise_alarm(connection, time.time(), "door-reopened", mac, public_ip=public_ip)

    def _tells_a_network(self, public_ip: str) -> bool:
        """Loopback is a proxy that nobody declared, or a trial; a private one is so unless phones live there."""
        address = addresses.parse(public_ip)
        return not address.is_loopback and (address.is_global or self.config.network.private_addresses)
