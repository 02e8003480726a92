"""A SIP side that is silent, refuses, lies or is somebody else: callers wait for nothing, strangers get nothing."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from attacked import attacked
from outcome import Effort, Outcome
from running import Api, Server

TITLE = "a SIP side that is silent, refuses, lies or spoofs"
Address = tuple[str, int]
PACKETS = 11
"A phone's, within 64 * T1, which is 32 s with RFC 3261's T1."
API_SECONDS = 1.0


def answer(request: bytes, status: str, *more: str, **changed: str) -> bytes:
    """`changed` replaces a header's value: via, call_id, cseq."""
    lines = request.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]
    kept = []
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower().replace("-", "_")
        if key in ("via", "from", "to", "call_id", "cseq"):
            kept.append(f"{name}: {changed.get(key, value.strip())}" + (";tag=there" if key == "to" else ""))
    return "\r\n".join([f"SIP/2.0 {status}", *kept, *more, "Content-Length: 0", "", ""]).encode("latin-1")


def _other_branch(request: bytes) -> str:
    via = re.search(rb"Via: ([^\r]*)", request)
    assert via is not None
    return re.sub(r"branch=[^;]*", "branch=z9hG4bKnot-the-one", via[1].decode())


CHALLENGE = 'WWW-Authenticate: Digest realm="sip.example.net", nonce="{}", algorithm=MD5, qop="auth"'


@dataclass
class Peer:
    """The next hop: hears everything, says what `script` gives, itself or by somebody else."""

    scripts: list[Callable[["Peer", bytes], None]]
    phones: int
    "For each script so many: main0, main1 and so on."
    t1: float
    requests: list[tuple[float, int, bytes]] = field(default_factory=list)
    "When, for which phone, the bytes."
    theirs: Address = ("", 0)
    "Our server's own end, once it has sent."
    endpoint: Any = None
    stranger: Any = None
    to_stranger: int = 0
    "Bytes that our server sent to somebody it never asked."

    def heard(self, data: bytes, source: Address) -> None:
        self.theirs = source
        match = re.match(rb"NOTIFY sip:main(\d+)@", data)
        self.requests.append((time.monotonic(), int(match[1]) if match else -1, data))
        if match:
            self.scripts[int(match[1]) // self.phones](self, data)

    def say(self, data: bytes, later: float = 0.0) -> None:
        if later:
            asyncio.get_running_loop().call_later(later, self.say, data)
        elif not self.endpoint.is_closing():
            self.endpoint.sendto(data, self.theirs)

    def spoof(self, data: bytes) -> None:
        self.stranger.sendto(data, self.theirs)

    async def start(self) -> Address:
        loop = asyncio.get_running_loop()
        self.endpoint, _ = await loop.create_datagram_endpoint(lambda: _Hears(self.heard), local_addr=("127.0.0.1", 0))
        self.stranger, _ = await loop.create_datagram_endpoint(
            lambda: _Hears(self._counted), local_addr=("127.0.0.1", 0)
        )
        return self.endpoint.get_extra_info("sockname")

    def _counted(self, data: bytes, source: Address) -> None:
        self.to_stranger += len(data)

    def stop(self) -> None:
        self.endpoint.close()
        self.stranger.close()


class _Hears(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Address], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._heard(data, addr)


# What the SIP side does with a NOTIFY.


def silent(peer: Peer, request: bytes) -> None: ...


def challenges(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "401 Unauthorized", CHALLENGE.format(len(peer.requests))))


def stale(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "401 Unauthorized", CHALLENGE.format(len(peer.requests)) + ", stale=true"))


def no_dialog(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "481 Call/Transaction Does Not Exist"))


def busy(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "503 Service Unavailable", "Retry-After: 1"))


def forbids(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "403 Forbidden"))


def late(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "200 OK"), later=80 * peer.t1)


def trying(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "100 Trying"))


def accepts(peer: Peer, request: bytes) -> None:
    """And the phone fetches nothing."""
    peer.say(answer(request, "200 OK"))


def garbage(peer: Peer, request: bytes) -> None:
    for data in (b"", b"\0" * 500, b"SIP/2.0 200", b"SIP/2.0 200 OK\r\n\r\n", b"SIP/2.0 999999 X\r\n" + b"Via: x\r\n" * 2000, request[::-1],
                 b"SIP/2.0 200 OK\r\nVia: \xff\xfe\r\nCSeq: 1 NOTIFY\r\n\r\n", answer(request, "20x OK"), answer(request, "099 Low"),
                 answer(request, "200 OK", cseq="99999999999999999999 NOTIFY"), answer(request, "200 OK", via="SIP/2.0/UDP x"), b"\r\n\r\n" * 100):  # fmt: skip
        peer.say(data)


def wrong_branch(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "200 OK", via=_other_branch(request)))


def wrong_method(peer: Peer, request: bytes) -> None:
    peer.say(answer(request, "200 OK", cseq="1 INVITE"))


def other_port(peer: Peer, request: bytes) -> None:
    """It has seen the request, and still is not who was asked."""
    peer.spoof(answer(request, "200 OK"))
    peer.spoof(answer(request, "481 Call/Transaction Does Not Exist"))


def reflects(peer: Peer, request: bytes) -> None:
    """Requests and answers to our socket: from a stranger, and from the peer itself."""
    for method in ("OPTIONS", "INVITE", "REGISTER", "NOTIFY", "SUBSCRIBE", "BYE", "MESSAGE", "PRACK"):
        asked = f"{method} sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        peer.spoof(asked)
        peer.say(asked)
    for data in (b"\r\n\r\n", b"\0\1\0\0\x21\x12\xa4\x42" + b"x" * 12, request, request * 3, b"x" * 9000):
        peer.spoof(data)


@dataclass(frozen=True)
class Case:
    name: str
    script: Callable[[Peer, bytes], None]
    codes: tuple[str, ...]
    "Why the operation may be in error."
    statuses: tuple[int | None, ...]
    "What it may say of the SIP side."


CASES = (
    Case("no answer", silent, ("phone-unreachable",), (None, 408)),
    Case("401 for ever", challenges, ("resync-unauthorized",), (401,)),
    Case("401 stale for ever", stale, ("resync-unauthorized",), (401,)),
    Case("403", forbids, ("resync-unauthorized",), (403,)),
    Case("481", no_dialog, ("resync-not-supported",), (481,)),
    Case("503", busy, ("sip-proxy-failed",), (503,)),
    Case("200 too late", late, ("phone-unreachable",), (None, 408)),
    Case("100 for ever", trying, ("phone-unreachable",), (None, 408)),
    Case("200, and no fetch", accepts, ("not-fetched",), (200,)),
    Case("garbage", garbage, ("phone-unreachable",), (None, 408)),
    Case("another Via branch", wrong_branch, ("phone-unreachable",), (None, 408)),
    Case("another CSeq method", wrong_method, ("phone-unreachable",), (None, 408)),
    Case("answered from another port", other_port, ("phone-unreachable",), (None, 408)),
    Case("requests from strangers", reflects, ("phone-unreachable",), (None, 408)),
)


@dataclass
class Figures:
    operations: int = 0
    slowest: float = 0.0
    packets: int = 0
    "Most of one phone within 64 * T1."
    sent: int = 0
    to_strangers: int = 0
    codes: Counter[str] = field(default_factory=Counter)


async def run(effort: Effort) -> Outcome:
    outcome, figures = Outcome(what="operations whose SIP side misbehaves"), Figures()
    phones = effort.of(2, 20)
    # With T1 of 20 ms, 64 * T1 is 1.3 s: the same packets, sooner. A full run also takes the real T1.
    await all_at_once(effort, outcome, figures, t1=0.02, deadline=6.0, phones=phones)
    if effort.full:
        await all_at_once(effort, outcome, figures, t1=0.5, deadline=100.0, phones=phones)
    outcome.tried = figures.operations
    outcome.figures = {
        "slowest API answer": f"{figures.slowest * 1000:.0f} ms",
        "most packets to a phone in 64·T1": str(figures.packets),
        "packets": str(figures.sent),
        "bytes to strangers": str(figures.to_strangers),
        "ended as": " ".join(f"{code}: {count}" for code, count in sorted(figures.codes.items())),
    }
    return outcome


async def all_at_once(
    effort: Effort, outcome: Outcome, figures: Figures, *, t1: float, deadline: float, phones: int
) -> None:
    """Side by side, for most of it is waiting."""
    directory = effort.directory / f"t1-{t1}"
    directory.mkdir()
    at_once = asyncio.Semaphore(3)

    async def one(name: str, trial: Any, *given: Any) -> None:
        async with at_once:
            await trial(directory / name.replace(" ", "-"), outcome, figures, *given, t1, deadline, phones)
            effort.say(f"T1 {t1} s: {name}")

    async with asyncio.TaskGroup() as group:
        # Silence shows in how a socket is given up, so it has one of its own.
        group.create_task(one("silent", over_udp, CASES[:1]))
        group.create_task(one("talking", over_udp, CASES[1:]))
        for name, behaves in list(STREAMS.items())[: effort.of(3, len(STREAMS))]:
            group.create_task(one(name, over_tcp, name, behaves))


async def started(server: Server, api: Api, phones: int) -> list[tuple[str, str]]:
    """Phones that have fetched a line, and a further line for each."""
    await api.account()
    made = []
    async with aiohttp.ClientSession() as session:
        for number in range(phones):
            mac = f"001565{number:06x}"
            for line in (f"main{number}", f"more{number}"):
                await api.line(line)
            phone = await api.phone(mac, main_line=f"main{number}")
            secret = urlsplit(phone["provisioning_url"]).path.split("/")[1]
            async with session.get(f"{server.http}/{secret}/{mac}.cfg") as response:
                assert response.status == 200, response.status
            made.append((mac, f"more{number}"))
    # Told is who has fetched, and fetches are recorded behind their answers.
    for _ in range(100):
        found = (await api.get("/v1/phones?limit=1000")).body["items"]
        if all(phone["public_ip"] for phone in found):
            break
        await asyncio.sleep(0.05)
    return made


async def operations(
    api: Api, figures: Figures, outcome: Outcome, name: str, made: list[tuple[str, str]]
) -> list[list[str]]:
    """An attach and a resync of each phone; the API answers at once, whatever the SIP side does."""
    ids: list[list[str]] = []
    for mac, line in made:
        ids.append([])
        for path, body in (
            (f"/v1/lines/{line}/attach", {"mac": mac, "public_ip": "127.0.0.1"}),
            (f"/v1/phones/{mac}/resync", {}),
        ):
            before = time.monotonic()
            answered = await api.post(path, body)
            took = time.monotonic() - before
            figures.slowest = max(figures.slowest, took)
            if answered.status != 202:
                outcome.fail(f"{name}: {path} is answered {answered.status} {answered.body}"[:300])
                continue
            if took > API_SECONDS:
                outcome.fail(f"{name}: {path} took {took:.1f} s")
            ids[-1].append(answered.body["id"])
    return ids


async def ended(api: Api, figures: Figures, outcome: Outcome, case: Case, ids: list[str], deadline: float) -> None:
    """In error after its deadline, with a reason and without a claim that nobody made."""
    until = time.monotonic() + deadline + 5
    for operation in ids:
        figures.operations += 1
        while True:
            body = (await api.get(f"/v1/operations/{operation}")).body
            if body["state"] in ("done", "error") or time.monotonic() > until:
                break
            await asyncio.sleep(0.1)
        code = (body["error"] or {}).get("code")
        figures.codes[str(code)] += 1
        if body["state"] != "error" or code not in case.codes:
            outcome.fail(
                f"{case.name}: {body['kind']} is {body['state']} {code}, expected error {' or '.join(case.codes)}"
            )
        if body["facts"]["sip_status"] not in case.statuses:
            outcome.fail(f"{case.name}: the SIP status is said to be {body['facts']['sip_status']}")
        if (body["facts"]["notified_at"] is not None) != (200 in case.statuses):
            outcome.fail(f"{case.name}: the phone is said to be told at {body['facts']['notified_at']}")


async def over_udp(
    directory: Any, outcome: Outcome, figures: Figures, cases: tuple[Case, ...], t1: float, deadline: float, phones: int
) -> None:
    peer = Peer([case.script for case in cases], phones, t1)
    host, port = await peer.start()
    settings = {
        "RESYNC__PROXY": f"udp:{host}:{port}",
        "RESYNC__T1": str(t1),
        "RESYNC__DEADLINE": str(deadline),
        "LISTEN__PHONES_HTTPS": "",
    }
    try:
        async with attacked(directory, outcome, **settings) as (server, api):
            made = await started(server, api, phones * len(cases))
            ids = await operations(api, figures, outcome, "UDP", made)
            for number, its in enumerate(ids):
                await ended(api, figures, outcome, cases[number // phones], its, deadline)
    finally:
        peer.stop()
    figures.sent += len(peer.requests)
    figures.to_strangers += peer.to_stranger
    if peer.to_stranger:
        outcome.fail(f"{peer.to_stranger} bytes went to a stranger")
    times: dict[int, list[float]] = {}
    for at, whose, _ in peer.requests:
        times.setdefault(whose, []).append(at)
    if len(times) != phones * len(cases):
        outcome.fail(
            f"only {len(times)} of {phones * len(cases)} phones were ever told, or something else than NOTIFY was sent"
        )
    for whose, sent in times.items():
        # A packet's way takes a moment, so the window ends a little early.
        window = 64 * t1 * 0.98
        most = max(sum(start <= at < start + window for at in sent) for start in sent)
        figures.packets = max(figures.packets, most)
        if most > PACKETS:
            outcome.fail(f"{cases[whose // phones].name}: a phone is sent {most} packets within 64 T1")


# Over TCP.


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


async def hangs_up_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


async def no_sip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(10_000))
    await reader.read(65536)


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A header of 64 MB."""
    writer.write(b"SIP/2.0 200 OK\r\nX: ")
    for _ in range(1000):
        writer.write(b"y" * 65536)
        await writer.drain()


async def huge_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    writer.write(answer(request, "200 OK").replace(b"Content-Length: 0", b"Content-Length: 2000000000"))
    for _ in range(1000):
        writer.write(bytes(65536))
        await writer.drain()


# A short run takes the first three.
STREAMS = {
    "TCP, hangs up on the request": hangs_up_later,
    "TCP, a header that never ends": never_ends,
    "TCP, a body of 2 GB": huge_body,
    "TCP, hangs up at once": hangs_up,
    "TCP, says nothing": says_nothing,
    "TCP, no SIP": no_sip,
}


async def over_tcp(
    directory: Any,
    outcome: Outcome,
    figures: Figures,
    name: str,
    behaves: Callable[..., Any],
    t1: float,
    deadline: float,
    phones: int,
) -> None:
    seen, serving = 0, set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        task = asyncio.current_task()
        serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaves(reader, writer)
        writer.transport.abort()
        serving.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    settings = {
        "RESYNC__PROXY": f"tcp:{host}:{port}",
        "RESYNC__T1": str(t1),
        "RESYNC__DEADLINE": str(deadline),
        "LISTEN__PHONES_HTTPS": "",
    }
    case = Case(name, silent, ("phone-unreachable", "sip-proxy-failed"), (None, 408, 503))
    try:
        async with attacked(directory, outcome, **settings) as (server, api):
            made = await started(server, api, phones)
            assert server.process is not None
            before = _memory(server.process.pid)
            ids = await operations(api, figures, outcome, name, made)
            for its in ids:
                await ended(api, figures, outcome, case, its, deadline)
            if (grown := _memory(server.process.pid) - before) > 20_000:
                outcome.fail(f"{name}: the process grew by {grown} kB")
    finally:
        listening.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    if not seen:
        outcome.fail(f"{name}: no connection was ever made, so nothing was tried")


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
