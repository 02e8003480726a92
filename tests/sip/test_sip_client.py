"""The client against a server on loopback that misbehaves; each test runs on asyncio and on uvloop."""

import asyncio
import contextlib
import itertools
import socket
import time

import pytest
import sipmessage
from scripted_sip_server import HANG_UP, Later, certificate, sip_server

from provisioning.sip import digest
from provisioning.sip.client import Credentials, NextHop, Outcome, SipClient
from provisioning.sip.digest import Authorization, Challenge
from provisioning.sip.message import Request, Response

SENDER = "sip:provisioning@example.net"
TARGET = "sip:1001@example.net"
EVENT = "check-sync;reboot=false"
PROXY = Credentials("prov", "provsecret")
LINE = Credentials("1001", "secret1001")
T1 = 0.02
PATIENT = 1.0
"Where requests are counted, none may be repeated because this machine is slow."
OK = Outcome(200, "OK", local=False)


@contextlib.asynccontextmanager
async def client_of(next_hop, t1=T1, **options):
    client = SipClient(next_hop, sender=SENDER, t1=t1, **options)
    try:
        yield client
    finally:
        await client.close()


async def notify(script, transport="udp", host="127.0.0.1", times=1, credentials=None, **options):
    """One NOTIFY, or several in a row, to a server with this script: the last outcome, and the server."""
    async with sip_server(script, transport, host) as server, client_of(server.next_hop, **options) as client:
        for _ in range(times):
            outcome = await client.notify(TARGET, EVENT, credentials=credentials)
        return outcome, server


def ok(request, number):
    return [request.response(200, "OK", to_tag="phone")]


def silent(request, number):
    return []


def challenged_by(request, challenge, status=407):
    name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    return request.response(status, "Authentication Required", headers=[(name, str(challenge))])


def answered(request, challenge, credentials, status=407):
    value = request.get("Proxy-Authorization" if status == 407 else "Authorization")
    return value is not None and digest.verify(value, challenge, credentials, method=request.method, uri=request.uri)


# What is sent


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_request(transport, host):
    outcome, server = await notify(ok, transport, host)
    assert outcome == OK
    (request,) = server.requests
    assert (request.method, request.uri, request.body) == ("NOTIFY", TARGET, b"")
    names = [name for name, _ in request.headers]
    assert names == [
        "Via",
        "Max-Forwards",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Contact",
        "Event",
        "Subscription-State",
        "User-Agent",
    ]
    theirs = sipmessage.Message.parse(request.serialise())
    (via,) = theirs.via
    assert via.transport == transport.upper()
    assert via.host.strip("[]") == host
    assert via.parameters["branch"].startswith("z9hG4bK")
    assert "rport" in via.parameters
    assert request.get("Max-Forwards") == "70"
    assert str(theirs.from_address.uri) == SENDER
    assert theirs.from_address.parameters["tag"]
    assert request.get("To") == f"<{TARGET}>"
    assert theirs.cseq == sipmessage.CSeq(1, "NOTIFY")
    (contact,) = theirs.contact
    assert (contact.uri.user, contact.uri.port) == ("provisioning", via.port)
    assert contact.uri.parameters["transport"] == transport
    assert request.get("Event") == EVENT
    assert request.get("Subscription-State") == "active"
    assert request.get("User-Agent") == "provisioning"


async def test_body_user_agent_and_ipv6_target():
    async with sip_server(ok) as server, client_of(server.next_hop, user_agent="ours/1") as client:
        target = "sip:+33123@[2001:db8::7]:5070;transport=UDP"
        assert await client.notify(target, "x", body=b"action=restart", content_type="text/plain") == OK
    (request,) = server.requests
    assert (request.uri, request.get("To"), request.body) == (target, f"<{target}>", b"action=restart")
    assert (request.get("Content-Type"), request.get("User-Agent")) == ("text/plain", "ours/1")


async def test_calls_differ():
    _, server = await notify(ok, times=3)
    for name in ("Via", "From", "Call-ID"):
        assert len({request.get(name) for request in server.requests}) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": "sip:1001@example.net\r\nEvil: 1"},
        {"target": "sip:1001@example.net\n"},
        {"target": "sip:1001@example.net>;tag=1"},
        {"target": "sip:1001@exam ple.net"},
        {"target": "sip:1001@example.net?Subject=x"},
        {"target": "sip:é@example.net"},
        {"target": "tel:+33123"},
        {"target": "1001@example.net"},
        {"target": "sip:"},
        {"target": ""},
        {"event": "check-sync\r\nEvil: 1"},
        {"event": "check-sync\n"},
        {"event": "check-sync\x00"},
        {"event": ""},
        {"event": " "},
        {"body": b"x"},
        {"body": b"x", "content_type": "text/plain\r\nEvil: 1"},
        {"body": b"x" * 65_500, "content_type": "text/plain"},
    ],
)
async def test_nothing_is_sent_of_a_broken_request(arguments):
    async with sip_server(ok) as server, client_of(server.next_hop) as client:
        with pytest.raises(ValueError):  # noqa: PT011
            await client.notify(**({"target": TARGET, "event": EVENT} | arguments))
        assert await client.notify(TARGET, EVENT) == OK
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "options",
    [{"sender": "provisioning"}, {"sender": "sip:a@b\r\n"}, {"sender": SENDER, "user_agent": "a\r\nb"}],
)
def test_a_broken_sender_is_refused_at_the_start(options):
    with pytest.raises(ValueError):  # noqa: PT011
        SipClient(NextHop("udp", "127.0.0.1", 5060), **options)


# What comes back


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "OK"),
        (202, "Accepted"),
        (302, "Moved"),
        (404, ""),
        (489, "Bad Event"),
        (503, "Full"),
        (603, "No"),
    ],
)
async def test_final_codes(transport, status, reason):
    outcome, server = await notify(lambda request, _: [request.response(status, reason)], transport, t1=PATIENT)
    assert outcome == Outcome(status, reason, local=False)
    assert len(server.requests) == 1


async def test_silence():
    started = time.monotonic()
    outcome, server = await notify(silent, t1=0.01)
    assert (outcome.status, outcome.local) == (408, True)
    assert "no answer in 0.64 s" in outcome.reason
    assert 0.6 < time.monotonic() - started < 1.5
    assert 9 <= len(server.requests) <= 11  # a busy machine may skip one
    assert len({request.serialise() for request in server.requests}) == 1  # retransmissions are identical
    gaps = [later - earlier for earlier, later in itertools.pairwise(server.times)]
    assert gaps[0] < 0.04
    assert max(gaps) > 0.07


async def test_silence_over_tcp_is_not_resent():
    outcome, server = await notify(silent, "tcp", t1=0.005)
    assert (outcome.status, outcome.local) == (408, True)
    assert len(server.requests) == 1


async def test_drops():
    outcome, server = await notify(lambda request, number: ok(request, number) if number == 3 else [])
    assert outcome == OK
    assert len(server.requests) == 3


async def test_delay():
    outcome, server = await notify(lambda request, _: [Later(4 * T1, request.response(200, "OK"))])
    assert outcome == OK
    assert len(server.requests) >= 2


async def test_duplicates_and_contradictions_after_the_first_final():
    def script(request, number):
        final = request.response(200, "OK")
        return [final, final, request.response(404), Later(T1, final)]

    outcome, server = await notify(script, times=3)
    assert outcome == OK
    assert len(server.requests) == 3


async def test_100_then_200():
    def script(request, number):
        return [request.response(100, "Trying"), Later(12 * T1, request.response(200, "OK"))] if number == 1 else []

    outcome, server = await notify(script)
    assert outcome == OK
    assert len(server.requests) == 3  # at 0, T1, then T1 + T2: without the 100 there would have been four


async def test_what_is_not_ours_is_ignored():
    def script(request, number):
        ours = request.response(200, "OK")
        lie = Response(200, "Lie", tuple((n, v.replace("z9hG4bK", "z9hG4bKx")) for n, v in ours.headers))
        method = Response(200, "Lie", tuple((n, v.replace("1 NOTIFY", "1 INVITE")) for n, v in ours.headers))
        bare = Response(200, "Lie", (("CSeq", "1 NOTIFY"),))
        options = Request("OPTIONS", "sip:us", request.headers)
        short = b"SIP/2.0 200 Lie\r\nContent-Length: 9\r\n\r\n"
        return [b"\r\n\r\n", b"\x00\xff", short, lie, method, bare, options, Later(T1 / 2, ours)]

    outcome, server = await notify(script)
    assert outcome == OK
    assert all(request.method == "NOTIFY" for request in server.requests)  # nothing of it was answered


async def test_a_datagram_from_elsewhere_is_ignored():
    def forge(request, number):
        port = int(request.get("Contact").rpartition(":")[2].partition(";")[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(request.response(200, "Forged").serialise(), ("127.0.0.1", port))
        return [Later(T1 / 2, request.response(404, "Not Found"))]

    outcome, _ = await notify(forge)
    assert outcome == Outcome(404, "Not Found", local=False)


# Digest


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("algorithm", list(digest.ALGORITHMS))
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth", "auth-int")])
async def test_407_then_200(transport, algorithm, qop):
    challenge = Challenge('a "b", c', "n, 1", algorithm, qop, opaque="o,p")

    def script(request, number):
        if answered(request, challenge, PROXY):
            return [request.response(200, "OK")]
        return [challenged_by(request, challenge)]

    async with (
        sip_server(script, transport) as server,
        client_of(server.next_hop, credentials=PROXY) as client,
    ):
        assert await client.notify(TARGET, EVENT, credentials=LINE) == OK
    first, second = server.requests
    assert first.cseq == (1, "NOTIFY")
    assert second.cseq == (2, "NOTIFY")
    assert first.branch != second.branch
    for name in ("Call-ID", "From", "To"):
        assert first.get(name) == second.get(name)


async def test_401_of_the_phone_uses_the_line():
    challenge = digest.challenge("phone", "MD5")

    def script(request, number):
        if answered(request, challenge, LINE, 401):
            return [request.response(200, "OK")]
        return [challenged_by(request, challenge, 401)]

    async with sip_server(script) as server, client_of(server.next_hop, credentials=PROXY) as client:
        assert await client.notify(TARGET, EVENT, credentials=LINE) == OK
        assert (await client.notify(TARGET, EVENT)).status == 401  # the client's own stand in, and fail
    assert [request.get("Authorization") is not None for request in server.requests] == [False, True] * 2
    assert Authorization.parse(server.requests[-1].get("Authorization")).username == PROXY.username


async def test_407_of_the_proxy_and_then_401_of_the_phone():
    proxy, phone = digest.challenge("proxy"), digest.challenge("phone", "MD5")

    def script(request, number):
        if not answered(request, proxy, PROXY):
            return [challenged_by(request, proxy)]
        if not answered(request, phone, LINE, 401):
            return [challenged_by(request, phone, 401)]
        return [request.response(200, "OK")]

    async with sip_server(script) as server, client_of(server.next_hop, credentials=PROXY) as client:
        assert await client.notify(TARGET, EVENT, credentials=LINE) == OK
    assert [request.cseq[0] for request in server.requests] == [1, 2, 3]
    # The proxy's nonce was used twice, and says so.
    assert [Authorization.parse(request.get("Proxy-Authorization")).nc for request in server.requests[1:]] == [1, 2]


@pytest.mark.parametrize("status", [401, 407])
async def test_a_refused_answer_is_not_repeated(status):
    def script(request, number):
        return [challenged_by(request, digest.challenge("r"), status)]

    outcome, server = await notify(script, credentials=LINE, t1=PATIENT)
    assert (outcome.status, outcome.local) == (status, False)
    assert len(server.requests) == 2


async def test_without_credentials_a_challenge_is_final():
    outcome, server = await notify(lambda request, _: [challenged_by(request, digest.challenge("r"))], t1=PATIENT)
    assert outcome == Outcome(407, "Authentication Required", local=False)
    assert len(server.requests) == 1


async def test_stale_is_answered_once_more():
    fresh = digest.challenge("r", stale=True)

    def script(request, number):
        if answered(request, fresh, LINE):
            return [request.response(200, "OK")]
        return [challenged_by(request, fresh if number > 1 else digest.challenge("r"))]

    outcome, server = await notify(script, credentials=LINE, t1=PATIENT)
    assert outcome == OK
    assert len(server.requests) == 3


async def test_stale_for_ever():
    def script(request, number):
        return [challenged_by(request, digest.challenge("r", stale=True))]

    outcome, server = await notify(script, credentials=LINE, t1=PATIENT)
    assert outcome.status == 407
    assert len(server.requests) == 3


async def test_stale_with_the_same_nonce_is_a_refusal():
    challenge = digest.challenge("r", stale=True)
    outcome, server = await notify(lambda request, _: [challenged_by(request, challenge)], credentials=LINE, t1=PATIENT)
    assert outcome.status == 407
    assert len(server.requests) == 2


async def test_the_strongest_of_several_challenges():
    weak, strong = Challenge("r", "weak", "MD5", ("auth",)), Challenge("r", "strong", "SHA-256", ("auth",))

    def script(request, number):
        if answered(request, strong, LINE):
            return [request.response(200, "OK")]
        offers = [
            'Basic realm="x, y"',
            f"{weak}",
            'Digest realm="broken',
            f"Digest realm=x, nonce=y, algorithm=SHA-512-256, {strong}",
        ]
        return [request.response(407, headers=[("Proxy-Authenticate", offer) for offer in offers])]

    outcome, _ = await notify(script, credentials=LINE)
    assert outcome == OK


@pytest.mark.parametrize(
    "offers",
    [[], ["Basic realm=x"], ['Digest realm="broken'], ["Digest realm=x, nonce=y, algorithm=AKAv1-MD5"]],
)
async def test_a_challenge_nobody_can_answer_is_final(offers):
    def script(request, number):
        return [request.response(401, "Unauthorized", headers=[("WWW-Authenticate", offer) for offer in offers])]

    outcome, server = await notify(script, credentials=LINE, t1=PATIENT)
    assert outcome == Outcome(401, "Unauthorized", local=False)
    assert len(server.requests) == 1


# Broken transports


def closed_port(kind, family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family, kind) as end:
        end.bind((host, 0))
        return end.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_refused(transport, host):
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    async with client_of(NextHop(transport, host, closed_port(kind, family, host)), t1=0.5) as client:
        for _ in range(3):
            started = time.monotonic()
            outcome = await client.notify(TARGET, EVENT)
            assert (outcome.status, outcome.local) == (503, True)
            assert "connection refused" in outcome.reason
            assert time.monotonic() - started < 0.4


async def test_a_udp_server_that_goes_and_comes_back():
    async with sip_server(ok) as server, client_of(server.next_hop, t1=0.5) as client:
        assert await client.notify(TARGET, EVENT) == OK
        await server.stop()
        outcomes = await asyncio.gather(*[client.notify(TARGET, EVENT) for _ in range(5)])
        assert {(outcome.status, outcome.local) for outcome in outcomes} == {(503, True)}
        await server.listen("udp", "127.0.0.1", server.next_hop.port)
        assert await client.notify(TARGET, EVENT) == OK


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("host", ["nobody.invalid", "a..b"])
async def test_unresolvable(transport, host, monkeypatch):
    async def nobody(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # No question may leave the machine.
    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", nobody)
    async with client_of(NextHop(transport, host, 5060)) as client:
        outcome = await client.notify(TARGET, EVENT)
    assert (outcome.status, outcome.local) == (503, True)
    assert "does not resolve" in outcome.reason


async def test_tcp_connection_is_reused():
    _, server = await notify(ok, "tcp", times=5)
    assert server.connections == 1
    assert len({request.get("Contact") for request in server.requests}) == 1


async def test_tcp_closed_after_each_answer():
    outcome, server = await notify(lambda request, number: [*ok(request, number), HANG_UP], "tcp", times=3)
    assert outcome == OK
    assert (server.connections, len(server.requests)) == (3, 3)


async def test_tcp_closed_after_the_challenge():
    challenge = digest.challenge("r")

    def script(request, number):
        if answered(request, challenge, LINE):
            return [request.response(200, "OK")]
        return [challenged_by(request, challenge), HANG_UP]

    outcome, server = await notify(script, "tcp", credentials=LINE)
    assert outcome == OK
    assert server.connections == 2


async def test_tcp_that_served_and_then_hangs_up_is_opened_once_more():
    outcome, server = await notify(
        lambda request, number: [HANG_UP] if number == 2 else ok(request, number), "tcp", times=2
    )
    assert outcome == OK
    assert server.connections == 2
    _, again, last = server.requests
    assert again.branch != last.branch
    assert again.get("Call-ID") == last.get("Call-ID")
    assert last.cseq[0] == again.cseq[0] + 1  # else it might be taken for a loop, RFC 3261 section 8.2.2.2


async def test_tcp_that_always_hangs_up():
    outcome, server = await notify(lambda request, number: [HANG_UP], "tcp", times=2)
    assert (outcome.status, outcome.local) == (503, True)
    assert "closed" in outcome.reason
    assert server.connections == 2  # one for each NOTIFY, as neither ever worked
    outcome, server = await notify(
        lambda request, number: ok(request, number) if number == 1 else [HANG_UP], "tcp", times=2
    )
    assert (outcome.status, outcome.local) == (503, True)
    assert server.connections == 2


async def test_tcp_that_speaks_something_else():
    outcome, _ = await notify(lambda request, number: [b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"], "tcp")
    assert (outcome.status, outcome.local) == (503, True)
    assert "does not speak SIP" in outcome.reason


async def test_tcp_that_never_ends_its_headers():
    outcome, _ = await notify(lambda request, number: [b"SIP/2.0 200 OK\r\nX: " + b"x" * 70_000], "tcp", t1=0.5)
    assert (outcome.status, outcome.local) == (503, True)


async def test_tcp_in_pieces_with_keep_alives():
    def script(request, number):
        data = b"\r\n\r\n" + request.response(100).serialise() + b"\r\n" + request.response(200, "OK").serialise()
        return [data[:1], Later(T1, data[1:50]), Later(2 * T1, data[50:])]

    outcome, _ = await notify(script, "tcp", times=2)
    assert outcome == OK


async def test_tcp_gone_silent_is_given_up_for_a_new_connection():
    outcome, server = await notify(
        lambda request, number: [] if number == 2 else ok(request, number), "tcp", times=3, t1=0.005
    )
    assert outcome == OK
    assert server.connections == 2


# TLS


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_tls(tmp_path, host):
    theirs, ours = certificate(tmp_path / "server.pem", host)
    async with (
        sip_server(ok, "tls", host, theirs) as server,
        client_of(server.next_hop, ssl_context=ours, t1=0.1) as client,
    ):
        for _ in range(3):
            assert await client.notify(TARGET, EVENT) == OK
    assert server.connections == 1
    assert server.requests[0].get("Via").startswith("SIP/2.0/TLS ")
    assert server.requests[0].get("Contact").endswith(";transport=tls>")


@pytest.mark.parametrize("names", [("127.0.0.1",), ("127.0.0.2", "proxy.example.net")])
async def test_tls_certificate_of_somebody_else(tmp_path, names):
    theirs, ours = certificate(tmp_path / "server.pem", *names)
    trusting = None if names == ("127.0.0.1",) else ours  # unknown issuer; known one, but another name
    async with (
        sip_server(ok, "tls", ssl_context=theirs) as server,
        client_of(server.next_hop, ssl_context=trusting, t1=0.1) as client,
    ):
        outcome = await client.notify(TARGET, EVENT)
    assert (outcome.status, outcome.local) == (503, True)
    assert "TLS failed: " in outcome.reason
    assert server.requests == []


async def test_many_at_once_knock_once_at_a_closed_door(tmp_path):
    theirs, _ = certificate(tmp_path / "server.pem", "127.0.0.1")
    async with sip_server(ok, "tls", ssl_context=theirs) as server:
        handshakes = []
        theirs.sni_callback = lambda *_: handshakes.append(1)
        async with client_of(NextHop("tls", "localhost", server.next_hop.port), t1=0.1) as client:
            outcomes = await asyncio.gather(*[client.notify(TARGET, EVENT) for _ in range(50)])
            assert {(outcome.status, outcome.local) for outcome in outcomes} == {(503, True)}
            assert len(handshakes) == 1
            assert (await client.notify(TARGET, EVENT)).status == 503
            assert len(handshakes) == 2


async def test_tls_to_a_server_without_it(tmp_path):
    _, ours = certificate(tmp_path / "server.pem", "127.0.0.1")
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with client_of(NextHop("tls", "127.0.0.1", port), ssl_context=ours, t1=0.1) as client:
        outcome = await client.notify(TARGET, EVENT)
    listener.close()
    await listener.wait_closed()
    assert (outcome.status, outcome.local) == (503, True)


async def test_tls_handshake_that_never_ends(tmp_path):
    _, ours = certificate(tmp_path / "server.pem", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        next_hop = NextHop("tls", "127.0.0.1", listener.getsockname()[1])
        async with client_of(next_hop, ssl_context=ours, t1=0.003) as client:
            outcomes = await asyncio.gather(*[client.notify(TARGET, EVENT) for _ in range(3)])
    assert {(outcome.status, outcome.local) for outcome in outcomes} == {(408, True)}


# Many at once, and none


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_hundreds_share_one_socket(transport):
    def script(request, number):
        status = 200 + int(request.uri[4:].partition("@")[0]) % 50
        return [Later(0.001 * (number % 7), request.response(status))]

    async with sip_server(script, transport) as server, client_of(server.next_hop, t1=0.5) as client:
        outcomes = await asyncio.gather(*[client.notify(f"sip:{line}@example.net", EVENT) for line in range(300)])
    assert [outcome.status for outcome in outcomes] == [200 + line % 50 for line in range(300)]
    assert len({request.get("Contact") for request in server.requests}) == 1
    assert server.connections == (0 if transport == "udp" else 1)


async def test_silence_for_one_leaves_the_others_alone():
    def script(request, number):
        return [] if "silent" in request.uri else [Later(0.05, request.response(200, "OK"))]

    async with sip_server(script) as server, client_of(server.next_hop, t1=0.002) as client:
        lost = asyncio.create_task(client.notify("sip:silent@x", EVENT))
        await asyncio.sleep(0.1)
        outcomes = await asyncio.gather(lost, *[client.notify(TARGET, EVENT) for _ in range(5)])
    assert [outcome.status for outcome in outcomes] == [408] + [200] * 5


async def test_cancelled():
    async with sip_server(silent) as server, client_of(server.next_hop) as client:
        task = asyncio.create_task(client.notify(TARGET, EVENT))
        await asyncio.sleep(2 * T1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        sent = len(server.requests)
        await asyncio.sleep(6 * T1)
        assert len(server.requests) == sent
        server.script = ok
        assert await client.notify(TARGET, EVENT) == OK


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_close_ends_what_is_on_its_way(transport):
    async with sip_server(silent, transport) as server, client_of(server.next_hop) as client:
        tasks = [asyncio.create_task(client.notify(TARGET, EVENT)) for _ in range(3)]
        await asyncio.sleep(T1)
        await client.close()
        outcomes = [*await asyncio.gather(*tasks), await client.notify(TARGET, EVENT)]
    assert {(outcome.status, outcome.local) for outcome in outcomes} == {(503, True)}
    assert "closed" in outcomes[0].reason


async def test_close_while_connecting():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = SipClient(NextHop("tcp", "127.0.0.1", listener.getsockname()[1]), sender=SENDER, t1=T1)
        task = asyncio.create_task(client.notify(TARGET, EVENT))
        await asyncio.sleep(0)
        await client.close()
        outcome = await task
    assert (outcome.status, outcome.local) == (503, True)


async def test_close_before_anything():
    client = SipClient(NextHop("udp", "127.0.0.1", 5060), sender=SENDER)
    await client.close()
    assert (await client.notify(TARGET, EVENT)).status == 503


async def test_an_open_flow_sends_before_the_first_await(monkeypatch):
    async with sip_server(ok) as server, client_of(server.next_hop) as client:
        assert await client.notify(TARGET, EVENT) == OK
        sent = []
        monkeypatch.setattr(client._flows[-1], "send", sent.append)
        notification = client.notify(TARGET, EVENT)
        notification.send(None)
        assert len(sent) == 1
        notification.close()


async def test_a_numeric_next_hop_needs_no_thread(monkeypatch):
    def thread(*_args, **_options):
        raise AssertionError

    loop = asyncio.get_running_loop()
    if type(loop).__module__ == "asyncio.unix_events":
        monkeypatch.setattr(loop, "run_in_executor", thread)
    for transport in ("udp", "tcp"):
        for host in ("127.0.0.1", "::1"):
            assert (await notify(ok, transport, host))[0] == OK


@pytest.mark.parametrize("moves", [True, False])
async def test_a_name_is_resolved_again_after_a_while(monkeypatch, moves):
    async with sip_server(ok) as old, sip_server(ok) as new, client_of(old.next_hop) as client:
        assert await client.notify(TARGET, EVENT) == OK

        async def addresses(_next_hop):
            host, port = ("127.0.0.2", new.next_hop.port) if moves else ("127.0.0.1", old.next_hop.port)
            return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (host, port))]

        monkeypatch.setattr(NextHop, "addresses", addresses)
        client._name_good_until = 0.0
        outcome = await client.notify(TARGET, EVENT)
        assert client._flows[-1].peer == ("127.0.0.2" if moves else "127.0.0.1")
        assert outcome.status == (503 if moves else 200)  # nobody listens at the new address


# NextHop


@pytest.mark.parametrize(
    ("text", "next_hop"),
    [
        ("udp:127.0.0.1:5060", NextHop("udp", "127.0.0.1", 5060)),
        ("tcp:[::1]:5060", NextHop("tcp", "::1", 5060)),
        ("tls:sip_proxy.example.net:5061", NextHop("tls", "sip_proxy.example.net", 5061)),
        ("udp:localhost:65535", NextHop("udp", "localhost", 65535)),
    ],
)
def test_next_hop(text, next_hop):
    assert NextHop.parse(text) == next_hop
    assert str(next_hop) == text
    assert NextHop.parse(text.upper()).transport == next_hop.transport


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy",
        "proxy:5060",
        "sctp:proxy:5060",
        "udp:proxy",
        "udp::5060",
        "udp:proxy:0",
        "udp:proxy:65536",
        "udp:proxy:x",
        "udp:proxy:٥٠٦٠",
        "udp:::1:5060",
        "udp:[::1:5060",
        "udp:[127.0.0.1]:5060",
        "udp:[proxy]:5060",
        "udp:pro xy:5060",
        "udp:pro..xy:5060",
        "udp:" + "x" * 64 + ":5060",
        "udp:" + "x." * 130 + "x:5060",
        "udp:proxy:5060\n",
    ],
)
def test_next_hop_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        NextHop.parse(text)


def test_no_secret_in_a_repr():
    assert "secret1001" not in repr(LINE)
    assert "1001" not in repr(LINE)
