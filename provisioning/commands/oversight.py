"""audit, alarms: what an operator should be able to look up"""

import argparse
from typing import Any

from sqlalchemy import Connection

from provisioning.commands.output import common, load_beside, say, table
from provisioning.domain.errors import Refused
from provisioning.management import views
from provisioning.store import alarms, audit
from provisioning.store.audit import Verdict
from provisioning.store.database import Database, check_schema

_MOST = 1000


def add(commands: Any) -> None:
    group = commands.add_parser("audit", help="who changed what, from where").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    listing = group.add_parser("list", help="the newest first")
    common(listing)
    listing.add_argument("--subject", help="what was changed, such as `line line-1` or `phone 001565aabbcc`")
    listing.set_defaults(run=run_list)
    verify = group.add_parser(
        "verify",
        help="follow the chain of hashes; exit code 1 if it is broken",
        description="Each row's hash covers the row before, so whatever is altered or taken out in between shows. "
        "That rows at the end are missing shows only against a head that was noted before: keep what this prints.",
    )
    common(verify)
    verify.add_argument("--head", type=_head, metavar="HEX", help="a head that was noted before, and must be there")
    verify.set_defaults(run=run_verify)

    warnings = commands.add_parser("alarms", help="what an operator should look at, the newest first")
    common(warnings)
    warnings.set_defaults(run=run_alarms)


def _head(text: str) -> bytes:
    head = bytes.fromhex(text)
    if len(head) != len(audit.START):
        raise ValueError
    return head


async def run_list(arguments: argparse.Namespace) -> int:
    def look(connection: Connection) -> list[audit.Entry]:
        return audit.page(connection, subject=arguments.subject, before=None, limit=_MOST)

    found = await _read(arguments, look)
    columns = ("id", "at", "who", "address", "action", "subject")
    return table(arguments, [views.audit_entry(entry) for entry in found], columns)


async def run_verify(arguments: argparse.Namespace) -> int:
    its: Verdict = await _read(arguments, lambda connection: audit.verified(connection, arguments.head))
    head = its.head.hex()
    if its.broken is not None:
        raise Refused(
            "audit-broken",
            f"row {its.broken} is not what was written there, or a row before it is missing.",
            rows=its.rows,
            head=head,
            broken=its.broken,
        )
    if not its.passed:
        raise Refused(
            "audit-head-missing",
            "the chain is whole, but the head that was noted is not in it: rows at its end were taken away.",
            rows=its.rows,
            head=head,
        )
    return say(arguments, f"{its.rows} rows, none altered. Head: {head}", ok=True, rows=its.rows, head=head)


async def run_alarms(arguments: argparse.Namespace) -> int:
    found = await _read(arguments, lambda connection: alarms.page(connection, before=None, limit=_MOST))
    return table(arguments, [views.alarm(alarm) for alarm in found], ("at", "kind", "mac", "detail"))


async def _read(arguments: argparse.Namespace, look: Any) -> Any:
    """Of the database alone: the log is followed also where the rest of an installation is gone."""
    config = load_beside(arguments)
    check_schema(config.database_path)
    database = Database(config.database_path)
    try:
        return await database.read(look)
    finally:
        await database.close()
