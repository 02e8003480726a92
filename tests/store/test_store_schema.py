import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from provisioning.domain.errors import Fault
from provisioning.store import database
from provisioning.store.tables import metadata

MIGRATIONS = Path(database.__file__).parent / "migrations"


def versioned(path: Path, version: str | None) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        if version is not None:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    connection.close()
    return path


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(tmp_path: Path):
    database.create_or_upgrade(tmp_path / "a.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def schema(path: Path) -> dict[str, list]:
    """What SQLite itself says: Alembic compares no checks, deletes or autoincrement."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {}
    for table in sorted(set(tables) - {"alembic_version", "sqlite_sequence"}):
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
        found[table] = [
            sorted(connection.execute(f"PRAGMA table_info({table})")),
            sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")),
            sorted((row[1], row[2], row[4]) for row in connection.execute(f"PRAGMA index_list({table})")),
            "AUTOINCREMENT" in sql,
            "WITHOUT ROWID" in sql,
            sql.count("CHECK"),
        ]
    connection.close()
    return found


def test_keys_checks_and_cascades_are_those_of_the_code_too(tmp_path: Path):
    database.create_or_upgrade(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema(tmp_path / "migrated.db") == schema(tmp_path / "made.db")


def test_the_program_knows_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [database.SCHEMA]


def test_a_new_database_is_private_and_good(tmp_path: Path):
    path = tmp_path / "a.db"
    database.create_or_upgrade(path)
    database.check_schema(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_upgrade_of_the_newest_changes_nothing(tmp_path: Path):
    path = tmp_path / "a.db"
    database.create_or_upgrade(path)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO accounts (id, account, name, created_at) VALUES (1, 'acme', '', 0)")
    connection.commit()
    database.create_or_upgrade(path)
    assert connection.execute("SELECT account FROM accounts").fetchall() == [("acme",)]
    connection.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "there is no database; run `provisioning init`"),
        (lambda path: versioned(path, "0000"), "run `provisioning init` to upgrade it"),
        (lambda path: versioned(path, "9999"), "made by a newer program"),
        (lambda path: versioned(path, None), "was its creation interrupted"),
        (lambda path: path.touch(), "is no database of this program"),
        (lambda path: path.write_bytes(b"PK\3\4" * 1000), "is no database of this program"),
        (lambda path: path.mkdir(), "is no database of this program"),
        (lambda path: sqlite3.connect(path).close(), "is no database of this program"),
    ],
)
def test_what_is_not_this_programs_schema_is_refused_with_what_to_do(tmp_path: Path, make, told: str):
    path = tmp_path / "a.db"
    make(path)
    with pytest.raises(Fault) as caught:
        database.check_schema(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


async def test_a_writer_is_durable_and_checks_foreign_keys(tmp_path: Path):
    database.create_or_upgrade(tmp_path / "a.db")
    its = database.Database(tmp_path / "a.db")
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")

    def told(connection):
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    try:
        *set_up, patience = await its.write(told)
        assert set_up == ["wal", 2, 1]
        # What is left of it since the write was asked for.
        assert 4000 < patience <= 5000
        assert await its.read(told) == ["wal", 2, 1, 5000]
    finally:
        await its.close()


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path):
    database.create_or_upgrade(tmp_path / "a.db")
    its = database.Database(tmp_path / "a.db")

    def half(connection):
        connection.exec_driver_sql("INSERT INTO accounts (id, account, name, created_at) VALUES (1, 'acme', '', 0)")
        raise KeyError

    try:
        with pytest.raises(KeyError):
            await its.write(half)
        assert await its.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM accounts").scalar()) == 0
    finally:
        await its.close()
