"""CPU time and memory of a process with its threads and children, from /proc."""

import os
import time
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> Iterator[int]:
    """The process and everything it started."""
    yield pid
    try:
        tasks = [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:
        return
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text("ascii").split()
        except FileNotFoundError:
            continue
        for child in children:
            yield from family(int(child))


def seconds(pid: int) -> float:
    """On a CPU so far, all threads of the family: the first field of schedstat."""
    total = 0
    for process in family(pid):
        try:
            tasks = os.listdir(f"/proc/{process}/task")  # noqa: PTH208  many times a second
        except FileNotFoundError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{process}/task/{task}/schedstat", "rb") as file:  # noqa: PTH123  many times a second
                    total += int(file.read().split(None, 1)[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total / 1e9


def settled(pid: int, least: float, most: float = 4.0) -> float:
    """CPU seconds once what is done behind the answers is done: nothing for a tenth of a second."""
    begun = time.monotonic()
    time.sleep(least)
    before = seconds(pid)
    while time.monotonic() - begun < most:
        time.sleep(0.1)
        now = seconds(pid)
        if now - before < 0.004:
            return now
        before = now
    return before


def memory(pid: int, field: str = "RssAnon") -> int:
    """Bytes; RssAnon leaves out the mapped database, which VmRSS counts."""
    total = 0
    for process in family(pid):
        try:
            text = Path(f"/proc/{process}/status").read_text("ascii")
        except FileNotFoundError:
            continue
        total += next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(field)), 0)
    return total


def quiet(most: float) -> bool:
    """Waits, not for ever, until the machine is idle."""
    deadline = time.monotonic() + most
    while True:
        before = _busy()
        time.sleep(0.2)
        after = _busy()
        if after[0] - before[0] < 0.1 * (after[1] - before[1]):
            return True
        if time.monotonic() > deadline:
            return False


def _busy() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return sum(fields[:8]) - idle, sum(fields[:8])
