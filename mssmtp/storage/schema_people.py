"""Tables of people: boxes, accounts, persons, structures, what was recorded, what opens what.

What an index needs stands in clear beside `sealed` (structure, region, kind, dates); what gives a
right is read from `sealed` alone, so that the database gives nobody anything (ATT-19).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Text

from mssmtp.storage.schema_base import Number, clustered, counted

bals = counted(
    "bals",
    Column("id", Number, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("usual_digest", LargeBinary, unique=True),
    Column("last_uid_validity", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("quota_octets", BigInteger),
    Column("quota_messages", BigInteger),
    Column("sent_copy", Boolean),
    Column("structure", BigInteger, index=True),
    Column("red_listed", Boolean),
    Column("reacts", Boolean),
    Column("closed_at", BigInteger),
    Column("last_activity", BigInteger, index=True),
    Column("idle_notices", Integer),
)
"""A quota that is null is the one of the settings; 0 is none. `sent_copy` false: submission files
no copy in Sent; null is yes. `structure` finds a box; what counts is sealed. `reacts`: a script or
an automatic reply is to be asked at delivery; null is no. `last_activity` is of a person (DEF-24),
null: none since `created_at`; `idle_notices` is how many warnings were sent since then (OP-48)."""

accounts = counted(
    "accounts",
    Column("id", Number, primary_key=True),
    Column("login_digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("bal", BigInteger, index=True),
    Column("active", Boolean, nullable=False),
)

members = clustered(
    "members",
    Column("account", BigInteger, primary_key=True),
    Column("bal", BigInteger, primary_key=True),
    Column("sealed", LargeBinary),
)
"""`sealed` is the role: it proves that the operator, not the database, let the account in."""

app_passwords = counted(
    "app_passwords",
    Column("id", Number, primary_key=True),
    Column("account", BigInteger, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("bal", BigInteger, index=True),
    Column("expires_at", BigInteger),
)
"""`bal`: the one box this password opens, by its address; null for all of the account's."""

correspondents = clustered(
    "correspondents",
    Column("bal", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary),
)

# ---------------------------------------------------------------- persons and structures

persons = counted(
    "persons",
    Column("id", Number, primary_key=True),
    Column("account", BigInteger, nullable=False, unique=True),
    Column("usual_digest", LargeBinary, nullable=False, unique=True),
    Column("national_digest", LargeBinary, unique=True),
    Column("state", Text, nullable=False),
    Column("structure", BigInteger),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("pending_since", BigInteger, index=True),
    Column("told_at", BigInteger),
    Column("finalised_at", BigInteger),
    Column("checked_at", BigInteger, index=True),
    Column("left_at", BigInteger),
    Index("persons_by_structure", "structure", "state"),
)
"""`pending_since`: certification was asked for then, and nobody has answered (SEED-36). `told_at`:
the activation link was last sent; `finalised_at`: its holder has used it (DEF-11). `checked_at`:
the register was last asked (OP-45); `left_at`: the activity has ended (OP-49)."""

structures = counted(
    "structures",
    Column("id", Number, primary_key=True),
    Column("finess_digest", LargeBinary, unique=True),
    Column("siret_digest", LargeBinary, unique=True),
    Column("region", Text, nullable=False, index=True),
    Column("domain", Text, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
)

domains = clustered(
    "domains",
    Column("domain", Text, primary_key=True),
    Column("structure", BigInteger, index=True),
    Column("requested_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Who controls a served domain (OP-43); `structure` null: the operator. `sealed` repeats it, with
the kind (own, generic) and for whom a generic one is (SEED-04)."""

records = counted(
    "records",
    Column("id", Number, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("records_by_subject", "subject", "subject_id", "kind"),
)
"""Dated records that gate activation: `subject` is structure, person or bal, `subject_id` which;
`at` the date of the thing itself. Of one kind the newest row counts; none is ever changed."""

retired = counted(
    "retired",
    Column("id", Number, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Addresses of boxes that are gone: nobody is given them again (OP-51)."""

register = counted(
    "register",
    Column("id", Number, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
"""The local directory that certification asks (OP-45): identity, profession, open or closed."""

administrators = counted(
    "administrators",
    Column("id", Number, primary_key=True),
    Column("level", Text, nullable=False),
    Column("structure", BigInteger, index=True),
    Column("region", Text),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("certificate", LargeBinary, unique=True),
    Column("uid", BigInteger, unique=True),
    Column("account", BigInteger, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
)
"""`digest` is of the name; `certificate` the SHA-256 of that of the TLS door, `uid` the user of the
socket door. The columns only find the row: authority is read from `sealed`."""

delegations = counted(
    "delegations",
    Column("id", Number, primary_key=True),
    Column("bal", BigInteger, nullable=False, index=True),
    Column("account", BigInteger, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("begins_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""`bal` is the holder's box, `account` the delegate's own. `kind`: delegation, handover (DEF-23) or
break-glass (F10); it, the right and the dates are inside `sealed` too. `ended_at`: taken back."""

# ---------------------------------------------------------------- what opens an account

passwords = clustered(
    "passwords",
    Column("account", BigInteger, primary_key=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Of the portal: a first factor, never for SMTP or IMAP (SEED-11)."""

secrets = counted(
    "secrets",
    Column("id", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("subject", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("tries", Integer, nullable=False),
    Column("spent_at", BigInteger),
    Column("sealed", LargeBinary, nullable=False),
    Index("secrets_by_digest", "kind", "digest", unique=True),
    Index("secrets_by_subject", "subject", "kind", "created_at"),
)
"""One-time codes and links. `digest` is keyed, of the token of the link or of the attempt, never of
a code; `subject` is an account, 0 for none yet; `tries` counts wrong ones."""

bindings = counted(
    "bindings",
    Column("id", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("account", BigInteger, index=True),
    Column("bal", BigInteger, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("bindings_of_accounts", "kind", "digest", "account", unique=True),
    Index("bindings_of_boxes", "kind", "digest", "bal", unique=True),
)
"""Who or what an outside identity is here: a subject of Pro Santé Connect, a card, a certificate,
an entry of a hospital's directory. `digest` is keyed, of kind, issuer and subject."""

suspensions = clustered(
    "suspensions",
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""In force now (OP-79). `kind`: domain, certificate, account; `name`: the domain, the SHA-256 of
the certificate in hex, the id of the account."""
