"""Who may do what: read, operate or admin; beside it, whose things (test_accounts_apart.py)."""

import re
from collections.abc import AsyncIterator

import pytest
from running import Api, Server

from provisioning.management.routes import ROUTES, Route
from provisioning.store.tokens import SCOPES

MAC = "001565a10001"
FILL = {
    "account": "none",
    "line": "none",
    "mac": MAC,
    "name": "x.cfg",
    "model": "none",
    "id": "none",
    "key": "1",
    "contact": "1",
}
GUARDED = [route for route in ROUTES if route.token]


def path(route: Route) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: FILL[found[1]], route.path)


@pytest.fixture
async def of_scope(server: Server, api: Api) -> AsyncIterator[dict[str, Api]]:
    """An operator's token of each scope."""
    made = {}
    for scope in SCOPES:
        its = await api.make("/v1/tokens", {"name": scope, "scope": scope})
        made[scope] = Api(server, its["token"])
    yield made
    for its in made.values():
        await its.close()


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: f"{route.method} {route.path}")
async def test_a_lesser_scope_is_refused_and_the_needed_one_is_not(of_scope: dict[str, Api], route: Route) -> None:
    for scope, api in of_scope.items():
        answer = await api.call(route.method, path(route), None if route.method in ("GET", "DELETE") else {})
        enough = SCOPES.index(scope) >= SCOPES.index(route.needs)
        if not enough:
            assert (answer.status, answer.code) == (403, "forbidden"), (scope, answer)
            assert f"the scope {route.needs}" in answer.body["detail"]
        elif path(route) != "/v1/tokens/none":
            assert answer.status != 403, (scope, answer)


@pytest.mark.parametrize(
    ("route", "needs"),
    [
        ("GET /v1/lines", "read"),
        ("GET /v1/phones/{mac}/documents/{name}", "read"),
        ("GET /v1/alarms", "read"),
        ("POST /v1/lines/{line}/attach", "operate"),
        ("POST /v1/lines/{line}/detach", "operate"),
        ("POST /v1/phones/{mac}/promote", "operate"),
        ("POST /v1/phones/{mac}/resync", "operate"),
        ("POST /v1/phones/{mac}/reset", "operate"),
        ("POST /v1/lines", "admin"),
        ("PATCH /v1/lines/{line}", "admin"),
        ("DELETE /v1/phones/{mac}", "admin"),
        ("POST /v1/tokens", "admin"),
        ("GET /v1/tokens", "admin"),
        ("GET /v1/audit", "admin"),
    ],
)
def test_each_route_needs_what_it_does(route: str, needs: str) -> None:
    assert next(its.needs for its in ROUTES if f"{its.method} {its.path}" == route) == needs


def test_a_new_route_that_says_nothing_is_for_admins_only() -> None:
    assert Route("POST", "/v1/x", lambda _: None, "x").needs == "admin"
    assert all(route.needs != "read" for route in GUARDED if route.method != "GET" and "sessions" not in route.path
               and route.path != "/v1/tokens/{id}")  # fmt: skip


async def test_an_operating_token_operates(of_scope: dict[str, Api], api: Api) -> None:
    await api.account("scoped")
    await api.line("scoped-1", "scoped")
    await api.phone(MAC, account="scoped")
    its = of_scope["operate"]
    assert (await its.post("/v1/lines/scoped-1/attach", {"mac": MAC})).status == 202
    assert (await its.get("/v1/lines/scoped-1")).body["phone"] == MAC
    assert (await its.post("/v1/lines/scoped-1/detach", {"mac": MAC, "force": True})).status == 202
    assert (await its.call("DELETE", "/v1/lines/scoped-1")).code == "forbidden"
    assert (await of_scope["read"].post("/v1/lines/scoped-1/attach", {"mac": MAC})).code == "forbidden"


async def test_a_scope_and_an_account_restrict_together(server: Server, api: Api) -> None:
    await api.account("scoped-2")
    made = await api.make("/v1/tokens", {"name": "looks at one", "scope": "read", "account": "scoped-2"})
    its = Api(server, made["token"])
    assert {found["account"] for found in (await its.get("/v1/accounts")).body["items"]} == {"scoped-2"}
    assert (await its.post("/v1/phones/001565a1ffff/resync")).code == "forbidden"
    await its.close()


async def test_an_accounts_admin_sees_no_tokens_audit_or_alarms(server: Server, api: Api) -> None:
    await api.account("scoped-3")
    made = await api.make("/v1/tokens", {"name": "shop", "scope": "admin", "account": "scoped-3"})
    its = Api(server, made["token"])
    for path in ("/v1/tokens", "/v1/audit", "/v1/alarms"):
        answer = await its.get(path)
        assert (answer.status, answer.code) == (403, "forbidden"), path
        assert "operators" in answer.body["detail"]
    assert (await its.post("/v1/tokens", {"name": "x", "scope": "admin"})).code == "forbidden"
    await its.close()
