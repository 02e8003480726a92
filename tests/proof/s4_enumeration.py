"""S4: strangers who walk MACs from a sticker, guess and replay, for a day, while good phones boot beside them.

The day is the server's: turned_server.py turns its wall clock and its monotonic clock forward together,
hours after each round, so that every limit forgets and every door ages as it would. Addresses are
X-Forwarded-For of a trusted proxy. What a round finds is told from what the server's bodies hold: each
SIP password begins with the same mark.
"""

import asyncio
import math
import re
import secrets
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from attacked import attacked
from crowd import MARK, MODELS, Own, build
from dial import Dial
from logins import basic, digest, nonce_of
from outcome import Effort, Outcome
from pipelined import Heard, ask
from running import Server

from provisioning.config import Limits

WRAPPER = str(Path(__file__).with_name("turned_server.py"))
TITLE = "MACs walked, swept and guessed for a day; known told from unknown by answer or by time"
ALONE = True
PROXY = {"NETWORK__TRUSTED_PROXIES": "127.0.0.1/32", "NETWORK__PRIVATE_ADDRESSES": "false"}
DOOR_AT = "5.39.0.1"
"Where doors are open; nobody of these attackers is there."
HOURS = 24
AUC = 0.02
"How far from 0.5 a classifier by time may be: at many samples, else 4 sigma of what chance alone gives."
_HEX = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_DATE = re.compile(rb"\r\ndate:[^\r]*", re.IGNORECASE)
_NONCE = re.compile(rb'nonce="[0-9a-f]*"')


def limited() -> dict[str, str]:
    """The product's own limits of failures, which other proofs have out of their way."""
    return {
        f"LIMITS__{item.name.upper()}": str(item.default) for item in fields(Limits) if item.name.startswith("failures")
    }


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="requests of strangers")
    chance = effort.random()
    directory = effort.directory / "server"
    count = effort.of(500, 5000)
    effort.say(f"making {count} phones")
    world = await asyncio.to_thread(
        build, directory / "var", count, chance, doors=50, door_at=DOOR_AT, armed=count // 10, codes=count // 10
    )
    town = Town(world)
    dial = Dial(directory / "dial")
    async with attacked(directory, outcome, (WRAPPER,), **PROXY, **limited()) as (server, api):
        await Day(effort, outcome, town, dial, server, chance).run()
        alarms = (await api.get("/v1/alarms?limit=1000")).body["items"]
        kinds = Counter(alarm["kind"] for alarm in alarms)
        outcome.figures["alarms"] = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
        if not kinds["sweep"] or not kinds["many-misses"]:
            outcome.fail("nobody was told of a sweep that lasted a day")
        await Limit(outcome, town, dial, server, chance).run()
    dial.offset = 0
    async with attacked(directory, outcome, **PROXY) as (server, _):
        await Shapes(outcome, town, server, chance).run()
        await asyncio.to_thread(Classifier(effort, outcome, town, server, chance).run)
    return outcome


class Town:
    def __init__(self, phones: list[Own]) -> None:
        self.phones = phones
        self.by_mac = {own.mac: own for own in phones}
        self.secrets = {text.encode() for own in phones for text in (own.secret, own.token) if text}
        self.plain = [own for own in phones if not (own.door or own.token or own.code)]

    def unknown(self, chance: Random, prefix: str | None = None) -> str:
        while True:
            mac = f"{prefix or chance.choice(list(MODELS))}{chance.randrange(2**24):06x}"
            if mac not in self.by_mac:
                return mac

    def leak(self, heard: Heard) -> str | None:
        if MARK.encode() in heard.body:
            return "a SIP password"
        if any(found in self.secrets for found in _HEX.findall(heard.head + heard.body)):
            return "a phone's secret"
        return None


def document(mac: str) -> str:
    return f"{mac}.xml" if mac.startswith("000413") else f"{mac}.cfg"


def request(path: str, address: str, *lines: str, method: str = "GET") -> bytes:
    head = (f"{method} {path} HTTP/1.1", "Host: phones", f"X-Forwarded-For: {address}", *lines, "", "")
    return "\r\n".join(head).encode()


def endpoint(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.http)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class Day:
    """Rounds of an hour each: strangers and good phones in one stream, from the same addresses."""

    def __init__(
        self, effort: Effort, outcome: Outcome, town: Town, dial: Dial, server: Server, chance: Random
    ) -> None:
        self.effort, self.outcome, self.town, self.dial, self.chance = effort, outcome, town, dial, chance
        self.at = endpoint(server)
        self.leaks: Counter[str] = Counter()
        self.strangers = self.limited = 0
        self.good: Counter[str] = Counter()
        self.refused: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.crowd = [f"44.{n >> 8}.{n & 255}.9" for n in range(1000)]
        # Homes behind shared addresses, two customers at each: an attacker of the round is there too.
        homes = town.plain[: len(town.plain) // 2]
        chance.shuffle(homes)
        self.sample = homes[:40]
        self.armed = [own for own in town.phones if own.token]
        self.walkers = chance.sample([own for own in town.phones if own not in self.sample], HOURS * 4)
        self.mine = town.plain[-1]
        "The attackers' own phone: its secret is theirs to show."
        self.others = [own for own in town.phones if own is not self.mine]

    def shared(self, own: Own) -> str:
        """The address of a good phone of the sample: two of them share each, of two accounts."""
        return self.crowd[self.sample.index(own) // 2]

    async def run(self) -> None:
        # Who is at an address is recorded behind the answer: until then it would pass for one customer's own.
        await self.boot([(own, "secret") for own in self._neighbours()])
        await asyncio.sleep(1.5)
        began = time.monotonic()
        step = self.effort.of(3, 1)
        for hour in range(0, HOURS, step):
            self.effort.say(f"hour {hour + 1} of {HOURS}")
            await self.hour(hour)
            self.dial.offset += 3600 * step
        each = ", ".join(f"{kind} {count}" for kind, count in sorted(self.good.items()))
        self.outcome.figures |= {
            "leaked": str(self.leaks.total()),
            "of strangers' requests": f"{self.strangers} ({self.limited} answered 429) in {HOURS} h of the server's clock",
            "good phones served": f"{each}; refused {sum(map(Counter.total, self.refused.values()))}",
            "rate": f"{self.strangers / (time.monotonic() - began):.0f} a second",
        }
        for what, times in self.leaks.items():
            self.outcome.fail(f"{times} answers leaked {what}")
        for how, statuses in self.refused.items():
            told = ", ".join(f"{count} x {status}" for status, count in statuses.items())
            self.outcome.fail(
                f"good phones that prove themselves by {how} were refused while strangers fail: {told}, {self.good[how]} were served"
            )

    def _neighbours(self) -> list[Own]:
        """Reordered so that each shared address has phones of two accounts."""
        self.sample.sort(key=lambda own: own.account)
        half = len(self.sample) // 2
        self.sample = [own for pair in zip(self.sample[:half], self.sample[half:], strict=False) for own in pair]
        pairs = zip(self.sample[::2], self.sample[1::2], strict=True)
        self.sample = [own for one, two in pairs if one.account != two.account for own in (one, two)]
        return self.sample

    async def hour(self, hour: int) -> None:
        stream: list[tuple[bytes, str | None]] = [(sent, None) for sent in self.attack(hour)]
        good = [own for own in self.sample if self.chance.random() < 0.5]
        for own in good:
            place = self.chance.randrange(len(stream))
            stream.insert(place, (request(own.proved, self.shared(own)), "secret"))
        for own in (self.armed.pop() for _ in range(min(1, len(self.armed)))):
            # Plugged in for the first time, at a shared address from which an attack runs.
            sent = request(f"/{own.token}/{own.document}", self.shared(self.sample[hour % len(self.sample)]))
            stream.insert(self.chance.randrange(len(stream)), (sent, "bootstrap"))
        sent_all = [sent for sent, _ in stream]
        answers = await ask(*self.at, sent_all, heads=[sent.startswith(b"HEAD ") for sent in sent_all])
        for heard, (sent, good_by) in zip(answers, stream, strict=True):
            if good_by is None:
                self.stranger(heard, sent)
            else:
                self.judge(heard, good_by)
        # After the attack of this hour, when limits are reached.
        boots = {own.mac: own for own in [*good[:2], *self._besieged(hour)]}.values()
        await self.boot([(own, how) for own in boots for how in ("secret", "Basic", "Digest")])

    def stranger(self, heard: Heard, sent: bytes) -> None:
        self.outcome.tried += 1
        self.strangers += 1
        self.limited += heard.status == 429
        if heard.status not in (200, 401, 404, 429):
            self.outcome.fail(f"a stranger was answered {heard.status} for {sent[:60]!r}")
        if (what := self.town.leak(heard)) is not None:
            self.leaks[what] += 1

    def judge(self, heard: Heard, how: str) -> None:
        if heard.status == 200 and MARK.encode() in heard.body:
            self.good[how] += 1
        else:
            self.refused[how][heard.status] += 1

    async def boot(self, phones: list[tuple[Own, str]]) -> None:
        """As the phone itself does, from its shared address."""
        for own, how in phones:
            where = self.shared(own)
            if how == "secret":
                (heard,) = await ask(*self.at, [request(own.proved, where)])
            elif how == "Basic":
                (heard,) = await ask(*self.at, [request(own.login, where, basic(own.mac, own.secret))])
            else:
                (heard,) = await ask(*self.at, [request(own.login, where)])
                if heard.status == 401:
                    answer = digest(own.mac, own.secret, own.login, nonce_of(heard.head))
                    (heard,) = await ask(*self.at, [request(own.login, where, answer)])
            self.judge(heard, how)

    def attack(self, hour: int) -> list[bytes]:
        """What the attackers of one hour send, mixed."""
        sent = [request(f"/{document(mac)}", "44.99.0.1") for mac in self._sweep(self.effort.of(25, 1500))]
        stickers = self.walkers[hour * 4 : hour * 4 + 4]
        sent += [request(f"/{document(mac)}", "44.99.0.2") for mac in _around(stickers[0])]
        # The same from very many addresses, each within its own limit.
        for sticker in stickers[1 : self.effort.of(2, 4)]:
            sent += [request(f"/{document(mac)}", self.chance.choice(self.crowd)) for mac in _around(sticker)]
        if hour % 12 == 0:
            # One vendor's MACs, one after another, from everywhere.
            first = self.chance.randrange(2**24 - 650)
            sent += [request(f"/001565{first + n:06x}.cfg", self.crowd[n % len(self.crowd)]) for n in range(650)]
        for mac in self._sweep(self.effort.of(30, 4000)):
            sent.append(request(f"/{document(mac)}", self.chance.choice(self.crowd)))
        for _ in range(self.effort.of(30, 1500)):
            # A guess is worth most at a phone that exists.
            own, where = self.chance.choice(self.others), self.chance.choice(self.crowd)
            sent += self._guesses(own, where)
        for own in self.sample[:4]:
            # The neighbour behind the same address asks for the phones that he shares it with.
            sent += [request(own.bare, self.shared(own)), request(own.bare, self.shared(own), method="HEAD")]
        for own in self._besieged(hour):
            # Somebody elsewhere wants this very phone to be shut out.
            sent += [request(own.bare, f"44.96.{hour}.{n}") for n in range(12)]
        self.chance.shuffle(sent)
        return sent

    def _besieged(self, hour: int) -> list[Own]:
        return [self.sample[hour % len(self.sample)]]

    def _sweep(self, count: int) -> Iterator[str]:
        first = self.chance.randrange(2**24 - count)
        for n in range(count):
            yield f"{list(MODELS)[n % len(MODELS)]}{first + n:06x}"

    def _guesses(self, own: Own, where: str) -> list[bytes]:
        guess = f"{self.chance.getrandbits(128):032x}"
        # A right guess would be a right guess: one in a million, and not what is tried here.
        code = next(c for c in iter(lambda: f"{self.chance.randrange(10**6):06d}", "") if c != own.code)
        kinds = (
            lambda: request(f"/{guess}/{own.document}", where),
            lambda: request(f"/{self.mine.secret}/{own.document}", where),
            lambda: request(f"/{code}/{own.document}", where),
            lambda: request(own.login, where, basic(own.mac, guess)),
            lambda: request(own.login, where, basic(own.mac, code)),
            lambda: request(own.login, where, basic(self.mine.mac, self.mine.secret)),
            lambda: request(own.login, where, basic(own.mac, self.mine.secret)),
            lambda: request(own.login, where, digest(own.mac, guess, own.login, secrets.token_hex(28))),
            lambda: request(own.bare, where, basic(own.mac, guess)),
        )
        return [kind() for kind in self.chance.sample(kinds, 2)]


def _around(own: Own) -> list[str]:
    centre = int(own.mac, 16)
    return [f"{centre + step:012x}" for step in range(-64, 65)]


class Shapes:
    """One shape of answer for each kind of request, whatever the state of the phone whose MAC it is."""

    def __init__(self, outcome: Outcome, town: Town, server: Server, chance: Random) -> None:
        self.outcome, self.town, self.chance = outcome, town, chance
        self.at = endpoint(server)

    async def run(self) -> None:
        shapes = 0
        for prefix in MODELS:
            macs = self._of_each_state(prefix)
            nonces = await self._nonces(macs)
            for kind, made in self._kinds(macs, nonces).items():
                answers = await ask(*self.at, made, heads=["HEAD" in kind] * len(made))
                self.outcome.tried += len(made)
                for heard in answers:
                    if (what := self.town.leak(heard)) is not None:
                        self.outcome.fail(f"{kind} for a MAC of {prefix} leaked {what}")
                found = {shape(heard) for heard in answers}
                shapes = max(shapes, len(found))
                if len(found) != 1:
                    told = Counter(f"{heard.status} {len(heard.head)}+{len(heard.body)}" for heard in answers)
                    self.outcome.fail(f"{kind} for MACs of {prefix} has {len(found)} shapes of answer: {dict(told)}")
        self.outcome.figures["answer shapes a kind"] = str(shapes)

    def _of_each_state(self, prefix: str) -> list[str]:
        known = [own for own in self.town.phones if own.mac.startswith(prefix)]
        self.chance.shuffle(known)
        tests = (lambda o: o.door, lambda o: o.token, lambda o: o.code, lambda o: not (o.door or o.token or o.code))
        chosen = [own.mac for test in tests for own in [o for o in known if test(o)][:4]]
        return chosen + [self.town.unknown(self.chance, prefix) for _ in chosen]

    async def _nonces(self, macs: list[str]) -> dict[str, str]:
        answers = await ask(*self.at, [request(f"/login/{document(mac)}", "44.98.0.1") for mac in macs])
        # Without a challenge it is no stranger's answer, which shows by its shape.
        return {mac: nonce_of(heard.head) if heard.status == 401 else "0" * 56 for mac, heard in zip(macs, answers, strict=True)}

    def _kinds(self, macs: list[str], nonces: dict[str, str]) -> dict[str, list[bytes]]:
        mine, other = "44.98.0.1", "f" * 32
        token = next(own.token for own in self.town.phones if own.token)
        spends = next(own for own in self.town.plain)
        names = [document(mac) for mac in macs]
        pairs = list(zip(macs, names, strict=True))
        kinds = {"a bare path": [request(f"/{name}", mine) for name in names]}
        kinds["a bare path, HEAD"] = [request(f"/{name}", mine, method="HEAD") for name in names]
        kinds["a bare path, If-None-Match: *"] = [request(f"/{name}", mine, "If-None-Match: *") for name in names]
        kinds["a bare path in capitals"] = [request(f"/{name.upper()}", mine) for name in names]
        kinds["another vendor's file"] = [request(f"/{mac}.boot", mine) for mac in macs]
        kinds["a POST"] = [request(f"/{name}", mine, "Content-Length: 0", method="POST") for name in names]
        kinds["a wrong secret"] = [request(f"/{other}/{name}", mine) for name in names]
        kinds["another phone's secret"] = [request(f"/{spends.secret}/{n}", mine) for m, n in pairs if m != spends.mac]
        kinds["another phone's token, HEAD"] = [
            request(f"/{token}/{n}", mine, method="HEAD") for m, n in pairs if self._not_of(m, token)
        ]
        kinds["a wrong code"] = [request(f"/{self._wrong(mac)}/{name}", mine) for mac, name in pairs]
        kinds["a login without a word"] = [request(f"/login/{name}", mine) for name in names]
        kinds["a login by Basic, another's secret"] = [
            request(f"/login/{n}", mine, basic(m, spends.secret)) for m, n in pairs if m != spends.mac
        ]
        kinds["a login by Basic, a wrong code"] = [
            request(f"/login/{name}", mine, basic(mac, self._wrong(mac))) for mac, name in pairs
        ]
        kinds["a login by Basic, no base64"] = [
            request(f"/login/{name}", mine, "Authorization: Basic =") for name in names
        ]
        kinds["a login by Digest, a wrong secret"] = [
            request(f"/login/{n}", mine, digest(m, other, f"/login/{n}", nonces[m])) for m, n in pairs
        ]
        kinds["a login by Digest, a wrong code"] = [
            request(f"/login/{n}", mine, digest(m, self._wrong(m), f"/login/{n}", nonces[m])) for m, n in pairs
        ]
        kinds["a login by Digest, a foreign nonce"] = [
            request(f"/login/{n}", mine, digest(m, other, f"/login/{n}", "0" * 56)) for m, n in pairs
        ]
        return kinds

    def _not_of(self, mac: str, token: str | None) -> bool:
        return mac not in self.town.by_mac or self.town.by_mac[mac].token != token

    def _wrong(self, mac: str) -> str:
        own = self.town.by_mac.get(mac)
        return "000000" if own is None or own.code != "000000" else "000001"


def shape(heard: Heard) -> tuple[int, bytes, bytes]:
    return heard.status, _NONCE.sub(b"nonce", _DATE.sub(b"", heard.head)), heard.body


class Limit:
    """A limit tells nothing: it is reached after as many requests for a MAC that exists as for one that does not."""

    def __init__(self, outcome: Outcome, town: Town, dial: Dial, server: Server, chance: Random) -> None:
        self.outcome, self.town, self.dial, self.chance = outcome, town, dial, chance
        self.at = endpoint(server)

    async def run(self) -> None:
        for kind in ("bare", "code", "Basic"):
            self.dial.offset += 3600
            seen: dict[tuple[tuple[int, bytes, bytes], ...], list[str]] = defaultdict(list)
            known = [own.mac for own in self.town.phones if own.mac.startswith("805ec0")]
            for turn, its in enumerate(self.chance.sample(known, 6)):
                mac = its if turn % 2 else self.town.unknown(self.chance, its[:6])
                sent = [self._one(kind, mac, f"46.{turn}.7.{n}") for n in range(14)]
                answers = await ask(*self.at, sent)
                self.outcome.tried += len(sent)
                seen[tuple(map(shape, answers))].append("known" if turn % 2 else "unknown")
            if len(seen) != 1:
                told = {" ".join(str(s) for s, _, _ in shapes): whose for shapes, whose in seen.items()}
                self.outcome.fail(f"a limit is reached otherwise for a MAC that exists ({kind}): {told}")

    def _one(self, kind: str, mac: str, where: str) -> bytes:
        name = document(mac)
        if kind == "bare":
            return request(f"/{name}", where)
        if kind == "code":
            return request(f"/999999/{name}", where)
        return request(f"/login/{name}", where, basic(mac, "0" * 32))


class Classifier:
    """Who could tell known from unknown MACs by the time of the answer: AUC of the latencies' ranks."""

    def __init__(self, effort: Effort, outcome: Outcome, town: Town, server: Server, chance: Random) -> None:
        self.effort, self.outcome, self.town, self.chance = effort, outcome, town, chance
        self.at = endpoint(server)

    def run(self) -> None:
        known = self.chance.sample(self.town.phones, min(1000, len(self.town.phones)))
        unknown = [self.town.unknown(self.chance, own.mac[:6]) for own in known]
        told = []
        with socket.create_connection(self.at, timeout=10) as its:
            its.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nonces = self._nonces(its, [own.mac for own in known] + unknown)
            for kind in ("bare path", "wrong secret", "Basic", "Digest", "wrong code"):
                self.effort.say(f"timing {kind}")
                # Digest opens what is sealed for a MAC: it is where known and unknown could differ most.
                pairs = self.effort.of(2500 if kind == "Digest" else 800, 20_000)
                allowed = max(AUC, 4 * math.sqrt((2 * pairs + 1) / (12 * pairs * pairs)))
                sent = [[self._one(kind, mac, nonces) for mac in macs] for macs in ([o.mac for o in known], unknown)]
                found, slower = self._compare(its, sent, pairs)
                self.outcome.tried += 2 * pairs
                told.append(f"{kind} {found:.3f} (+- {allowed:.3f} of {pairs} pairs; {slower:+.1f} us)")
                if abs(found - 0.5) > allowed:
                    self.outcome.fail(
                        f"{kind}: who times answers tells known from unknown, AUC {found:.3f} of {pairs} pairs, "
                        f"known slower by {slower:+.1f} us"
                    )
        self.outcome.figures["AUC known/unknown"] = ", ".join(told) + f"; at 20,000 pairs +- {AUC} is allowed"

    def _nonces(self, its: socket.socket, macs: list[str]) -> dict[str, str]:
        made = {}
        for mac in macs:
            head, _ = exchange(its, request(f"/login/{document(mac)}", "44.97.0.1"))
            made[mac] = nonce_of(head) if b" 401 " in head[:16] else "0" * 56
        return made

    def _one(self, kind: str, mac: str, nonces: dict[str, str]) -> bytes:
        name, where = document(mac), "44.97.0.1"
        own = self.town.by_mac.get(mac)
        match kind:
            case "bare path":
                return request(f"/{name}", where)
            case "wrong secret":
                return request(f"/{'e' * 32}/{name}", where)
            case "wrong code":
                return request(f"/{'000000' if own is None or own.code != '000000' else '000001'}/{name}", where)
            case "Basic":
                return request(f"/login/{name}", where, basic(mac, "e" * 32))
        return request(f"/login/{name}", where, digest(mac, "e" * 32, f"/login/{name}", nonces[mac]))

    def _compare(self, its: socket.socket, sent: list[list[bytes]], pairs: int) -> tuple[float, float]:
        """(AUC, by how many microseconds the middle known one is slower)."""
        for of in sent:
            for one in of[:100]:
                exchange(its, one)
        turns = [0, 1] * pairs
        self.chance.shuffle(turns)
        times: tuple[list[int], list[int]] = ([], [])
        for known_or_not in turns:
            one = self.chance.choice(sent[known_or_not])
            began = time.perf_counter_ns()
            exchange(its, one)
            times[known_or_not].append(time.perf_counter_ns() - began)
        middle = [sorted(of)[pairs // 2] for of in times]
        return auc(times[0], times[1]), (middle[0] - middle[1]) / 1000


def exchange(its: socket.socket, sent: bytes) -> tuple[bytes, bytes]:
    """One request and its whole answer on a kept connection."""
    its.sendall(sent)
    got = its.recv(65536)
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += its.recv(65536)
    length = got.find(b"\r\nContent-Length: ")
    wanted = end + 4 + int(got[length + 18 : got.index(b"\r\n", length + 18)])
    while len(got) < wanted:
        more = its.recv(65536)
        if not more:
            raise ConnectionError("closed in the middle of an answer")
        got += more
    return got[: end + 2], got[end + 4 :]


def auc(one: list[int], other: list[int]) -> float:
    """The share of pairs in which `one` is larger, ties halved (Mann and Whitney)."""
    ordered = sorted([(value, True) for value in one] + [(value, False) for value in other])
    ranks, start = 0.0, 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        middle = (start + end + 1) / 2
        ranks += middle * sum(is_one for _, is_one in ordered[start:end])
        start = end
    return (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))
