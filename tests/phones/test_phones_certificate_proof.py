"""A phone that shows its factory certificate gets its lines from the real server; nobody else learns of it."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from device_certificates import DAY, Factory, Shown, write_bundles
from running import Server
from wire import Bound, Reply, bound, get, managing, read_reply, request, text, until

from provisioning import config
from provisioning.domain.errors import Fault

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

MAC, SIBLING, UNKNOWN, OTHER_MODEL = "001565c00001", "001565c00002", "001565c000ff", "001565c00003"


class Fleet:
    """A server with both listeners, and phones' certificates."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.yealink, self.snom = Factory("Yealink CA"), Factory("Snom CA")
        yealink = self.yealink
        self.shown: dict[str, Shown | None] = {
            "none": None,
            "sibling": yealink.phone(SIBLING),
            "other-vendors-ca": self.snom.phone(MAC),
            "generic": yealink.phone("Yealink"),
            "expired": yealink.phone(MAC, born=-900 * DAY, dies=-DAY),
            "not-yet-valid": yealink.phone(MAC, born=DAY),
            "revoked-certificate": yealink.phone(MAC),
            "foreign-prefix": yealink.phone("000413c00001"),
            "no-mac": yealink.phone("T54W"),
        }
        self.right = yealink.phone(MAC)
        self.ca = directory / "ca"
        self.write_bundles()

    def write_bundles(self, *revoked: str) -> None:
        worn = self.shown["revoked-certificate"]
        assert worn is not None
        write_bundles(self.ca, {"yealink": [self.yealink], "snom": [self.snom]}, [worn.fingerprint, *revoked])

    def context(self, shown: Shown | None, *, legacy: bool = False, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        ca = self.server.data / ("legacy-ca.pem" if legacy else "ca.pem")
        context = ssl.create_default_context(cafile=ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        if version is not None:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = version
        if shown is not None:
            context.load_cert_chain(shown.write(self.directory / f"{shown.fingerprint}.pem"))
        return context

    def get(
        self,
        shown: Shown | None,
        path: str,
        *fields: str,
        method: str = "GET",
        legacy: bool = False,
        version: ssl.TLSVersion | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Reply:
        host, _, port = self.server.ready["phones_legacy" if legacy else "phones_mtls"].rpartition(":")
        context = context or self.context(shown, legacy=legacy, version=version)
        with (
            socket.create_connection((host, int(port)), timeout=8) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as its,
        ):
            its.sendall(request(path, *fields, method=method))
            with its.makefile("rb") as file:
                return read_reply(file, body=method != "HEAD")


def settings(ca: Path) -> dict[str, str]:
    return {
        "LISTEN__PHONES_MTLS": "127.0.0.1:0",
        "LISTEN__PHONES_LEGACY": "127.0.0.1:0",
        "DEVICES__CA_DIR": str(ca),
        "LEGACY__MODELS": "yealink-t46s",
    }


@contextlib.contextmanager
def started(directory: Path, **more: str) -> Iterator[Fleet]:
    directory.mkdir(exist_ok=True)
    server = Server(directory, settings(directory / "ca") | more)
    fleet = Fleet(directory, server)
    try:
        server.start()
        yield fleet
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with started(tmp_path_factory.mktemp("fleet")) as its:
        yield its


@pytest.fixture(scope="module")
def phone(fleet: Fleet) -> Bound:
    async def make() -> Bound:
        async with managing(fleet.server) as api:
            await bound(api, SIBLING)
            await bound(api, OTHER_MODEL, "yealink-t46s")
            return await bound(api, MAC)

    return asyncio.run(make())


# Lines by certificate


async def test_the_phones_own_certificate_brings_its_lines(fleet: Fleet, phone: Bound) -> None:
    reply = fleet.get(fleet.right, phone.bare())
    assert reply.status == 200
    assert phone.password.encode() in reply.body
    assert fleet.get(fleet.right, phone.bare(), method="HEAD").status == 200
    # The same document as by its secret, whose URL it repeats: the phone has it from then on.
    assert fleet.get(None, phone.path()).body == reply.body
    assert fleet.get(fleet.right, phone.bare(), f"If-None-Match: {reply['ETag']}").status == 304


async def test_the_vendors_spelling_of_the_name_is_as_good(fleet: Fleet, phone: Bound) -> None:
    for name in ("{MAC}.cfg", "00-15-65-C0-00-01.cfg", "{mac}.CFG"):
        assert phone.password.encode() in fleet.get(fleet.right, phone.bare(name)).body


@pytest.mark.parametrize(
    "case",
    [
        "none", "sibling", "other-vendors-ca", "generic", "expired", "not-yet-valid", "revoked-certificate",
        "foreign-prefix", "no-mac",
    ],
)  # fmt: skip
async def test_any_other_is_a_stranger(fleet: Fleet, phone: Bound, case: str) -> None:
    shown = fleet.shown[case]
    for fields in ((), ("If-None-Match: *",)):
        stranger = get(fleet.server, phone.bare(), *fields, tls=True).shape
        for mac in (MAC, UNKNOWN):
            path = f"/{mac}.cfg"
            assert fleet.get(shown, path, *fields).shape == stranger
            assert fleet.get(shown, f"/{'0' * 32}{path}", *fields).shape == stranger


async def test_a_phone_that_we_do_not_have_is_a_stranger_with_a_certificate_too(fleet: Fleet, phone: Bound) -> None:
    unknown = fleet.yealink.phone(UNKNOWN)
    for mac in (MAC, UNKNOWN):
        assert fleet.get(unknown, f"/{mac}.cfg").shape == fleet.get(None, f"/{mac}.cfg").shape


@pytest.mark.parametrize("case", ["none", "sibling", "expired", "revoked-certificate", "no-mac"])
async def test_a_certificate_that_proves_nothing_takes_no_other_proof_away(fleet: Fleet, phone: Bound, case: str) -> None:
    assert phone.password.encode() in fleet.get(fleet.shown[case], phone.path()).body


async def test_the_plain_listeners_ask_for_none(fleet: Fleet, phone: Bound) -> None:
    host, _, port = fleet.server.ready["phones_https"].rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=8) as plain,
        fleet.context(fleet.right).wrap_socket(plain, server_hostname="127.0.0.1") as its,
        its.makefile("rb") as file,
    ):
        its.sendall(request(phone.bare()))
        assert phone.password.encode() not in read_reply(file).body


async def test_an_unknown_vendors_phone_comes_in_by_the_plain_listener(fleet: Fleet, phone: Bound) -> None:
    stranger = Factory("Yealink CA").phone(MAC)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        fleet.get(stranger, phone.path())
    host, _, port = fleet.server.ready["phones_https"].rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=8) as plain,
        fleet.context(stranger).wrap_socket(plain, server_hostname="127.0.0.1") as its,
        its.makefile("rb") as file,
    ):
        its.sendall(request(phone.path()))
        assert phone.password.encode() in read_reply(file).body


async def test_the_access_log_says_how_and_no_more(fleet: Fleet, phone: Bound) -> None:
    log = fleet.directory / "access.log"
    fleet.get(fleet.right, phone.bare())
    await until(lambda: any("certificate" in line for line in text(log).splitlines()))
    assert fleet.right.fingerprint not in text(log)
    assert "BEGIN" not in text(log)


# The legacy listener


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
async def test_old_phones_of_a_model_that_may_get_their_lines(fleet: Fleet, phone: Bound, version: ssl.TLSVersion) -> None:
    for shown in (
        fleet.yealink.phone(OTHER_MODEL),
        fleet.yealink.phone(OTHER_MODEL, sha1=True),
        fleet.yealink.phone(OTHER_MODEL, bits=1024),
    ):
        reply = fleet.get(shown, f"/{OTHER_MODEL}.cfg", legacy=True, version=version)
        assert f"pw-l{OTHER_MODEL}".encode() in reply.body


async def test_no_other_models_lines_leave_by_the_legacy_listener(fleet: Fleet, phone: Bound) -> None:
    stranger = fleet.get(None, phone.bare(), legacy=True).shape
    assert fleet.get(fleet.right, phone.bare(), legacy=True).shape == stranger
    assert fleet.get(fleet.right, phone.path(), legacy=True).shape == stranger
    assert fleet.get(None, phone.path(), legacy=True, version=ssl.TLSVersion.TLSv1).shape == stranger


# Behind a proxy


async def test_a_trusted_proxy_vouches_for_the_key(tmp_path: Path) -> None:
    trusting = {"DEVICES__PROXY_HEADER": "Client-Cert", "NETWORK__TRUSTED_PROXIES": "127.0.0.1/32"}
    with started(tmp_path / "proxied", **trusting) as fleet:
        async with managing(fleet.server) as api:
            phone = await bound(api, MAC)

        def ask(shown: Shown, source: str = "127.0.0.1", *, first: bytes = b"") -> Reply:
            field = f"Client-Cert: {_escaped(shown)}"
            return get(fleet.server, phone.bare(), field, "X-Forwarded-For: 203.0.113.7", source=source, first=first, tls=True)

        assert phone.password.encode() in ask(fleet.right).body
        stranger = get(fleet.server, phone.bare(), tls=True).shape
        assert ask(fleet.right, "127.0.0.2").shape == stranger
        assert ask(fleet.right, first=b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n").shape == stranger
        for shown in fleet.shown.values():
            assert shown is None or ask(shown).shape == stranger


def _escaped(shown: Shown) -> str:
    """nginx's $ssl_client_escaped_cert."""
    return quote(shown.pem, safe="")


# Starting


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"DEVICES__CA_DIR": ""}, "[devices] ca_dir: is needed for [listen] phones_mtls"),
        ({"DEVICES__CA_DIR": "/nowhere"}, "[devices] ca_dir: /nowhere is no folder"),
        ({"DEVICES__EXPIRED": "maybe"}, "[devices] expired: is 'maybe'; it is accept or refuse"),
        ({"DEVICES__PROXY_HEADER": "Client-Cert"}, "[devices] proxy_header: needs [devices] ca_dir, and [network] trusted_proxies"),
        ({"DEVICES__PROXY_HEADER": "Client Cert:"}, "[devices] proxy_header: is 'Client Cert:'; it is the name of a header"),
        ({"LISTEN__PHONES_HTTP": "", "LISTEN__PHONES_HTTPS": ""}, "[phones] url: is what phones are told to come back to"),
        (
            {f"LISTEN__PHONES_{name}": "" for name in ("HTTP", "HTTPS", "MTLS", "LEGACY")},
            "[listen] phones_https: and the phones' other listeners are all empty",
        ),
    ],
)
def test_settings_that_do_not_fit_each_other(tmp_path: Path, more: dict[str, str], told: str) -> None:
    given = {f"PROVISIONING__{name}": value for name, value in (settings(tmp_path) | more).items()}
    with pytest.raises(Fault) as caught:
        config.load(None, given)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("name", "content", "more", "told"),
    [
        ("yelink.pem", None, {}, "yelink.pem: yelink is no vendor's folder"),
        ("yealink.pem", "x", {}, "yealink.pem: holds no certificates in PEM"),
        ("revoked.txt", "x", {}, "revoked.txt:1: 'x' is neither a MAC nor"),
        ("unused", "", {"LEGACY__MODELS": "yealink-t1"}, "[legacy] models: 'yealink-t1' is in no vendor's folder"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check --vendor linphone"])
def test_a_folder_with_a_fault_refuses_the_start(
    tmp_path: Path, command: str, name: str, content: str | None, more: dict[str, str], told: str
) -> None:
    server = Server(tmp_path, settings(tmp_path / "ca") | more)
    fleet = Fleet(tmp_path, server)
    (fleet.ca / name).write_text(fleet.yealink.pem if content is None else content)
    server.command("init")
    answer = server.command(*command.split())
    assert answer.returncode != 0
    assert told in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_listeners_that_are_off_are_null(new_server: Callable[..., Server]) -> None:
    server = new_server()
    assert server.ready["phones_mtls"] is None
    assert server.ready["phones_legacy"] is None
    assert not list(server.data.glob("*legacy*"))


def test_both_are_announced(fleet: Fleet) -> None:
    told = text(fleet.server.log)
    for name in ("phones_mtls", "phones_legacy"):
        assert fleet.server.ready[name] in told
    assert (fleet.server.data / "legacy-ca.pem").exists()
    assert (fleet.server.data / "tls-legacy-key.pem").stat().st_mode & 0o077 == 0


# Reloading


def reload(server: Server) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGHUP)


async def test_a_revocation_holds_from_the_reload_on(tmp_path: Path) -> None:
    with started(tmp_path / "revoking") as fleet:
        async with managing(fleet.server) as api:
            phone = await bound(api, MAC)
        assert phone.password.encode() in fleet.get(fleet.right, phone.bare()).body
        fleet.write_bundles(MAC)
        reload(fleet.server)
        await until(lambda: "reloaded:" in text(fleet.server.log))
        assert fleet.get(fleet.right, phone.bare()).shape == get(fleet.server, phone.bare(), tls=True).shape
        fleet.write_bundles()
        (fleet.ca / "yealink.pem").write_text("broken")
        reload(fleet.server)
        await until(lambda: "nothing was reloaded" in text(fleet.server.log))
        assert fleet.get(fleet.right, phone.bare()).status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_handshake_is_dropped_by_reloads(tmp_path: Path, workers: str) -> None:
    with started(tmp_path / "busy", SERVER__WORKERS=workers) as fleet:
        end = time.monotonic() + 4
        failed: list[object] = []
        counted: list[int] = []

        def phone(shown: Shown | None, legacy: bool) -> None:
            context = fleet.context(shown, legacy=legacy)
            for n in itertools.count():
                if time.monotonic() > end:
                    counted.append(n)
                    return
                try:
                    if fleet.get(shown, "/y000000000096.cfg", legacy=legacy, context=context).status != 200:
                        failed.append("status")
                except (OSError, AssertionError) as error:
                    failed.append(error)

        threads = [
            threading.Thread(target=phone, args=(shown, legacy)) for shown in (fleet.right, None) for legacy in (False, True)
        ]
        for thread in threads:
            thread.start()
        reloads = 0
        while time.monotonic() < end:
            reload(fleet.server)
            reloads += 1
            time.sleep(0.2)
        for thread in threads:
            thread.join()
        assert failed == []
        assert text(fleet.server.log).count("reloaded:") >= 5 * int(workers)
        print(f"{sum(counted)} handshakes during {reloads} reloads, none dropped")
