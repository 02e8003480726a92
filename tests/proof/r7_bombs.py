"""Nothing that is sent makes a process large: what unpacks, never ends, nests, repeats or comes all at once."""

import asyncio
import base64
import contextlib
import gzip
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from attacked import attacked
from outcome import Effort, Outcome
from pipelined import ask
from running import Api, Server

TITLE = "bombs on both listeners: memory, disk and good requests afterwards"
MOST_GROWTH = 20_000_000
MOST_KEPT = 60_000_000
"By all attacks together, for the allocator gives little back: it was 23 to 36 MB, and a second round added none."
MOST_DISK = 200_000
"For the good requests in between, whose visits are recorded."
MAC = "001565a1b2c3"
MIB = 1024 * 1024
PATIENCE = 1.0
"Seconds for an answer or a close; the phones' listener is given 0.7 s for a whole request."
# node: zlib.brotliCompressSync(Buffer.alloc(100 MiB))
BROTLI = base64.b64decode(
    "y///P/gnAOKxQCD3/o///3/wTwDEYRGA7v0f////4J8AiMMCAN37P/7//8E/ARCHBQC693/8//+DfwIgDgsAdO//+P//B/8EQBwWAOje//H//w/+CYA4LADQvf/j//8f/BMAcVgAoHv/x///P/gnAOKwAED3/o///3/wTwDEYQGA7v0f////4J8AiMMCAN37P/7//8E/ARCHBQC693/5//+DfwIgDgsAdO9/AA=="
)


def zeros(packer: Callable[[], "zlib._Compress"], mib: int) -> bytes:
    packing = packer()
    block = bytes(MIB)
    return b"".join(packing.compress(block) for _ in range(mib)) + packing.flush()


def zstandard(mib: int) -> bytes:
    """RFC 8878: a frame of blocks of one repeated byte, 128 KiB of each four bytes."""
    block = ((128 * 1024) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (1 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * (8 * mib) + last


def packed(mib: int) -> dict[str, bytes]:
    return {
        "gzip": zeros(lambda: zlib.compressobj(9, zlib.DEFLATED, 31), mib),
        "x-gzip": gzip.compress(gzip.compress(bytes(16 * MIB))),
        "deflate": zeros(lambda: zlib.compressobj(9, zlib.DEFLATED, 15), mib),
        "br": BROTLI,
        "zstd": zstandard(mib),
        "gzip, gzip": gzip.compress(zeros(lambda: zlib.compressobj(9, zlib.DEFLATED, 31), mib)),
    }


@dataclass(frozen=True)
class Bomb:
    what: str
    pieces: Callable[[], Iterator[bytes]]
    "What is sent, until the server closes."
    many: int = 1
    "On as many connections at once."
    body: bool = True
    "It ends with a whole request, so that an answer must come; otherwise a close will do."
    good: bool = False
    "Its requests are no fault: 2xx is an answer too."


def bombs(
    line: bytes, fields: bytes, size: int, unpacked: dict[str, bytes], documents: list[bytes], many: int
) -> Iterator[Bomb]:
    """`line`: the request line of a POST; `size`: MiB that are sent where there is no end."""

    def head(*more: bytes) -> bytes:
        return line + b"\r\nHost: x\r\n" + fields + b"".join(field + b"\r\n" for field in more) + b"\r\n"

    def whole(*more: bytes, body: bytes) -> Callable[[], Iterator[bytes]]:
        return lambda: iter((head(*more, b"Content-Length: %d" % len(body)), body))

    def chunks(*more: bytes, piece: bytes, count: int) -> Callable[[], Iterator[bytes]]:
        def made() -> Iterator[bytes]:
            yield head(*more, b"Transfer-Encoding: chunked")
            for _ in range(count):
                yield piece

        return made

    def endless(start: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
        def made() -> Iterator[bytes]:
            yield start
            for _ in range(size * MIB // len(piece)):
                yield piece

        return made

    block = bytes(65536)
    for coding, body in unpacked.items():
        yield Bomb(
            f"{coding} body",
            whole(b"Content-Type: application/json", b"Content-Encoding: " + coding.encode(), body=body),
            many,
        )
        yield Bomb(
            f"{coding} body in chunks",
            chunks(
                b"Content-Encoding: " + coding.encode(), piece=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), count=1
            ),
            many,
        )
    yield Bomb("chunks without an end", chunks(piece=b"10000\r\n" + block + b"\r\n", count=size * 16), many, body=False)
    yield Bomb("chunks of one byte", chunks(piece=b"1\r\nx\r\n" * 4000, count=size * 8), body=False)
    yield Bomb(
        "a chunk of 2^60 bytes",
        endless(head(b"Transfer-Encoding: chunked") + b"fffffffffffffff\r\n", block),
        body=False,
    )
    yield Bomb(
        "a chunk's extension without an end",
        endless(head(b"Transfer-Encoding: chunked") + b"1;x=", b"y" * 65536),
        body=False,
    )
    yield Bomb(
        "trailers without an end",
        endless(head(b"Transfer-Encoding: chunked") + b"0\r\n", b"X-Trailer: y\r\n" * 4000),
        body=False,
    )
    yield Bomb("10 GB declared", endless(head(b"Content-Length: 10000000000"), block), many, body=False)
    yield Bomb(
        "10 GB declared, none sent", lambda: iter((head(b"Content-Length: 10000000000"),)), many * 10, body=False
    )
    yield Bomb("100 digits declared", lambda: iter((head(b"Content-Length: " + b"9" * 100),)), body=False)
    yield Bomb(
        "5,000 headers",
        lambda: iter((head(*(b"X-%d: y" % number for number in range(5000)), b"Content-Length: 0"),)),
        many,
    )
    yield Bomb("headers without an end", endless(line + b"\r\nHost: x\r\n", b"X-More: y\r\n" * 4000), body=False)
    yield Bomb("a header without an end", endless(line + b"\r\nX: ", b"y" * 65536), body=False)
    yield Bomb("a path without an end", endless(b"GET /", b"a" * 65536), body=False)
    yield Bomb("a method without an end", endless(b"", b"A" * 65536), body=False)
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\nContent-Type: text/plain\r\n\r\nx\r\n'
    kind = b"Content-Type: multipart/form-data; boundary=b"
    yield Bomb("multipart of 20,000 parts", whole(kind, body=part * 20_000 + b"--b--\r\n"), many)
    yield Bomb(
        "multipart without an end",
        endless(head(kind, b"Transfer-Encoding: chunked"), b"%x\r\n%s\r\n" % (len(part) * 500, part * 500)),
        body=False,
    )
    yield Bomb(
        "websocket",
        lambda: iter(
            (
                head(
                    b"Connection: Upgrade",
                    b"Upgrade: websocket",
                    b"Sec-WebSocket-Version: 13",
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                    b"Content-Length: 0",
                ),
                block * 16,
            )
        ),
        body=False,
    )
    yield Bomb(
        "expect, then nothing",
        lambda: iter((head(b"Expect: 100-continue", b"Content-Length: 60000"),)),
        many * 10,
        body=False,
    )
    for what, body in json_bombs().items():
        yield Bomb(what, whole(b"Content-Type: application/json", body=body), many)
    for document in documents:
        asked = b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (document, fields)
        yield Bomb(
            f"{5000} pipelined and none read: {document[:16].decode()}",
            lambda asked=asked: iter([asked * 500] * 10),
            body=False,
            good=True,
        )
    mixed = (head(b"Content-Length: 30000") + bytes(30000)) * 20
    yield Bomb("1,000 bodies pipelined and no answer read", lambda: iter([mixed] * 50), body=False)


def json_bombs() -> dict[str, bytes]:
    most = 64_000
    return {
        "JSON, 64,000 deep": b"[" * most,
        "JSON, objects 12,000 deep": b'{"a":' * (most // 5),
        "JSON, a million deep": b"[" * 1_000_000,
        "JSON, deep in a field": b'{"mac": ' + b"[" * (most - 100),
        "JSON, deep in an unknown field": b'{"zz": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "JSON, a number of 60,000 digits": b'{"slot": ' + b"9" * 60_000 + b"}",
        "JSON, an exponent": b'{"slot": 1e999999999}',
        "JSON, 10,000 fields": b"{" + b",".join(b'"%d":0' % n for n in range(6000)) + b"}",
        "JSON, one field 5,000 times": b"{" + b",".join([b'"mac":"a"'] * 4500) + b"}",
        "JSON, a text of 60,000": b'{"mac": "' + b"a" * 60_000 + b'"}',
        "JSON, escapes": b'{"mac": "' + b"\\u0041" * 10_000 + b'"}',
        "JSON, half an escape": b'{"mac": "\\ud800' + b"\\u" * 10_000,
        "JSON, a gigabyte of blanks declared": b" " * 200_000 + b"{}",
    }


class Memory:
    """The largest that a process has been, looked at all the time; from /proc."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.largest = 0

    def now(self) -> int:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        self.largest = self.now()

        async def look() -> None:
            while True:
                await asyncio.sleep(0.01)
                self.largest = max(self.largest, self.now())

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            self.largest = max(self.largest, self.now())


async def run(effort: Effort) -> Outcome:
    outcome, tally = Outcome(what="requests meant to fill memory or disk"), Counter[str]()
    settings = {"LIMITS__REQUEST": "0.7", "LOG__ACCESS": "off"}
    async with attacked(effort.directory / "server", outcome, **settings) as (server, api):
        assert server.process is not None
        memory = Memory(server.process.pid)
        path = await phone(api)
        # What a process keeps for good shows once it has worked; that is no growth of an attack.
        for _ in range(3):
            await good(server, api, path, 200)
        before_disk, before = disk(server.data), memory.now()
        worst, slowest = (0, ""), 0.0
        unpacked = packed(effort.of(32, 300))
        where = {
            "phones": (
                "phones_http",
                b"PUT /%s HTTP/1.1" % f"{MAC}-app.log".encode(),
                b"",
                [path.encode(), f"/{MAC}.cfg".encode(), b"/x"],
            ),
            "management": (
                "management",
                b"POST /v1/lines/none/attach HTTP/1.1",
                b"Authorization: Bearer %s\r\n" % api.token.encode(),
                [b"/v1/models", b"/v1/openapi.json"],
            ),
            "a stranger's management": ("management", b"POST /v1/lines/none/attach HTTP/1.1", b"", [b"/v1/models"]),
        }
        for place, (listener, line, fields, documents) in where.items():
            for bomb in bombs(line, fields, effort.of(8, 256), unpacked, documents, effort.of(4, 50)):
                effort.say(f"{place}: {bomb.what}")
                start = memory.now()
                async with memory.watched():
                    answers = await throw(server.ready[listener], bomb)
                for status in answers:
                    tally["tried"] += 1
                    tally["left waiting" if status < 0 else "closed" if status == 0 else f"{status // 100}xx"] += 1
                if odd := {status for status in answers if not acceptable(bomb, status, place)}:
                    outcome.fail(f"{place}: {bomb.what}: {sorted(odd)}")
                grown = memory.largest - start
                worst = max(worst, (grown, f"{place}: {bomb.what}"))
                if grown > MOST_GROWTH:
                    outcome.fail(f"{place}: {bomb.what}: the process grew by {grown / 1e6:.0f} MB")
                took = await good(server, api, path, 1)
                slowest = max(slowest, took)
                if took > 1.0:
                    outcome.fail(f"{place}: after {bomb.what} good requests took {took:.1f} s")
        after = memory.now()
        if after - before > MOST_KEPT:
            outcome.fail(f"all in all the process grew by {(after - before) / 1e6:.0f} MB and stays so")
        if (grown := disk(server.data) - before_disk) > MOST_DISK:
            outcome.fail(f"the data directory grew by {grown} bytes")
        log = server.log.stat().st_size
        if log > 200_000:
            outcome.fail(f"the log has {log} bytes")
    outcome.tried = tally.pop("tried")
    outcome.figures = {
        "answers": " ".join(f"{kind}: {count}" for kind, count in sorted(tally.items())),
        "largest growth": f"{worst[0] / 1e6:.1f} MB ({worst[1]})",
        "left at the end": f"{(after - before) / 1e6:.1f} MB",
        "slowest good pair after": f"{slowest * 1000:.0f} ms",
    }
    return outcome


async def phone(api: Api) -> str:
    await api.account()
    await api.line("line1")
    made = await api.phone(MAC, main_line="line1")
    return f"/{urlsplit(made['provisioning_url']).path.split('/')[1]}/{MAC}.cfg"


async def good(server: Server, api: Api, path: str, times: int) -> float:
    """A phone's fetch and a caller's request; the seconds of both, the slowest."""
    slowest = 0.0
    host, _, port = server.ready["phones_http"].rpartition(":")
    for _ in range(times):
        started = time.monotonic()
        (fetched,) = await ask(host, int(port), [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()])
        answer = await api.get("/v1/lines/line1")
        if fetched.status != 200 or answer.status != 200:
            raise AssertionError(f"good requests are answered {fetched.status} and {answer.status}")
        slowest = max(slowest, time.monotonic() - started)
    return slowest


def disk(folder: Path) -> int:
    """Bytes in all files but the database's journal, which SQLite keeps to some 4 MB by itself."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "-wal" not in path.suffix)


def acceptable(bomb: Bomb, status: int, place: str) -> bool:
    if status == 0 or 400 <= status < 500:
        return True
    if status == WAITS:
        # Callers of the management API are not strangers; it waits for the rest of what they began.
        return place == "management" and not bomb.body
    return bomb.good and status in (200, 201)


WAITS = -1


async def throw(ready: str, bomb: Bomb) -> list[int]:
    """The first final status of each connection; 0: closed without a word; WAITS: neither in time."""
    host, _, port = ready.rpartition(":")

    async def one() -> int:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except ConnectionError:
            return 0
        said: list[bytes] = []

        async def hear() -> None:
            # Only the beginning: what is not read has to stay with the server, or with the kernel.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                first = await reader.read(16)
                if first[9:12] == b"100":
                    await reader.readuntil(b"\r\n\r\n")
                    first = await reader.read(16)
                said.append(first)

        hearing = asyncio.create_task(hear())
        status = WAITS
        try:
            async with asyncio.timeout(PATIENCE):
                with contextlib.suppress(ConnectionError, TimeoutError):
                    for piece in bomb.pieces():
                        writer.write(piece)
                        # A server that reads no further is as good as one that closes.
                        async with asyncio.timeout(0.3 if bomb.good or not bomb.body else PATIENCE):
                            await writer.drain()
                        if writer.is_closing():
                            break
                await hearing
                status = int(said[0][9:12]) if said and said[0][:5] == b"HTTP/" else 0
        except TimeoutError:
            hearing.cancel()
        writer.transport.abort()
        return status

    return await asyncio.gather(*(one() for _ in range(bomb.many)))
