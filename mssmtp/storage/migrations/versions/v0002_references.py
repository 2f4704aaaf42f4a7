"""Who refers to a content: without these, checking a few contents reads every message."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("messages_by_blob", "messages", ["blob"], unique=False)
    op.create_index("envelopes_by_blob", "envelopes", ["blob"], unique=False)
