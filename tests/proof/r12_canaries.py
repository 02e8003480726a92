"""R12: every secret of a whole run is looked for wherever it must not stand, in the forms it could stand there in.

The files that are made to hold secrets are left out by name (KEPT). What the operator himself wrote
into the server's environment is not looked for there.
"""

import asyncio
import base64
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import web
from attacked import attacked
from customers import HERE, accepting
from dial import Dial
from faulty_server import CANARY
from logins import basic, digest, nonce_of
from outcome import Effort, Outcome
from pipelined import Heard, ask
from running import Answer, Api, Server
from scripted_sip_server import ScriptedServer

TITLE = "every secret of a whole run looked for in logs, metrics, errors, database, process and files"
WRAPPER = str(Path(__file__).with_name("faulty_server.py"))
KEPT = {"admin-token", "demo-phones.json", "secret-key"}
"Files that are made to hold secrets."
OPERATORS = ("registrar's token", "SIP account's password")
"Kinds that the operator puts into the environment."
DIGITS = 6
"Of an activation code."


COMMANDS = ("line show {line}", "phone events {mac}", "key rotate", "key prune", "audit list --json", "render {mac}")
MORE = (
    *("phone show {mac}", "phone list --json", "line list --json", "token list", "audit verify", "alarms --json"),
    *("operations list", "check", "account list", "phone documents {mac}"),
)


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="requests and commands, then looks for each secret in each place and form")
    directory = effort.directory / "server"
    directory.mkdir()
    dial, canaries = Dial(directory / "dial"), Canaries()
    canaries.add("a failing statement's value", CANARY)
    sip = ScriptedServer(accepting)
    await sip.listen("udp", HERE)
    hook = Hook(canaries)
    settings = {
        "LOG__LEVEL": "debug",
        "SERVER__WORKERS": "2",
        "RESYNC__PROXY": f"udp:{HERE}:{sip.next_hop.port}",
        "RESYNC__T1": "0.05",
        "RESYNC__USERNAME": "provisioning",
        "RESYNC__PASSWORD": canaries.new("SIP account's password"),
        "REGISTRAR__PASSWORD_HOOK": await hook.start(),
        "REGISTRAR__PASSWORD_TOKEN": canaries.new("registrar's token"),
        "NETWORK__TRUSTED_PROXIES": "127.0.0.9/32",
    }
    try:
        async with attacked(directory, outcome, (WRAPPER,), **settings) as (server, api):
            life = Life(effort, outcome, server, api, canaries, dial)
            try:
                await life.everything()
            finally:
                await life.close()
            await asyncio.sleep(1.0)
            search = Search(outcome, canaries)
            search.process(server)
            await search.answers(server, api, life.told)
            search.files(directory, "while it runs")
            for request in sip.requests:
                search.look("a NOTIFY", request.serialise())
        search.files(directory, "after its end")
        # One sentence for each kind of line that the server wrote of what is broken in it.
        errors = Counter(re.sub(r"[0-9a-f]{12}|\d{4}-\S+ \S+|/\S*/|k[0-9a-f]{8}", "...", told) for told in outcome.through)
        outcome.through = [f"{times} times: {told}" if times > 1 else told for told, times in errors.items()]
        outcome.tried = life.count + search.looks
        kinds = ", ".join(f"{kind} {len(its)}" for kind, its in canaries.kinds.items())
        outcome.figures = {
            "secrets": kinds,
            "requests and commands": str(life.count),
            "looked at": f"{search.bytes / 1e6:.1f} MB in {len(search.places)} places",
            "hits": str(search.hits.total()),
            "faults fired": str(dial.fired),
        }
        for (kind, form, where), times in search.hits.items():
            outcome.fail(f"{kind}, {form}, stands in {where} ({times} times): {search.examples[kind, form, where]}")
        if not hook.taken or not sip.requests or not dial.fired:
            outcome.fail("the run did not reach a password hook, a NOTIFY or a fault")
    finally:
        await hook.stop()
        await sip.stop()
    return outcome


class Canaries:
    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, None]] = {}
        self._made = 0

    def new(self, kind: str) -> str:
        """One that we choose ourselves."""
        self._made += 1
        return self.add(kind, f"Canary{self._made}x{os.urandom(9).hex()}")

    def add(self, kind: str, text: str) -> str:
        """Any time later is early enough for what the server makes itself."""
        self.kinds.setdefault(kind, {})[text] = None
        return text

    def forms(self) -> Iterator[tuple[str, str, bytes, bool]]:
        """(kind, form, bytes, whether they are looked for in lower case)."""
        for kind, texts in self.kinds.items():
            for text in texts:
                for form, found, lowered in _forms(text):
                    yield kind, form, found, lowered


def _forms(text: str) -> Iterator[tuple[str, bytes, bool]]:
    raw = text.encode()
    yield "plain", raw, False
    yield "%-encoded", b"".join(b"%%%02x" % byte for byte in raw), True
    if len(text) == DIGITS:
        return
    if quote(text, safe="") != text:
        yield "%-encoded in part", quote(text, safe="").encode(), False
    yield "hex", raw.hex().encode(), True
    for shift in range(3):
        # As it stands in the middle of something longer, such as user:password.
        whole = base64.b64encode(b"\0" * shift + raw)
        core = whole[(0, 2, 3)[shift] :].rstrip(b"=")
        core = core if (len(raw) + shift) % 3 == 0 else core[:-1]
        yield "base64", core, False
        yield "base64url", core.replace(b"+", b"-").replace(b"/", b"_"), False
    if re.fullmatch("[0-9a-f]{32}", text):
        yield "in capitals", text.upper().encode(), False
        yield "as bytes", bytes.fromhex(text), False


class Hook:
    """The operator's registrar: refuses at first, and repeats in its refusal what it was given."""

    def __init__(self, canaries: Canaries) -> None:
        self.canaries, self.asked, self.taken = canaries, 0, 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/passwords", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, HERE, 0).start()
        return f"http://{HERE}:{self._runner.addresses[0][1]}/passwords"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.canaries.add("SIP password", given["password"])
        self.asked += 1
        if self.asked == 1:
            return web.Response(status=500, reason=given["password"], text=given["password"])
        self.taken += 1
        return web.Response(status=204)


class Life:
    """A run in which every kind of secret is made, shown rightly and wrongly, and replaced."""

    def __init__(
        self, effort: Effort, outcome: Outcome, server: Server, api: Api, canaries: Canaries, dial: Dial
    ) -> None:
        self.effort, self.outcome, self.server, self.api = effort, outcome, server, api
        self.canaries, self.dial = canaries, dial
        self.told: list[tuple[str, bytes]] = []
        "What was answered that must not show a secret: (where, bytes)."
        self.count = self.number = 0
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        canaries.add("management token", server.token)

    async def close(self) -> None:
        await self.http.close()

    async def everything(self) -> None:
        self.effort.say("management")
        await self.ask("POST", "/v1/accounts", {"account": "acme"})
        await self.refused_bodies()
        await self.tokens()
        for turn in range(self.effort.of(1, 10)):
            self.effort.say(f"phones, round {turn + 1}")
            await self.phones()
            await self.commands(COMMANDS + (MORE if self.effort.full else ()))
            self.reload()
        for seed in range(1, self.effort.of(2, 100) + 1):
            self.effort.say(f"faults, seed {seed}")
            self.dial.seed = seed
            await self.phones(faults=True)
        self.dial.seed = 0
        self.reload()
        await self.phones()

    # Management

    async def ask(self, method: str, path: str, body: object = None, *, shows: bool = False, **headers: str) -> Answer:
        """`shows`: a good answer is made to hold a secret."""
        self.count += 1
        answer = await self.api.call(method, path, {} if body is None and method == "POST" else body, **headers)
        if answer.status >= 400 or not shows:
            where = "a problem" if answer.status >= 400 else "an answer of the API"
            raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.told.append((f"{where} ({method} {path.split('/')[2]})", raw + str(answer.headers).encode()))
        return answer

    async def line(self, **more: object) -> tuple[str, str]:
        self.number += 1
        name, password = f"line{self.number}", self.canaries.new("SIP password")
        wanted = {"line": name, "account": "acme", "number": "+33972100000", "username": name, "password": password}
        await self.ask("POST", "/v1/lines", wanted | {"domain": "sip.example.net"} | more)
        return name, password

    async def refused_bodies(self) -> None:
        """Every way to refuse a body that holds a password."""
        its, good = self.canaries, {"account": "acme", "number": "+331", "username": "u", "domain": "sip.example.net"}
        for wrong in ("\n", "\x00", "\u2028", " ", "%NULL%", "x" * 300, "é"):
            await self.ask("POST", "/v1/lines", good | {"password": its.new("SIP password") + wrong})
        await self.ask("POST", "/v1/lines", good | {"password": [its.new("SIP password")]})
        await self.ask("POST", "/v1/lines", good | {"password": {its.new("SIP password"): 1}})
        await self.ask("POST", "/v1/lines", good | {"account": "nobody", "password": its.new("SIP password")})
        await self.ask("POST", "/v1/lines", f'{{"password": "{its.new("SIP password")}"'.encode())
        await self.ask("POST", "/v1/lines", b"\xff" + its.new("SIP password").encode())
        await self.ask("POST", "/v1/lines", json.dumps(its.new("SIP password") + "x" * 70_000).encode())
        name, _ = await self.line()
        for _ in range(2):
            await self.ask("POST", "/v1/lines", good | {"line": name, "password": its.new("SIP password")})
        await self.ask("PATCH", f"/v1/lines/{name}", {"password": its.new("SIP password")})
        await self.ask("PATCH", f"/v1/lines/{name}", {"password": its.new("SIP password") + "\r\n"})
        await self.ask("PATCH", f"/v1/lines/{name}?password={its.new('SIP password')}", {"password": 7})
        key = {"Idempotency_Key": "one"}
        for _ in range(2):
            await self.ask("PATCH", f"/v1/lines/{name}", {"password": its.new("SIP password")}, **key)

    async def tokens(self) -> None:
        kind, url = "management token", self.server.management
        made = await self.ask("POST", "/v1/tokens", {"name": "canary", "scope": "admin"}, shows=True)
        token = self.canaries.add(kind, made.body["token"])
        await self.ask("GET", f"/v1/accounts?token={self.canaries.new(kind)}")
        wrong = self.canaries.new(kind)
        for authorization in (f"Bearer {wrong}", f"Basic {wrong}", basic("admin", wrong)[15:], f"{wrong} x", wrong):
            await self._raw("GET", f"{url}/v1/accounts", Authorization=authorization)
            await self._raw("POST", f"{url}/v1/lines", Authorization=authorization)
        await self._raw("GET", f"{url}/{wrong}/v1/accounts", Cookie=f"session={self.canaries.new('session cookie')}")
        await self._raw("POST", f"{url}/v1/sessions", json={"token": wrong})
        await self._raw("POST", f"{url}/v1/sessions", json={"token": [wrong]})
        async with self.http.post(f"{url}/v1/sessions", json={"token": token}) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.canaries.add("session cookie", cookie.partition("=")[2])
        await self._raw("GET", f"{url}/v1/sessions/current", Cookie=cookie)
        await self._raw("POST", f"{url}/v1/accounts", Cookie=cookie, json={"account": "cross"})
        console = {"Cookie": cookie, "X-Requested-With": "console"}
        await self._raw("POST", f"{url}/v1/accounts", **console, json={"account": "console"})
        await self._raw("DELETE", f"{url}/v1/sessions/current", **console)
        await self._raw("GET", f"{url}/v1/sessions/current", Cookie=cookie)

    async def _raw(self, method: str, url: str, *, json: object = None, **headers: str) -> None:
        self.count += 1
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, url, json=json, headers=named) as answer:
            self.told.append((f"a problem ({method})", await answer.read() + str(answer.headers).encode()))

    # Phones

    async def phones(self, *, faults: bool = False) -> None:
        """One of each kind of proof. With faults any step may fail, and the next goes on without it."""
        for step in (self.by_secret, self.by_bootstrap, self.by_code, self.moved_and_returned):
            try:
                await step()
            except (KeyError, TypeError, AssertionError):
                # What an answer that failed did not hold.
                if not faults:
                    raise

    async def phone(self) -> tuple[str, str, str]:
        """(MAC, secret, line)."""
        line, _ = await self.line()
        mac = f"001565ca{self.number:04x}"
        made = await self.ask(
            "POST", "/v1/phones", {"mac": mac, "model": "yealink-t54w", "account": "acme", "main_line": line}, shows=True
        )
        return mac, self.secret_of(made.body["provisioning_url"]), line

    def secret_of(self, url: str, kind: str = "phone's secret") -> str:
        return self.canaries.add(kind, urlsplit(url).path.split("/")[1])

    async def get(self, path: str, *lines: str, method: str = "GET", host: str = "phones") -> Heard:
        self.count += 1
        at = urlsplit(self.server.http)
        head = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines, "", "")
        sent = ["\r\n".join(head).encode("utf-8", "surrogateescape")]
        (heard,) = await ask(at.hostname or "", at.port or 0, sent, heads=[method == "HEAD"])
        if heard.status >= 400:
            self.told.append(("a phone's refusal", heard.head + heard.body))
        return heard

    async def odd(self, mac: str, shown: str) -> None:
        """What phones and people make of a URL with a secret in it."""
        hidden = "".join(f"%{ord(character):02X}" for character in shown)
        for path in (
            f"/{shown}/{mac}.cfg", f"/{shown}/{mac}.boot", f"/{shown}/{mac.upper()}.CFG", f"//{shown}//{mac}.cfg",
            f"/{shown}", f"/{shown}/", f"/{shown}.cfg", f"/{shown}/y000000000096.cfg", f"/{shown}/y000000000000.boot",
            f"/{shown}/firmware/x.rom", f"/{shown}/firmware/", f"/{shown}/x/{mac}.cfg", f"/x/{shown}/{mac}.cfg",
            f"/{mac}.cfg?key={shown}", f"/{mac}.cfg/{shown}", f"/{mac}-{shown}.cfg", f"/{shown}/../{mac}.cfg",
            f"/{hidden}/{mac}.cfg", f"/{hidden}/x/y", f"/%2f{shown}/{mac}.cfg", f"/{shown}%00/{mac}.cfg",
            f"/{shown}/{mac}.cfg%0d%0a{shown}", f"/{shown}/{'x' * 200}.cfg", f"http://phones/{shown}/{mac}.cfg",
            f"http://{shown}@phones/{mac}.cfg", f"/login/{shown}/{mac}.cfg", f"/{shown}/login/{mac}.cfg",
        ):  # fmt: skip
            await self.get(path)
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            await self.get(f"/{shown}/{mac}.cfg", "Content-Length: 0", method=method)
        await self.get(f"/{mac}.cfg", f"Referer: http://phones/{shown}/", f"User-Agent: Yealink {mac}")
        await self.get(f"/{mac}.cfg", f"Cookie: {shown}", f"X-Forwarded-For: {shown}", f"If-None-Match: {shown}")
        await self.get(f"/{mac}.cfg", f"Authorization: Bearer {shown}", "Range: bytes=0-1", host=shown)
        for login in (f"/login/{mac}.cfg", f"/{mac}.cfg"):
            await self.get(login, basic(mac, shown))
            await self.get(login, basic(shown, shown))
            nonce = nonce_of((await self.get(f"/login/{mac}.cfg")).head)
            await self.get(login, digest(mac, shown, login, nonce))
            await self.get(login, digest(shown, shown, login, nonce, told_uri=f"/{shown}/x"))
        await self.get(f"/{shown}/{mac}.cfg\x01", "Broken")
        await self.get(f"/{shown}/{mac}.cfg", f"Name without colon {shown}")

    async def by_secret(self) -> None:
        mac, secret, _ = await self.phone()
        await self.get(f"/{secret}/{mac}.cfg")
        await self.odd(mac, secret)
        # Another phone's MAC under this secret, and a secret that nobody has.
        await self.get(f"/{secret}/001565cafffe.cfg")
        await self.odd("001565cafffd", self.canaries.add("wrong secret", os.urandom(16).hex()))
        await self.ask("POST", f"/v1/phones/{mac}/resync")
        answer = await self.ask("POST", f"/v1/phones/{mac}/secret", shows=True)
        self.secret_of(answer.body["provisioning_url"])
        answer = await self.ask("POST", f"/v1/phones/{mac}/reset", {"public_ip": HERE}, shows=True)
        self.secret_of(answer.body["provisioning_url"])
        # Through the door: its configuration holds the secret, and nothing else may.
        await self.get(f"/{mac}.cfg")

    async def by_bootstrap(self) -> None:
        mac, _, _ = await self.phone()
        answer = await self.ask("POST", f"/v1/phones/{mac}/ship", shows=True, Idempotency_Key=f"ship {mac}")
        await self.ask("POST", f"/v1/phones/{mac}/ship", shows=True, Idempotency_Key=f"ship {mac}")
        token = self.secret_of(answer.body["bootstrap_url"], "bootstrap token")
        heard = await self.get(f"/{token}/{mac}.cfg")
        for found in re.findall(rb"://[^/\s]+/([0-9a-f]{32})/", heard.body):
            self.canaries.add("phone's secret", found.decode())
        await self.odd(mac, token)

    async def by_code(self) -> None:
        mac, _, _ = await self.phone()
        for way in ("odd", "path", "Basic", "Digest"):
            # The URLs that go wrong come first, while the code is still worth something.
            await self.ask("DELETE", f"/v1/phones/{mac}/door")
            answer = await self.ask("POST", f"/v1/phones/{mac}/code", shows=True)
            code = self.canaries.add("activation code", answer.body["code"])
            login = f"/login/{mac}.cfg"
            if way == "odd":
                for path in (f"/{code}", f"/{code}/", f"/{code}/x.cfg", f"/{code}/y000000000000.boot", f"/{code}/x/y"):
                    await self.get(path)
            elif way == "path":
                await self.get(f"/{code}/{mac}.boot")
                await self.get(f"/{code}/{mac}.cfg")
            elif way == "Basic":
                await self.get(login, basic(mac, code))
            else:
                await self.get(login, digest(mac, code, login, nonce_of((await self.get(login)).head)))

    async def moved_and_returned(self) -> None:
        mac, secret, _ = await self.phone()
        await self.get(f"/{secret}/{mac}.cfg")
        line, _ = await self.line()
        attach = {"mac": mac, "public_ip": HERE}
        for _ in range(40):
            attached = await self.ask("POST", f"/v1/lines/{line}/attach", attach)
            if attached.status != 409 or attached.code == "line-already-attached":
                break
            await asyncio.sleep(0.1)
        await self.ask("POST", f"/v1/lines/{line}/attach", attach)
        await self.ask("POST", f"/v1/lines/{line}/attach", {"mac": mac, "public_ip": "203.0.113.9"})
        await self.ask("PATCH", f"/v1/lines/{line}", {"password": self.canaries.new("SIP password")})
        await self.get(f"/{secret}/{mac}.cfg")
        await self.ask("GET", f"/v1/phones/{mac}/documents/{mac}.cfg")
        await self.ask("POST", f"/v1/lines/{line}/detach", {"force": True})
        await self.ask("POST", f"/v1/phones/{mac}/return")
        await self.get(f"/{secret}/{mac}.cfg")

    # Commands and signals

    async def commands(self, shown: tuple[str, ...]) -> None:
        mac, _, line = await self.phone()
        new = ("--account", "acme", "--number", "+331", "--domain", "sip.example.net", "--password", "stdin")
        added = f"cli{self.number}"
        adding, changing = (
            ("line", "add", "--line", added, "--username", added, *new),
            ("line", "change", added, "--password", "stdin"),
        )
        kind = "SIP password"
        its: list[tuple[tuple[str, ...], str | None]] = [(adding, self.canaries.new(kind))]
        its += [(adding, self.canaries.new(kind)), (changing, self.canaries.new(kind) + "\x01")]
        its += [(tuple(words.format(mac=mac, line=line).split()), None) for words in shown]
        for arguments, given in its:
            self.effort.say(f"command {' '.join(arguments[:2])}")
            done = await asyncio.to_thread(self.server.command, *arguments, given=given)
            self.count += 1
            self.told.append((f"what `{' '.join(arguments[:2])}` prints", (done.stdout + done.stderr).encode()))

    def reload(self) -> None:
        assert self.server.process is not None
        os.kill(self.server.process.pid, signal.SIGHUP)


class Search:
    def __init__(self, outcome: Outcome, canaries: Canaries) -> None:
        self.outcome = outcome
        self.forms = list(canaries.forms())
        self.looks = self.bytes = 0
        self.places: set[str] = set()
        self.seen: set[tuple[str, bytes]] = set()
        self.hits: Counter[tuple[str, str, str]] = Counter()
        self.examples: dict[tuple[str, str, str], str] = {}

    def look(self, where: str, content: bytes, *, besides: tuple[str, ...] = ()) -> None:
        if (where, content) in self.seen:
            return
        self.seen.add((where, content))
        self.bytes += len(content)
        self.places.add(where)
        lower = content.lower()
        for kind, form, wanted, lowered in self.forms:
            self.looks += 1
            its = lower if lowered else content
            if kind in besides or wanted not in its:
                continue
            at = its.index(wanted)
            if len(wanted) == DIGITS:
                # Six digits stand in many longer numbers.
                alone = re.search(rb"(?<![0-9A-Fa-f.])" + wanted + rb"(?![0-9A-Fa-f])", its)
                if alone is None:
                    continue
                at = alone.start()
            self.hits[kind, form, where] += 1
            self.examples.setdefault((kind, form, where), repr(content[max(0, at - 60) : at + len(wanted) + 20])[:150])

    def process(self, server: Server) -> None:
        """Also of its workers."""
        assert server.process is not None
        pids = [str(server.process.pid)]
        for pid in pids:
            for name in ("cmdline", "environ", "status"):
                besides = OPERATORS if name == "environ" else ()
                self.look(f"/proc/<pid>/{name}", Path(f"/proc/{pid}/{name}").read_bytes(), besides=besides)
            pids += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(pids) < 3:
            self.outcome.fail("no worker processes were found to look at")

    async def answers(self, server: Server, api: Api, told: list[tuple[str, bytes]]) -> None:
        for where, content in told:
            self.look(where, content)
        for path in ("/metrics", "/healthz", "/readyz", "/openapi.json"):
            self.look(path, str((await api.get(path)).body).encode())
        paths = [f"/v1/{name}?limit=1000" for name in ("accounts", "lines", "phones", "operations", "tokens")]
        paths += ["/v1/audit?limit=1000", "/v1/alarms?limit=1000", "/v1/models"]
        phones = (await api.get("/v1/phones?limit=1000")).body["items"]
        paths += [f"/v1/phones/{phone['mac']}/events?limit=1000" for phone in phones]
        paths += [f"/v1/phones/{phone['mac']}" for phone in phones]
        for path in paths:
            answer = await api.get(path)
            if answer.status not in (200, 404):
                self.outcome.fail(f"{path} was answered {answer.status}")
            where = re.sub(r"[0-9a-f]{12}", "<mac>", path.partition("?")[0])
            self.look(where, json.dumps(answer.body).encode() if not isinstance(answer.body, bytes) else answer.body)

    def files(self, directory: Path, when: str) -> None:
        """The data directory, the log and the access log: everything that the server ever wrote."""
        seen = set()
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path.name not in KEPT:
                seen.add(path.name)
                self.look(f"the file {path.name} {when}", path.read_bytes())
        wanted = {"log", "access.log", "provisioning.db"} | (
            {"provisioning.db-wal", "provisioning.db-shm", "ready.json"} if "runs" in when else set()
        )
        if missing := wanted - seen:
            self.outcome.fail(f"there was nothing to look at in {', '.join(sorted(missing))} {when}")
