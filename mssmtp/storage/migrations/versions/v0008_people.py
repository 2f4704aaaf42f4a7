"""Persons, structures, what was recorded of them, what opens an account, services around mail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _boxes()
    _people()
    _keys()
    _services()


def _boxes() -> None:
    for name, kind in (
        ("structure", sa.BigInteger()),
        ("red_listed", sa.Boolean()),
        ("reacts", sa.Boolean()),
        ("closed_at", sa.BigInteger()),
        ("last_activity", sa.BigInteger()),
        ("idle_notices", sa.Integer()),
    ):
        op.add_column("bals", sa.Column(name, kind, nullable=True))
    op.create_index("ix_bals_structure", "bals", ["structure"], unique=False)
    op.create_index("ix_bals_last_activity", "bals", ["last_activity"], unique=False)
    op.create_index("ix_accounts_bal", "accounts", ["bal"], unique=False)
    op.add_column("app_passwords", sa.Column("expires_at", sa.BigInteger(), nullable=True))


def _people() -> None:
    op.create_table(
        "persons",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("usual_digest", sa.LargeBinary(), nullable=False),
        sa.Column("national_digest", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("structure", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("pending_since", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("finalised_at", sa.BigInteger(), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account"),
        sa.UniqueConstraint("usual_digest"),
        sa.UniqueConstraint("national_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_persons_checked_at", "persons", ["checked_at"], unique=False)
    op.create_index("ix_persons_pending_since", "persons", ["pending_since"], unique=False)
    op.create_index("persons_by_structure", "persons", ["structure", "state"], unique=False)
    op.create_table(
        "structures",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("finess_digest", sa.LargeBinary(), nullable=True),
        sa.Column("siret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("finess_digest"),
        sa.UniqueConstraint("siret_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_structures_domain", "structures", ["domain"], unique=False)
    op.create_index("ix_structures_region", "structures", ["region"], unique=False)
    op.create_table(
        "domains",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("structure", sa.BigInteger(), nullable=True),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("domain"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_domains_structure", "domains", ["structure"], unique=False)
    op.create_table(
        "records",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "records_by_subject", "records", ["subject", "subject_id", "kind"], unique=False
    )
    op.create_table(
        "retired",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "register",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "administrators",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("structure", sa.BigInteger(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("certificate"),
        sa.UniqueConstraint("uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_administrators_account", "administrators", ["account"], unique=False)
    op.create_index("ix_administrators_structure", "administrators", ["structure"], unique=False)
    op.create_table(
        "delegations",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_delegations_account", "delegations", ["account"], unique=False)
    op.create_index("ix_delegations_bal", "delegations", ["bal"], unique=False)


def _keys() -> None:
    op.create_table(
        "passwords",
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("spent_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_secrets_expires_at", "secrets", ["expires_at"], unique=False)
    op.create_index("secrets_by_digest", "secrets", ["kind", "digest"], unique=True)
    op.create_index(
        "secrets_by_subject", "secrets", ["subject", "kind", "created_at"], unique=False
    )
    op.create_table(
        "bindings",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("bal", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("bindings_of_accounts", "bindings", ["kind", "digest", "account"], unique=True)
    op.create_index("bindings_of_boxes", "bindings", ["kind", "digest", "bal"], unique=True)
    op.create_index("ix_bindings_account", "bindings", ["account"], unique=False)
    op.create_index("ix_bindings_bal", "bindings", ["bal"], unique=False)
    op.create_table(
        "suspensions",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
        sqlite_with_rowid=False,
    )


def _services() -> None:
    op.create_table(
        "traces",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("bal", sa.BigInteger(), nullable=True),
        sa.Column("structure", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("traces_by_account", "traces", ["account", "number"], unique=False)
    op.create_index("traces_by_bal", "traces", ["bal", "number"], unique=False)
    op.create_index("traces_by_structure", "traces", ["structure", "number"], unique=False)
    op.create_table(
        "notices",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("bal", sa.BigInteger(), nullable=True),
        sa.Column("blob", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_worker", sa.Text(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notices_due", "notices", ["due"], unique=False)
    op.create_index("notices_by_bal", "notices", ["bal", "kind", "done_at"], unique=False)
    op.create_index("notices_by_digest", "notices", ["digest", "at"], unique=False)
    op.create_table(
        "invited",
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("envelope", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_invited_digest", "invited", ["digest"], unique=False)
    op.create_index("ix_invited_expires_at", "invited", ["expires_at"], unique=False)
    op.create_table(
        "preferences",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "id", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scripts",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "answered",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_answered_until", "answered", ["until"], unique=False)
