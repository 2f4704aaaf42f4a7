"""What has become of messages since they came, window by window."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "states",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "window"),
        sqlite_with_rowid=False,
    )
    op.create_index("states_by_modseq", "states", ["mailbox", "modseq"], unique=False)
