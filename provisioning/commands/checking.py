"""check: all that can be wrong, before phones find it"""

import argparse
import functools
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import provisioning
from provisioning import app, installation, tls, vendors
from provisioning.commands.output import common, load_beside, say
from provisioning.commands.proofreading import Names, Proof, prove
from provisioning.config import Config
from provisioning.domain.catalogue import Vendor
from provisioning.domain.errors import Fault
from provisioning.rendering.compose import Site
from provisioning.store import lines
from provisioning.store.database import check_schema
from provisioning.store.secrets import KeyRing
from provisioning.vendors import Vendors

_NAMES = Path(provisioning.__file__).parents[1] / "tests" / "data"
"Where a checkout has the lists; an installation may have none."
_MOST_TOLD = 20
"Faults of one vendor."


def add(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="verify configuration, templates, firmware, database and TLS",
        description="Each part by itself. Every model's documents are rendered with values that are hostile but "
        "allowed, and read back by the simulated phones' own readers: with no line, one, and one in every slot.",
    )
    common(check)
    check.add_argument(
        "--vendor", action="append", metavar="FOLDER", help="read only this vendor's documents (may be repeated)"
    )
    check.add_argument(
        "--parameters",
        type=Path,
        metavar="DIR",
        help="with params-<vendor>.txt, the parameters that phones are known to have (default: tests/data, if there)",
    )
    check.set_defaults(run=run_check)


class _Results:
    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []

    def look(self, part: str, look: Callable[[], str]) -> None:
        try:
            self.tell(part, "ok", look())
        except Fault as fault:
            self.tell(part, "fault", str(fault))
        except (OSError, sqlite3.Error, ValueError) as error:
            self.tell(part, "fault", f"{type(error).__name__}: {error}")

    def tell(self, part: str, result: str, told: str) -> None:
        self.all.append({"part": part, "result": result, "told": told})

    @property
    def good(self) -> bool:
        return all(result["result"] == "ok" for result in self.all)

    def text(self) -> str:
        width = max(len(result["part"]) for result in self.all)
        margin = "\n" + " " * (width + 9)
        return "\n".join(
            f"{r['result']:<5}  {r['part']:<{width}}  {r['told'].replace(chr(10), margin)}" for r in self.all
        )


def run_check(arguments: argparse.Namespace) -> int:
    """Each part by itself, so that one run tells everything that is wrong."""
    settings = load_beside(arguments)
    names = _names(arguments)
    results = _Results()
    results.tell("configuration", "ok", "every key is known and fits")
    loaded: list[Vendors] = []
    results.look("catalogue, templates and firmware", lambda: _load(settings, loaded))
    known = loaded[0] if loaded else None
    if known is not None:
        for vendor in _chosen(known, arguments.vendor):
            results.look(
                f"documents of {vendor.folder}",
                functools.partial(_prove, settings, known, vendor, names, silent=arguments.json),
            )
    results.look("secret key", lambda: f"{settings.key_file}: seals with {KeyRing(settings.key_file).current}")
    results.look("database", lambda: _check_database(settings))
    results.look("phones and models", lambda: _check_phones(settings, known))
    results.look("TLS", lambda: _check_tls(settings, known))
    results.look("phones' URL", lambda: _check_url(settings))
    results.look("resync", lambda: _check_resync(settings))
    say(arguments, results.text(), ok=results.good, results=results.all)
    return 0 if results.good else 1


def _names(arguments: argparse.Namespace) -> Names | None:
    given: Path | None = arguments.parameters
    if given is not None and not given.is_dir():
        raise Fault(f"--parameters {given}: is no directory")
    folder = given or _NAMES
    return Names(folder) if folder.is_dir() else None


def _load(settings: Config, loaded: list[Vendors]) -> str:
    known = vendors.load(settings.paths.templates, settings.paths.firmware, settings.models.by_model)
    loaded.append(known)
    return f"{len(known.catalogue.models)} models, {len(known.images)} firmware images"


def _chosen(known: Vendors, folders: list[str] | None) -> list[Vendor]:
    if folders is None:
        return list(known.catalogue.vendors)
    there = {vendor.folder: vendor for vendor in known.catalogue.vendors}
    for folder in folders:
        if folder not in there:
            raise Fault(f"--vendor {folder}: no vendor's folder is called so; there are {', '.join(there)}")
    return [there[folder] for folder in folders]


def _sound(known: Vendors | None) -> Vendors:
    if known is None:
        raise Fault("was not looked at, for the catalogue has a fault")
    return known


def _prove(settings: Config, known: Vendors, vendor: Vendor, names: Names | None, *, silent: bool) -> str:
    site = Site("https://phones.example.net", settings.phones.chosen, known.zones, {})
    proofs = [
        prove(vendor, family, site, known.renderer, settings.paths.templates, names)
        for family in _progress(vendor, silent=silent)
    ]
    faults = [sentence for proof in proofs for sentence in proof.sentences()]
    if faults:
        rest = len(faults) - _MOST_TOLD
        raise Fault("\n".join((*faults[:_MOST_TOLD], *([f"and {rest} more"] if rest > 0 else []))))
    return _summary(vendor, proofs, names)


def _progress(vendor: Vendor, *, silent: bool) -> Iterator[str]:
    for family in vendor.families:
        if not silent:
            print(f"{vendor.folder}/{family.name} ...", file=sys.stderr, flush=True)
        yield family.name


def _summary(vendor: Vendor, proofs: list[Proof], names: Names | None) -> str:
    unread = [f"{vendor.folder}/{proof.family}" for proof in proofs if not proof.read]
    told = [f"{len(vendor.models)} models, {sum(proof.documents for proof in proofs)} documents"]
    if unread:
        told.append(f"not read back, for no simulated phone is one: {', '.join(unread)}")
    if len(unread) < len(proofs):
        told.append("read back as written")
        told.append("names not compared, for there is no list" if names is None else "every name is known")
    return "; ".join(told)


def _check_phones(settings: Config, known: Vendors | None) -> str:
    check_schema(settings.database_path)
    app.check_phones_in_use(settings, _sound(known))
    return "no phone is without its model, no line is in a slot that its model lacks"


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


def _check_tls(settings: Config, known: Vendors | None) -> str:
    listen = settings.listen
    app.contexts(settings, app.load_certificates(settings, _sound(known)))
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
