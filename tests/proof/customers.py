"""One account's lines and phones, and callers that know what the server acknowledged to them."""

import asyncio
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from running import Answer, Api, Server

sys.path.append(str(Path(__file__).resolve().parents[1] / "sip"))

from scripted_sip_server import ScriptedServer

HERE = "127.0.0.1"
_USER = re.compile(rb"^account\.(\d+)\.user_name = (\S+)\r?$", re.MULTILINE)


@dataclass
class Phone:
    """A Yealink: what it was given when it was made, and how it fetches."""

    mac: str
    path: str
    "Of its provisioning URL: the secret."

    def url(self, server: Server) -> str:
        return f"{server.http}{self.path}{self.mac}.cfg"

    def without_secret(self, server: Server) -> str:
        return f"{server.http}/{self.mac}.cfg"


class Caller:
    """The management API and the phones' listener; a connection that breaks is an answer without a status."""

    def __init__(self, server: Server, seconds: float = 30.0) -> None:
        self.server = server
        self.api = Api(server)
        self._seconds = seconds
        self._phones = aiohttp.ClientSession(headers={"User-Agent": "Yealink SIP-T42U 108.86.0.20"})

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        try:
            async with asyncio.timeout(self._seconds):
                return await self.api.call(method, path, {} if body is None and method == "POST" else body, **headers)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return Answer(0, {"code": type(error).__name__})

    async def attach(self, line: str, mac: str, **more: Any) -> Answer:
        return await self.ask("POST", f"/v1/lines/{line}/attach", {"mac": mac, "public_ip": HERE} | more)

    async def detach(self, line: str) -> Answer:
        return await self.ask("POST", f"/v1/lines/{line}/detach", {"force": True})

    async def fetch(self, url: str) -> Answer:
        try:
            async with asyncio.timeout(self._seconds), self._phones.get(url, allow_redirects=False) as response:
                return Answer(response.status, await response.read(), dict(response.headers))
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return Answer(0, type(error).__name__.encode())

    async def lines(self, names: Iterable[str], account: str = "acme") -> list[str]:
        names = list(names)
        for name in names:
            await self.api.line(name, account)
        return names

    async def phone(
        self, number: int, main_line: str | None = None, model: str = "yealink-t42u", account: str = "acme"
    ) -> Phone:
        mac = f"001565{number:06x}"
        more = {} if main_line is None else {"main_line": main_line}
        made = await self.api.phone(mac, model, account, **more)
        return Phone(mac, path_of(made))

    async def close(self) -> None:
        await self.api.close()
        await self._phones.close()


def path_of(made: dict[str, Any]) -> str:
    return urlsplit(made["provisioning_url"]).path.rstrip("/") + "/"


def shown(body: bytes) -> dict[int, str]:
    """Slot → user name, of a Yealink's configuration."""
    return {int(slot): name.decode() for slot, name in _USER.findall(body) if name != b"%NULL%"}


def accepting(request: Any, _: int) -> list[Any]:
    """The script of a SIP side that takes every NOTIFY."""
    return [request.response(200, "OK", to_tag="phone")]


async def sip_side() -> ScriptedServer:
    its = ScriptedServer(accepting)
    await its.listen("udp", HERE)
    return its


def route(sip: ScriptedServer) -> dict[str, str]:
    return {"RESYNC__PROXY": f"udp:{HERE}:{sip.next_hop.port}"}


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
