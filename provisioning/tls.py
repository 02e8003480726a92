"""The HTTPS listener's certificate: the operator's, or our own with an ECDSA P-256 key.

P-256 because its signature costs 18 microseconds and RSA-2048's 257, and a phone that boots costs
one (docs/ARCHITECTURE.md).
"""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.domain.errors import Fault
from provisioning.store.secrets import write_private

CA_YEARS = 20
LEAF_DAYS = 820
RENEW_DAYS = 30


def make_own(directory: Path, names: list[str]) -> None:
    """ca.pem with its key, and a certificate for `names`; each made only if missing or soon useless."""
    ca_path, ca_key_path = directory / "ca.pem", directory / "ca-key.pem"
    if not (ca_path.exists() and ca_key_path.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Phone provisioning CA")])
        ca = (
            _builder(name, name, key.public_key(), 365 * CA_YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(ca_key_path, _pem(key))
        ca_path.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    leaf_path, leaf_key_path = directory / "tls-cert.pem", directory / "tls-key.pem"
    if leaf_path.exists() and leaf_key_path.exists() and _covers(leaf_path, names):
        return
    ca = x509.load_pem_x509_certificate(ca_path.read_bytes())
    ca_key = serialization.load_pem_private_key(ca_key_path.read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise Fault(f"{ca_key_path}: is no elliptic-curve key; remove ca.pem and ca-key.pem to have them made anew")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    leaf = (
        _builder(subject, ca.subject, key.public_key(), LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)  # type: ignore[arg-type]  # ours is EC
        .sign(ca_key, hashes.SHA256())
    )
    write_private(leaf_key_path, _pem(key))
    leaf_path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer. Fault: the files do not fit."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    load(made, certificate, key)
    return made


def load(into: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Also for a renewed certificate: later handshakes use it, running connections go on."""
    try:
        # Tried on another context first: one that refuses a key has lost its own.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
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


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Phones' clocks are off by hours until NTP has answered.
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
