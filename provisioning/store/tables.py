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
    # The proofs by which its phones may have lines, separated by blanks; none: the operator's.
    Column("proofs", String),
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
    # Its life, beside what phone_secrets tell (domain.life).
    Column("shipped_at", Float),
    Column("returned_at", Float),
    # A bound phone asked without its secret: it was reset to what the factory made of it.
    Column("secret_lost_at", Float),
    # When a door last opened by itself for such a phone.
    Column("reopened_at", Float),
    # The hash of the secret of which the key is made that it last fetched: it can decrypt with it.
    Column("keyed_by", LargeBinary),
    CheckConstraint("length(mac) = 12", name="mac"),
    # An id is never used twice: rendered documents are cached under it.
    sqlite_autoincrement=True,
)

Index(
    "ix_phones_reopened_at",
    phones.c.reopened_at,
    sqlite_where=phones.c.reopened_at.is_not(None),
)

# Secrets of 128 random bits in a phone's URL: its own (two are valid while one replaces the other),
# and the one-time bootstrap token that a vendor's redirect service gives it.
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
    # own or bootstrap.
    Column("kind", String, nullable=False, server_default="own"),
    # The rest is of bootstrap tokens: until when it can be used; when, from which place and for
    # which documents it was.
    Column("expires_at", Float),
    Column("used_at", Float),
    Column("used_from", String),
    Column("used_for", String, nullable=False, server_default=""),
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
    # What opened it: reset, admin, attach, or reopen (by itself).
    Column("opened_by", String, nullable=False, server_default="attach"),
    # The first fetch through it, which starts the one set that it is for.
    Column("passed_at", Float),
    Index("ix_doors_mac_place", "mac", "place"),
)

# Six digits that somebody types on the phone; one code a phone. Looked up by a keyed hash of MAC and
# code, and sealed beside it, for Digest needs the digits.
activation_codes = Table(
    "activation_codes",
    metadata,
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("code", LargeBinary, nullable=False),
    Column("key_id", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", Float),
)

# Which accounts' phones are seen at a place: where it is more than one, an address confirms nothing.
places = Table(
    "places",
    metadata,
    Column("place", String, nullable=False),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("seen_at", Float, nullable=False),
    PrimaryKeyConstraint("place", "account_id"),
    sqlite_with_rowid=False,
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

# What is chosen, for whom: `operator`, `model:<id>`, `account:<id>`, `phone:<id>` or `line:<id>`; the
# ids stand again beside it, so that choices go with what they are for.
choices = Table(
    "choices",
    metadata,
    Column("subject", String, nullable=False),
    # A parameter of the vendor's own, and no setting of ours.
    Column("is_parameter", Boolean, nullable=False),
    Column("name", String, nullable=False),
    # JSON.
    Column("value", String, nullable=False),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), index=True),
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), index=True),
    Column("line_id", ForeignKey("lines.id", ondelete="CASCADE"), index=True),
    PrimaryKeyConstraint("subject", "is_parameter", "name"),
    sqlite_with_rowid=False,
)

# Function keys that are set; the others do what the model's layout says (domain.keys).
function_keys = Table(
    "function_keys",
    metadata,
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False),
    # 0: on the phone itself.
    Column("module", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("type", String, nullable=False),
    Column("value", String, nullable=False),
    Column("label", String, nullable=False),
    PrimaryKeyConstraint("phone_id", "module", "number"),
    sqlite_with_rowid=False,
)

# Phonebook entries: of an account, for all its phones, or of one phone.
contacts = Table(
    "contacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), index=True),
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), index=True),
    Column("group", String, nullable=False),
    Column("name", String, nullable=False),
    Column("surname", String, nullable=False),
    Column("work", String, nullable=False),
    Column("mobile", String, nullable=False),
    Column("home", String, nullable=False),
    CheckConstraint("(account_id IS NULL) != (phone_id IS NULL)", name="owner"),
    sqlite_autoincrement=True,
)

# Files that a phone PUT, the newest of each name.
uploads = Table(
    "uploads",
    metadata,
    Column("phone_id", ForeignKey("phones.id", ondelete="CASCADE"), nullable=False),
    # Lower case, {mac} for the MAC.
    Column("shape", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("phone_id", "shape"),
)

# Phones that asked and are nobody's: a bounded trace of the latest, for an admin to adopt.
unknown_phones = Table(
    "unknown_phones",
    metadata,
    Column("mac", String, primary_key=True),
    Column("vendor", String),
    Column("model", String),
    Column("firmware", String),
    Column("user_agent", String, nullable=False),
    Column("document", String, nullable=False),
    Column("public_ip", String),
    Column("first_seen_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False, index=True),
    sqlite_with_rowid=False,
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
    # read, operate or admin.
    Column("scope", String, nullable=False, server_default="admin"),
    Column("expires_at", Float),
    Column("used_at", Float),
    Column("used_from", String),
)

# The console's: a cookie instead of a token that a browser would have to keep. Looked up by its hash.
sessions = Table(
    "sessions",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("token_id", ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    sqlite_with_rowid=False,
)

# Every change: who, what, from where, before and after with secrets masked. Triggers of the
# migration refuse to alter it; each row's hash covers the row before (store.audit).
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", String, nullable=False),
    Column("address", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("before", String, nullable=False),
    Column("after", String, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# What an operator should look at: a burnt token shown again, a sweep over a vendor's addresses.
alarms = Table(
    "alarms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("mac", String),
    Column("detail", String, nullable=False),
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
