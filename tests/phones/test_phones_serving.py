"""What a phone that shows its own secret is given."""

from collections.abc import Callable
from pathlib import Path

import pytest
from running import Api, Server
from wire import Bound, bound, change, get, managing, raw, request, status_of, templates_copy, text

DIALECTS = [
    ("yealink-t54w", "00156501000{n}", "{mac}.cfg", "text/plain"),
    ("snom-d120", "00041301000{n}", "{mac}.xml", "text/xml"),
    ("snom-d120", "00041301000{n}", "snomD120-{MAC}.htm", "text/xml"),
    ("snom-d785", "00041301000{n}", "{mac}.xml", "text/xml"),
    ("snom-d785", "00041301000{n}", "snomD785-{MAC}.htm", "text/xml"),
    ("linphone-desktop", "02000001000{n}", "{mac}.xml", "application/xml"),
]
BROKEN = """{% for slot in slots if slot.line and slot.line.display_name == "Broken" %}{{ 1 // 0 }}{% endfor %}\n"""


@pytest.fixture
async def yealink(api: Api, server: Server, request: pytest.FixtureRequest) -> Bound:
    digest = sum(request.node.name.encode()) * 7919 % 0xFFFF
    return await bound(api, f"001565f0{digest:04x}")


@pytest.mark.parametrize(("n", "dialect"), list(enumerate(DIALECTS)), ids=[f"{d[0]}-{d[2]}" for d in DIALECTS])
async def test_a_phone_gets_its_lines_in_its_own_dialect(
    server: Server, api: Api, n: int, dialect: tuple[str, str, str, str]
) -> None:
    model, mac, name, content_type = dialect
    phone = await bound(api, mac.format(n=n), model)
    for tls in (False, True):
        reply = get(server, phone.path(name), tls=tls)
        assert reply.status == 200
        assert phone.password.encode() in reply.body
        assert reply["Content-Type"].startswith(content_type)


@pytest.mark.parametrize(
    "spelled",
    [
        "00-15-65-AB-CD-{n:02X}.cfg",
        "00:15:65:ab:cd:{n:02x}.cfg",
        "00%3A15%3a65%3aAB%3ACD%3a{n:02X}.cfg",
        "00.15.65.ab.cd.{n:02x}.cfg",
        "001565ABCD{n:02X}.CFG",
        "001565aBcD{n:02x}.cfg?model=T54W",
        "/001565abcd{n:02x}.cfg",
    ],
)
async def test_a_mac_is_understood_in_any_case_and_separator(server: Server, api: Api, spelled: str) -> None:
    n = sum(spelled.encode()) % 256
    phone = await bound(api, f"001565abcd{n:02x}")
    assert phone.password.encode() in get(server, f"/{phone.secret}/{spelled.format(n=n)}").body


async def test_head_is_get_without_the_body(server: Server, yealink: Bound) -> None:
    for path in (yealink.path(), yealink.bare(), "/y000000000096.cfg", "/nothing.cfg"):
        whole, head = get(server, path), get(server, path, method="HEAD")
        assert (head.status, head.shape[1]) == (whole.status, whole.shape[1])
        assert raw(server, request(path, "Connection: close", method="HEAD")).endswith(b"\r\n\r\n")


async def test_what_a_phone_has_already_is_not_sent_again(server: Server, yealink: Bound) -> None:
    etag = get(server, yealink.path())["ETag"]
    assert etag.startswith('"')
    for given in (etag, f"W/{etag}", "*", f'"other", {etag}', f'"a",W/{etag} , "b"'):
        reply = get(server, yealink.path(), f"If-None-Match: {given}")
        assert (reply.status, reply["ETag"]) == (304, etag), given
    for given in ('"other"', etag.strip('"'), f'"{etag.strip(chr(34))[:-1]}"', ""):
        assert get(server, yealink.path(), f"If-None-Match: {given}").status == 200, given


async def test_a_change_makes_another_etag(server: Server, api: Api, yealink: Bound) -> None:
    before = get(server, yealink.path())["ETag"]
    await api.call("PATCH", f"/v1/lines/{yealink.line}", {"display_name": "Alice"})
    reply = get(server, yealink.path(), f"If-None-Match: {before}")
    assert reply.status == 200
    assert reply["ETag"] != before
    assert b"Alice" in reply.body


async def test_two_processes_give_one_etag(new_server: Callable[..., Server]) -> None:
    server = new_server(SERVER__WORKERS="2")
    async with managing(server) as api:
        phone = await bound(api, "001565000001")
    replies = {get(server, phone.path()).shape for _ in range(24)}
    assert len(replies) == 1


async def test_nobody_may_keep_or_share_what_a_phone_was_given(server: Server, yealink: Bound) -> None:
    reply = get(server, yealink.path())
    assert reply["Cache-Control"] == "private, no-cache"
    assert not any(name.lower().startswith("access-control") for name, _ in reply.headers)
    assert reply["Server"] == "provisioning"


@pytest.mark.parametrize("path", ["/y000000000096.cfg", "/Y000000000096.CFG", "/snomD785.htm", "/snomd785.htm"])
async def test_a_common_file_needs_no_secret(server: Server, path: str) -> None:
    reply = get(server, path)
    assert reply.status == 200
    assert b"pool.ntp.org" in reply.body
    assert get(server, f"/{'0' * 32}{path}").shape == reply.shape


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/favicon.ico",
        "/001565000001.boot",
        "/y000000000000.boot",
        "/firmware/",
        "/firmware/none.rom",
        "/v1/phones",
    ],
)
async def test_what_is_unknown_is_not_found(server: Server, path: str) -> None:
    reply = get(server, path)
    assert (reply.status, reply.body) == (404, b"not found\n")


async def test_a_document_that_no_phone_of_the_model_asks_for_is_not_found(server: Server, yealink: Bound) -> None:
    assert get(server, yealink.path("{mac}.xml")).status == 404
    assert get(server, yealink.path("snomD785-{MAC}.htm")).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
async def test_phones_only_read(server: Server, yealink: Bound, method: str) -> None:
    for path in (yealink.path(), "/nothing"):
        reply = get(server, path, method=method)
        assert (reply.status, reply["Allow"]) == (405, "GET, HEAD")
        assert b"pw-" not in reply.body


async def test_what_breaks_for_one_phone_is_told_and_spares_the_others(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    templates = templates_copy(tmp_path)
    document = templates / "yealink" / "phone.cfg.j2"
    change(document, "## Time", BROKEN + "## Time")
    server = new_server(PATHS__TEMPLATES=str(templates))
    async with managing(server) as api:
        broken = await bound(api, "001565000001", display_name="Broken")
        sound = await bound(api, "001565000002")
        reply = get(server, broken.path())
        assert reply.status == 500
        assert get(server, sound.path()).status == 200
        assert get(server, broken.path()).status == 500
        await api.call("PATCH", f"/v1/lines/{broken.line}", {"display_name": "Mended"})
        assert get(server, broken.path()).status == 200
    log = text(server.log)
    assert "001565000001" in log
    assert "phone.cfg.j2" in log
    for told in (log, reply.body.decode()):
        assert not any(secret in told for secret in (broken.secret, broken.password, "Traceback"))
    assert b"ZeroDivision" not in reply.body
    assert b"/" not in reply.body


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"\x00\xff" * 100_000,
    ],
    ids=["one-field", "path", "many-fields", "no-http"],
)
async def test_a_megabyte_of_header_is_refused(server: Server, sent: bytes) -> None:
    assert status_of(raw(server, sent)) in (0, 400, 414, 431)
    assert get(server, "/y000000000096.cfg").status == 200
