import asyncio

import aiohttp
import pytest
from scripted_phones_server import line, own_file, snom
from scripted_sip_peer import ScriptedPeer

from provisioning.simulator.registrar import Registrar, address_uri, user_of
from provisioning.sip import digest, message
from provisioning.sip.client import NextHop, SipClient
from provisioning.sip.digest import Credentials


@pytest.fixture
async def peer():
    async with await ScriptedPeer.open() as peer:
        yield peer


@pytest.fixture
async def sender():
    async with await ScriptedPeer.open() as peer:
        yield peer


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
async def test_registers_with_either_digest_offered_as_separate_headers(registrar, peer, algorithm):
    uri = "sip:sip.example.net"
    challenged = await peer.ask(peer.text("REGISTER", uri, "1001"), registrar.address)
    offers = challenged.all("WWW-Authenticate")
    assert [digest.challenges(offer)[0].algorithm for offer in offers] == ["SHA-256", "MD5"]

    registered = await peer.register(registrar, "1001", "secret1001", algorithm=algorithm)
    assert registered.status == 200
    assert registered.get("Contact").endswith(";expires=600")
    (contact,) = registrar.contacts("1001")
    assert contact.received == peer.address
    assert contact.user_agent == "Yealink SIP-T46S 66.86.0.15"
    assert contact.verified
    assert [record.status for record in registrar.seen("REGISTER", "1001")] == [401, 401, 200]


async def test_wrong_password_and_unknown_user_are_forbidden(registrar, peer):
    assert (await peer.register(registrar, "1001", "wrong")).status == 403
    assert (await peer.register(registrar, "9999", "any")).status == 403
    assert registrar.users() == ()


async def test_unknown_user_is_counted_where_registration_is_open(peer):
    async with Registrar(open_registration=True) as registrar:
        assert (await peer.register(registrar, "9999", "any")).status == 200
        assert registrar.unverified == 1
        assert not registrar.contacts("9999")[0].verified


async def test_answer_to_a_challenge_is_good_once(registrar, peer):
    uri = "sip:sip.example.net"
    challenged = await peer.ask(peer.text("REGISTER", uri, "1001"), registrar.address)
    challenge = digest.challenges(challenged.all("WWW-Authenticate")[0])[0]
    proof = digest.answer(challenge, Credentials("1001", "secret1001"), method="REGISTER", uri=uri)
    first, second = (peer.text("REGISTER", uri, "1001", f"Authorization: {proof}", cseq=n) for n in (2, 3))
    assert (await peer.ask(first, registrar.address)).status == 200
    again = await peer.ask(second, registrar.address)
    assert again.status == 401
    assert all(digest.challenges(value)[0].stale for value in again.all("WWW-Authenticate"))


async def test_expires_0_and_star_remove_and_time_does(registrar, peer):
    assert (await peer.register(registrar, "1001", "secret1001")).status == 200
    assert (await peer.register(registrar, "1001", "secret1001", expires=0)).status == 200
    assert registrar.contacts("1001") == ()
    await peer.register(registrar, "1001", "secret1001")
    await peer.register(registrar, "1001", "secret1001", expires=0, contact="Contact: *")
    assert registrar.contacts("1001") == ()
    registrar.max_expires = 1.0
    await peer.register(registrar, "1001", "secret1001")
    assert len(registrar.contacts("1001")) == 1
    await asyncio.sleep(1.1)
    assert registrar.contacts("1001") == ()
    assert registrar.users() == ()


async def test_notify_goes_to_where_the_phone_registered_from_and_its_answer_comes_back(registrar, peer, sender):
    # The contact is the phone's address inside its home; only the source address leads there.
    await peer.register(registrar, "1001", "secret1001", contact="Contact: <sip:1001@192.168.1.20:5062>;expires=60")
    sender.send(sender.notify("1001"), registrar.address)
    relayed = await peer.hears()
    assert relayed.uri == "sip:1001@192.168.1.20:5062"
    assert relayed.get("Max-Forwards") == "69"
    assert relayed.get("Event") == "check-sync;reboot=false"
    vias = relayed.values("Via")
    assert len(vias) == 2
    assert f":{registrar.address[1]};" in vias[0]
    assert f";received=127.0.0.1;rport={sender.address[1]}" in vias[1]

    peer.send(peer.answer(relayed, 200, "OK", "User-Agent: phone"), registrar.address)
    answer = await sender.hears()
    assert answer.status == 200
    assert answer.values("Via") == vias[1:]
    assert answer.get("User-Agent") == "phone"
    assert answer.get("To").endswith(";tag=xyz")
    assert registrar.seen("NOTIFY", "1001")[0].status == 200


async def test_retransmissions_are_absorbed_and_answered_alike(registrar, peer, sender):
    await peer.register(registrar, "1001", "secret1001")
    notify = sender.notify("1001")
    for _ in range(3):
        sender.send(notify, registrar.address)
    relayed = await peer.hears()
    peer.send(peer.answer(relayed, 489, "Bad Event"), registrar.address)
    first = await sender.hears()
    assert first.status == 489
    assert await sender.ask(notify, registrar.address) == first
    await peer.hears_nothing(0.03)
    assert len(registrar.seen("NOTIFY")) == 1


async def test_404_for_who_is_not_registered_and_408_for_who_does_not_answer(registrar, peer, sender):
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 404
    await peer.register(registrar, "1001", "secret1001")
    registrar.relay_timeout = 0.1
    assert (await sender.ask(sender.notify("1001"), registrar.address)).status == 408
    sent = [(await peer.hears()).branch for _ in range(3)]
    assert len(set(sent)) == 1  # the relay sends it again in the meantime


async def test_a_success_of_one_contact_does_not_wait_for_a_dead_one(registrar, peer, sender):
    await peer.register(registrar, "1001", "secret1001")
    async with await ScriptedPeer.open() as dead:
        await dead.register(registrar, "1001", "secret1001")
        registrar.relay_timeout = 10
        sender.send(sender.notify("1001"), registrar.address)
        peer.send(peer.answer(await peer.hears(), 200), registrar.address)
        assert (await sender.hears()).status == 200

        registrar.relay_timeout = 0.1
        sender.send(sender.notify("1001"), registrar.address)
        peer.send(peer.answer(await peer.hears(), 481), registrar.address)
        assert (await sender.hears()).status == 408


async def test_notify_may_need_credentials(peer, sender):
    async with Registrar({"1001": "x"}, notify_credentials=("prov", "provsecret"), realm="proxy") as registrar:
        await peer.register(registrar, "1001", "x")
        challenged = await sender.ask(sender.notify("1001"), registrar.address)
        assert challenged.status == 407
        offers = challenged.all("Proxy-Authenticate")
        assert len(offers) == 2
        challenge = digest.challenges(offers[1])[0]
        assert (challenge.algorithm, challenge.realm) == ("MD5", "proxy")
        uri = "sip:1001@sip.example.net"

        def proven(password):
            return digest.answer(challenge, Credentials("prov", password), method="NOTIFY", uri=uri)

        refused = sender.notify("1001", f"Proxy-Authorization: {proven('wrong')}", cseq=2)
        refused = await sender.ask(refused, registrar.address)
        assert refused.status == 407
        challenge = digest.challenges(refused.all("Proxy-Authenticate")[0])[0]
        sender.send(
            sender.notify("1001", f"Proxy-Authorization: {proven('provsecret')}", cseq=3), registrar.address
        )
        relayed = await peer.hears()
        assert relayed.get("Proxy-Authorization") is None
        peer.send(peer.answer(relayed, 200), registrar.address)
        assert (await sender.hears()).status == 200


async def test_faults(registrar, peer, sender):
    await peer.register(registrar, "1001", "secret1001")
    for lie in (200, 481, 503):
        registrar.faults.answer_instead = lie
        assert (await sender.ask(sender.notify("1001"), registrar.address)).status == lie
    registrar.faults.answer_instead = None
    registrar.faults.drop = 1.0
    sender.send(sender.notify("1001"), registrar.address)
    await sender.hears_nothing(0.05)
    registrar.faults.drop = 0.0
    await peer.hears_nothing(0.01)
    registrar.faults.delay = 0.1
    sender.send(sender.notify("1001"), registrar.address)
    await peer.hears_nothing(0.05)
    peer.send(peer.answer(await peer.hears(), 200), registrar.address)
    assert (await sender.hears()).status == 200


async def test_closes_while_a_notify_is_on_its_way(peer, sender):
    registrar = Registrar({"1001": "x"})
    await registrar.start()
    await peer.register(registrar, "1001", "x")
    sender.send(sender.notify("1001"), registrar.address)
    await peer.hears()
    await registrar.close()


async def test_other_requests_and_nonsense(registrar, peer):
    uri = "sip:sip.example.net"
    assert (await peer.ask(peer.text("OPTIONS", uri, "1001"), registrar.address)).status == 200
    assert (await peer.ask(peer.text("INVITE", uri, "1001"), registrar.address)).status == 405
    for nonsense in (b"\r\n\r\n", b"\x00", b"NOTIFY sip:1001@x SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        peer.send(nonsense, registrar.address)
    await peer.hears_nothing(0.02)
    hopless = peer.notify("1001").replace("Max-Forwards: 70", "Max-Forwards: 0")
    await peer.register(registrar, "1001", "secret1001")
    assert (await peer.ask(hopless, registrar.address)).status == 483


async def test_notify_over_tcp_reaches_a_phone_on_udp(registrar, peer, sender):
    await peer.register(registrar, "1001", "secret1001")
    reader, writer = await asyncio.open_connection(*registrar.address)
    notify = sender.notify("1001").replace("SIP/2.0/UDP", "SIP/2.0/TCP").encode()
    writer.write(b"\r\n\r\n" + notify[:50])
    await writer.drain()
    writer.write(notify[50:])
    peer.send(peer.answer(await peer.hears(), 200), registrar.address)
    answer = message.parse(await reader.readuntil(b"\r\n\r\n"))
    assert (answer.status, answer.cseq) == (200, (1, "NOTIFY"))
    assert answer.values("Via")[0].startswith("SIP/2.0/TCP")
    writer.close()
    await writer.wait_closed()


async def test_phone_on_tcp_is_reached_over_its_connection(registrar, sender):
    reader, writer = await asyncio.open_connection(*registrar.address)
    async with await ScriptedPeer.open() as words:  # only for its texts

        async def ask(text):
            writer.write(text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").encode())
            return message.parse(await reader.readuntil(b"\r\n\r\n"))

        uri, contact = "sip:sip.example.net", "Contact: <sip:1001@192.168.1.20:5060;transport=tcp>"
        challenged = await ask(words.text("REGISTER", uri, "1001", contact))
        challenge = digest.challenges(challenged.all("WWW-Authenticate")[0])[0]
        proof = digest.answer(challenge, Credentials("1001", "secret1001"), method="REGISTER", uri=uri)
        registered = await ask(words.text("REGISTER", uri, "1001", contact, f"Authorization: {proof}"))
        assert registered.status == 200
        sender.send(sender.notify("1001"), registrar.address)
        relayed = message.parse(await reader.readuntil(b"\r\n\r\n"))
        assert relayed.values("Via")[0].startswith("SIP/2.0/TCP")
        writer.write(words.answer(relayed, 200).encode())
        assert (await sender.hears()).status == 200
    writer.close()
    await writer.wait_closed()


async def test_ul_lookup_answers_as_kamailio_does(peer):
    async with Registrar({"1001": "x"}, rpc=True) as registrar, aiohttp.ClientSession() as http:

        async def call(params, method="ul.lookup"):
            asked = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
            async with http.post(registrar.rpc_url, json=asked) as answer:
                return answer.status, await answer.json()

        unknown = {"jsonrpc": "2.0", "error": {"code": 500, "message": "AOR not found in location table"}, "id": 7}
        assert await call(["location", "1001"]) == (500, unknown)
        instance = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-001565a1b2c3>"'
        await peer.register(
            registrar, "1001", "x", contact=f"Contact: <sip:1001@192.168.1.20:5062;transport=UDP>;{instance}"
        )
        status, found = await call(["location", "1001"])
        assert (status, found["id"], found["result"]["AoR"]) == (200, 7, "1001")
        contact = found["result"]["Contacts"][0]["Contact"]
        assert contact["Address"] == "sip:1001@192.168.1.20:5062;transport=UDP"
        assert contact["Received"] == f"sip:127.0.0.1:{peer.address[1]}"
        assert contact["Socket"] == f"udp:127.0.0.1:{registrar.address[1]}"
        assert contact["Expires"] == 600
        assert contact["User-Agent"] == "Yealink SIP-T46S 66.86.0.15"
        assert contact["Instance"] == "<urn:uuid:00000000-0000-1000-8000-001565a1b2c3>"
        assert contact["Path"] == "[not set]"
        assert {"Q", "Call-ID", "CSeq", "State", "Ruid", "Tcpconn-Id", "Last-Modified"} <= contact.keys()

        await peer.register(registrar, "1001", "x", expires=0, contact="Contact: *")
        await peer.register(registrar, "1001", "x")
        status, found = await call(["location", "1001"])
        assert found["result"]["Contacts"][0]["Contact"]["Received"] == "[not set]"  # not behind a NAT

        assert (await call(["location", 1001]))[1]["error"]["message"] == "Not enough parameters"
        assert (await call([], "ul.nonsense"))[1]["error"]["message"] == "Method Not Found"


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("<sip:1001@x>;tag=1", "sip:1001@x"),
        ('"A <b>, \\"c\\"" <sip:1001@x;transport=tcp>', "sip:1001@x;transport=tcp"),
        ("sip:1001@x;tag=1", "sip:1001@x"),
    ],
)
def test_address_uri(value, uri):
    assert address_uri(value) == uri
    assert user_of(uri) == "1001"


def test_user_of_unescapes():
    assert user_of("sip:%2B331@x") == "+331"
    assert user_of("sip:x") == ""


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_our_own_client_reaches_a_phone_through_it(server, a_phone, transport):
    async with Registrar({"1001": "secret1001"}, notify_credentials=("prov", "provsecret")) as registrar:
        server.files[own_file("snom", "000413a1b2c3")] = snom(
            line("1001", registrar), challenge_checksync="on"
        )
        phone = await a_phone("snom", "000413a1b2c3")
        await phone.wait_for(lambda phone: phone.provisioned)
        next_hop = NextHop.parse(f"{transport}:127.0.0.1:{registrar.address[1]}")
        client = SipClient(next_hop, sender="sip:prov@sip.example.net", credentials=Credentials("prov", "provsecret"))
        told = await client.notify(
            "sip:1001@sip.example.net", "check-sync;reboot=false", credentials=Credentials("1001", "secret1001")
        )
        assert (told.status, told.local) == (200, False)
        await phone.wait_for(lambda phone: phone.resyncs_fetched == 1)
        assert [record.status for record in registrar.seen("NOTIFY")] == [407, 401, 200]
        await client.close()
