"""No path, however spelled, opens a file, breaks an answer or tells what the server is made of."""

import asyncio
import contextlib
import hashlib
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from attacked import attacked
from outcome import Effort, Outcome
from pipelined import Heard, ask, listen
from running import Api, Server

from provisioning.config import ROOT

TITLE = "hostile paths and raw bytes on both listeners, under an audit hook"
HERE = Path(__file__).resolve().parent
LANES = 8
CHUNK = 256
"Requests that a lane sends before it looks at the answers."
MAC = "001565a1b2c3"
IMAGE = "T54W-96.86.0.100.rom"
CANARY = b"canary-0f3b"
"Stands in every file that must not leave."
PASSWORD = b"pw-canary-77"

TRAVERSALS = (
    *("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "..%252f..%252fetc%252fpasswd", "%2e%2e/%2e%2e/etc/passwd"),
    *(
        "....//....//etc/passwd",
        "..;/..;/etc/passwd",
        "..\\..\\etc\\passwd",
        "..%5c..%5cetc%5cpasswd",
        "..%c0%af..%c0%af",
    ),
    *("..%ef%bc%8f..%ef%bc%8f", "%00", "x%00.cfg", "%0d%0a", "%0d%0aSet-Cookie:x=1", "%0a", "x.cfg%0a", "%09", "%20"),
    *("%", "%%", "%2", "%zz", "%u002e%u002e/", "%ff%fe", "%c3%28", "%ed%a0%80", "%f0%9f%98%80", "\xff\xfe", "\xc0\xae"),
    *(
        "/",
        "//",
        "///",
        "/./",
        "/../",
        "/.",
        "/..",
        "~",
        "~root",
        "$HOME",
        "${x}",
        "$(id)",
        "`id`",
        "|id",
        ";id",
        "&",
        "*",
    ),
    *(
        "{mac}",
        "{{7*7}}",
        "{%25%20%25}",
        "'",
        '"',
        "<script>",
        "file:///etc/passwd",
        "http://evil.example/x",
        "proc/self/environ",
    ),
    *("?", "?x=../..", "#", "#/..", "secret-key", "admin-token", "provisioning.db", "vendor.toml", "manifest.toml"),
    *(
        ".git/config",
        "phone.cfg.j2",
        "hidden.rom",
        "../hidden.txt",
        "var/secret-key",
        "../var/admin-token",
        "CON",
        "x" * 5000,
    ),
    *("%30%30%31%35%36%35", "\u0660".encode().decode("latin-1"), "%D9%A0%D9%A1", "0" * 200, "-1", "1e9", "NaN"),
)
NO_METHODS = (b"get", b"G\x00T", b"", b"\xff", b"GET" * 100, b"QUIT")
METHODS = (b"GET",) * 30 + (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND")
FIT = re.compile(rb"/[!-~]*")
"What HTTP takes for a path; the rest of a connection goes with anything else."
# What a sentence of ours looks like. Whatever else an answer says comes from somewhere inside.
PLAIN = re.compile(rb"[a-z0-9 ,;:'.\-]{0,160}\n?")
PARSER = re.compile(
    rb"Traceback|Exception|Error\b|Invalid |Bad status|Expected |Missing |Pause on|Data after|\bb'|message:"
)


async def run(effort: Effort) -> Outcome:
    outcome, tally = Outcome(), Tally()
    firmware = firmware_folder(effort.directory)
    report = effort.directory / "report"
    report.touch()
    program = (str(HERE / "audited_server.py"), str(report))
    settings = {"PATHS__FIRMWARE": str(firmware), "LOG__ACCESS": "off"}
    async with attacked(effort.directory / "server", outcome, program, **settings) as (server, api):
        judge = Judge(tally, server, firmware)
        secret = await phones(api)
        judge.secret = secret.encode()
        image = await one(server.ready["phones_http"], b"GET /firmware/%s HTTP/1.1\r\nHost: x\r\n\r\n" % IMAGE.encode())
        if image.status != 200 or image.body != FIRMWARE:
            outcome.fail(f"the image itself is answered {image.status}")
        total = effort.of(20_000, 1_000_000)
        draw = effort.random()
        await fixed_spellings(judge, server, api.token, secret)
        # The raw ones each cost a connection of their own.
        await raw_bytes(judge, server, draw, total // 40)
        await mutated_paths(effort, judge, server, api.token, draw, secret, total)
        after = await one(
            server.ready["phones_http"], b"GET /%s/%s.cfg HTTP/1.1\r\nHost: x\r\n\r\n" % (secret.encode(), MAC.encode())
        )
        if after.status != 200 or PASSWORD not in after.body:
            outcome.fail(f"after all that the phone itself is answered {after.status}")
    touched = report.read_text(errors="replace").splitlines()
    for line in touched:
        if not line.startswith("inside "):
            outcome.fail(f"the server touched what is none of its: {line[:200]}")
    if not any(line.startswith("inside open") and line.endswith(IMAGE) for line in touched):
        outcome.fail("the audit hook saw nothing, not even the image that was served")
    for kind, (count, example) in tally.wrong.items():
        outcome.fail(f"{count} times: {kind}; such as {example[:300]}")
    outcome.tried = tally.statuses.total()
    outcome.what = "requests with hostile paths or raw bytes"
    statuses = ", ".join(f"{status or 'closed'}: {count}" for status, count in sorted(tally.statuses.items()))
    outcome.figures = {
        "answers": statuses,
        "GET and HEAD compared": str(tally.compared),
        "files opened outside": str(sum(not line.startswith("inside ") for line in touched)),
        "paths seen by the hook": str(len(touched)),
    }
    return outcome


FIRMWARE = b"an image" * 100


def firmware_folder(directory: Path) -> Path:
    """One listed image; beside and above it what must not be reached."""
    folder = directory / "firmware"
    folder.mkdir()
    (folder / IMAGE).write_bytes(FIRMWARE)
    digest = hashlib.sha256(FIRMWARE).hexdigest()
    (folder / "manifest.toml").write_text(
        f'[[image]]\nmodel = "yealink-t54w"\nversion = "96.86.0.100"\nfile = "{IMAGE}"\n'
        f'size = {len(FIRMWARE)}\nsha256 = "{digest}"\n# {CANARY.decode()}\n'
    )
    (folder / "hidden.rom").write_bytes(CANARY)
    (directory / "hidden.txt").write_bytes(CANARY)
    return folder


async def phones(api: Api) -> str:
    await api.account()
    await api.line("line1", password=PASSWORD.decode())
    made = await api.phone(MAC, main_line="line1")
    return urlsplit(made["provisioning_url"]).path.split("/")[1]


class Tally:
    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.compared = 0
        self.wrong: dict[str, tuple[int, str]] = {}

    def fail(self, kind: str, example: str) -> None:
        count, first = self.wrong.get(kind, (0, example))
        self.wrong[kind] = (count + 1, first)


class Judge:
    def __init__(self, tally: Tally, server: Server, firmware: Path) -> None:
        self.tally = tally
        self.secret = b""
        inside = (ROOT, server.data, firmware, Path(sys.prefix), Path(sys.base_prefix), Path.home())
        self.inside = (*(str(path).encode() for path in inside), b"site-packages", b"/usr/", b"root:x:0", b'.py"')
        self._known: set[tuple[bool, int, bytes, bytes]] = set()

    def check(self, asked: bytes, heard: Heard, *, phones: bool) -> None:
        """`asked`: the whole request."""
        self.tally.statuses[heard.status] += 1
        status, body = heard.status, heard.body
        if PASSWORD in body and self.secret not in unquote_to_bytes(asked):
            self.tally.fail("a password left without the phone's secret", repr(asked[:200]))
        server = heard["Server"].encode()
        if (seen := (phones, status, server, body)) in self._known:
            return
        told = f"{asked[:120]!r} → {status} {body[:120]!r}"
        bad = True
        if status in (-1, -2):
            self.tally.fail("no HTTP came" if status == -1 else "no answer came", told)
        elif status >= 500:
            self.tally.fail("5xx", told)
        elif CANARY in body:
            self.tally.fail("a file left that is in no manifest", told)
        elif any(path in body for path in self.inside):
            self.tally.fail("an answer names a path of the server's file system", told)
        elif status >= 400 and phones and not PLAIN.fullmatch(body):
            self.tally.fail("an error is answered with text from inside (exception text)", told)
        elif status >= 400 and not phones and (PARSER.search(body) or b"/problems/" not in body):
            self.tally.fail("a management error is no problem document (exception text)", told)
        elif status and server not in (b"provisioning", b""):
            self.tally.fail("the Server field names the software", f"{server!r} for {asked[:80]!r}")
        else:
            bad = False
        if not bad and len(self._known) < 50_000:
            self._known.add(seen)

    def compare(self, asked: bytes, get: Heard, head: Heard) -> None:
        """HEAD is GET without the body (RFC 9110 section 9.3.2)."""
        self.tally.compared += 1
        if (get.status, _fields(get)) != (head.status, _fields(head)) and 400 not in (get.status, head.status):
            self.tally.fail("GET and HEAD disagree", f"{asked[:120]!r}: {get.head!r} and {head.head!r}")


def _fields(heard: Heard) -> list[bytes]:
    return [line for line in heard.head.split(b"\r\n") if not line.lower().startswith(b"date:")]


def endpoint(ready: str) -> tuple[str, int]:
    host, _, port = ready.rpartition(":")
    return host, int(port)


async def one(ready: str, sent: bytes) -> Heard:
    return (await ask(*endpoint(ready), [sent]))[0]


async def fixed_spellings(judge: Judge, server: Server, token: str, secret: str) -> None:
    """Every traversal, in every place where a name may stand, on both listeners."""
    its = b"/" + secret.encode()
    texts = [spelled.encode("latin-1") for spelled in TRAVERSALS]
    phones = [
        place + text for text in texts for place in (b"/", b"/firmware/", its + b"/", its + b"/firmware/", b"//", b"")
    ]
    management = [place.replace(b"{}", text) for text in texts for place in MANAGED_PLACES]
    await both(judge, server, "phones_http", phones, b"")
    await both(judge, server, "management", management, b"Authorization: Bearer %s\r\n" % token.encode(), heads=False)


async def both(
    judge: Judge, server: Server, listener: str, paths: list[bytes], fields: bytes, *, heads: bool = True
) -> None:
    """GET, and HEAD of the same."""
    requests, are_heads = [], []
    for path in paths:
        for method in (b"GET", b"HEAD") if heads else (b"GET",):
            requests.append(b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method, path, fields))
            are_heads.append(method == b"HEAD")
    answers = await ask(*endpoint(server.ready[listener]), requests, heads=are_heads, at_once=1)
    for request, heard in zip(requests, answers, strict=True):
        judge.check(request, heard, phones=listener != "management")
    if heads:
        for request, (get, head) in zip(requests[::2], _pairs(answers), strict=True):
            judge.compare(request, get, head)


def _pairs(answers: list[Heard]) -> Iterator[tuple[Heard, Heard]]:
    return zip(answers[::2], answers[1::2], strict=True)


def seeds(secret: str) -> list[bytes]:
    return [
        *(b"/%s.cfg" % MAC.encode(), b"/%s.cfg" % MAC.upper().encode(), b"/00-15-65-A1-B2-C3.cfg", b"/00%3A15%3A65%3AA1%3AB2%3AC3.cfg"),
        *(b"/%s/%s.cfg" % (secret.encode(), MAC.encode()), b"/y000000000096.cfg", b"/snomD785.htm", b"/snomD785-000413A1B2C3.htm"),
        *(b"/firmware/%s" % IMAGE.encode(), b"/%s/firmware/%s" % (secret.encode(), IMAGE.encode()), b"/001565ffffff.cfg", b"/"),
        *(b"http://phones.example.net/%s.cfg" % MAC.encode(), b"/%s/%s.boot" % (secret.encode(), MAC.encode()), b"*", b"/x?y=z"),
    ]  # fmt: skip


MANAGED = [
    *(
        b"/v1/lines/line1",
        b"/v1/phones/001565a1b2c3",
        b"/v1/phones/001565a1b2c3/documents/001565a1b2c3.cfg",
        b"/v1/lines?limit=1",
    ),
    *(
        b"/v1/operations?phone=001565a1b2c3&state=done",
        b"/v1/phones/001565a1b2c3/events?after=1",
        b"/v1/models/yealink-t54w",
    ),
    *(b"/healthz", b"/metrics", b"/v1/openapi.json", b"/v1/lines/line1/attachable-phones", b"/v1/accounts/acme"),
]
MANAGED_PLACES = (
    *(
        b"/v1/lines/{}",
        b"/v1/phones/{}",
        b"/v1/phones/001565a1b2c3/documents/{}",
        b"/v1/models/{}",
        b"/v1/lines?after={}",
    ),
    *(b"/v1/operations?phone={}", b"/{}", b"/v1/{}/lines"),
)
_FRAGMENTS = [spelled.encode("latin-1") for spelled in TRAVERSALS if len(spelled) < 100]


def mutated(draw: random.Random, origins: list[bytes]) -> bytes:
    """A path that a request line can carry: no blank, no line end."""
    path = bytearray(draw.choice(origins))
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        place = draw.randint(0, len(path))
        match draw.randrange(8):
            case 0:
                path[place:place] = draw.choice(_FRAGMENTS)
            case 1:
                path[place:place] = bytes([draw.randrange(0x21, 0x7F)])
            case 2:
                path[place:place] = b"%%%02x" % draw.randrange(256)
            case 3 if path:
                path[place - 1 : place] = b"%%%02X" % path[place - 1]
            case 4:
                del path[place : place + draw.randint(1, 4)]
            case 5 if path:
                path[place - 1 : place] = bytes([draw.randrange(0x21, 0x7F)])
            case 6:
                path = path[:place] + draw.choice(origins)
            case 7:
                path = bytearray(path.upper() if draw.random() < 0.5 else path.lower())
            case _:
                path += bytes(draw.choices(range(0x21, 0x7F), k=draw.randint(1, 12)))
    kept = bytes(path).translate(None, b" \r\n\0\t")
    if draw.random() < 0.005:
        kept += bytes([draw.randrange(0x80, 0x100)])
    return kept or b"/"


async def mutated_paths(
    effort: Effort, judge: Judge, server: Server, token: str, draw: random.Random, secret: str, total: int
) -> None:
    origins = seeds(secret)
    authorised = b"Authorization: Bearer %s\r\n" % token.encode()
    left = total

    async def lane(number: int) -> None:
        nonlocal left
        own = random.Random(draw.random() + number)
        managing = number == LANES - 1
        host, port = endpoint(server.ready["management" if managing else "phones_http"])
        while left > 0:
            left -= CHUNK
            requests: list[bytes] = []
            heads: list[bool] = []
            alone: list[bytes] = []
            while len(requests) + len(alone) < CHUNK:
                path = mutated(own, MANAGED if managing else origins)
                if FIT.fullmatch(path) is None:
                    alone.append(path)
                    continue
                # With one of ten, its HEAD; else whatever method, mostly GET.
                methods = (b"GET", b"HEAD") if not managing and own.random() < 0.1 else (own.choice(METHODS),)
                if managing:
                    methods = (b"GET",)
                for method in methods:
                    requests.append(
                        b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method, path, authorised if managing else b"")
                    )
                    heads.append(method == b"HEAD")
            answers = await ask(host, port, requests, heads=heads)
            for place, heard in enumerate(answers):
                judge.check(requests[place], heard, phones=not managing)
                if heads[place]:
                    judge.compare(requests[place], answers[place - 1], heard)
            alone = [
                b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path, authorised if managing else b"") for path in alone
            ]
            for request, heard in zip(alone, await ask(host, port, alone, at_once=1), strict=True):
                judge.check(request, heard, phones=not managing)
            effort.say(f"{total - max(left, 0)} of {total} paths")

    async with asyncio.TaskGroup() as lanes:
        for number in range(LANES):
            lanes.create_task(lane(number))


async def raw_bytes(judge: Judge, server: Server, draw: random.Random, total: int) -> None:
    """Whole requests, broken anywhere, also where HTTP itself is broken; a connection for each."""
    whole = [
        b"GET /%s.cfg HTTP/1.1\r\nHost: x\r\n\r\n" % MAC.encode(),
        b"GET /v1/lines HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n",
    ]
    waiting = asyncio.Semaphore(32)

    async def trial(sent: bytes, listener: str) -> None:
        async with waiting:
            try:
                reader, writer = await asyncio.open_connection(*endpoint(server.ready[listener]))
            except ConnectionError:
                judge.check(sent, Heard(0, b"", b""), phones=True)
                return
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                await writer.drain()
            heard = await listen(reader, bodiless=sent.startswith(b"HEAD"), patience=0.15)
            # It may wait for the rest of a request: that is for a deadline to end, which is another proof.
            judge.check(sent, heard if heard.status != -2 else Heard(0, b"", b""), phones=listener != "management")
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    def broken() -> bytes:
        if draw.random() < 0.15:
            return draw.randbytes(draw.randint(1, 200)) + b"\r\n\r\n"
        sent = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            place = draw.randint(0, len(sent) - 1)
            match draw.randrange(4):
                case 0:
                    sent[place] = draw.randrange(256)
                case 1:
                    sent[place:place] = draw.randbytes(draw.randint(1, 8))
                case 2:
                    sent[place:place] = draw.choice(_FRAGMENTS)
                case _:
                    del sent[place : place + draw.randint(1, 4)]
        return draw.choice(METHODS + NO_METHODS) + bytes(sent[3:]) if draw.random() < 0.2 else bytes(sent)

    async with asyncio.TaskGroup() as trials:
        for number in range(total):
            trials.create_task(trial(broken(), "management" if number % 4 == 0 else "phones_http"))
