"""Databases full of phones, made once and kept in var/bench/."""

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from provisioning import installation
from provisioning.config import Config, Data
from provisioning.domain.mac import Mac
from provisioning.store import lines as stored_lines
from provisioning.store import phones as stored_phones
from provisioning.store.database import SCHEMA
from provisioning.store.secrets import KeyRing, fingerprint
from provisioning.store.tables import accounts, lines, metadata, phone_secrets, phones, slots

FORMAT = 2
MODEL, SLOTS, LINES = "yealink-t54w", 16, 6
DOMAIN = "sip.example.net"
OF_ONE_ACCOUNT = 10
AGENT = "Yealink SIP-T54W 96.86.0.23 00:15:65:00:00:01"


def mac(number: int) -> Mac:
    return Mac(f"{0x001565000000 + number:012x}")


def secret(number: int) -> str:
    return hashlib.sha256(f"phone {number}".encode()).hexdigest()[:32]


def attachable(count: int) -> range:
    """The phones at addresses of their own, each with one spare line; load leaves them alone."""
    return range(count - min(2_000, count * 2 // 5), count)


def address(number: int) -> str:
    return f"100.64.{number % 2_000 // 200}.{number % 200 + 1}"


def username(number: int, slot: int) -> str:
    return f"00339{number:07d}{slot:02d}"


def line(number: int, slot: int) -> str:
    return f"line-{number:06d}-{slot:02d}"


def path(number: int) -> str:
    return f"/{secret(number)}/{mac(number)}.cfg"


def base(folder: Path, count: int) -> Path:
    """A data directory with so many phones that have all fetched what they have."""
    schema = "".join(str(CreateTable(table).compile(dialect=sqlite.dialect())) for table in metadata.sorted_tables)
    key = hashlib.sha256(f"{FORMAT} {SCHEMA} {count} {schema}".encode()).hexdigest()[:12]
    made = folder / f"phones-{count}-{key}"
    if not made.exists():
        for old in folder.glob(f"phones-{count}-*"):
            shutil.rmtree(old)
        unfinished = folder / f"unfinished-{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        installation.prepare(Config(data=Data(unfinished)), upgrade=True)
        _fill(unfinished, count)
        unfinished.rename(made)
    return made


def copy(made: Path, to: Path) -> Path:
    """One that a server may change."""
    shutil.copytree(made, to)
    to.chmod(0o700)
    return to


def changed(database: Path, numbers: range, *, news: bool) -> None:
    """Their documents are of another revision now, so no cache holds them; news: nor do the phones."""
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    also = "" if news else ", fetched_revision = revision + 1"
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(
        f"UPDATE phones SET revision = revision + 1{also} WHERE id > ? AND id <= ?",
        (numbers.start, numbers.stop),
    )
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.close()


def _fill(folder: Path, count: int) -> None:
    keys, now = KeyRing(folder / "secret-key"), time.time()
    connection = sqlite3.connect(folder / "provisioning.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    connection.execute("BEGIN")
    connection.executemany(
        _insert(accounts, "id account name created_at"),
        ((number + 1, f"account-{number:05d}", "", now) for number in range(-(-count // OF_ONE_ACCOUNT))),
    )
    connection.executemany(
        _insert(phones, "id mac model account_id revision fetched_revision fetched_addresses public_ip seen_at"
                        " user_agent created_at"),
        _phones(count, now),
    )  # fmt: skip
    connection.executemany(
        _insert(phone_secrets, "hash phone_id secret key_id created_at shown_at"), _secrets(keys, count, now)
    )
    connection.executemany(
        _insert(lines, "id line account_id number username password key_id domain display_name outbound_proxy"
                       " transport created_at"),
        _lines(keys, count, now),
    )  # fmt: skip
    connection.executemany(_insert(slots, "phone_id slot line_id"), _slots(count))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _insert(table: Table, columns: str) -> str:
    names = [table.c[name].name for name in columns.split()]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def _phones(count: int, now: float) -> Iterator[tuple[object, ...]]:
    spare = attachable(count)
    for n in range(count):
        held = stored_phones.join_addresses(f"sip:{username(n, slot)}@{DOMAIN}" for slot in range(1, LINES + 1))
        where = address(n) if n in spare else "127.0.0.1"
        yield n + 1, mac(n), MODEL, n // OF_ONE_ACCOUNT + 1, 1, 1, held, where, now, AGENT, now


def _secrets(keys: KeyRing, count: int, now: float) -> Iterator[tuple[object, ...]]:
    for n in range(count):
        key_id, sealed = keys.seal(secret(n), stored_phones.secret_context(mac(n)))
        yield fingerprint(secret(n)), n + 1, sealed, key_id, now, now


def _lines(keys: KeyRing, count: int, now: float) -> Iterator[tuple[object, ...]]:
    """Slot by slot, and one more for phones that are attached to."""
    spare = attachable(count)
    for n in range(count):
        for slot in range(1, LINES + 1 + (n in spare)):
            name = line(n, slot)
            key_id, sealed = keys.seal(f"password-{name}", stored_lines.context(name))
            number = f"+339{n:07d}{slot}"
            yield (
                n * SLOTS + slot, name, n // OF_ONE_ACCOUNT + 1, number, username(n, slot), sealed, key_id, DOMAIN,
                f"Desk {n} line {slot}", "proxy.example.net:5060", "udp", now,
            )  # fmt: skip


def _slots(count: int) -> Iterator[tuple[object, ...]]:
    for n in range(count):
        for slot in range(1, SLOTS + 1):
            yield n + 1, slot, n * SLOTS + slot if slot <= LINES else None
