"""ship, return, reset, secret, door, code, password: a phone between its order and its return"""

import argparse
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from provisioning.commands.changes import follow, following
from provisioning.commands.output import common, say, show
from provisioning.commands.work import Work, mac_given
from provisioning.domain.address import Address
from provisioning.domain.errors import Refused
from provisioning.domain.mac import Mac, spelled
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies, changes, life, views
from provisioning.management.snapshots import Subject
from provisioning.store.fetch import PhoneReader
from provisioning.store.operations import Operation


def add(commands: Any) -> None:
    ship = commands.add_parser("ship", help="arm a phone with a one-time URL, for a redirect service or staging")
    ship.add_argument("mac", metavar="MAC")
    common(ship)
    ship.set_defaults(run=run_ship)

    give_back = commands.add_parser("return", help="take a phone back: no line, and nothing it knows is worth anything")
    give_back.add_argument("mac", metavar="MAC")
    following(give_back, run_return)

    reset = commands.add_parser("reset", help="give a phone a new secret and open a door for it")
    reset.add_argument("mac", metavar="MAC")
    reset.add_argument("--public-ip", required=True, help="where the phone is now")
    following(reset, run_reset)

    secret = commands.add_parser(
        "secret", help="give a phone a new secret; until it shows that, the old one is good too"
    )
    secret.add_argument("mac", metavar="MAC")
    following(secret, run_secret)

    door = commands.add_parser("door", help="let a phone fetch its lines from an address, once, for a while")
    door.add_argument("mac", metavar="MAC")
    which = door.add_mutually_exclusive_group(required=True)
    which.add_argument("--public-ip", help="where the phone is now")
    which.add_argument("--close", action="store_true", help="close the one that is open")
    common(door)
    door.set_defaults(run=run_door)

    code = commands.add_parser("code", help="make an activation code, to be typed on the phone")
    code.add_argument("mac", metavar="MAC")
    common(code)
    code.set_defaults(run=run_code)

    password = commands.add_parser("password", help="how to get into a phone's own menus and web page")
    password.add_argument("mac", metavar="MAC")
    common(password)
    password.set_defaults(run=run_password)


async def run_ship(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    work.site()
    terms = work.terms
    stored, token = await work.change("ship", _about(mac), lambda c: life.ship(c, terms, mac), ("bootstrap_url",))
    url = work.provisioning_url(stored.phone.model, mac, token)
    return show(arguments, bodies.Shipped(views.phone(stored), url, rfc3339(terms.now + terms.bootstrap)))


async def run_return(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    return await follow(arguments, work, "give_back", _about(mac), lambda c: life.give_back(c, work.terms, mac))


async def run_reset(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    public_ip = _address(work, arguments)
    return await _with_new_url(arguments, work, "reset", mac, lambda c: life.reset(c, work.terms, mac, public_ip))


async def run_secret(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    return await _with_new_url(arguments, work, "new_secret", mac, lambda c: life.new_secret(c, work.terms, mac))


async def run_door(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    if arguments.close:
        await work.change("close_door", _about(mac), lambda c: life.close_door(c, work.terms, mac))
        return say(arguments, f"No door is open for the phone {spelled(mac)} any more.", closed=mac)
    public_ip = _address(work, arguments)
    stored = await work.change("open_door", _about(mac), lambda c: life.open_door(c, work.terms, mac, public_ip))
    return show(arguments, views.phone(stored))


async def run_code(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    terms = work.terms
    code = await work.change("new_code", _about(mac), lambda c: life.new_code(c, terms, mac), ("code",))
    return show(arguments, bodies.ActivationCode(code, rfc3339(terms.now + terms.code)))


async def run_password(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    stored = await work.read(lambda c: changes.find_phone(c, work.terms, mac))
    reader = PhoneReader(work.config.database_path, work.keys)
    try:
        secret = reader.secret(stored.id, mac)
    finally:
        reader.close()
    return show(arguments, views.passwords(secret, work.vendors.catalogue.model(stored.phone.model).family))


async def _with_new_url(
    arguments: argparse.Namespace,
    work: Work,
    verb: str,
    mac: Mac,
    change: Callable[[Connection], tuple[Operation, str]],
) -> int:
    work.site()
    url = ""

    def changed(connection: Connection) -> Operation:
        nonlocal url
        operation, secret = change(connection)
        url = work.provisioning_url(changes.phone_model(connection, work.terms, mac), mac, secret)
        return operation

    return await follow(arguments, work, verb, _about(mac), changed, lambda: url)


def _about(mac: Mac) -> Subject:
    return Subject("phone", mac)


def _address(work: Work, arguments: argparse.Namespace) -> Address:
    public_ip = work.asking(arguments.public_ip, None).public_ip
    if public_ip is None:
        raise Refused("public-ip-required", "Give the phone's current public IP.")
    return public_ip
