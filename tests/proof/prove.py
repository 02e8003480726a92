"""`make proof`: attacks and faults against the real server; one table of what was tried and what got through.

Each proof is a module of this folder, named by its id, with a TITLE and
`async def run(effort: Effort) -> Outcome`; ALONE = True where other work would disturb what it
measures. Exit code 1: something got through.
"""

import argparse
import asyncio
import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from outcome import Effort, Outcome  # noqa: E402  beside this file


def proofs() -> dict[str, ModuleType]:
    """By id, in the order of the table."""
    names = [path.stem for path in HERE.glob("*.py") if re.fullmatch(r"[sr]\d+_\w+", path.stem)]
    names.sort(key=lambda name: ("sr".index(name[0]), int(name[1:].partition("_")[0])))
    return {name.partition("_")[0].upper(): importlib.import_module(name) for name in names}


def main() -> int:
    found = proofs()
    parser = argparse.ArgumentParser(description="Attacks and faults against the real server.")
    parser.add_argument("--full", action="store_true", help="the whole targets; about an hour")
    parser.add_argument("--only", metavar="ID", nargs="+", choices=list(found), help="such as S4 R1")
    parser.add_argument("--seed", type=int, default=1, help="of everything drawn at random (default: 1)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each proof")
    parser.add_argument("--jobs", type=int, default=1, help="proofs at once, but for those that measure time")
    arguments = parser.parse_args()
    names = arguments.only or list(found)
    together = [name for name in names if not getattr(found[name], "ALONE", False)] if arguments.jobs > 1 else []
    results = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, (outcome, seconds) in zip(
            together, pool.map(lambda name: apart(name, arguments), together), strict=True
        ):
            results.append((name, outcome))
            show(name, found[name].TITLE, outcome, seconds, as_json=arguments.json)
    for name in (name for name in names if name not in together):
        outcome, seconds = run(name, found[name], full=arguments.full, seed=arguments.seed)
        results.append((name, outcome))
        show(name, found[name].TITLE, outcome, seconds, as_json=arguments.json)
    red = [name for name, outcome in results if outcome.through]
    if not arguments.json:
        tried = sum(outcome.tried for _, outcome in results)
        skipped = [name for name, outcome in results if outcome.skipped]
        print(f"\n{tried} attempts in {len(results)} proofs; what got through: {', '.join(red) or 'nothing'}", end="")
        print(f"; not run: {', '.join(skipped)}" if skipped else "")
    return 1 if red else 0


def apart(name: str, arguments: argparse.Namespace) -> tuple[Outcome, float]:
    """In a process of its own."""
    command = [sys.executable, str(HERE / "prove.py"), "--json", "--seed", str(arguments.seed), "--only", name]
    done = subprocess.run(command + ["--full"] * arguments.full, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        return Outcome(through=[f"the proof itself broke: {done.stderr[-2000:]}"]), 0.0
    seconds = told["seconds"]
    return Outcome(**{item.name: told[item.name] for item in fields(Outcome)}), seconds


def run(name: str, proof: ModuleType, *, full: bool, seed: int) -> tuple[Outcome, float]:
    started = time.monotonic()

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{name} {text}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix=f"proof-{name.lower()}-") as directory:
        say(proof.TITLE)
        try:
            outcome = asyncio.run(proof.run(Effort(full, seed, Path(directory), say)))
        except Exception as error:  # noqa: BLE001  a proof that breaks proves nothing
            traceback.print_exc()
            outcome = Outcome(what=proof.TITLE, through=[f"the proof itself broke: {error!r}"])
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return outcome, time.monotonic() - started


def show(name: str, title: str, outcome: Outcome, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"id": name, "title": title, "seconds": round(seconds, 1)} | asdict(outcome)), flush=True)
        return
    state = "RED" if outcome.through else "not run" if outcome.skipped else "green"
    figures = ", ".join(f"{key} {value}" for key, value in outcome.figures.items())
    print(f"{name:<4}{state:<8}{seconds:>5.0f} s  {outcome.tried:>8}  {outcome.what or title}", flush=True)
    for text in filter(None, (outcome.skipped, figures)):
        print(f"{'':27}{text}")
    for sentence in outcome.through[:10]:
        print(f"{'':27}got through: {sentence}")
    if len(outcome.through) > 10:
        print(f"{'':27}... and {len(outcome.through) - 10} more")


if __name__ == "__main__":
    sys.exit(main())
