"""Every code that a caller may rely on: provoked, with its status and a sentence."""

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest
from running import Answer, Api, Server, fetch
from waiting import seen

from provisioning.management.app import LARGEST_BODY
from provisioning.management.problem import STATUS

HERE = {"public_ip": "127.0.0.1"}
FULL, HALF, UNSEEN, SOFT = "001565300001", "001565300002", "001565300003", "001565300004"


def is_refused(answer: Answer, code: str) -> None:
    assert answer.code == code, answer
    assert answer.status == answer.body["status"] == STATUS[code]
    assert answer.headers["Content-Type"].partition(";")[0] == "application/problem+json"
    assert answer.body["type"] == f"/problems/{code}"
    assert len(answer.body["detail"]) > 10
    assert answer.body["title"]


@pytest.fixture(scope="module")
def town(server: Server) -> Server:
    """An account with a full phone, one with room, one that was never seen and one that cannot be told."""

    async def build() -> None:
        api = Api(server)
        for account in ("town", "village", "empty"):
            await api.account(account)
        for name in ("t1", "t2", "t3", "t4", "t5", "t6"):
            await api.line(name, "town")
        await api.line("v1", "village")
        full = await api.phone(FULL, "yealink-t31g", "town", main_line="t1")
        half = await api.phone(HALF, account="town", main_line="t2")
        await api.phone(UNSEEN, account="town")
        await api.phone(SOFT, "linphone-desktop", "town", main_line="t3")
        await api.make("/v1/lines/t4/attach", {"mac": FULL})
        for made in (full, half):
            await seen(api, server, made)
        await api.close()

    asyncio.run(build())
    return server


@pytest.mark.parametrize(
    ("code", "method", "path", "body"),
    [
        ("not-found", "GET", "/v1/nothing", None),
        ("not-found", "GET", "/", None),
        ("not-found", "GET", "/v1/lines/t1/", None),
        ("account-not-found", "GET", "/v1/accounts/none", None),
        ("account-not-found", "PATCH", "/v1/accounts/none", {"name": "x"}),
        ("account-not-found", "DELETE", "/v1/accounts/none", None),
        ("account-not-found", "POST", "/v1/phones", {"mac": "001565300099", "model": "yealink-t54w", "account": "none"}),
        ("account-not-found", "PATCH", f"/v1/phones/{UNSEEN}", {"account": "none"}),
        ("line-not-found", "GET", "/v1/lines/none", None),
        ("line-not-found", "PATCH", "/v1/lines/none", {"number": "1"}),
        ("line-not-found", "DELETE", "/v1/lines/none", None),
        ("line-not-found", "GET", "/v1/lines/none/attachable-phones", None),
        ("line-not-found", "POST", "/v1/lines/none/attach", HERE),
        ("line-not-found", "POST", "/v1/lines/none/detach", HERE),
        ("line-not-found", "POST", f"/v1/phones/{HALF}/promote", {"line": "none"}),
        ("phone-not-found", "GET", "/v1/phones/001565fffffe", None),
        ("phone-not-found", "GET", "/v1/phones/no-mac", None),
        ("phone-not-found", "PATCH", "/v1/phones/001565fffffe", {"serial": "x"}),
        ("phone-not-found", "DELETE", "/v1/phones/001565fffffe", None),
        ("phone-not-found", "POST", "/v1/phones/001565fffffe/resync", {}),
        ("phone-not-found", "POST", "/v1/phones/001565fffffe/reset", HERE),
        ("phone-not-found", "GET", "/v1/phones/001565fffffe/events", None),
        ("phone-not-found", "GET", "/v1/phones/001565fffffe/documents", None),
        ("phone-not-found", "POST", "/v1/lines/t5/attach", HERE | {"mac": "001565fffffe"}),
        ("phone-not-found", "POST", "/v1/lines/v1/attach", HERE | {"mac": HALF}),
        ("phone-not-found", "POST", "/v1/lines/t1/detach", HERE | {"mac": "001565fffffe"}),
        ("operation-not-found", "GET", "/v1/operations/none", None),
        ("document-not-found", "GET", f"/v1/phones/{HALF}/documents/none.cfg", None),
        ("model-unknown", "GET", "/v1/models/none", None),
        ("model-unknown", "POST", "/v1/phones", {"mac": "001565300099", "model": "none", "account": "town"}),
        ("model-unknown", "PATCH", f"/v1/phones/{HALF}", {"model": "none"}),
        ("method-not-allowed", "DELETE", "/v1/accounts", None),
        ("method-not-allowed", "GET", "/v1/lines/t1/attach", None),
        ("method-not-allowed", "PUT", "/v1/lines/t1", {}),
        ("account-exists", "POST", "/v1/accounts", {"account": "town"}),
        ("account-not-empty", "DELETE", "/v1/accounts/town", None),
        ("phone-exists", "POST", "/v1/phones", {"mac": "00-15-65-30-00-01", "model": "yealink-t54w", "account": "town"}),
        ("phone-has-lines", "DELETE", f"/v1/phones/{HALF}", None),
        ("phone-has-lines", "PATCH", f"/v1/phones/{HALF}", {"account": "village"}),
        ("slots-in-use", "PATCH", f"/v1/phones/{FULL}", {"model": "yealink-cp920"}),
        ("other-account", "POST", "/v1/phones", {"mac": "001565300099", "model": "yealink-t54w", "account": "town", "main_line": "v1"}),
        ("line-already-attached", "POST", "/v1/lines/t1/attach", HERE | {"mac": HALF}),
        ("line-already-attached", "POST", "/v1/phones", {"mac": "001565300099", "model": "yealink-t54w", "account": "town", "main_line": "t1"}),
        ("line-already-attached", "DELETE", "/v1/lines/t1", None),
        ("line-not-attached", "POST", "/v1/lines/t5/detach", HERE),
        ("line-not-attached", "POST", "/v1/lines/t1/detach", HERE | {"mac": HALF}),
        ("line-not-attached", "POST", f"/v1/phones/{HALF}/promote", {"line": "t1"}),
        ("line-not-attached", "POST", f"/v1/phones/{HALF}/promote", {"line": "v1"}),
        ("already-main-line", "POST", f"/v1/phones/{HALF}/promote", {"line": "t2"}),
        ("no-free-slot", "POST", "/v1/lines/t5/attach", HERE | {"mac": FULL}),
        ("slot-taken", "POST", "/v1/lines/t5/attach", HERE | {"mac": HALF, "slot": 1}),
        ("slot-out-of-range", "POST", "/v1/lines/t5/attach", HERE | {"mac": HALF, "slot": 17}),
        ("slot-out-of-range", "POST", "/v1/lines/t5/attach", HERE | {"mac": HALF, "slot": 0}),
        ("slot-out-of-range", "POST", "/v1/lines/t5/attach", HERE | {"mac": HALF, "slot": 10**30}),
        ("main-line", "POST", "/v1/lines/t1/detach", HERE),
        ("last-line", "POST", "/v1/lines/t2/detach", HERE),
        ("public-ip-required", "POST", "/v1/lines/t5/attach", {}),
        ("public-ip-required", "POST", "/v1/lines/t5/attach", {"mac": HALF}),
        ("public-ip-required", "POST", "/v1/lines/t1/detach", {}),
        ("public-ip-not-yours", "POST", "/v1/lines/t5/attach", {"public_ip": "203.0.113.7"}),
        ("public-ip-not-yours", "POST", "/v1/lines/v1/attach", HERE),
        ("public-ip-ambiguous", "POST", "/v1/lines/t5/attach", HERE),
        ("public-ip-mismatch", "POST", "/v1/lines/t5/attach", {"public_ip": "203.0.113.7", "mac": HALF}),
        ("public-ip-mismatch", "POST", "/v1/lines/t1/detach", {"public_ip": "203.0.113.7"}),
        ("public-ip-malformed", "POST", "/v1/lines/t5/attach", {"public_ip": "127.0.0.1:5060"}),
        ("public-ip-malformed", "POST", "/v1/lines/t1/detach", {"public_ip": "here"}),
        ("public-ip-malformed", "POST", f"/v1/phones/{HALF}/reset", {"public_ip": ""}),
        ("mac-malformed", "POST", "/v1/lines/t5/attach", HERE | {"mac": "001565"}),
        ("mac-malformed", "POST", "/v1/phones", {"mac": "x", "model": "yealink-t54w", "account": "town"}),
        ("mac-malformed", "GET", "/v1/operations?phone=x", None),
        ("unsupported-by-model", "POST", f"/v1/phones/{SOFT}/resync", {}),
        ("unsupported-by-model", "POST", f"/v1/phones/{SOFT}/resync", {"reboot": True}),
        ("invalid-value", "GET", "/v1/operations?state=lost", None),
        ("invalid-value", "GET", "/v1/lines?limit=0", None),
        ("invalid-value", "GET", "/v1/lines?limit=1001", None),
        ("invalid-value", "GET", "/v1/lines?limit=-1", None),
        ("invalid-value", "GET", "/v1/lines?limit=", None),
        ("invalid-value", "GET", "/v1/lines?limit=" + "1" * 5000, None),
        ("invalid-value", "GET", "/v1/lines?limit=%C2%B2", None),
        ("invalid-value", "GET", f"/v1/phones/{HALF}/events?after=x", None),
        ("invalid-value", "POST", "/v1/accounts", {"account": "../x"}),
        ("invalid-value", "POST", "/v1/accounts", {"account": "a\u0000"}),
        ("invalid-value", "POST", "/v1/accounts", {"account": "x", "name": "a\nb"}),
        ("invalid-value", "PATCH", "/v1/lines/t6", {"display_name": "a\r\nb"}),
        ("invalid-value", "PATCH", "/v1/lines/t6", {"password": ""}),
        ("invalid-value", "PATCH", f"/v1/phones/{HALF}", {"serial": "x" * 65}),
    ],
)  # fmt: skip
async def test_a_refusal_has_its_code(town: Server, api: Api, code: str, method: str, path: str, body: object) -> None:
    is_refused(await api.call(method, path, body), code)


@pytest.mark.parametrize("same", [{"line": "t1"}, {"username": "t1"}])
async def test_a_line_is_there_once_by_name_and_by_username(town: Server, api: Api, same: dict[str, str]) -> None:
    new = {"line": "fresh", "account": "town", "number": "1", "username": "fresh", "password": "p"}
    new["domain"] = "sip.example.net"
    is_refused(await api.post("/v1/lines", new | same), "line-exists")


async def test_a_line_cannot_take_anothers_username(town: Server, api: Api) -> None:
    is_refused(await api.call("PATCH", "/v1/lines/t6", {"username": "t1"}), "line-exists")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid-json"),
        (b"public_ip=127.0.0.1", "invalid-json"),
        (b"\xff\xfe", "invalid-json"),
        (b'{"public_ip": "\xff"}', "invalid-json"),
        (b"[" * 10_000, "invalid-value"),
        (b"[]", "invalid-value"),
        (b"null", "invalid-value"),
        (b'"x"', "invalid-value"),
        (b'{"public_ip": 1}', "invalid-value"),
        (b'{"public_ip": ["127.0.0.1"]}', "invalid-value"),
        (b'{"slot": "1"}', "invalid-value"),
        (b'{"slot": 1.5}', "invalid-value"),
        (b'{"slot": true}', "invalid-value"),
        (b'{"public_ip": "127.0.0.1", "force": true}', "invalid-value"),
        (b'{"ip": "127.0.0.1"}', "invalid-value"),
        (b"{}" + b" " * LARGEST_BODY, "body-too-large"),
    ],
)
async def test_a_body_that_is_not_as_described(town: Server, api: Api, body: bytes, code: str) -> None:
    is_refused(await api.call("POST", "/v1/lines/t5/attach", body), code)


async def test_a_wrong_field_is_named(town: Server, api: Api) -> None:
    answer = await api.post("/v1/lines/t5/attach", {"public_ip": "127.0.0.1", "colour": "red"})
    assert "colour" in answer.body["detail"]
    answer = await api.post("/v1/lines/t5/attach", {"slot": "1"})
    assert "slot" in answer.body["detail"]


async def test_a_missing_field_is_named(town: Server, api: Api) -> None:
    answer = await api.post("/v1/phones", {"mac": "001565300099", "model": "yealink-t54w"})
    is_refused(answer, "invalid-value")
    assert "account" in answer.body["detail"]


async def test_a_value_that_is_refused_is_named_by_its_field(town: Server, api: Api) -> None:
    answer = await api.call("PATCH", "/v1/lines/t6", {"domain": "a b"})
    assert answer.body["field"] == "domain"


async def test_a_wrong_method_tells_the_right_ones(town: Server, api: Api) -> None:
    answer = await api.call("PUT", "/v1/lines/t1", {})
    assert answer.headers["Allow"] == "DELETE, GET, PATCH"


async def test_an_address_with_a_port_is_told_so(town: Server, api: Api) -> None:
    answer = await api.post("/v1/lines/t5/attach", {"public_ip": "127.0.0.1:5060"})
    assert answer.body["detail"] == "Give the address alone, without the port: 127.0.0.1"


async def test_an_ambiguous_address_names_the_candidates(town: Server, api: Api) -> None:
    answer = await api.post("/v1/lines/t5/attach", HERE)
    assert sorted(answer.body["candidates"]) == [FULL, HALF]


async def test_an_address_where_no_phone_is_tells_when_each_was_last_seen(town: Server, api: Api) -> None:
    answer = await api.post("/v1/lines/t5/attach", {"public_ip": "203.0.113.7"})
    seen = {phone["mac"]: phone["last_seen"] for phone in answer.body["phones"]}
    assert set(seen) == {FULL, HALF, UNSEEN, SOFT}
    assert seen[UNSEEN] is None
    assert seen[FULL].endswith("Z")
    assert "was last seen at" in answer.body["detail"]


async def test_a_main_line_that_stays_names_who_could_follow_it(town: Server, api: Api) -> None:
    answer = await api.post("/v1/lines/t1/detach", HERE)
    assert answer.body["candidates"] == ["t4"]


async def test_a_refused_change_changes_nothing(town: Server, api: Api) -> None:
    before = (await api.get("/v1/operations?limit=1000")).body["items"]
    events = (await api.get(f"/v1/phones/{FULL}/events")).body
    for _ in range(3):
        await api.post("/v1/lines/t5/attach", HERE | {"mac": FULL})
    assert (await api.get("/v1/operations?limit=1000")).body["items"] == before
    assert (await api.get(f"/v1/phones/{FULL}/events")).body == events


# Who asks


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer pt_wrong", "Basic YTpi", "Token x", "Bearer \u00e9", "bearer  x  y", "Bearer " + "x" * 7000],
)  # fmt: skip
async def test_without_a_valid_token_nothing_is_answered(town: Server, api: Api, authorization: str) -> None:
    for path in ("/v1/lines", "/v1/nothing", "/v1/lines/t1"):
        answer = await api.call("GET", path, Authorization=authorization)
        is_refused(answer, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_no_token_at_all_is_refused(town: Server) -> None:
    answer = await fetch(f"{town.management}/v1/lines", town)
    assert answer.status == 401
    assert json.loads(answer.body)["code"] == "unauthorized"


async def test_the_scheme_is_read_in_any_case(town: Server, api: Api) -> None:
    assert (await api.call("GET", "/v1/lines", Authorization=f"bearer {town.token}")).status == 200


async def test_a_removed_token_is_refused_at_once(town: Server) -> None:
    made = json.loads(town.command("token", "add", "short-lived", "--json").stdout)
    api = Api(town, made["token"])
    try:
        assert (await api.get("/v1/accounts")).status == 200
        assert town.command("token", "remove", made["id"]).returncode == 0
        is_refused(await api.get("/v1/accounts"), "unauthorized")
    finally:
        await api.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_machines_watch_without_a_token(town: Server, path: str) -> None:
    answer = await fetch(town.management + path, town)
    assert answer.status == 200
    assert answer.body


async def test_metrics_are_of_prometheus_text(town: Server) -> None:
    answer = await fetch(town.management + "/metrics", town)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in answer.body.decode().splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2, line


# Nothing a caller sends breaks the server

HOSTILE = [
    "%00",
    "%FF",
    "%ED%A0%80",
    "%F0%9F%98%80",
    "'%20OR%201=1--",
    "%2e%2e",
    "..%2F..",
    "%0d%0aX:1",
    "a" * 2000,
    "%25",
    "{mac}",
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_hostile_path_or_query_is_no_fault_of_ours(town: Server, api: Api, hostile: str) -> None:
    for path in (
        f"/v1/lines/{hostile}", f"/v1/accounts/{hostile}", f"/v1/phones/{hostile}", f"/v1/models/{hostile}",
        f"/v1/operations/{hostile}", f"/v1/phones/{HALF}/documents/{hostile}", f"/v1/lines?account={hostile}",
        f"/v1/lines?after={hostile}", f"/v1/operations?line={hostile}", f"/v1/operations?after={hostile}",
        f"/v1/operations?phone={hostile}", f"/v1/operations?state={hostile}", f"/v1/phones?limit={hostile}",
        f"/v1/phones/{HALF}/events?after={hostile}",
    ):  # fmt: skip
        answer = await api.get(path)
        assert answer.status < 500, (path, answer)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/lines/\xff HTTP/1.1",
        b"GET /v1/lines?account=\xff HTTP/1.1",
        b"GET /v1/lines HTTP/1.1\r\nIdempotency-Key: \xff",
        b"POST /v1/accounts HTTP/1.1\r\nContent-Length: 2\r\nIdempotency-Key: \xff",
        b"GET /v1/lines HTTP/1.1\r\nAuthorization: Bearer \xff",
    ],
)
def test_bytes_that_are_no_text_are_no_fault_of_ours(town: Server, head: bytes) -> None:
    host, _, port = town.ready["management"].rpartition(":")
    token = b"" if b"Authorization" in head else f"Authorization: Bearer {town.token}\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(head + b"\r\nHost: x\r\nConnection: close\r\n" + token + b"\r\n{}")
        status = int(wire.makefile("rb").readline().split()[1])
    assert status < 500


@pytest.fixture(autouse=True, scope="module")
def nothing_is_broken(server: Server) -> Iterator[None]:
    yield
    assert "is broken" not in server.log.read_text()


async def test_a_line_that_a_dialect_cannot_carry_is_refused_before_it_costs_the_phone_its_others(api: Api) -> None:
    await api.account("quotes")
    await api.line("plain", "quotes")
    await api.line("quoted", "quotes", display_name='The "boss"')
    await api.phone("00085da00001", "mitel-6867i", "quotes", main_line="plain")
    refused = await api.post("/v1/lines/quoted/attach", {"mac": "00085da00001"})
    assert (refused.status, refused.code) == (409, "line-unfit")
    assert "quote" in refused.body["detail"]
    assert (await api.get("/v1/lines/quoted")).body["phone"] is None
    changed = await api.call("PATCH", "/v1/lines/plain", {"display_name": 'The "boss"'})
    assert (changed.status, changed.code) == (409, "line-unfit")
    assert (await api.get("/v1/lines/plain")).body["display_name"] == ""
    # A phone whose files are XML shows it as it is.
    await api.phone("000413a00001", "snom-d785", "quotes")
    assert (await api.post("/v1/lines/quoted/attach", {"mac": "000413a00001"})).status == 202


async def test_a_line_of_a_transport_that_a_phone_does_not_speak_is_refused_and_said_so_before(api: Api) -> None:
    await api.account("spoken")
    await api.line("over-udp", "spoken")
    await api.line("over-tls", "spoken", transport="tls")
    await api.phone("001a80a00001", "lg-ip8820", "spoken", main_line="over-udp")
    (phone,) = (await api.get("/v1/lines/over-tls/attachable-phones")).body["items"]
    assert (phone["eligible"], phone["reason"]["code"]) == (False, "line-unfit")
    refused = await api.post("/v1/lines/over-tls/attach", {"mac": "001a80a00001"})
    assert (refused.status, refused.code) == (409, "line-unfit")
    assert refused.body["detail"] == phone["reason"]["detail"]
    assert "over udp only" in refused.body["detail"]
    changed = await api.call("PATCH", "/v1/lines/over-udp", {"transport": "tls"})
    assert (changed.status, changed.code) == (409, "line-unfit")


async def test_beside_a_first_line_in_the_clear_a_phone_with_one_transport_takes_none_that_wants_tls(api: Api) -> None:
    await api.account("mixed")
    await api.line("clear", "mixed")
    await api.line("safe", "mixed", transport="tls")
    await api.phone("00085da00002", "mitel-6867i", "mixed", main_line="clear")
    (phone,) = (await api.get("/v1/lines/safe/attachable-phones")).body["items"]
    assert (phone["eligible"], phone["reason"]["code"]) == (False, "line-unfit")
    refused = await api.post("/v1/lines/safe/attach", {"mac": "00085da00002"})
    assert (refused.status, refused.code) == (409, "line-unfit")
    assert refused.body["detail"] == phone["reason"]["detail"]
    # With the first one's transport the other may come; and now nothing may take it away.
    assert (await api.call("PATCH", "/v1/lines/clear", {"transport": "tls"})).status == 200
    assert (await api.post("/v1/lines/safe/attach", {"mac": "00085da00002"})).status == 202
    await api.line("plain-too", "mixed")
    assert (await api.post("/v1/lines/plain-too/attach", {"mac": "00085da00002"})).status == 202
    for refused in (
        await api.call("PATCH", "/v1/lines/clear", {"transport": "udp"}),
        await api.post("/v1/phones/00085da00002/promote", {"line": "plain-too"}),
    ):
        assert (refused.status, refused.code) == (409, "line-unfit"), refused
    assert (await api.post("/v1/phones/00085da00002/promote", {"line": "safe"})).status == 202


async def test_a_phone_that_becomes_one_with_one_transport_must_be_able_to_have_its_lines(api: Api) -> None:
    await api.account("becomes")
    await api.line("in-clear", "becomes")
    await api.line("in-tls", "becomes", transport="tls")
    await api.phone("000413a00002", "snom-d785", "becomes", main_line="in-clear")
    assert (await api.post("/v1/lines/in-tls/attach", {"mac": "000413a00002"})).status == 202
    refused = await api.call("PATCH", "/v1/phones/000413a00002", {"model": "mitel-6867i"})
    assert (refused.status, refused.code) == (409, "line-unfit")
    assert (await api.call("PATCH", "/v1/phones/000413a00002", {"model": "snom-d735"})).status == 200


async def test_a_phone_that_was_returned_is_shown_as_such_to_a_line(api: Api) -> None:
    await api.account("back")
    await api.line("later", "back")
    await api.phone("001565a0bac1", "yealink-t54w", "back")
    assert (await api.post("/v1/phones/001565a0bac1/return")).status in (200, 202)
    (phone,) = (await api.get("/v1/lines/later/attachable-phones")).body["items"]
    assert (phone["eligible"], phone["reason"]["code"]) == (False, "phone-returned")
