"""Whatever is asked of the management API, it answers as /v1/openapi.json says."""

import asyncio
import json
import logging
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attacked import attacked
from outcome import Effort, Outcome
from running import Answer, Api, Server, fetch

from provisioning.management.problem import STATUS

sys.path.append(str(Path(__file__).resolve().parents[1] / "management"))

from described import Described

TITLE = "requests made from our own OpenAPI, valid and not, answers held against it"

# Documented in words that a generator cannot read: what is refused without being a fault.
MAY_BE_5XX = {"unsupported-by-model", "busy"}
CHECKS = (
    *("status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "ignored_auth", "unsupported_method", "allow_header_conformance"),
)
MAC = "001565a1b2c3"


@dataclass
class Run:
    cases: int = 0
    problems: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    routes: set[tuple[str, str]] = field(default_factory=set)
    wrong: dict[str, tuple[int, str]] = field(default_factory=dict)

    def fail(self, kind: str, example: str) -> None:
        count, first = self.wrong.get(kind, (0, example))
        self.wrong[kind] = (count + 1, first)


async def run(effort: Effort) -> Outcome:
    outcome, its = Outcome(), Run()
    async with attacked(effort.directory / "server", outcome, LOG__ACCESS="off") as (server, api):
        there = await something(server, api)
        description = (await api.get("/v1/openapi.json")).body
        # It is synchronous, and asks over connections of its own.
        await asyncio.to_thread(ask_everything, effort, server, api.token, description, there, its)
        if (await api.get("/readyz")).status != 200:
            outcome.fail("afterwards the server is not ready")
    for kind, (count, example) in its.wrong.items():
        outcome.fail(f"{count} times: {kind}; such as {example[:300]}")
    wanted = effort.of(500, 10_000)
    if its.cases < wanted:
        outcome.fail(f"only {its.cases} of {wanted} requests were made")
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    if missed := described - its.routes:
        outcome.fail(f"nothing was asked of {sorted(missed)}")
    outcome.tried, outcome.what = its.cases, "requests to the management API"
    outcome.figures = {
        "routes": str(len(its.routes)),
        "answers": " ".join(f"{status}: {count}" for status, count in sorted(its.statuses.items())),
        "problem documents": str(its.problems),
    }
    return outcome


async def something(server: Server, api: Api) -> dict[str, str]:
    """So that requests reach more than a 404. Of each path parameter a value that is there."""
    await api.account("acme")
    for name in ("line1", "line2", "line3"):
        await api.line(name)
    made = await api.phone(MAC, main_line="line1")
    await fetch(f"{server.http}/{made['provisioning_url'].split('/')[3]}/{MAC}.cfg", server)
    operation = await api.make("/v1/lines/line2/attach", {"public_ip": "127.0.0.1", "mac": MAC})
    return {
        "account": "acme",
        "line": "line2",
        "mac": MAC,
        "model": "yealink-t54w",
        "name": f"{MAC}.cfg",
        "id": operation["id"],
    }


def ask_everything(
    effort: Effort, server: Server, token: str, description: dict[str, Any], there: dict[str, str], its: Run
) -> None:
    described = Described(description)
    with warnings.catch_warnings():
        # Its own, of what our description leaves out.
        warnings.simplefilter("ignore")
        for logger in ("urllib3", "schemathesis"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        wanted, passes = effort.of(500, 10_000), 0
        while passes < 2 or (its.cases < wanted and passes < 40):
            # In turn with names of things that are there, and with whatever is drawn.
            one_pass(
                effort,
                server,
                token,
                description,
                there if passes % 2 == 0 else {},
                effort.seed + passes,
                described,
                its,
            )
            passes += 1


def one_pass(
    effort: Effort,
    server: Server,
    token: str,
    description: dict[str, Any],
    fixed: dict[str, str],
    seed: int,
    described: Described,
    its: Run,
) -> None:
    import schemathesis
    from schemathesis.engine import events, from_schema

    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "base-url": server.management,
            "headers": {"Authorization": f"Bearer {token}"},
            "continue-on-failure": True,
            "request-timeout": 10.0,
            "workers": 1,
            "parameters": {f"path.{name}": value for name, value in fixed.items()},
            "generation": {"max-examples": effort.of(3, 60), "no-shrink": True, "database": "none"},
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "phases": {
                "stateful": {"enabled": effort.full},
                "coverage": {"enabled": effort.full or not fixed},
                "examples": {"enabled": False},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(description, config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            its.fail(
                "the generator itself failed", str(getattr(event, "info", None) or getattr(event, "exception", event))
            )
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            request, response = interaction.request, interaction.response
            if response is None:
                its.fail("no answer came", f"{request.method} {request.uri}")
                continue
            case = recorder.cases[case_id].value
            judge(described, its, request.method, case.operation.path, request.uri, response)
        for checks in recorder.checks.values():
            for check in checks:
                failure = check.failure_info.failure if check.failure_info is not None else None
                # A wrong token that is turned away for coming too often is turned away.
                if failure is not None and not (check.name == "ignored_auth" and "`429 " in failure.message):
                    its.fail(f"{check.name}: {failure.title}", f"{failure.operation}: {failure.message}")
        effort.say(f"{its.cases} requests")


def judge(described: Described, its: Run, method: str, path: str, uri: str, response: Any) -> None:
    its.cases += 1
    its.statuses[response.status_code] += 1
    body: Any = response.content
    content_type = response.headers.get("content-type", [""])[0]
    told = f"{method} {uri[:200]} → {response.status_code} {response.content[:160]!r}"
    if "json" in content_type:
        try:
            body = json.loads(response.content)
        except ValueError:
            its.fail("JSON that is none", told)
            return
    status = response.status_code
    if status >= 400:
        its.problems += 1
        code = body.get("code") if isinstance(body, dict) else None
        if not content_type.startswith("application/problem+json"):
            its.fail("a refusal that is no problem document", told)
        elif (
            STATUS.get(code or "") != status or body.get("status") != status or body.get("type") != f"/problems/{code}"
        ):
            its.fail("a problem whose code is not of the table", told)
        elif not body.get("title") or not body.get("detail"):
            its.fail("a problem without words", told)
        elif status >= 500 and code not in MAY_BE_5XX:
            its.fail("5xx", told)
    if method.lower() not in described.description["paths"].get(path, {}):
        # Methods that are not described; that they are refused was looked at above.
        if status < 400:
            its.fail("a method is taken that is not described", told)
        return
    its.routes.add((method, path))
    if status == 405:
        its.fail("a described method is refused", told)
    if status >= 400 and not isinstance(body, dict):
        return
    wanted = described.description["paths"][path][method.lower()]
    try:
        check_described(described, wanted, f"{method} {path}", Answer(status, body, {"Content-Type": content_type}))
    except AssertionError as error:
        its.fail("an answer that is not as described", f"{error}: {told}")


def check_described(described: Described, operation: dict[str, Any], name: str, answer: Answer) -> None:
    """As tests/management does, by the route that was asked: what a value in the path holds must not choose another."""
    described.route = lambda method, path: (name, operation)  # type: ignore[method-assign]  # for this answer
    described.check(*name.split(" ", 1), answer)
