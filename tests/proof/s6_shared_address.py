"""S6: accounts that share addresses, buy each other's phones and try everything on each other's, as a seeded random walk.

Beside the server runs a model: whose each phone is, where and when it was last seen, whose phones were
seen at each place. Account-restricted tokens type any MAC and any address. The database is read past the
server before and after every step: whatever changed must be the caller's own. Time passes by
turned_server.py's dial.
"""

import asyncio
import json
import re
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attacked import attacked
from customers import shown
from dial import Dial
from outcome import Effort, Outcome
from pipelined import ask
from running import Answer, Api, Server

from provisioning.domain import address as addresses

TITLE = "accounts at shared addresses try everything on each other's phones"
WRAPPER = str(Path(__file__).with_name("turned_server.py"))
FRESH, DOOR, DAY = 900.0, 600.0, 86400.0
SHARED = 30 * DAY
ACCOUNTS = ("north", "south", "stock")
"Who owns nothing yet sells to the others: the operator's own shelf is an account as well."
PHONES, LINES = 7, 4
NOBODYS = "001565fffff0"
EVERYBODYS = ("5.39.0.1", "2a00:1450:4007:80::")
OWN = {
    "north": ("5.39.1.1", "5.39.1.2", "2a00:1450:4007:81::"),
    "south": ("5.39.2.1", "5.39.2.2", "2a00:1450:4007:82::"),
    "stock": ("5.39.3.1", "5.39.3.2", "2a00:1450:4007:83::"),
}
"Where an account's phones mostly are. Sold ones take their time to move."
_SLACK = 5.0
"Seconds around a limit in which either answer is right."
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass
class Phone:
    mac: str
    owner: str
    secret: str
    place: str | None = None
    seen_at: float | None = None
    returned: bool = False
    sold_at: dict[str, float] = field(default_factory=dict)
    "By former owner."
    old_secrets: list[str] = field(default_factory=list)
    lines: dict[int, str] = field(default_factory=dict)


async def run(effort: Effort) -> Outcome:
    outcome = Outcome(what="steps of three accounts and their operator")
    directory = effort.directory / "server"
    directory.mkdir()
    dial = Dial(directory / "dial")
    settings = {
        "NETWORK__TRUSTED_PROXIES": "127.0.0.1/32",
        "NETWORK__FRESHNESS": str(FRESH),
        "PHONES__DOOR": str(DOOR),
    }
    async with attacked(directory, outcome, (WRAPPER,), **settings) as (server, api):
        walk = Walk(effort, outcome, server, api, dial)
        try:
            await walk.prepare()
            steps = effort.of(1500, 50_000)
            for number in range(steps):
                if number % 50 == 0:
                    effort.say(f"step {number} of {steps}")
                await walk.step()
                if len(outcome.through) > 20:
                    break
        finally:
            await walk.close()
    outcome.figures = {
        "cross-account effects": str(walk.effects),
        "on others' phones, compared with nobody's": str(walk.compared),
        "doors opened": f"{walk.doors}, refused where shared {walk.doors_refused}",
        "done": ", ".join(f"{kind} {count}" for kind, count in walk.done.most_common()),
    }
    if walk.told_later:
        outcome.fail(
            f"{walk.told_later} times an account was told by its own old operation when a phone that it sold fetched at its new owner's"
        )
    if not (walk.compared and walk.doors and walk.doors_refused and walk.done["attach"] and walk.done["sale"]):
        outcome.fail(f"the walk never came to something that it is about: {outcome.figures}")
    return outcome


class Walk:
    def __init__(self, effort: Effort, outcome: Outcome, server: Server, api: Api, dial: Dial) -> None:
        self.outcome, self.server, self.operator, self.dial = outcome, server, api, dial
        self.chance = effort.random()
        self.callers: dict[str, Api] = {}
        self.phones: dict[str, Phone] = {}
        self.seen_there: dict[tuple[str, str], tuple[float, float]] = {}
        "(place, account) → (first, last time of a sight)."
        self.done: Counter[str] = Counter()
        self.told_later = self.effects = self.compared = self.doors = self.doors_refused = 0
        self.database = sqlite3.connect(server.data / "provisioning.db", timeout=20, isolation_level=None)

    @property
    def now(self) -> float:
        return time.time() + self.dial.offset

    async def close(self) -> None:
        self.database.close()
        for caller in self.callers.values():
            await caller.close()

    async def prepare(self) -> None:
        for account in ACCOUNTS:
            await self.operator.account(account)
            token = await self.operator.make("/v1/tokens", {"name": account, "account": account, "scope": "admin"})
            self.callers[account] = Api(self.server, token["token"])
            for number in range(LINES):
                await self.operator.line(f"{account}-line-{number}", account)
        for number in range(PHONES):
            mac, owner = f"001565ab{number:04x}", ACCOUNTS[number % len(ACCOUNTS)]
            made = await self.operator.phone(mac, "yealink-t42u", owner)
            self.phones[mac] = Phone(mac, owner, urlsplit(made["provisioning_url"]).path.split("/")[1])

    def fail(self, sentence: str) -> None:
        self.outcome.fail(sentence[:400])

    async def step(self) -> None:
        """One act of somebody; three of four are an account's, with whatever it types."""
        self.outcome.tried += 1
        before = self.state()
        if self.chance.random() < 0.25:
            act = self.chance.choice([self.sight] * 12 + [self.sell, self.ship, self.time_passes])
            await act()
            self.model_lines()
            return
        account = self.chance.choice(ACCOUNTS)
        await self.act(account)
        after = self.state()
        changed = {mac for mac in before if before[mac] != after[mac]}
        foreign = [mac for mac in changed if self.phones[mac].owner != account]
        if foreign:
            self.effects += len(foreign)
            self.fail(f"{account} changed {foreign}, which is {self.phones[foreign[0]].owner}'s: {self.last}")
        self.model_lines()

    # What the database holds

    def state(self) -> dict[str, tuple[Any, ...]]:
        """By MAC: all that a caller could change of a phone, doors that are over left out."""
        its: dict[str, list[Any]] = {}
        rows = self.database.execute(
            "SELECT id, mac, account_id, model, serial, revision, shipped_at, returned_at FROM phones"
        )
        by_id = {}
        for row in rows.fetchall():
            by_id[row[0]] = its[row[1]] = [row[1:]]
        for table, columns in (
            ("slots", "slot, line_id"),
            ("doors", "place, opened_at, closes_at, opened_by"),
            ("phone_secrets", "hash, kind, expires_at, used_at"),
            ("activation_codes", "hash, expires_at"),
        ):
            for phone_id, *values in self.database.execute(f"SELECT phone_id, {columns} FROM {table} ORDER BY 1, 2"):
                by_id[phone_id].append((table, *values))
        return {mac: tuple(parts) for mac, parts in its.items()}

    def model_lines(self) -> None:
        held: dict[str, dict[int, str]] = {mac: {} for mac in self.phones}
        query = "SELECT mac, slot, line, account FROM slots JOIN phones ON phones.id = phone_id JOIN lines ON lines.id = line_id JOIN accounts ON accounts.id = lines.account_id"
        for mac, slot, line, account in self.database.execute(query):
            held[mac][slot] = line
            if account != self.phones[mac].owner:
                self.fail(f"the line {line} of {account} is on a phone of {self.phones[mac].owner}")
        for mac, lines in held.items():
            self.phones[mac].lines = lines

    def is_shared(self, place: str, account: str) -> bool | None:
        """None: it is about to be forgotten, so either is right."""
        ages = [self.now - last for (at, who), (_, last) in self.seen_there.items() if at == place and who != account]
        if any(age < SHARED - 1.5 * DAY for age in ages):
            return True
        return None if any(age < SHARED + _SLACK for age in ages) else False

    def is_there(self, phone: Phone, typed: str) -> bool | None:
        """Seen at the typed address and lately; None: at the very limit."""
        if phone.place is None or phone.seen_at is None or place_of(typed) != phone.place:
            return False
        age = self.now - phone.seen_at
        return None if abs(age - FRESH) < _SLACK else age < FRESH

    # The operator, and the phones themselves

    async def sight(self) -> None:
        """A phone boots, with its secret, at a place of its own, a shared one or another."""
        phone = self.chance.choice(list(self.phones.values()))
        if phone.returned:
            return
        await self.operator.post(f"/v1/phones/{phone.mac}/resync")
        typed = self.any_address(phone.owner)
        heard = await self.fetch(f"/{phone.secret}/{phone.mac}.cfg", typed)
        self.done["sight"] += 1
        got = shown(heard)
        if got != phone.lines:
            self.fail(f"{phone.mac} was shown {got}, it holds {phone.lines}")
        await self.recorded(phone)
        phone.place, phone.seen_at = place_of(typed), self.now
        first, _ = self.seen_there.get((phone.place, phone.owner), (self.now, 0))
        self.seen_there[phone.place, phone.owner] = first, self.now
        for secret in phone.old_secrets[-2:]:
            if shown(await self.fetch(f"/{secret}/{phone.mac}.cfg", "5.39.99.99")):
                self.fail("a secret of an earlier owner still shows lines")

    async def recorded(self, phone: Phone) -> None:
        query = "SELECT fetched_revision = revision FROM phones WHERE mac = ?"
        for _ in range(600):
            if self.database.execute(query, (phone.mac,)).fetchone()[0]:
                return
            await asyncio.sleep(0.005)
        self.fail("a visit was not recorded in 3 s")

    async def fetch(self, path: str, address: str) -> bytes:
        parts = urlsplit(self.server.http)
        sent = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n\r\n"
        (heard,) = await ask(parts.hostname or "", parts.port or 0, [sent.encode()])
        return heard.body

    async def sell(self) -> None:
        """It comes back, and goes to another account."""
        phone = self.chance.choice(list(self.phones.values()))
        if not phone.returned:
            back = await self.operator.post(f"/v1/phones/{phone.mac}/return")
            assert back.status == 202, back
        buyer = self.chance.choice([account for account in ACCOUNTS if account != phone.owner])
        sold = await self.operator.call("PATCH", f"/v1/phones/{phone.mac}", {"account": buyer})
        assert sold.status == 200, sold
        phone.old_secrets.append(phone.secret)
        phone.sold_at[phone.owner] = self.now
        phone.owner, phone.returned = buyer, False
        # Its last sight was the earlier owner's; the server goes on knowing where the phone is.
        phone.secret = urlsplit(sold.body["provisioning_url"]).path.split("/")[1]
        self.done["sale"] += 1

    async def ship(self) -> None:
        phone = self.chance.choice(list(self.phones.values()))
        if self.chance.random() < 0.3 and not phone.returned:
            back = await self.operator.post(f"/v1/phones/{phone.mac}/return")
            phone.returned = back.status == 202
            self.done["return"] += phone.returned
        elif phone.returned:
            await self.sell()
        else:
            answer = await self.operator.post(f"/v1/phones/{phone.mac}/ship")
            if (answer.status, answer.code) not in ((200, None), (409, "phone-bound")):
                self.fail(f"a phone could not be shipped: {answer.status} {answer.code}")
            self.done["ship"] += answer.status == 200

    async def time_passes(self) -> None:
        self.dial.offset += self.chance.choice((60, 300, FRESH + 60, 4 * 3600, 2 * DAY))
        self.done["time"] += 1

    # The accounts

    def any_address(self, account: str) -> str:
        places = OWN[account if self.chance.random() < 0.9 else self.chance.choice(ACCOUNTS)]
        place = self.chance.choice(places if self.chance.random() < 0.8 else EVERYBODYS)
        return f"{place}{self.chance.randrange(1, 9)}" if place.endswith("::") else place

    async def act(self, account: str) -> None:
        mac = self.chance.choice([*self.phones, NOBODYS])
        own_phones = [phone.mac for phone in self.phones.values() if phone.owner == account]
        if own_phones and self.chance.random() < 0.4:
            mac = self.chance.choice(own_phones)
        typed, its = self.any_address(account), self.phones.get(mac)
        if its is not None and its.place is not None and self.chance.random() < 0.6:
            # What a curious neighbour would type.
            typed = its.place.replace("::/64", f"::{self.chance.randrange(1, 9)}")
        own_line = f"{account}-line-{self.chance.randrange(LINES)}"
        other = self.chance.choice(ACCOUNTS)
        line = own_line if self.chance.random() < 0.8 else f"{other}-line-{self.chance.randrange(LINES)}"
        verb = self.chance.choice(
            ("attach",) * 6 + ("attach by address",) * 2 + ("detach",) * 3 + ("door",) * 3 + ("reset",) * 2
            + ("close", "promote", "resync", "code", "secret", "read", "events", "documents", "document", "attachable")
            + ("operations", "line", "return", "ship", "sell", "remove")
        )  # fmt: skip
        if verb in ("detach", "promote") and its is not None and its.lines and self.chance.random() < 0.8:
            line = self.chance.choice(list(its.lines.values()))
        made = self.request(verb, account, mac, line, typed)
        if made is None:
            return
        answer = await self.call(account, *made, mac, line)
        self.done[verb.partition(" ")[0]] += answer.status < 300
        own = its is not None and its.owner == account
        foreign_line = not line.startswith(account)
        if not own and mac in made[1] + json.dumps(made[2]):
            await self.as_nobodys(account, verb, answer, mac, line, typed)
        if foreign_line and line in made[1]:
            await self.as_no_line(account, verb, answer, mac, line, typed)
        if own and verb in ("door", "reset"):
            self.judge_door(account, its, typed, answer)
        elif verb.startswith("attach") and verb != "attachable" and not foreign_line:
            self.judge_attach(account, its if own else None, typed, verb, answer)
        if own and answer.status < 300 and verb in ("reset", "secret"):
            secret = urlsplit(answer.body["provisioning_url"]).path.split("/")[1]
            its.secret = secret

    def request(self, verb: str, account: str, mac: str, line: str, typed: str) -> tuple[str, str, Any] | None:
        phone = f"/v1/phones/{mac}"
        there = {"public_ip": typed}
        match verb:
            case "attach":
                return "POST", f"/v1/lines/{line}/attach", {"mac": mac} | there
            case "attach by address":
                return "POST", f"/v1/lines/{line}/attach", there
            case "detach":
                return "POST", f"/v1/lines/{line}/detach", {"mac": mac} | there
            case "door" | "reset":
                return "POST", f"{phone}/{verb}", there
            case "close":
                return "DELETE", f"{phone}/door", None
            case "promote":
                return "POST", f"{phone}/promote", {"line": line}
            case "resync" | "code" | "secret" | "return" | "ship":
                return "POST", f"{phone}/{verb}", {}
            case "read":
                return "GET", phone, None
            case "events" | "documents":
                return "GET", f"{phone}/{verb}", None
            case "document":
                return "GET", f"{phone}/documents/{mac}.cfg", None
            case "attachable":
                return "GET", f"/v1/lines/{line}/attachable-phones", None
            case "operations":
                return "GET", f"/v1/operations?phone={mac}", None
            case "line":
                return "GET", f"/v1/lines/{line}", None
            case "sell":
                return "PATCH", phone, {"account": account}
            case "remove":
                return "DELETE", phone, None
        return None

    async def call(self, account: str, method: str, path: str, body: Any, mac: str, line: str) -> Answer:
        self.last = f"{method} {path} {body}"
        answer = await self.callers[account].call(method, path, body)
        if answer.status >= 500:
            self.fail(f"{self.last} was answered {answer.status}")
        # Whatever it says, it names nobody else's.
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        text = raw.decode().lower().replace(":", "")
        for other in self.phones.values():
            if other.owner != account and other.mac != mac and other.mac in text:
                self.fail(f"{account} was told of {other.owner}'s phone by {self.last}")
        for other_account in ACCOUNTS:
            typed = other_account in line
            if other_account != account and not typed and f"{other_account}-line" in text:
                self.fail(f"{account} was told of a line of {other_account} by {self.last}: {raw[:200]!r}")
        return answer

    async def as_nobodys(self, account: str, verb: str, answer: Answer, mac: str, line: str, typed: str) -> None:
        """Another account's phone, and one that does not exist: one answer."""
        if verb in ("sell", "remove", "return", "ship") and answer.status != 403:
            self.fail(f"{account} may {verb}: {answer.status}")
        again = self.request(verb, account, NOBODYS, line, typed)
        assert again is not None
        if mac == NOBODYS:
            return
        nobodys = await self.call(account, *again, NOBODYS, line)
        self.compared += 1
        if verb == "operations":
            answer = self.history(account, answer, mac)
        if alike(answer, mac) != alike(nobodys, NOBODYS):
            self.fail(
                f"{verb} on another account's phone: {alike(answer, mac)}, on nobody's: {alike(nobodys, NOBODYS)}"
            )
        elif answer.status < 300 and verb != "operations":
            self.fail(f"{verb} on another account's phone was answered {answer.status}")

    def history(self, account: str, answer: Answer, mac: str) -> Answer:
        """Without the account's own operations of a time when the phone was its own, which tell nothing later."""
        rest = []
        for item in answer.body["items"]:
            if item["account"] != account:
                rest.append(item)
                continue
            fetched, sold = item["facts"]["fetched_at"], self.phones[mac].sold_at.get(account, 0)
            if fetched is not None and datetime.fromisoformat(fetched).timestamp() > sold + 1:
                self.told_later += 1
        return Answer(answer.status, {"items": rest, "next": None}, answer.headers)

    async def as_no_line(self, account: str, verb: str, answer: Answer, mac: str, line: str, typed: str) -> None:
        unknown = f"nobody-line-{line[-1]}"
        again = self.request(verb, account, mac, unknown, typed)
        assert again is not None
        none = await self.call(account, *again, mac, unknown)
        self.compared += 1
        if alike(answer, mac, line) != alike(none, mac, unknown):
            self.fail(f"{verb} of another account's line: {alike(answer, mac, line)}, of none: {alike(none, mac, unknown)}")

    def judge_door(self, account: str, phone: Phone, typed: str, answer: Answer) -> None:
        if phone.returned:
            if answer.code != "phone-returned":
                self.fail(f"a door for a returned phone: {answer.status} {answer.code}")
            return
        shared = self.is_shared(place_of(typed), account)
        opened = answer.status < 300
        self.doors += opened
        self.doors_refused += answer.code == "door-refused"
        if opened and shared:
            self.fail(f"a door was opened where another account's phones are: {self.last}")
        if not opened and shared is False:
            self.fail(f"a door was refused ({answer.code}) where nobody else's phones were seen: {self.last}")

    def judge_attach(self, account: str, phone: Phone | None, typed: str, verb: str, answer: Answer) -> None:
        """An account attaches to a phone of its own, which is where it says now, and to no other."""
        if answer.status == 202:
            got = self.phones[answer.body["phone"]]
            if got.owner != account or self.is_there(got, typed) is False:
                self.fail(f"attached to {got} by {self.last}")
            door = self.database.execute(
                "SELECT place, opened_at FROM doors JOIN phones ON phones.id = phone_id WHERE phones.mac = ?", (got.mac,)
            ).fetchone()
            if door is not None and self.now - door[1] < 1 and self.is_shared(door[0], account):
                self.fail(f"an attach opened a door where another account's phones are: {self.last}")
            return
        good = verb == "attach" and phone is not None and not phone.returned and self.is_there(phone, typed)
        if good and answer.code not in ("line-already-attached", "no-free-slot"):
            self.fail(f"a good attach was refused: {answer.status} {answer.code}, {self.last}")


def place_of(address: str) -> str:
    return addresses.place_of(address)


def alike(answer: Answer, mac: str, line: str = "") -> tuple[int, str, str]:
    """All that two answers must have in common but for what was typed."""
    text = answer.body.decode() if isinstance(answer.body, bytes) else json.dumps(answer.body, sort_keys=True)
    spelled = ":".join(re.findall("..", mac))
    for typed in filter(None, (mac, spelled, spelled.upper(), mac.upper(), line)):
        text = text.replace(typed, "<typed>")
    headers = sorted(name for name in answer.headers if name not in ("Date", "Content-Length"))
    return answer.status, _TIME.sub("<time>", text), str(headers)
