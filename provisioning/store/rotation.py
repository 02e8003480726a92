"""Sealing every stored secret with the current key."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, Table, and_, select, update

from provisioning.domain.mac import Mac
from provisioning.store import lines as stored_lines
from provisioning.store import phones as stored_phones
from provisioning.store import tokens as stored_tokens
from provisioning.store.secrets import KeyRing
from provisioning.store.tables import answers, lines, new_passwords, phone_secrets, phones

BATCH = 500


def sealed(connection: Connection, keys: KeyRing) -> int:
    """One batch; how many rows were sealed anew. Each batch is a transaction, so that nobody waits long."""
    for rows in (
        _lines(connection, keys),
        _new_passwords(connection, keys),
        _phone_secrets(connection, keys),
        _answers(connection, keys),
    ):
        done = sum(1 for _ in rows)
        if done:
            return done
    return 0


def keys_in_use(connection: Connection) -> set[str]:
    return {
        key_id
        for table in (lines, new_passwords, phone_secrets, answers)
        for key_id in connection.scalars(select(table.c.key_id).distinct())
    }


def _lines(connection: Connection, keys: KeyRing) -> Iterator[None]:
    query = select(lines.c.line, lines.c.key_id, lines.c.password).where(lines.c.key_id != keys.current)
    for row in connection.execute(query.limit(BATCH)).all():
        plain = keys.open(row.key_id, row.password, stored_lines.context(row.line))
        _write(
            connection, keys, lines, lines.c.password, plain, stored_lines.context(row.line), lines.c.line == row.line
        )
        yield


def _new_passwords(connection: Connection, keys: KeyRing) -> Iterator[None]:
    query = select(new_passwords).where(new_passwords.c.key_id != keys.current)
    for row in connection.execute(query.limit(BATCH)).all():
        context = stored_lines.new_context(row.line_id)
        plain = keys.open(row.key_id, row.password, context)
        its = new_passwords.c.line_id == row.line_id
        _write(connection, keys, new_passwords, new_passwords.c.password, plain, context, its)
        yield


def _phone_secrets(connection: Connection, keys: KeyRing) -> Iterator[None]:
    query = (
        select(phone_secrets.c.hash, phone_secrets.c.key_id, phone_secrets.c.secret, phones.c.mac)
        .join(phones)
        .where(phone_secrets.c.key_id != keys.current)
    )
    for row in connection.execute(query.limit(BATCH)).all():
        context = stored_phones.secret_context(Mac(row.mac))
        plain = keys.open(row.key_id, row.secret, context)
        _write(
            connection, keys, phone_secrets, phone_secrets.c.secret, plain, context, phone_secrets.c.hash == row.hash
        )
        yield


def _answers(connection: Connection, keys: KeyRing) -> Iterator[None]:
    query = select(answers.c.token_id, answers.c.key, answers.c.key_id, answers.c.answer)
    for row in connection.execute(query.where(answers.c.key_id != keys.current).limit(BATCH)).all():
        context = stored_tokens.answer_context(row.token_id, row.key)
        plain = keys.open(row.key_id, row.answer, context)
        its = and_(answers.c.token_id == row.token_id, answers.c.key == row.key)
        _write(connection, keys, answers, answers.c.answer, plain, context, its)
        yield


def _write(
    connection: Connection, keys: KeyRing, table: Table, column: Column[Any], plain: str, context: str, its: Any
) -> None:
    key_id, again = keys.seal(plain, context)
    connection.execute(update(table).where(its).values({column.name: again, "key_id": key_id}))
