"""The console's sessions: a cookie in the place of a token, and nothing another site can use."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from http.cookies import SimpleCookie

import aiohttp
import pytest
from running import Answer, Api, Server

CONSOLE = {"X_Requested_With": "console"}


class Browser(Api):
    """Keeps the cookie; has no token."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookie = server, ""
        # The client itself keeps nothing.
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        sent = {} if not self.cookie else {"Cookie": f"session={self.cookie}"}
        url, data = self.server.management + path, None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, url, data=data, headers=sent | named) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, json.loads(raw) if is_json else raw, dict(response.headers))

    async def sign_in(self, token: str, **headers: str) -> Answer:
        answer = await self.post("/v1/sessions", {"token": token}, **headers)
        if answer.status == 201:
            self.cookie = morsel(answer).value
        return answer


def morsel(answer: Answer):
    return SimpleCookie(answer.headers["Set-Cookie"])["session"]


@pytest.fixture
async def browser(server: Server) -> AsyncIterator[Browser]:
    its = Browser(server)
    yield its
    await its.close()


async def test_a_session_acts_as_its_token(api: Api, browser: Browser) -> None:
    await api.account("console")
    made = await api.make("/v1/tokens", {"name": "her", "scope": "operate", "account": "console"})
    answer = await browser.sign_in(made["token"])
    assert (answer.status, answer.headers["Location"]) == (201, "/v1/sessions/current")
    its = answer.body
    assert (its["name"], its["scope"], its["account"]) == ("her", "operate", "console")
    assert (await browser.get("/v1/sessions/current")).body == its
    assert {found["account"] for found in (await browser.get("/v1/accounts")).body["items"]} == {"console"}
    assert (await browser.post("/v1/accounts", {}, **CONSOLE)).code == "forbidden"
    assert (await browser.post("/v1/phones/001565a2ffff/resync", {}, **CONSOLE)).code == "phone-not-found"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(server: Server, browser: Browser) -> None:
    its = morsel(await browser.sign_in(server.token))
    assert its["httponly"]
    assert (its["samesite"], its["path"], its["secure"]) == ("Strict", "/", "")
    assert 12 * 3600 - 10 <= int(its["max-age"]) <= 12 * 3600
    assert len(its.value) == 43


async def test_behind_a_trusted_https_proxy_the_cookie_is_secure(new_server: Callable[..., Server]) -> None:
    server = new_server(NETWORK__TRUSTED_PROXIES="127.0.0.1/32")
    behind = {"X_Forwarded_For": "203.0.113.9"}
    browser = Browser(server)
    assert morsel(await browser.sign_in(server.token, **behind, X_Forwarded_Proto="https"))["secure"]
    assert not morsel(await browser.sign_in(server.token, **behind, X_Forwarded_Proto="http"))["secure"]
    assert not morsel(await browser.sign_in(server.token, **behind))["secure"]
    await browser.close()


async def test_whoever_is_no_trusted_proxy_is_not_believed(server: Server, browser: Browser) -> None:
    assert not morsel(await browser.sign_in(server.token, X_Forwarded_Proto="https"))["secure"]


async def test_signing_out_ends_it(server: Server, browser: Browser) -> None:
    await browser.sign_in(server.token)
    cookie = browser.cookie
    answer = await browser.call("DELETE", "/v1/sessions/current", **CONSOLE)
    assert answer.status == 204
    assert morsel(answer)["max-age"] == "0"
    browser.cookie = cookie
    refused = await browser.get("/v1/lines")
    assert refused.code == "unauthorized"
    assert morsel(refused)["max-age"] == "0", "the browser drops what is worth nothing"


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("header", [{}, {"X_Requested_With": "XMLHttpRequest"}, {"Origin": "https://evil.example"}])
async def test_another_sites_request_is_refused(server: Server, browser: Browser, method: str, header: dict) -> None:
    """Its browser would send the cookie along; the header it cannot add without asking us first."""
    await browser.sign_in(server.token)
    body = None if method == "DELETE" else {}
    path = "/v1/accounts" if method == "POST" else "/v1/lines/none"
    answer = await browser.call(method, path, body, **header)
    assert (answer.status, answer.code) == (403, "cross-site")
    assert (await browser.call(method, path, body, **CONSOLE)).code in ("line-not-found", None, "invalid-value")


async def test_a_browser_is_never_told_that_another_site_may_ask(server: Server, browser: Browser) -> None:
    asked = {"Origin": "https://evil.example", "Access_Control_Request_Method": "POST"}
    answer = await browser.call("OPTIONS", "/v1/accounts", **asked, Access_Control_Request_Headers="x-requested-with")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.status in (401, 405)


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 201), ("none", 201)])
async def test_another_site_signs_nobody_in(server: Server, browser: Browser, site: str, status: int) -> None:
    answer = await browser.sign_in(server.token, Sec_Fetch_Site=site)
    assert answer.status == status
    assert answer.code == (None if status == 201 else "cross-site")


async def test_a_bearer_token_needs_no_header(server: Server, api: Api, browser: Browser) -> None:
    await browser.sign_in(server.token)
    sent = {"Cookie": f"session={browser.cookie}"}
    assert (await api.call("POST", "/v1/accounts", {"account": "bearer"}, **sent)).status == 201
    # The token is what counts where both come; a wrong one is not made good by a cookie.
    assert (await api.call("GET", "/v1/lines", Authorization="Bearer pt_wrong", **sent)).code == "unauthorized"


async def test_a_request_with_a_token_has_no_session(api: Api) -> None:
    assert (await api.get("/v1/sessions/current")).code == "session-not-found"
    assert (await api.call("DELETE", "/v1/sessions/current")).code == "session-not-found"


@pytest.mark.parametrize("cookie", ["x", "x" * 5000, "\u00e9", '"', "a; session=b"])
async def test_a_wrong_cookie_is_refused(browser: Browser, cookie: str) -> None:
    browser.cookie = cookie
    assert (await browser.get("/v1/lines")).code == "unauthorized"


@pytest.mark.parametrize("token", ["pt_wrong", "", "\u00e9", "\u0000"])
async def test_nobody_signs_in_with_a_wrong_token(browser: Browser, token: str) -> None:
    answer = await browser.sign_in(token)
    assert answer.code == "unauthorized"
    assert "Set-Cookie" not in answer.headers


def alter(server: Server, statement: str, *values: object) -> None:
    connection = sqlite3.connect(server.data / "provisioning.db", timeout=5)
    connection.execute("PRAGMA foreign_keys=ON")
    with connection:
        assert connection.execute(statement, values).rowcount >= 1
    connection.close()


def stored(server: Server, query: str) -> list[tuple]:
    connection = sqlite3.connect(server.data / "provisioning.db", timeout=5)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("column", ["expires_at = ?", "seen_at = ? - 3600"])
async def test_a_session_ends_after_its_time_and_after_an_idle_hour(
    server: Server, browser: Browser, column: str
) -> None:
    await browser.sign_in(server.token)
    assert (await browser.get("/v1/lines")).status == 200
    alter(server, f"UPDATE sessions SET {column}", time.time() - 1)
    assert (await browser.get("/v1/lines")).code == "unauthorized"
    # The next to sign in clears it away.
    await browser.sign_in(server.token)
    assert len(stored(server, "SELECT * FROM sessions")) == 1


async def test_a_use_keeps_it_awake(server: Server, browser: Browser) -> None:
    await browser.sign_in(server.token)
    alter(server, "UPDATE sessions SET seen_at = ?", time.time() - 3000)
    assert (await browser.get("/v1/lines")).status == 200
    deadline = time.monotonic() + 10
    while stored(server, "SELECT max(seen_at) FROM sessions")[0][0] < time.time() - 60:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("end", ["remove", "expire"])
async def test_a_session_ends_with_its_token(server: Server, api: Api, browser: Browser, end: str) -> None:
    made = await api.make("/v1/tokens", {"name": "brief", "scope": "read"})
    await browser.sign_in(made["token"])
    assert (await browser.get("/v1/lines")).status == 200
    if end == "remove":
        assert (await api.call("DELETE", f"/v1/tokens/{made['id']}")).status == 204
    else:
        alter(server, "UPDATE tokens SET expires_at = ? WHERE id = ?", time.time() - 1, made["id"])
    assert (await browser.get("/v1/lines")).code == "unauthorized"


async def test_a_session_is_no_longer_than_its_token(api: Api, browser: Browser) -> None:
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    made = await api.make("/v1/tokens", {"name": "ten minutes", "scope": "read", "expires_at": expires_at})
    answer = await browser.sign_in(made["token"])
    assert answer.body["expires_at"] == made["expires_at"]
    assert 0 < int(morsel(answer)["max-age"]) <= 600


async def test_nothing_that_signs_in_is_stored_or_logged(server: Server, browser: Browser) -> None:
    await browser.sign_in(server.token)
    await browser.get("/v1/lines")
    cookie = browser.cookie
    files = b"".join(path.read_bytes() for path in server.data.glob("provisioning.db*"))
    assert cookie.encode() not in files
    assert server.token.encode() not in files
    log = server.log.read_text().replace(f"  {server.token}", "", 1)
    assert cookie not in log
    assert server.token not in log
