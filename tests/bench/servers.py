"""The processes under test: started, pinned to a CPU, stopped."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cpu

HERE = Path(__file__).parent
STARTS_WITHIN = 20.0
SERVER_CPU, CLIENT_CPU = 0, 1


def pin(number: int | None) -> None:
    """To one CPU, if the machine has several; None: to any."""
    have = os.cpu_count() or 1
    if have > 1:
        os.sched_setaffinity(0, range(have) if number is None else {number})


IMPORTS = (
    "aiohttp.web, jinja2, sqlalchemy.ext.asyncio, sqlalchemy.orm, aiosqlite,"
    " cryptography.x509, cryptography.hazmat.primitives.ciphers.aead"
)


def import_seconds(times: int = 3) -> float:
    """CPU of the least time that importing our libraries takes: how fast this machine is with Python."""
    taken = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {IMPORTS}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


@dataclass
class Running:
    """A server process; the ports by `http` and `https`."""

    arguments: list[str]
    ready_file: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    cpu: int | None = SERVER_CPU
    ports: dict[str, int] = field(default_factory=dict)
    started_in: float = 0.0
    "Seconds from exec to ready."
    started_cpu: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Running":
        self.ready_file.unlink(missing_ok=True)
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                # Where dictionaries collide is drawn anew at each start, and would be a tenth of a ratio.
                env=os.environ | {"PYTHONHASHSEED": "0"} | self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: pin(self.cpu),  # noqa: PLW1509  no thread holds a lock here
            )
        while not self.ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > begun + STARTS_WITHIN:
                self.stop()
                raise RuntimeError(f"a server did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.002)
        self.started_in = time.monotonic() - begun
        self.started_cpu = cpu.seconds(self.pid)
        self.ports = self._ports(json.loads(self.ready_file.read_text()))
        return self

    def _ports(self, ready: dict[str, Any]) -> dict[str, int]:
        return ready

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.process = None


class Product(Running):
    def __init__(self, data: Path, *, cpu: int | None = SERVER_CPU, **settings: str) -> None:
        self.data = data
        given = {
            "DATA__DIR": str(data),
            "LISTEN__PHONES_HTTP": "127.0.0.1:0",
            "LISTEN__PHONES_HTTPS": "127.0.0.1:0",
            "LISTEN__MANAGEMENT": "127.0.0.1:0",
            "NETWORK__PRIVATE_ADDRESSES": "true",
            # The phones of a database that was made last month count as seen lately.
            "NETWORK__FRESHNESS": "1e9",
            # The documents are the same on every port, as the bare server's are.
            "PHONES__URL": "https://phones.example.net",
            "LOG__ACCESS": "off",
            "LOG__LEVEL": "warning",
        } | settings
        super().__init__(
            ["-m", "provisioning", "serve"],
            data / "ready.json",
            data / "server.log",
            {f"PROVISIONING__{name}": value for name, value in given.items()},
            cpu=cpu,
        )

    def _ports(self, ready: dict[str, Any]) -> dict[str, int]:
        names = {"http": "phones_http", "https": "phones_https", "management": "management"}
        return {name: int(ready[key].rpartition(":")[2]) for name, key in names.items()}

    @property
    def database(self) -> Path:
        return self.data / "provisioning.db"

    @property
    def token(self) -> str:
        return (self.data / "admin-token").read_text("ascii").strip()


def bare(folder: Path, document: bytes, certificate: Path, key: Path) -> Running:
    body = folder / "document"
    body.write_bytes(document)
    return Running(
        [str(HERE / "bare.py"), str(body), str(certificate), str(key), str(folder / "bare.json")],
        folder / "bare.json",
        folder / "bare.log",
    )
