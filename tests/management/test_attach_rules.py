"""Attach, detach and promote, as a caller sees them."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from running import Api, Server, fetch
from waiting import address, seen

HERE = {"public_ip": "127.0.0.1"}


async def family(api: Api, account: str, count: int = 4) -> str:
    await api.account(account)
    for number in range(1, count + 1):
        await api.line(f"{account}{number}", account)
    return account


async def slots(api: Api, mac: str) -> dict[int, str]:
    return {held["slot"]: held["line"] for held in (await api.get(f"/v1/phones/{mac}")).body["lines"]}


async def test_the_public_ip_alone_finds_the_one_phone_there(server: Server, api: Api) -> None:
    await family(api, "one")
    await seen(api, server, await api.phone("001565500001", account="one", main_line="one1"))
    await api.phone("001565500002", account="one")
    attached = await api.post("/v1/lines/one2/attach", HERE)
    assert (attached.status, attached.body["phone"], attached.body["slot"]) == (202, "001565500001", 2)
    assert (await api.get("/v1/lines/one2")).body["slot"] == 2


async def test_a_mac_in_any_spelling_tells_several_phones_apart(server: Server, api: Api) -> None:
    await family(api, "many")
    for mac in ("001565500011", "001565500012"):
        await seen(api, server, await api.phone(mac, account="many"))
    assert (await api.post("/v1/lines/many1/attach", HERE)).code == "public-ip-ambiguous"
    attached = await api.post("/v1/lines/many1/attach", HERE | {"mac": "00-15-65-50-00-12"})
    assert attached.body["phone"] == "001565500012"


async def test_a_slot_may_be_chosen(server: Server, api: Api) -> None:
    await family(api, "choose")
    await api.phone("001565500021", account="choose")
    for line, slot in (("choose1", 5), ("choose2", 16)):
        answer = await api.post(f"/v1/lines/{line}/attach", {"mac": "001565500021", "slot": slot})
        assert answer.body["slot"] == slot
    assert (await api.post("/v1/lines/choose3/attach", {"mac": "001565500021"})).body["slot"] == 1


async def test_an_operator_prepares_a_phone_before_it_is_shipped(server: Server, api: Api) -> None:
    await family(api, "ship")
    made = await api.phone("001565500031", account="ship")
    attached = await api.post("/v1/lines/ship1/attach", {"mac": "001565500031"})
    assert attached.status == 202, attached
    assert b"pw-ship1" in (await fetch(address(server, made), server)).body


async def test_an_address_given_with_it_opens_the_door_for_a_phone_without_its_secret(server: Server, api: Api) -> None:
    await family(api, "door")
    await api.phone("001565500041", account="door")
    bare = f"{server.http}/001565500041.cfg"
    assert b"pw-door1" not in (await fetch(bare, server)).body
    await api.make("/v1/lines/door1/attach", HERE | {"mac": "001565500041"})
    assert b"pw-door1" in (await fetch(bare, server)).body


async def test_a_door_somewhere_else_lets_nobody_in_here(server: Server, api: Api) -> None:
    await family(api, "away")
    await api.phone("001565500051", account="away")
    await api.make("/v1/lines/away1/attach", {"public_ip": "203.0.113.7", "mac": "001565500051"})
    assert b"pw-away1" not in (await fetch(f"{server.http}/001565500051.cfg", server)).body


async def test_an_ipv6_address_is_taken_and_compared(server: Server, api: Api) -> None:
    await family(api, "six")
    await seen(api, server, await api.phone("001565500061", account="six"))
    for text in ("2001:db8::7", "::1"):
        assert (await api.post("/v1/lines/six1/attach", {"public_ip": text})).code == "public-ip-not-yours"
    mapped = await api.post("/v1/lines/six1/attach", {"public_ip": "::ffff:127.0.0.1"})
    assert mapped.status == 202


async def test_a_line_is_on_one_phone_at_a_time(server: Server, api: Api) -> None:
    await family(api, "twice")
    macs = ["001565500071", "001565500072"]
    for mac in macs:
        await api.phone(mac, account="twice")
    answers = await asyncio.gather(*(api.post("/v1/lines/twice1/attach", {"mac": mac}) for mac in macs * 5))
    assert Counter(answer.code or answer.status for answer in answers) == {202: 1, "line-already-attached": 9}


async def test_a_full_phone_takes_no_more_however_many_ask_at_once(server: Server, api: Api) -> None:
    await family(api, "crowd", 12)
    await api.phone("001565500081", "yealink-t33g", "crowd")
    answers = await asyncio.gather(
        *(api.post(f"/v1/lines/crowd{number}/attach", {"mac": "001565500081"}) for number in range(1, 13))
    )
    assert Counter(answer.code or answer.status for answer in answers) == {202: 4, "no-free-slot": 8}
    assert set(await slots(api, "001565500081")) == {1, 2, 3, 4}


async def test_a_detached_slot_is_free_again(server: Server, api: Api) -> None:
    await family(api, "again")
    await seen(api, server, await api.phone("001565500091", "yealink-t31g", "again", main_line="again1"))
    await api.make("/v1/lines/again2/attach", HERE)
    detached = await api.make("/v1/lines/again2/detach", HERE)
    assert (detached["kind"], detached["slot"]) == ("detach", 2)
    assert (await api.get("/v1/lines/again2")).body["phone"] is None
    assert (await api.make("/v1/lines/again3/attach", HERE))["slot"] == 2


@pytest.mark.parametrize(("account", "more"), [("f-main", True), ("f-last", False)])
async def test_an_operators_force_takes_the_main_and_the_last_line_out(api: Api, account: str, more: bool) -> None:
    await family(api, account)
    mac = "0015655000a1" if more else "0015655000a2"
    await api.phone(mac, account=account, main_line=f"{account}1")
    if more:
        await api.make(f"/v1/lines/{account}2/attach", {"mac": mac})
    refused = await api.post(f"/v1/lines/{account}1/detach")
    assert refused.code == ("main-line" if more else "last-line")
    assert (await api.post(f"/v1/lines/{account}1/detach", {"force": True})).status == 202
    assert await slots(api, mac) == ({2: f"{account}2"} if more else {})


async def test_force_with_an_address_still_compares_it(server: Server, api: Api) -> None:
    await family(api, "wrong")
    await seen(api, server, await api.phone("0015655000b1", account="wrong", main_line="wrong1"))
    answer = await api.post("/v1/lines/wrong1/detach", {"force": True, "public_ip": "203.0.113.7"})
    assert answer.code == "public-ip-mismatch"


async def test_a_promoted_line_changes_places_and_the_phone_gets_it(server: Server, api: Api) -> None:
    await family(api, "prom")
    made = await api.phone("0015655000c1", account="prom", main_line="prom1")
    await seen(api, server, made)
    await api.make("/v1/lines/prom2/attach", HERE)
    promoted = await api.make("/v1/phones/0015655000c1/promote", {"line": "prom2"})
    assert (promoted["kind"], promoted["line"], promoted["slot"]) == ("promote", "prom2", 1)
    assert await slots(api, "0015655000c1") == {1: "prom2", 2: "prom1"}
    document = (await fetch(address(server, made), server)).body
    assert b"account.1.user_name = prom2" in document
    assert b"account.2.user_name = prom1" in document
    await api.operation(promoted["id"], "done")


async def test_a_main_line_that_handed_over_may_leave(server: Server, api: Api) -> None:
    await family(api, "hand")
    await seen(api, server, await api.phone("0015655000d1", account="hand", main_line="hand1"))
    await api.make("/v1/lines/hand2/attach", HERE)
    await api.make("/v1/phones/0015655000d1/promote", {"line": "hand2"})
    await api.make("/v1/lines/hand1/detach", HERE)
    assert await slots(api, "0015655000d1") == {1: "hand2"}


async def test_a_changed_line_is_told_to_its_phone(server: Server, api: Api) -> None:
    await family(api, "upd")
    made = await api.phone("0015655000e1", account="upd", main_line="upd1")
    await seen(api, server, made)
    changed = await api.call("PATCH", "/v1/lines/upd1", {"display_name": "Atelier", "password": "pw-changed"})
    assert changed.body["display_name"] == "Atelier"
    assert "password" not in changed.body
    (operation,) = (await api.get("/v1/operations?line=upd1")).body["items"]
    assert (operation["kind"], operation["phone"], operation["slot"]) == ("update", "0015655000e1", 1)
    document = (await fetch(address(server, made), server)).body
    assert b"Atelier" in document
    assert b"pw-changed" in document
    assert b"pw-upd1" not in document
    await api.operation(operation["id"], "done")


@pytest.mark.parametrize(("line", "changed"), [("quiet1", {}), ("quiet2", {"display_name": "x"})])
async def test_nothing_to_tell_makes_no_operation(api: Api, line: str, changed: dict[str, str]) -> None:
    if (await api.get("/v1/accounts/quiet")).status == 404:
        await family(api, "quiet")
        await api.phone("0015655000f1", account="quiet", main_line="quiet1")
    assert (await api.call("PATCH", f"/v1/lines/{line}", changed)).status == 200
    assert (await api.get(f"/v1/operations?line={line}")).body["items"] == []


async def test_another_model_keeps_the_lines_that_fit(api: Api) -> None:
    await family(api, "model")
    await api.phone("001565500101", account="model", main_line="model1")
    await api.make("/v1/lines/model2/attach", {"mac": "001565500101", "slot": 7})
    refused = await api.call("PATCH", "/v1/phones/001565500101", {"model": "yealink-t33g"})
    assert refused.code == "slots-in-use"
    assert "7" in refused.body["detail"]
    fits = await api.call("PATCH", "/v1/phones/001565500101", {"model": "Yealink-T46S"})
    assert (fits.body["model"], fits.body["slots"]) == ("yealink-t46s", 16)
    await api.make("/v1/lines/model2/detach", {"force": True})
    for model, free in (("yealink-t33g", 3), ("yealink-t54w", 15)):
        assert (await api.call("PATCH", "/v1/phones/001565500101", {"model": model})).body["slots_free"] == free


async def test_things_are_removed_once_nothing_hangs_on_them(api: Api) -> None:
    await family(api, "gone", 1)
    await api.phone("001565500111", account="gone", main_line="gone1")
    steps = [
        ("DELETE", "/v1/accounts/gone", "account-not-empty"),
        ("DELETE", "/v1/phones/001565500111", "phone-has-lines"),
        ("DELETE", "/v1/lines/gone1", "line-already-attached"),
    ]
    for method, path, code in steps:
        assert (await api.call(method, path)).code == code
    operation = await api.make("/v1/lines/gone1/detach", {"force": True})
    for path in ("/v1/phones/001565500111", "/v1/lines/gone1"):
        assert (await api.call("DELETE", path)).status == 204
        assert (await api.get(path)).status == 404
    assert (await api.get(f"/v1/operations/{operation['id']}")).body["phone"] == "001565500111"
    assert (await api.call("DELETE", "/v1/accounts/gone")).status == 204
    assert (await api.get("/v1/accounts/gone")).status == 404


async def test_a_removed_phones_secret_is_worth_nothing(server: Server, api: Api) -> None:
    await family(api, "dead")
    made = await api.phone("001565500121", account="dead", main_line="dead1")
    await api.make("/v1/lines/dead1/detach", {"force": True})
    await api.call("DELETE", "/v1/phones/001565500121")
    again = await api.phone("001565500121", account="dead", main_line="dead1")
    assert b"pw-dead1" not in (await fetch(address(server, made), server)).body
    assert b"pw-dead1" in (await fetch(address(server, again), server)).body


async def test_attachable_phones_explain_each(server: Server, api: Api) -> None:
    await family(api, "expl")
    await seen(api, server, await api.phone("001565500131", account="expl"))
    full = await api.phone("001565500132", "yealink-cp920", "expl", main_line="expl1")
    await seen(api, server, full)
    await api.phone("001565500133", account="expl")
    answer = (await api.get("/v1/lines/expl2/attachable-phones")).body["items"]
    told = {phone["mac"]: (phone["eligible"], phone["reason"] and phone["reason"]["code"]) for phone in answer}
    assert told == {
        "001565500131": (True, None),
        "001565500132": (False, "no-free-slot"),
        # An operator may prepare it.
        "001565500133": (True, None),
    }
    its = next(phone for phone in answer if phone["mac"] == "001565500132")
    assert (its["slots"], its["slots_free"], its["lines"]) == (1, 0, [{"slot": 1, "line": "expl1"}])
    assert its["public_ip"] == "127.0.0.1"
    everywhere = (await api.get("/v1/lines/expl1/attachable-phones")).body["items"]
    assert {phone["reason"]["code"] for phone in everywhere} == {"line-already-attached"}


async def test_a_reset_gives_a_new_secret_and_ends_the_old_one(server: Server, api: Api) -> None:
    await family(api, "reset")
    made = await api.phone("001565500141", account="reset", main_line="reset1")
    await seen(api, server, made)
    reset = await api.make("/v1/phones/001565500141/reset", HERE)
    assert reset["kind"] == "reset"
    assert reset["provisioning_url"] != made["provisioning_url"]
    assert b"pw-reset1" in (await fetch(address(server, reset), server)).body
    await api.operation(reset["id"], "done")
    # The new secret was shown, so the door is closed and the old URL is a stranger's.
    assert b"pw-reset1" not in (await fetch(address(server, made), server)).body
    assert b"pw-reset1" not in (await fetch(f"{server.http}/001565500141.cfg", server)).body


async def test_a_reset_for_elsewhere_shuts_the_old_url_at_once(server: Server, api: Api) -> None:
    await family(api, "else")
    made = await api.phone("001565500151", account="else", main_line="else1")
    await seen(api, server, made)
    await api.make("/v1/phones/001565500151/reset", {"public_ip": "203.0.113.7"})
    assert b"pw-else1" not in (await fetch(address(server, made), server)).body


async def test_a_phone_cannot_be_told_by_a_server_without_a_route(server: Server, api: Api) -> None:
    await family(api, "mute")
    await api.phone("001565500161", account="mute", main_line="mute1")
    operation = await api.make("/v1/phones/001565500161/resync", {})
    assert operation["state"] == "doing"
    assert operation["facts"]["notified_at"] is None


async def test_the_story_tells_what_happened(server: Server, api: Api) -> None:
    await family(api, "story")
    made = await api.phone("001565500171", account="story", main_line="story1")
    await fetch(f"{server.http}/001565500171.cfg", server)
    await seen(api, server, made)
    await api.make("/v1/lines/story2/attach", HERE)
    for _ in range(100):
        events = (await api.get("/v1/phones/001565500171/events")).body["items"]
        if {"refused", "fetched"} <= {event["kind"] for event in events}:
            break
        await asyncio.sleep(0.02)
    kinds = Counter(event["kind"] for event in events)
    assert kinds == {"created": 1, "attach": 2, "bound": 1, "fetched": 1, "refused": 1}
    assert events == sorted(events, key=lambda event: -event["id"])


async def test_a_phone_not_seen_lately_is_nowhere(new_server: Callable[..., Server]) -> None:
    server = new_server(NETWORK__FRESHNESS="0.3")
    api = Api(server)
    try:
        await family(api, "stale")
        phone = await seen(api, server, await api.phone("001565500181", account="stale", main_line="stale1"))
        await asyncio.sleep(0.35)
        stale = await api.post("/v1/lines/stale2/attach", HERE)
        assert stale.code == "public-ip-not-yours"
        assert stale.body["phones"] == [{"mac": "001565500181", "last_seen": phone["last_seen"]}]
        named = await api.post("/v1/lines/stale2/attach", HERE | {"mac": "001565500181"})
        assert named.code == "public-ip-mismatch"
        assert phone["last_seen"] in named.body["detail"]
        (explained,) = (await api.get("/v1/lines/stale2/attachable-phones")).body["items"]
        assert explained["reason"]["code"] == "phone-not-seen-lately"
    finally:
        await api.close()


@pytest.mark.parametrize("text", ["127.0.0.1", "192.168.1.20", "fd00::1"])
async def test_a_private_address_is_refused_where_phones_are_elsewhere(public: Api, text: str) -> None:
    answer = await public.post("/v1/lines/any/attach", {"public_ip": text})
    assert (answer.status, answer.code) == (422, "public-ip-malformed")
    assert "private" in answer.body["detail"]


@pytest.fixture
async def public(new_server: Callable[..., Server]):
    its = Api(new_server(NETWORK__PRIVATE_ADDRESSES="false"))
    yield its
    await its.close()
