"""…/phonebook: of an account, for all its phones, or of one phone."""

from dataclasses import asdict

from aiohttp import web
from sqlalchemy import Connection

from provisioning.domain import phonebook_files
from provisioning.domain.contact import Contact
from provisioning.domain.errors import Refused
from provisioning.domain.phonebook_files import Unreadable
from provisioning.management import bodies, choosing, views
from provisioning.management.changes import Terms
from provisioning.management.context import body, context, mac_in_path, once, page, removed, token
from provisioning.management.snapshots import Subject
from provisioning.store.phonebooks import StoredContact


def _named(request: web.Request) -> tuple[str, str]:
    if "mac" in request.match_info:
        return "phone", mac_in_path(request)
    return "account", request.match_info["account"]


def _number(request: web.Request) -> int:
    text = request.match_info["contact"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused("contact-not-found", f"There is no contact {text[:40]!r} in this phonebook.")
    return int(text)


async def list_contacts(request: web.Request) -> web.Response:
    return page([views.contact(one) for one in await _all(request)], None)


async def export(request: web.Request) -> web.Response:
    kind = request.query.get("format", "csv")
    _known(kind)
    text = phonebook_files.write(kind, [one.contact for one in await _all(request)])
    name = "phonebook.csv" if kind == "csv" else "phonebook.vcf"
    return web.Response(
        body=text.encode(),
        headers={
            "Content-Type": phonebook_files.CONTENT_TYPES[kind],
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


async def create(request: web.Request) -> web.Response:
    new = await body(request, bodies.NewContact)
    scope, name = _named(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        of = choosing.owner(connection, terms, scope, name)
        (stored,) = choosing.add_contacts(connection, of, [_contact(new)])
        return views.contact(stored), f"{request.path}/{stored.id}"

    return await once(request, 201, work, subject=_subject(request))


async def change(request: web.Request) -> web.Response:
    changed = bodies.given(await body(request, bodies.ContactChange))
    (scope, name), number = _named(request), _number(request)

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        of = choosing.owner(connection, terms, scope, name)
        return views.contact(choosing.change_contact(connection, of, number, changed)), None

    return await once(request, 200, work, subject=_subject(request))


async def remove(request: web.Request) -> web.Response:
    (scope, name), number = _named(request), _number(request)
    return await removed(
        request,
        lambda connection, terms: choosing.remove_contact(
            connection, choosing.owner(connection, terms, scope, name), number
        ),
        subject=_subject(request),
    )


async def take(request: web.Request) -> web.Response:
    """All of the file, or nothing of it."""
    wanted = await body(request, bodies.PhonebookImport)
    scope, name = _named(request)
    _known(wanted.format)
    try:
        new = phonebook_files.read(wanted.format, wanted.text)
    except Unreadable as unreadable:
        errors = [asdict(error) for error in unreadable.errors[:100]]
        raise Refused("import-failed", f"{unreadable}; nothing was taken.", errors=errors) from None

    def work(connection: Connection, terms: Terms) -> tuple[object, str | None]:
        of = choosing.owner(connection, terms, scope, name)
        stored = choosing.add_contacts(connection, of, new, replace=wanted.replace)
        return bodies.PhonebookImported(len(stored)), None

    return await once(request, 200, work, subject=_subject(request))


async def _all(request: web.Request) -> list[StoredContact]:
    scope, name = _named(request)
    management = context(request)
    terms = management.terms(token(request))
    return await management.database.read(
        lambda connection: choosing.contacts(connection, choosing.owner(connection, terms, scope, name))
    )


def _subject(request: web.Request) -> Subject:
    return Subject("phonebook", " ".join(_named(request)))


def _contact(given: bodies.NewContact) -> Contact:
    return Contact(given.group, given.name, given.surname, given.work, given.mobile, given.home)


def _known(kind: str) -> None:
    if kind not in phonebook_files.FORMATS:
        raise Refused("invalid-value", f"format is one of {', '.join(phonebook_files.FORMATS)}.", field="format")
