"""What phones PUT: kept under their own names, bounded in size and time, and taken from nobody else."""

from collections.abc import AsyncIterator, Iterator

import pytest
from running import Api, Server
from wire import Reply, bound, closed_within, connect, get, managing, read_reply, request, running, status_of

MOST = 262_144
"Of a Yealink's `<mac>-local.cfg`."
LOCAL = "{mac}-local.cfg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("uploads"), LIMITS__REQUEST="1") as its:
        yield its


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    async with managing(server) as its:
        yield its


def put(server: Server, path: str, body: bytes, *fields: str, tls: bool = False) -> Reply:
    length = () if any(field.startswith("Transfer-Encoding") for field in fields) else (f"Content-Length: {len(body)}",)
    with connect(server, tls=tls) as its:
        its.sendall(request(path, *length, *fields, method="PUT") + body)
        with its.makefile("rb") as file:
            return read_reply(file)


async def kept(api: Api, mac: str) -> dict[str, int]:
    return {one["name"]: one["bytes"] for one in (await api.get(f"/v1/phones/{mac}/uploads")).body["items"]}


@pytest.mark.parametrize("tls", [False, True])
async def test_it_is_kept_listed_and_given_back_and_the_later_one_holds(server: Server, api: Api, tls: bool) -> None:
    phone = await bound(api, f"0015655600{tls:02d}")
    path, name = phone.path(LOCAL), f"{phone.mac}-local.cfg"
    assert get(server, path, tls=tls).status == 404
    for body in (b"#!version:1.0.0.1\nlang.gui = German\n", b"#!version:1.0.0.1\n"):
        assert put(server, path, body, tls=tls).status == 204
        assert await kept(api, phone.mac) == {name: len(body)}
        assert get(server, path, tls=tls).body == body
        assert (await api.get(f"/v1/phones/{phone.mac}/uploads/{name}")).body == body


async def test_a_log_is_the_supports_and_not_given_back(server: Server, api: Api) -> None:
    phone = await bound(api, "0004f2560001", "polycom-vvx450")
    path = phone.path("{mac}-boot.log")
    assert put(server, path, b"0000000.000|boot").status == 204
    assert get(server, path).status == 404
    assert (await api.get(f"/v1/phones/{phone.mac}/uploads/{phone.mac}-boot.log")).body == b"0000000.000|boot"


async def test_as_large_as_it_may_be_and_not_a_byte_more(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560010")
    assert put(server, phone.path(LOCAL), b"x" * MOST).status == 204
    assert await kept(api, phone.mac) == {f"{phone.mac}-local.cfg": MOST}
    with connect(server) as its:
        # Refused by what it says, before any of it is sent.
        its.sendall(request(phone.path(LOCAL), f"Content-Length: {MOST + 1}", method="PUT"))
        with its.makefile("rb") as file:
            assert read_reply(file).status == 413
    assert (await kept(api, phone.mac))[f"{phone.mac}-local.cfg"] == MOST


async def test_one_in_chunks_is_counted_while_it_comes(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560011")
    chunked = "Transfer-Encoding: chunked"
    assert put(server, phone.path(LOCAL), b"5\r\nhello\r\n0\r\n\r\n", chunked).status == 204
    assert get(server, phone.path(LOCAL)).body == b"hello"
    with connect(server) as its:
        its.sendall(request(phone.path(LOCAL), chunked, method="PUT"))
        try:
            # For ever, if it may; whether the answer or the end comes first is the network's to choose.
            for _ in range(100):
                its.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            answered = its.recv(65536)
        except ConnectionError:
            answered = b""
    assert status_of(answered) in (0, 413)
    assert await kept(api, phone.mac) == {f"{phone.mac}-local.cfg": 5}


async def test_nothing_packed_is_unpacked(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560020")
    for encoding in ("gzip", "deflate", "br", "zstd", "x-anything"):
        answer = put(server, phone.path(LOCAL), b"\x1f\x8b\x08", f"Content-Encoding: {encoding}")
        assert answer.status == 415, encoding
    assert await kept(api, phone.mac) == {}


async def test_a_length_is_needed(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560030")
    assert get(server, phone.path(LOCAL), method="PUT").status == 411
    assert await kept(api, phone.mac) == {}


async def test_a_slow_one_is_cut(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560031")
    with connect(server) as its:
        its.sendall(request(phone.path(LOCAL), "Content-Length: 100", method="PUT") + b"x")
        with its.makefile("rb") as file:
            assert read_reply(file).status == 408
        assert closed_within(its, 10)
    assert await kept(api, phone.mac) == {}


async def test_who_waits_to_be_told_to_go_on_is_told(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560032")
    with connect(server) as its, its.makefile("rb") as file:
        its.sendall(request(phone.path(LOCAL), "Content-Length: 2", "Expect: 100-continue", method="PUT"))
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        its.sendall(b"ok")
        assert read_reply(file).status == 204


async def test_a_connection_goes_on_after_it(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560033")
    with connect(server) as its, its.makefile("rb") as file:
        for body in (b"one", b"two"):
            its.sendall(request(phone.path(LOCAL), "Content-Length: 3", method="PUT") + body)
            assert read_reply(file).status == 204
            its.sendall(request(phone.path(LOCAL)))
            assert read_reply(file).body == body
        its.sendall(request(phone.path()))
        assert phone.password.encode() in read_reply(file).body


async def test_nobody_else_leaves_anything(server: Server, api: Api) -> None:
    phone, other = await bound(api, "001565560040"), await bound(api, "001565560041")
    for path in (
        phone.bare(LOCAL),
        f"/{other.secret}{phone.bare(LOCAL)}",
        f"/{'0' * len(phone.secret)}{phone.bare(LOCAL)}",
        "/001565560049-local.cfg",
    ):
        assert put(server, path, b"a stranger's").status == 404, path
        assert get(server, path).status == 404, path
    assert await kept(api, phone.mac) == await kept(api, other.mac) == {}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("{mac}.cfg", 405),  # a document
        ("y000000000096.cfg", 405),  # a common file
        ("{mac}-anything.cfg", 405),
        ("{mac}-boot.log", 404),  # another vendor's
    ],
)
async def test_only_what_its_phones_send_is_taken(server: Server, api: Api, name: str, status: int) -> None:
    phone = await bound(api, f"0015655600{50 + len(name)}")
    assert put(server, phone.path(name), b"x").status == status
    assert await kept(api, phone.mac) == {}


async def test_another_owner_is_not_shown_them(server: Server, api: Api) -> None:
    phone = await bound(api, "001565560080")
    assert put(server, phone.path(LOCAL), b"whom they called").status == 204
    await api.account("next")
    await api.post(f"/v1/lines/{phone.line}/detach", {"mac": phone.mac, "force": True})
    moved = await api.call("PATCH", f"/v1/phones/{phone.mac}", {"account": "next"})
    assert moved.status == 200, moved
    assert await kept(api, phone.mac) == {}
