"""S8: whatever was good once is shown again: keys, Digest answers, one-time tokens, codes, cookies; on one worker and two."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from attacked import attacked
from logins import digest, nonce_of
from outcome import Effort, Outcome
from pipelined import Heard, ask
from running import Answer, Api, Server

TITLE = "keys, Digest answers, one-time tokens, codes and cookies shown again, concurrently, on 1 and 2 workers"
WORKERS = (1, 2)
KEYED, AT_ONCE = 100, 50
HOME = "5.39.0.7"
PLACES = [f"5.39.1.{n}" for n in range(1, 6)]
PROXY = {"NETWORK__TRUSTED_PROXIES": "127.0.0.1/32", "NETWORK__PRIVATE_ADDRESSES": "false"}


@dataclass(frozen=True)
class Phone:
    mac: str
    secret: str
    line: str

    @property
    def name(self) -> str:
        return f"{self.mac}.cfg"

    @property
    def login(self) -> str:
        return f"/login/{self.name}"

    def shown_in(self, heard: Heard) -> bool:
        return f"pw-{self.line}".encode() in heard.body


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="repetitions")
    for workers in WORKERS:
        directory = effort.directory / str(workers)
        settings = PROXY | {"SERVER__WORKERS": str(workers)}
        async with attacked(directory, outcome, **settings) as (server, api):
            replay = Replay(effort, outcome, server, api, f"on {workers} worker{'s' * (workers > 1)}")
            await replay.everything()
    await _restarted(outcome, directory, settings, replay)
    told = Counter(outcome.through)
    outcome.through = [f"{times} times: {sentence}" if times > 1 else sentence for sentence, times in told.items()]
    return outcome


async def _restarted(outcome: Outcome, directory: Path, settings: dict[str, str], replay: "Replay") -> None:
    """The captured answers again, at a server that was started anew meanwhile."""
    async with attacked(directory, outcome, **settings) as (server, _):
        replay.server = server
        for phone, captured in replay.captured:
            heard = await replay.ask(phone.login, HOME, captured)
            if heard.status != 401:
                outcome.fail(f"{replay.where}: a used Digest answer was accepted again after a restart")
                break


class Replay:
    def __init__(self, effort: Effort, outcome: Outcome, server: Server, api: Api, where: str) -> None:
        self.effort, self.outcome, self.server, self.api, self.where = effort, outcome, server, api, where
        self.number = 0
        self.captured: list[tuple[Phone, str]] = []

    def fail(self, sentence: str) -> None:
        self.outcome.fail(f"{self.where}: {sentence}")

    def count(self, name: str, more: int = 1) -> None:
        self.outcome.figures[name] = str(int(self.outcome.figures.get(name, "0")) + more)

    async def everything(self) -> None:
        await self.api.account()
        await self.keys()
        for algorithm in ("MD5", "SHA-256"):
            await self.digests(algorithm)
        for turn in range(self.effort.of(2, 100)):
            self.effort.say(f"{self.where}, round {turn + 1}")
            await self.tokens()
            await self.codes()
            await self.digests_at_once()
        await self.cookies()

    async def phone(self) -> Phone:
        self.number += 1
        mac, line = f"001565ab{self.number:04x}", f"line{self.number}"
        await self.api.line(line)
        made = await self.api.phone(mac, "yealink-t54w", main_line=line)
        return Phone(mac, urlsplit(made["provisioning_url"]).path.split("/")[1], line)

    async def ask(self, path: str, address: str, *lines: str, method: str = "GET") -> Heard:
        """Over a connection of its own, so that either worker may get it."""
        self.outcome.tried += 1
        parts = urlsplit(self.server.http)
        head = (f"{method} {path} HTTP/1.1", "Host: phones", f"X-Forwarded-For: {address}", *lines, "", "")
        made = ["\r\n".join(head).encode()]
        (heard,) = await ask(parts.hostname or "", parts.port or 0, made, heads=[method == "HEAD"])
        return heard

    async def story(self, phone: Phone) -> Counter[str]:
        items = (await self.api.get(f"/v1/phones/{phone.mac}/events?limit=1000")).body["items"]
        return Counter(event["kind"] for event in items)

    # Idempotency-Keys

    async def keys(self) -> None:
        """A hundred of one key at once: one effect, one answer."""
        phone = await self.phone()
        await self.api.line("keyed")
        attach = {"mac": phone.mac, "public_ip": HOME}
        for verb, path, body, kind in (
            ("attach", "/v1/lines/keyed/attach", attach, "attach"),
            ("resync", f"/v1/phones/{phone.mac}/resync", {}, "resync"),
            ("reset", f"/v1/phones/{phone.mac}/reset", {"public_ip": HOME}, "reset"),
            ("secret", f"/v1/phones/{phone.mac}/secret", {}, "secret"),
            ("code", f"/v1/phones/{phone.mac}/code", {}, "code-made"),
            ("ship", f"/v1/phones/{phone.mac}/ship", {}, "shipped"),
            ("token", "/v1/tokens", {"name": "keyed", "scope": "read"}, ""),
            ("return", f"/v1/phones/{phone.mac}/return", {}, "return"),
        ):
            before, tokens = await self.story(phone), await self.tokens_made()
            answers = await self._keyed(path, body, f"key-{verb}")
            shown = {(answer.status, str(answer.body)) for answer in answers}
            if len(shown) != 1 or answers[0].status >= 300:
                told = Counter(f"{answer.status} {answer.code or ''}" for answer in answers)
                self.fail(f"{KEYED} {verb} under one key have {len(shown)} different answers: {dict(told)}")
            fresh = sum("Idempotency-Replayed" not in answer.headers for answer in answers)
            after, left = await self.story(phone), await self.tokens_made()
            effects = after[kind] - before[kind] if kind else left - tokens
            if effects != 1 or fresh != 1:
                self.fail(f"{KEYED} {verb} under one key had {effects} effects, {fresh} answers call themselves new")
        self.count("keys x 100", 8)

    async def _keyed(self, path: str, body: Any, key: str) -> list[Answer]:
        self.outcome.tried += KEYED
        sessions = [Api(self.server) for _ in range(4)]
        try:
            calls = [sessions[n % 4].post(path, body, Idempotency_Key=key) for n in range(KEYED)]
            return await asyncio.gather(*calls)
        finally:
            await asyncio.gather(*(its.close() for its in sessions))

    async def tokens_made(self) -> int:
        return len((await self.api.get("/v1/tokens?limit=1000")).body["items"])

    # Digest

    async def digests(self, algorithm: str) -> None:
        """One captured answer, and everything that could be made of it without the password."""
        phone, other = await self.phone(), await self.phone()
        nonce = await self._nonce(phone, algorithm)
        others_nonce, fresh = await self._nonce(other, algorithm), await self._nonce(phone, algorithm)
        captured = digest(phone.mac, phone.secret, phone.login, nonce, algorithm=algorithm)
        upper, boot = f"/login/{phone.mac.upper()}.cfg", f"/login/{phone.mac}.boot"

        def altered(old: str, new: str) -> str:
            assert old in captured
            return captured.replace(old, new)

        cases: list[tuple[str, str, str, str]] = [
            ("another phone's path", other.login, captured, "GET"),
            ("another phone's path, its uri changed", other.login, altered(phone.login, other.login), "GET"),
            ("another phone's path and name", other.login, altered(phone.mac, other.mac), "GET"),
            ("the MAC in capitals", upper, captured, "GET"),
            ("the MAC in capitals, its uri changed", upper, altered(phone.login, upper), "GET"),
            ("another file", boot, captured, "GET"),
            ("another file, its uri changed", boot, altered(phone.login, boot), "GET"),
            ("a query", f"{phone.login}?x=1", captured, "GET"),
            ("a second slash", f"/{phone.login}", captured, "GET"),
            ("another folder", f"/{phone.name}", captured, "GET"),
            ("HEAD", phone.login, captured, "HEAD"),
            ("a fresh nonce", phone.login, altered(nonce, fresh), "GET"),
            ("another phone's nonce", phone.login, altered(nonce, others_nonce), "GET"),
            ("another count", phone.login, altered("nc=00000001", "nc=00000002"), "GET"),
            ("no count", phone.login, altered(', qop=auth, nc=00000001, cnonce="c0ffee"', ""), "GET"),
            ("another cnonce", phone.login, altered("c0ffee", "c0ffed"), "GET"),
            ("an algorithm of its session", phone.login, f"{captured}-sess", "GET"),
            ("an older clock", phone.login, altered(nonce, f"{int(nonce[:8], 16) - 301:08x}{nonce[8:]}"), "GET"),
            ("a later clock", phone.login, altered(nonce, f"{int(nonce[:8], 16) + 5:08x}{nonce[8:]}"), "GET"),
            (
                "of one who writes no count",
                phone.login,
                digest(phone.mac, phone.secret, phone.login, nonce, nc=None, algorithm=algorithm),
                "GET",
            ),
            (
                "of another phone's secret",
                phone.login,
                digest(phone.mac, other.secret, phone.login, fresh, algorithm=algorithm),
                "GET",
            ),
        ]
        for what, path, sent, method in cases:
            heard = await self.ask(path, HOME, sent, method=method)
            bare = path == f"/{phone.name}"
            if phone.shown_in(heard) or other.shown_in(heard) or (heard.status != 401 and not bare):
                self.fail(f"a captured {algorithm} answer was accepted ({what}): {heard.status}")
        heard = await self.ask(phone.login, HOME, captured)
        if not phone.shown_in(heard):
            self.fail(f"the phone's own {algorithm} answer was refused: {heard.status}")
        # Twice, from here and from elsewhere, on any connection.
        for again in range(20):
            if (heard := await self.ask(phone.login, HOME if again % 2 else PLACES[0], captured)).status != 401:
                self.fail(f"a {algorithm} answer was accepted a second time: {heard.status}")
        self.captured.append((phone, captured))
        self.count("Digest replays", len(cases) + 20)

    async def _nonce(self, phone: Phone, algorithm: str) -> str:
        return nonce_of((await self.ask(phone.login, HOME)).head, algorithm)

    async def digests_at_once(self) -> None:
        """One answer on fifty connections at the same time is one visit."""
        phone = await self.phone()
        sent = digest(phone.mac, phone.secret, phone.login, await self._nonce(phone, "MD5"))
        heard = await asyncio.gather(*(self.ask(phone.login, HOME, sent) for _ in range(AT_ONCE)))
        accepted = sum(phone.shown_in(its) for its in heard)
        if accepted != 1 or {its.status for its in heard} - {200, 401}:
            self.fail(f"one Digest answer on {AT_ONCE} connections was accepted {accepted} times")
        self.count("Digest x 50")

    # One-time tokens and codes

    async def tokens(self) -> None:
        phone = await self.phone()
        shipped = (await self.api.post(f"/v1/phones/{phone.mac}/ship")).body
        folder = urlsplit(shipped["bootstrap_url"]).path
        heard = await asyncio.gather(
            *(self.ask(f"{folder}{phone.name}", PLACES[n % len(PLACES)]) for n in range(AT_ONCE))
        )
        served, bound = sum(phone.shown_in(its) for its in heard), (await self.story(phone))["secret-issued"]
        if served != 1 or bound != 1 or {its.status for its in heard} != {200}:
            self.fail(f"one token on {AT_ONCE} connections: {served} answers with lines, {bound} secrets issued")
        alarms = (await self.api.get("/v1/alarms?limit=1000")).body["items"]
        told = sum(alarm["kind"] == "bootstrap-shown-again" and alarm["mac"] == phone.mac for alarm in alarms)
        if told == 0:
            self.fail("a burnt token was shown again, and nobody is told of it")
        late = await self.ask(f"{folder}{phone.name}", "5.39.9.9")
        if phone.shown_in(late):
            self.fail("a burnt token is served")
        self.count("tokens x 50")

    async def codes(self) -> None:
        phone = await self.phone()
        code = (await self.api.post(f"/v1/phones/{phone.mac}/code")).body["code"]
        asked = [PLACES[n % len(PLACES)] for n in range(AT_ONCE)]
        heard = await asyncio.gather(*(self.ask(f"/{code}/{phone.name}", place) for place in asked))
        won = {place for place, its in zip(asked, heard, strict=True) if phone.shown_in(its)}
        bound = (await self.story(phone))["secret-issued"]
        if len(won) != 1 or bound != 1:
            self.fail(f"one code on {AT_ONCE} connections: lines went to {len(won)} places, {bound} secrets were issued")
        # The rest of the boot comes through a door, which is the winner's alone.
        for place in PLACES:
            for path in (f"/{phone.name}", f"/{code}/{phone.name}"):
                if phone.shown_in(await self.ask(path, place)) != (place in won):
                    self.fail(f"after a code was used, {path.count('/')} words from {place} are answered wrongly")
        self.count("codes x 50")

    # The console's cookies

    async def cookies(self) -> None:
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(force_close=True)) as http:
            for ends in ("logout", "token removed", "logout while it is used"):
                token = (await self.api.post("/v1/tokens", {"name": f"console {ends}", "scope": "read"})).body
                url = f"{self.server.management}/v1/sessions"
                async with http.post(url, json={"token": token["token"]}) as answer:
                    cookie = answer.headers["Set-Cookie"].partition(";")[0]
                held = {"Cookie": cookie, "X-Requested-With": "console"}
                if await self._looks(http, held) != 200:
                    self.fail("a session's cookie is worth nothing before it ended")
                used = [asyncio.create_task(self._looks(http, held)) for _ in range(20 * ends.endswith("used"))]
                if ends == "token removed":
                    await self.api.call("DELETE", f"/v1/tokens/{token['id']}")
                else:
                    async with http.delete(f"{url}/current", headers=held) as answer:
                        if answer.status != 204:
                            self.fail(f"a session could not be ended: {answer.status}")
                after = await asyncio.gather(*(self._looks(http, held) for _ in range(20)))
                if set(after) - {401, 429}:
                    self.fail(f"a session's cookie is worth something after {ends}: {Counter(after)}")
                await asyncio.gather(*used)
                self.count("cookies x 20")

    async def _looks(self, http: aiohttp.ClientSession, headers: dict[str, str]) -> int:
        self.outcome.tried += 1
        async with http.get(f"{self.server.management}/v1/accounts", headers=headers) as answer:
            return answer.status
