"""A file without a MAC that says where the phone's own stands: below the directory that it was asked for in."""

import re
from urllib.parse import urlsplit

import pytest
from running import Api, Server
from wire import bound, get

MODEL = "technicolor-st2030"
INF = "ST2030S.inf"
OWN = "ST2030S_{MAC}.txt"


def directory(body: bytes) -> str:
    found = re.search(rb"^config=https?://[^/\s]+(/\S*)$", body, re.MULTILINE)
    assert found, body
    return found[1].decode()


async def test_it_is_the_phone_s_own_under_its_secret(server: Server, api: Api) -> None:
    phone = await bound(api, "00147f0d0001", MODEL)
    reply = get(server, phone.path(INF))
    assert reply["Content-Type"] == "text/plain; charset=iso-8859-1"
    assert directory(reply.body) == f"/{phone.secret}/"
    own = get(server, directory(reply.body) + phone.bare(OWN)[1:])
    assert own.status == 200
    assert phone.password.encode() in own.body
    assert f"AutoprovisionHTTPServer={server.http}/{phone.secret}/".encode() in own.body.replace(
        server.https.encode(), server.http.encode()
    )


@pytest.mark.parametrize("shown", ["0" * 32, "123456", "login"])
async def test_whatever_is_shown_is_said_again_and_not_looked_up(server: Server, shown: str) -> None:
    reply = get(server, f"/{shown}/{INF}")
    assert reply.status == 200
    assert directory(reply.body) == f"/{shown}/"


@pytest.mark.parametrize("path", [f"/{INF}", f"//{INF}", f"/{INF.lower()}", f"/{INF}?a=/0123/"])
async def test_without_a_directory_it_is_the_root(server: Server, path: str) -> None:
    assert directory(get(server, path).body) == "/"


@pytest.mark.parametrize(
    "path", [f"/{'g' * 32}/{INF}", f"/{'0' * 31}/{INF}", f"/0%0aconfig=x/{INF}", f"/{'0' * 32}%0a/{INF}", f"/a/b/{INF}"]
)
async def test_no_other_directory_is_said_again(server: Server, path: str) -> None:
    assert get(server, path).status == 404


async def test_a_stranger_is_sent_to_the_root_where_nothing_of_a_line_is(server: Server, api: Api) -> None:
    phone = await bound(api, "00147f0d0002", MODEL)
    body = get(server, directory(get(server, f"/{INF}").body) + phone.bare(OWN)[1:]).body
    assert b"[sip]" in body
    for trace in (phone.password, phone.secret, "TEL1Number"):
        assert trace.encode() not in body


async def test_a_one_time_token_leads_to_the_phone_s_own_secret(server: Server, api: Api) -> None:
    phone = await bound(api, "00147f0d0003", MODEL)
    shipped = (await api.post(f"/v1/phones/{phone.mac}/ship")).body
    token = urlsplit(shipped["bootstrap_url"]).path.split("/")[1]
    where = directory(get(server, f"/{token}/{INF}", tls=True).body)
    assert where == f"/{token}/"
    body = get(server, where + phone.bare(OWN)[1:], tls=True).body
    found = re.search(rb"AutoprovisionHTTPServer=https?://[^/]+/([0-9a-f]{32})/", body)
    assert found
    assert found[1].decode() != token
    assert phone.password.encode() in get(server, f"/{found[1].decode()}{phone.bare(OWN)}", tls=True).body


async def test_each_change_gives_the_file_another_number(server: Server, api: Api) -> None:
    phone = await bound(api, "00147f0d0004", MODEL)

    def serial() -> int:
        found = re.search(rb"^config_sn=([0-9]{12})$", get(server, phone.path(OWN)).body, re.MULTILINE)
        assert found
        return int(found[1])

    first = serial()
    assert serial() == first
    changed = await api.call("PATCH", f"/v1/lines/{phone.line}", {"display_name": "Other"})
    assert changed.status in (200, 202), changed
    assert serial() > first
