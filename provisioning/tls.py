"""The phones' TLS: contexts for each listener; our own certificates where the operator has none.

P-256 because its signature costs 18 microseconds and RSA-2048's 257, and a phone that boots costs
one (docs/ARCHITECTURE.md). RSA for the legacy listener, because its phones may know nothing else.
"""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.domain.errors import Fault
from provisioning.store.secrets import write_private

CA_YEARS = 20
LEAF_DAYS = 820
RENEW_DAYS = 30
# What OpenSSL has of it below TLS 1.2 is CBC with SHA-1; nothing without a certificate or encryption.
LEGACY_CIPHERS = "DEFAULT:!aNULL:!eNULL:!EXPORT:!RC4:!PSK:!SRP:!aDSS@SECLEVEL=0"
# Python names none of OpenSSL's flags that leave the dates to the caller (X509_V_FLAG_NO_CHECK_TIME).
_NO_CHECK_TIME = 0x200000

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_own(directory: Path, names: list[str], *, legacy: bool = False) -> None:
    """A CA with its key, and a certificate for `names`; each made only if missing or soon useless."""
    before = "legacy-" if legacy else ""
    ca_path, ca_key_path = directory / f"{before}ca.pem", directory / f"{before}ca-key.pem"
    if not (ca_path.exists() and ca_key_path.exists()):
        key = _new_key(legacy=legacy)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Phone provisioning CA")])
        ca = (
            _builder(name, name, key, 365 * CA_YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(ca_key_path, _pem(key))
        ca_path.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    leaf_path, leaf_key_path = own(directory, legacy=legacy)
    if leaf_path.exists() and leaf_key_path.exists() and _covers(leaf_path, names):
        return
    ca = x509.load_pem_x509_certificate(ca_path.read_bytes())
    ca_key = serialization.load_pem_private_key(ca_key_path.read_bytes(), None)
    if not isinstance(ca_key, rsa.RSAPrivateKey if legacy else ec.EllipticCurvePrivateKey):
        kind = "RSA" if legacy else "elliptic-curve"
        raise Fault(
            f"{ca_key_path}: is no {kind} key; remove {ca_path.name} and {ca_key_path.name} to have them made anew"
        )
    key = _new_key(legacy=legacy)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    leaf = (
        _builder(subject, ca.subject, key, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # An RSA key without ECDHE is encrypted to, which is what the oldest phones do.
        .add_extension(_usage(sign_certificates=False, encipher_keys=legacy), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write_private(leaf_key_path, _pem(key))
    leaf_path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))


def own(directory: Path, *, legacy: bool = False) -> tuple[Path, Path]:
    """Where make_own puts (certificate, key)."""
    name = "tls-legacy" if legacy else "tls"
    return directory / f"{name}-cert.pem", directory / f"{name}-key.pem"


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer. Fault: the files do not fit."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(made, certificate, key)
    return made


def legacy_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.0 or newer (RFC 8996 deprecates 1.0 and 1.1), for phones that know nothing better."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Of what is supported, SSL 3.0 is off in every context of Python's.
    made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    # Below TLS 1.2 signatures are SHA-1's, which OpenSSL 3 has at this level only; it also lets SHA-1-signed
    # and short device certificates in, so whether they prove anything is ours to say.
    made.set_ciphers(LEGACY_CIPHERS)
    _load(made, certificate, key)
    return made


def request_certificates(of: ssl.SSLContext, authorities: str) -> None:
    """Asks each phone for a certificate of these CAs (PEM). One of another CA ends the handshake."""
    of.load_verify_locations(cadata=authorities)
    of.verify_mode = ssl.CERT_OPTIONAL
    # An issuing CA may stand alone, without the root above it (RFC 5280 section 6: the trust anchor is
    # whatever is trusted). Dates are judged by domain/certificate.py: here an expired one would cut its
    # phone off from every other proof, too.
    of.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    # A resumed session brings no chain to tell the vendor by, and nothing of it is verified again.
    of.options |= ssl.OP_NO_TICKET
    of.num_tickets = 0


def _load(into: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        into.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Fault(f"[tls] certificate {certificate} with key {key}: cannot be used ({error})") from None


def days_left(certificate: Path) -> float:
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return (loaded.not_valid_after_utc - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1)


def _covers(path: Path, names: list[str]) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(path.read_bytes())
        covered = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    wanted = [_general_name(name) for name in names]
    return all(name in list(covered) for name in wanted) and days_left(path) > RENEW_DAYS


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key(*, legacy: bool) -> Key:
    if legacy:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Phones' clocks are off by hours until NTP has answered.
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool, encipher_keys: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipher_keys,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
