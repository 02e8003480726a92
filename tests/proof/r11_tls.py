"""R11: every TLS version and every kind of client certificate at every listener; reloads under traffic; plain HTTP.

A cell of the table is what a phone gets for its bare path: no handshake, stage 0, or its lines.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import ssl
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from attacked import attacked
from device_certificates import DAY, Factory, Shown, write_bundles
from outcome import Effort, Outcome
from running import Api, Server

TITLE = "TLS versions, listeners and client certificates; reloads under traffic; plain HTTP"
MAC, SIBLING, OLD, OLD_SIBLING = "001565a1b2c3", "001565a1b2c4", "001565a1b2d3", "001565a1b2d4"
MODELS = {MAC: "yealink-t54w", SIBLING: "yealink-t54w", OLD: "yealink-t46s", OLD_SIBLING: "yealink-t46s"}
OLD_MODEL = "yealink-t46s"
"Of [legacy] models: its lines may leave by the legacy listener."
LISTENERS = ("http", "https", "mtls", "legacy")
VERSIONS = ("1.0", "1.1", "1.2", "1.3")
NONE, STAGE0, LINES = "no handshake", "stage 0", "lines"
WEAK = ("sha1", "rsa-1024")


def certificates(mac: str, yealink: Factory, snom: Factory, stranger: Factory) -> dict[str, Shown | None]:
    return {
        "none": None,
        "right": yealink.phone(mac.upper()),
        "right-ec": yealink.phone(":".join(mac[n : n + 2] for n in range(0, 12, 2)), curve=True),
        "sibling": yealink.phone(SIBLING if mac == MAC else OLD_SIBLING),
        "other-vendors-ca": snom.phone(mac),
        "unknown-ca": stranger.phone(mac),
        "generic": yealink.phone("Yealink"),
        "expired": yealink.phone(mac, born=-900 * DAY, dies=-DAY),
        "not-yet-valid": yealink.phone(mac, born=DAY),
        "revoked": yealink.phone(mac),
        "no-mac": yealink.phone("SIP-T46S"),
        "foreign-prefix": yealink.phone("000413a1b2c3"),
        "mac-and-more": yealink.phone(f"{mac} {SIBLING}"),
        "sha1": yealink.phone(mac, sha1=True),
        "rsa-1024": yealink.phone(mac, bits=1024),
    }


def expected(listener: str, version: str, case: str, mac: str) -> str:
    if listener != "legacy" and version in ("1.0", "1.1"):
        return NONE
    if listener == "https":
        return STAGE0
    if case == "unknown-ca" or (listener == "mtls" and case in WEAK):
        return NONE
    right = case in ("right", "right-ec") or (listener == "legacy" and case in WEAK)
    return LINES if right and (listener == "mtls" or MODELS[mac] == OLD_MODEL) else STAGE0


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="handshakes")
    directory = effort.directory / "server"
    directory.mkdir()
    effort.say("making certificates")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        world = await asyncio.to_thread(World, directory)
        async with attacked(directory, outcome, **world.settings()) as (server, api):
            await world.prepare(server, api)
            await asyncio.to_thread(Table(effort, outcome, world).run)
            await asyncio.to_thread(Reload(effort, outcome, world).run)
            await asyncio.to_thread(Plain(outcome, world).run)
    return outcome


class World:
    """A server with every listener, two vendors' factories and somebody else's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.yealink, self.snom, self.authority = Factory("Yealink CA"), Factory("Snom CA"), Factory("Server CA")
        stranger = Factory("Yealink CA")
        self.shown = {mac: certificates(mac, self.yealink, self.snom, stranger) for mac in (MAC, OLD)}
        self.files: dict[tuple[str, str], Path | None] = {}
        for mac, of in self.shown.items():
            for case, shown in of.items():
                self.files[mac, case] = None if shown is None else shown.write(directory / f"{mac}-{case}.pem")
        revoked = [its["revoked"].fingerprint for its in self.shown.values() if its["revoked"] is not None]
        self.ca = write_bundles(directory / "ca", {"yealink": [self.yealink], "snom": [self.snom]}, revoked)
        (directory / "authority.pem").write_text(self.authority.pem)
        self.server_file = directory / "server.pem"
        self.servers = [self.authority.server(), self.authority.server()]
        self.servers[0].write(self.server_file)

    def settings(self) -> dict[str, str]:
        return {
            "LISTEN__PHONES_MTLS": "127.0.0.1:0",
            "LISTEN__PHONES_LEGACY": "127.0.0.1:0",
            "DEVICES__CA_DIR": str(self.ca),
            "LEGACY__MODELS": OLD_MODEL,
            "TLS__CERTIFICATE": str(self.server_file),
            "TLS__KEY": str(self.server_file),
            "PHONES__LINES_OVER_HTTP": "never",
        }

    async def prepare(self, server: Server, api: Api) -> None:
        self.server, self.secrets, self.tokens = server, {}, {}
        await api.account()
        for mac, model in MODELS.items():
            await api.line(f"l{mac}")
            made = await api.phone(mac, model, main_line=f"l{mac}")
            self.secrets[mac] = urlsplit(made["provisioning_url"]).path.split("/")[1]
        for mac in (SIBLING, OLD_SIBLING):
            shipped = await api.post(f"/v1/phones/{mac}/ship")
            self.tokens[mac] = urlsplit(shipped.body["bootstrap_url"]).path.split("/")[1]
        self.codes = {mac: (await api.post(f"/v1/phones/{mac}/code")).body["code"] for mac in (SIBLING, OLD_SIBLING)}

    def context(self, file: Path | None = None, version: str | None = None) -> ssl.SSLContext:
        """A phone as lax as they come, so that whatever is refused is refused by the server."""
        its = ssl.create_default_context(cafile=self.directory / "authority.pem")
        its.set_ciphers("ALL:@SECLEVEL=0")
        its.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        if version is not None:
            its.minimum_version = its.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_").removesuffix("_0"))
        if file is not None:
            its.load_cert_chain(file)
        return its

    def get(self, listener: str, path: str, context: ssl.SSLContext | None, *fields: str) -> tuple[bytes, bytes]:
        """(the whole answer, the server's certificate); empty: no handshake, or closed in it."""
        host, _, port = self.server.ready[f"phones_{listener}"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=8) as plain, contextlib.ExitStack() as stack:
            its, certificate = plain, b""
            try:
                if context is not None:
                    its = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
                    certificate = its.getpeercert(binary_form=True) or b""
                lines = (f"GET {path} HTTP/1.1", "Host: phones", "Connection: close", *fields, "", "")
                its.sendall("\r\n".join(lines).encode())
                got = b""
                while piece := its.recv(65536):
                    got += piece
                return got, certificate
            except (ssl.SSLError, ConnectionError):
                return b"", b""


def kind(got: bytes, mac: str) -> str:
    if not got:
        return NONE
    if f"pw-l{mac}".encode() in got:
        return LINES
    return STAGE0 if got.startswith(b"HTTP/1.1 200 ") and b"pw-" not in got else f"something else: {got[:40]!r}"


class Table:
    def __init__(self, effort: Effort, outcome: Outcome, world: World) -> None:
        self.effort, self.outcome, self.world = effort, outcome, world

    def run(self) -> None:
        seen: Counter[str] = Counter()
        for listener, version in itertools.product(("https", "mtls", "legacy"), VERSIONS):
            self.effort.say(f"{listener}, TLS {version}")
            for (mac, case), file in self.world.files.items():
                got, _ = self.world.get(listener, f"/{mac}.cfg", self.world.context(file, version))
                its, wanted = kind(got, mac), expected(listener, version, case, mac)
                self.outcome.tried += 1
                seen[its] += 1
                if its != wanted:
                    self.outcome.fail(f"{listener}, TLS {version}, {case}, {MODELS[mac]}: {its} instead of {wanted}")
                # Whoever asks for another phone's file gets what everybody gets.
                other = SIBLING if mac == MAC else MAC
                if case == "right" and kind(self.world.get(listener, f"/{other}.cfg", self.world.context(file, version))[0], other) == LINES:
                    self.outcome.fail(f"{listener}, TLS {version}: a certificate brings another phone's lines")
        for listener in ("https", "mtls", "legacy"):
            for ciphers in ("aNULL", "eNULL", "PSK"):
                context = self.world.context(version="1.2")
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
                self.outcome.tried += 1
                if self.world.get(listener, "/y000000000096.cfg", context)[0]:
                    self.outcome.fail(f"{listener}: a handshake without {ciphers[0]}uthentication or encryption was done")
        self.outcome.figures["cells"] = ", ".join(f"{name} {count}" for name, count in seen.most_common())


class Reload:
    """The server's certificate is changed under traffic, again and again: nobody's handshake is dropped."""

    def __init__(self, effort: Effort, outcome: Outcome, world: World) -> None:
        self.effort, self.outcome, self.world = effort, outcome, world
        self.dropped: Counter[str] = Counter()
        self.done = 0
        self.shown: set[bytes] = set()

    def run(self) -> None:
        self.until = time.monotonic() + self.effort.of(3, 60)
        threads = [threading.Thread(target=self._phone, args=(listener,)) for listener in ("https", "mtls", "legacy") * 2]
        for thread in threads:
            thread.start()
        reloads = 0
        process = self.world.server.process
        assert process is not None
        while time.monotonic() < self.until:
            self.effort.say(f"reload {reloads + 1}")
            new = self.world.servers[(reloads + 1) % 2].write(self.world.server_file.with_suffix(".new"))
            new.replace(self.world.server_file)
            os.kill(process.pid, signal.SIGHUP)
            reloads += 1
            time.sleep(0.15)
        for thread in threads:
            thread.join(20)
        self.outcome.tried += self.done
        self.outcome.figures["reloads"] = f"{reloads} during {self.done} handshakes, {self.dropped.total()} dropped"
        if self.dropped:
            self.outcome.fail(f"handshakes were dropped at reloads: {dict(self.dropped)}")
        if len(self.shown) != 2 or reloads < 10:
            self.outcome.fail(f"{len(self.shown)} certificates were shown in {reloads} reloads, not both")

    def _phone(self, listener: str) -> None:
        context = self.world.context(self.world.files[OLD, "right"])
        while time.monotonic() < self.until:
            try:
                got, certificate = self.world.get(listener, f"/{OLD}.cfg", context)
            except OSError as error:
                self.dropped[f"{listener}: {type(error).__name__}"] += 1
                continue
            self.done += 1
            self.shown.add(certificate)
            if kind(got, OLD) != (STAGE0 if listener == "https" else LINES):
                self.dropped[f"{listener}: {kind(got, OLD)}"] += 1


class Plain:
    """`lines_over_http = "never"`: what is right by TLS brings nothing by HTTP, and burns nothing."""

    def __init__(self, outcome: Outcome, world: World) -> None:
        self.outcome, self.world = outcome, world

    def run(self) -> None:
        tried = leaked = 0
        for mac in MODELS:
            paths = [f"/{self.world.secrets[mac]}/{mac}.cfg", f"/{mac}.cfg"]
            paths += [f"/{its[mac]}/{mac}.cfg" for its in (self.world.tokens, self.world.codes) if mac in its]
            stranger = _shape(self.world.get("http", f"/{'0' * 32}/{mac}.cfg", None)[0])
            for path in paths:
                for fields in ((), ("X-Forwarded-Proto: https",), ("Forwarded: proto=https", "Front-End-Https: on")):
                    got, _ = self.world.get("http", path, None, *fields)
                    tried += 1
                    secret = any(text.encode() in got for text in (f"pw-l{mac}", self.world.secrets[mac]))
                    if secret or _shape(got) != stranger:
                        leaked += 1
        self.outcome.tried += tried
        if leaked:
            self.outcome.fail(f"{leaked} of {tried} answers over plain HTTP differ from a stranger's or hold a secret")
        for mac, token in self.world.tokens.items():
            got, _ = self.world.get("https", f"/{token}/{mac}.cfg", self.world.context())
            if kind(got, mac) != LINES:
                self.outcome.fail("a one-time token was burnt over plain HTTP, where it brings nothing")
        self.outcome.figures["over plain HTTP"] = f"{tried} proofs shown, {leaked} leaked"


def _shape(got: bytes) -> tuple[bytes, ...]:
    return tuple(line for line in got.split(b"\r\n") if not line.lower().startswith(b"date:"))
