"""Where sealed values stand, table by table, and how a row is sealed anew under a newer key.

The one list that rotation, checks and tests go by: a table with a sealed column that is not named
here fails `tests/storage/test_stations.py`. A key's work is done when no row at any station bears
an older mark.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from mssmtp.mail import Address
from mssmtp.storage.annotations import ANNOTATION, annotation_purpose
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.delivery import ENVELOPE, RECIPIENT, recipient_purpose
from mssmtp.storage.flags import keyword_purpose
from mssmtp.storage.keys import MESSAGE_KEY, OWNER_KEY
from mssmtp.storage.ledger import FACTS, LINES, trace_purpose
from mssmtp.storage.mailboxes import NAME, SUBSCRIPTION, mailbox_purpose
from mssmtp.storage.people import (
    CORRESPONDENT,
    account_purpose,
    bal_purpose,
    password_purpose,
)
from mssmtp.storage.rights import acl_purpose, member_purpose
from mssmtp.storage.schema import (
    accounts,
    acl,
    app_passwords,
    bals,
    blob_keys,
    blobs,
    correspondents,
    entries,
    envelopes,
    event_lines,
    facts,
    keywords,
    mailboxes,
    members,
    owners,
    packs,
    queue,
    sent,
    sql,
    subscriptions,
    texts,
    transfers,
)
from mssmtp.storage.sent_letters import SENT, sent_purpose
from mssmtp.storage.summaries import pack_purpose
from mssmtp.storage.texts import texts_purpose
from mssmtp.storage.view import owner_name
from mssmtp.storage.waiting import reply_purpose

Values = Mapping[str, Any]
"""Columns of one row by name."""

Purpose = Callable[[Values], bytes]
Digests = Callable[["Opener", Values, Mapping[str, bytes]], dict[str, bytes | None]]


class Opener(Protocol):
    """A key as a station needs it: `OwnerKey`, and the two uses of a `Keyring`."""

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Raises Damaged."""
        ...

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Under the newest key."""
        ...

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Under the newest key."""
        ...


@dataclass(frozen=True, slots=True)
class Station:
    """One table. `under`: an owner's key, or one of the two uses of the master key."""

    table: Table
    under: Literal["owner", "names", "wrapping"]
    sealed: Mapping[str, Purpose]
    digests: Digests
    names: tuple[str, ...]
    """Columns of `load`, the first of them the id of the owner."""
    stale: str
    """Primary keys and sizes of at most `most` stale rows behind `after_…`."""
    load: str
    """Stale rows from `first_…` to `last_…`."""
    update: str
    waiting: str
    """How many rows are stale."""
    behind: str
    """Ids of the owners that have stale rows."""
    page: str
    """As `load`, but every row, stale or not, at most `most` behind `after_…`."""
    rows: str
    """How many rows `owner` has, or everybody together when it is null."""

    @property
    def name(self) -> str:
        """For reports."""
        return self.table.name

    def keys(self) -> tuple[str, ...]:
        """Names of the primary key's columns."""
        return tuple(column.name for column in self.table.primary_key.columns)

    def start(self) -> tuple[object, ...]:
        """A primary key before every other."""
        return tuple(_least(column) for column in self.table.primary_key.columns)

    def renewed(self, key: Opener, row: Values) -> dict[str, bytes | None]:
        """New values of the columns that change. Raises Damaged."""
        opened = {
            name: key.open(purpose(row), row[name])
            for name, purpose in self.sealed.items()
            if row[name]
        }
        new = self.digests(key, row, opened)
        later = {**row, **new}
        new |= {name: row[name] for name in self.sealed}
        new |= {name: key.seal(self.sealed[name](later), opened[name]) for name in opened}
        return new


def _station(
    source: FromClause,
    table: Table,
    sealed: Mapping[str, Purpose],
    also: tuple[Column[Any], ...] = (),
    *,
    under: Literal["owner", "names", "wrapping"] = "owner",
    digests: Digests = lambda key, row, opened: {},
    changed: tuple[str, ...] = (),
) -> Station:
    """Compile the statements of a station. `changed`: digests beside the sealed columns."""
    keys = list(table.primary_key.columns)
    owner = owners.c.id if under == "owner" else literal_column("0", Integer).label("owner")
    columns = [*keys, *(table.c[name] for name in sealed), *also]
    size: ColumnElement[int] = sum(
        (func.coalesce(func.length(table.c[name]), 0) for name in sealed), literal_column("0")
    )
    old = _old(table, sealed, under)
    everybody = bindparam("owner", type_=Integer).is_(None)
    mine = or_(everybody, owners.c.id == bindparam("owner")) if under == "owner" else everybody
    return Station(
        table,
        under,
        sealed,
        digests,
        ("owner", *(column.name for column in columns)),
        sql(
            select(*keys, size)
            .select_from(source)
            .where(old, tuple_(*keys) > _bound("after", keys))
            .order_by(*keys)
            .limit(bindparam("most"))
        ),
        sql(
            select(owner, *columns)
            .select_from(source)
            .where(old, tuple_(*keys) >= _bound("first", keys))
            .where(tuple_(*keys) <= _bound("last", keys))
        ),
        sql(
            update(table)
            .where(and_(*(key == bindparam(f"at_{key.name}") for key in keys)))
            .values({name: bindparam(f"new_{name}") for name in (*sealed, *changed)})
        ),
        sql(select(func.count()).select_from(source).where(old)),
        sql(select(owner).select_from(source).where(old).distinct()),
        sql(
            select(owner, *columns)
            .select_from(source)
            .where(tuple_(*keys) > _bound("after", keys))
            .order_by(*keys)
            .limit(bindparam("most"))
        ),
        sql(select(func.count()).select_from(source).where(mine)),
    )


def _old(table: Table, sealed: Mapping[str, Purpose], under: str) -> ColumnElement[bool]:
    """Rows with a value that does not begin with the newest mark."""
    mark = owners.c.mark if under == "owner" else bindparam("mark", type_=LargeBinary)
    # What is empty was destroyed on purpose, and needs no key.
    found = or_(
        *(
            and_(
                func.length(table.c[name]) > 0,
                func.substr(table.c[name], 1, 1, type_=LargeBinary) != mark,
            )
            for name in sealed
        )
    )
    return and_(owners.c.older.is_not(None), found) if under == "owner" else found


def _bound(prefix: str, keys: list[Column[Any]]) -> ColumnElement[Any]:
    return tuple_(*(bindparam(f"{prefix}_{key.name}", type_=key.type) for key in keys))


def _least(column: Column[Any]) -> object:
    if isinstance(column.type, Text):
        return ""
    return b"" if isinstance(column.type, LargeBinary) else -1


def _by_bal(table: Table) -> FromClause:
    return table.join(owners, owners.c.bal == table.c.bal)


def _by_mailbox(table: Table) -> FromClause:
    return table.join(mailboxes, mailboxes.c.id == table.c.mailbox).join(
        owners, owners.c.bal == mailboxes.c.bal
    )


def _by_owner(table: Table) -> FromClause:
    return table.join(owners, owners.c.id == table.c.owner)


def _envelope(prefix: bytes) -> Purpose:
    return lambda row: prefix + row["envelope"].encode()


def _bal_digests(key: Opener, _: Values, opened: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found = json.loads(opened["sealed"])
    usual = found["usual"]
    return {
        "digest": key.digest(b"address", Address.parse(found["address"]).key),
        "usual_digest": None if usual is None else key.digest(b"address", Address.parse(usual).key),
    }


def _recipient_digest(
    key: Opener, _: Values, opened: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    address = Address.parse(json.loads(opened["sealed"])["address"])
    return {"digest": key.digest(RECIPIENT, address.key)}


def _text_digest(purpose: bytes) -> Digests:
    return lambda key, row, opened: {"digest": key.digest(purpose, opened["sealed"].decode())}


def _wrapped(row: Values) -> bytes:
    handle: bytes = row["handle"]
    return OWNER_KEY + handle + owner_name(row["bal"], row["domain"])


MASTER_STATIONS = (
    _station(
        owners,
        owners,
        {"wrapped": _wrapped, "older": _wrapped},
        (owners.c.handle, owners.c.bal, owners.c.domain),
        under="wrapping",
    ),
    _station(
        bals,
        bals,
        {"sealed": lambda row: bal_purpose(row["id"])},
        under="names",
        digests=_bal_digests,
        changed=("digest", "usual_digest"),
    ),
    _station(
        accounts,
        accounts,
        {"sealed": lambda row: account_purpose(row["id"], row["bal"])},
        (accounts.c.bal,),
        under="names",
        digests=lambda key, row, opened: {
            "login_digest": key.digest(b"login", opened["sealed"].decode().casefold())
        },
        changed=("login_digest",),
    ),
    _station(
        members,
        members,
        {"sealed": lambda row: member_purpose(row["account"], row["bal"])},
        under="names",
    ),
    _station(
        app_passwords,
        app_passwords,
        {"sealed": lambda row: password_purpose(row["account"], row["id"])},
        (app_passwords.c.account,),
        under="names",
    ),
)
"""What is sealed or looked up under the master key."""

OWNER_STATIONS = (
    _station(
        _by_bal(mailboxes),
        mailboxes,
        {"sealed": lambda row: mailbox_purpose(row["id"])},
        digests=_text_digest(NAME),
        changed=("digest",),
    ),
    _station(
        _by_mailbox(keywords),
        keywords,
        {"sealed": lambda row: keyword_purpose(row["mailbox"], row["bit"])},
    ),
    _station(
        _by_mailbox(acl),
        acl,
        {"sealed": lambda row: acl_purpose(row["mailbox"], row["account"])},
    ),
    _station(
        _by_bal(entries),
        entries,
        {"sealed": lambda row: annotation_purpose(row["mailbox"], row["account"], row["digest"])},
        digests=lambda key, row, opened: {
            "digest": key.digest(ANNOTATION, json.loads(opened["sealed"])[0])
        },
        changed=("digest",),
    ),
    _station(
        _by_bal(subscriptions),
        subscriptions,
        {"sealed": lambda row: SUBSCRIPTION + row["digest"]},
        digests=_text_digest(NAME),
        changed=("digest",),
    ),
    _station(
        _by_bal(correspondents),
        correspondents,
        {"sealed": lambda row: CORRESPONDENT + row["digest"]},
        digests=_text_digest(CORRESPONDENT),
        changed=("digest",),
    ),
    _station(
        _by_owner(blob_keys).join(blobs, blobs.c.number == blob_keys.c.blob),
        blob_keys,
        {
            "wrapped": lambda row: MESSAGE_KEY + row["id"],
            "summary": lambda row: SUMMARY + row["id"],
        },
        (blobs.c.id,),
    ),
    _station(
        _by_mailbox(packs),
        packs,
        {"sealed": lambda row: pack_purpose(row["mailbox"], row["window"])},
    ),
    _station(
        _by_mailbox(texts),
        texts,
        {
            "sealed": lambda row: texts_purpose(
                row["mailbox"], row["kind"], row["first"], row["last"]
            )
        },
        (texts.c.last,),
    ),
    _station(
        _by_owner(envelopes), envelopes, {"sealed": lambda row: ENVELOPE + row["id"].encode()}
    ),
    _station(
        queue.join(envelopes, envelopes.c.id == queue.c.envelope).join(
            owners, owners.c.id == envelopes.c.owner
        ),
        queue,
        {
            "sealed": lambda row: recipient_purpose(row["envelope"], row["position"]),
            "last_reply": lambda row: reply_purpose(row["envelope"], row["position"]),
        },
        digests=_recipient_digest,
        changed=("digest",),
    ),
    _station(
        _by_owner(sent),
        sent,
        {"sealed": lambda row: sent_purpose(row["digest"], row["envelope"])},
        digests=_text_digest(SENT),
        changed=("digest",),
    ),
    _station(
        _by_owner(event_lines),
        event_lines,
        {"sealed": lambda row: LINES + str(row["event"]).encode()},
    ),
    _station(
        _by_owner(transfers),
        transfers,
        {"sealed": lambda row: trace_purpose(row["envelope"], row["at"], row["clear"])},
        (transfers.c.envelope, transfers.c.at, transfers.c.clear),
    ),
    _station(_by_owner(facts), facts, {"sealed": _envelope(FACTS)}),
)
"""What is sealed or looked up under the key of a BAL or a domain."""
