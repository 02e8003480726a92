"""The description of the API, and every answer against it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from described import Described, DescribedApi
from jsonschema import Draft202012Validator
from running import Api, Server, fetch

from provisioning.management.app import ROUTES
from provisioning.management.problem import STATUS


@pytest.fixture
async def described(server: Server, api: Api) -> AsyncIterator[DescribedApi]:
    its = DescribedApi(server)
    its.described = Described((await api.get("/v1/openapi.json")).body)
    yield its
    await its.close()


async def test_every_route_is_described_and_nothing_else(api: Api) -> None:
    paths = (await api.get("/v1/openapi.json")).body["paths"]
    told = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}


async def test_the_description_is_openapi_3_1_of_valid_json_schemas(api: Api) -> None:
    its = (await api.get("/v1/openapi.json")).body
    assert its["openapi"].startswith("3.1.")
    assert its["components"]["schemas"]
    for schema in its["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for methods in its["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                Draft202012Validator.check_schema(parameter["schema"])


async def test_every_reference_leads_somewhere(api: Api) -> None:
    its = (await api.get("/v1/openapi.json")).body

    def references(value: object):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    found = set(references(its))
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in its["components"]["schemas"]}


async def test_an_operations_id_is_its_own(api: Api) -> None:
    paths = (await api.get("/v1/openapi.json")).body["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


async def test_only_what_machines_watch_is_open(api: Api) -> None:
    paths = (await api.get("/v1/openapi.json")).body["paths"]
    assert {path for path, methods in paths.items() if methods.get("get", {}).get("security") == []} == {
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip


async def test_the_description_needs_no_token(server: Server) -> None:
    answer = await fetch(f"{server.management}/v1/openapi.json", server)
    assert answer.status == 200


async def test_every_answer_of_a_walk_through_the_api_is_as_described(server: Server, described: DescribedApi) -> None:
    api, mac = described, "001565200001"
    await api.account("walk")
    await api.account("walk-2")
    for name in ("w1", "w2", "w3"):
        await api.line(name, "walk")
    made = await api.phone(mac, account="walk", main_line="w1")
    await api.phone("001565200002", account="walk")
    await fetch(made["provisioning_url"] + f"{mac}.cfg", server)

    await api.post("/v1/lines/w2/attach", {"public_ip": "127.0.0.1"})
    await api.post("/v1/lines/w3/attach", {"mac": "00:15:65:20:00:02"})
    await api.post(f"/v1/phones/{mac}/promote", {"line": "w2"})
    await api.post(f"/v1/phones/{mac}/resync", {"reboot": True})
    await api.call("PATCH", "/v1/lines/w2", {"display_name": "Accueil"})
    await fetch(made["provisioning_url"] + f"{mac}.cfg", server)
    await api.post("/v1/lines/w1/detach", {"public_ip": "127.0.0.1"})
    await api.post(f"/v1/phones/{mac}/reset", {"public_ip": "127.0.0.1"})
    await api.call("PATCH", f"/v1/phones/{mac}", {"serial": "S1"})
    await api.call("PATCH", "/v1/accounts/walk", {"name": "Walkers"})
    operation = (await api.get(f"/v1/operations?phone={mac}")).body["items"][0]["id"]
    for path in (
        "/v1/accounts", "/v1/accounts/walk", "/v1/lines?account=walk", "/v1/lines/w2", "/v1/lines/w1/attachable-phones",
        "/v1/phones?limit=1", f"/v1/phones/{mac}", f"/v1/phones/{mac}/events", f"/v1/phones/{mac}/documents",
        f"/v1/phones/{mac}/documents/{mac}.cfg", "/v1/models", "/v1/models/yealink-t54w", "/v1/operations",
        f"/v1/operations/{operation}", "/healthz", "/readyz", "/metrics",
    ):  # fmt: skip
        answer = await api.get(path)
        assert answer.status == 200, (path, answer)
    its = f"/v1/phones/{mac}"
    for whose in ("", "/models/yealink-t54w", "/accounts/walk", f"/phones/{mac}", "/lines/w2"):
        path = f"/v1{whose}/settings"
        assert (await api.get(path)).status == 200
        assert (await api.call("PATCH", path, {"settings": {"srtp": "optional"}})).status == 200
    await api.call("PUT", f"{its}/keys", {"keys": [{"number": 3, "type": "blf", "value": "42", "label": "Desk"}]})
    await api.call("PUT", f"{its}/keys/4", {"type": "none"})
    await api.get(f"{its}/keys")
    await api.post(f"{its}/keys/copy", {"to": ["001565200002", "001565200099"]})
    for whose in ("/accounts/walk", f"/phones/{mac}"):
        path = f"/v1{whose}/phonebook"
        made_contact = await api.make(path, {"name": "Zoé", "work": "+33972101234"})
        await api.post(f"{path}/import", {"text": "name,work\nA,+33972101235\n"})
        await api.get(path)
        await api.get(f"{path}/export?format=vcard")
        await api.call("PATCH", f"{path}/{made_contact['id']}", {"group": "Friends"})
        await api.call("DELETE", f"{path}/{made_contact['id']}")
    own = made["provisioning_url"].rpartition("/")[0]
    await fetch(f"{own}/{mac}-local.cfg", server, "PUT")
    await api.get(f"{its}/uploads")
    await api.get(f"{its}/uploads/{mac}-local.cfg")
    stranger = {"User_Agent": "Yealink SIP-T54W 96.86.0.23 00:15:65:20:00:77"}
    await fetch(f"{server.http}/001565200077.cfg", server, **stranger)
    for _ in range(100):
        if (await api.get("/v1/unknown-phones")).body["items"]:
            break
        await asyncio.sleep(0.05)
    await api.call("DELETE", "/v1/unknown-phones/001565200077")
    for path, refused in (("/v1/accounts/none", 404), ("/v1/lines/none", 404), ("/v1/lines?limit=0", 422)):
        assert (await api.get(path)).status == refused
    await api.call("DELETE", "/v1/lines/w1")
    await api.call("DELETE", "/v1/accounts/walk-2")
    await api.post("/v1/lines/w3/detach", {"force": True})
    other = "/v1/phones/001565200002"
    await api.post(f"{other}/ship")
    await api.post(f"{other}/door", {"public_ip": "203.0.113.7"})
    await api.call("DELETE", f"{other}/door")
    await api.post(f"{other}/code")
    await api.post(f"{other}/secret")
    await api.get(f"{other}/passwords")
    await api.post(f"{other}/return")
    await api.call("DELETE", other)

    token = await api.make("/v1/tokens", {"name": "walker", "scope": "read"})
    signed_in = await api.post("/v1/sessions", {"token": token["token"]})
    cookie = signed_in.headers["Set-Cookie"].partition(";")[0]
    with_cookie = {"Cookie": cookie, "Authorization": "", "X_Requested_With": "console"}
    await api.call("GET", "/v1/sessions/current", **with_cookie)
    await api.call("DELETE", "/v1/sessions/current", **with_cookie)
    await api.call("DELETE", f"/v1/tokens/{token['id']}")
    for path in ("/v1/tokens", "/v1/audit", "/v1/alarms"):
        assert (await api.get(path)).status == 200
    told = (await api.get("/v1/audit?limit=1000")).body["items"]

    good = {(method, path) for method, path, status in api.described.seen if status < 400}
    assert good == {(route.method, route.path) for route in ROUTES}
    # And every change of them is in the audit log, under its handler's name.
    assert {its["action"].partition(".")[2] for its in told} == {
        route.handler.__name__ for route in ROUTES if route.method != "GET"
    }


async def test_every_problem_has_a_title_and_a_status(api: Api) -> None:
    answer = await api.get("/v1/lines/nothing-of-that-name")
    assert answer.body["type"] == "/problems/line-not-found"
    assert answer.body["title"] == "Line not found"
    assert answer.body["status"] == answer.status == 404


def test_every_code_that_is_raised_has_a_status() -> None:
    import ast
    from pathlib import Path

    import provisioning

    package = Path(provisioning.__file__).parent
    # Reasons inside an answer, which refuse no request.
    reasons = {"phone-never-seen", "phone-not-seen-lately"}
    files = [*(package / "management").glob("*.py"), *(package / "domain").glob("*.py")]
    raised = {
        node.args[0].value
        for path in files
        if path.name != "operation.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
        if isinstance(node.args[0], ast.Constant)
    }
    assert raised - reasons == set(STATUS)
