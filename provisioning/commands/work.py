"""Commands work on the database as the server does: the same functions, as an operator."""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy import Connection

from provisioning import installation, vendors
from provisioning.commands.output import load_beside
from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain import mac as macs
from provisioning.domain.errors import Fault, Refused
from provisioning.domain.mac import Mac
from provisioning.domain.phone import Asking
from provisioning.management.changes import Terms, terms_now
from provisioning.management.snapshots import Subject, audited
from provisioning.rendering import compose
from provisioning.rendering.compose import Site
from provisioning.store import audit
from provisioning.store.database import Database, check_schema
from provisioning.store.secrets import KeyRing
from provisioning.vendors import Vendors

T = TypeVar("T")


class Work:
    """An installation, opened for one command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.config: Config = load_beside(arguments)
        check_schema(self.config.database_path)
        self.keys = KeyRing(self.config.key_file)
        self.vendors: Vendors = vendors.load(
            self.config.paths.templates, self.config.paths.firmware, self.config.models.by_model
        )

    @property
    def terms(self) -> Terms:
        return terms_now(self.config, self.vendors, self.keys)

    async def read(self, work: Callable[[Connection], T]) -> T:
        database = Database(self.config.database_path)
        try:
            return await database.read(work)
        finally:
            await database.close()

    async def change(
        self, verb: str, subject: Subject, work: Callable[[Connection], T], masked: Iterable[str] = ()
    ) -> T:
        """The only way to write: with its row in the audit log, as `context.once` does for the API."""
        author, now = audit.command_line(), time.time()
        database = Database(self.config.database_path)
        try:
            return await database.write(lambda c: audited(c, author, now, verb, subject, lambda: work(c), masked))
        finally:
            await database.close()

    def asking(self, public_ip: str | None, mac: str | None) -> Asking:
        network = self.config.network
        return Asking(
            public_ip=None
            if public_ip is None
            else addresses.parse_public_ip(public_ip, private_addresses=network.private_addresses),
            mac=None if mac is None else mac_given(mac),
            operator=True,
            now=time.time(),
            freshness=network.freshness,
        )

    def site(self) -> Site:
        """As the server has it. Where its own port is chosen at the start, only the server knows the URL."""
        https, http = self.config.listen.phones_https, self.config.listen.phones_http
        endpoint = https or http
        if not self.config.phones.url and (endpoint is None or endpoint.port == 0):
            raise Fault("[phones] url: is not set, and the listener's port is not fixed; set one of them")
        return installation.site(self.config, self.vendors, https, http)

    def provisioning_url(self, model: str, mac: Mac, secret: str) -> str:
        return compose.provisioning_url(self.site(), self.vendors.catalogue.model(model), mac, secret)


def mac_given(text: str) -> Mac:
    try:
        return macs.parse(text)
    except ValueError as error:
        raise Refused("mac-malformed", f"{text!r}: {error}.") from None
