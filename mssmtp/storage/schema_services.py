"""Tables of the services around mail: traces of what people did, service mail, scripts, choices."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Text

from mssmtp.storage.schema_base import Number, clustered, counted

traces = counted(
    "traces",
    Column("number", Number, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("account", BigInteger),
    Column("bal", BigInteger),
    Column("structure", BigInteger),
    Column("sealed", LargeBinary, nullable=False),
    Index("traces_by_account", "account", "number"),
    Index("traces_by_bal", "bal", "number"),
    Index("traces_by_structure", "structure", "number"),
)
"""Functional traces (OP-71, OP-72): who did what, and what was answered; never content. Purged by
number, from the oldest (OP-73)."""

notices = counted(
    "notices",
    Column("id", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("account", BigInteger),
    Column("bal", BigInteger),
    Column("blob", BigInteger),
    Column("digest", LargeBinary),
    Column("sealed", LargeBinary),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_worker", Text),
    Column("done_at", BigInteger),
    Column("outcome", Text),
    Index("notices_by_digest", "digest", "at"),
    Index("notices_by_bal", "bal", "kind", "done_at"),
)
"""Service mail that waits for its relay. `digest` is of the address, null while only the box and
the letter (`blob`) are known; `sealed` is null as soon as the mail has left or failed."""

invited = clustered(
    "invited",
    Column("envelope", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
"""Letters that wait for an address nobody has registered yet (DEF-09, SEED-35). `digest` is of the
address; it and `sealed`, the recipient as in `queue`, are under the master key."""

preferences = clustered(
    "preferences",
    Column("subject", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""Texts and choices of a bal, an account or a structure, under the master key."""

scripts = clustered(
    "scripts",
    Column("bal", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""Sieve scripts of a box, under its key; `digest` is of the name. At most one is active."""

answered = clustered(
    "answered",
    Column("bal", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("until", BigInteger, nullable=False, index=True),
)
"""Who was answered automatically by a box, until when nobody answers again (RFC 3834 2)."""
