"""The server that a proof attacks: a process of its own, its limits out of the way, its end looked at."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

from outcome import Outcome

sys.path.append(str(Path(__file__).resolve().parents[1] / "phones"))

from running import PROGRAM, Api, Server

from provisioning.config import Limits


def without_limits() -> dict[str, str]:
    """One address makes all requests of a proof, and what it is not about must not answer for it."""
    return {
        f"LIMITS__{item.name.upper()}": "1000000000"
        for item in fields(Limits)
        if item.name.startswith("failures") or "per_address" in item.name or "per_network" in item.name
    }


@contextlib.asynccontextmanager
async def attacked(
    directory: Path, outcome: Outcome, program: tuple[str, ...] = PROGRAM, **settings: str
) -> AsyncIterator[tuple[Server, Api]]:
    """Fails the outcome also if the server does not stop well, or says that something in it is broken."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    server = Server(directory, without_limits() | settings, program)
    api: Api | None = None
    try:
        # Not in this loop's own time: what else a proof plays has to go on answering.
        await asyncio.to_thread(server.start)
        api = Api(server)
        yield server, api
        await api.close()
        if server.process is None or server.process.poll() is not None:
            outcome.fail(f"the server is gone: {_last(server.log)}")
        else:
            try:
                if (code := await asyncio.to_thread(server.stop)) != 0:
                    outcome.fail(f"the server ended with {code}: {_last(server.log)}")
            except subprocess.TimeoutExpired:
                outcome.fail("the server does not stop when it is told to")
        for line in server.log.read_text(errors="replace").splitlines():
            if line.startswith("Traceback") or "is broken" in line or "cannot be served" in line:
                outcome.fail(f"the server's log says: {line[:200]}")
    finally:
        if api is not None:
            await api.close()
        server.kill()


def _last(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2][:200]
