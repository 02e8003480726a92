import asyncio

import pytest
from aiohttp import web
from scripted_phones_server import WRITERS, line, own_file, snom, yealink
from scripted_sip_peer import ScriptedPeer

from provisioning.simulator.misbehaviour import Misbehaviour
from provisioning.simulator.phone import Pace, Phone, Sheet
from provisioning.sip import digest
from provisioning.sip.digest import Credentials

MAC = "001565a1b2c3"
VENDORS = ("yealink", "snom", "linphone")


def provisioned(phone):
    return phone.provisioned


def quick(**other):
    return Pace(**{"retry_first": 0.02, "retry_most": 0.1, "http_timeout": 2, "sip_timeout": 0.3, "t1": 0.02} | other)


@pytest.fixture
async def sender():
    async with await ScriptedPeer.open() as peer:
        yield peer


def serve(server, vendor, *lines, mac=MAC, **settings):
    server.files[own_file(vendor, mac)] = WRITERS[vendor](*lines, **settings)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_boots_registers_and_shows_it(server, registrar, a_phone, vendor):
    serve(server, vendor, line("1001", registrar), line("1002", registrar))
    phone = await a_phone(vendor, address="127.1.2.3")
    await phone.wait_for(provisioned)
    assert [x.username for x in phone.registered_lines] == ["1001", "1002"]
    assert [c.received[0] for user in ("1001", "1002") for c in registrar.contacts(user)] == ["127.1.2.3"] * 2
    assert {request.remote for request in server.requests} == {"127.1.2.3"}
    assert phone.last_status == 200
    assert phone.fetches[-1].name == own_file(vendor, MAC)
    assert "s3cr3t" not in repr(phone.fetches) + repr(phone.sheet) + phone.summary()


async def test_yealink_asks_in_its_order_and_names_its_mac(server, registrar, a_phone):
    serve(server, "yealink", line("1001", registrar))
    server.files["y000000000066.cfg"] = yealink(static__auto_provision__repeat__minutes="60")
    phone = await a_phone()
    await phone.wait_for(provisioned)
    assert server.names() == [f"{MAC}.boot", "y000000000000.boot", "y000000000066.cfg", f"{MAC}.cfg"]
    assert [fetch.status for fetch in phone.fetches] == [404, 404, 200, 200]
    assert all(request.path.startswith("/p/s3cr3t/") for request in server.requests)
    agents = {request.headers["User-Agent"] for request in server.requests}
    assert agents == {"Yealink SIP-T46S 66.86.0.15 00:15:65:a1:b2:c3"}
    assert registrar.contacts("1001")[0].user_agent == "Yealink SIP-T46S 66.86.0.15"
    # The common file lies below the phone's own.
    assert phone.configuration.settings["static.auto_provision.repeat.minutes"] == "60"
    assert phone.configuration.settings["account.1.enable"] == "1"


async def test_snom_sends_its_etag_and_lives_with_304(server, registrar, a_phone):
    name = own_file("snom", MAC)
    server.files[name], server.etags[name] = snom(line("1001", registrar)), '"1"'
    phone = await a_phone("snom")
    await phone.wait_for(provisioned)
    phone.fetch_again()
    await phone.wait_for(lambda phone: phone.fetch_count == 2)
    assert phone.last_status == 304
    assert [request.headers.get("If-None-Match") for request in server.requests] == [None, '"1"']
    assert server.requests[0].headers["User-Agent"].startswith("Mozilla/4.0 (compatible; snomD785-SIP 10.")
    await phone.wait_for(provisioned)
    server.files[name], server.etags[name] = snom(line("1002", registrar)), '"2"'
    phone.fetch_again()
    await phone.wait_for(lambda phone: [x.username for x in phone.registered_lines] == ["1002"])


async def test_linphone_is_unknown_until_it_has_an_account(server, registrar, a_phone):
    serve(server, "linphone", line("1001", registrar))
    phone = await a_phone("linphone")
    await phone.wait_for(provisioned)
    assert dict(server.requests[0].headers) == {"Host": server.url.removeprefix("http://"), "User-Agent": "Unknown"}
    phone.go_offline()
    phone.come_back()
    await phone.wait_for(provisioned)
    again = server.requests[1].headers
    assert (again["User-Agent"], again["From"]) == ("Linphonec/5.1.65", "sip:1001@sip.example.net")


@pytest.mark.parametrize(("vendor", "follows"), [("snom", True), ("linphone", False)])
async def test_redirect(server, registrar, a_phone, vendor, follows):
    serve(server, vendor, line("1001", registrar), mac="000000000000")
    target = own_file(vendor, "000000000000")
    server.files[own_file(vendor, MAC)] = lambda request: web.Response(status=302, headers={"Location": f"/x/{target}"})
    phone = await a_phone(vendor)
    await phone.wait_for(lambda phone: phone.provisioned or phone.problem)
    assert phone.provisioned == follows


@pytest.mark.parametrize("vendor", VENDORS)
async def test_adopts_the_url_in_its_file(server, registrar, a_phone, vendor):
    key = {"yealink": "static__auto_provision__server__url", "snom": "setting_server", "linphone": "config_uri"}[vendor]
    path = {"yealink": ""}.get(vendor, own_file(vendor, MAC))
    url = f"{server.url}/p/fresh/{path}"
    serve(server, vendor, line("1001", registrar), **{key: url})
    phone = await a_phone(vendor)
    await phone.wait_for(provisioned)
    assert phone.provisioning_url == url
    phone.fetch_again()
    await phone.wait_for(lambda phone: server.requests[-1].path.startswith("/p/fresh/"))
    phone.factory_reset()
    assert phone.provisioning_url == phone.sheet.provisioning_url
    await phone.wait_for(provisioned)


@pytest.mark.parametrize("vendor", ["yealink", "snom"])
async def test_check_sync_brings_a_changed_configuration(server, registrar, a_phone, sender, vendor):
    serve(server, vendor, line("1001", registrar))
    phone = await a_phone(vendor)
    await phone.wait_for(provisioned)
    serve(server, vendor, line("1002", registrar))
    answer = await sender.ask(sender.notify("1001"), registrar.address)
    assert answer.status == 200
    await phone.wait_for(lambda phone: [x.username for x in phone.registered_lines] == ["1002"])
    assert registrar.contacts("1001") == ()  # what vanished was taken out
    assert (phone.resyncs, phone.resyncs_fetched) == (1, 1)
    assert [(n.event, n.status) for n in phone.notifies] == [("check-sync;reboot=false", 200)]


async def test_other_events_and_methods(server, registrar, a_phone, sender):
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone()
    await phone.wait_for(provisioned)
    phone_address = registrar.contacts("1001")[0].received
    assert (await sender.ask(sender.notify("1001", event="message-summary"), registrar.address)).status == 489
    uri = "sip:1001@127.0.0.1"
    assert (await sender.ask(sender.text("OPTIONS", uri, "1001"), phone_address)).status == 200
    assert (await sender.ask(sender.text("INVITE", uri, "1001"), phone_address)).status == 405
    assert phone.resyncs == 0


async def test_linphone_answers_200_to_any_event_and_does_nothing(server, registrar, a_phone, sender):
    serve(server, "linphone", line("1001", registrar))
    phone = await a_phone("linphone")
    await phone.wait_for(provisioned)
    for event in ("check-sync;reboot=true", "resync", "message-summary"):
        assert (await sender.ask(sender.notify("1001", event=event), registrar.address)).status == 200
    await asyncio.sleep(0.05)
    assert phone.fetch_count == 1
    assert phone.resyncs == 0


@pytest.mark.parametrize(
    ("policy", "event", "fetches", "reboots"),
    [
        ("0", "check-sync;reboot=false", True, False),
        ("0", "check-sync;reboot=true", True, True),
        ("1", "check-sync;reboot=false", True, True),
        ("2", "check-sync;reboot=true", False, False),
    ],
)
async def test_yealink_reboots_as_its_configuration_says(
    server, registrar, a_phone, sender, policy, event, fetches, reboots
):
    told = []
    body = yealink(line("1001", registrar)).replace(b"enable = 0\n", f"enable = {policy}\n".encode(), 1)
    server.files[own_file("yealink", MAC)] = body
    phone = await a_phone(on_event=lambda phone, kind, text: told.append(kind))
    await phone.wait_for(provisioned)
    before = phone.fetch_count
    assert (await sender.ask(sender.notify("1001", event=event), registrar.address)).status == 200
    if fetches:
        await phone.wait_for(lambda phone: phone.resyncs_fetched == 1)
        await phone.wait_for(provisioned)
    await asyncio.sleep(0.02)
    assert (phone.fetch_count > before) == fetches
    assert told.count("booted") == (2 if reboots else 1)


async def test_snom_may_want_the_lines_password_for_a_check_sync(server, registrar, a_phone, sender):
    serve(server, "snom", line("1001", registrar), challenge_checksync="on")
    phone = await a_phone("snom")
    await phone.wait_for(provisioned)
    challenged = await sender.ask(sender.notify("1001"), registrar.address)
    assert challenged.status == 401
    challenge = digest.challenges(challenged.get("WWW-Authenticate"))[0]
    uri = "sip:1001@sip.example.net"
    proof = digest.answer(challenge, Credentials("1001", "secret1001"), method="NOTIFY", uri=uri)
    proven = sender.notify("1001", f"Authorization: {proof}", cseq=2)
    assert (await sender.ask(proven, registrar.address)).status == 200
    await phone.wait_for(lambda phone: phone.resyncs_fetched == 1)


@pytest.mark.parametrize("answer", [500, 403, b"<html>not a configuration</html>", b""])
async def test_bad_answer_keeps_the_configuration_and_is_tried_again(server, registrar, a_phone, answer):
    name = own_file("yealink", MAC)
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone()
    await phone.wait_for(provisioned)
    good, server.files[name] = server.files[name], answer
    phone.fetch_again()
    await phone.wait_for(lambda phone: phone.problem)
    assert [x.username for x in phone.registered_lines] == ["1001"]
    server.files[name] = good
    await phone.wait_for(lambda phone: not phone.problem)


async def test_without_a_server_it_says_so_and_goes_on_trying(a_phone, server, registrar):
    serve(server, "snom", line("1001", registrar))
    url, mac = server.url, "000413000001"
    sheet = Sheet(mac, "snom", "D785", "http://127.0.0.1:9/none")
    async with Phone(sheet, pace=quick()) as phone:
        await phone.wait_for(lambda phone: phone.fetch_count > 1)
        assert phone.problem == "no connection"
        with pytest.raises(TimeoutError, match="no connection"):
            await phone.wait_for(provisioned, 0.01)
        phone.provisioning_url = f"{url}/{own_file('snom', MAC)}"
        await phone.wait_for(provisioned)


async def test_refused_line_is_tried_again_and_shown(server, registrar, a_phone):
    serve(server, "yealink", line("1001", registrar, "wrong"))
    phone = await a_phone()
    await phone.wait_for(lambda phone: any(r.failures > 1 for r in phone.registrations))
    assert phone.registrations[0].status == 403
    assert not phone.provisioned
    registrar.passwords["1001"] = "wrong"
    await phone.wait_for(provisioned)


async def test_registers_anew_before_it_expires_and_after_a_new_password(server, registrar, a_phone):
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone(pace=quick(expires=1))
    registrar.max_expires = 1
    await phone.wait_for(provisioned)
    await phone.wait_for(lambda phone: len([r for r in registrar.seen("REGISTER") if r.status == 200]) > 1)
    assert phone.provisioned
    registrar.passwords["1001"] = "rotated"
    serve(server, "yealink", line("1001", registrar, "rotated"))
    phone.fetch_again()
    await phone.wait_for(lambda phone: phone.provisioned and phone.registered_lines[0].password == "rotated")


async def test_polls(server, registrar, a_phone):
    serve(
        server,
        "yealink",
        line("1001", registrar),
        static__auto_provision__repeat__enable="1",
        static__auto_provision__repeat__minutes="1",
    )
    phone = await a_phone(pace=quick(poll_scale=0.0005))
    await phone.wait_for(lambda phone: server.names().count(f"{MAC}.cfg") >= 3)


async def test_offline_is_dead_and_comes_back_by_booting(server, registrar, a_phone, sender):
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone()
    await phone.wait_for(provisioned)
    fetched = phone.fetch_count
    phone.go_offline()
    assert not phone.provisioned
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 408
    assert (phone.fetch_count, phone.notify_count) == (fetched, 0)
    phone.come_back()
    await phone.wait_for(provisioned)
    assert phone.fetch_count > fetched


async def test_drop(server, registrar, a_phone, sender):
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone(misbehaviour=Misbehaviour(drop=1.0))
    await phone.wait_for(provisioned)
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 408
    assert [n.status for n in phone.notifies] == [None]  # retransmissions are dropped with it


async def test_refuse(server, registrar, a_phone, sender):
    serve(server, "yealink", line("1001", registrar))
    phone = await a_phone(misbehaviour=Misbehaviour(refuse=1.0))
    await phone.wait_for(provisioned)
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 489
    assert phone.resyncs == 0


async def test_duplicate(server, registrar, a_phone):
    serve(server, "snom", line("1001", registrar))
    phone = await a_phone("snom", misbehaviour=Misbehaviour(duplicate=1.0))
    await phone.wait_for(provisioned)
    await phone.wait_for(lambda phone: len([r for r in registrar.seen("REGISTER") if r.status == 200]) == 2)
    await phone.wait_for(lambda phone: phone.fetch_count == 2)
    assert len(registrar.contacts("1001")) == 1


async def test_delay(server, registrar, a_phone, sender):
    serve(server, "snom", line("1001", registrar))
    phone = await a_phone("snom", misbehaviour=Misbehaviour(delay=0.1))
    await phone.wait_for(provisioned)
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 200
    await asyncio.sleep(0.03)
    assert phone.fetch_count == 1
    await phone.wait_for(lambda phone: phone.resyncs_fetched == 1)


async def test_truncate_is_tried_again(server, registrar, a_phone):
    serve(server, "snom", line("1001", registrar))
    phone = await a_phone("snom", misbehaviour=Misbehaviour(truncate=0.5))
    await phone.wait_for(provisioned)
    for _ in range(10):
        fetched = phone.fetch_count
        phone.fetch_again()
        await phone.wait_for(lambda phone, fetched=fetched: phone.fetch_count > fetched)
    problems = [fetch.problem for fetch in phone.fetches]
    assert {"", "given up in the middle of the body"} == set(problems)
    await phone.wait_for(lambda phone: not phone.problem)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_lie_counts_the_lines_of_others(server, registrar, a_phone, vendor):
    neighbour = "001565a1b2c4"
    serve(server, vendor, line("1001", registrar))
    serve(server, vendor, mac=neighbour)  # a configuration without lines, as it should be
    phone = await a_phone(vendor, misbehaviour=Misbehaviour(lie=1.0))
    await phone.wait_for(provisioned)
    await phone.wait_for(lambda phone: own_file(vendor, neighbour) in server.names() and phone.last_status == 200)
    assert phone.foreign_lines == 0
    serve(server, vendor, line("1002", registrar), mac=neighbour)
    phone.fetch_again()
    await phone.wait_for(lambda phone: phone.foreign_lines == 1)
    assert [x.username for x in phone.lines] == ["1001"]


async def test_unplugged_for_a_while_at_a_notify(server, registrar, a_phone, sender):
    serve(server, "linphone", line("1001", registrar))
    phone = await a_phone("linphone")
    await phone.wait_for(provisioned)
    phone.misbehaviour = Misbehaviour(offline=1.0, offline_seconds=0.05)
    sender.send(sender.notify("1001"), registrar.address)
    await phone.wait_for(lambda phone: not phone.online)
    phone.misbehaviour = Misbehaviour()
    await phone.wait_for(provisioned)


async def test_closes_in_the_middle_of_everything(server, registrar, a_phone):
    serve(server, "yealink", line("1001", registrar))
    phones = [await a_phone(mac=f"00156500000{n}") for n in range(5)]
    for phone, pause in zip(phones, (0, 0, 0.001, 0.005, 0.01), strict=True):
        await asyncio.sleep(pause)
        phone.go_offline()
        phone.come_back()
        phone.go_offline()
    # Their fixture closes them.


def test_unknown_vendor_is_no_phone():
    with pytest.raises(KeyError):
        Phone(Sheet(MAC, "acme", "X", "http://127.0.0.1/"))
