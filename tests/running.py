"""The real server, as a process of its own, with a data directory of its own; and its callers."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

STARTS_WITHIN = 60.0
PROGRAM = ("-m", "provisioning")
"What Python is given; a proof puts a wrapper around it."


class Server:
    """One `provisioning serve`; `settings` such as RESYNC__DEADLINE="2"."""

    def __init__(self, directory: Path, settings: dict[str, str], program: tuple[str, ...] = PROGRAM) -> None:
        self.program = program
        self.data = directory / "var"
        self.log = directory / "log"
        self.environment = {
            "PROVISIONING__DATA__DIR": str(self.data),
            "PROVISIONING__LISTEN__PHONES_HTTP": "127.0.0.1:0",
            "PROVISIONING__LISTEN__PHONES_HTTPS": "127.0.0.1:0",
            "PROVISIONING__LISTEN__MANAGEMENT": "127.0.0.1:0",
            "PROVISIONING__NETWORK__PRIVATE_ADDRESSES": "true",
            "PROVISIONING__LOG__ACCESS": str(directory / "access.log"),
        } | {f"PROVISIONING__{name}": value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    def start(self) -> None:
        (self.data / "ready.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", *self.program, "serve"],
                env=os.environ | self.environment,
                cwd=self.data.parent,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while not (self.data / "ready.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.01)
        self.ready = json.loads((self.data / "ready.json").read_text())

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.process = None
        return code

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @property
    def http(self) -> str:
        return f"http://{self.ready['phones_http']}"

    @property
    def https(self) -> str:
        return f"https://{self.ready['phones_https']}"

    @property
    def management(self) -> str:
        return f"http://{self.ready['management']}"

    @property
    def token(self) -> str:
        return (self.data / "admin-token").read_text().strip()

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ready["ca_file"])

    def command(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """`provisioning ...` on this server's data directory."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "provisioning", *arguments],
            env=os.environ | self.environment,
            cwd=self.data.parent,
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


class Api:
    """The management API, as a caller sees it."""

    def __init__(self, server: Server, token: str | None = None) -> None:
        self.server = server
        self.token = token if token is not None else server.token
        self.session = aiohttp.ClientSession()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        async with self.session.request(method, self.server.management + path, data=data, headers=sent) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, json.loads(raw) if is_json else raw, dict(response.headers))

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.call("POST", path, {} if body is None else body, **headers)

    async def make(self, path: str, body: Any) -> Any:
        answer = await self.post(path, body)
        assert answer.status in (201, 202), answer
        return answer.body

    async def account(self, account: str = "acme") -> str:
        await self.make("/v1/accounts", {"account": account})
        return account

    async def line(self, line: str, account: str = "acme", **more: str) -> dict[str, Any]:
        its = {"line": line, "account": account, "number": "+33972100000", "username": line, "password": f"pw-{line}"}
        return await self.make("/v1/lines", its | {"domain": "sip.example.net"} | more)

    async def phone(self, mac: str, model: str = "yealink-t54w", account: str = "acme", **more: str) -> dict[str, Any]:
        return await self.make("/v1/phones", {"mac": mac, "model": model, "account": account} | more)

    async def operation(self, operation_id: str, state: str, within: float = 5.0) -> dict[str, Any]:
        """Waits until the operation is in this state."""
        deadline = time.monotonic() + within
        while True:
            body = (await self.get(f"/v1/operations/{operation_id}")).body
            if body["state"] == state:
                return body
            assert time.monotonic() < deadline, f"not {state} within {within} s: {body}"
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.session.close()


async def fetch(url: str, server: Server, method: str = "GET", **headers: str) -> Answer:
    """As a phone does: one connection, one request."""
    sent = {"User-Agent": "Yealink SIP-T54W 96.86.0.23"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    context = server.trust() if url.startswith("https") else None
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context or True)) as session,
        session.request(method, url, headers=sent, allow_redirects=False) as response,
    ):
        return Answer(response.status, await response.read(), dict(response.headers))
