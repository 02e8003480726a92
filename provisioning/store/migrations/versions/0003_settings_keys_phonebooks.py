"""Settings, function keys, phonebooks, uploads, and phones that nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("phones", sa.Column("keyed_by", sa.LargeBinary()))
    op.create_table(
        "choices",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("is_parameter", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("phone_id", sa.Integer()),
        sa.Column("line_id", sa.Integer()),
        *(
            sa.ForeignKeyConstraint(
                [f"{one}_id"], [f"{one}s.id"], name=op.f(f"fk_choices_{one}_id"), ondelete="CASCADE"
            )
            for one in ("account", "phone", "line")
        ),
        sa.PrimaryKeyConstraint("subject", "is_parameter", "name", name=op.f("pk_choices")),
        sqlite_with_rowid=False,
    )
    for one in ("account", "phone", "line"):
        op.create_index(op.f(f"ix_choices_{one}_id"), "choices", [f"{one}_id"])
    op.create_table(
        "function_keys",
        sa.Column("phone_id", sa.Integer(), nullable=False),
        sa.Column("module", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["phone_id"], ["phones.id"], name=op.f("fk_function_keys_phone_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("phone_id", "module", "number", name=op.f("pk_function_keys")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("phone_id", sa.Integer()),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("group", "name", "surname")),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("work", "mobile", "home")),
        sa.CheckConstraint("(account_id IS NULL) != (phone_id IS NULL)", name=op.f("ck_contacts_owner")),
        *(
            sa.ForeignKeyConstraint(
                [f"{one}_id"], [f"{one}s.id"], name=op.f(f"fk_contacts_{one}_id"), ondelete="CASCADE"
            )
            for one in ("account", "phone")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sqlite_autoincrement=True,
    )
    for one in ("account", "phone"):
        op.create_index(op.f(f"ix_contacts_{one}_id"), "contacts", [f"{one}_id"])
    op.create_table(
        "uploads",
        sa.Column("phone_id", sa.Integer(), nullable=False),
        sa.Column("shape", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["phone_id"], ["phones.id"], name=op.f("fk_uploads_phone_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("phone_id", "shape", name=op.f("pk_uploads")),
    )
    op.create_table(
        "unknown_phones",
        sa.Column("mac", sa.String(), nullable=False),
        *(sa.Column(name, sa.String()) for name in ("vendor", "model", "firmware")),
        sa.Column("user_agent", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("public_ip", sa.String()),
        sa.Column("first_seen_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("mac", name=op.f("pk_unknown_phones")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_unknown_phones_seen_at"), "unknown_phones", ["seen_at"])
