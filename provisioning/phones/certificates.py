"""Device certificates, from a TLS connection or from a trusted proxy, and the vendors' CAs that sign them.

On our own listeners OpenSSL has verified the chain already, against all vendors' CAs together; what is
left is which vendor's it was. A proxy passes on what the phone showed (RFC 9440): that the phone has the
key is its finding, and the issuer's signature is checked here.
"""

import base64
import binascii
import datetime as dt
import hashlib
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning.domain import address as addresses
from provisioning.domain import mac as macs
from provisioning.domain.address import Network
from provisioning.domain.catalogue import Catalogue, Vendor
from provisioning.domain.certificate import DeviceCertificate, Identity, Terms, identify
from provisioning.domain.errors import Fault
from provisioning.phones.connection import Connection

log = logging.getLogger(__name__)

REVOKED = "revoked.txt"
_MOST = 20_480
"""Certificates remembered, as many as OpenSSL remembers sessions of: a session that TLS 1.2 takes up again
by its id brings no chain, so that the vendor is known from the full handshake only."""
_DER = 2
"_ssl.ENCODING_DER, which Python before 3.13 names nowhere else."
_FINGERPRINT = re.compile("[0-9a-f]{64}", re.ASCII)
_UNREADABLE = Identity(None, "certificate-unreadable")


@dataclass(frozen=True, slots=True)
class _Read:
    certificate: DeviceCertificate
    vendor: Vendor | None


class Certificates:
    """Says whose certificate a request comes with. A reload makes another one."""

    def __init__(
        self,
        authorities: Mapping[x509.Certificate, Vendor],
        terms: Terms,
        *,
        proxy_header: str = "",
        trusted: Sequence[Network] = (),
    ) -> None:
        self._vendors = {_der(ca): vendor for ca, vendor in authorities.items()}
        self._authorities = tuple(authorities.items())
        self._terms = terms
        self._weak_too = replace(terms, accept_weak=True)
        self._proxy_header = proxy_header
        self._trusted = tuple(trusted)
        self._read: dict[str, _Read] = {}

    @property
    def authorities(self) -> str:
        """All vendors' CAs, PEM; empty without any."""
        return "".join(ca.public_bytes(serialization.Encoding.PEM).decode() for ca, _ in self._authorities)

    def of(self, request: web.BaseRequest, connection: Connection) -> Identity | None:
        """None: the request comes with no certificate."""
        transport = request.transport
        if not self._authorities or transport is None:
            return None
        if connection.kind in ("mtls", "legacy"):
            tls = transport.get_extra_info("ssl_object")
            if tls is not None and (der := tls.getpeercert(binary_form=True)):
                return self.of_connection(der, tls, weak=connection.kind == "legacy")
        # A connection with a PROXY header is the phone's own: its proxy passes bytes on, and whatever stands
        # in the request was written by the phone.
        if self._proxy_header and not connection.proxied:
            name = transport.get_extra_info("peername")
            if name and addresses.within(addresses.parse(name[0]), self._trusted):
                values = request.headers.getall(self._proxy_header, ())
                if values:
                    return self.of_header(values)
        return None

    def of_connection(self, der: bytes, tls: ssl.SSLObject, *, weak: bool) -> Identity | None:
        """`der`: what OpenSSL verified in this handshake. `weak`: short keys and SHA-1 count, too."""
        read = self._known(der)
        if read is None:
            try:
                leaf = x509.load_der_x509_certificate(der)
                read = self._remember(_read(leaf, *self._path(leaf, _verified_chain(tls))))
            except (ValueError, UnsupportedAlgorithm):
                return _UNREADABLE
        return identify(read.certificate, read.vendor, _now(), self._weak_too if weak else self._terms)

    def of_header(self, values: Sequence[str]) -> Identity | None:
        """What a trusted proxy passes on. It must be its only one: a second would be the phone's."""
        if len(values) != 1:
            return _UNREADABLE
        try:
            der = _passed_on(values[0])
            if der is None:
                return None
            read = self._known(der)
            if read is None:
                leaf = x509.load_der_x509_certificate(der)
                read = self._remember(_read(leaf, self._issuer(leaf), ()))
        except (ValueError, UnsupportedAlgorithm):
            return _UNREADABLE
        return identify(read.certificate, read.vendor, _now(), self._terms)

    def _path(
        self, leaf: x509.Certificate, chain: Sequence[bytes]
    ) -> tuple[Vendor | None, tuple[x509.Certificate, ...]]:
        """The vendor whose CA is nearest to the leaf in the verified chain, and what the phone sent between them."""
        for n, der in enumerate(chain[1:], 1):
            if der in self._vendors:
                return self._vendors[der], tuple(x509.load_der_x509_certificate(between) for between in chain[1:n])
        # A resumed session has no chain.
        return self._issuer(leaf), ()

    def _issuer(self, leaf: x509.Certificate) -> Vendor | None:
        """Whose CA signed it directly, for a TLS client."""
        if not _for_clients(leaf):
            return None
        for ca, vendor in self._authorities:
            if ca.subject == leaf.issuer:
                try:
                    leaf.verify_directly_issued_by(ca)
                except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                    continue
                return vendor
        return None

    def _known(self, der: bytes) -> _Read | None:
        fingerprint = hashlib.sha256(der).hexdigest()
        read = self._read.pop(fingerprint, None)
        if read is not None:
            # Used last, so that it goes last.
            self._read[fingerprint] = read
        return read

    def _remember(self, read: _Read) -> _Read:
        """Only what a vendor signed, for of anything else there is no end."""
        if read.vendor is not None:
            if len(self._read) >= _MOST:
                del self._read[next(iter(self._read))]
            self._read[read.certificate.fingerprint] = read
            self._tell(read, read.vendor)
        return read

    def _tell(self, read: _Read, vendor: Vendor) -> None:
        said = identify(read.certificate, vendor, _now(), self._weak_too)
        if said.reason is not None:
            log.warning(
                "%s's certificate %s for %s: %s%s",
                vendor.name,
                read.certificate.fingerprint,
                ascii(read.certificate.subject),
                said.reason,
                "" if said.mac is None else ", accepted all the same",
            )


def load(
    folder: Path | None,
    catalogue: Catalogue,
    *,
    accept_expired: bool = False,
    proxy_header: str = "",
    trusted: Sequence[Network] = (),
) -> Certificates:
    """The CAs of `<vendor>.pem` and our own revocations. Fault: names the file."""
    if folder is None:
        return Certificates({}, Terms())
    vendors = {vendor.folder: vendor for vendor in catalogue.vendors}
    authorities: dict[x509.Certificate, Vendor] = {}
    for path in sorted(folder.glob("*.pem")):
        vendor = vendors.get(path.stem)
        if vendor is None:
            raise Fault(f"{path}: {path.stem} is no vendor's folder; there are {', '.join(sorted(vendors))}")
        if vendor.certificate is None:
            raise Fault(f"{path}: {path.stem}/vendor.toml has no [certificate] to say where the MAC stands")
        for ca in _bundle(path):
            if (other := authorities.setdefault(ca, vendor)) is not vendor:
                raise Fault(f"{path}: {ca.subject.rfc4514_string()} is also in {other.folder}.pem")
    if not authorities:
        raise Fault(f"[devices] ca_dir: {folder} holds no <vendor folder>.pem, such as yealink.pem")
    terms = Terms(_revoked(folder / REVOKED), accept_expired)
    return Certificates(authorities, terms, proxy_header=proxy_header, trusted=trusted)


def _bundle(path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise Fault(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise Fault(f"{path}: holds no certificates in PEM ({error})") from None
    for ca in found:
        try:
            constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            # Roots of X.509 version 1 have none.
            continue
        except ValueError as error:
            raise Fault(f"{path}: {ca.subject.rfc4514_string()} cannot be read ({error})") from None
        if not constraints.ca:
            raise Fault(f"{path}: {ca.subject.rfc4514_string()} is no CA's certificate")
    return found


def _revoked(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: cannot be read ({error})") from None
    found: set[str] = set()
    for number, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        if _FINGERPRINT.fullmatch(entry):
            found.add(entry)
            continue
        try:
            found.add(macs.parse(entry))
        except ValueError:
            raise Fault(
                f"{path}:{number}: {entry!r} is neither a MAC nor a certificate's SHA-256 in 64 lower-case hex digits"
            ) from None
    return frozenset(found)


def _read(leaf: x509.Certificate, vendor: Vendor | None, between: Sequence[x509.Certificate]) -> _Read:
    subject: dict[str, tuple[str, ...]] = {}
    for attribute in leaf.subject:
        if isinstance(attribute.value, str):
            oid = attribute.oid.dotted_string
            subject[oid] = (*subject.get(oid, ()), attribute.value)
    certificate = DeviceCertificate(
        subject,
        leaf.fingerprint(hashes.SHA256()).hex(),
        # What the phone sent above it must be valid, too; the CA that we were given is (RFC 5280 section 6.1.1).
        max(its.not_valid_before_utc for its in (leaf, *between)),
        min(its.not_valid_after_utc for its in (leaf, *between)),
        any(_weak(its) for its in (leaf, *between)),
    )
    return _Read(certificate, vendor)


def _weak(its: x509.Certificate) -> bool:
    key = its.public_key()
    strong_key = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048) or isinstance(
        key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    )
    return not strong_key or isinstance(its.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)


def _for_clients(leaf: x509.Certificate) -> bool:
    """As OpenSSL asks of a certificate that a client shows."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _passed_on(value: str) -> bytes | None:
    """RFC 9440's `:base64:`, or nginx's $ssl_client_escaped_cert. ValueError: neither."""
    if value.strip() in ("", "::"):
        return None
    if value.startswith(":"):
        if not value.endswith(":"):
            raise ValueError("is no Byte Sequence (RFC 8941 section 3.3.5)")
        try:
            return base64.b64decode(value[1:-1], validate=True)
        except binascii.Error:
            raise ValueError("is no base64") from None
    return _der(x509.load_pem_x509_certificate(unquote(value).encode()))


def _verified_chain(tls: ssl.SSLObject) -> list[bytes]:
    """From the leaf up to the CA that OpenSSL trusted; empty where a session was resumed."""
    if hasattr(tls, "get_verified_chain"):
        return list(tls.get_verified_chain())
    # The same before Python 3.13, where it has no public name.
    chain: list[Any] = tls._sslobj.get_verified_chain() or []  # type: ignore[attr-defined]  # noqa: SLF001
    return [its.public_bytes(_DER) for its in chain]


def _der(its: x509.Certificate) -> bytes:
    return its.public_bytes(serialization.Encoding.DER)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
