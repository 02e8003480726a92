"""A data directory full of phones, made at once by the store's own functions, before a server starts on it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from provisioning import installation, vendors
from provisioning.config import Config, Data
from provisioning.domain.line import Line
from provisioning.domain.mac import Mac
from provisioning.rendering.compose import fill_mac
from provisioning.store import accounts, binding, lines, phones
from provisioning.store.phones import StoredPhone
from provisioning.store.secrets import KeyRing

MARK = "Sip-Word-"
"Begins every SIP password, so that one look at a body tells whether it shows any."
MODELS = {"001565": "yealink-t54w", "805ec0": "yealink-t46s", "000413": "snom-d785"}
"By vendor prefix."
BATCHES = (20, 50, 100, 500)
"Phones with MACs in a row, as they leave a factory."
OF_ONE_ACCOUNT = 10


@dataclass
class Own:
    """A phone, and what it knows."""

    mac: str
    model: str
    vendor: str
    document: str
    "The name of the file with its lines."
    account: str
    line: str
    password: str
    secret: str
    path: str
    "Of its provisioning URL."
    common: tuple[str, ...]
    token: str | None = None
    "One-time, where it was shipped."
    code: str | None = None
    door: str | None = field(default=None)
    "Where one is open for it."

    @property
    def bare(self) -> str:
        return f"/{self.document}"

    @property
    def proved(self) -> str:
        return f"/{self.secret}/{self.document}"

    @property
    def login(self) -> str:
        return f"/login/{self.document}"


def batches(count: int, chance: Random) -> Iterator[str]:
    """MACs in batches at random places of each vendor's prefix."""
    made = turn = 0
    taken: set[str] = set()
    while made < count:
        prefix = list(MODELS)[turn % len(MODELS)]
        size = min(BATCHES[turn % len(BATCHES)], count - made)
        first = chance.randrange(2**24 - size)
        batch = [f"{prefix}{first + n:06x}" for n in range(size)]
        if taken.isdisjoint(batch):
            taken.update(batch)
            yield from batch
            made += size
        turn += 1


def build(
    data: Path, count: int, chance: Random, *, doors: int = 0, door_at: str = "", armed: int = 0, codes: int = 0
) -> list[Own]:
    """The first `doors` of them, in a random order, have an open door, the next a token, the next a code."""
    data.parent.mkdir(parents=True, exist_ok=True)
    installation.prepare(Config(data=Data(data)), upgrade=True)
    paths = Config().paths
    catalogue = vendors.load(paths.templates, paths.firmware).catalogue
    keys, now = KeyRing(data / "secret-key"), time.time() - 1
    its = []
    engine = create_engine(URL.create("sqlite", database=str(data / "provisioning.db")))
    with engine.begin() as connection:
        for number, mac in enumerate(batches(count, chance)):
            model = catalogue.models[MODELS[mac[:6]]]
            account = f"account-{number // OF_ONE_ACCOUNT}"
            if number % OF_ONE_ACCOUNT == 0:
                owner = accounts.add(connection, account, "", now)
            phone_id = phones.add(
                connection,
                mac=Mac(mac),
                model=model.id,
                account_id=owner.id,
                serial=None,
                slot_count=model.slots,
                now=now,
            )
            password = f"{MARK}{chance.getrandbits(80):020x}"
            name = f"line-{number:05d}"
            line = Line(name, account, f"+3397{number:07d}", f"user{number:05d}", password, "sip.example.net", "Desk")
            lines.add(connection, keys, owner.id, line, now)
            stored = lines.find(connection, name)
            assert stored is not None
            phones.fill(connection, phone_id, 1, stored.id)
            secret = phones.new_phone_secret(connection, keys, phone_id, Mac(mac), now)
            document = next(d for d in model.documents.values() if d.lines).name_for(Mac(mac))
            common = tuple(d.name for shape, d in model.documents.items() if "{mac}" not in shape)
            path = f"/{secret}/{fill_mac(model.family.provisioning_path, Mac(mac))}"
            vendor = model.vendor
            its.append(Own(mac, model.id, vendor, document, account, name, password, secret, path, common))
        special = iter(chance.sample(its, doors + armed + codes))
        for number, own in enumerate(special):
            phone = phones.find(connection, Mac(own.mac))
            assert isinstance(phone, StoredPhone)
            if number < doors:
                own.door = door_at
                phones.open_door(connection, phone.id, phone.phone.mac, door_at, now, 7 * 86400, "admin")
            elif number < doors + armed:
                own.token = binding.new_bootstrap(connection, keys, phone, now, 30 * 86400)
                phones.change(connection, phone.id, {"shipped_at": now})
            else:
                own.code = binding.new_code(connection, keys, phone, now, 7 * 86400)
    engine.dispose()
    return its
