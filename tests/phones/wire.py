"""Phones as bytes on a socket, and the server's own view of them."""

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from running import Api, Server

from provisioning.config import ROOT

TEMPLATES = ROOT / "templates" / "phones"
VARYING = ("date",)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def shape(self) -> tuple[object, ...]:
        """All that a stranger can compare."""
        return self.status, tuple(item for item in self.headers if item[0].lower() not in VARYING), self.body


@dataclass(frozen=True)
class Bound:
    """A phone in the database, with a line."""

    mac: str
    secret: str
    line: str
    account: str

    @property
    def password(self) -> str:
        return f"pw-{self.line}"

    def path(self, name: str = "{mac}.cfg") -> str:
        return f"/{self.secret}/{self.bare(name)[1:]}"

    def bare(self, name: str = "{mac}.cfg") -> str:
        return "/" + name.replace("{mac}", self.mac).replace("{MAC}", self.mac.upper())


async def bound(api: Api, mac: str, model: str = "yealink-t54w", **more: str) -> Bound:
    """A new account with a phone and its main line."""
    account = await api.account(f"a{mac}")
    line = f"l{mac}"
    await api.line(line, account, **more)
    phone = await api.phone(mac, model, account, main_line=line)
    return Bound(mac, secret_of(phone["provisioning_url"]), line, account)


def secret_of(url: str) -> str:
    return urlsplit(url).path.split("/")[1]


@contextlib.asynccontextmanager
async def managing(server: Server) -> AsyncIterator[Api]:
    api = Api(server)
    try:
        yield api
    finally:
        await api.close()


def endpoint(server: Server, *, tls: bool = False) -> tuple[str, int]:
    parts = urlsplit(server.https if tls else server.http)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def connect(server: Server, *, tls: bool = False, source: str | None = None, first: bytes = b"") -> socket.socket:
    """`first` goes ahead of TLS, as a PROXY header does."""
    made = socket.create_connection(
        endpoint(server, tls=tls), timeout=8, source_address=(source, 0) if source else None
    )
    made.sendall(first)
    return server.trust().wrap_socket(made, server_hostname="127.0.0.1") if tls else made


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: phones", *fields, "")).encode()


def read_reply(file: BinaryIO, *, body: bool = True) -> Reply:
    start = file.readline()
    match = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n", start)
    assert match, start
    headers = []
    while (line := file.readline()) != b"\r\n":
        assert line.endswith(b"\r\n"), line
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    head = Reply(int(match[1]), tuple(headers), b"")
    length = int(head["Content-Length"] or 0) if body and head.status != 304 else 0
    return Reply(head.status, head.headers, file.read(length))


def get(
    server: Server,
    path: str,
    *fields: str,
    method: str = "GET",
    tls: bool = False,
    source: str | None = None,
    first: bytes = b"",
) -> Reply:
    """One connection, one request."""
    with connect(server, tls=tls, source=source, first=first) as its:
        its.sendall(request(path, *fields, method=method))
        with its.makefile("rb") as file:
            return read_reply(file, body=method != "HEAD")


def raw(server: Server, sent: bytes, *, quiet: float = 0.3) -> bytes:
    """What comes back for these bytes until the server closes, or has been quiet for a while."""
    answered = b""
    with connect(server) as its:
        with contextlib.suppress(ConnectionError):
            its.sendall(sent)
        its.settimeout(quiet)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while piece := its.recv(65536):
                answered += piece
    return answered


def status_of(answered: bytes) -> int:
    """0: closed without a word."""
    match = re.match(rb"HTTP/\d\.\d (\d{3})", answered)
    return int(match[1]) if match else 0


def closed_within(its: socket.socket, seconds: float) -> bool:
    """The peer closes; whatever it says before does not count."""
    deadline = time.monotonic() + seconds
    try:
        while True:
            its.settimeout(max(0.01, deadline - time.monotonic()))
            if not its.recv(65536):
                return True
    except (ConnectionError, ssl.SSLError):
        return True
    except TimeoutError:
        return False


async def until(condition: Any, within: float = 5.0) -> Any:
    """Waits for a coroutine function, or function, to give something true."""
    deadline = time.monotonic() + within
    while True:
        got = condition()
        if asyncio.iscoroutine(got):
            got = await got
        if got:
            return got
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.03)


async def seen(api: Api, mac: str) -> dict[str, Any]:
    """The phone, once a visit of it was recorded."""

    async def look() -> Any:
        body = (await api.get(f"/v1/phones/{mac}")).body
        return body if body["last_seen"] else None

    return await until(look)


@contextlib.contextmanager
def running(directory: Path, **settings: str) -> Iterator[Server]:
    """A server for a module's tests. It must end well and without a traceback."""
    its = Server(directory, settings)
    its.start()
    try:
        yield its
        assert its.stop() == 0, text(its.log)
        assert "Traceback" not in text(its.log)
    finally:
        its.kill()


def templates_copy(directory: Path) -> Path:
    return Path(shutil.copytree(TEMPLATES, directory / "templates"))


def change(path: Path, old: str, new: str) -> None:
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new, 1))


def text(path: Path) -> str:
    return path.read_text()
