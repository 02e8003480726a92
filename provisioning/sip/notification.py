"""One out-of-dialog NOTIFY: the requests it takes until the answer is no challenge any more.

RFC 6665 knows no NOTIFY without a subscription; every desk phone does. No I/O here.
"""

import re
import secrets
from dataclasses import dataclass, field

from provisioning.sip import digest
from provisioning.sip.digest import Challenge, Credentials
from provisioning.sip.message import Header, Request, Response, check_header

_URI = re.compile(
    r"sips?:(?:(?P<user>[!#-;=?A-~]+)@)?(?:\[[0-9A-F:.]+\]|[A-Z0-9._-]+)(?::[0-9]{1,5})?(?:;[!#-;=@-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_CHALLENGED = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass(slots=True)
class _Answer:
    challenge: Challenge
    credentials: Credentials
    renewed: bool
    sent: int = 0


@dataclass(slots=True)
class Notification:
    target: str
    event: str
    sender: str
    user_agent: str
    credentials: dict[int, Credentials | None]
    """Who we are when the phone asks (401) and when the proxy does (407)."""
    body: bytes = b""
    content_type: str | None = None
    _user: str = field(init=False)
    _headers: list[Header] = field(init=False)
    _tag: str = field(default_factory=lambda: secrets.token_hex(8), init=False)
    _call_id: str = field(default_factory=lambda: secrets.token_hex(16), init=False)
    _cseq: int = field(default=0, init=False)
    _answers: dict[int, _Answer] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        user_of(self.target)
        self._user = user_of(self.sender)
        if not self.event.strip():
            raise ValueError("a NOTIFY needs an Event")
        self._headers = [
            ("Event", self.event),
            ("Subscription-State", "active"),
            ("User-Agent", self.user_agent),
        ]
        if self.content_type:
            self._headers.append(("Content-Type", self.content_type))
        elif self.body:
            raise ValueError("a body needs a content type")  # RFC 3261 §20.15
        for name, value in self._headers:
            check_header(f"{name}: {value}")

    def request(self, transport: str, local: str) -> Request:
        """The next one, over `transport` from the address `local`: a new transaction of the same call."""
        self._cseq += 1
        branch = "z9hG4bK" + secrets.token_hex(12)  # RFC 3261 §8.1.1.7
        headers = (
            ("Via", f"SIP/2.0/{transport.upper()} {local};branch={branch};rport"),  # rport: RFC 3581
            ("Max-Forwards", "70"),
            ("From", f"<{self.sender}>;tag={self._tag}"),
            ("To", f"<{self.target}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} NOTIFY"),
            ("Contact", f"<sip:{self._user}{local};transport={transport}>"),
            *self._authorizations(),
            *self._headers,
        )
        return Request("NOTIFY", self.target, headers, self.body)

    def authorise(self, response: Response) -> bool:
        """Whether this response is a challenge that the next `request` will answer.

        Once for the phone and once for the proxy: who refuses an answer would refuse it again. Only a
        nonce that had expired is worth a second one.
        """
        asked, _ = _CHALLENGED.get(response.status, ("", ""))
        credentials = self.credentials.get(response.status)
        challenge = digest.strongest(_challenges(response.all(asked)))
        if not credentials or not challenge:
            return False
        earlier = self._answers.get(response.status)
        if earlier and (earlier.renewed or not challenge.stale or challenge.nonce == earlier.challenge.nonce):
            return False
        self._answers[response.status] = _Answer(challenge, credentials, renewed=earlier is not None)
        return True

    def _authorizations(self) -> list[Header]:
        """A phone's 401 may follow the proxy's 407: both answers stay, with the nonce counted on."""
        headers = []
        for status, given in self._answers.items():
            given.sent += 1
            value = digest.answer(given.challenge, given.credentials, method="NOTIFY", uri=self.target, nc=given.sent)
            headers.append((_CHALLENGED[status][1], str(value)))
        return headers


def user_of(uri: str) -> str:
    """With its @, or empty."""
    found = _URI.fullmatch(uri)
    if not found:
        raise ValueError(f"{uri!r} is not a SIP address such as sip:1001@example.net")
    return f"{found['user']}@" if found["user"] else ""


def _challenges(lines: list[str]) -> list[Challenge]:
    found = []
    for line in lines:
        try:
            found += digest.challenges(line)
        except ValueError:
            continue  # the next line may hold one that can be read
    return found
