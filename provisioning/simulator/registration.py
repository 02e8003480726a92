"""A phone's side of REGISTER: one line, kept registered at its proxy (RFC 3261 section 10.2)."""

import asyncio
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import quote

from provisioning.simulator.dialects.base import ReadLine
from provisioning.simulator.endpoint import Address, Endpoint
from provisioning.sip import digest
from provisioning.sip.digest import Credentials
from provisioning.sip.message import Header, Request, Response

NO_ANSWER = 408
"What a phone makes of silence (RFC 3261 section 8.1.3.1)."
NOT_SENT = 503
"The same section: the request could not even leave, such as for want of an address."


@dataclass(slots=True)
class Registration:
    line: ReadLine
    status: int | None = None
    "The registrar's last answer; None: not asked yet."
    expires_at: float = 0.0
    "By the clock of the event loop; in the past when not registered."
    due: float = 0.0
    "When the next REGISTER is to leave."
    failures: int = 0
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    cseq: int = 0


async def register(
    endpoint: Endpoint, registration: Registration, *, expires: int, user_agent: str, within: float
) -> int:
    """Sends REGISTER, answers one challenge, and notes status and expiry; `expires` 0 takes the line out."""
    line = registration.line
    loop = asyncio.get_running_loop()
    try:
        proxy = await _resolved(line.outbound_proxy or line.domain)
    except (OSError, ValueError):
        registration.status = NOT_SENT
        return NOT_SENT
    host, port = endpoint.address
    domain = re.sub(r":[0-9]+$", "", line.domain)
    uri = f"sip:{domain}"
    user = quote(line.username, safe="-_.!~*'()&=+$,;?/")
    contact = f"sip:{user}@{host}:{port}"
    tag = secrets.token_hex(5)

    async def send(*headers: Header) -> Response | None:
        registration.cseq += 1
        request = Request(
            "REGISTER",
            uri,
            (
                ("Max-Forwards", "70"),
                ("From", f"<sip:{user}@{domain}>;tag={tag}"),
                ("To", f"<sip:{user}@{domain}>"),
                ("Call-ID", registration.call_id),
                ("CSeq", f"{registration.cseq} REGISTER"),
                ("Contact", f"<{contact}>"),
                ("Expires", str(expires)),
                ("User-Agent", user_agent),
                *headers,
            ),
        )
        return await endpoint.ask(request, endpoint.to(proxy), within=within)

    answer = await send()
    if answer is not None and answer.status in (401, 407):
        authorization = _authorization(answer, line, uri)
        if authorization is not None:
            answer = await send(authorization)
    status = NO_ANSWER if answer is None else answer.status
    registration.status = status
    if answer is not None and 200 <= status < 300:
        granted = _granted(answer, contact, expires) if expires else 0
        registration.expires_at = loop.time() + granted if granted else 0.0
    elif status not in (NO_ANSWER, NOT_SENT):
        registration.expires_at = 0.0
    return status


def _authorization(answer: Response, line: ReadLine, uri: str) -> Header | None:
    """The header that answers a challenge; None when there is none that can be answered."""
    asked, ours = (
        ("WWW-Authenticate", "Authorization") if answer.status == 401 else ("Proxy-Authenticate", "Proxy-Authorization")
    )
    try:
        offered = [challenge for value in answer.all(asked) for challenge in digest.challenges(value)]
    except ValueError:
        return None
    challenge = digest.strongest(offered)
    if challenge is None:
        return None
    credentials = Credentials(line.username, line.password)
    return ours, str(digest.answer(challenge, credentials, method="REGISTER", uri=uri))


def _granted(answer: Response, contact: str, asked: int) -> int:
    """Seconds: a registrar lists all contacts of the line, ours among them."""
    try:
        listed = answer.values("Contact")
    except ValueError:
        listed = []
    for value in listed:
        _, _, parameters = value.partition(f"<{contact}>")
        if expires := re.search(r";\s*expires\s*=\s*(\d{1,9})", parameters, re.IGNORECASE):
            return int(expires[1])
    header = answer.get("Expires") or ""
    return int(header) if re.fullmatch(r"\d{1,9}", header) else asked


async def _resolved(where: str) -> Address:
    """`host` or `host:port`; a name is looked up as IPv4, without SRV."""
    host, colon, port_text = where.rpartition(":")
    if not colon or where.endswith("]"):
        host, port_text = where, "5060"
    port = int(port_text)
    if not host or not 0 < port < 65_536:
        raise ValueError(f"{where!r} is no host, or no host:port")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), port
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return str(found[0][4][0]), port
