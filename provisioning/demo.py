"""The demo account of `make run`: three phones, six lines, and what to try next."""

import functools
import json
import secrets
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL

from provisioning import installation
from provisioning.app import Listening
from provisioning.config import Config
from provisioning.domain import phone as rules
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.management import changes
from provisioning.management.changes import Terms
from provisioning.management.snapshots import Subject, audited
from provisioning.rendering import compose
from provisioning.rendering.compose import Site
from provisioning.store import accounts, audit, lines, phones
from provisioning.store.secrets import KeyRing, write_private
from provisioning.vendors import Vendors

ACCOUNT = "demo"
# Locally administered MACs would be the polite choice, but a vendor's prefix is what makes its
# dialect; these are from the middle of nowhere in each block. Linphone has no prefix.
PHONES = (
    ("001565decaf1", "yealink-t54w", ("line-1",)),
    ("000413decaf2", "snom-d120", ("line-2", "line-3")),
    ("020000decaf3", "linphone-desktop", ("line-4",)),
)
LINES = (
    ("line-1", "Reception"),
    ("line-2", "Kitchen"),
    ("line-3", "Workshop"),
    ("line-4", "Softphone"),
    ("line-5", "Sales"),
    ("line-6", "Support"),
)


def load(config: Config, known: Vendors, listening: Listening) -> str:
    """Makes the account where it is missing; what to print next."""
    sheets_file = config.demo_file
    engine = create_engine(URL.create("sqlite", database=str(config.database_path)))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            connection.exec_driver_sql("PRAGMA busy_timeout=5000")
            if accounts.find(connection, ACCOUNT) is None:
                terms = changes.terms_now(config, known, KeyRing(config.key_file))
                site = installation.site(config, known, listening.phones_https, listening.phones_http)
                sheets = _make(connection, terms, site, config)
                connection.commit()
                write_private(sheets_file, json.dumps(sheets, indent=2) + "\n")
            elif not sheets_file.exists():
                return (
                    "The demo account is there, but its phones' URLs are lost; remove the data directory for a new one."
                )
            return _try_next(connection, config, listening, sheets_file)
    finally:
        engine.dispose()


def _make(connection: Connection, terms: Terms, site: Site, config: Config) -> list[dict[str, object]]:
    create = functools.partial(audited, connection, audit.command_line(), terms.now, "create")
    create(Subject("account", ACCOUNT), lambda: changes.new_account(connection, terms, ACCOUNT, "Demo customer"))
    proxy = config.resync.proxy.partition(":")[2]
    for number, (name, shown) in enumerate(LINES, 1):
        line = Line(
            name=name,
            account=ACCOUNT,
            number=f"+3397210120{number}",
            username=f"003397210120{number}",
            password=secrets.token_urlsafe(18),
            domain="sip.demo.example",
            display_name=shown,
            outbound_proxy=proxy,
        )
        new_line = functools.partial(changes.new_line, connection, terms, line)
        create(Subject("line", name), new_line, ("password",))
    sheets: list[dict[str, object]] = []
    for mac, model_id, held in PHONES:
        model = terms.catalogue.model(model_id)
        new_phone = functools.partial(_phone, connection, terms, Mac(mac), model_id, held)
        secret = create(Subject("phone", mac), new_phone, ("provisioning_url",))
        sheets.append(
            {
                "mac": mac,
                "vendor": model.vendor,
                "family": model.family.name,
                "model": model.name,
                "provisioning_url": compose.provisioning_url(site, model, Mac(mac), secret),
                "common": [document.name for shape, document in model.documents.items() if "{mac}" not in shape],
            }
        )
    return sheets


def _phone(connection: Connection, terms: Terms, mac: Mac, model: str, held: tuple[str, ...]) -> str:
    """Its secret."""
    stored, secret = changes.new_phone(
        connection, terms, mac=mac, model=model, account=ACCOUNT, serial=None, main_line=held[0]
    )
    for slot, line in enumerate(held[1:], 2):
        found = lines.find(connection, line)
        if found is not None:
            phones.fill(connection, stored.id, slot, found.id)
    return secret


def _try_next(connection: Connection, config: Config, listening: Listening, sheets_file: Path) -> str:
    """Three requests that work when pasted, whatever was tried before."""
    sheet = json.loads(sheets_file.read_text("utf-8"))[0]
    mac = sheet["mac"]
    url, token = sheet["provisioning_url"], f'"Authorization: Bearer $(cat {config.token_file})"'
    api = f"http://{listening.management}/v1"
    stored = phones.find(connection, Mac(mac))
    free = [line for line in lines.page(connection, account_id=None, after="", limit=100) if line.mac is None]
    own = [slot.line for slot in stored.phone.lines if slot.number != rules.MAIN] if stored else []
    if free and stored is not None and stored.phone.free:
        line, verb, why = free[0].line, "attach", "attach a line to it, by public IP"
    else:
        line, verb, why = str(own[-1] if own else "line-5"), "detach", "detach a line from it again"
    trust = f"--cacert {config.ca_file} "
    return f"""
Try next, in another terminal:

1. boot a phone, as a {sheet["vendor"]} {sheet["model"]} does (its address is known from now on)
   curl -s {trust}{url}{mac}.cfg

2. ask which phones can take the line {line}
   curl -s -H {token} {api}/lines/{line}/attachable-phones

3. {why}
   curl -s -X POST -H {token} {api}/lines/{line}/{verb} -d '{{"public_ip": "127.0.0.1", "mac": "{mac}"}}'

To see the phones fetch and register by themselves, run `make phones` beside this server.
Stop with Ctrl-C; the data stays in {config.data.dir}/.
"""
