"""The phones' URL, as a stranger and as a phone sees it."""

import secrets
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from provisioning import vendors
from provisioning.config import Config
from provisioning.doctor.asking import Answer, Fields, Unreachable, ask
from provisioning.doctor.finding import Finding, NotProbed, bad, ok, warning
from provisioning.doctor.target import Target
from provisioning.doctor.trial import AGENT, Phone, Trial
from provisioning.domain import address as addresses
from provisioning.domain.address import Address
from provisioning.domain.errors import Fault
from provisioning.domain.mac import Mac

VICTIM = "192.0.2.66"
"RFC 5737: an address that is nobody's."
CLOCK_SECONDS = 60.0
_PROXY_LINE = f"PROXY TCP4 {VICTIM} 192.0.2.1 4711 443\r\n".encode()
_OTHER_HEADERS = ("X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Cluster-Client-IP")
_DIRECT = (
    "we are where a trusted proxy is, and this address is the server's own: it would take us for the proxy",
    "Give the proxy's own address, or run the doctor from elsewhere with --management.",
)
_MEND_FORWARDED = (
    "The proxy must not pass on what a client says of its address. nginx: proxy_set_header X-Forwarded-For "
    "$proxy_add_x_forwarded_for (or $remote_addr), and set_real_ip_from for your own proxies only. HAProxy: option "
    "forwardfor without if-none, or http-request set-header X-Forwarded-For %[src]."
)
_MEND_PROTO = (
    "The proxy in front of plain HTTP must say so itself. nginx: proxy_set_header X-Forwarded-Proto $scheme. "
    "HAProxy: http-request set-header X-Forwarded-Proto http. And what is no proxy must not be in [network] "
    "trusted_proxies."
)


def clock(target: Target) -> Finding:
    before = time.time()
    told = ask(f"{target.url}/").header("Date")
    ours = (before + time.time()) / 2
    try:
        theirs = parsedate_to_datetime(told)
    except ValueError:
        raise NotProbed("the answer has no Date", "Whatever stands before the server should leave it.") from None
    apart = abs(theirs.replace(tzinfo=theirs.tzinfo or UTC).timestamp() - ours)
    if apart > CLOCK_SECONDS:
        return warning(
            "clock",
            f"the server's is {apart:.0f} s from this machine's",
            "Have NTP set both: doors, tokens, codes and certificates go by the clock.",
        )
    return ok("clock", f"within {apart:.0f} s of this machine's")


# A stranger


def strangers(target: Target) -> Finding:
    """Unknown MACs of every vendor prefix are answered alike."""
    try:
        known = vendors.load(
            target.config.paths.templates, target.config.paths.firmware, target.config.models.by_model
        ).catalogue
    except Fault as fault:
        raise NotProbed(f"the catalogue cannot be read: {fault}", "Mend it; `provisioning check` tells more.") from None
    odd, asked = [], 0
    for vendor in known.vendors:
        document = next(its for its in vendor.models[0].documents.values() if its.lines)
        first: Answer | None = None
        for prefix in vendor.prefixes:
            mac = Mac(prefix + secrets.token_hex(3))
            answer = _as_stranger(target, document.name_for(mac))
            asked += 1
            if first is None:
                first = answer
            elif (difference := _difference(first, answer, ())) is not None:
                odd.append(f"{prefix} ({difference})")
    if odd:
        return warning(
            "strangers, by vendor",
            f"unknown MACs of one vendor are answered differently: {', '.join(odd)}",
            "Whatever stands before the server should not treat them apart.",
        )
    return ok("strangers, by vendor", f"{asked} unknown MACs, one of each vendor prefix: alike within each vendor")


def known_phone(target: Target, phone: Phone) -> Finding:
    """The test phone's MAC without its secret, beside a MAC that is no phone's."""
    other = phone.document.replace(phone.mac, f"02{secrets.token_hex(5)}")
    unknown, again = _as_stranger(target, other), _as_stranger(target, other)
    # What changes from one request to the next tells nothing of the MAC.
    restless = tuple(name for name, _ in set(unknown.headers) ^ set(again.headers))
    known = _as_stranger(target, phone.document)
    if phone.marker in known.body or phone.secret.encode() in known.body:
        return bad(
            "strangers, a known phone",
            "the test phone's lines were given without its secret",
            "Look at what stands before the server: a cache that answers for it, or credentials that it adds.",
        )
    difference = _difference(unknown, known, restless)
    if difference is not None:
        return bad(
            "strangers, a known phone",
            f"a MAC that exists is answered otherwise than one that does not: {difference}",
            "Whatever stands before the server makes a difference; have it pass requests on unseen.",
        )
    return ok("strangers, a known phone", f"answered as an unknown one: {known.status}, the same headers and bytes")


def _as_stranger(target: Target, document: str) -> Answer:
    answer = ask(f"{target.url}/{document}", fields=[("User-Agent", AGENT)])
    if answer.status == 429:
        raise NotProbed("too many requests without a proof came from our address", "Try again in twenty minutes.")
    return answer


def _difference(one: Answer, other: Answer, restless: tuple[str, ...]) -> str | None:
    if one.status != other.status:
        return f"{one.status} and {other.status}"
    if one.body != other.body:
        return "other bytes"
    ours, theirs = (
        {(name, value) for name, value in its.headers if name.lower() != "date" and name not in restless}
        for its in (one, other)
    )
    names = sorted({name for name, _ in ours ^ theirs})
    return f"the headers {', '.join(names)}" if names else None


# Forged headers


def address(target: Target, trial: Trial, phone: Phone) -> Finding:
    """Where the server sees a phone that says nothing of its address."""
    agent = f"{AGENT} {secrets.token_hex(4)}"
    answer = _proved(target, phone.fetch(target.url, agent=agent), phone)
    seen = trial.public_ip(phone, agent)
    parsed = None if seen is None else addresses.parse(seen)
    return judged(parsed, answer.ours, answer.theirs, target.config)


def judged(seen: Address | None, ours: Address, theirs: Address, config: Config) -> Finding:
    probe = "address seen"
    if seen is None:
        return bad(
            probe,
            "a trusted proxy does not say whose request it passes on, so no phone's address is known",
            "Have it say so. nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for. HAProxy: option "
            "forwardfor. What passes bytes on: the PROXY protocol.",
        )
    declared = ", ".join(map(str, config.network.trusted_proxies)) or "empty"
    declare = f"Add it to [network] trusted_proxies (now {declared})."
    if seen == ours:
        return ok(probe, f"{seen}, which is ours")
    if seen == theirs or addresses.within(seen, config.network.trusted_proxies):
        return bad(probe, f"{seen}, which is a proxy's and not ours ({ours}): every phone would be there", declare)
    if not seen.is_global and (theirs.is_global or theirs.is_loopback):
        return bad(
            probe,
            f"{seen} instead of ours ({ours}): a proxy that is not declared, and every phone would be there",
            f"{declare} If it is a router that sends this machine's requests back in, run the doctor from elsewhere.",
        )
    if not seen.is_global:
        return warning(
            probe,
            f"{seen} instead of ours ({ours}): a router between us, or a proxy that is not declared",
            f"If it is a proxy: {declare[0].lower()}{declare[1:]}",
        )
    return ok(probe, f"{seen}; ours is {ours}, behind a router")


def forgeries(config: Config) -> list[tuple[str, Fields]]:
    """What a phone could write of its address, by name."""
    one = ("X-Forwarded-For", VICTIM)
    inside = [f"{VICTIM}, {network.network_address}" for network in config.network.trusted_proxies[:1]]
    return [
        ("X-Forwarded-For", [one]),
        ("X-Forwarded-For with two entries", [("X-Forwarded-For", f"{VICTIM}, {VICTIM}")]),
        ("X-Forwarded-For twice", [one, one]),
        *((("X-Forwarded-For with a trusted proxy's address", [("X-Forwarded-For", value)])) for value in inside),
        ("Forwarded", [("Forwarded", f'for={VICTIM};proto=https, for="{VICTIM}:4711"')]),
        (" or ".join(_OTHER_HEADERS), [(name, VICTIM) for name in _OTHER_HEADERS]),
    ]


def forged_headers(target: Target, trial: Trial, phone: Phone) -> Finding:
    believed, tried = [], forgeries(target.config)
    for name, fields in tried:
        agent = f"{AGENT} {secrets.token_hex(4)}"
        _proved(target, phone.fetch(target.url, agent=agent, fields=fields), phone)
        if trial.public_ip(phone, agent) == VICTIM:
            believed.append(name)
    if believed:
        return bad("forged headers", f"a client chooses its address by {', '.join(believed)}", _MEND_FORWARDED)
    return ok("forged headers", f"{len(tried)} ways to lie about one's address were tried, and none was believed")


def forged_proxy_line(target: Target, trial: Trial, phone: Phone) -> Finding:
    """The PROXY protocol's, ahead of TLS."""
    probe, agent = "forged PROXY header", f"{AGENT} {secrets.token_hex(4)}"
    try:
        answer = phone.fetch(target.url, agent=agent, first=_PROXY_LINE)
    except Unreachable:
        return ok(probe, "the connection is refused")
    if target.bypasses_the_proxy(target.url, answer):
        raise NotProbed(*_DIRECT)
    if phone.secret.encode() not in answer.body:
        return ok(probe, f"answered {answer.status}")
    if trial.public_ip(phone, agent) == VICTIM:
        return bad(
            probe,
            "a client chooses its address by it",
            "Something passes bytes on without a PROXY header of its own and is in [network] trusted_proxies: have it "
            "send one (nginx: proxy_protocol on; HAProxy: send-proxy-v2), or take it out.",
        )
    return ok(probe, "it is not believed")


def forged_certificate(target: Target, trial: Trial) -> Finding:
    """Whether what a client sends under [devices] proxy_header reaches the server."""
    probe, header = "forged certificate", target.config.devices.proxy_header
    if not header:
        return ok(probe, "[devices] proxy_header is off: no header counts as one")
    phone = trial.phone()
    answer = ask(f"{target.url}/{phone.document}", fields=[("User-Agent", AGENT), (header, ":Zm9yZ2Vk:")])
    if answer.status == 429:
        raise NotProbed("too many requests without a proof came from our address", "Try again in twenty minutes.")
    if target.bypasses_the_proxy(target.url, answer):
        raise NotProbed(*_DIRECT)
    time.sleep(1)
    reasons = [its["detail"].get("reason") for its in trial.told(phone) if its["kind"] == "refused"]
    if not reasons:
        raise NotProbed("the server did not record the request", "Try again.")
    if "certificate-unreadable" in reasons:
        return bad(
            probe,
            f"what a client sends as {header} reaches the server: a copied certificate, which is no secret, is a proof",
            f"The proxy must set it for every request. nginx: proxy_set_header {header} $ssl_client_escaped_cert. "
            f"HAProxy: http-request del-header {header}, ahead of setting it.",
        )
    return ok(probe, f"what a client sends as {header} does not get through")


def _proved(target: Target, answer: Answer, phone: Phone) -> Answer:
    if target.bypasses_the_proxy(target.url, answer):
        raise NotProbed(*_DIRECT)
    if phone.marker not in answer.body:
        raise NotProbed(
            f"the test phone's secret gets it no configuration at {target.url} ({answer.status})",
            "Does the URL lead to this installation, by HTTPS, and does [proofs] accept have secret?",
        )
    return answer


# Plain HTTP


def plain_http(target: Target, phone: Phone) -> Finding:
    probe, url = "plain HTTP", target.http_url
    if not url:
        return ok(probe, "[listen] phones_http is off")
    lying: tuple[Fields, ...] = ([("X-Forwarded-Proto", "https")], [("X-Forwarded-For", "10.6.6.6")])
    try:
        honest = phone.fetch(url)
        if target.bypasses_the_proxy(url, honest):
            raise NotProbed(*_DIRECT)
        forged = [its[0][0] for its in lying if phone.marker in phone.fetch(url, fields=its).body]
    except Unreachable as error:
        return ok(probe, str(error))
    allowed, public = target.config.phones.lines_over_http, honest.theirs.is_global
    if phone.marker not in honest.body:
        if forged:
            return bad(probe, f"{url} gives lines to who sends a forged {' or '.join(forged)}", _MEND_PROTO)
        return ok(probe, f"{url} answers {honest.status}, and gives no lines")
    seen = f"{url} gives lines in the clear"
    if allowed == "always":
        return warning(
            probe,
            f"{seen}, as [phones] lines_over_http = always says",
            "Whoever listens has SIP passwords and secrets: set it to private; old phones get [listen] phones_legacy.",
        )
    if allowed == "never" or public:
        return bad(
            probe,
            f"{seen}, though [phones] lines_over_http = {allowed}",
            f"Something before the server hides that it is plain HTTP, or where we are. {_MEND_PROTO}",
        )
    return ok(probe, f"{seen} to private addresses, as [phones] lines_over_http = private says")
