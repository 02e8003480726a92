"""serve, init, check, render"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from provisioning import app, config, demo, installation, tls, vendors
from provisioning.app import Listening
from provisioning.commands.output import common, load, load_beside, say
from provisioning.commands.work import Work, mac_given
from provisioning.config import Config
from provisioning.domain.errors import Fault, Refused
from provisioning.domain.held import Held
from provisioning.domain.mac import Mac, spelled
from provisioning.rendering import compose
from provisioning.store import lines, phones
from provisioning.store.database import check_schema
from provisioning.store.fetch import PhoneReader
from provisioning.store.secrets import KeyRing
from provisioning.vendors import Vendors


def add(commands: Any) -> None:
    serve = commands.add_parser("serve", help="start the server; makes its data directory where there is none")
    common(serve)
    serve.add_argument("--demo", action="store_true", help="on this machine only, with a demo account in it")
    serve.set_defaults(run=run_serve)

    init = commands.add_parser("init", help="make the data directory, or bring an older database up to date")
    common(init)
    init.set_defaults(run=run_init)

    check = commands.add_parser("check", help="verify configuration, templates, firmware, database and TLS")
    common(check)
    check.set_defaults(run=run_check)

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


def run_check(arguments: argparse.Namespace) -> int:
    """Each part by itself, so that one run tells everything that is wrong."""
    settings = load_beside(arguments)
    results: list[dict[str, str]] = [{"part": "configuration", "result": "ok", "told": "every key is known and fits"}]

    def part(name: str, look: Callable[[], str]) -> None:
        try:
            results.append({"part": name, "result": "ok", "told": look()})
        except Fault as fault:
            results.append({"part": name, "result": "fault", "told": str(fault)})
        except (OSError, sqlite3.Error, ValueError) as error:
            results.append({"part": name, "result": "fault", "told": f"{type(error).__name__}: {error}"})

    part("catalogue, templates and firmware", lambda: _check_vendors(settings))
    part("secret key", lambda: f"{settings.key_file}: seals with {KeyRing(settings.key_file).current}")
    part("database", lambda: _check_database(settings))
    part("phones and models", lambda: f"{len(app.load_vendors(settings).catalogue.models)} models, no phone is without")
    part("TLS", lambda: _check_tls(settings))
    part("phones' URL", lambda: _check_url(settings))
    part("resync", lambda: _check_resync(settings))
    faults = [result for result in results if result["result"] == "fault"]
    width = max(len(result["part"]) for result in results)
    text = "\n".join(f"{r['result']:<5}  {r['part']:<{width}}  {r['told']}" for r in results)
    say(arguments, text, ok=not faults, results=results)
    return 1 if faults else 0


def _check_vendors(settings: Config) -> str:
    known = vendors.load(settings.paths.templates, settings.paths.firmware, settings.models.by_model)
    rendered = 0
    for model in known.catalogue.models.values():
        its = compose.Site("https://phones.example.net", {}, known.zones, {})
        for document in model.documents.values():
            known.renderer.render(document, model, compose.stage1(its, model, Mac("001565000000"), "0" * 32, Held()))
            rendered += 1
    return f"{len(known.catalogue.models)} models, {rendered} documents rendered, {len(known.images)} firmware images"


def _check_database(settings: Config) -> str:
    check_schema(settings.database_path)
    connection = sqlite3.connect(settings.database_path)
    try:
        told = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        keys = KeyRing(settings.key_file)
        sealed = connection.execute("SELECT line, key_id, password FROM lines ORDER BY id LIMIT 1000").fetchall()
    finally:
        connection.close()
    if told != "ok":
        raise Fault(f"{settings.database_path}: is damaged ({told}); restore it from a backup")
    for line, key_id, password in sealed:
        keys.open(key_id, password, lines.context(line))
    if settings.database_path.stat().st_mode & 0o077:
        raise Fault(f"{settings.database_path}: others may read it; chmod 600 it")
    return f"{settings.database_path}: schema and pages are good, {len(sealed)} line passwords open"


def _check_tls(settings: Config) -> str:
    listen = settings.listen
    known = vendors.load(settings.paths.templates, settings.paths.firmware, settings.models.by_model)
    app.contexts(settings, app.load_certificates(settings, known))
    told = []
    for on, legacy in ((listen.phones_https or listen.phones_mtls, False), (listen.phones_legacy, True)):
        if on:
            certificate, _ = installation.certificate(settings, legacy=legacy)
            days = tls.days_left(certificate)
            if days < 0:
                raise Fault(f"{certificate}: has expired; renew it and send the server SIGHUP")
            told.append(f"{certificate}: good for {days:.0f} days")
    return "; ".join(told) or "the phones' TLS listeners are off"


def _check_url(settings: Config) -> str:
    if settings.phones.url:
        return settings.phones.url
    if installation.listens_everywhere(settings):
        raise Fault("[phones] url: is not set, so phones would be sent to this machine's own loopback address")
    return f"[phones] url is not set: phones are sent to {installation.phones_host(settings)}"


def _check_resync(settings: Config) -> str:
    app.sip_client(settings, probe=True)
    if not settings.resync.proxy:
        return "[resync] proxy is not set: phones learn of changes at their next poll only"
    return f"through {settings.resync.proxy}"


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
        raise Refused("document-not-found", f"A {model.vendor_name} {model.name} asks for {', '.join(names)}.")
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
