"""`provisioning doctor` against the real server, directly and through proxies that are well and badly set up."""

import asyncio
import base64
import contextlib
import ipaddress
import json
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from running import Api, Server

from provisioning import tls
from provisioning.__main__ import main
from provisioning.config import Config, NetworkSection, RegistrarSection, ResyncSection
from provisioning.doctor import examination, files, phones
from provisioning.doctor.target import Target

PROXY = "127.0.0.9"
"Where the proxies of these tests send from; the doctor is at 127.0.0.1."
DECLARED = {"NETWORK__TRUSTED_PROXIES": f"{PROXY}/32", "LIMITS__FAILURES_PER_ADDRESS": "1000"}
VERDICTS = {"ok", "warning", "bad", "not probed"}

Rewrite = Callable[[list[bytes]], list[bytes]]


def appends(fields: list[bytes]) -> list[bytes]:
    return [*fields, b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: https"]


def passes_on(fields: list[bytes]) -> list[bytes]:
    """Adds its own only where the client has none."""
    if any(its.lower().startswith(b"x-forwarded-for:") for its in fields):
        return fields
    return appends(fields)


def says_nothing(fields: list[bytes]) -> list[bytes]:
    return [its for its in fields if not its.lower().startswith(b"x-forwarded-for:")]


@contextlib.asynccontextmanager
async def proxy(to: str, rewrite: Rewrite, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """One request on a connection. Its port."""
    host, _, port = to.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
            first, *fields = head.split(b"\r\n")
            answer, asked = await asyncio.open_connection(host, int(port), local_addr=(PROXY, 0))
            asked.write(b"\r\n".join([first, *rewrite(fields), b"", b""]))
            writer.write(await answer.read())
            asked.close()
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def own(server: Server) -> ssl.SSLContext:
    return tls.context(*tls.own(server.data))


async def doctor(server: Server, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The findings by probe; and what holds for every one of its runs."""
    done = await asyncio.to_thread(server.command, "doctor", "--json", *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == code, done.stdout
    assert any(its["verdict"] == "bad" for its in found) == (code == 1)
    for its in found:
        assert set(its) == {"probe", "verdict", "seen", "advice"}
        assert its["verdict"] in VERDICTS
        assert its["seen"]
        assert (its["advice"] is None) == (its["verdict"] == "ok"), its
    assert (server.data / "admin-token").read_text().strip() not in done.stdout + done.stderr
    by_probe = {its["probe"]: its for its in found}
    assert len(by_probe) == len(found)
    return by_probe


def verdicts(found: dict[str, dict[str, Any]], verdict: str) -> set[str]:
    return {probe for probe, its in found.items() if its["verdict"] == verdict}


async def counts(server: Server) -> list[int]:
    api = Api(server)
    try:
        return [len((await api.get(f"/v1/{kind}")).body["items"]) for kind in ("accounts", "lines", "phones")]
    finally:
        await api.close()


async def test_a_healthy_server(new_server: Callable[..., Server]) -> None:
    server = new_server()
    before = await counts(server)
    found = await doctor(server)
    assert verdicts(found, "ok") == set(found)
    assert len(found) == 29
    assert await counts(server) == before
    api = Api(server)
    assert (await api.get("/v1/alarms")).body["items"] == []
    removed = [its["subject"] for its in (await api.get("/v1/audit")).body["items"] if its["action"].endswith("remove")]
    await api.close()
    assert sorted(its.partition(" ")[0] for its in removed) == ["account"] + 3 * ["line"] + 3 * ["phone"]


async def test_for_people(new_server: Callable[..., Server]) -> None:
    server = new_server(PHONES__LINES_OVER_HTTP="always")
    done = await asyncio.to_thread(server.command, "doctor")
    assert done.returncode == 0
    assert "28 ok, 1 warning, 0 bad, 0 not probed" in done.stdout
    assert "warning     plain HTTP" in done.stdout
    assert "-> Whoever listens" in done.stdout


async def test_through_a_proxy_that_is_declared_and_appends(new_server: Callable[..., Server]) -> None:
    server = new_server(**DECLARED)
    async with proxy(server.ready["phones_http"], appends, own(server)) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}")
    assert verdicts(found, "ok") == set(found)
    assert "6 ways" in found["forged headers"]["seen"]


async def test_a_proxy_that_passes_a_forged_address_on(new_server: Callable[..., Server]) -> None:
    server = new_server(**DECLARED)
    before = await counts(server)
    async with proxy(server.ready["phones_http"], passes_on, own(server)) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=1)
    assert verdicts(found, "bad") == {"forged headers"}
    assert "X-Forwarded-For, X-Forwarded-For with two entries, X-Forwarded-For twice" in found["forged headers"]["seen"]
    assert "if-none" in found["forged headers"]["advice"]
    assert await counts(server) == before


async def test_a_proxy_that_is_not_declared(new_server: Callable[..., Server]) -> None:
    server = new_server(PHONES__LINES_OVER_HTTP="always")
    async with proxy(server.ready["phones_http"], appends, own(server)) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=1)
    assert verdicts(found, "bad") == {"address seen"}
    assert PROXY in found["address seen"]["seen"]
    assert "trusted_proxies" in found["address seen"]["advice"]


async def test_a_proxy_that_does_not_say_whose_request_it_is(new_server: Callable[..., Server]) -> None:
    server = new_server(**DECLARED)
    async with proxy(server.ready["phones_http"], says_nothing, own(server)) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=1)
    assert verdicts(found, "bad") == {"address seen"}


async def test_what_passes_bytes_on_without_saying_so(new_server: Callable[..., Server]) -> None:
    """Declared as a proxy, but each client's own PROXY header is the first thing that arrives."""
    server = new_server(**DECLARED)
    host, _, port = server.ready["phones_https"].rpartition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port), local_addr=(PROXY, 0))
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        found = await doctor(server, "--url", url, code=1)
    assert "forged PROXY header" in verdicts(found, "bad")


async def test_old_tls_where_phones_are_sent(new_server: Callable[..., Server]) -> None:
    server = new_server(**DECLARED)
    async with proxy(server.ready["phones_http"], appends, tls.legacy_context(*tls.own(server.data))) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=1)
    assert verdicts(found, "bad") == {"TLS 1.0 and 1.1"}
    assert "TLS 1.0 and TLS 1.1" in found["TLS 1.0 and 1.1"]["seen"]


def certificate(server: Server, days: int, name: str = "127.0.0.1") -> ssl.SSLContext:
    """By the server's own CA."""
    ca = x509.load_pem_x509_certificate((server.data / "ca.pem").read_bytes())
    ca_key: Any = serialization.load_pem_private_key((server.data / "ca-key.pem").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = tls._builder(subject, ca.subject, key, days).add_extension(
        x509.SubjectAlternativeName([tls._general_name(name)]), critical=False
    )
    path = server.data.parent / f"made-{days}.pem"
    path.write_bytes(made.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_text(tls._pem(key))
    return tls.context(path, path.with_suffix(".key"))


@pytest.mark.parametrize(
    ("days", "name", "verdict", "probe"),
    [
        (-1, "127.0.0.1", "bad", "certificate days"),
        (10, "127.0.0.1", "warning", "certificate days"),
        (90, "phones.example.net", "bad", "certificate name"),
    ],
)
async def test_a_certificate_at_fault(
    new_server: Callable[..., Server], days: int, name: str, verdict: str, probe: str
) -> None:
    server = new_server(**DECLARED)
    async with proxy(server.ready["phones_http"], appends, certificate(server, days, name)) as port:
        found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=int(verdict == "bad"))
    assert verdicts(found, "bad") | verdicts(found, "warning") == {probe}
    assert found[probe]["verdict"] == verdict


async def test_a_certificate_of_an_unknown_ca(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server()
    other = tmp_path / "other"
    other.mkdir()
    tls.make_own(other, ["127.0.0.1"])
    found = await doctor(server, "--ca", str(other / "ca.pem"), code=1)
    assert verdicts(found, "bad") == {"certificate chain"}
    assert verdicts(found, "not probed") == {"certificate name"}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as its:
        return int(its.getsockname()[1])


async def test_a_dead_server(new_server: Callable[..., Server]) -> None:
    server = new_server()
    assert server.stop() == 0
    url, api = f"https://127.0.0.1:{closed_port()}", f"http://127.0.0.1:{closed_port()}"
    found = await doctor(server, "--url", url, "--management", api, code=1)
    assert verdicts(found, "bad") == {"phones' URL", "management"}
    assert found["phones' URL"]["seen"].startswith(f"nothing answers at {url}")
    assert "nothing answers" in found["open doors"]["seen"]
    assert {"certificate", "TLS versions", "forged headers", "plain HTTP"} <= verdicts(found, "not probed")
    assert found["private files"]["verdict"] == "ok"


async def test_nothing_is_known_of_a_server_that_does_not_run(new_server: Callable[..., Server]) -> None:
    """Its ports are chosen at the start."""
    server = new_server()
    assert server.stop() == 0
    found = await doctor(server)
    assert found["phones' URL"]["verdict"] == "not probed"


async def test_a_token_that_may_not_make_test_phones(new_server: Callable[..., Server], tmp_path: Path) -> None:
    server = new_server()
    api = Api(server)
    made = await api.make("/v1/tokens", {"name": "looks", "scope": "read"})
    await api.close()
    (tmp_path / "token").write_text(made["token"])
    found = await doctor(server, "--token-file", str(tmp_path / "token"))
    assert {"open doors", "forged headers", "plain HTTP"} <= verdicts(found, "not probed")
    assert "scope" in found["forged headers"]["seen"]
    done = await asyncio.to_thread(server.command, "doctor", "--token-file", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "")


async def test_plain_http_behind_a_proxy_that_does_not_say_so(new_server: Callable[..., Server]) -> None:
    server = new_server(PHONES__LINES_OVER_HTTP="never", **DECLARED)
    assert "gives no lines" in (await doctor(server))["plain HTTP"]["seen"]
    tells_none = lambda fields: [*fields, b"X-Forwarded-For: 127.0.0.1"]  # noqa: E731
    async with proxy(server.ready["phones_http"], tells_none) as port:
        found = await doctor(server, "--http-url", f"http://127.0.0.1:{port}", code=1)
    assert verdicts(found, "bad") == {"plain HTTP"}
    assert "X-Forwarded-Proto $scheme" in found["plain HTTP"]["advice"]


async def test_a_forged_certificate_header(new_server: Callable[..., Server], tmp_path: Path) -> None:
    devices = tmp_path / "devices"
    devices.mkdir()
    tls.make_own(tmp_path, ["127.0.0.1"])
    (devices / "yealink.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    server = new_server(DEVICES__CA_DIR=str(devices), DEVICES__PROXY_HEADER="Client-Cert", **DECLARED)
    strips = lambda fields: appends([its for its in fields if not its.startswith(b"Client-Cert")])  # noqa: E731
    for rewrite, bad in ((appends, {"forged certificate"}), (strips, set())):
        async with proxy(server.ready["phones_http"], rewrite, own(server)) as port:
            found = await doctor(server, "--url", f"https://127.0.0.1:{port}", code=int(bool(bad)))
        assert verdicts(found, "bad") == bad
    assert "1 certificates" in found["device CAs"]["seen"]


async def test_what_the_operator_left_open(new_server: Callable[..., Server]) -> None:
    server = new_server(
        REGISTRAR__PASSWORD_TOKEN="changeme",
        PHONES__DOOR="172800",
        LISTEN__PHONES_LEGACY="127.0.0.1:0",
        LEGACY__MODELS="yealink-t46g",
        LISTEN__MANAGEMENT="0.0.0.0:0",
    )
    api = Api(server)
    await api.account()
    await api.phone("001565a00001")
    await api.call("POST", "/v1/phones/001565a00001/door", {"public_ip": "127.0.0.1"})
    await api.close()
    (server.data / "admin-token").chmod(0o644)
    found = await doctor(server, code=1)
    assert verdicts(found, "bad") == {"private files"}
    assert verdicts(found, "warning") == {"passwords", "open doors", "old phones", "management address"}
    assert "admin-token (0644)" in found["private files"]["seen"]
    assert "001565a00001" in found["open doors"]["seen"]
    assert "yealink-t46g" in found["old phones"]["seen"]
    assert "changeme" not in json.dumps(found)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError, OSError])
async def test_the_test_objects_go_whatever_happens(
    new_server: Callable[..., Server], fault: type[BaseException], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server = new_server()
    before = await counts(server)

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(examination.phones, "forged_headers", fail)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(server.data.parent)
    code = await asyncio.to_thread(main, ["doctor", "--json"])
    assert code == (130 if fault is KeyboardInterrupt else 0)
    found = {its["probe"]: its for its in json.loads(capsys.readouterr().out)}
    assert found["test objects"]["verdict"] == "ok"
    assert await counts(server) == before


@pytest.mark.parametrize(
    ("seen", "ours", "theirs", "verdict"),
    [
        ("192.168.1.7", "192.168.1.7", "192.168.1.1", "ok"),
        ("8.8.4.4", "192.168.1.7", "9.9.9.9", "ok"),
        ("2a00::1", "2a00::1", "2a00::2", "ok"),
        (None, "192.168.1.7", "9.9.9.9", "bad"),
        ("127.0.0.1", "8.8.4.4", "9.9.9.9", "bad"),
        ("10.0.0.2", "192.168.1.7", "9.9.9.9", "bad"),
        ("9.9.9.9", "192.168.1.7", "9.9.9.9", "bad"),
        ("172.16.0.3", "8.8.4.4", "9.9.9.9", "bad"),
        ("10.0.0.2", "192.168.1.7", "10.0.0.9", "warning"),
    ],
)
def test_whose_address_is_seen(seen: str | None, ours: str, theirs: str, verdict: str) -> None:
    config = Config(network=NetworkSection(trusted_proxies=(ipaddress.ip_network("172.16.0.0/24"),)))
    its = None if seen is None else ipaddress.ip_address(seen)
    assert phones.judged(its, ipaddress.ip_address(ours), ipaddress.ip_address(theirs), config).verdict == verdict


def at(config: Config) -> Target:
    return Target(config, {}, "", "", "", Path(), "", None)


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        (bytes(32), "bad"),
        (bytes(range(32)), "bad"),
        (b"0123456789abcdef" * 2, "bad"),
        (b"our-very-secret-key-for-sip-2026", "bad"),
        (bytes.fromhex("deadbeef") * 8, "bad"),
        (None, "ok"),
    ],
)
def test_sample_keys(tmp_path: Path, raw: bytes | None, verdict: str) -> None:
    raw = secrets.token_bytes(32) if raw is None else raw
    config = replace(Config(), data=replace(Config().data, dir=tmp_path))
    config.key_file.write_text(f"k1 {base64.b64encode(raw).decode()}\n")
    assert files.key(at(config)).verdict == verdict


@pytest.mark.parametrize(
    ("password", "verdict"), [("", "ok"), ("Password", "warning"), ("gateway", "warning"), ("f4s8", "warning"), ("x8" * 9, "ok")]
)
def test_default_passwords(password: str, verdict: str) -> None:
    config = Config(
        resync=ResyncSection(username="gateway", password=password), registrar=RegistrarSection(password_token="y7" * 9)
    )
    assert files.passwords(at(config)).verdict == verdict


@pytest.fixture
def hanging() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as its:
        yield int(its.getsockname()[1])


def test_who_says_nothing_is_waited_for_no_longer_than_told(
    hanging: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("provisioning.doctor.asking.SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    url = f"http://127.0.0.1:{hanging}"
    assert main(["doctor", "--json", "--url", url, "--management", url]) == 1
    found = {its["probe"]: its for its in json.loads(capsys.readouterr().out)}
    assert verdicts(found, "bad") == {"phones' URL", "management"}


@pytest.mark.parametrize("url", ["phones.example.net", "ftp://x", "https://", "https://x/?a=b", "https://me:pw@x"])
def test_what_is_no_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--url", url])
    assert ended.value.code == 2
