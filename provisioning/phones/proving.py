"""What a phone's request shows of itself, looked up; the decision is domain/proof.py's.

Everything is looked up by what is shown. The phone itself is read by its MAC only once a certificate
or a burnt token has said that it is this one, and, for Digest, beside as much work for any other MAC.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from aiohttp import hdrs, web
from sqlalchemy import Connection as Writing

from provisioning.config import Config
from provisioning.domain import address as addresses
from provisioning.domain.address import Address
from provisioning.domain.certificate import Identity
from provisioning.domain.guard import Guard
from provisioning.domain.mac import Mac
from provisioning.domain.proof import ONE_TIME, Channel, Decision, Proof, Shown, Terms, decide
from provisioning.phones.certificates import Certificates
from provisioning.phones.connection import Connection
from provisioning.phones.login import Checked, Login
from provisioning.phones.request import Asked
from provisioning.store import binding
from provisioning.store.binding import Showing, Spent, code_hash
from provisioning.store.database import Database
from provisioning.store.fetch import Found, PhoneReader
from provisioning.store.secrets import KeyRing, fingerprint


class Proved(NamedTuple):
    found: Found | None
    "The phone that is asked for, where anything that was shown named it; its lines only with a proof."
    proof: Proof | None
    reason: str
    "Why there is no proof."
    wrong_codes: int = 0


class Proving:
    def __init__(
        self,
        config: Config,
        database: Database,
        reader: PhoneReader,
        keys: KeyRing,
        login: Login,
        certificates: Certificates,
        guard: Guard,
    ) -> None:
        self._config = config
        self._database = database
        self._reader = reader
        self._keys = keys
        self._login = login
        self._guard = guard
        self._known_terms: dict[tuple[str, str | None, Channel, bool], Terms] = {}
        self.certificates = certificates
        "Replaced when they are reloaded."

    async def prove(
        self, request: web.BaseRequest, asked: Asked, mac: Mac, address: Address | None, connection: Connection
    ) -> Proved:
        found: Found | None = None
        wrong_codes, code, identity, checked = 0, None, None, None
        shown = Shown()
        if asked.secret is not None:
            found = self._reader.by_secret(fingerprint(asked.secret))
            if found is not None:
                shown = Shown(secret=found.mac) if found.kind == "own" else Shown(bootstrap=found.mac)
        elif asked.code is not None and self._may_guess(address, mac):
            code = code_hash(self._keys, mac, asked.code)
            found = self._reader.by_code(code, time.time())
            wrong_codes = int(found is None)
            shown = Shown(code=None if found is None else found.mac)
        elif (header := request.headers.get(hdrs.AUTHORIZATION)) is not None:
            checked = self._check(header, request, mac, address, connection)
            if checked is not None:
                found, code, wrong_codes = checked.found, checked.code_hash, int(checked.wrong_code)
                its = None if found is None else found.mac
                shown = Shown(password=its) if code is None else Shown(code=its)
        decision = self._decided(mac, found, shown, request, address, connection)
        # A burnt token is no proof: a door may have opened since, for the phone that lost the answer.
        if decision.proof is None or (found is not None and found.used_at is not None):
            identity = self.certificates.of(request, connection)
            for other, shown_too in self._beside(mac, identity, address):
                further = self._decided(mac, other, shown_too, request, address, connection)
                if further.proof is not None or found is None:
                    found, decision = other, further
                if further.proof is not None:
                    break
        if found is not None and decision.proof in ONE_TIME:
            found, decision = await self._burn(request, asked, found, decision, code, address)
        if found is None or found.mac != mac:
            return Proved(None, None, _why(decision, asked, checked, identity), wrong_codes)
        return Proved(found, decision.proof, decision.reason, wrong_codes)

    def _decided(
        self,
        mac: Mac,
        found: Found | None,
        shown: Shown,
        request: web.BaseRequest,
        address: Address | None,
        connection: Connection,
    ) -> Decision:
        terms = _NO_TERMS if found is None else self._terms(found, request, address, connection)
        return decide(mac, shown, terms)

    def _beside(self, mac: Mac, identity: Identity | None, address: Address | None) -> Iterator[tuple[Found, Shown]]:
        """What a request shows without saying it in its path or credentials."""
        if identity is not None and identity.mac == mac and (found := self._reader.by_mac(mac)) is not None:
            yield found, Shown(certificate=mac)
        if address is not None:
            found = self._reader.by_door(mac, addresses.place(address), time.time())
            if found is not None:
                yield found, Shown(door=mac)

    def _may_guess(self, address: Address | None, mac: Mac) -> bool:
        """A right guess of a code by somebody who has guessed too often must not count; nobody guesses a secret."""
        return self.on_trial(address) or self._guard.limit(address, mac, time.monotonic()) is None

    def on_trial(self, address: Address | None) -> bool:
        """Everything of a trial happens on one machine, whose address is nobody's in particular."""
        return self._config.network.private_addresses and address is not None and address.is_loopback

    def _check(
        self, header: str, request: web.BaseRequest, mac: Mac, address: Address | None, connection: Connection
    ) -> Checked | None:
        basic = self._is_clear_enough(address) or self.channel(request, connection) != "clear"
        codes = self._may_guess(address, mac)
        return self._login.check(header, mac, request.method or "", request.raw_path, basic=basic, codes=codes)

    def _terms(self, found: Found, request: web.BaseRequest, address: Address | None, connection: Connection) -> Terms:
        channel = self.channel(request, connection)
        clear = channel == "clear" and self._is_clear_enough(address)
        # Few differ, and every fetch asks.
        which = (found.model, found.proofs, channel, clear)
        terms = self._known_terms.get(which)
        if terms is None:
            terms = self._known_terms[which] = Terms(
                self._config.proofs.accepted(found.model, found.proofs),
                channel,
                legacy=channel == "legacy" and found.model in self._config.legacy.models,
                clear=clear,
            )
        return terms

    def channel(self, request: web.BaseRequest, connection: Connection) -> Channel:
        """How the phone reached us; a trusted proxy's word for it, where one stands between."""
        if connection.kind != "http":
            return "legacy" if connection.kind == "legacy" else "tls"
        trusted = self._config.network.trusted_proxies
        if not trusted:
            return "clear"
        if connection.proxied:
            # A proxy that passes bytes on says nothing of the phone's own connection; it is the operator's.
            return "tls"
        peer = request.transport and request.transport.get_extra_info("peername")
        if not peer or not addresses.within(addresses.parse(peer[0]), trusted):
            return "clear"
        return "clear" if request.headers.get(hdrs.X_FORWARDED_PROTO, "https").lower() == "http" else "tls"

    def _is_clear_enough(self, address: Address | None) -> bool:
        allowed = self._config.phones.lines_over_http
        return allowed == "always" or (allowed == "private" and address is not None and not address.is_global)

    async def _burn(
        self,
        request: web.BaseRequest,
        asked: Asked,
        found: Found,
        decision: Decision,
        code: bytes | None,
        address: Address | None,
    ) -> tuple[Found, Decision]:
        """SQLAlchemyError: nothing was burnt, and the phone may come again."""
        if request.method != hdrs.METH_GET or address is None:
            return found, Decision(None, "no-proof")
        showing = Showing(asked.shape, addresses.place(address), time.time())
        new_passwords = bool(self._config.registrar.password_hook)
        spend, shown = (
            (binding.spend_code, code) if decision.proof == "code" else (binding.spend_bootstrap, found.secret_hash)
        )

        def burn(connection: Writing) -> Spent:
            return spend(connection, self._keys, shown or b"", showing, new_passwords=new_passwords)

        spent = await self._database.write(burn)
        if spent == "bound" or spent == "again":  # noqa: PLR1714  mypy narrows it so
            return self._reader.by_mac(found.mac) or found, decision
        return found, Decision(None, spent)


_NO_TERMS = Terms()


def _why(decision: Decision, asked: Asked, checked: Checked | None, identity: Identity | None) -> str:
    """For the log; a stranger sees nothing of it."""
    if decision.reason != "no-proof":
        return decision.reason
    if identity is not None:
        return identity.reason or "foreign"
    if asked.secret is not None or asked.code is not None or checked is not None:
        return "wrong-secret"
    return "no-proof"
