"""OpenAPI 3.1, made of the routes and the types of their bodies."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from provisioning.management import bodies
from provisioning.management.callers import COOKIE
from provisioning.management.routes import Route

PATH = "/v1/openapi.json"
_WITH_A_SESSION = "A change with a session's cookie also carries the header X-Requested-With: console."
_REF = "#/components/schemas/{name}"


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    routes = tuple(routes)
    types = {kind for route in routes for kind in (route.takes, route.gives) if kind is not None}
    ordered = sorted(types | {bodies.Problem}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REF)
    schemas["Problem"]["additionalProperties"] = True
    paths: dict[str, dict[str, Any]] = {}
    shared = Counter(route.handler for route in routes)
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shared[route.handler] > 1)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Phone provisioning", "version": "1"},
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": _WITH_A_SESSION},
            },
            "schemas": schemas,
        },
    }


def _operation(route: Route, is_shared: bool) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    queries = (*route.query, "after", "limit") if route.many == "pages" else route.query
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in queries]
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    described: dict[str, Any] = {
        "summary": route.does,
        "operationId": _id(route, is_shared),
        "parameters": parameters,
        "responses": {
            str(route.status): _answer(route),
            "default": {"description": "Refused: a problem document (RFC 9457)", "content": problem},
        },
    }
    if route.token:
        described["description"] = f"Needs the scope {route.needs}."
    if route.method != "GET" and not route.path.startswith("/v1/sessions"):
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}})
    if route.takes is not None:
        schema = {"$ref": _REF.format(name=route.takes.__name__)}
        described["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    if not route.token:
        described["security"] = []
    return described


def _answer(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.does}
    if route.gives is not None:
        schema: dict[str, Any] = {"$ref": _REF.format(name=route.gives.__name__)}
        if route.many == "array":
            schema = {"type": "array", "items": schema}
        elif route.many:
            schema = {
                "type": "object",
                "required": ["items"],
                "properties": {
                    "items": {"type": "array", "items": schema},
                    "next": {"type": ["string", "null"], "description": "Give it as `after` to read on."},
                },
            }
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


def _id(route: Route, is_shared: bool) -> str:
    """Of a handler that serves several paths, with whose: `settings.read_settings.phones`."""
    name = f"{route.handler.__module__.rpartition('.')[2]}.{route.handler.__name__}"
    return f"{name}.{route.path.split('/')[2]}" if is_shared else name
