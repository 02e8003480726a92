"""A detach makes what the old phone knew worthless, through the hook to the operator's registrar."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from running import Api, Server, fetch


class Registrar:
    """The operator's hook: it records, and can be told to refuse."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.status = 204

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(json.loads(await request.read()))
        self.tokens.append(request.headers.get("Authorization"))
        return web.Response(status=self.status)

    async def wait(self, count: int, within: float = 6.0) -> None:
        for _ in range(int(within / 0.05)):
            if len(self.asked) >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"asked {len(self.asked)} times, not {count}")


@pytest.fixture
async def registrar() -> AsyncIterator[tuple[Registrar, str]]:
    its = Registrar()
    app = web.Application()
    app.router.add_post("/passwords", its.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield its, f"http://127.0.0.1:{runner.addresses[0][1]}/passwords"
    await runner.cleanup()


async def test_a_detached_line_gets_a_new_password_once_the_registrar_has_it(
    registrar: tuple[Registrar, str], new_server: Callable[..., Server]
) -> None:
    hook, url = registrar
    hook.status = 503
    server = new_server(REGISTRAR__PASSWORD_HOOK=url, REGISTRAR__PASSWORD_TOKEN="hook-token")
    api = Api(server)
    try:
        await api.account()
        for line in ("one", "two"):
            await api.line(line)
        for mac in ("001565ab0001", "001565ab0002"):
            await api.phone(mac)
        url_of = {}
        for mac in ("001565ab0001", "001565ab0002"):
            reset = await api.post(f"/v1/phones/{mac}/reset", {"public_ip": "127.0.0.1"})
            url_of[mac] = f"{reset.body['provisioning_url']}{mac}.cfg"
            assert (await fetch(url_of[mac], server)).status == 200
        await asyncio.sleep(0.8)
        for line in ("one", "two"):
            answer = await api.post(f"/v1/lines/{line}/attach", {"public_ip": "127.0.0.1", "mac": "001565ab0001"})
            assert answer.status == 202, answer
        detached = await api.post("/v1/lines/two/detach", {"public_ip": "127.0.0.1"})
        assert detached.status == 202, detached
        await hook.wait(1)
        again = await api.post("/v1/lines/two/attach", {"public_ip": "127.0.0.1", "mac": "001565ab0002"})
        assert again.status == 202, again
        # Refused: the registrar has the old one still, and so has the phone.
        assert b"pw-two" in (await fetch(url_of["001565ab0002"], server)).body

        hook.status = 204
        await hook.wait(2)
        assert hook.asked[0] == hook.asked[1], "a retry hands over the same password"
        told = hook.asked[-1]
        assert (told["line"], told["username"], told["domain"]) == ("two", "two", "sip.example.net")
        assert hook.tokens[-1] == "Bearer hook-token"
        for _ in range(60):
            body = (await fetch(url_of["001565ab0002"], server)).body
            if told["password"].encode() in body:
                break
            await asyncio.sleep(0.05)
        assert told["password"].encode() in body
        assert b"pw-two" not in body
        updates = (await api.get("/v1/operations?phone=001565ab0002")).body["items"]
        assert updates[0]["kind"] == "update"
    finally:
        await api.close()
    for file in server.data.iterdir():
        assert told["password"].encode() not in file.read_bytes(), file
    assert told["password"] not in server.log.read_text()
