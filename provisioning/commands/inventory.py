"""account, line, phone, model, token"""

import argparse
import getpass
import os
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from provisioning.commands.output import common, say, show, table
from provisioning.commands.work import Work, mac_given
from provisioning.domain import line as line_rules
from provisioning.domain.errors import Refused
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac, spelled
from provisioning.domain.phone import rfc3339
from provisioning.management import bodies, changes, views
from provisioning.store import accounts, lines, phones, tokens

_ALL = 1_000_000


def add(commands: Any) -> None:
    account = _group(commands, "account", "the operator's customers")
    _command(account, "list", "all of them", list_accounts)
    _command(account, "add", "make one", add_account, "account", options=("name",))
    _command(account, "show", "one of them", show_account, "account")
    _command(account, "remove", "once it owns nothing", remove_account, "account")

    line = _group(commands, "line", "SIP lines")
    _command(line, "list", "all of them, or an account's", list_lines, options=("account",))
    adding = _command(
        line, "add", "make one", add_line, options=("line", "display_name", "outbound_proxy", "transport")
    )
    for name in ("account", "number", "username", "domain"):
        adding.add_argument(f"--{name}", required=True)
    _password(adding)
    _command(line, "show", "with its phone and slot", show_line, "line")
    changing = _command(
        line,
        "change",
        "its phone is told",
        change_line,
        "line",
        options=("number", "username", "domain", "display_name", "outbound_proxy", "transport"),
    )
    _password(changing)
    _command(line, "remove", "once it is on no phone", remove_line, "line")

    phone = _group(commands, "phone", "physical phones")
    _command(phone, "list", "all of them, or an account's", list_phones, options=("account",))
    new = _command(phone, "add", "make one; prints its provisioning URL", add_phone, "mac")
    for name in ("model", "account"):
        new.add_argument(f"--{name}", required=True)
    for name in ("serial", "main-line"):
        new.add_argument(f"--{name}")
    _command(phone, "show", "with its slots", show_phone, "mac")
    _command(
        phone, "change", "another model, account or serial", change_phone, "mac", options=("model", "account", "serial")
    )
    _command(phone, "remove", "once it holds no line", remove_phone, "mac")
    _command(phone, "documents", "what it asks for", phone_documents, "mac")
    _command(phone, "events", "its story, the newest first", phone_events, "mac")

    model = _group(commands, "model", "what phones exist")
    _command(model, "list", "all of them", list_models)
    _command(model, "show", "one of them", show_model, "model")

    token = _group(commands, "token", "tokens for the management API")
    _command(token, "list", "all of them", list_tokens)
    making = _command(token, "add", "make one; it is shown this once", add_token, "name")
    making.add_argument("--account", help="for this account only (default: an operator's, for all)")
    _command(token, "remove", "it is refused from now on", remove_token, "id")


def _group(commands: Any, name: str, what: str) -> Any:
    return commands.add_parser(name, help=what).add_subparsers(title="commands", metavar="COMMAND", required=True)


def _command(
    group: Any, name: str, what: str, run: Callable[..., Any], *positional: str, options: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=what)
    common(parser)
    for argument in positional:
        parser.add_argument(argument, metavar=argument.upper())
    for option in options:
        parser.add_argument(f"--{option.replace('_', '-')}", dest=option)
    parser.set_defaults(run=run)
    return parser


def _password(parser: argparse.ArgumentParser) -> None:
    # Never as an argument: those are in everybody's process list.
    parser.add_argument(
        "--password",
        choices=("ask", "stdin", "random"),
        help="where the password comes from; `random` makes one and prints it",
    )


def _given_password(arguments: argparse.Namespace) -> str | None:
    match arguments.password:
        case "ask":
            return getpass.getpass("SIP password: ")
        case "stdin":
            return sys.stdin.readline().rstrip("\n")
        case "random":
            return secrets.token_urlsafe(18)
    return None


async def list_accounts(arguments: argparse.Namespace) -> int:
    found = await Work(arguments).read(lambda c: accounts.page(c, only=None, after="", limit=_ALL))
    return table(arguments, [views.account(stored) for stored in found], ("account", "name", "created_at"))


async def add_account(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    name = line_rules.check_name("account", arguments.account)
    made = await work.write(lambda c: changes.new_account(c, work.terms, name, arguments.name or ""))
    return show(arguments, views.account(made))


async def show_account(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    return show(
        arguments,
        views.account(await work.read(lambda c: changes.find_account(c, work.terms, arguments.account))),
    )


async def remove_account(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    await work.write(lambda c: changes.remove_account(c, work.terms, arguments.account))
    return say(arguments, f"The account {arguments.account} is gone.", removed=arguments.account)


def _account_id(connection: Connection, work: Work, account: str | None) -> int | None:
    return None if account is None else changes.find_account(connection, work.terms, account).id


async def list_lines(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    found = await work.read(
        lambda c: lines.page(c, account_id=_account_id(c, work, arguments.account), after="", limit=_ALL)
    )
    columns = ("line", "account", "number", "username", "domain", "display_name", "phone", "slot")
    return table(arguments, [views.line(stored) for stored in found], columns)


async def add_line(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    arguments.password = arguments.password or "random"
    password = _given_password(arguments) or ""
    line = line_rules.check(
        Line(
            name=arguments.line or f"line-{secrets.token_hex(4)}",
            account=arguments.account,
            number=arguments.number,
            username=arguments.username,
            password=password,
            domain=arguments.domain,
            display_name=arguments.display_name or "",
            outbound_proxy=arguments.outbound_proxy or "",
            transport=arguments.transport or "udp",
        )
    )
    made = await work.write(lambda c: changes.new_line(c, work.terms, line))
    _show_random(arguments, password)
    return show(arguments, views.line(made))


async def show_line(arguments: argparse.Namespace) -> int:
    found = await Work(arguments).read(lambda c: lines.find(c, arguments.line))
    if found is None:
        raise Refused("line-not-found", f"There is no line {arguments.line}.")
    return show(arguments, views.line(found))


async def change_line(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    fields = ("number", "username", "domain", "display_name", "outbound_proxy", "transport")
    changed = {name: getattr(arguments, name) for name in fields if getattr(arguments, name) is not None}
    password = _given_password(arguments)
    if password is not None:
        changed["password"] = password
    made = await work.write(lambda c: changes.change_line(c, work.terms, arguments.line, changed))
    _show_random(arguments, password)
    return show(arguments, views.line(made))


def _show_random(arguments: argparse.Namespace, password: str | None) -> None:
    if arguments.password == "random":  # noqa: S105  the option's value
        print(f"The password, shown this once: {password}", file=sys.stderr)


async def remove_line(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    await work.write(lambda c: changes.remove_line(c, work.terms, arguments.line))
    return say(arguments, f"The line {arguments.line} is gone.", removed=arguments.line)


async def list_phones(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    found = await work.read(
        lambda c: phones.page(c, account_id=_account_id(c, work, arguments.account), after="", limit=_ALL)
    )
    columns = ("mac", "model", "account", "slots", "slots_free", "public_ip", "last_seen")
    return table(arguments, [views.phone(stored) for stored in found], columns)


async def add_phone(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    work.site()
    stored, secret = await work.write(
        lambda c: changes.new_phone(
            c,
            work.terms,
            mac=mac,
            model=arguments.model,
            account=arguments.account,
            serial=arguments.serial,
            main_line=arguments.main_line,
        )
    )
    made = views.phone(stored)
    made.provisioning_url = work.provisioning_url(stored.phone.model, mac, secret)
    return show(arguments, made)


async def _phone(work: Work, mac: Mac) -> phones.StoredPhone:
    found = await work.read(lambda c: phones.find(c, mac))
    if found is None:
        raise Refused("phone-not-found", f"There is no phone {spelled(mac)}.")
    return found


async def show_phone(arguments: argparse.Namespace) -> int:
    return show(arguments, views.phone(await _phone(Work(arguments), mac_given(arguments.mac))))


async def change_phone(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    fields = ("model", "account", "serial")
    changed = {name: getattr(arguments, name) for name in fields if getattr(arguments, name) is not None}
    return show(arguments, views.phone(await work.write(lambda c: changes.change_phone(c, work.terms, mac, changed))))


async def remove_phone(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    await work.write(lambda c: changes.remove_phone(c, work.terms, mac))
    return say(arguments, f"The phone {spelled(mac)} is gone.", removed=mac)


async def phone_documents(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    model = work.vendors.catalogue.model((await _phone(work, mac)).phone.model)
    items = [
        bodies.Document(document.name_for(mac), document.name_for(mac), document.content_type, document.stage)
        for document in model.documents.values()
    ]
    return table(arguments, items, ("name", "content_type", "stage"))


async def phone_events(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    stored = await _phone(work, mac_given(arguments.mac))
    found = await work.read(lambda c: phones.story(c, stored.id, before=None, limit=1000))
    items = [bodies.Event(event_id, rfc3339(at), kind, detail) for event_id, at, kind, detail in found]
    return table(arguments, items, ("at", "kind", "detail"))


def list_models(arguments: argparse.Namespace) -> int:
    known = Work(arguments).vendors.catalogue.models.values()
    columns = ("model", "vendor_name", "name", "slots", "keys", "capabilities", "confidence")
    return table(arguments, [views.model(model) for model in known], columns)


def show_model(arguments: argparse.Namespace) -> int:
    return show(arguments, views.model(Work(arguments).vendors.catalogue.model(arguments.model)))


async def list_tokens(arguments: argparse.Namespace) -> int:
    found = await Work(arguments).read(tokens.all_tokens)
    items = [
        {"id": its.id, "name": its.name, "account": its.account, "created_at": rfc3339(its.created_at)} for its in found
    ]
    return table(arguments, items, ("id", "name", "account", "created_at"))


async def add_token(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    line_rules.check_text("name", arguments.name, 100)

    def make(connection: Connection) -> tuple[str, str]:
        return tokens.add(connection, arguments.name, _account_id(connection, work, arguments.account), time.time())

    token_id, token = await work.write(make)
    return show(arguments, {"id": token_id, "name": arguments.name, "account": arguments.account, "token": token})


async def remove_token(arguments: argparse.Namespace) -> int:
    removed = await Work(arguments).write(lambda c: tokens.remove(c, arguments.id))
    if not removed:
        raise Refused("token-not-found", f"There is no token {arguments.id}; `provisioning token list` shows all.")
    say(arguments, f"The token {arguments.id} is refused from now on.", removed=arguments.id)
    return os.EX_OK
