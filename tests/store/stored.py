"""An installation's database and key, with a few things in it, without a server around them."""

import tempfile
import time
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from provisioning import vendors
from provisioning.config import Config, Proofs
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.domain.phone import Asking
from provisioning.management import changes
from provisioning.management.changes import Terms
from provisioning.store import phones
from provisioning.store.database import Database, create_or_upgrade
from provisioning.store.operations import Operation
from provisioning.store.phones import StoredPhone
from provisioning.store.secrets import KeyRing, new_key_file
from provisioning.vendors import Vendors

T = TypeVar("T")
HERE = "198.51.100.7"


@cache
def shipped() -> Vendors:
    paths = Config().paths
    return vendors.load(paths.templates, paths.firmware)


@cache
def migrated() -> bytes:
    """A new database: migrated once, for that takes longer than most tests."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.db"
        create_or_upgrade(path)
        return path.read_bytes()


class Stored:
    def __init__(self, directory: Path, *, new: bool = True) -> None:
        self.path, self.key_file = directory / "provisioning.db", directory / "secret-key"
        if new:
            self.path.write_bytes(migrated())
            new_key_file(self.key_file)
        self.keys = KeyRing(self.key_file)
        self.database = Database(self.path)

    def terms(self, now: float | None = None) -> Terms:
        return Terms(
            vendors=shipped(),
            keys=self.keys,
            now=time.time() if now is None else now,
            only=None,
            deadline=300.0,
            door=1800.0,
            bootstrap=86400.0,
            code=1800.0,
            private_addresses=False,
            proofs=Proofs(),
            can_tell=True,
            new_passwords=False,
            below={},
        )

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self.database.write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.database.read(work)

    async def account(self, account: str = "acme") -> str:
        await self.write(lambda c: changes.new_account(c, self.terms(), account, ""))
        return account

    async def line(self, name: str, account: str = "acme", password: str = "") -> None:
        its = Line(name, account, "+33972100000", name, password or f"pw-{name}", "sip.example.net", f"Poste {name}")
        await self.write(lambda c: changes.new_line(c, self.terms(), its))

    async def phone(self, mac: str, model: str = "yealink-t54w", main_line: str | None = None) -> tuple[int, str]:
        """(id, secret)."""
        stored, secret = await self.write(
            lambda c: changes.new_phone(
                c, self.terms(), mac=Mac(mac), model=model, account="acme", serial=None, main_line=main_line
            )
        )
        return stored.id, secret

    async def attach(self, line: str, mac: str, now: float | None = None, public_ip: str | None = None) -> Operation:
        terms = self.terms(now)
        return await self.write(lambda c: changes.attach(c, terms, line, asking(mac, terms.now, public_ip), None))

    async def find(self, mac: str) -> StoredPhone:
        found = await self.read(lambda c: phones.find(c, Mac(mac)))
        assert found is not None
        return found

    async def story(self, phone_id: int) -> list[tuple[str, dict]]:
        """(kind, detail), the oldest first."""
        told = await self.read(lambda c: phones.story(c, phone_id, before=None, limit=1000))
        return [(kind, detail) for _, _, kind, detail in reversed(told)]

    async def close(self) -> None:
        await self.database.close()


def asking(mac: str, now: float, public_ip: str | None = None) -> Asking:
    """An operator who prepares a phone that nobody has seen."""
    return Asking(None if public_ip is None else ip_address(public_ip), Mac(mac), True, now, 3600.0)
