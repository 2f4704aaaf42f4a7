"""Who has fetched and seen what: a row for what was written at once, not one for each letter."""

from __future__ import annotations

from itertools import groupby

import sqlalchemy as sa
from alembic import op

from mssmtp.storage.number_sets import MOST, packed

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "readings_of_sets",
        sa.Column("bal", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bal", "day", "account", "kind", "first"),
        sqlite_with_rowid=False,
    )
    _convert()
    op.drop_index("readings_by_blob", "readings")
    op.drop_table("readings")
    op.rename_table("readings_of_sets", "readings")


def _convert() -> None:
    """Box by box and day by day: so much is in memory at once."""
    db = op.get_bind()
    names = ("bal", "day", "account", "kind")
    was = sa.table("readings", *(sa.column(name) for name in (*names, "at", "blob")))
    columns = (*names, "first", "last", "at", "octets")
    new = sa.table("readings_of_sets", *(sa.column(name) for name in columns))
    days = db.execute(sa.select(was.c.bal, was.c.day).distinct()).all()
    for bal, day in days:
        of_day = sa.select(was.c.account, was.c.kind, was.c.at, was.c.blob)
        of_day = of_day.where(was.c.bal == bal).where(was.c.day == day)
        rows = db.execute(of_day.order_by(was.c.account, was.c.kind, was.c.at, was.c.blob)).all()
        for (account, kind, at), group in groupby(rows, lambda row: tuple(row[:3])):
            letters = [row[3] for row in group]
            for start in range(0, len(letters), MOST):
                first, last, octets = packed(letters[start : start + MOST])
                values = (bal, day, account, kind, first, last, at, octets)
                db.execute(sa.insert(new).values(dict(zip(columns, values, strict=True))))
