"""The schema. Times are Unix seconds; secrets are sealed (see secrets.py) or hashed, never plain."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("created_at", Float, nullable=False),
)

lines = Table(
    "lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line", String, nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("number", String, nullable=False),
    Column("username", String, nullable=False),
    Column("password", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("domain", String, nullable=False),
    Column("display_name", String, nullable=False),
    Column("outbound_proxy", String, nullable=False),
    Column("transport", String, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("username", "domain"),
    sqlite_autoincrement=True,
)

phones = Table(
    "phones",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mac", String, nullable=False, unique=True),
    Column("model", String, nullable=False),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("serial", String),
    # Raised in the transaction of every change that the phone's documents may show.
    Column("revision", Integer, nullable=False),
    # The newest revision that the phone has fetched, and the addresses of record in it.
    Column("fetched_revision", Integer, nullable=False, server_default="0"),
    Column("fetched_addresses", String, nullable=False, server_default=""),
    Column("public_ip", String),
    Column("seen_at", Float),
    Column("user_agent", String),
    Column("refused_at", Float),
    Column("refused_from", String),
    Column("created_at", Float, nullable=False),
    CheckConstraint("length(mac) = 12", name="mac"),
    # An id is never used twice: rendered documents are cached under it.
    sqlite_autoincrement=True,
)

# The phone's own secret: 128 random bits in its provisioning URL. A table, so that two can be
# valid while one replaces the other.
phone_secrets = Table(
    "phone_secrets",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False, index=True),
    # Sealed beside the hash, for the phone's configuration repeats it.
    Column("secret", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("shown_at", Float),
    # Looked up by the hash on every fetch: one tree instead of two.
    sqlite_with_rowid=False,
)

# A slot is a row from the phone's creation on, and attaching fills it: the primary key, the
# unique line and the absence of further rows are what makes over-booking impossible.
slots = Table(
    "slots",
    metadata,
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("line_id", ForeignKey("lines.id"), unique=True),
    PrimaryKeyConstraint("phone_id", "slot"),
    CheckConstraint("slot >= 1", name="slot"),
    sqlite_with_rowid=False,
)

doors = Table(
    "doors",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("mac", String, nullable=False),
    # The IPv4 address or IPv6 /64 from which it may be passed (domain.address.place).
    Column("place", String, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closes_at", Float, nullable=False),
    Index("ix_doors_mac_place", "mac", "place"),
)

# Also the outbox of resyncs: written with the change, claimed by the worker of any process.
operations = Table(
    "operations",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("phone_id", ForeignKey("phones.id", ondelete="SET NULL")),
    Column("mac", String, nullable=False),
    Column("line", String),
    Column("slot", Integer),
    # The phone's revision that contains the change.
    Column("revision", Integer, nullable=False),
    Column("reboot", Boolean, nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("deadline_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", Float),
    Column("claimed_until", Float),
    Column("notified_at", Float),
    Column("sip_status", Integer),
    Column("untold", String),
    Column("fetched_at", Float),
    Column("registered_at", Float),
    Index("ix_operations_phone_id_id", "phone_id", "id"),
    Index("ix_operations_line_id", "line", "id"),
)
Index(
    "ix_operations_due",
    operations.c.next_attempt_at,
    sqlite_where=operations.c.next_attempt_at.is_not(None),
)
Index(
    "ix_operations_unfetched",
    operations.c.phone_id,
    sqlite_where=operations.c.fetched_at.is_(None),
)
# What a locator is still asked about.
Index(
    "ix_operations_unregistered",
    operations.c.fetched_at,
    sqlite_where=operations.c.registered_at.is_(None),
)

# SIP passwords that replace what a detached phone still knows: sealed, until the operator's
# registrar has taken them. The line's own password changes only then.
new_passwords = Table(
    "new_passwords",
    metadata,
    Column("line_id", ForeignKey("lines.id", ondelete="CASCADE"), primary_key=True),
    Column("password", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", Float, nullable=False),
)

# A phone's story, for people.
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("detail", String, nullable=False),
    Index("ix_events_phone_id_id", "phone_id", "id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    # Restricts the token to one account's lines and phones; none: an operator's token.
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE")),
    Column("created_at", Float, nullable=False),
)

# The answer that was given under an Idempotency-Key, sealed: it may show a provisioning URL.
answers = Table(
    "answers",
    metadata,
    Column("token_id", ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("key", String, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
    PrimaryKeyConstraint("token_id", "key"),
)
