"""The decision table: what a certificate of a verified vendor says, and what it does not."""

import datetime as dt
import itertools
from collections.abc import Mapping

import pytest

from provisioning.domain.catalogue import CertificateRule, Vendor
from provisioning.domain.certificate import DeviceCertificate, Identity, Reason, Terms, identify

CN, ST, SURNAME, L, OU = "2.5.4.3", "2.5.4.8", "2.5.4.4", "2.5.4.7", "2.5.4.11"
MAC = "001565a1b2c3"
FINGERPRINT = "ab" * 32
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
BORN, DIES = NOW - dt.timedelta(days=900), NOW + dt.timedelta(days=900)

YEALINK = Vendor("yealink", "Yealink", ("001565", "805ec0"), (), CertificateRule("CN", ("Yealink Generic",)))
CISCO = Vendor("cisco", "Cisco", ("000e08",), (), CertificateRule("S", ("ciscogeneric",)))
STRICT = Terms()
PLAIN = Vendor("linphone", "Linphone", ("020000",), ())


def certificate(
    subject: Mapping[str, tuple[str, ...]] | None = None,
    *,
    not_before: dt.datetime = BORN,
    not_after: dt.datetime = DIES,
    weak: bool = False,
) -> DeviceCertificate:
    return DeviceCertificate({CN: (MAC,)} if subject is None else subject, FINGERPRINT, not_before, not_after, weak)


def reason(its: DeviceCertificate, vendor: Vendor | None = YEALINK, terms: Terms = STRICT) -> Reason | None:
    said = identify(its, vendor, NOW, terms)
    assert (said.mac is None) == (said.reason is not None)
    return said.reason


def test_the_vendors_own_phone():
    assert identify(certificate(), YEALINK, NOW, Terms()) == Identity(MAC)


@pytest.mark.parametrize(
    "spelled", ["001565a1b2c3", "001565A1B2C3", "00:15:65:a1:b2:c3", "00-15-65-A1-B2-C3", "0015.65a1.b2c3"]
)
def test_any_spelling_of_the_mac(spelled: str):
    assert identify(certificate({CN: (spelled,)}), YEALINK, NOW, Terms()) == Identity(MAC)


@pytest.mark.parametrize(
    "held",
    [
        (), ("",), ("SIP-T46S",), ("001565a1b2c",), ("001565a1b2c3 ",), (" 001565a1b2c3",), ("MAC001565a1b2c3",),
        ("001565a1b2c3.yealink.com",), ("CN=001565a1b2c3",), ("001565a1b2c3\n",), ("001565a1b2c3\0",),
        ("001565a1b2c\uff13",), ("001565a1b2c3", "001565a1b2c3"), ("001565a1b2c3", "001565a1b2c4"), ("001565a1b2c3", "x"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_wholly_one_mac_is_none(held: tuple[str, ...]):
    assert reason(certificate({CN: held})) == "certificate-no-mac"


def test_the_mac_counts_in_the_vendors_field_only():
    for elsewhere in (ST, SURNAME, L, OU, "2.5.4.5"):
        assert reason(certificate({elsewhere: (MAC,), CN: ("T46S",)})) == "certificate-no-mac"
    assert reason(certificate({CN: ("000e08abcdef",)}), CISCO) == "certificate-no-mac"


def test_ciscos_s_is_either_attribute_that_is_spelled_so():
    its = {OU: ("CP-8841-3PCC",), L: ("88012BA01234",)}
    for attributes in ((ST,), (SURNAME,), (ST, SURNAME)):
        subject = its | dict.fromkeys(attributes, ("000e08abcdef",))
        assert identify(certificate(subject), CISCO, NOW, Terms()) == Identity("000e08abcdef")
    assert reason(certificate(its | {ST: ("000e08abcdef",), SURNAME: ("000e08abcde0",)}), CISCO) == "certificate-no-mac"
    assert identify(certificate(its | {ST: ("Texas",), SURNAME: ("000e08abcdef",)}), CISCO, NOW, Terms()).mac


@pytest.mark.parametrize("held", ["ciscogeneric", "CiscoGeneric"])
def test_a_certificate_that_many_share_is_nobodys(held: str):
    assert reason(certificate({OU: ("cisco.com",), L: (held,), ST: (held,)}), CISCO) == "certificate-generic"
    assert reason(certificate({ST: (held,), SURNAME: ("000e08abcdef",)}), CISCO) == "certificate-generic"
    assert reason(certificate({CN: ("yealink generic",)})) == "certificate-generic"


def test_a_generic_certificate_may_look_like_a_mac():
    vendor = Vendor("acme", "Acme", ("001565",), (), CertificateRule("CN", ("001565000000",)))
    assert reason(certificate({CN: ("001565000000",)}), vendor) == "certificate-generic"


@pytest.mark.parametrize("other", ["000413a1b2c3", "000e08abcdef", "001566a1b2c3", "ffffffffffff", "000000000000"])
def test_a_vendors_ca_speaks_for_its_own_macs_only(other: str):
    assert reason(certificate({CN: (other,)})) == "certificate-foreign-prefix"


def test_an_unknown_ca_and_a_vendor_without_certificates():
    assert reason(certificate(), None) == "certificate-unknown-ca"
    assert reason(certificate({CN: ("020000000001",)}), PLAIN) == "certificate-unknown-ca"


@pytest.mark.parametrize("entry", [MAC, FINGERPRINT])
def test_the_revoked_prove_nothing_whatever_else_is_accepted(entry: str):
    for expired, weak in itertools.product((False, True), repeat=2):
        terms = Terms(frozenset((entry, "805ec0000000", "00" * 32)), expired, weak)
        assert reason(certificate(), terms=terms) == "certificate-revoked"
        assert reason(certificate(not_after=BORN, weak=True), terms=terms) == "certificate-revoked"


def test_others_that_are_revoked_change_nothing():
    assert reason(certificate(), terms=Terms(frozenset(("001565a1b2c4", "ac" * 32)))) is None


def test_weak_certificates_only_where_they_are_accepted():
    assert reason(certificate(weak=True)) == "certificate-weak"
    assert reason(certificate(weak=True), terms=Terms(accept_weak=True)) is None


@pytest.mark.parametrize(
    ("before", "after", "lenient", "expected"),
    [
        (NOW, NOW, False, Identity(MAC)),
        (NOW - SECOND, NOW - SECOND, False, Identity(None, "certificate-expired")),
        (NOW - SECOND, NOW - SECOND, True, Identity(MAC, "certificate-expired")),
        (BORN, BORN, True, Identity(MAC, "certificate-expired")),
        (NOW + SECOND, DIES, False, Identity(None, "certificate-not-yet-valid")),
        (NOW + SECOND, DIES, True, Identity(None, "certificate-not-yet-valid")),
    ],
)
def test_dates(before: dt.datetime, after: dt.datetime, lenient: bool, expected: Identity):
    its = certificate(not_before=before, not_after=after)
    assert identify(its, YEALINK, NOW, Terms(accept_expired=lenient)) == expected


def test_leniency_overlooks_the_date_and_nothing_else():
    for its, vendor in (
        (certificate({CN: ("x",)}, not_after=BORN), YEALINK),
        (certificate({CN: ("000413a1b2c3",)}, not_after=BORN), YEALINK),
        (certificate(not_after=BORN, weak=True), YEALINK),
        (certificate(not_after=BORN), None),
    ):
        assert identify(its, vendor, NOW, Terms(accept_expired=True)).mac is None
