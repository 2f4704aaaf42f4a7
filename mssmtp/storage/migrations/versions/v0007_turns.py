"""Whose turn it is in the queue; what was sent, for the notices about it; the one copy in Sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NEVER = 1 << 62


def upgrade() -> None:
    for name, kind in (
        ("owner", sa.BigInteger()),
        ("urgency", sa.Integer()),
        ("due", sa.BigInteger()),
        ("release_at", sa.BigInteger()),
    ):
        op.add_column("queue", sa.Column(name, kind, nullable=False, server_default="0"))
    waiting = sa.table(
        "queue",
        *(sa.column(each) for each in ("envelope", "owner", "due", "next_attempt", "lease_until")),
        sa.column("held", sa.Boolean()),
    )
    envelopes = sa.table("envelopes", sa.column("id"), sa.column("owner"))
    its_owner = (
        sa.select(envelopes.c.owner).where(envelopes.c.id == waiting.c.envelope).scalar_subquery()
    )
    op.execute(
        sa.update(waiting).values(
            owner=sa.func.coalesce(its_owner, 0),
            due=sa.case(
                (waiting.c.held, _NEVER),
                (waiting.c.lease_until > waiting.c.next_attempt, waiting.c.lease_until),
                else_=waiting.c.next_attempt,
            ),
        )
    )
    op.drop_index("queue_by_time", "queue")
    op.create_index("queue_by_due", "queue", ["due"], unique=False)
    op.create_index("queue_by_domain", "queue", ["domain", "due"], unique=False)
    op.create_index("queue_by_turn", "queue", ["domain", "urgency", "owner", "due"], unique=False)
    op.create_table(
        "sent",
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("blob", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "digest", "envelope"),
        sqlite_with_rowid=False,
    )
    op.create_index("sent_by_envelope", "sent", ["envelope"], unique=False)
    op.create_index("sent_by_blob", "sent", ["blob"], unique=False)
    op.create_table(
        "sent_copies",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("sides", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "digest"),
        sqlite_with_rowid=False,
    )
    op.add_column("bals", sa.Column("sent_copy", sa.Boolean(), nullable=True))
