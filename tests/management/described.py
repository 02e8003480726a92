"""Answers against what /v1/openapi.json says of them."""

import re
from typing import Any

from jsonschema import Draft202012Validator
from running import Answer, Api


class Described:
    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.schemas: dict[str, Any] = description["components"]["schemas"]
        self.seen: set[tuple[str, str, int]] = set()

    def route(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """(the described path, its operation)"""
        bare = path.partition("?")[0]
        fitting = [
            (pattern, methods[method.lower()])
            for pattern, methods in self.description["paths"].items()
            if method.lower() in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), bare)
        ]
        assert len(fitting) == 1, f"{method} {bare} is described {len(fitting)} times"
        return fitting[0]

    def check(self, method: str, path: str, answer: Answer) -> None:
        pattern, operation = self.route(method, path)
        self.seen.add((method, pattern, answer.status))
        problem = answer.status >= 400
        told = operation["responses"].get(str(answer.status))
        assert problem or told is not None, f"{method} {pattern}: {answer.status} is not described"
        content = (operation["responses"]["default"] if problem else told).get("content")
        if content is None:
            return
        ((content_type, described),) = content.items()
        assert answer.headers["Content-Type"].partition(";")[0] == content_type
        validator = Draft202012Validator(described["schema"] | {"components": self.description["components"]})
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(answer.body)]
        assert not errors, f"{method} {pattern} {answer.status}: {errors}"
        if not problem:
            self.nothing_more(described["schema"], answer.body, f"{method} {pattern}")

    def nothing_more(self, schema: dict[str, Any], value: Any, where: str) -> None:
        """No field that the description does not know."""
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        for choice in schema.get("anyOf", []):
            if "$ref" in choice and isinstance(value, dict):
                self.nothing_more(choice, value, where)
        if isinstance(value, list) and "items" in schema:
            for item in value:
                self.nothing_more(schema["items"], item, where)
        if isinstance(value, dict) and "properties" in schema:
            assert set(value) <= set(schema["properties"]), f"{where}: {set(value) - set(schema['properties'])}"
            for name, field in value.items():
                self.nothing_more(schema["properties"][name], field, f"{where} {name}")


class DescribedApi(Api):
    """Every answer is checked as it comes."""

    described: Described

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        answer = await super().call(method, path, body, **headers)
        self.described.check(method, path, answer)
        return answer
