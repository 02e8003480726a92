"""account, line, phone, model, token"""

import argparse
import getpass
import re
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
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
from provisioning.management.snapshots import Subject
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
    making.add_argument(
        "--scope",
        choices=tokens.SCOPES,
        default="admin",
        help="read: look only; operate: also attach, detach, resync and the like; admin: everything (default)",
    )
    making.add_argument("--expires", metavar="WHEN", help="30d, 12h or 2030-12-31 (default: never)")
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
    made = await work.change(
        "create",
        Subject("account", name),
        lambda c: changes.new_account(c, work.terms, name, arguments.name or ""),
    )
    return show(arguments, views.account(made))


async def show_account(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    return show(
        arguments,
        views.account(await work.read(lambda c: changes.find_account(c, work.terms, arguments.account))),
    )


async def remove_account(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    about = Subject("account", arguments.account)
    await work.change("remove", about, lambda c: changes.remove_account(c, work.terms, arguments.account))
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
    about = Subject("line", line.name)
    made = await work.change("create", about, lambda c: changes.new_line(c, work.terms, line), masked=("password",))
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
    made = await work.change(
        "change",
        Subject("line", arguments.line),
        lambda c: changes.change_line(c, work.terms, arguments.line, changed),
        masked={"password"} & set(changed),
    )
    _show_random(arguments, password)
    return show(arguments, views.line(made))


def _show_random(arguments: argparse.Namespace, password: str | None) -> None:
    if arguments.password == "random":  # noqa: S105  the option's value
        print(f"The password, shown this once: {password}", file=sys.stderr)


async def remove_line(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    about = Subject("line", arguments.line)
    await work.change("remove", about, lambda c: changes.remove_line(c, work.terms, arguments.line))
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
    stored, secret = await work.change(
        "create",
        Subject("phone", mac),
        lambda c: changes.new_phone(
            c,
            work.terms,
            mac=mac,
            model=arguments.model,
            account=arguments.account,
            serial=arguments.serial,
            main_line=arguments.main_line,
        ),
        masked=("provisioning_url",),
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
    masked = ("provisioning_url",) if "account" in changed else ()
    stored, secret = await work.change(
        "change", Subject("phone", mac), lambda c: changes.change_phone(c, work.terms, mac, changed), masked
    )
    shown = views.phone(stored)
    if secret is not None:
        shown.provisioning_url = work.provisioning_url(stored.phone.model, mac, secret)
    return show(arguments, shown)


async def remove_phone(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    await work.change("remove", Subject("phone", mac), lambda c: changes.remove_phone(c, work.terms, mac))
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
    columns = ("model", "vendor_name", "family", "name", "slots", "keys", "capabilities", "confidence")
    return table(arguments, views.models(Work(arguments).vendors.catalogue), columns)


def show_model(arguments: argparse.Namespace) -> int:
    catalogue = Work(arguments).vendors.catalogue
    return show(arguments, views.model(catalogue, catalogue.model(arguments.model)))


async def list_tokens(arguments: argparse.Namespace) -> int:
    found = await Work(arguments).read(tokens.all_tokens)
    columns = ("id", "name", "scope", "account", "created_at", "expires_at", "used_at", "used_from")
    return table(arguments, [views.token(stored) for stored in found], columns)


async def add_token(arguments: argparse.Namespace) -> int:
    work, now, token_id = Work(arguments), time.time(), tokens.new_id()
    line_rules.check_text("name", arguments.name, 100)
    expires_at = None if arguments.expires is None else _until(arguments.expires, now)

    def make(connection: Connection) -> bodies.Token:
        owner = _account_id(connection, work, arguments.account)
        _, text = tokens.add(connection, arguments.name, owner, now, arguments.scope, expires_at, token_id)
        made = views.token(tokens.get(connection, token_id))
        made.token = text
        return made

    return show(arguments, await work.change("create", Subject("token", token_id), make, masked=("token",)))


def _until(text: str, now: float) -> float:
    """30d, 12h, or a day in UTC, which still counts."""
    span = re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text)
    if span is not None:
        return tokens.check_expiry(now + int(span[1]) * (86400 if span[2] == "d" else 3600), now)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("invalid-value", f"--expires is like 30d, 12h or 2030-12-31, not {text!r}.") from None
    return tokens.check_expiry(day.timestamp() + 86400, now)


async def remove_token(arguments: argparse.Namespace) -> int:
    def remove(connection: Connection) -> None:
        if not tokens.remove(connection, arguments.id):
            raise Refused("token-not-found", f"There is no token {arguments.id}; `provisioning token list` shows all.")

    await Work(arguments).change("remove", Subject("token", arguments.id), remove)
    return say(arguments, f"The token {arguments.id} is refused from now on.", removed=arguments.id)
