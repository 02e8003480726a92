"""A vendor's factory: a CA, and the certificates that its phones are born with. Weak ones, too."""

import datetime as dt
import hashlib
import ipaddress
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "SN": NameOID.SURNAME,
    "L": NameOID.LOCALITY_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
}
# The last byte of the object identifiers sha256WithRSAEncryption and sha1WithRSAEncryption (RFC 8017 A.2.4).
SHA256_RSA = bytes.fromhex("06092a864886f70d01010b")
SHA1_RSA = bytes.fromhex("06092a864886f70d010105")
# DigestInfo of SHA-1 up to the digest (RFC 8017 section 9.2, note 1).
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Shown:
    """A certificate with its key, and what its phone sends above it."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @cached_property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @cached_property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    def write(self, path: Path) -> Path:
        """For load_cert_chain: chain and key in one file."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        above = b"".join(its.public_bytes(serialization.Encoding.PEM) for its in self.above)
        # Phones in several threads show one certificate; none may find the file half written.
        whole = path.with_name(f"{path.name}.{threading.get_ident()}")
        whole.write_bytes(key + self.pem.encode() + above)
        return whole.replace(path)


class Factory:
    """One CA; `root` signs it, or it is a root itself."""

    def __init__(self, name: str, root: "Factory | None" = None) -> None:
        self.key = new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = root or self
        self.certificate = (
            self._builder(self.name, issuer.name, self.key, -DAY, 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(issuer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def phone(
        self,
        cn: str = "",
        *,
        subject: Iterable[tuple[str, str]] = (),
        bits: int = 2048,
        curve: bool = False,
        sha1: bool = False,
        born: dt.timedelta = -DAY,
        dies: dt.timedelta = 365 * DAY,
        above: tuple[x509.Certificate, ...] = (),
        usage: tuple[x509.ObjectIdentifier, ...] = (),
        ca: bool = False,
    ) -> Shown:
        key: Key = ec.generate_private_key(ec.SECP256R1()) if curve else new_key(bits)
        parts = [*([("CN", cn)] if cn else []), *subject]
        name = x509.Name([x509.NameAttribute(ATTRIBUTES[attribute], value) for attribute, value in parts])
        builder = self._builder(name, self.name, key, born, dies)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        return Shown(self._by_sha1(made) if sha1 else made, key, above)

    def server(self) -> Shown:
        """For a listener on the loopback address."""
        key = new_key()
        made = (
            self._builder(x509.Name([]), self.name, key, -DAY, DAY)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Shown(made, key)

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: Key, born: dt.timedelta, dies: dt.timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + born)
            .not_valid_after(NOW + dies)
        )

    def _by_sha1(self, made: x509.Certificate) -> x509.Certificate:
        """The same, signed as phones of 2010 are: no library signs with SHA-1 any more, so by hand."""
        signed = made.tbs_certificate_bytes.replace(SHA256_RSA, SHA1_RSA)
        numbers = self.key.private_numbers()
        n, size = numbers.public_numbers.n, self.key.key_size // 8
        info = SHA1_INFO + hashlib.sha1(signed).digest()
        padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
        signature = pow(int.from_bytes(padded, "big"), numbers.d, n).to_bytes(size, "big")
        der = made.public_bytes(serialization.Encoding.DER)
        return x509.load_der_x509_certificate(
            der.replace(made.tbs_certificate_bytes, signed)
            .replace(SHA256_RSA, SHA1_RSA)
            .replace(made.signature, signature)
        )


def write_bundles(folder: Path, bundles: dict[str, Iterable[Factory]], revoked: Iterable[str] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    for vendor, its in bundles.items():
        (folder / f"{vendor}.pem").write_text("".join(f"# {factory.name}\n{factory.pem}" for factory in its))
    (folder / "revoked.txt").write_text("".join(f"{entry}  # stolen\n" for entry in revoked))
    return folder
