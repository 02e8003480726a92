"""Orders phones for a simulation from a running server, over its management API."""

import asyncio
import itertools
import random
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp

from provisioning.simulator.dialects import VENDORS
from provisioning.simulator.phone import Sheet

# Of vendors without a prefix, as softphones' are: a locally administered one (IEEE 802c).
_NO_PREFIX = "02c0de"
_TRIES = 5
_TIMEOUT = 30.0

T = TypeVar("T")


class Unreachable(Exception):  # noqa: N818  the state of things, not a fault of ours
    """Nobody answers there as a management API would."""


class Declined(Exception):  # noqa: N818  an answer, not a fault
    """The management API said no; the text is its sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Enrolled:
    account: str
    sheets: tuple[Sheet, ...]
    passwords: dict[str, str] = field(repr=False)
    "Of the lines, by username: what their registrar has to know."


@dataclass(frozen=True, slots=True)
class _Names:
    """Everything of one run; the first run's names are always the same ones, and easy to recognise."""

    account: str
    first_mac: int
    first_number: int

    @classmethod
    def of_run(cls, run: int, phones: int, lines: int) -> Self:
        if run == 0:
            return cls("simulation", 0x500000, 0)
        draw = random.SystemRandom()
        suffix = secrets.token_hex(4)
        return cls(f"simulation-{suffix}", draw.randrange(2**24 - phones), draw.randrange(10**8 - lines))

    def mac(self, prefixes: Sequence[str], number: int) -> str:
        return f"{next(iter(prefixes), _NO_PREFIX)}{self.first_mac + number:06x}"

    def line(self, number: int) -> str:
        """A French non-geographic number, without its country code."""
        return f"9{self.first_number + number:08d}"


async def enrol(
    server: str,
    token: str,
    *,
    phones: int,
    lines_per_phone: int = 1,
    outbound_proxy: str,
    domain: str = "sip.example.net",
    vendors: Sequence[str] = VENDORS,
    concurrency: int = 16,
) -> Enrolled:
    """Creates an account with its lines and phones. Names of an earlier run are left alone: fresh ones
    are taken."""
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers={"Authorization": f"Bearer {token}"}
    ) as http:
        api = _Api(http, server.rstrip("/"))
        models = await _models(api, vendors, lines_per_phone)
        gate = asyncio.Semaphore(concurrency)
        for run in range(_TRIES):
            names = _Names.of_run(run, phones, phones * lines_per_phone)
            try:
                await api.post("/v1/accounts", {"account": names.account, "name": "Simulated phones"})
                made = await _all(
                    _phone(api, gate, names, number, model, lines_per_phone, outbound_proxy, domain)
                    for number, model in zip(range(phones), itertools.cycle(models), strict=False)
                )
            except Declined as declined:
                if declined.status != 409:
                    raise
                continue
            passwords = {username: password for _, own in made for username, password in own.items()}
            return Enrolled(names.account, tuple(sheet for sheet, _ in made), passwords)
    raise Declined(409, f"no unused names found in {_TRIES} tries")


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first failure ends the rest, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    return [task.result() for task in tasks]


async def _models(api: "_Api", vendors: Sequence[str], slots: int) -> list[dict[str, Any]]:
    """One model of each family in turn, until every model that is large enough had its turn."""
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for model in await api.list("/v1/models"):
        if model["vendor"] in vendors and model["slots"] >= slots:
            families.setdefault((model["vendor"], model["family"]), []).append(model)
    if not families:
        raise Declined(404, f"no model of {', '.join(vendors)} has {slots} slots")
    # Families with fewer models begin again, so that each has its share.
    return [own[turn % len(own)] for turn in range(max(map(len, families.values()))) for own in families.values()]


async def _phone(
    api: "_Api",
    gate: asyncio.Semaphore,
    names: _Names,
    number: int,
    model: dict[str, Any],
    lines_per_phone: int,
    outbound_proxy: str,
    domain: str,
) -> tuple[Sheet, dict[str, str]]:
    passwords: dict[str, str] = {}
    lines = []
    async with gate:
        for place in range(number * lines_per_phone, (number + 1) * lines_per_phone):
            digits = names.line(place)
            username, password = f"0033{digits}", secrets.token_urlsafe(12)
            line = {
                "line": f"{names.account}-{place + 1}",
                "account": names.account,
                "number": f"+33{digits}",
                "username": username,
                "password": password,
                "domain": domain,
                "display_name": f"Simulated {place + 1}",
                "outbound_proxy": outbound_proxy,
                "transport": "udp",
            }
            await api.post("/v1/lines", line)
            lines.append(line["line"])
            passwords[username] = password
        mac = names.mac(model["prefixes"], number)
        made = await api.post(
            "/v1/phones",
            {"mac": mac, "model": model["model"], "account": names.account, "main_line": lines[0]},
        )
        for line_name in lines[1:]:
            # No public IP: the phone was never seen, and is prepared before it is shipped.
            await api.post(f"/v1/lines/{quote(line_name, safe='')}/attach", {"mac": mac})
    return (
        Sheet(
            mac=mac,
            vendor=model["vendor"],
            model=model.get("name") or model["model"],
            provisioning_url=made["provisioning_url"],
            common=tuple(model["common"]),
            family=model["family"],
        ),
        passwords,
    )


class _Api:
    def __init__(self, http: aiohttp.ClientSession, server: str) -> None:
        self._http = http
        self._server = server

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, json=body)

    async def list(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self._call("GET", path, params={"cursor": cursor} if cursor else None)
            items += page["items"]
            cursor = page.get("next")
            if not cursor:
                return items

    async def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        url = f"{self._server}{path}"
        try:
            async with self._http.request(method, url, **how) as answer:
                try:
                    body = await answer.json(content_type=None)
                except ValueError:
                    body = None
        except (aiohttp.ClientError, TimeoutError) as fault:
            why = str(fault) or type(fault).__name__
            raise Unreachable(
                f"the management API at {self._server} is not reachable: {why}; is the server running?"
            ) from None
        if not isinstance(body, dict):
            raise Unreachable(f"what answers at {self._server} is no management API: HTTP {answer.status} without JSON")
        if answer.status >= 400:
            said = body.get("detail") or body.get("title") or body.get("code") or "no reason given"
            raise Declined(answer.status, f"{method} {path}: HTTP {answer.status}: {said}")
        return body
