"""The phones' TLS listeners, over real sockets: who gets in, and whose certificate says what.

The listeners run in a thread with uvloop, as in the server; the phones are sockets of the test.
"""

import asyncio
import base64
import contextlib
import ipaddress
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop
from aiohttp import web
from cryptography.x509.oid import ExtendedKeyUsageOID
from device_certificates import DAY, Factory, Shown, write_bundles

from provisioning import tls
from provisioning.config import ROOT
from provisioning.domain.catalogue import Catalogue, CertificateRule, Vendor, catalogue
from provisioning.domain.errors import Fault
from provisioning.domain.vendor_file import parse_vendor
from provisioning.metrics import Metrics
from provisioning.phones import certificates
from provisioning.phones.certificates import Certificates
from provisioning.phones.connection import Connection, Kind
from provisioning.phones.listener import PhonesListener

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

MAC, SIBLING, SNOM_MAC = "001565a1b2c3", "001565a1b2c4", "000413a1b2c3"
KINDS: tuple[Kind, ...] = ("https", "mtls", "legacy")
VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)


def shipped() -> Catalogue:
    """As shipped, but for the name of a generic certificate, which no guide of Yealink's tells."""
    parsed = [
        parse_vendor(path.parent.name, path.read_text("utf-8"))
        for path in (ROOT / "templates" / "phones").glob("*/vendor.toml")
    ]
    rule = CertificateRule("CN", ("Yealink Generic",))
    return catalogue(replace(its, certificate=rule) if its.folder == "yealink" else its for its in parsed)


@dataclass
class Listening:
    """The real listener, which answers what it knows of each request's certificate."""

    certificates: Certificates
    directory: Path
    ports: dict[Kind, int] = field(default_factory=dict)
    sockets: dict[Kind, socket.socket] = field(default_factory=dict)
    asked: int = 0

    def contexts(self) -> dict[Kind, ssl.SSLContext | None]:
        mtls = tls.context(*tls.own(self.directory))
        legacy = tls.legacy_context(*tls.own(self.directory, legacy=True))
        for its in (mtls, legacy):
            tls.request_certificates(its, self.certificates.authorities)
        return {"http": None, "https": tls.context(*tls.own(self.directory)), "mtls": mtls, "legacy": legacy}

    async def answer(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        self.asked += 1
        said = self.certificates.of(request, connection)
        told = {"kind": connection.kind, "shown": said is not None}
        if said is not None:
            told |= {"mac": said.mac, "reason": said.reason}
        response = web.json_response(told)
        await response.prepare(request)
        await response.write_eof()
        return response

    def start(self) -> None:
        for legacy in (False, True):
            tls.make_own(self.directory, ["127.0.0.1"], legacy=legacy)
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: uvloop.run(self._run(ready)))
        self.thread.start()
        assert ready.wait(10)

    async def _run(self, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopped = asyncio.Event()
        self.listener = PhonesListener(
            self.answer,
            connections=1000,
            connections_per_address=1000,
            answers=1000,
            handshake=5,
            request=5,
            trusted=LOOPBACK,
            metrics=Metrics(),
        )
        for kind, context in self.contexts().items():
            its = socket.create_server(("127.0.0.1", 0), backlog=1000)
            its.setblocking(False)
            self.ports[kind] = its.getsockname()[1]
            self.sockets[kind] = its
            self.listener.add(its, context, kind)
        ready.set()
        await self.stopped.wait()
        await self.listener.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(10)

    def reload(self, its: Certificates) -> None:
        """As SIGHUP does, in the listener's own thread."""
        done = threading.Event()

        def swap() -> None:
            self.certificates = its
            for kind, context in self.contexts().items():
                if context is not None:
                    self.listener.use(self.sockets[kind], context)
            done.set()

        self.loop.call_soon_threadsafe(swap)
        assert done.wait(5)

    def client(self, kind: Kind, shown: Path | None = None, version: str | None = None) -> ssl.SSLContext:
        """A phone as lax as they come, so that whatever is refused is refused by us."""
        context = ssl.create_default_context(cafile=self.directory / ("legacy-ca.pem" if kind == "legacy" else "ca.pem"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        if version is not None:
            context.minimum_version = context.maximum_version = VERSIONS[version]
        if shown is not None:
            context.load_cert_chain(shown)
        return context

    def ask(self, kind: Kind, context: ssl.SSLContext | None, *fields: str, first: bytes = b"") -> dict[str, Any] | None:
        """What the listener knows; None: it refused the handshake."""
        with socket.create_connection(("127.0.0.1", self.ports[kind]), timeout=5) as plain:
            plain.sendall(first)
            with contextlib.ExitStack() as stack:
                its = plain
                try:
                    if context is not None:
                        its = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
                    return exchange(its, *fields)
                except (ssl.SSLError, ConnectionError):
                    return None


def exchange(its: socket.socket, *fields: str) -> dict[str, Any]:
    lines = ("GET / HTTP/1.1", "Host: phones", *fields, "", "")
    its.sendall("\r\n".join(lines).encode())
    with its.makefile("rb") as file:
        start = file.readline()
        if not start:
            raise ConnectionResetError
        assert start.startswith(b"HTTP/1.1 200"), start
        length = 0
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(file.read(length))


@dataclass
class World:
    """Two vendors with a CA each, somebody without; and what phones of them show."""

    yealink: Factory
    snom: Factory
    stranger: Factory
    shown: dict[str, Shown]
    folder: Path
    listening: Listening

    def file(self, name: str) -> Path | None:
        return None if name == "none" else self.folder.parent / f"{name}.pem"

    def save(self, name: str, shown: Shown) -> Path:
        return shown.write(self.folder.parent / f"{name}.pem")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("tls")
    yealink, snom, stranger = Factory("Acme Yealink CA"), Factory("Acme Snom CA"), Factory("Acme Yealink CA")
    shown = {
        "right": yealink.phone(MAC.upper()),
        "right-ec": yealink.phone("00:15:65:a1:b2:c3", curve=True),
        "sibling": yealink.phone(SIBLING),
        "other-vendors-ca": snom.phone(MAC),
        "unknown-ca": stranger.phone(MAC),
        "generic": yealink.phone("Yealink Generic"),
        "expired": yealink.phone(MAC, born=-900 * DAY, dies=-DAY),
        "not-yet-valid": yealink.phone(MAC, born=DAY),
        "revoked-certificate": yealink.phone(MAC),
        "revoked-mac": yealink.phone("001565dead01"),
        "sha1": yealink.phone(MAC, sha1=True),
        "rsa-1024": yealink.phone(MAC, bits=1024),
        "no-mac": yealink.phone("SIP-T46S"),
        "foreign-prefix": yealink.phone(SNOM_MAC),
    }
    folder = write_bundles(
        directory / "ca",
        {"yealink": [yealink], "snom": [snom]},
        [shown["revoked-certificate"].fingerprint, "00:15:65:DE:AD:01"],
    )
    listening = Listening(certificates.load(folder, shipped(), proxy_header="Client-Cert", trusted=LOOPBACK), directory)
    its = World(yealink, snom, stranger, shown, folder, listening)
    for name, one in shown.items():
        its.save(name, one)
    listening.start()
    yield its
    listening.stop()


# R11: the table

REASONS = {
    "other-vendors-ca": "certificate-foreign-prefix",
    "generic": "certificate-generic",
    "expired": "certificate-expired",
    "not-yet-valid": "certificate-not-yet-valid",
    "revoked-certificate": "certificate-revoked",
    "revoked-mac": "certificate-revoked",
    "no-mac": "certificate-no-mac",
    "foreign-prefix": "certificate-foreign-prefix",
}
MACS = {"right": MAC, "right-ec": MAC, "sibling": SIBLING, "sha1": MAC, "rsa-1024": MAC}
CASES = [*REASONS, *MACS, "unknown-ca", "none"]


def expected(kind: Kind, version: str, case: str) -> dict[str, Any] | None:
    """None: no handshake."""
    if kind != "legacy" and version in ("1.0", "1.1"):
        return None
    if kind == "https" or case == "none":
        return {"kind": kind, "shown": False}
    if case == "unknown-ca" or (kind == "mtls" and case in ("sha1", "rsa-1024")):
        return None
    return {"kind": kind, "shown": True, "mac": MACS.get(case), "reason": REASONS.get(case)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_who_gets_in_and_who_is_known(world: World, kind: Kind, version: str, case: str) -> None:
    context = world.listening.client(kind, world.file(case), version)
    assert world.listening.ask(kind, context) == expected(kind, version, case)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_without_a_certificate_or_encryption_is_agreed_on(world: World, kind: Kind) -> None:
    for ciphers in ("aNULL", "eNULL", "PSK", "SRP"):
        context = world.listening.client(kind, version="1.2")
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        assert world.listening.ask(kind, context) is None


def test_an_old_phone_needs_no_elliptic_curves(world: World) -> None:
    context = world.listening.client("legacy", world.file("right"), "1.0")
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    said = world.listening.ask("legacy", context)
    assert said is not None
    assert said["mac"] == MAC


def test_a_short_key_is_not_lent_from_one_listener_to_the_other(world: World) -> None:
    """What the legacy listener has seen is still weak for everybody else."""
    legacy = world.listening.client("legacy", world.file("rsa-1024"))
    assert world.listening.ask("legacy", legacy) is not None
    fields = f"Client-Cert: {rfc9440(world.shown['rsa-1024'])}"
    said = world.listening.ask("http", None, fields)
    assert said is not None
    assert said["reason"] == "certificate-weak"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["mtls", "legacy"])
def test_a_kept_connection_is_asked_each_time(world: World, kind: Kind, version: str) -> None:
    context = world.listening.client(kind, world.file("right"), version)
    with (
        socket.create_connection(("127.0.0.1", world.listening.ports[kind]), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as its,
    ):
        assert {exchange(its)["mac"] for _ in range(20)} == {MAC}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_taken_up_again_is_known_too(chains: Callable[..., Listening], tmp_path: Path, version: str) -> None:
    """Phones that resume: by session id in TLS 1.2, not at all in 1.3, for there are no tickets."""
    root = Factory("Root")
    issuing = Factory("Issuing", root)
    its = chains({"yealink": [root]})
    context = its.client("mtls", issuing.phone(MAC, above=(issuing.certificate,)).write(tmp_path / "phone.pem"), version)
    session, seen = None, []
    for _ in range(3):
        with (
            socket.create_connection(("127.0.0.1", its.ports["mtls"]), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as phone,
        ):
            seen.append((exchange(phone)["mac"], phone.session_reused))
            session = phone.session
            # OpenSSL forgets a session that ended without a good-bye.
            phone.unwrap().close()
    assert seen == [(MAC, False), (MAC, version == "1.2"), (MAC, version == "1.2")]


# Chains


@pytest.fixture
def chains(world: World, tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """Listeners whose folder holds other bundles."""
    started: list[Listening] = []

    def make(bundles: dict[str, list[Factory]], **more: Any) -> Listening:
        its = Listening(certificates.load(write_bundles(tmp_path / "ca", bundles), shipped(), **more), world.listening.directory)
        its.start()
        started.append(its)
        return its

    yield make
    for its in started:
        its.stop()


@pytest.mark.parametrize("kind", ["mtls", "legacy"])
@pytest.mark.parametrize(
    ("held", "sends", "known"),
    [
        ("root", True, True), ("root", False, False), ("issuing", True, True), ("issuing", False, True),
        ("both", True, True), ("both", False, True),
    ],
)  # fmt: skip
def test_a_root_or_an_issuing_ca(
    world: World, chains: Callable[..., Listening], tmp_path: Path, kind: Kind, held: str, sends: bool, known: bool
) -> None:
    root = Factory("Root")
    issuing = Factory("Issuing", root)
    phone = issuing.phone(MAC, above=(issuing.certificate,) if sends else ())
    its = chains({"yealink": {"root": [root], "issuing": [issuing], "both": [issuing, root]}[held]})
    said = its.ask(kind, its.client(kind, phone.write(tmp_path / "phone.pem")))
    assert said == ({"kind": kind, "shown": True, "mac": MAC, "reason": None} if known else None)


def test_under_one_root_the_nearest_ca_tells_the_vendor(chains: Callable[..., Listening], tmp_path: Path) -> None:
    root = Factory("Root")
    ours, theirs = Factory("Issuing Y", root), Factory("Issuing S", root)
    its = chains({"yealink": [ours], "snom": [root]})
    for factory, mac, known in ((ours, MAC, True), (ours, SNOM_MAC, False), (theirs, SNOM_MAC, True), (theirs, MAC, False)):
        file = factory.phone(mac, above=(factory.certificate,)).write(tmp_path / "phone.pem")
        said = its.ask("mtls", its.client("mtls", file))
        assert said is not None
        assert said["mac"] == (mac if known else None), (factory.name, mac)


def test_a_phones_certificate_signs_no_other(world: World, chains: Callable[..., Listening], tmp_path: Path) -> None:
    """Somebody with the key of one phone makes certificates of others with it."""
    own = world.shown["sibling"]
    forger = Factory("forger")
    forger.key, forger.name = own.key, own.certificate.subject
    forged = forger.phone(MAC, above=(own.certificate,))
    for kind in ("mtls", "legacy"):
        assert world.listening.ask(kind, world.listening.client(kind, forged.write(tmp_path / "phone.pem"))) is None
    assert world.listening.certificates.of_header([rfc9440(forged)]).reason == "certificate-unknown-ca"


@pytest.mark.parametrize("lenient", [False, True])
def test_an_expired_certificate_proves_as_much_as_the_operator_says(
    world: World, chains: Callable[..., Listening], lenient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    its = chains({"yealink": [world.yealink]}, accept_expired=lenient)
    for case in ("expired", "not-yet-valid"):
        for kind in ("mtls", "legacy"):
            said = its.ask(kind, its.client(kind, world.file(case)))
            accepted = lenient and case == "expired"
            assert said == {"kind": kind, "shown": True, "mac": MAC if accepted else None, "reason": f"certificate-{case}"}
    (told,) = [record.getMessage() for record in caplog.records if "certificate-expired" in record.getMessage()]
    assert told.endswith("accepted all the same") == lenient
    assert world.shown["expired"].fingerprint in told


# Behind a proxy


def rfc9440(shown: Shown) -> str:
    return f":{base64.b64encode(shown.der).decode()}:"


def nginx(shown: Shown) -> str:
    """$ssl_client_escaped_cert."""
    return quote(shown.pem, safe="")


@pytest.mark.parametrize("spelled", [rfc9440, nginx, lambda shown: quote(shown.pem)], ids=["rfc9440", "nginx", "quoted"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "none"])
def test_what_a_trusted_proxy_passes_on(world: World, case: str, spelled: Callable[[Shown], str]) -> None:
    said = world.listening.ask("http", None, f"Client-Cert: {spelled(world.shown[case])}")
    reason = REASONS.get(case)
    if case == "unknown-ca":
        reason = "certificate-unknown-ca"
    elif case == "rsa-1024":
        reason = "certificate-weak"
    elif case == "sha1":
        # Its signature is one that the library will not look at.
        assert said is not None
        assert said["mac"] is None
        reason = said["reason"]
        assert reason in ("certificate-unknown-ca", "certificate-weak")
    assert said == {"kind": "http", "shown": True, "mac": None if reason else MACS[case], "reason": reason}


@pytest.mark.parametrize(
    "value",
    [
        "x", ":", ":x:", ":AAAA:", "AAAA", ":AAAA", "-----BEGIN CERTIFICATE-----", "%2D%2D", ":MII=:", "%FF%FE", ":é:",
        'Hash=abc;Subject="CN=001565a1b2c3"', "001565a1b2c3", "CN=001565a1b2c3",
    ],
)  # fmt: skip
def test_what_is_no_certificate_proves_nothing(world: World, value: str) -> None:
    said = world.listening.ask("http", None, f"Client-Cert: {value}")
    assert said == {"kind": "http", "shown": True, "mac": None, "reason": "certificate-unreadable"}


@pytest.mark.parametrize("value", ["", "::", " "])
def test_a_proxy_says_that_there_is_no_certificate(world: World, value: str) -> None:
    assert world.listening.ask("http", None, f"Client-Cert: {value}") == {"kind": "http", "shown": False}


def test_two_headers_are_none(world: World) -> None:
    one, other = rfc9440(world.shown["right"]), rfc9440(world.shown["sibling"])
    for values in ((one, other), (other, one), (one, one), ("", one)):
        said = world.listening.ask("http", None, *(f"Client-Cert: {value}" for value in values))
        assert said == {"kind": "http", "shown": True, "mac": None, "reason": "certificate-unreadable"}
    said = world.listening.ask("http", None, f"Client-Cert: {one}, {other}")
    assert said is not None
    assert said["mac"] is None


def test_a_proxy_that_passes_bytes_on_vouches_for_no_header(world: World) -> None:
    """Then the header is the phone's own work, and certificates are no secret."""
    first = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"
    field = f"Client-Cert: {rfc9440(world.shown['right'])}"
    assert world.listening.ask("http", None, field, first=first) == {"kind": "http", "shown": False}
    said = world.listening.ask("mtls", world.listening.client("mtls", world.file("sibling")), field, first=first)
    assert said == {"kind": "mtls", "shown": True, "mac": SIBLING, "reason": None}


def test_the_connections_own_certificate_goes_before_the_proxys(world: World) -> None:
    field = f"Client-Cert: {rfc9440(world.shown['right'])}"
    for case, known in (("sibling", SIBLING), ("no-mac", None)):
        said = world.listening.ask("mtls", world.listening.client("mtls", world.file(case)), field)
        assert said is not None
        assert said["mac"] == known


@pytest.mark.parametrize(
    ("header", "trusted"),
    [("", LOOPBACK), ("X-Other", LOOPBACK), ("Client-Cert", ()), ("Client-Cert", (ipaddress.ip_network("192.0.2.0/24"),))],
)
def test_from_anybody_else_the_header_is_nothing(
    world: World, chains: Callable[..., Listening], header: str, trusted: tuple[ipaddress.IPv4Network, ...]
) -> None:
    its = chains({"yealink": [world.yealink]}, proxy_header=header, trusted=trusted)
    for kind in ("http", *KINDS):
        context = None if kind == "http" else its.client(kind)
        for name in ("Client-Cert", "client-cert", "CLIENT-CERT"):
            said = its.ask(kind, context, f"{name}: {rfc9440(world.shown['right'])}")
            assert said == {"kind": kind, "shown": False}


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        ((), True), ((ExtendedKeyUsageOID.CLIENT_AUTH,), True), ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), False),
        ((ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), True), ((ExtendedKeyUsageOID.SERVER_AUTH,), False),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_for_clients_is_no_phones(world: World, tmp_path: Path, usage: Any, known: bool) -> None:
    """Behind a proxy as OpenSSL has it on our own listener."""
    phone = world.yealink.phone(MAC, usage=usage)
    said = world.listening.ask("mtls", world.listening.client("mtls", phone.write(tmp_path / "phone.pem")))
    passed = world.listening.certificates.of_header([rfc9440(phone)])
    assert passed is not None
    assert (said is not None) == (passed.mac == MAC) == known


# The folder


def test_no_folder_no_certificates() -> None:
    its = certificates.load(None, shipped())
    assert its.authorities == ""


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("yelink.pem", "CA", "yelink.pem: yelink is no vendor's folder; there are acrobits, "),
        ("linphone.pem", "CA", "linphone.pem: linphone/vendor.toml has no [certificate] to say where the MAC stands"),
        ("yealink.pem", "", "yealink.pem: holds no certificates in PEM"),
        ("yealink.pem", "nothing", "yealink.pem: holds no certificates in PEM"),
        ("yealink.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "yealink.pem: holds no certificates in PEM"),
        ("yealink.pem", "LEAF", "yealink.pem: CN=001565A1B2C3 is no CA's certificate"),
        ("yealink.pem", "BOTH", "yealink.pem: CN=Acme Snom CA is also in snom.pem"),
        ("revoked.txt", "001565a1b2c3\nxyz\n", "revoked.txt:2: 'xyz' is neither a MAC nor a certificate's SHA-256"),
        ("revoked.txt", "AB" * 32, "revoked.txt:1: "),
        ("revoked.txt", "\xff", "revoked.txt: cannot be read"),
    ],
)
def test_a_fault_names_the_file(world: World, tmp_path: Path, name: str, content: str, told: str) -> None:
    folder = write_bundles(tmp_path / "ca", {"snom": [world.snom]})
    text = {"CA": world.yealink.pem, "LEAF": world.shown["right"].pem, "BOTH": world.snom.pem}.get(content, content)
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(Fault) as caught:
        certificates.load(folder, shipped())
    assert told in str(caught.value)
    assert str(folder) in str(caught.value)


def test_an_empty_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"holds no <vendor folder>.pem"):
        certificates.load(tmp_path, shipped())


def test_an_unreadable_bundle_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "yealink.pem").mkdir()
    with pytest.raises(Fault, match=r"yealink\.pem: cannot be read"):
        certificates.load(tmp_path, shipped())


def test_macs_and_fingerprints_are_revoked_in_any_spelling_and_order(world: World, tmp_path: Path) -> None:
    folder = write_bundles(tmp_path / "ca", {"yealink": [world.yealink]})
    entries = ["# stolen", "", f"  {world.shown['right'].fingerprint}  ", "00-15-65-A1-B2-C4 # sent back 2026-11-02"]
    (folder / "revoked.txt").write_text("\n".join(entries))
    its = certificates.load(folder, shipped())
    for case in ("right", "sibling"):
        said = its.of_header([rfc9440(world.shown[case])])
        assert said is not None
        assert said.reason == "certificate-revoked"
    assert its.of_header([rfc9440(world.shown["right-ec"])]).mac == MAC


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_MOST", 3)
    its = certificates.load(world.folder, shipped())
    for case in list(world.shown) * 2:
        its.of_header([rfc9440(world.shown[case])])
        assert len(its._read) <= 3
    assert its.of_header([rfc9440(world.shown["right"])]).mac == MAC


# Reload


def test_a_revocation_holds_for_connections_that_are_open(world: World, chains: Callable[..., Listening], tmp_path: Path) -> None:
    its = chains({"yealink": [world.yealink]})
    context = its.client("mtls", world.file("right"))
    with (
        socket.create_connection(("127.0.0.1", its.ports["mtls"]), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as kept,
    ):
        assert exchange(kept)["mac"] == MAC
        its.reload(certificates.load(write_bundles(tmp_path / "ca", {"yealink": [world.yealink]}, [MAC]), shipped()))
        assert exchange(kept)["reason"] == "certificate-revoked"


def test_a_ca_that_was_taken_away_is_unknown_at_once(world: World, chains: Callable[..., Listening], tmp_path: Path) -> None:
    its = chains({"yealink": [world.yealink], "snom": [world.snom]})
    context = its.client("mtls", world.file("right"), "1.2")
    with (
        socket.create_connection(("127.0.0.1", its.ports["mtls"]), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as kept,
    ):
        assert exchange(kept)["mac"] == MAC
        session = kept.session
        (tmp_path / "ca" / "yealink.pem").unlink()
        its.reload(certificates.load(tmp_path / "ca", shipped()))
        assert exchange(kept)["reason"] == "certificate-unknown-ca"
    with (
        socket.create_connection(("127.0.0.1", its.ports["mtls"]), timeout=5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as again,
    ):
        exchange(again)


def test_no_handshake_is_dropped_by_a_reload(world: World, chains: Callable[..., Listening], tmp_path: Path) -> None:
    its = chains({"yealink": [world.yealink]})
    end = time.monotonic() + 4
    counted: list[int] = []
    failed: list[object] = []

    def phone(kind: Kind) -> None:
        context = its.client(kind, world.file("right"))
        wanted = None if kind == "https" else MAC
        n = 0
        while time.monotonic() < end:
            said = its.ask(kind, context)
            if said is None or said.get("mac") != wanted:
                failed.append((kind, said))
            n += 1
        counted.append(n)

    threads = [threading.Thread(target=phone, args=(kind,)) for kind in itertools.islice(itertools.cycle(KINDS), 6)]
    for thread in threads:
        thread.start()
    reloads, vendors = 0, shipped()
    while time.monotonic() < end:
        its.reload(certificates.load(tmp_path / "ca", vendors))
        reloads += 1
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert failed == []
    assert reloads > 20
    print(f"{sum(counted)} handshakes during {reloads} reloads, none dropped")


def test_vendors_share_no_file(world: World) -> None:
    its: list[Vendor] = [vendor for vendor in shipped().vendors if vendor.certificate is not None]
    assert {vendor.folder for vendor in its} >= {"snom", "yealink", "cisco", "polycom"}
