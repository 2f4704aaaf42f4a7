"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _people()
    _contents()
    _mailboxes()
    _messages()
    _envelopes()
    _ledger()
    if op.get_bind().dialect.name == "postgresql":
        _uncompressed()


def _uncompressed() -> None:
    """Sealed octets do not get smaller: PostgreSQL shall not try."""
    for table, column in (("blobs", "data"), ("packs", "sealed")):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def _people() -> None:
    op.create_table(
        "owners",
        sa.Column("id", _Number, nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bal"),
        sa.UniqueConstraint("domain"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bals",
        sa.Column("id", _Number, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("usual_digest", sa.LargeBinary(), nullable=True),
        sa.Column("last_uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("usual_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "accounts",
        sa.Column("id", _Number, nullable=False),
        sa.Column("login_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("login_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "members",
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "bal"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "app_passwords",
        sa.Column("id", _Number, nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_app_passwords_account"), "app_passwords", ["account"], unique=False)
    op.create_table(
        "correspondents",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "digest"),
        sqlite_with_rowid=False,
    )


def _contents() -> None:
    op.create_table(
        "blobs",
        sa.Column("number", _Number, nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=True),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "blob_keys",
        sa.Column("blob", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("references", sa.BigInteger(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("blob", "owner"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "doomed_files",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )


def _mailboxes() -> None:
    op.create_table(
        "mailboxes",
        sa.Column("id", _Number, nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid_next", sa.BigInteger(), nullable=False),
        sa.Column("highest_modseq", sa.BigInteger(), nullable=False),
        sa.Column("special_use", sa.Text(), nullable=True),
        sa.Column("subscribed", sa.Boolean(), nullable=False),
        sa.Column("recent_from", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("unseen", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("mailboxes_by_name", "mailboxes", ["bal", "digest"], unique=True)
    op.create_table(
        "subscriptions",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keywords",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("bit", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "bit"),
        sqlite_with_rowid=False,
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("internal_date", sa.BigInteger(), nullable=False),
        sa.Column("blob", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "uid"),
        sqlite_with_rowid=False,
    )
    op.create_index("messages_by_modseq", "messages", ["mailbox", "modseq"], unique=False)
    op.create_table(
        "expunged",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "uid"),
        sqlite_with_rowid=False,
    )
    op.create_index("expunged_by_modseq", "expunged", ["mailbox", "modseq"], unique=False)
    op.create_table(
        "packs",
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "window"),
        sqlite_with_rowid=False,
    )


def _envelopes() -> None:
    op.create_table(
        "envelopes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("blob", sa.BigInteger(), nullable=True),
        sa.Column("skip", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("bounced", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue",
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("warned", sa.Boolean(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_worker", sa.Text(), nullable=True),
        sa.Column("last_reply", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("envelope", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("queue_by_time", "queue", ["held", "next_attempt"], unique=False)


def _ledger() -> None:
    op.create_table(
        "events",
        sa.Column("number", _Number, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=True),
        sa.Column("clear", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_envelope"), "events", ["envelope"], unique=False)
    op.create_table(
        "event_lines",
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event", "owner"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transfers",
        sa.Column("number", _Number, nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("clear", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_transfers_envelope"), "transfers", ["envelope"], unique=False)
    op.create_table(
        "facts",
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("envelope"),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_facts_expires_at"), "facts", ["expires_at"], unique=False)
    op.create_table(
        "changes",
        sa.Column("number", _Number, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("mailbox", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
