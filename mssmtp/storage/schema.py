"""The tables for both engines; those of people are in `schema_people.py`.

Statements are SQLAlchemy Core expressions compiled once by `sql()` and run on the driver's own
cursor: through Core a point read costs 3.7 times as much (perf/README.md). Their SQLite text names
them, PostgreSQL's is made when it is first asked for (`engine.py`). Times are integer microseconds;
columns named `sealed` hold AES-256-GCM; digests of names and addresses are keyed.

In clear: ids, digests, sizes, flags, dates, states, domains, certificate names of peers.
"""

from __future__ import annotations

import re
from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Delete,
    Index,
    Insert,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    Update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement, visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter

from mssmtp.storage.schema_base import Number, clustered, counted
from mssmtp.storage.schema_base import metadata as metadata
from mssmtp.storage.schema_people import accounts as accounts
from mssmtp.storage.schema_people import administrators as administrators
from mssmtp.storage.schema_people import app_passwords as app_passwords
from mssmtp.storage.schema_people import bals as bals
from mssmtp.storage.schema_people import bindings as bindings
from mssmtp.storage.schema_people import correspondents as correspondents
from mssmtp.storage.schema_people import delegations as delegations
from mssmtp.storage.schema_people import domains as domains
from mssmtp.storage.schema_people import members as members
from mssmtp.storage.schema_people import passwords as passwords
from mssmtp.storage.schema_people import persons as persons
from mssmtp.storage.schema_people import records as records
from mssmtp.storage.schema_people import register as register
from mssmtp.storage.schema_people import retired as retired
from mssmtp.storage.schema_people import secrets as secrets
from mssmtp.storage.schema_people import structures as structures
from mssmtp.storage.schema_people import suspensions as suspensions
from mssmtp.storage.schema_services import answered as answered
from mssmtp.storage.schema_services import invited as invited
from mssmtp.storage.schema_services import notices as notices
from mssmtp.storage.schema_services import preferences as preferences
from mssmtp.storage.schema_services import scripts as scripts
from mssmtp.storage.schema_services import traces as traces

VERSION = "0011"
"""Newest schema this code knows; the alembic revision of the same name makes it."""

KNOWN_VERSIONS = frozenset(f"{number:04}" for number in range(1, 12))

meta = clustered(
    "meta",
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

owners = counted(
    "owners",
    Column("id", Number, primary_key=True),
    Column("bal", BigInteger, unique=True),
    Column("domain", Text, unique=True),
    Column("handle", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("mark", LargeBinary),
    Column("older", LargeBinary),
)
"""`mark` is the first octet of everything sealed under the key `wrapped`. While a rotation runs,
`older` is the key before it; values may still begin with the mark before."""

# ---------------------------------------------------------------- content

blobs = counted(
    "blobs",
    Column("number", Number, primary_key=True),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("envelope", Text),
    Column("chunks", LargeBinary, nullable=False),
    Column("data", LargeBinary),
)
"""`data` is null when the sealed chunks are a file named by `id`."""

blob_keys = clustered(
    "blob_keys",
    Column("blob", BigInteger, primary_key=True),
    Column("owner", BigInteger, primary_key=True),
    Column("references", BigInteger, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("summary", LargeBinary),
)
"""One row per owner that still refers to the blob; dropping it shreds the owner's access."""

doomed_files = clustered(
    "doomed_files",
    Column("id", LargeBinary, primary_key=True),
)
"""Files whose row is gone; the unlink follows the commit and may have been lost to a crash."""

# ---------------------------------------------------------------- mailboxes

mailboxes = counted(
    "mailboxes",
    Column("id", Number, primary_key=True),
    Column("bal", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("uid_validity", BigInteger, nullable=False),
    Column("uid_next", BigInteger, nullable=False),
    Column("highest_modseq", BigInteger, nullable=False),
    Column("special_use", Text),
    Column("subscribed", Boolean, nullable=False),
    Column("recent_from", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("unseen", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("mailboxes_by_name", "bal", "digest", unique=True),
)

messages = clustered(
    "messages",
    Column("mailbox", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("modseq", BigInteger, nullable=False),
    Column("flags", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("internal_date", BigInteger, nullable=False),
    Column("blob", BigInteger, nullable=False),
    Column("saved_at", BigInteger),
    Index("messages_by_modseq", "mailbox", "modseq"),
    Index("messages_by_blob", "blob"),
)
"""What a message came with: `modseq` and `flags` are those of `states`, where that names it.
`saved_at`: since when it is in this mailbox (RFC 8514), null when that is not known."""

states = clustered(
    "states",
    Column("mailbox", BigInteger, primary_key=True),
    Column("window", BigInteger, primary_key=True),
    Column("modseq", BigInteger, nullable=False),
    Column("octets", LargeBinary, nullable=False),
    Index("states_by_modseq", "mailbox", "modseq"),
)
"""Flags and modseqs of the messages of a window that were changed since they came (`states.py`);
`modseq` is the newest of them."""

expunged = clustered(
    "expunged",
    Column("mailbox", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("modseq", BigInteger, nullable=False),
    Index("expunged_by_modseq", "mailbox", "modseq"),
)

copying = counted(
    "copying",
    Column("id", Number, primary_key=True),
    Column("mailbox", BigInteger, nullable=False),
    Column("uids", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)
"""COPYs of several commits, while they are under way (`copying.py`): the UIDs made so far in
`mailbox`, as ranges `1:200,205:404`."""

keywords = clustered(
    "keywords",
    Column("mailbox", BigInteger, primary_key=True),
    Column("bit", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

packs = clustered(
    "packs",
    Column("mailbox", BigInteger, primary_key=True),
    Column("window", BigInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""A cache of the summaries of the UIDs of one window; may be emptied at any time."""

texts = clustered(
    "texts",
    Column("mailbox", BigInteger, primary_key=True),
    Column("kind", Integer, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""A cache of what SEARCH looks through, of the UIDs `first` to `last`; may be emptied at any time.
`kind`: 0 header sections, 1 bodies, 2 sieves of bodies."""

subscriptions = clustered(
    "subscriptions",
    Column("bal", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Subscribed names without a mailbox: RFC 3501 6.3.6 keeps them."""

acl = clustered(
    "acl",
    Column("mailbox", BigInteger, primary_key=True),
    Column("account", BigInteger, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Rights of one member in one mailbox of an ORG box, in the place of those of the role."""

entries = clustered(
    "metadata",
    Column("bal", BigInteger, primary_key=True),
    Column("mailbox", BigInteger, primary_key=True),
    Column("account", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
"""Annotations (RFC 5464). `mailbox` 0: of the server; `account` 0: shared, else private to it."""

readings = clustered(
    "readings",
    Column("bal", BigInteger, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("account", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("octets", LargeBinary, nullable=False),
)
"""Once for each person, message and day (DEF-06): `releve`, a part of the body was fetched; `lu`, a
person has seen it. A row is what was written at once: a set of letters (`number_sets.py`), none of
which is in another of that person, kind and day. `day` counts from 1970; `at` is the first time."""

# ---------------------------------------------------------------- envelopes and evidence

envelopes = clustered(
    "envelopes",
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("blob", BigInteger),
    Column("skip", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("bounced", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("envelopes_by_blob", "blob"),
)
"""Conservation (D3): accepted = delivered + bounced + dropped + rows in `queue`."""

queue = clustered(
    "queue",
    Column("envelope", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("domain", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("warned", Boolean, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("next_attempt", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("lease_worker", Text),
    Column("last_reply", LargeBinary),
    Column("owner", BigInteger, nullable=False),
    Column("urgency", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("release_at", BigInteger, nullable=False),
    Index("queue_by_due", "due"),
    Index("queue_by_domain", "domain", "due"),
    Index("queue_by_turn", "domain", "urgency", "owner", "due"),
)
"""`due` is when anybody may lease the row: the later of `next_attempt` and `lease_until`, NEVER
while it is held. `owner` is the envelope's, on whose behalf it waits; `urgency` is the priority of
RFC 6710 with its sign turned, so that what is urgent comes first. `release_at`: not before
(RFC 4865), 0 for at once."""

NEVER = 1 << 62
"""In `queue.due`: no time at all."""
AT_ONCE = 1
"""In `queue.due`: somebody said so, and a pause of the relay does not count."""

sent = clustered(
    "sent",
    Column("owner", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("envelope", Text, primary_key=True),
    Column("blob", BigInteger),
    Column("sealed", LargeBinary, nullable=False),
    Index("sent_by_envelope", "envelope"),
    Index("sent_by_blob", "blob"),
)
"""From what a notice names (Message-ID, ENVID) to the envelope and to the sender's own copy of it.
`digest` is keyed, `sealed` the name itself."""

sent_copies = clustered(
    "sent_copies",
    Column("mailbox", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("uid", BigInteger, nullable=False),
    Column("sides", Integer, nullable=False),
    Column("sealed", LargeBinary),
)
"""Which message of a mailbox Sent is the letter of that Message-ID and body (CL-80); it may be
expunged since. `digest` is keyed, of what is `sealed`: null in rows older than schema 0011.
`sides`: 1 it was submitted, 2 a client has filed it."""

events = counted(
    "events",
    Column("number", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("envelope", Text, index=True),
    Column("clear", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

event_lines = clustered(
    "event_lines",
    Column("event", BigInteger, primary_key=True),
    Column("owner", BigInteger, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

transfers = counted(
    "transfers",
    Column("number", Number, primary_key=True),
    Column("envelope", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("owner", BigInteger, nullable=False),
    Column("clear", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

facts = clustered(
    "facts",
    Column("envelope", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("owner", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

changes = counted(
    "changes",
    Column("number", Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("bal", BigInteger, nullable=False),
    Column("mailbox", BigInteger, nullable=False),
    Column("modseq", BigInteger, nullable=False),
)
"""The last changes, for the sessions of every process; older ones are pruned."""

_SQLITE = sqlite.dialect(paramstyle="named")
_STATEMENTS: dict[str, ClauseElement] = {}


def sql(statement: ClauseElement) -> str:
    """`statement` as text of the embedded engine, with `:name` parameters.

    Constants of our own (numbers, null) are written into the text; everything that comes from
    outside is a `bindparam` and travels as a parameter (ATT-22). Called once per statement, when
    its module is loaded: what is compiled is kept.
    """
    text = _compiled(statement, _SQLITE, ":{}\\b")
    _STATEMENTS[text] = statement
    return text


@cache
def table_of(text: str) -> str | None:
    """The table that the statement of this text looks in or changes first; None: none of ours."""
    statement = _STATEMENTS.get(text)
    if isinstance(statement, Insert | Update | Delete):
        return str(statement.table)
    froms = statement.get_final_froms() if isinstance(statement, Select) else []
    return str(froms[0]) if len(froms) == 1 else None


@cache
def tables_in(text: str) -> frozenset[str]:
    """Every table that the statement of this text looks in or changes. Raises KeyError."""
    found = set()
    for element in visitors.iterate(_STATEMENTS[text]):
        table = element.table if isinstance(element, Column) else element
        if isinstance(table, Table):
            found.add(table.name)
    return frozenset(found)


@cache
def postgres_text(name: str) -> str:
    """The text for PostgreSQL of the statement that `sql` gave `name`, with `%(name)s` parameters.

    Raises KeyError for any other text: nothing reaches that engine that was not made here (ATT-22).
    """
    from sqlalchemy.dialects import postgresql  # a store on SQLite never needs it

    dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
    return _compiled(_STATEMENTS[name], dialect, "%\\({}\\)s")


def _compiled(statement: ClauseElement, dialect: Dialect, placeholder: str) -> str:
    compiled = statement.compile(dialect=dialect)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("not a statement")
    text = str(compiled)
    for name, parameter in compiled.binds.items():
        if parameter.required or name not in compiled.params:
            continue
        literal = _literal(name, parameter, compiled.params[name], dialect)
        text = re.sub(placeholder.format(re.escape(name)), literal, text)
    return text


def _literal(
    name: str, parameter: BindParameter[object], constant: object, dialect: Dialect
) -> str:
    if constant is None:
        return "NULL"
    if not isinstance(constant, int):
        raise TypeError(f"{name} must be a bindparam")
    if isinstance(parameter.type, Boolean) and dialect.name == "postgresql":
        return "true" if constant else "false"
    return str(int(constant))
