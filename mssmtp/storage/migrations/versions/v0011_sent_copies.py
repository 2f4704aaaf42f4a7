"""What a copy in Sent is known by, sealed: without it a new key leaves the digest behind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("sent_copies", sa.Column("sealed", sa.LargeBinary(), nullable=True))
