"""identify, phones: what phones say of themselves, and those that nobody knows"""

import argparse
from typing import Any

from sqlalchemy import Connection

from provisioning import vendors
from provisioning.commands.output import common, load_beside, say, table
from provisioning.commands.output import show as show_one
from provisioning.commands.work import Work, mac_given
from provisioning.domain.errors import Refused
from provisioning.domain.identification import Identifier, Identity
from provisioning.domain.mac import spelled
from provisioning.management import changes, choosing, views
from provisioning.management.snapshots import Subject
from provisioning.store import unknown
from provisioning.store.phones import StoredPhone

_ALL = unknown.MOST


def add(commands: Any) -> None:
    identify = commands.add_parser(
        "identify",
        help="what a phone's User-Agent and path say it is; exit code 1 if nothing",
        description="Reads them as the server does, by the vendors' folders alone: no database is needed.",
    )
    common(identify)
    identify.add_argument("--user-agent", default="", metavar="TEXT")
    identify.add_argument("--path", default="", help="what it asked for, such as /001565a1b2c3.cfg")
    identify.set_defaults(run=run_identify)

    group = commands.add_parser("phones", help="phones that asked and are nobody's").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    listing = group.add_parser("unknown", help="the trace of them")
    common(listing)
    listing.set_defaults(run=list_unknown)
    adopting = group.add_parser("adopt", help="make one a phone; prints its provisioning URL")
    common(adopting)
    adopting.add_argument("mac", metavar="MAC")
    adopting.add_argument("--account", required=True)
    adopting.add_argument("--model", help="(default: what it says it is)")
    adopting.add_argument("--main-line", metavar="LINE")
    adopting.set_defaults(run=adopt)
    forgetting = group.add_parser("forget", help="drop one from the trace, until it asks again")
    common(forgetting)
    forgetting.add_argument("mac", metavar="MAC")
    forgetting.set_defaults(run=forget)


def run_identify(arguments: argparse.Namespace) -> int:
    config = load_beside(arguments)
    identifier = Identifier(vendors.load_catalogue(config.paths.templates, config.models.by_model))
    found = identifier.identify(agent=arguments.user_agent, path=arguments.path)
    show_one(arguments, found)
    return 1 if found == Identity() else 0


async def list_unknown(arguments: argparse.Namespace) -> int:
    found = await Work(arguments).read(lambda c: unknown.page(c, after="", limit=_ALL))
    columns = ("mac", "vendor", "model", "firmware", "document", "public_ip", "last_seen")
    return table(arguments, [views.unknown(one) for one in found], columns)


async def adopt(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    work.site()

    def change(connection: Connection) -> tuple[StoredPhone, str]:
        seen = unknown.find(connection, mac)
        if seen is None:
            raise choosing.missing(mac)
        model = arguments.model or seen.model
        if model is None:
            raise Refused("model-unknown", f"The phone {spelled(mac)} does not say what it is; give --model.")
        return changes.new_phone(
            connection,
            work.terms,
            mac=mac,
            model=model,
            account=arguments.account,
            serial=None,
            main_line=arguments.main_line,
        )

    stored, secret = await work.change("create", Subject("phone", mac), change, masked=("provisioning_url",))
    made = views.phone(stored)
    made.provisioning_url = work.provisioning_url(stored.phone.model, mac, secret)
    return show_one(arguments, made)


async def forget(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)

    def change(connection: Connection) -> None:
        if not unknown.forget(connection, mac):
            raise choosing.missing(mac)

    await work.change("forget", Subject("unknown-phone", mac), change)
    return say(arguments, f"The phone {spelled(mac)} is forgotten, until it asks again.", forgotten=mac)
