"""What a probe found, for people and programs."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "bad", "not probed"]


@dataclass(frozen=True, slots=True)
class Finding:
    probe: str
    verdict: Verdict
    seen: str
    advice: str | None = None
    "What to do; None where all is well."


def ok(probe: str, seen: str) -> Finding:
    return Finding(probe, "ok", seen)


def warning(probe: str, seen: str, advice: str) -> Finding:
    return Finding(probe, "warning", seen, advice)


def bad(probe: str, seen: str, advice: str) -> Finding:
    return Finding(probe, "bad", seen, advice)


class NotProbed(Exception):  # noqa: N818  it reads as a verdict
    """Why a probe could not be made, and what lets it be made."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice
