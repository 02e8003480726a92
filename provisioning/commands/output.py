"""How every command reads its configuration, prints and fails."""

import argparse
import asyncio
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from provisioning import config as configuration
from provisioning.config import Config
from provisioning.domain.errors import Fault, Refused
from provisioning.store.database import is_busy

Command = Callable[[argparse.Namespace], int | Awaitable[int]]


def common(parser: argparse.ArgumentParser) -> None:
    """The options that every command has."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.toml (default: ./config.toml if it exists)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def load(arguments: argparse.Namespace, defaults: Config | None = None) -> Config:
    path = arguments.config
    if path is None and Path("config.toml").exists():
        path = Path("config.toml")
    return configuration.load(path, defaults=defaults)


def load_beside(arguments: argparse.Namespace) -> Config:
    """As the server has it that works on the same data: a demo's commands need the demo's settings."""
    config = load(arguments)
    return load(arguments, configuration.DEMO) if config.demo_file.exists() else config


def run(arguments: argparse.Namespace) -> int:
    """Runs the chosen command; every expected failure is one sentence and an exit code."""
    command: Command = arguments.run
    try:
        result = command(arguments)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return int(result)  # type: ignore[arg-type]  # an awaitable was awaited above
    except Refused as refused:
        return _fail(arguments, refused.code, refused.detail, refused.members)
    except Fault as fault:
        return _fail(arguments, "fault", str(fault), {})
    except SQLAlchemyError as error:
        if is_busy(error):
            return _fail(arguments, "busy", "the database is being written by somebody else; try again", {})
        return _fail(arguments, "storage-failed", f"the database failed: {getattr(error, 'orig', error)}", {})
    except BrokenPipeError:
        # The reader of our output has had enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _fail(arguments: argparse.Namespace, code: str, detail: str, members: Mapping[str, object]) -> int:
    if getattr(arguments, "json", False):
        print(json.dumps({"error": {"code": code, "detail": detail, **members}}))
    else:
        print(f"{code}: {detail}", file=sys.stderr)
        for name, value in members.items():
            print(f"  {name}: {_text(value)}", file=sys.stderr)
    return 1


def show(arguments: argparse.Namespace, value: object) -> int:
    """One thing: JSON, or a line for each of its fields."""
    plain = msgspec.to_builtins(value)
    if arguments.json:
        print(json.dumps(plain, ensure_ascii=False, indent=2))
        return 0
    width = max((len(name) for name in plain), default=0)
    for name, field in plain.items():
        print(f"{name:<{width}}  {_text(field)}")
    return 0


def table(arguments: argparse.Namespace, items: Sequence[object], columns: Sequence[str]) -> int:
    """Many things: a JSON list, or a table of the chosen columns."""
    plain = [msgspec.to_builtins(item) for item in items]
    if arguments.json:
        print(json.dumps({"items": plain}, ensure_ascii=False, indent=2))
        return 0
    rows = [[_text(item.get(column)) for column in columns] for item in plain]
    widths = [max([len(column), *(len(row[i]) for row in rows)]) for i, column in enumerate(columns)]
    for row in ([column.upper() for column in columns], *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def say(arguments: argparse.Namespace, sentence: str, **fields: Any) -> int:
    print(json.dumps(fields, ensure_ascii=False) if arguments.json else sentence)
    return 0


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={_text(field)}" for name, field in value.items() if field is not None) or "-"
    return str(value)
