"""Where a phone is, is the truth or unknown, whatever a stranger writes into its request."""

import asyncio
import contextlib
import ipaddress
import shutil
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from attacked import attacked
from outcome import Effort, Outcome
from pipelined import Heard, listen
from running import Api, Server

TITLE = "forged X-Forwarded-For and PROXY headers, direct and through proxies, over IPv4, IPv6 and mapped"

VICTIM, VICTIM6 = "203.0.113.99", "2001:db8:bad::99"
CLIENT4 = "127.0.0.7"
"Where the phone really is, in IPv4: an address of loopback that is no proxy's."
CLIENT6 = "2001:db8:c::7"
"What a proxy sees of an IPv6 phone: loopback has one address only, so the proxy is told."
RANGES = {
    "v4": "127.0.0.1/32,10.0.0.0/8",
    "v6": "::1/128,2001:db8:ffff::/48",
    "mapped": "127.0.0.1/32,::1/128,10.0.0.0/8,2001:db8:ffff::/48",
}
INSIDE = {"v4": "10.1.2.3", "v6": "2001:db8:ffff::3", "mapped": "10.1.2.3"}
"A second trusted proxy, where nobody stands."
ELSEWHERE = "198.51.100.0/24"


def forgeries(family: str) -> list[tuple[str, ...]]:
    """Field lines, as a client writes them; {v} the victim, {p} a trusted proxy's range, {c} itself."""
    x = "X-Forwarded-For: "
    lines: list[tuple[str, ...]] = [
        (),
        *((x + value,) for value in (
            *("{v}", "{v}, {v}", "{v},{v},{v}", "{v}, {p}", "{p}, {v}", "{v}, {p}, {p}", "{p}", "{p}, {p}"),
            *("{v},", "{v},,,", ",{v}", ", ,{v}, ,", "", "   ", ",", '"{v}"', "'{v}'", '"{v}:1234"', "{v}:1234", "{v}:", "[{v}]"),
            *("[{v}]:1234", "[{v}", "{v}]", "::ffff:{v}", "[::ffff:{v}]:9", "{v}%0d%0aX-Real-IP: {v}", "{v}%0a", "{v}%eth0"),
            *("unknown", "{v}, unknown", "unknown, {v}", "_hidden, {v}", "{v}, _hidden", "for={v}", "{v};{v}", "{v} {v}"),
            *("{v}\t", "\t{v}", "{v}\u200b", "\u200b{v}", "\ufeff{v}", "127.0.0.1", "{v}, 127.0.0.1", "::1", "{v}, ::1", "localhost"),
            *("0.0.0.0", "255.255.255.255", "{c}", "{v}, {c}", "0x7f.1", "2130706433", "0177.0.0.1", "{v}/32", "{v}.", "0{v}"),
            *("1e3", "-1", "\u0661\u0662\u0667.0.0.1", "a" * 4000, ", ".join(["{v}"] * 50), ", ".join(["{p}"] * 50), ", ".join(["{p}"] * 50 + ["{v}"])),
        )),
        (x + "{v}", x + "{v}"),
        (x + "{v}", x + "{p}"),
        (x + "{p}", x + "{v}"),
        (x, x + "{v}"),
        (x + "{v}", x),
        ("x-forwarded-for: {v}",),
        ("X-FORWARDED-FOR: {v}", x + "{v}"),
        ("X_Forwarded_For: {v}",),
        ("X-Forwarded-For : {v}",),
        ("Forwarded: for={v}", "X-Real-IP: {v}", "True-Client-IP: {v}", "CF-Connecting-IP: {v}", "X-Client-IP: {v}"),
        ("X-Forwarded: {v}", "X-Cluster-Client-IP: {v}", "X-Originating-IP: {v}", "Via: 1.1 {v}", "X-Forwarded-Host: {v}"),
        ("Connection: X-Forwarded-For", x + "{v}"),
    ]  # fmt: skip
    words = {
        "v": VICTIM if family != "v6" else VICTIM6,
        "p": INSIDE[family],
        "c": CLIENT4 if family != "v6" else CLIENT6,
    }
    return [tuple(_fill(line, words) for line in group) for group in lines]


def _fill(line: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        line = line.replace("{" + name + "}", value)
    return line


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(source: str, *, kind: str = "") -> bytes:
    version = ipaddress.ip_address(source).version
    return f"PROXY {kind or f'TCP{version}'} {source} {'127.0.0.1' if version == 4 else '::1'} 4711 80\r\n".encode()


def v2(source: str, *, command: int = 0x21) -> bytes:
    version = ipaddress.ip_address(source).version
    body = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, source) * 2 + b"\x12\x67\x00\x50"
    return V2 + bytes([command, 0x11 if version == 4 else 0x21]) + struct.pack("!H", len(body)) + body


def proxy_headers(family: str) -> list[bytes]:
    victim = VICTIM if family != "v6" else VICTIM6
    good = [
        v1(victim),
        v2(victim),
        v1(INSIDE[family]),
        v2(INSIDE[family]),
        b"PROXY UNKNOWN\r\n",
        V2 + b"\x20\x00\x00\x00",
    ]
    return [
        *good,
        *(first + second for first in good[:2] for second in good[:2]),
        v1(victim).lower(),
        b" " + v1(victim),
        b"\r\n" + v1(victim),
        v1(victim)[:-2] + b"\n",
        v1("::ffff:" + VICTIM),
        v2("::ffff:" + VICTIM),
        v1(victim, kind="TCP9"),
        b"PROXY TCP4 " + b"1" * 120 + b"\r\n",
        V2 + b"\x21\x11\x00\x04abcd",
        V2 + b"\x2f\x11\x00\x0c" + b"x" * 12,
        V2 + b"\x21\x00\x00\x00",
        V2 + b"\x21\x31\x00\xd8" + b"x" * 216,
    ]  # fmt: skip


# What a proxy does with the head of a request. `client` is whom it sees.
Rewrites = Callable[[list[bytes], str], list[bytes]]
_FIELD = b"x-forwarded-for"


def _is_forwarded(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() == _FIELD


def joins(lines: list[bytes], client: str) -> list[bytes]:
    """nginx's $proxy_add_x_forwarded_for: one line, the client behind what it said."""
    said = [line.partition(b":")[2].strip() for line in lines if _is_forwarded(line)]
    kept = [line for line in lines if not _is_forwarded(line)]
    return [*kept, b"X-Forwarded-For: " + b", ".join([*said, client.encode()])]


def adds(lines: list[bytes], client: str) -> list[bytes]:
    """HAProxy's `option forwardfor`: a line of its own behind the others."""
    return [*lines, b"X-Forwarded-For: " + client.encode()]


def sets(lines: list[bytes], client: str) -> list[bytes]:
    return [*(line for line in lines if not _is_forwarded(line)), b"X-Forwarded-For: " + client.encode()]


def sets_with_port(lines: list[bytes], client: str) -> list[bytes]:
    return sets(lines, f"[{client}]:4711" if ":" in client else f"{client}:4711")


def adds_twice(lines: list[bytes], client: str) -> list[bytes]:
    """Two trusted proxies in a row: the second adds the first."""
    second = "::1" if ":" in client else "10.1.2.3"
    return adds(adds(lines, client), second)


def removes(lines: list[bytes], client: str) -> list[bytes]:
    return [line for line in lines if not _is_forwarded(line)]


def passes(lines: list[bytes], client: str) -> list[bytes]:
    """It does not append: the one documented way to be lied to, for nobody can tell (docs/security.md)."""
    return lines


APPENDING: dict[str, Rewrites] = {
    "joins": joins,
    "adds": adds,
    "sets": sets,
    "sets with port": sets_with_port,
    "adds twice": adds_twice,
    "removes": removes,
}


@contextlib.asynccontextmanager
async def proxy(
    server: tuple[str, int], rewrites: Rewrites | None, client: str | None, first: Callable[[str], bytes] | None = None
) -> AsyncIterator[tuple[str, int]]:
    """A small real one, a request a connection. `rewrites` None: it passes bytes on, `first` ahead of them."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        seen = client or writer.get_extra_info("peername")[0]
        up_writer: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            up_reader, up_writer = await asyncio.open_connection(*server)
            if rewrites is None:
                up_writer.write((first(seen) if first else b"") + await reader.read(65536))
            else:
                head = await reader.readuntil(b"\r\n\r\n")
                start, *lines = head[:-4].split(b"\r\n")
                up_writer.write(b"\r\n".join([start, *rewrites(lines, seen)]) + b"\r\n\r\n")
            while piece := await up_reader.read(65536):
                writer.write(piece)
        for end in filter(None, (up_writer, writer)):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[:2]
    finally:
        running.close()
        await asyncio.gather(*serving, return_exceptions=True)


@dataclass(frozen=True)
class Case:
    what: str
    way: tuple[str, int]
    truth: str | None
    "What the phone's address is; None: nobody can know it."
    head: bytes
    believed: str | None = None
    "The documented exception: what may be recorded beside the truth."
    source: str | None = None

    @property
    def kind(self) -> str:
        return f"a wrong address: {self.what.partition(',')[0].partition(' (')[0]}"


class Phones:
    """One for each case, so that all can be asked at once; the same in every server of this proof."""

    def __init__(self) -> None:
        self.paths: list[tuple[str, str]] = []

    async def make(self, api: Api, count: int) -> None:
        await api.account()
        for number in range(count):
            mac = f"001565{number:06x}"
            made = await api.phone(mac)
            self.paths.append((mac, f"/{urlsplit(made['provisioning_url']).path.split('/')[1]}/{mac}.cfg"))


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="fetches by a proved phone with a forged or odd address")
    tally: Counter[str] = Counter()
    wrong: dict[str, tuple[int, str]] = {}
    phones = Phones()
    most = max(len(forgeries(f)) * (len(APPENDING) + 2) + len(proxy_headers(f)) * 5 for f in RANGES)
    step = effort.of(5, 1)
    seed = effort.directory / "seed"
    async with attacked(seed, outcome) as (_, api):
        await phones.make(api, -(-most // step) + 20)
    trials = [(family, trusted) for trusted in (True, False) for family in RANGES]
    for number, (family, trusted) in enumerate(trials):
        directory = effort.directory / f"{family}-{trusted}"
        directory.mkdir()
        shutil.copytree(seed / "var", directory / "var")
        listen_on = {"v4": "127.0.0.1:0", "v6": "[::1]:0", "mapped": "[::]:0"}[family]
        settings = {"LISTEN__PHONES_HTTP": listen_on, "LISTEN__PHONES_HTTPS": ""}
        if trusted:
            settings["NETWORK__TRUSTED_PROXIES"] = RANGES[family]
        async with attacked(directory, outcome, **settings) as (server, api), contextlib.AsyncExitStack() as stack:
            cases = await all_cases(stack, server, family, trusted=trusted)
            # A share of them in a short run, another one for each server.
            await try_them(
                cases[number % step :: step],
                phones,
                api,
                wrong,
                tally,
                f"{family} {'trusted' if trusted else 'no proxy set'}",
            )
        effort.say(f"{family}, {number + 1} of {len(trials)}")
    for kind, (count, example) in wrong.items():
        outcome.fail(f"{count} times: {kind}; such as {example}")
    outcome.tried = tally["tried"]
    outcome.figures = {
        name: str(tally[name])
        for name in ("truth", "unknown", "refused", "documented exceptions", "the proxy's own address")
    } | {"forged X-Forwarded-For": str(len(forgeries("v4")))}
    if not (tally["truth"] and tally["unknown"] and tally["refused"] and tally["documented exceptions"]):
        outcome.fail(f"a kind of answer was never seen: {dict(tally)}")
    return outcome


async def all_cases(stack: contextlib.AsyncExitStack, server: Server, family: str, *, trusted: bool) -> list[Case]:
    host, _, port = server.ready["phones_http"].rpartition(":")
    # The dual-stack listener shows an IPv4 peer as ::ffff:a.b.c.d.
    direct = ("127.0.0.1" if family == "mapped" else host.strip("[]"), int(port))
    client = CLIENT6 if family == "v6" else None
    behind = CLIENT6 if family == "v6" else CLIENT4
    victim = VICTIM6 if family == "v6" else VICTIM
    # In IPv6, loopback has one address: who comes from it directly is the proxy, where that is trusted.
    peer = {"v4": CLIENT4, "mapped": CLIENT4, "v6": "::1"}[family]
    proxys_own = "::1" if family == "v6" else "127.0.0.1"
    cases = []
    ways = {
        name: await stack.enter_async_context(proxy(direct, rewrites, client)) for name, rewrites in APPENDING.items()
    }
    not_appending = await stack.enter_async_context(proxy(direct, passes, client))
    for lines in forgeries(family):
        head = "".join(line + "\r\n" for line in lines).encode("utf-8", "surrogateescape")
        told = f"{lines}"[:120]
        if family != "v6" or not trusted:
            cases.append(Case(f"direct, {told}", direct, peer, head, source=None if family == "v6" else CLIENT4))
        for name, way in ways.items():
            truth = behind if trusted and name != "removes" else None if trusted else proxys_own
            cases.append(Case(f"a proxy that {name} it, {told}", way, truth, head, source=CLIENT4))
        truth, believed = (None, victim) if trusted else (proxys_own, None)
        cases.append(Case(f"a proxy that passes it on, {told}", not_appending, truth, head, believed, CLIENT4))
    sends = {"v1": v1, "v2": v2}
    blind = await stack.enter_async_context(proxy(direct, None, client))
    for name, header in sends.items():
        way = await stack.enter_async_context(proxy(direct, None, client, header))
        truth = behind if trusted else None
        cases.append(Case(f"PROXY {name} itself", way, truth, b"", source=CLIENT4))
        cases += [
            Case(
                f"PROXY {name}, and {lines}"[:120],
                way,
                truth,
                "".join(f"{line}\r\n" for line in lines).encode(),
                source=CLIENT4,
            )
            for lines in forgeries(family)[1:12]
        ]
        for forged in proxy_headers(family):
            cases.append(
                Case(f"PROXY {name}, then the client's own {forged[:50]!r}", way, truth, FIRST + forged, source=CLIENT4)
            )
    for saying in (b"PROXY UNKNOWN\r\n", V2 + b"\x20\x00\x00\x00", V2 + b"\x21\x31\x00\xd8" + b"x" * 216):
        # It says that it does not know: then the client's word must not stand in for it.
        way = await stack.enter_async_context(proxy(direct, None, client, lambda _, saying=saying: saying))
        for lines in forgeries(family)[:12]:
            head = "".join(f"{line}\r\n" for line in lines).encode()
            cases.append(
                Case(f"PROXY that says nobody ({saying[:14]!r}), and {lines}"[:140], way, None, head, source=CLIENT4)
            )
    for forged in proxy_headers(family):
        told = f"forged {forged[:60]!r}"
        if family != "v6" or not trusted:
            cases.append(
                Case(f"direct, {told}", direct, peer, FIRST + forged, source=None if family == "v6" else CLIENT4)
            )
        # A trusted proxy that passes bytes on and says nothing itself: as the one that does not append.
        truth, believed = (None, victim) if trusted else (proxys_own, None)
        cases.append(Case(f"a proxy of bytes, {told}", blind, truth, FIRST + forged, believed, CLIENT4))
    return cases


FIRST = b"\0first:"
"Marks what goes ahead of the request instead of into its head."


async def try_them(
    cases: list[Case], phones: Phones, api: Api, wrong: dict[str, tuple[int, str]], tally: Counter[str], where: str
) -> None:
    def fail(kind: str, told: str) -> None:
        count, first = wrong.get(kind, (0, told))
        wrong[kind] = (count + 1, first)

    at_once = asyncio.Semaphore(16)
    heard: dict[str, Heard] = {}

    async def trial(case: Case, mac: str, path: str) -> None:
        async with at_once:
            ahead, fields = (case.head.removeprefix(FIRST), b"") if case.head.startswith(FIRST) else (b"", case.head)
            # Only where the way is IPv4 can the source be chosen.
            source = (case.source, 0) if case.source and ":" not in case.way[0] else None
            reader, writer = await asyncio.open_connection(*case.way, local_addr=source)
            writer.write(ahead + f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + fields + b"\r\n")
            heard[mac] = await listen(reader, patience=4.0)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    mine = phones.paths[: len(cases)]
    if len(mine) < len(cases):
        raise RuntimeError(f"{len(cases)} cases for {len(mine)} phones")
    async with asyncio.TaskGroup() as trials:
        for case, (mac, path) in zip(cases, mine, strict=True):
            trials.create_task(trial(case, mac, path))
    served = {mac for mac, answer in heard.items() if answer.status == 200}
    recorded = await all_phones(api, served)
    for case, (mac, _) in zip(cases, mine, strict=True):
        tally["tried"] += 1
        answer, phone = heard[mac], recorded[mac]
        told = f"{where}: {case.what}"
        if answer.status != 200:
            tally["refused"] += 1
            if answer.status >= 500 or answer.status == -2:
                fail("a good phone's request is answered 5xx or not at all", f"{told}: {answer.status}")
            elif phone["last_seen"] is not None:
                fail("refused and recorded all the same", f"{told}: {answer.status}, {phone['public_ip']}")
            continue
        got = phone["public_ip"]
        if phone["last_seen"] is None:
            fail("served and never recorded", told)
        elif got is None:
            tally["unknown"] += 1
        elif got == case.truth:
            tally["the proxy's own address" if "no proxy set" in where and "direct" not in case.what else "truth"] += 1
        elif case.believed is not None and _wrote(got, case):
            # Whatever the client wrote may be believed here, and nothing else can be.
            tally["documented exceptions"] += 1
        else:
            fail(case.kind, f"{told}: recorded at {got}, which is {case.truth or 'unknown'} in truth")


def _wrote(address: str, case: Case) -> bool:
    """The client did, as text or in a binary PROXY header."""
    packed = ipaddress.ip_address(address).packed
    return address == case.believed or address in case.head.decode("latin-1") or packed in case.head


async def all_phones(api: Api, served: set[str]) -> dict[str, dict[str, object]]:
    """Once every visit is recorded: the recorder writes twice a second."""
    for _ in range(150):
        found: dict[str, dict[str, object]] = {}
        after = ""
        while True:
            page = (await api.get(f"/v1/phones?limit=1000&after={after}")).body
            found |= {phone["mac"]: phone for phone in page["items"]}
            if page["next"] is None:
                break
            after = page["next"]
        if all(found[mac]["last_seen"] is not None for mac in served):
            break
        await asyncio.sleep(0.1)
    return found
