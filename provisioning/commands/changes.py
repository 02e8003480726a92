"""attach, detach, promote, resync, operations"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Connection

from provisioning.commands.output import common, show, table
from provisioning.commands.work import Work, mac_given
from provisioning.domain.errors import Refused
from provisioning.domain.operation import State
from provisioning.management import bodies, changes, views
from provisioning.management.snapshots import Subject
from provisioning.store import operations
from provisioning.store.operations import Operation


def add(commands: Any) -> None:
    attach = commands.add_parser("attach", help="put a line into a slot of a phone")
    attach.add_argument("line", metavar="LINE")
    _phone_options(attach)
    attach.add_argument("--slot", type=int, help="which slot (default: the lowest that is free)")
    following(attach, run_attach)

    detach = commands.add_parser("detach", help="take a line out of its phone")
    detach.add_argument("line", metavar="LINE")
    _phone_options(detach)
    detach.add_argument("--force", action="store_true", help="the main or the last line too")
    following(detach, run_detach)

    promote = commands.add_parser("promote", help="make one of a phone's lines its main line")
    promote.add_argument("mac", metavar="MAC")
    promote.add_argument("line", metavar="LINE")
    following(promote, run_promote)

    resync = commands.add_parser("resync", help="make a phone fetch its configuration now")
    resync.add_argument("mac", metavar="MAC")
    resync.add_argument("--reboot", action="store_true", help="and restart")
    following(resync, run_resync)

    group = commands.add_parser("operations", help="changes, and whether phones have them").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    listing = group.add_parser("list", help="the newest first")
    common(listing)
    listing.add_argument("--phone", metavar="MAC")
    listing.add_argument("--line")
    listing.add_argument("--state", choices=("todo", "doing", "done", "error"))
    listing.set_defaults(run=run_list)
    showing = group.add_parser("show", help="one of them")
    common(showing)
    showing.add_argument("id", metavar="ID")
    showing.add_argument("--wait", action="store_true", help="until it is done or in error")
    showing.set_defaults(run=run_show)


def _phone_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--public-ip", help="where the phone is now")
    parser.add_argument("--mac", help="which phone, where several are there")


def following(parser: argparse.ArgumentParser, run: Callable[..., Any]) -> None:
    common(parser)
    parser.add_argument("--wait", action="store_true", help="until the phone has it (exit code 1 if it has not)")
    parser.set_defaults(run=run)


async def run_attach(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    asking = work.asking(arguments.public_ip, arguments.mac)
    return await follow(
        arguments,
        work,
        "attach",
        Subject("line", arguments.line),
        lambda c: changes.attach(c, work.terms, arguments.line, asking, arguments.slot),
    )


async def run_detach(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    asking = work.asking(arguments.public_ip, arguments.mac)
    return await follow(
        arguments,
        work,
        "detach",
        Subject("line", arguments.line),
        lambda c: changes.detach(c, work.terms, arguments.line, asking, force=arguments.force),
    )


async def run_promote(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    about = Subject("phone", mac)
    return await follow(
        arguments, work, "promote", about, lambda c: changes.promote(c, work.terms, mac, arguments.line)
    )


async def run_resync(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    about = Subject("phone", mac)
    return await follow(
        arguments, work, "resync", about, lambda c: changes.resync(c, work.terms, mac, reboot=arguments.reboot)
    )


async def follow(
    arguments: argparse.Namespace,
    work: Work,
    verb: str,
    subject: Subject,
    change: Callable[[Connection], Operation],
    provisioning_url: Callable[[], str] | None = None,
) -> int:
    masked = () if provisioning_url is None else ("provisioning_url",)
    operation = await work.change(verb, subject, change, masked)
    if arguments.wait:
        operation = await _wait(work, operation.id)
    shown = views.operation(operation, time.time())
    if provisioning_url is not None:
        shown.provisioning_url = provisioning_url()
    return _exit_code(arguments, shown)


async def _wait(work: Work, operation_id: str) -> Operation:
    """Tells each state as it comes; a server must be running, for it is the one that tells the phone."""
    told = ""
    while True:
        found = await work.read(lambda c: operations.find(c, operation_id))
        if found is None:
            raise Refused("operation-not-found", f"There is no operation {operation_id}.")
        state = views.operation(found, time.time()).state
        if state != told:
            print(f"{state} ...", file=sys.stderr)
            told = state
        if state in ("done", "error"):
            return found
        await asyncio.sleep(0.25)


def _exit_code(arguments: argparse.Namespace, shown: bodies.Operation) -> int:
    show(arguments, shown)
    return 1 if arguments.wait and shown.state != "done" else 0


async def run_list(arguments: argparse.Namespace) -> int:
    now = time.time()
    mac = None if arguments.phone is None else mac_given(arguments.phone)
    found = await Work(arguments).read(
        lambda c: operations.page(
            c,
            account_id=None,
            mac=mac,
            line=arguments.line,
            state=cast("State | None", arguments.state),
            before=None,
            limit=1000,
            now=now,
        )
    )
    columns = ("id", "kind", "state", "line", "phone", "slot", "requested_at", "error")
    return table(arguments, [views.operation(stored, now) for stored in found], columns)


async def run_show(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    if arguments.wait:
        return _exit_code(arguments, views.operation(await _wait(work, arguments.id), time.time()))
    found = await work.read(lambda c: operations.find(c, arguments.id))
    if found is None:
        raise Refused("operation-not-found", f"There is no operation {arguments.id}.")
    return _exit_code(arguments, views.operation(found, time.time()))
