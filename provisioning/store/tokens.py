"""Management tokens: 256 random bits, kept as a hash; and the answers given under an Idempotency-Key."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Select, delete, insert, select

from provisioning.domain.errors import Refused
from provisioning.store.secrets import KeyRing, fingerprint
from provisioning.store.tables import accounts, answers, tokens

KEEP_ANSWERS = 86400.0
LONGEST = 100 * 365 * 86400.0

Scope = Literal["read", "operate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"Each may do what those before it may."


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    name: str
    account_id: int | None
    account: str | None
    created_at: float
    scope: Scope
    expires_at: float | None
    used_at: float | None
    used_from: str | None

    @property
    def operator(self) -> bool:
        """Acts for all accounts."""
        return self.account_id is None

    def allows(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def is_valid(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


COLUMNS = (
    tokens.c.id,
    tokens.c.name,
    tokens.c.account_id,
    accounts.c.account,
    tokens.c.created_at,
    tokens.c.scope,
    tokens.c.expires_at,
    tokens.c.used_at,
    tokens.c.used_from,
)
"Of a Token, in its order."
_SELECT: Select[Any] = select(*COLUMNS).select_from(tokens).outerjoin(accounts)


def check_expiry(at: float, now: float) -> float:
    if not now < at < now + LONGEST:
        raise Refused("invalid-value", "A token expires in the future, within a hundred years.", field="expires_at")
    return at


def new_id() -> str:
    return f"t{secrets.token_hex(4)}"


def add(
    connection: Connection,
    name: str,
    account_id: int | None,
    now: float,
    scope: Scope = "admin",
    expires_at: float | None = None,
    token_id: str | None = None,
) -> tuple[str, str]:
    """(id, the token itself, shown this once)."""
    token_id, token = token_id or new_id(), f"pt_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(tokens).values(
            id=token_id,
            name=name,
            hash=fingerprint(token),
            account_id=account_id,
            created_at=now,
            scope=scope,
            expires_at=expires_at,
        )
    )
    return token_id, token


def by_hash(wanted: Any) -> Select[Any]:
    """The query for a Token, by its fingerprint."""
    return _SELECT.where(tokens.c.hash == wanted)


def get(connection: Connection, token_id: str) -> Token:
    return Token(*connection.execute(_SELECT.where(tokens.c.id == token_id)).one())


def find(connection: Connection, token_id: str) -> Token | None:
    row = connection.execute(_SELECT.where(tokens.c.id == token_id)).first()
    return None if row is None else Token(*row)


def all_tokens(connection: Connection) -> list[Token]:
    return [Token(*row) for row in connection.execute(_SELECT.order_by(tokens.c.created_at))]


def page(connection: Connection, *, after: str, limit: int) -> list[Token]:
    query = _SELECT.where(tokens.c.id > after).order_by(tokens.c.id).limit(limit)
    return [Token(*row) for row in connection.execute(query)]


def remove(connection: Connection, token_id: str) -> bool:
    """Its sessions end with it."""
    return connection.execute(delete(tokens).where(tokens.c.id == token_id)).rowcount == 1


def request_hash(method: str, path: str, body: bytes) -> bytes:
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


def given_answer(
    connection: Connection, keys: KeyRing, token_id: str, key: str, now: float
) -> tuple[bytes, str] | None:
    """(request hash, answer) of the first request under this key, if it is not too long ago."""
    row = connection.execute(
        select(answers.c.request, answers.c.answer, answers.c.key_id).where(
            answers.c.token_id == token_id, answers.c.key == key, answers.c.created_at > now - KEEP_ANSWERS
        )
    ).first()
    return None if row is None else (row.request, keys.open(row.key_id, row.answer, answer_context(token_id, key)))


def keep_answer(
    connection: Connection, keys: KeyRing, token_id: str, key: str, request: bytes, answer: str, now: float
) -> None:
    """In the transaction of the change itself: a retry can then never repeat it.

    Nothing is kept for a token that has just removed itself: it will ask nothing again.
    """
    connection.execute(delete(answers).where(answers.c.created_at <= now - KEEP_ANSWERS))
    if connection.execute(select(tokens.c.id).where(tokens.c.id == token_id)).first() is None:
        return
    key_id, sealed = keys.seal(answer, answer_context(token_id, key))
    connection.execute(
        insert(answers).values(
            token_id=token_id, key=key, request=request, answer=sealed, key_id=key_id, created_at=now
        )
    )


def answer_context(token_id: str, key: str) -> str:
    return f"answer:{token_id}:{key}"
