"""The management API: who reaches it, what it takes for a token, and what it tells of the fleet."""

import base64
import ipaddress
import time
from collections import Counter
from datetime import datetime

from provisioning.doctor.asking import Answer, ask, endpoint
from provisioning.doctor.finding import Finding, bad, ok, warning
from provisioning.doctor.target import Target

WELL_KNOWN = frozenset(
    {
        "admin", "administrator", "changeme", "change-me", "default", "demo", "example", "hunter2", "letmein",
        "pass", "passw0rd", "password", "provisioning", "qwerty", "root", "secret", "sip", "sipsecret", "test",
        "test123", "token", "user", "0000", "1111", "123", "1234", "12345", "123456", "12345678", "456",
        "plcmspip",
    }
)  # fmt: skip
"As they stand in manuals, examples and the lists of those who guess; in lower case."
LATER = 86400.0
MOST_DOORS = 20
_SHOWN = 5
_TOKENS = ("", "admin", "changeme", "password", "secret", "token", "1234")
_READS = ("/v1/accounts", "/v1/phones", "/v1/tokens", "/v1/audit")
_METRICS = b"provisioning_"


def address(target: Target) -> Finding:
    probe = "management address"
    told = target.ready.get("management") or target.config.listen.management
    host = endpoint(target.management)[0] if told is None else endpoint(f"http://{told}")[0]
    if _is_loopback(host) and _is_loopback(endpoint(target.management)[0]):
        return ok(probe, f"{host}: this machine only")
    if target.management.startswith("https:"):
        return ok(probe, f"{target.management}: by TLS")
    return warning(
        probe,
        f"{host}, without TLS: whoever listens on the way reads tokens",
        "Set [listen] management to 127.0.0.1, or put a TLS proxy before it and let nobody else reach it.",
    )


def without_a_token(target: Target) -> Finding:
    probe = "management without a token"
    open_ = [path for path in _READS if _gives(ask(target.management + path, context=target.management_tls))]
    if open_:
        return bad(
            probe,
            f"{', '.join(open_)} answers without a token",
            "Something before it adds one; have it pass on what callers show, or ask for a password itself.",
        )
    return ok(probe, "refused")


def guessed_tokens(target: Target) -> Finding:
    probe = "guessable tokens"
    basic = base64.b64encode(b"admin:admin").decode()
    taken = [
        repr(shown or "an empty one")
        for shown, value in (*((its, f"Bearer {its}") for its in _TOKENS), ("admin:admin", f"Basic {basic}"))
        if _gives(ask(target.management + _READS[0], fields=[("Authorization", value)], context=target.management_tls))
    ]
    if taken:
        return bad(probe, f"accepted: {', '.join(taken)}", "Remove it (`provisioning token list`), and make another.")
    return ok(probe, f"{len(_TOKENS) + 1} were tried, and none was accepted")


def metrics(target: Target) -> Finding:
    answer = ask(f"{target.management}/metrics", context=target.management_tls)
    if answer.status != 200:
        return ok("metrics", f"/metrics answers {answer.status}")
    if _is_loopback(endpoint(target.management)[0]):
        return ok("metrics", "/metrics needs no token, and is for this machine only")
    return warning(
        "metrics",
        "/metrics needs no token, and can be reached from elsewhere; it holds counts, and no secret",
        "Let only your monitoring reach it.",
    )


def from_outside(target: Target) -> Finding:
    """Whether the phones' URL leads to the management API, too."""
    probe, found = "management at the phones' URL", []
    for path, sign in ((_READS[0], b'"unauthorized"'), ("/metrics", _METRICS)):
        answer = ask(target.url + path)
        if answer.status in (200, 401) and (sign in answer.body or b'"too-many-failures"' in answer.body):
            found.append(path)
    if found:
        return warning(
            probe,
            f"{target.url} answers {', '.join(found)} as the management API does",
            "Have the proxy pass the phones' paths on only to the phones' listeners.",
        )
    return ok(probe, "not there")


def doors(target: Target) -> Finding:
    macs, far, now = [], [], time.time()
    for phone in target.api.pages("/v1/phones"):
        door = phone["door"]
        if door is None:
            continue
        macs.append(phone["mac"])
        if datetime.fromisoformat(door["closes_at"]).timestamp() > now + LATER:
            far.append(phone["mac"])
    probe, seen = "open doors", f"{len(macs)} open"
    if far or len(macs) > MOST_DOORS:
        shown = far or macs
        more = "" if len(shown) <= _SHOWN else " and more"
        long = f", {len(far)} of them for more than a day" if far else ""
        return warning(
            probe,
            f"{seen}{long}: {', '.join(shown[:_SHOWN])}{more}",
            "Behind an open door a MAC and an address are enough. Close them (DELETE /v1/phones/{mac}/door), and "
            "look at [phones] door.",
        )
    return ok(probe, seen)


def alarms(target: Target) -> Finding:
    since, kinds = time.time() - LATER, Counter[str]()
    for alarm in target.api.pages("/v1/alarms"):
        if datetime.fromisoformat(alarm["at"]).timestamp() < since:
            break
        kinds[alarm["kind"]] += 1
    if kinds:
        told = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
        return warning("alarms", f"in the last 24 hours: {told}", "Look at them: `provisioning alarms`.")
    return ok("alarms", "none in the last 24 hours")


def _gives(answer: Answer) -> bool:
    """A list, and not some proxy's page that asks for a password."""
    return answer.status == 200 and b'"items"' in answer.body


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
