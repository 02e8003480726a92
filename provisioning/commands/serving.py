"""serve, init, render"""

import argparse
import os
import sys
from typing import Any

from provisioning import app, config, demo, installation
from provisioning.app import Listening
from provisioning.commands.output import common, load, say
from provisioning.commands.work import Work, mac_given
from provisioning.config import Config
from provisioning.domain.errors import Refused
from provisioning.domain.mac import spelled
from provisioning.rendering import compose
from provisioning.store import phones
from provisioning.store.fetch import PhoneReader
from provisioning.vendors import Vendors


def add(commands: Any) -> None:
    serve = commands.add_parser("serve", help="start the server; makes its data directory where there is none")
    common(serve)
    serve.add_argument("--demo", action="store_true", help="on this machine only, with a demo account in it")
    serve.set_defaults(run=run_serve)

    init = commands.add_parser("init", help="make the data directory, or bring an older database up to date")
    common(init)
    init.set_defaults(run=run_init)

    render = commands.add_parser("render", help="print a phone's document, its secrets masked")
    common(render)
    render.add_argument("mac", metavar="MAC")
    render.add_argument(
        "document", metavar="DOCUMENT", nargs="?", help="its file name (default: the one with the lines)"
    )
    render.set_defaults(run=run_render)


def run_serve(arguments: argparse.Namespace) -> int:
    settings = load(arguments, config.DEMO if arguments.demo else None)
    fresh = not settings.token_file.exists()
    if arguments.demo:
        installation.prepare(settings, upgrade=True)

    def announce(listening: Listening, known: Vendors) -> None:
        for name in ("phones_http", "phones_https", "phones_mtls", "phones_legacy", "management"):
            print(f"{name:<13} {getattr(listening, name) or 'off'}")
        if fresh:
            # To a person only: a service's output is kept in a journal that others may read.
            shown = f"; keep it:\n  {_token(settings)}" if arguments.demo or sys.stdout.isatty() else ""
            print(f"\nThe first admin token is in {settings.token_file}{shown}")
        if arguments.demo:
            print(demo.load(settings, known, listening))
        sys.stdout.flush()

    return app.serve(settings, announce)


def run_init(arguments: argparse.Namespace) -> int:
    settings = load(arguments)
    made = installation.prepare(settings, upgrade=True)
    sentence = "\n".join(f"made {path}" for path in made) or "Nothing to make: everything is there and up to date."
    if str(settings.token_file) in made:
        sentence += f"\nThe first admin token, also in {settings.token_file}; keep it:\n  {_token(settings)}"
    return say(arguments, sentence, made=made)


def _token(settings: Config) -> str:
    return settings.token_file.read_text("ascii").strip()


async def run_render(arguments: argparse.Namespace) -> int:
    work, mac = Work(arguments), mac_given(arguments.mac)
    stored = await work.read(lambda connection: phones.find(connection, mac))
    if stored is None:
        raise Refused("phone-not-found", f"There is no phone {spelled(mac)}.")
    model = work.vendors.catalogue.model(stored.phone.model)
    names = {document.name_for(mac).lower(): document for document in model.documents.values()}
    wanted = (
        next(document for document in model.documents.values() if document.lines)
        if arguments.document is None
        else names.get(arguments.document.lower())
    )
    if wanted is None:
        raise Refused("document-not-found", f"A {model.title} asks for {', '.join(names)}.")
    site = work.site()
    if wanted.stage:
        reader = PhoneReader(work.config.database_path, work.keys)
        try:
            values = compose.masked(site, model, mac, reader.held(stored.id, site.settings))
        finally:
            reader.close()
    else:
        values = compose.stage0(site, model)
    text = work.vendors.renderer.render(wanted, model, values).decode()
    if arguments.json:
        return say(arguments, "", name=wanted.name_for(mac), content_type=wanted.content_type, text=text)
    sys.stdout.write(text)
    return os.EX_OK
