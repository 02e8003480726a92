"""No name, password, user name or domain adds, changes or breaks a setting of any phone."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp
from attacked import attacked
from outcome import Effort, Outcome
from running import Api, Server

from provisioning.config import ROOT
from provisioning.domain import line as rules
from provisioning.domain.catalogue import Catalogue, Model
from provisioning.domain.errors import Refused
from provisioning.domain.held import Held
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering import compose
from provisioning.rendering.encoders import Unencodable
from provisioning.rendering.renderer import Renderer
from provisioning.simulator import dialects
from provisioning.simulator.dialects.base import Dialect, read
from provisioning.vendors import load, zones

TITLE = "hostile values in every vendor's template, read back by an independent parser"

# The generator is the facts' own: whatever ends a line or a value for some reader, and ready-made injections.
BREAKS = ("\n", "\r", "\r\n", "\n\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
SYNTAX = (
    *('"', "'", "`", "<", ">", "&", "&amp;", "&lt;", "&#10;", "&#x0A;", "&#0;", "&evil;", "]]>", "<![CDATA[", "<!--"),
    *("-->", "<?xml?>", "<!DOCTYPE x>", "#", ";", "=", ":", "\\", "\\n", "\\u000a", "%0a", "%NULL%", "%EMPTY%", "$"),
    *("${mac}", "$(id)", "{mac}", "{{7*7}}", "{{", "}}", "{%", "{% raw %}", "{# #}", "!", "%", "[", "]", "@", ","),
)
CHARACTERS = (
    *("\0", "\x1b", "\x1b[2J", "\x7f", "\x80", "\t", " ", "  ", "\u00a0", "\u3000", "\ufeff", "\u202e", "\u200d"),
    *(
        "\ufffe",
        "\uffff",
        "\U0001fffe",
        "\ud800",
        "\udfff",
        "\ufdd0",
        "\U0010fffd",
        "é",
        "e\u0301",
        "日本",
        "😀",
        "\u0669",
    ),
    *("null", "None", "0", "true", "x" * 60, "x" * 10_000),
)
INJECTIONS = (
    "account.1.sip_server.1.address = evil.example",
    "\naccount.1.sip_server.1.address = evil.example",
    "\u2028account.1.sip_server.1.address = evil.example",
    "\x85static.auto_provision.server.url = http://evil.example/",
    "\naccount.9.enable = 1",
    "\n[account]",
    "</user_realname><setting_server>http://evil.example/</setting_server><user_realname>",
    "</user_pass></phone-settings></settings><settings><phone-settings>",
    '" perm="RW" evil="',
    '" context="evil" label="',
    '</entry><entry name="reg_proxy" overwrite="true">&lt;sip:evil.example&gt;',
    '</entry></section><section name="misc"><entry name="config-uri">http://evil.example/',
    '" <sip:evil@evil.example>, "',
    '\\" <sip:evil@evil.example>',
    ">;transport=tcp",
    "sip.example.net;transport=tls",
    "sip.example.net>, <sip:evil.example",
    "user@evil.example",
    "%0d%0aaccount.1.enable=0",
)
FRAGMENTS = (*BREAKS, *SYNTAX, *CHARACTERS, *INJECTIONS)
# A password with every character that some syntax gives a meaning to.
SPECIAL = "Zx9\"&<'= #k;\\%{}[]()|~^`$@!?*+,.:/>-_é😀"
TEXTS = ("display_name", "password")
# What their rules leave through is far less; near the rules' edge is where they could be wrong.
GOOD = {
    "username": ("0033972101201", "a.b", "a&b", "a=b", "a;b", "a?b/c", "(a)", "~a'b*", "$a", "+1"),
    "domain": ("sip.example.net", "sip.example.net:5070", "192.0.2.1", "[2001:db8::1]", "[2001:db8::1]:5061", "a-b.c"),
    "outbound_proxy": ("", "proxy.example.net", "proxy.example.net:5070", "[2001:db8::2]:5060", "sip.example.net"),
    "number": ("+33972101201", "*21#", "0"),
    "transport": ("udp", "tcp", "tls"),
}
OTHER = 1
"The neighbour's line beside the hostile one; where a model has one slot only there is none."


def hostile(draw: random.Random) -> str:
    """Up to five fragments, or random text."""
    pieces = []
    for _ in range(draw.randint(0, 5)):
        if draw.random() < 0.15:
            pieces.append(
                "".join(
                    chr(draw.choice((draw.randrange(0x250), draw.randrange(0x11_0000))))
                    for _ in range(draw.randint(1, 20))
                )
            )
        else:
            pieces.append(draw.choice(FRAGMENTS))
    return "".join(pieces)


def text(draw: random.Random) -> str:
    """Half of them pass the rules: those are the ones that must arrive."""
    made = hostile(draw)
    if draw.random() < 0.5:
        made = "".join(c for c in made if rules.printable(c))[:128].strip()
    return made


def near_good(draw: random.Random, field: str) -> str:
    value = draw.choice(GOOD[field])
    chance = draw.random()
    if chance < 0.25:
        place = draw.randint(0, len(value))
        return value[:place] + draw.choice(FRAGMENTS) + value[place:]
    if chance < 0.35:
        return hostile(draw)
    return value


def draw_line(draw: random.Random) -> Line:
    return Line(
        name="line1",
        account="acme",
        number=near_good(draw, "number"),
        username=near_good(draw, "username"),
        password=SPECIAL if draw.random() < 0.1 else text(draw),
        domain=near_good(draw, "domain"),
        display_name=text(draw),
        outbound_proxy=near_good(draw, "outbound_proxy"),
        transport=near_good(draw, "transport"),
    )


def tame_line(slot: int, **changed: str) -> Line:
    its = Line(f"line{slot}", "acme", f"+3397210{slot:04d}", f"tame{slot}", "tame", "sip.example.net", "Tame")
    return replace(its, **changed)


@dataclass(frozen=True)
class Expected:
    """What a phone must have read; made of the line alone, without a template."""

    display_name: str
    password: str
    username: str
    domain: str
    outbound_proxy: str
    transport: str

    @classmethod
    def of(cls, vendor: str, line: Line) -> "Expected":
        domain, proxy = line.domain, line.outbound_proxy
        if vendor == "yealink":
            # It keeps host and port apart, and a port that is the transport's own is none.
            domain, proxy = (_without_default(value, line.transport) for value in (domain, proxy))
        elif proxy == domain:
            proxy = ""
        return cls(line.display_name, line.password, line.username, domain, proxy, line.transport)


def _without_default(host_port: str, transport: str) -> str:
    match = re.fullmatch(r"(.*):(\d+)", host_port)
    if match is None or host_port.endswith("]"):
        return host_port
    port = int(match[2])
    return match[1] if port == (5061 if transport == "tls" else 5060) else f"{match[1]}:{port}"


def own_keys(vendor: str, settings: Mapping[str, str], slot: int) -> set[str]:
    """Those that may differ with the line in this slot."""
    starts = {
        "yealink": (f"account.{slot}.",),
        "snom": (f"fkey[{slot - 1}].",),
        "linphone": (f"auth_info_{slot - 1}/", f"proxy_{slot - 1}/"),
    }[vendor]
    ends = f"[{slot}]" if vendor == "snom" else "\0"
    return {key for key in settings if key.startswith(starts) or (key.startswith("user_") and key.endswith(ends))}


def raw_values(vendor: str, line: Line, slot: int) -> dict[str, str]:
    """Settings whose value is one of the line's, by name: compared without any reading of meaning."""
    label = line.display_name or line.number
    if vendor == "yealink":
        at = f"account.{slot}."
        return {
            at + "display_name": line.display_name,
            at + "label": label,
            at + "password": line.password,
            at + "user_name": line.username,
            at + "auth_name": line.username,
        }
    if vendor == "snom":
        return {
            f"user_realname[{slot}]": line.display_name,
            f"user_idle_text[{slot}]": label,
            f"user_pass[{slot}]": line.password,
            f"user_name[{slot}]": line.username,
            f"user_host[{slot}]": line.domain,
        }
    return {f"auth_info_{slot - 1}/passwd": line.password, f"auth_info_{slot - 1}/username": line.username}


FAMILIES = {("yealink", "desk"), ("snom", "desk"), ("linphone", "softphone")}


def _dialect(vendor: str) -> Dialect:
    return dialects.of(vendor, next(family for name, family in FAMILIES if name == vendor))


class Judge:
    """Compares what came with what was meant, and counts."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.counts: Counter[str] = Counter()

    def check(self, model: Model, body: bytes, tame: dict[str, str], line: Line, slot: int, *, beside: bool) -> None:
        vendor = model.vendor
        self.counts["renderings"] += 1
        try:
            settings, found = _dialect(vendor).settings(body), read(_dialect(vendor), body)
        except ValueError as error:
            self.wrong("unparsable", model, line, str(error))
            return
        if settings.keys() != tame.keys():
            self.wrong("foreign keys", model, line, f"keys {sorted(settings.keys() ^ tame.keys())[:4]}")
            return
        own = own_keys(vendor, settings, slot)
        changed = [key for key in settings if key not in own and settings[key] != tame[key]]
        meant = raw_values(vendor, line, slot)
        changed += [key for key, value in meant.items() if settings.get(key) != value]
        if changed:
            self.wrong("wrong values", model, line, f"settings {changed[:4]}")
            return
        lines = {one.slot: one for one in found.lines}
        expected = Expected.of(vendor, line)
        got = lines.pop(slot, None)
        if got is None or any(getattr(got, name) != getattr(expected, name) for name in expected.__annotations__):
            self.wrong("wrong values", model, line, f"the line reads {got}")
        elif set(lines) != ({slot + 1} if beside else set()):
            self.wrong("wrong values", model, line, f"lines in the slots {sorted(lines)} beside it")

    def wrong(self, kind: str, model: Model, line: Line, why: str) -> None:
        self.counts[kind] += 1
        told = {
            name: getattr(line, name)[:80]
            for name in ("display_name", "username", "domain", "outbound_proxy", "password")
        }
        self.outcome.fail(f"{kind}: {model.id}: {why[:160]} of {told}"[:600])


async def run(effort: Effort) -> Outcome:
    outcome = Outcome()
    judge = Judge(outcome)
    known = load(ROOT / "templates" / "phones", ROOT / "firmware")
    in_process(effort, judge, known.catalogue, known.renderer)
    async with attacked(effort.directory / "server", outcome, PHONES__URL="http://phones.example.net") as (server, api):
        await end_to_end(effort, judge, server, api, known.catalogue)
    counts = judge.counts
    outcome.tried = counts["values"]
    outcome.what = "hostile lines, each for every vendor's phone; a share through the management API and HTTP"
    outcome.figures = {
        name: str(counts[name])
        for name in (
            *("renderings", "refused by the rules", "refused by the renderer", "end to end", "refused 422"),
            *("wrong values", "unparsable", "foreign keys"),
        )
    }
    if not (counts["refused by the rules"] and counts["renderings"] > counts["values"] and counts["refused 422"]):
        outcome.fail(f"the draw did not try both what is taken and what is refused: {dict(counts)}")
    return outcome


def in_process(effort: Effort, judge: Judge, catalogue: Catalogue, renderer: Renderer) -> None:
    draw, counts = effort.random(), judge.counts
    site = compose.Site("https://phones.example.net", {}, zones(), {})
    models: dict[str, list[Model]] = {}
    for model in catalogue.models.values():
        # Every family is tried by the tests of rendering; here those whose settings are named above.
        if (model.vendor, model.family.name) in FAMILIES:
            models.setdefault(model.vendor, []).append(model)
    smallest = {vendor: min((m for m in its if m.slots > 1), key=lambda m: m.slots) for vendor, its in models.items()}
    tame: dict[tuple[str, int], dict[str, str]] = {}

    def rendered(model: Model, line: Line, slot: int) -> bytes:
        lines = [(slot, line)]
        if slot < model.slots:
            lines.append((slot + 1, tame_line(2)))
        document = next(document for document in model.documents.values() if document.lines)
        return renderer.render(document, model, compose.stage1(site, model, Mac("0015650000aa"), "0" * 32, Held(lines)))

    def trial(model: Model, line: Line, slot: int) -> None:
        if (model.id, slot) not in tame:
            tame[model.id, slot] = _dialect(model.vendor).settings(rendered(model, tame_line(1), slot))
        try:
            body = rendered(model, line, slot)
        except Unencodable as refusal:
            counts["refused by the renderer"] += 1
            if any(len(value) > 3 and value in str(refusal) for value in (line.display_name, line.password)):
                judge.wrong("wrong values", model, line, "the refusal tells the value")
            raise
        except Exception as error:  # noqa: BLE001  a phone would be answered 500
            judge.wrong("unparsable", model, line, f"rendering breaks: {type(error).__name__}")
            return
        judge.check(model, body, tame[model.id, slot], line, slot, beside=slot < model.slots)

    # Each fragment alone, in front, behind and within, in both free texts and past the rules: the
    # renderer is the last fence, and has to stand without the first.
    for fragment in FRAGMENTS:
        for value in (fragment, f"a{fragment}b", f"{fragment}b", f"a{fragment}"):
            counts["values"] += 1
            for model in smallest.values():
                try:
                    trial(model, tame_line(1, display_name=value, password=value or "p"), 1)
                except Unencodable:
                    continue
    total = effort.of(2_500, 100_000)
    for number in range(total):
        line = draw_line(draw)
        counts["values"] += 1
        try:
            rules.check(line)
            taken = True
        except Refused:
            counts["refused by the rules"] += 1
            taken = False
            # What the rules refuse in free text is tried at the renderer too; it knows no rule for the others.
            line = tame_line(1, display_name=line.display_name, password=line.password or "p")
        for vendor, its in models.items():
            model = draw.choice(its) if number % 20 == 0 else smallest[vendor]
            try:
                trial(model, line, draw.randint(1, model.slots) if model.slots < 30 else 1)
            except Unencodable as refusal:
                if taken:
                    judge.wrong("wrong values", model, line, f"the rules take what cannot be rendered: {refusal}")
        if number % 500 == 0:
            effort.say(f"{number} of {total} lines")


FIELDS = ("display_name", "password", "username", "domain", "outbound_proxy", "number", "transport")


async def end_to_end(effort: Effort, judge: Judge, server: Server, api: Api, catalogue: Catalogue) -> None:
    """A hostile value by PATCH, then the phone's own fetch over HTTP."""
    draw, counts, outcome = effort.random(), judge.counts, judge.outcome
    await api.account("acme")
    urls: dict[str, str] = {}
    phones = {"001565a1b2c3": "yealink-t21p_e2", "000413a1b2c3": "snom-d120", "02000000a1b2": "linphone-desktop"}
    tame: dict[str, dict[str, str]] = {}
    base = {name: getattr(tame_line(1), name) for name in FIELDS} | {"domain": "sip.example.net"}
    session = aiohttp.ClientSession()

    async def fetched(mac: str) -> bytes:
        async with session.get(urls[mac]) as response:
            body = await response.read()
            if response.status != 200:
                outcome.fail(f"{phones[mac]}: fetching answers {response.status} after a value that was taken")
            return body

    for number, (mac, model) in enumerate(phones.items(), 1):
        for its in (f"hostile{number}", f"tame{number}"):
            await api.line(its, **base | {"username": its})
        made = await api.phone(mac, model, main_line=f"hostile{number}")
        its = catalogue.models[model]
        document = next(document for document in its.documents.values() if document.lines)
        base_url = urlsplit(made["provisioning_url"])
        secret = base_url.path.split("/")[1]
        urls[mac] = f"{server.http}/{secret}/{document.name_for(Mac(mac))}"
        await api.make(f"/v1/lines/tame{number}/attach", {"mac": mac, "public_ip": None, "slot": 2})
        tame[mac] = _dialect(its.vendor).settings(await fetched(mac))
    total = effort.of(150, 6_000)
    for number in range(total):
        for n, (mac, model) in enumerate(phones.items(), 1):
            wanted = draw_line(draw)
            given = {name: getattr(wanted, name) for name in FIELDS}
            if draw.random() < 0.5:
                # One hostile field at a time gets further than seven at once.
                only = draw.choice(FIELDS)
                given = base | {"username": f"hostile{n}", only: given[only]}
            counts["values"] += 1
            counts["end to end"] += 1
            before = (await api.get(f"/v1/lines/hostile{n}")).body
            answer = await api.call("PATCH", f"/v1/lines/hostile{n}", given)
            line = tame_line(1, **given)
            if answer.status == 200:
                judge.check(catalogue.models[model], await fetched(mac), tame[mac], line, 1, beside=True)
                document = urls[mac].rpartition("/")[2]
                shown = await api.get(f"/v1/phones/{mac}/documents/{document}")
                found = {one.slot: one for one in read(_dialect(catalogue.models[model].vendor), shown.body).lines}
                if found[1].password != compose.MASK:
                    judge.wrong("wrong values", catalogue.models[model], line, "people are shown its password")
                continue
            refused(outcome, counts, answer.status, answer.code, answer.body, given)
            if (await api.get(f"/v1/lines/hostile{n}")).body != before:
                outcome.fail(f"a refused change changed the line: {given}"[:300])
        if number % 20 == 0:
            effort.say(f"{number} of {total} changes, each of {len(phones)} phones")
    await names(effort, judge, api)
    await session.close()


def refused(
    outcome: Outcome, counts: Counter[str], status: int, code: str | None, body: object, given: dict[str, str]
) -> None:
    """422 and whose fault it is; 400 where the text is none at all; 409 for another line's user name."""
    torn = any(0xD800 <= ord(c) <= 0xDFFF for value in given.values() for c in value)
    large = len(str(given)) > 9_000
    allowed = {(422, "invalid-value"), (409, "line-exists")}
    if torn:
        allowed.add((400, "invalid-json"))
    if large:
        allowed.add((413, "body-too-large"))
    counts["refused 422"] += status == 422
    if (status, code) not in allowed:
        outcome.fail(f"refused with {status} {code}: {given}"[:400])
    elif status == 422 and isinstance(body, dict) and body.get("field") not in given:
        outcome.fail(f"refused without naming the field: {body}"[:400])


async def names(effort: Effort, judge: Judge, api: Api) -> None:
    """What callers name things by stands in URLs, logs and files: refused, or read back as it is."""
    draw, counts, outcome = effort.random(), judge.counts, judge.outcome

    async def everything() -> tuple[object, ...]:
        return tuple([(await api.get(f"/v1/{what}?limit=1000")).body for what in ("accounts", "lines", "phones")])

    before = await everything()
    for number in range(effort.of(100, 3_000)):
        value = hostile(draw)
        requests = (
            ("/v1/accounts", {"account": value}),
            (
                "/v1/lines",
                {
                    "line": value,
                    "account": "acme",
                    "number": "1",
                    "username": f"n{number}",
                    "password": "p",
                    "domain": "a.example",
                },
            ),
            ("/v1/phones", {"mac": value, "model": "yealink-t54w", "account": "acme"}),
            ("/v1/phones", {"mac": f"0015651{number:05x}", "model": value, "account": "acme"}),
            (
                "/v1/phones",
                {"mac": f"0015651{number:05x}", "model": "yealink-t54w", "account": "acme", "serial": value},
            ),
        )
        for path, body in requests:
            counts["values"] += 1
            answer = await api.post(path, body)
            if answer.status == 201:
                shown = answer.body
                name = {"/v1/accounts": "account", "/v1/lines": "line", "/v1/phones": "mac"}[path]
                if value not in shown.values() or not rules.printable(value):
                    outcome.fail(f"{path} took {body} and shows {shown}"[:400])
                gone = await api.call("DELETE", f"{path}/{shown[name]}")
                if gone.status != 204:
                    outcome.fail(f"{path}/{shown[name]} cannot be removed again: {gone.status}"[:400])
            elif answer.status >= 500 or answer.code is None:
                outcome.fail(f"{path} answers {answer.status} {answer.code} to {body}"[:400])
            elif answer.status == 422:
                counts["refused 422"] += 1
        await asyncio.sleep(0)
    if await everything() != before:
        outcome.fail("names that were refused or removed again left something behind")
