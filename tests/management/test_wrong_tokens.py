"""Who shows a wrong token: counted by place, told in the log, and never in the way of a right one."""

from collections.abc import AsyncIterator, Callable

import pytest
from running import Api, Server

from provisioning.management import callers
from provisioning.management.callers import WINDOW, Failures


@pytest.fixture
def guarded(new_server: Callable[..., Server]) -> Server:
    return new_server(MANAGEMENT__FAILURES="3", NETWORK__TRUSTED_PROXIES="127.0.0.1/32")


@pytest.fixture
async def stranger(guarded: Server) -> AsyncIterator[Api]:
    its = Api(guarded, "pt_wrong")
    yield its
    await its.close()


async def test_too_many_failures_are_told_to_wait(guarded: Server, stranger: Api) -> None:
    here = {"X_Forwarded_For": "203.0.113.7"}
    told = [await stranger.call("GET", "/v1/lines", **here) for _ in range(5)]
    assert [answer.code for answer in told] == ["unauthorized"] * 3 + ["too-many-failures"] * 2
    assert told[-1].status == 429
    assert WINDOW - 30 < int(told[-1].headers["Retry-After"]) <= WINDOW
    assert told[-1].body["retry_after"] == int(told[-1].headers["Retry-After"])
    # Neither a valid token from there, nor a stranger from elsewhere, is hindered.
    right = Api(guarded)
    assert (await right.call("GET", "/v1/lines", **here)).status == 200
    assert (await right.call("POST", "/v1/sessions", {"token": right.token}, **here)).status == 201
    await right.close()
    assert (await stranger.call("POST", "/v1/sessions", {"token": "x"}, **here)).code == "too-many-failures"
    assert (await stranger.call("GET", "/v1/lines", X_Forwarded_For="203.0.113.8")).code == "unauthorized"


async def test_a_network_of_ipv6_addresses_is_one_place(stranger: Api) -> None:
    told = [await stranger.call("GET", "/v1/lines", X_Forwarded_For=f"2001:db8:0:1::{n}") for n in range(4)]
    assert [answer.status for answer in told] == [401, 401, 401, 429]
    assert (await stranger.call("GET", "/v1/lines", X_Forwarded_For="2001:db8:0:2::1")).status == 401


async def test_who_shows_nothing_is_not_counted(guarded: Server, stranger: Api) -> None:
    for _ in range(9):
        for authorization in ("", "Bearer", "Bearer  "):
            answer = await stranger.call("GET", "/v1/lines", Authorization=authorization)
            assert answer.code == "unauthorized"
    assert "management refused" not in guarded.log.read_text()


async def test_each_failure_is_a_line_of_the_log_and_counted(guarded: Server, stranger: Api) -> None:
    for address in ("203.0.113.7", "2001:db8::7", "garbage, 203.0.113.9"):
        await stranger.call("GET", "/v1/lines?secret", X_Forwarded_For=address)
    await stranger.call("GET", "/v1/lines", X_Forwarded_For="nonsense")
    lines = [line for line in guarded.log.read_text().splitlines() if "management refused" in line]
    assert [line.partition("WARNING ")[2] for line in lines] == [
        "management refused 203.0.113.7", "management refused 2001:db8::7", "management refused 203.0.113.9",
        "management refused unknown",
    ]  # fmt: skip
    assert "pt_wrong" not in guarded.log.read_text()
    assert b"\nprovisioning_management_refused_total 4\n" in (await stranger.get("/metrics")).body


async def test_a_header_that_no_trusted_proxy_wrote_changes_nothing(new_server: Callable[..., Server]) -> None:
    server = new_server(MANAGEMENT__FAILURES="2")
    api = Api(server, "pt_wrong")
    told = [(await api.call("GET", "/v1/lines", X_Forwarded_For=f"203.0.113.{n}")).status for n in range(4)]
    await api.close()
    assert told == [401, 401, 429, 429]
    assert "refused 203" not in server.log.read_text()


async def test_the_last_use_and_the_audit_log_name_the_client_behind_the_proxy(guarded: Server) -> None:
    api = Api(guarded)
    await api.call("POST", "/v1/accounts", {"account": "far"}, X_Forwarded_For="203.0.113.7")
    (its,) = (await api.get("/v1/audit?subject=account%20far")).body["items"]
    assert its["address"] == "203.0.113.7"
    await api.close()


def test_failures_are_forgotten_after_a_while() -> None:
    its = Failures(2)
    assert [its.count("a", now) for now in (0, 1)] == [None, None]
    assert its.count("a", 2) == WINDOW - 2
    assert its.count("b", 2) is None
    assert its.count("a", WINDOW - 1) == 1
    assert [its.count("a", WINDOW + n) for n in (0, 1)] == [None, None]


def test_very_many_places_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST_PLACES", 100)
    its = Failures(1)
    for number in range(1000):
        its.count(f"place {number}", 0.0)
        # Who goes on is not forgotten for it.
        its.count("here", 0.0)
    assert len(its) == 100
    assert its.count("here", 1.0) is not None
