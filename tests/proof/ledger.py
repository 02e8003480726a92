"""What the database really holds, read past the server, and what must hold of it at any moment."""

import json
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from provisioning import vendors
from provisioning.config import Config

# Each of these is an operation, and told in the phone's story with it.
_TOLD = ("attach", "detach", "promote", "resync", "reboot", "reset", "update")


@dataclass
class Ledger:
    held: dict[str, dict[int, str]] = field(default_factory=dict)
    "MAC → slot → line."
    lines: set[str] = field(default_factory=set)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, float | None] = field(default_factory=dict)
    "MAC → when it last fetched."
    wrong: list[str] = field(default_factory=list)
    "What can only be so after half a change."

    def phone_of(self, line: str) -> str | None:
        return next((mac for mac, slots in self.held.items() if line in slots.values()), None)

    @property
    def untold(self) -> list[str]:
        """Operations that are neither tried nor fetched: what the outbox still owes."""
        return [
            name
            for name, row in self.operations.items()
            if not row["attempts"] and row["fetched_at"] is None and row["untold"] is None
        ]


@cache
def slots_of_models() -> dict[str, int]:
    paths = Config().paths
    models = vendors.load(paths.templates, paths.firmware).catalogue.models
    return {name: model.slots for name, model in models.items()}


def read(path: Path, account: str | None = None, *, thorough: bool = True) -> Ledger:
    """`account`: only what is its own. `thorough`: the pages and keys of the file too."""
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("BEGIN")
        return _read(connection, account, thorough)
    finally:
        connection.close()


def _read(connection: sqlite3.Connection, account: str | None, thorough: bool) -> Ledger:
    its = Ledger()
    if thorough:
        for (told,) in connection.execute("PRAGMA integrity_check(3)"):
            if told != "ok":
                its.wrong.append(f"integrity_check: {told}")
        its.wrong += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
    own, given = (
        ("", ()) if account is None else (" JOIN accounts a ON a.id = account_id WHERE a.account = ?", (account,))
    )
    phones = connection.execute(
        f"SELECT phones.id, mac, model, revision, fetched_revision, seen_at FROM phones{own}", given
    )
    phones = {row["id"]: row for row in phones.fetchall()}
    its.lines = {row[0] for row in connection.execute(f"SELECT line FROM lines{own}", given)}
    its.seen = {row["mac"]: row["seen_at"] for row in phones.values()}
    # The account's own are few among those of many.
    of = "" if account is None else f" WHERE phone_id IN ({', '.join(map(str, phones))})"
    slots: dict[int, dict[int, str | None]] = defaultdict(dict)
    for phone, slot, line in connection.execute(
        f"SELECT phone_id, slot, line FROM slots LEFT JOIN lines ON lines.id = line_id{of}"
    ):
        slots[phone][slot] = line
    operations = defaultdict(list)
    query = f"SELECT operations.* FROM operations{own} ORDER BY revision, operations.id"
    for row in connection.execute(query, given):
        its.operations[row["id"]] = dict(row)
        operations[row["phone_id"]].append(row)
    stories = defaultdict(list)
    for phone, kind, detail in connection.execute(f"SELECT phone_id, kind, detail FROM events{of} ORDER BY id"):
        stories[phone].append((kind, json.loads(detail)))
    for number, phone in phones.items():
        mac = phone["mac"]
        its.held[mac] = {slot: line for slot, line in slots[number].items() if line is not None}
        its.wrong += [f"{mac}: {told}" for told in _wrong(phone, slots[number], operations[number], stories[number])]
    for line, times in Counter(line for held in its.held.values() for line in held.values()).items():
        if times > 1:
            its.wrong.append(f"the line {line} is in {times} slots")
    return its


def _wrong(
    phone: sqlite3.Row, slots: dict[int, str | None], operations: list[sqlite3.Row], story: list[tuple[str, Any]]
) -> list[str]:
    """A change is slot, revision, operation and event together, or nothing of it."""
    wrong = []
    wanted = slots_of_models()[phone["model"]]
    if sorted(slots) != list(range(1, wanted + 1)):
        wrong.append(f"has slots {sorted(slots)}, its model has {wanted}")
    changed = sum(kind == "changed" for kind, _ in story)
    if not changed and [row["revision"] for row in operations] != list(range(2, phone["revision"] + 1)):
        wrong.append(f"revision {phone['revision']}, but operations of {[row['revision'] for row in operations]}")
    if phone["fetched_revision"] > phone["revision"]:
        wrong.append(f"fetched the revision {phone['fetched_revision']} of {phone['revision']}")
    replayed: dict[int, str] = {}
    told = []
    for index, (kind, detail) in enumerate(story):
        line, slot = detail.get("line"), detail.get("slot")
        if kind in _TOLD and not (kind == "attach" and index == 1):
            told.append((kind, line, slot))
        if kind == "attach":
            if slot in replayed:
                wrong.append(f"the story attaches {line} to slot {slot}, which holds {replayed[slot]}")
            replayed[slot] = line
        elif kind == "detach" and replayed.pop(slot, None) != line:
            wrong.append(f"the story detaches {line} from slot {slot}, which does not hold it")
        elif kind == "promote":
            before = next((number for number, its in replayed.items() if its == line), None)
            main = replayed.pop(1, None)
            replayed.pop(before, None)
            replayed[1] = line
            if main is not None:
                replayed[before] = main
    if replayed != {slot: line for slot, line in slots.items() if line is not None}:
        wrong.append(f"its story ends with {replayed}, its slots hold {slots}")
    noted = [(row["kind"], row["line"], row["slot"]) for row in operations]
    # A main line that came with the phone is an event without an operation, the second of its story.
    if story[1:2] and story[1][0] == "attach" and len(noted) > len(told):
        told.insert(0, ("attach", story[1][1].get("line"), story[1][1].get("slot")))
    if noted != told:
        wrong.append(f"its operations are {noted[-3:]}, its story tells {told[-3:]} ({len(noted)} and {len(told)})")
    return wrong
