"""settings, keys, phonebook: what is chosen for phones"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from provisioning.commands.output import common, say, show, table
from provisioning.commands.work import Work, mac_given
from provisioning.domain import keys as key_rules
from provisioning.domain import phonebook_files, settings
from provisioning.domain.catalogue import KEY_TYPES
from provisioning.domain.contact import FIELDS, Contact
from provisioning.domain.errors import Fault, Refused
from provisioning.domain.keys import Key
from provisioning.domain.phonebook_files import Unreadable
from provisioning.domain.settings import Scope
from provisioning.management import bodies, choosing, views
from provisioning.management.snapshots import Subject
from provisioning.store.phonebooks import Owner

_ENDINGS = {".csv": "csv", ".vcf": "vcard", ".vcard": "vcard"}


def add(commands: Any) -> None:
    _add_settings(_group(commands, "settings", "what is chosen for all phones, a model, an account, a phone or a line"))
    _add_keys(_group(commands, "keys", "a phone's function keys"))
    _add_phonebook(_group(commands, "phonebook", "contacts of an account's phones, or of one phone"))


def _group(commands: Any, name: str, what: str) -> Any:
    return commands.add_parser(name, help=what).add_subparsers(title="commands", metavar="COMMAND", required=True)


def _command(group: Any, name: str, what: str, run: Callable[..., Any]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=what)
    common(parser)
    parser.set_defaults(run=run)
    return parser


# Settings


def _add_settings(group: Any) -> None:
    _whose(_command(group, "show", "each with its value, and whose choice that is", show_settings))
    changing = _command(group, "set", "phones are told; of an operator's or a model's at their next poll", set_settings)
    _whose(changing)
    changing.add_argument(
        "choices", metavar="NAME=VALUE", nargs="*", help="true or false, a number, text, or a list such as g722,pcma"
    )
    changing.add_argument(
        "--parameter", metavar="NAME=VALUE", action="append", default=[], help="one of the vendor's own, by its name"
    )
    changing.add_argument(
        "--unset", metavar="NAME", action="append", default=[], help="take a choice back; also a parameter's"
    )
    changing.add_argument("--auto-reboot", action="store_true", help="phones that can restart, and do not only fetch")


def _whose(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--operator", action="store_true", help="of all phones")
    for scope, metavar in (("model", "MODEL"), ("account", "ACCOUNT"), ("phone", "MAC"), ("line", "LINE")):
        which.add_argument(f"--{scope}", metavar=metavar)


def _named(work: Work, arguments: argparse.Namespace) -> tuple[Scope, str]:
    if arguments.model is not None:
        return "model", work.vendors.catalogue.model(arguments.model).id
    if arguments.account is not None:
        return "account", arguments.account
    if arguments.phone is not None:
        return "phone", mac_given(arguments.phone)
    return ("operator", "") if arguments.line is None else ("line", arguments.line)


def _settings_now(connection: Connection, work: Work, scope: Scope, name: str) -> bodies.Settings:
    terms = work.terms
    its = choosing.whose(connection, terms, scope, name)
    supported = None if its.model is None else terms.vendors.renderer.settings_of(its.model)
    return views.settings(choosing.read(connection, its, terms.below), supported, whole=True)


async def show_settings(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    scope, name = _named(work, arguments)
    return _print_settings(arguments, await work.read(lambda c: _settings_now(c, work, scope, name)))


async def set_settings(arguments: argparse.Namespace) -> int:
    work = Work(arguments)
    scope, name = _named(work, arguments)
    chosen: dict[str, object] = {}
    for setting, text in map(_pair, arguments.choices):
        chosen[setting] = _value(settings.find(setting, scope), text)
    parameters: dict[str, object] = dict(map(_pair, arguments.parameter))
    for gone in arguments.unset:
        (chosen if gone in settings.BY_NAME else parameters)[gone] = None
    if not chosen and not parameters:
        raise Refused("invalid-value", "Give a NAME=VALUE, a --parameter or an --unset.")

    def change(connection: Connection) -> bodies.Settings:
        told = choosing.change_settings(
            connection,
            work.terms,
            choosing.whose(connection, work.terms, scope, name),
            chosen,
            parameters,
            reboot=arguments.auto_reboot,
            operator=True,
        )
        now = _settings_now(connection, work, scope, name)
        now.operations = [operation.id for operation in told]
        return now

    changed = await work.change("change_settings", Subject("settings", f"{scope} {name}".strip()), change)
    return _print_settings(arguments, changed, only={*chosen, *parameters})


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Refused("invalid-value", f"{text!r} is not NAME=VALUE.")
    return name, value


def _value(setting: settings.Setting, text: str) -> object:
    """As JSON has it; what does not fit stays text, which the setting refuses."""
    if setting.kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if setting.kind == "number" and re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        return int(text)
    return text.split(",") if setting.kind == "choices" else text


def _print_settings(arguments: argparse.Namespace, found: bodies.Settings, only: set[str] | None = None) -> int:
    if arguments.json:
        return show(arguments, found)
    # What a phone has no such thing for is no choice of its operator's.
    shown: list[bodies.Setting | bodies.Parameter] = [its for its in found.settings if its.supported is not False]
    shown += found.parameters
    table(arguments, [its for its in shown if only is None or its.name in only], ("name", "value", "source"))
    for operation in found.operations or ():
        print(f"operation {operation}")
    return 0


# Function keys


def _add_keys(group: Any) -> None:
    _command(group, "show", "those that its configuration sets", show_keys).add_argument("mac", metavar="MAC")
    setting = _command(group, "set", "what one of them does", set_key)
    setting.add_argument("mac", metavar="MAC")
    setting.add_argument("key", metavar="KEY", help="5, or 1.5 for the fifth of the first expansion module")
    setting.add_argument("type", metavar="TYPE", help=", ".join(KEY_TYPES))
    setting.add_argument("--value", default="", help="a number, a slot or a URL, as the type needs it")
    setting.add_argument("--label", default="", help="what the phone shows beside it")
    copying = _command(group, "copy", "all of them, to other phones; exit code 1 if any of these cannot", copy_keys)
    copying.add_argument("mac", metavar="MAC")
    copying.add_argument("to", metavar="TO", nargs="+", help="MAC of a phone that is to have them")


def _print_keys(arguments: argparse.Namespace, found: bodies.Keys) -> int:
    if arguments.json:
        return show(arguments, found)
    return table(arguments, found.keys, ("key", "type", "value", "label", "line", "set"))


async def show_keys(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    return _print_keys(arguments, await work.read(lambda c: views.keys(*choosing.keys_of(c, work.terms, mac))))


async def set_key(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    module, number = key_rules.place(arguments.key)
    key = Key(module, number, arguments.type, arguments.value, arguments.label)

    def change(connection: Connection) -> bodies.Keys:
        operation = choosing.put_keys(connection, work.terms, mac, [key], reboot=False)
        now = views.keys(*choosing.keys_of(connection, work.terms, mac))
        now.operations = [operation.id]
        return now

    return _print_keys(arguments, await work.change("put_key", Subject("keys", mac), change))


async def copy_keys(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    targets = [mac_given(text) for text in arguments.to]
    done = await work.change(
        "copy_keys", Subject("keys", mac), lambda c: choosing.copy_keys(c, work.terms, mac, targets)
    )
    results = [views.copied(one) for one in done]
    if arguments.json:
        show(arguments, bodies.KeysCopied(results))
    else:
        for one in results:
            print(f"{one.phone}  {'copied' if one.reason is None else f'{one.reason.code}: {one.reason.detail}'}")
    return 0 if all(one.copied for one in results) else 1


# Phonebooks


def _add_phonebook(group: Any) -> None:
    _owner(_command(group, "list", "all of them", list_contacts))
    adding = _command(group, "add", "one more", add_contact)
    _owner(adding)
    for field in FIELDS:
        adding.add_argument(f"--{field}", default="")
    removing = _command(group, "remove", "one of them", remove_contact)
    _owner(removing)
    removing.add_argument("id", metavar="ID", type=int, help="as `phonebook list` shows it")
    taking = _command(group, "import", "all of a file, or nothing of it", import_contacts)
    _owner(taking)
    taking.add_argument("file", metavar="FILE", type=Path)
    taking.add_argument("--format", choices=phonebook_files.FORMATS, help="(default: by the file's ending)")
    taking.add_argument("--replace", action="store_true", help="instead of the contacts that there are")
    giving = _command(group, "export", "all of them, to the standard output", export_contacts)
    _owner(giving)
    giving.add_argument("--format", choices=phonebook_files.FORMATS, default="csv", help="(default: csv)")


def _owner(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--account", help="of all its phones")
    which.add_argument("--phone", metavar="MAC", help="of this phone alone")


class _Book:
    """One phonebook, as a command's options name it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.work = Work(arguments)
        self.scope = "account" if arguments.phone is None else "phone"
        self.name: str = arguments.account if arguments.phone is None else mac_given(arguments.phone)
        self.subject = Subject("phonebook", f"{self.scope} {self.name}")

    def of(self, connection: Connection) -> Owner:
        return choosing.owner(connection, self.work.terms, self.scope, self.name)

    async def contacts(self) -> list[bodies.Contact]:
        stored = await self.work.read(lambda c: choosing.contacts(c, self.of(c)))
        return [views.contact(one) for one in stored]


async def list_contacts(arguments: argparse.Namespace) -> int:
    return table(arguments, await _Book(arguments).contacts(), ("id", *FIELDS))


async def add_contact(arguments: argparse.Namespace) -> int:
    book = _Book(arguments)
    new = Contact(**{field: getattr(arguments, field) for field in FIELDS})
    (stored,) = await book.work.change("create", book.subject, lambda c: choosing.add_contacts(c, book.of(c), [new]))
    return show(arguments, views.contact(stored))


async def remove_contact(arguments: argparse.Namespace) -> int:
    book, number = _Book(arguments), arguments.id
    await book.work.change("remove", book.subject, lambda c: choosing.remove_contact(c, book.of(c), number))
    return say(arguments, f"The contact {number} is gone.", removed=number)


async def import_contacts(arguments: argparse.Namespace) -> int:
    book, kind = _Book(arguments), arguments.format or _ENDINGS.get(arguments.file.suffix.lower())
    if kind is None:
        raise Fault(f"{arguments.file}: its ending says neither csv nor vcard; give --format")
    try:
        new = phonebook_files.read(kind, arguments.file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{arguments.file}: cannot be read ({error})") from None
    except Unreadable as unreadable:
        sentence = f"{unreadable}; nothing was taken."
        if arguments.json:
            errors = [dataclasses.asdict(one) for one in unreadable.errors]
            raise Refused("import-failed", sentence, errors=errors) from None
        for one in unreadable.errors:
            print(f"{arguments.file}:{one.row}: {one.detail}", file=sys.stderr)
        raise Refused("import-failed", sentence) from None
    stored = await book.work.change(
        "take", book.subject, lambda c: choosing.add_contacts(c, book.of(c), new, replace=arguments.replace)
    )
    return say(arguments, f"{len(stored)} contacts were taken.", imported=len(stored))


async def export_contacts(arguments: argparse.Namespace) -> int:
    found = await _Book(arguments).contacts()
    text = phonebook_files.write(
        arguments.format, [Contact(**{field: getattr(one, field) for field in FIELDS}) for one in found]
    )
    if arguments.json:
        return say(arguments, "", format=arguments.format, text=text)
    sys.stdout.write(text)
    return 0
