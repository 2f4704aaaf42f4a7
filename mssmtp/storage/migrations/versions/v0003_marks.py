"""Marks of keys, so that keys can be replaced; proofs of membership; who wrote to a BAL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("owners", sa.Column("mark", sa.LargeBinary(), nullable=True))
    op.add_column("owners", sa.Column("older", sa.LargeBinary(), nullable=True))
    op.add_column("members", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("correspondents", sa.Column("sealed", sa.LargeBinary(), nullable=True))
