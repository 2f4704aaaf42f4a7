"""Rights in shared boxes, quotas, annotations, reading events, dates of saving."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("messages", sa.Column("saved_at", sa.BigInteger(), nullable=True))
    op.add_column("bals", sa.Column("quota_octets", sa.BigInteger(), nullable=True))
    op.add_column("bals", sa.Column("quota_messages", sa.BigInteger(), nullable=True))
    op.add_column("app_passwords", sa.Column("bal", sa.BigInteger(), nullable=True))
    op.create_index("ix_app_passwords_bal", "app_passwords", ["bal"], unique=False)
    op.create_table(
        "acl",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "account"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metadata",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "mailbox", "account", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "readings",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("blob", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "day", "blob", "account", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_index("readings_by_blob", "readings", ["blob", "bal"], unique=False)
