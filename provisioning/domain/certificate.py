"""Whether a device certificate says which phone this is. The one place where that is decided.

A factory certificate proves a MAC only where its vendor puts the phone's own MAC into it, and only
within that vendor's own MACs: a vendor's CA is believed about its own phones and about no others.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from provisioning.domain import mac as macs
from provisioning.domain.catalogue import Vendor
from provisioning.domain.mac import Mac

FIELDS = {
    "CN": ("2.5.4.3",),
    # Cisco's guides write `S=`: Windows' spelling of stateOrProvinceName, and that of surname in the
    # OpenSSL of the first such phones. No certificate was at hand to tell which, so either may hold it.
    "S": ("2.5.4.8", "2.5.4.4"),
}
"What a vendor.toml calls an attribute of the subject, and the object identifiers (RFC 4519) that it may be."

Reason = Literal[
    "certificate-unreadable",
    "certificate-unknown-ca",
    "certificate-generic",
    "certificate-no-mac",
    "certificate-foreign-prefix",
    "certificate-revoked",
    "certificate-weak",
    "certificate-not-yet-valid",
    "certificate-expired",
]


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """What counts of a certificate whose signature has been verified."""

    subject: Mapping[str, tuple[str, ...]]
    "Values by object identifier."
    fingerprint: str
    "SHA-256 of its DER, in lower-case hex."
    not_before: dt.datetime
    not_after: dt.datetime
    weak: bool
    "Signed by means of SHA-1 or older, or with an RSA key of less than 2048 bits."


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator says about certificates that are good but for one thing."""

    revoked: frozenset[str] = frozenset()
    "Fingerprints, and MACs of phones that were stolen or sent back."
    accept_expired: bool = False
    accept_weak: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate says it is."""

    mac: Mac | None
    reason: Reason | None = None
    "Why there is no MAC; beside one: what was overlooked, as the terms say."


def identify(certificate: DeviceCertificate, vendor: Vendor | None, now: dt.datetime, terms: Terms) -> Identity:
    """`vendor`: whose CA signed it; None: no CA that we know."""
    if vendor is None or vendor.certificate is None:
        return Identity(None, "certificate-unknown-ca")
    values = [certificate.subject.get(attribute, ()) for attribute in FIELDS[vendor.certificate.mac]]
    shared = {name.lower() for name in vendor.certificate.generic}
    if any(value.lower() in shared for held in values for value in held):
        return Identity(None, "certificate-generic")
    mac = _only_mac(values)
    if mac is None:
        return Identity(None, "certificate-no-mac")
    if macs.prefix(mac) not in vendor.prefixes:
        return Identity(None, "certificate-foreign-prefix")
    if not terms.revoked.isdisjoint((mac, certificate.fingerprint)):
        return Identity(None, "certificate-revoked")
    if certificate.weak and not terms.accept_weak:
        return Identity(None, "certificate-weak")
    if now < certificate.not_before:
        return Identity(None, "certificate-not-yet-valid")
    if now > certificate.not_after:
        return Identity(mac if terms.accept_expired else None, "certificate-expired")
    return Identity(mac)


def _only_mac(values: list[tuple[str, ...]]) -> Mac | None:
    """The whole value of an attribute is the MAC, and nothing else there could be meant."""
    found = set()
    for held in values:
        if len(held) > 1:
            return None
        for value in held:
            try:
                found.add(macs.parse(value))
            except ValueError:
                continue
    return found.pop() if len(found) == 1 else None
