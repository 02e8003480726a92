"""TLS of the phones' URL, by handshakes with it."""

import datetime as dt
import ssl
import warnings

from cryptography import x509

from provisioning.doctor.asking import connected, lax, why
from provisioning.doctor.finding import Finding, NotProbed, bad, ok, warning
from provisioning.doctor.target import Target

SOON = 21
"Days before a certificate's end from which it is worth a warning."
_NO_CHECK_TIME = 0x200000
_HOSTNAME = (62, 64)
"X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."
_NAMES = {
    ssl.TLSVersion.TLSv1: "TLS 1.0",
    ssl.TLSVersion.TLSv1_1: "TLS 1.1",
    ssl.TLSVersion.TLSv1_2: "TLS 1.2",
    ssl.TLSVersion.TLSv1_3: "TLS 1.3",
}


def certificate(target: Target) -> list[Finding]:
    """Chain, name and days apart, so that one fault does not hide another."""
    leaf = _leaf(target)
    return [_chain(target, leaf), _name(target, leaf), _days(target, leaf)]


def versions(target: Target) -> list[Finding]:
    new = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    old = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    accepted = [version for version in new if _accepts(target, version)]
    told = " and ".join(_NAMES[version] for version in accepted)
    if len(accepted) == len(new):
        found = ok("TLS 1.2 and 1.3", "both are accepted")
    elif accepted:
        found = warning(
            "TLS 1.2 and 1.3",
            f"{told} only is accepted",
            "Allow both where TLS ends: many phones know 1.2 only, and 1.3 is the better one.",
        )
    else:
        found = bad("TLS 1.2 and 1.3", "neither is accepted", "Allow TLS 1.2 and 1.3 where TLS ends.")
    return [found, _old(target, old)]


def cipher(target: Target) -> Finding:
    """What a client is given that lets the server choose."""
    chosen = []
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = most
        try:
            with connected(target.url, context) as its:
                chosen.append((its.cipher() or ("none",))[0] if isinstance(its, ssl.SSLSocket) else "none")
        except OSError:
            continue
    if not chosen:
        return bad(
            "cipher", "no cipher of today is agreed on", "Allow ECDHE with AES-GCM or ChaCha20 where TLS ends."
        )
    told = " and ".join(dict.fromkeys(chosen))
    if all(_modern(name) for name in chosen):
        return ok("cipher", f"{told}: with forward secrecy, and authenticated")
    return warning("cipher", f"{told} is chosen", "Prefer ECDHE with AES-GCM or ChaCha20 where TLS ends.")


def _leaf(target: Target) -> x509.Certificate:
    try:
        with connected(target.url, lax()) as its:
            der = its.getpeercert(binary_form=True) if isinstance(its, ssl.SSLSocket) else None
    except OSError as error:
        told = f"no TLS connection to {target.url}: {why(error)}"
        raise NotProbed(told, "Look at the log of what ends TLS.") from None
    if der is None:
        raise NotProbed("the server shows no certificate", "Give what ends TLS a certificate.")
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise NotProbed(f"the certificate cannot be read ({error})", "Replace it.") from None


def _verify(target: Target, *, name: bool, dates: bool) -> ssl.SSLCertVerificationError | None:
    context = target.trust()
    context.check_hostname = name
    if not dates:
        context.verify_flags |= _NO_CHECK_TIME
    try:
        with connected(target.url, context):
            return None
    except ssl.SSLCertVerificationError as error:
        return error


def _chain(target: Target, leaf: x509.Certificate) -> Finding:
    error = _verify(target, name=False, dates=False)
    if error is None:
        return ok("certificate chain", f"verifies; issued by {leaf.issuer.rfc4514_string()}")
    return bad(
        "certificate chain",
        f"does not verify: {error.verify_message} (issued by {leaf.issuer.rfc4514_string()})",
        "Have [tls] certificate, or the proxy's, hold the whole chain; if its CA is your own, give --ca and have "
        "the phones trust it.",
    )


def _name(target: Target, leaf: x509.Certificate) -> Finding:
    error = _verify(target, name=True, dates=False)
    if error is None:
        return ok("certificate name", f"is for {target.host}")
    if error.verify_code not in _HOSTNAME:
        seen = "the chain does not verify, and the name is looked at after it"
        return Finding("certificate name", "not probed", seen, "Mend the chain first, or give --ca.")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown = ", ".join(str(its.value) for its in names)
    except (x509.ExtensionNotFound, ValueError):
        shown = "no name"
    return bad(
        "certificate name",
        f"is for {shown}, and not for {target.host}",
        "Phones refuse it: get a certificate for the name in [phones] url, or change that.",
    )


def _days(target: Target, leaf: x509.Certificate) -> Finding:
    left = (leaf.not_valid_after_utc - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1)
    until = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    renew = "Renew it, and send the server SIGHUP or reload the proxy."
    if left < 0:
        return bad("certificate days", f"it expired on {until}", renew)
    if leaf.not_valid_before_utc > dt.datetime.now(dt.UTC):
        begins = f"{leaf.not_valid_before_utc:%Y-%m-%d}"
        seen = f"it is not valid before {begins}"
        return bad("certificate days", seen, "Look at this machine's clock, or replace it.")
    if _verify(target, name=False, dates=False) is None and (error := _verify(target, name=False, dates=True)):
        return bad("certificate days", f"a certificate above it is the fault: {error.verify_message}", renew)
    if left < SOON:
        return warning("certificate days", f"it expires in {left:.0f} days, on {until}", renew)
    return ok("certificate days", f"{left:.0f} days are left, until {until}")


def _old(target: Target, versions: tuple[ssl.TLSVersion, ...]) -> Finding:
    probe, unable, accepted = "TLS 1.0 and 1.1", [], []
    for version in versions:
        if not _can_offer(version):
            unable.append(version)
        elif _accepts(target, version):
            accepted.append(version)
    if accepted:
        return bad(
            probe,
            f"{' and '.join(_NAMES[version] for version in accepted)} is accepted",
            "Switch it off where TLS ends (nginx: ssl_protocols TLSv1.2 TLSv1.3; HAProxy: ssl-min-ver TLSv1.2). Phones "
            "that know nothing better get [listen] phones_legacy, with a host name of its own.",
        )
    if unable:
        names = " and ".join(_NAMES[version] for version in unable)
        return Finding(
            probe,
            "not probed",
            f"this machine's OpenSSL cannot offer {names}",
            "Run the doctor on a machine whose OpenSSL can.",
        )
    return ok(probe, "both are refused")


def _accepts(target: Target, version: ssl.TLSVersion) -> bool:
    try:
        with connected(target.url, _only(version)):
            return True
    except TimeoutError:
        raise NotProbed("a handshake got no answer", "Try again; look at the log of what ends TLS.") from None
    except OSError:
        return False


def _can_offer(version: ssl.TLSVersion) -> bool:
    """Whether OpenSSL writes a ClientHello at all."""
    try:
        its = _only(version).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
        its.do_handshake()
    except ssl.SSLWantReadError:
        return True
    except (ssl.SSLError, ValueError):
        return False
    return True


def _only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = lax()
    with warnings.catch_warnings():
        # Python warns of the old ones, which is the point here.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


def _modern(name: str) -> bool:
    secret_later = name.startswith(("TLS_", "ECDHE-", "DHE-"))
    return secret_later and any(part in name for part in ("GCM", "CHACHA20", "CCM"))
