"""`provisioning` with a clock that a proof sets, and with faults that a proof seeds. Nothing of it is in the product.

Both are turned by the file `dial` beside the data directory (dial.py). A quarter of the points is active for a
seed, and an active point fires at a quarter of its turns. Which, is drawn for each point from the
seed alone, so that a seed repeats however the points take their turns.
"""

import asyncio
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dial import Dial
from sqlalchemy.exc import OperationalError

from provisioning.sip.client import Outcome, SipClient
from provisioning.store.database import Database
from provisioning.store.fetch import PhoneReader

ACTIVE = FIRED = 0.25
CANARY = "canary-5a1d"
"In the statement and the values of every failure: a log that shows it would show a password."
STATUSES = (202, 401, 404, 408, 480, 481, 489, 500, 503, 603)


class Faults:
    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._seed = 0
        self._points: dict[str, random.Random | None] = {}
        self._lock = threading.Lock()

    def at(self, point: str) -> random.Random | None:
        """None, or what the fault draws from."""
        seed = self._dial.seed
        if not seed:
            return None
        with self._lock:
            if seed != self._seed:
                self._seed, self._points = seed, {}
            if point not in self._points:
                drawn = random.Random(f"{seed}/{point}")
                self._points[point] = drawn if drawn.random() < ACTIVE else None
            drawn = self._points[point]
            if drawn is None or drawn.random() >= FIRED:
                return None
            self._dial.fire()
        return drawn


def failure(told: str) -> OperationalError:
    return OperationalError(
        f"UPDATE lines SET password = '{CANARY}'", {"password": CANARY}, sqlite3.OperationalError(told)
    )


def patch_clock(dial: Dial, faults: Faults) -> None:
    """time.time alone: what is monotonic stays so, as with a real clock that is set."""
    real, real_ns = time.time, time.time_ns

    def wrong() -> float:
        drawn = faults.at("clock")
        return dial.offset + (0.0 if drawn is None else drawn.uniform(-2, 2))

    time.time = lambda: real() + wrong()
    time.time_ns = lambda: real_ns() + int(wrong() * 1e9)


def patch_store(faults: Faults) -> None:
    write, read, made = Database._write, Database.read, Database.__init__

    def writing(self: Database, patience_ends: float, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        name = getattr(work, "__name__", "?")
        for told in ("database is locked", "disk I/O error"):
            if faults.at(f"write {name}: {told}"):
                raise failure(told)
        if drawn := faults.at(f"write {name}: slow"):
            time.sleep(drawn.uniform(0, 0.05))

        def ending(*given: Any, **named: Any) -> Any:
            result = work(*given, **named)
            if faults.at(f"write {name}: fails at its end"):
                raise failure("database or disk is full")
            return result

        return write(self, patience_ends, ending, *args, **kwargs)

    async def reading(self: Database, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if faults.at("read"):
            raise failure("database is locked")
        return await read(self, work, *args, **kwargs)

    def making(self: Database, path: Path) -> None:
        made(self, path)
        commit = self._writer.dialect.do_commit

        def committing(connection: Any) -> None:
            if faults.at("commit"):
                raise sqlite3.OperationalError(f"disk I/O error {CANARY}")
            commit(connection)

        self._writer.dialect.do_commit = committing

    Database._write, Database.read, Database.__init__ = writing, reading, making


def patch_fetch(faults: Faults) -> None:
    def broken(name: str) -> None:
        real = getattr(PhoneReader, name)

        def reading(self: PhoneReader, *args: Any, **kwargs: Any) -> Any:
            if faults.at(f"fetch {name}"):
                raise sqlite3.OperationalError(f"disk I/O error {CANARY}")
            return real(self, *args, **kwargs)

        setattr(PhoneReader, name, reading)

    for name in [name for name in vars(PhoneReader) if not name.startswith("_") and name != "close"]:
        broken(name)


def patch_sip(faults: Faults) -> None:
    notify = SipClient.notify

    async def notifying(self: SipClient, *args: Any, **kwargs: Any) -> Outcome:
        if faults.at("notify: raises"):
            raise RuntimeError(CANARY)
        if drawn := faults.at("notify: late"):
            await asyncio.sleep(drawn.uniform(0, 0.3))
        if drawn := faults.at("notify: another answer"):
            return Outcome(drawn.choice(STATUSES), "a fault", local=False)
        return await notify(self, *args, **kwargs)

    SipClient.notify = notifying


if __name__ == "__main__":
    its_dial = Dial(Path(os.environ["PROVISIONING__DATA__DIR"]).with_name("dial"))
    its_faults = Faults(its_dial)
    patch_clock(its_dial, its_faults)
    patch_store(its_faults)
    patch_fetch(its_faults)
    patch_sip(its_faults)
    from provisioning.__main__ import main

    sys.exit(main())
