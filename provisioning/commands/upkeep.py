"""key: the key that seals stored secrets"""

import argparse
import sys
import time
from typing import Any

from sqlalchemy import Connection

from provisioning.commands.output import common, load_beside, say
from provisioning.domain.errors import Fault
from provisioning.store import audit, rotation
from provisioning.store.database import Database, check_schema
from provisioning.store.secrets import KeyRing, add_key, keep_only


def add(commands: Any) -> None:
    group = commands.add_parser("key", help="the key that seals stored secrets").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    rotate = group.add_parser(
        "rotate",
        help="make a new key and seal every secret with it",
        description="Running servers go on: they read the key file again when they meet the new key. The old keys "
        "are kept for what such a server seals meanwhile; `key prune` drops those that nothing uses.",
    )
    common(rotate)
    rotate.set_defaults(run=run_rotate)
    prune = group.add_parser("prune", help="drop the keys that nothing uses any more")
    common(prune)
    prune.set_defaults(run=run_prune)


async def run_rotate(arguments: argparse.Namespace) -> int:
    config = load_beside(arguments)
    check_schema(config.database_path)
    before = KeyRing(config.key_file).current
    add_key(config.key_file)
    keys, database, done = KeyRing(config.key_file), Database(config.database_path), 0
    try:
        await database.write(_record, "rotate", {"key": before}, {"key": keys.current})
        while batch := await database.write(rotation.sealed, keys):
            done += batch
            print(f"\r{done} secrets sealed anew", end="", file=sys.stderr, flush=True)
    finally:
        await database.close()
    if done:
        print(file=sys.stderr)
    return say(arguments, f"The key {keys.current} seals from now on.", key=keys.current, sealed=done)


async def run_prune(arguments: argparse.Namespace) -> int:
    config = load_beside(arguments)
    check_schema(config.database_path)
    keys, database = KeyRing(config.key_file), Database(config.database_path)
    try:
        while await database.write(rotation.sealed, keys):
            pass
        used = await database.read(rotation.keys_in_use)
        if used - {keys.current}:
            raise Fault(f"{config.key_file}: an older key is still in use; run `provisioning key prune` again")
        dropped = keep_only(config.key_file, {keys.current})
        if dropped:
            await database.write(_record, "prune", None, {"key": keys.current, "dropped": dropped})
    finally:
        await database.close()
    return say(arguments, f"{dropped} keys dropped.", dropped=dropped)


def _record(connection: Connection, verb: str, before: object, after: object) -> None:
    """The key file is no part of a transaction: its change is recorded right behind it."""
    audit.recorded(connection, audit.command_line(), time.time(), f"key.{verb}", "key", before, after)
