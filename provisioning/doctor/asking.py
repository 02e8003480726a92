"""One request on one connection, spelled as it is given; and the management API by it."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from provisioning.domain import address as addresses
from provisioning.domain.address import Address

SECONDS = 10.0
"For a whole request, its connection included."
LARGEST = 10_000_000
Fields = Sequence[tuple[str, str]]


class Unreachable(Exception):  # noqa: N818  read as `except Unreachable`
    """Nothing answers, or not as it should: where, and how that showed."""


class Refusal(Exception):  # noqa: N818  the same
    """The management API says no."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    ours: Address
    "The address of our end of the connection; a router on the way may show another."
    theirs: Address

    def header(self, name: str) -> str:
        return next((value for its, value in self.headers if its.lower() == name.lower()), "")


def endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def lax() -> ssl.SSLContext:
    """Connects to whatever speaks TLS; what that is worth is judged apart (handshakes.py)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@contextlib.contextmanager
def connected(url: str, context: ssl.SSLContext | None, first: bytes = b"") -> Iterator[socket.socket]:
    """`first` goes ahead of everything, of TLS too. Unreachable; OSError once something has answered."""
    host, port = endpoint(url)
    try:
        plain = socket.create_connection((host, port), timeout=SECONDS)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"nothing answers at {url} ({why(error)})") from None
    # A socket's own time-out begins anew with each byte.
    held = plain.dup()
    watch = threading.Timer(SECONDS, _end, (held,))
    watch.daemon = True
    watch.start()
    its = plain
    try:
        plain.sendall(first)
        if context is not None:
            its = context.wrap_socket(plain, server_hostname=host)
        yield its
    finally:
        watch.cancel()
        held.close()
        its.close()


def ask(
    url: str,
    *,
    method: str = "GET",
    fields: Fields = (),
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
    first: bytes = b"",
) -> Answer:
    """Unreachable: no HTTP answer came. Redirects are answers."""
    parts = urlsplit(url)
    tls = (context or lax()) if parts.scheme == "https" else None
    try:
        with connected(url, tls, first) as its:
            ours, theirs = (addresses.parse(name[0]) for name in (its.getsockname(), its.getpeername()))
            connection = http.client.HTTPConnection(*endpoint(url))
            connection.sock = its
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", parts.netloc), *fields, ("Connection", "close")):
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            with connection.getresponse() as response:
                return Answer(response.status, tuple(response.getheaders()), response.read(LARGEST), ours, theirs)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"no HTTP answer comes from {parts.scheme}://{parts.netloc} ({why(error)})") from None


class Api:
    """The management API, as the operator."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None) -> None:
        self.url = url
        self._token = token
        self._context = context

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Refusal, Unreachable."""
        fields = [("Authorization", f"Bearer {self._token}")]
        data = None if body is None else json.dumps(body).encode()
        answer = ask(self.url + path, method=method, fields=fields, body=data, context=self._context)
        try:
            told = json.loads(answer.body) if answer.body else None
        except ValueError:
            told = None
        if answer.status >= 300:
            detail = told.get("detail") if isinstance(told, dict) else None
            raise Refusal(answer.status, str(detail or f"{method} {path} is answered {answer.status}."))
        return told

    def pages(self, path: str) -> Iterator[Any]:
        """Every item of a list."""
        after: str | None = ""
        while after is not None:
            page = self.call("GET", f"{path}?{urlencode({'limit': 1000} | ({'after': after} if after else {}))}")
            yield from page["items"]
            after = page["next"]


def named(name: str) -> str:
    return quote(name, safe="")


def why(error: BaseException) -> str:
    """Of an error in the network or in TLS, what a person can use."""
    if isinstance(error, TimeoutError):
        return f"no answer in {SECONDS:.0f} s"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _end(of: socket.socket) -> None:
    with contextlib.suppress(OSError):
        of.shutdown(socket.SHUT_RDWR)
