"""Proofs beside the phone's own secret, the life of a phone, scopes, sessions, the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("proofs", sa.String()))
    for column in ("shipped_at", "returned_at", "secret_lost_at", "reopened_at"):
        op.add_column("phones", sa.Column(column, sa.Float()))
    op.create_index(
        op.f("ix_phones_reopened_at"),
        "phones",
        ["reopened_at"],
        sqlite_where=sa.text("reopened_at IS NOT NULL"),
    )
    op.add_column("phone_secrets", sa.Column("kind", sa.String(), nullable=False, server_default="own"))
    op.add_column("phone_secrets", sa.Column("expires_at", sa.Float()))
    op.add_column("phone_secrets", sa.Column("used_at", sa.Float()))
    op.add_column("phone_secrets", sa.Column("used_from", sa.String()))
    op.add_column("phone_secrets", sa.Column("used_for", sa.String(), nullable=False, server_default=""))
    op.add_column("doors", sa.Column("opened_by", sa.String(), nullable=False, server_default="attach"))
    op.add_column("doors", sa.Column("passed_at", sa.Float()))
    op.add_column("tokens", sa.Column("scope", sa.String(), nullable=False, server_default="admin"))
    op.add_column("tokens", sa.Column("expires_at", sa.Float()))
    op.add_column("tokens", sa.Column("used_at", sa.Float()))
    op.add_column("tokens", sa.Column("used_from", sa.String()))
    op.create_table(
        "activation_codes",
        sa.Column("phone_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("locked_until", sa.Float()),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_activation_codes_phone_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("phone_id", name=op.f("pk_activation_codes")),
        sa.UniqueConstraint("hash", name=op.f("uq_activation_codes_hash")),
    )
    op.create_table(
        "places",
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_places_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("place", "account_id", name=op.f("pk_places")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_places_account_id"), "places", ["account_id"])
    op.create_table(
        "sessions",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_sessions_token_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_sessions_token_id"), "sessions", ["token_id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"])
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_refuses_{verb.lower()} BEFORE {verb} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )
    op.create_table(
        "alarms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("mac", sa.String()),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
    )
