"""Invariants that only opening tells: everything sealed authenticates and is what is said of it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, select, tuple_

from mssmtp.errors import Damaged, MailError
from mssmtp.mail import BalId, BlobId, EnvelopeId, MailboxId
from mssmtp.storage.annotations import ANNOTATION, annotation_purpose
from mssmtp.storage.app_passwords import password_purpose
from mssmtp.storage.check import END, PAGE, Claim, Look, Part, within
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.delivery import OPENABLE, StoredEnvelope
from mssmtp.storage.flags import keyword_purpose
from mssmtp.storage.keys import OWNER_KEY
from mssmtp.storage.ledger import FACTS, LINES, line_digest, trace_purpose
from mssmtp.storage.mailboxes import NAME
from mssmtp.storage.messages import PACK_UIDS
from mssmtp.storage.model import Shredded
from mssmtp.storage.rights import acl_purpose, member_purpose
from mssmtp.storage.schema import (
    acl,
    app_passwords,
    blob_keys,
    blobs,
    entries,
    envelopes,
    event_lines,
    events,
    facts,
    keywords,
    mailboxes,
    members,
    owners,
    packs,
    queue,
    sql,
    texts,
    transfers,
)
from mssmtp.storage.sealing import ChunkReader
from mssmtp.storage.textsealing import texts_purpose
from mssmtp.storage.view import Row, owner_name
from mssmtp.storage.views import Reading

CONTENTS_AT_ONCE = 64
_AFTER: BindParameter[int] = bindparam("after")
_MOST: BindParameter[int] = bindparam("most")

_CONTENTS = sql(
    select(blobs.c.number, blobs.c.id, blobs.c.size, blobs.c.envelope, blobs.c.chunks, blobs.c.data)
    .where(blobs.c.number > _AFTER)
    .order_by(blobs.c.number)
    .limit(_MOST)
)
_KEYS = sql(
    select(blob_keys.c.blob, blob_keys.c.owner, blob_keys.c.wrapped, blob_keys.c.summary).where(
        within(blob_keys.c.blob)
    )
)
_STATED = sql(
    select(events.c.clear)
    .where(events.c.envelope == bindparam("envelope"))
    .order_by(events.c.number)
    .limit(1)
)
_LINES = sql(
    select(event_lines.c.event, event_lines.c.owner, event_lines.c.sealed, events.c.clear)
    .join_from(event_lines, events, events.c.number == event_lines.c.event, isouter=True)
    .where(
        tuple_(event_lines.c.event, event_lines.c.owner)
        > tuple_(bindparam("event"), bindparam("owner"))
    )
    .order_by(event_lines.c.event, event_lines.c.owner)
    .limit(_MOST)
)
_ENVELOPES = sql(
    select(envelopes.c.id, *OPENABLE)
    .where(envelopes.c.id > _AFTER)
    .order_by(envelopes.c.id)
    .limit(_MOST)
)
_IS_WAITING = sql(
    select(queue.c.position).where(queue.c.envelope == bindparam("envelope")).limit(1)
)


def page_of(keys: Sequence[ColumnElement[Any]], *others: ColumnElement[Any]) -> str:
    """Rows beyond the key in `key0`, `key1`, in its order."""
    begin = tuple_(*(bindparam(f"key{n}") for n in range(len(keys))))
    beyond = tuple_(*keys) > begin if len(keys) > 1 else keys[0] > bindparam("key0")
    return sql(select(*keys, *others).where(beyond).order_by(*keys).limit(_MOST))


class Pages(Part[int]):
    """The embedded engine's own files."""

    name = "database pages"
    first = 0
    claims = (Claim("pages", "databases", "every page and index of its file is whole"),)

    def look(self, view: Reading, after: int) -> Look[int]:
        """One snapshot as long as reading the file takes. Nothing to do for a database server."""
        look: Look[int] = Look()
        if isinstance(view._db, sqlite3.Connection):
            look.looked["databases"] = 1
            found = view._db.execute("PRAGMA integrity_check(20)").fetchall()
            for number, (text,) in enumerate(found, 1):
                if text != "ok":  # its words quote names of tables, never what is in them
                    look.wrong("pages", f"store.db: damage {number}: {text.splitlines()[0]}")
        return look


class SealedContents(Part[int]):
    """Contents and summaries."""

    name = "sealed contents"
    first = 0
    claims = (
        Claim("sealed-content", "opened contents", "every chunk authenticates"),
        Claim("content-digest", "opened contents", "its digest is the one the ledger holds"),
        Claim("sealed-summary", "opened keys", "key and summary authenticate under the owner"),
    )

    def look(self, view: Reading, after: int) -> Look[int]:
        """Few at a time: sealed contents in rows are up to 128 KiB each."""
        rows = view._all(_CONTENTS, after=after, most=CONTENTS_AT_ONCE)
        look: Look[int] = Look.over("opened contents", rows, CONTENTS_AT_ONCE)
        keys: dict[int, list[Row]] = {}
        for row in view._all(_KEYS, after=after, through=look.next or END):
            keys.setdefault(row[0], []).append(row)
        look.looked["opened keys"] = sum(map(len, keys.values()))
        for row in rows:
            opened = self._opened(view, look, BlobId(row[1]), keys.get(row[0], []))
            for key in opened:
                self._read(view, look, row, key)
        return look

    @staticmethod
    def _opened(view: Reading, look: Look[int], id: BlobId, rows: list[Row]) -> set[bytes]:
        """The message's key as each owner has it: one, unless something is wrong."""
        found = set()
        for number, owner, wrapped, summary in rows:
            try:
                key = view._owner_key(owner)
                found.add(key.unwrap(id, wrapped))
                if summary is not None:
                    key.open(SUMMARY + id, summary)
            except Damaged as error:
                look.wrong("sealed-summary", f"blob {number}: owner {owner}: {error}")
        return found

    def _read(self, view: Reading, look: Look[int], row: Row, key: bytes) -> None:
        number, id, size, envelope, index, data = row
        digest = hashlib.sha256()
        try:
            source = view._source(BlobId(id), data)
            for block in ChunkReader(id, key, index, size, source).blocks():
                digest.update(block)
        except Damaged as error:
            look.wrong("sealed-content", f"blob {number}: {error}")
            return
        stated = view._one(_STATED, envelope=envelope) if envelope is not None else None
        if stated is not None and json.loads(stated[0]).get("sha256") != digest.hexdigest():
            look.wrong("content-digest", f"blob {number}: is not what the ledger says came")


class SealedLines(Part[tuple[int, int]]):
    """Who and what the events concern."""

    name = "sealed events"
    first = (0, 0)
    claims = (Claim("sealed-line", "event lines", "opens, and has the digest the chain holds"),)

    def look(self, view: Reading, after: tuple[int, int]) -> Look[tuple[int, int]]:
        """A range of lines with the events they belong to."""
        rows = view._all(_LINES, event=after[0], owner=after[1], most=PAGE)
        look: Look[tuple[int, int]] = Look.over("event lines", rows, PAGE, key=itemgetter(0, 1))
        for event, owner, sealed, clear in rows:
            try:
                octets = view._owner_key(owner).open(LINES + str(event).encode(), sealed)
            except Damaged:
                look.wrong("sealed-line", f"event {event}: its lines do not authenticate")
                continue
            digests = [line_digest(line) for line in json.loads(octets)]
            if clear is None or digests != json.loads(clear)["sealed"]:
                look.wrong("sealed-line", f"event {event}: its lines are not those of the chain")
        return look


class SealedEnvelopes(Part[str]):
    """Envelopes and the recipients that wait."""

    name = "sealed envelopes"
    first = ""
    claims = (
        Claim("sealed-envelope", "opened envelopes", "sender and recipients open"),
        Claim("sealed-recipient", "opened envelopes", "every recipient that waits can be read"),
    )

    def look(self, view: Reading, after: str) -> Look[str]:
        """A range of envelopes."""
        rows = view._all(_ENVELOPES, after=after, most=PAGE)
        look: Look[str] = Look.over("opened envelopes", rows, PAGE)
        for row in rows:
            id = EnvelopeId(row[0])
            is_waiting = view._one(_IS_WAITING, envelope=id) is not None
            if is_waiting and any(entry.damaged for entry in view.queue_entry(id)):
                look.wrong("sealed-recipient", f"queue: a recipient of {id} does not authenticate")
            try:
                at, owner, blob, skip, size, sealed = row[1:]
                StoredEnvelope(id, (at, owner, blob, skip, size, sealed), view._owner_key(owner))
            except Shredded:
                continue
            except (MailError, ValueError):
                look.wrong("sealed-envelope", f"envelope {id}: does not open")
        return look


class Sealed(Part[tuple[Any, ...]]):
    """Rows with one sealed value each; `first` is below all keys, as long as a key of `page`."""

    page: str

    def look(self, view: Reading, after: tuple[Any, ...]) -> Look[tuple[Any, ...]]:
        """A range of rows, each opened."""
        begin = {f"key{number}": value for number, value in enumerate(after)}
        rows = view._all(self.page, **begin, most=PAGE)
        claim = self.claims[0]
        look: Look[tuple[Any, ...]]
        look = Look.over(claim.of, rows, PAGE, key=lambda row: tuple(row[: len(after)]))
        for row in rows:
            try:
                fits = self.opens(view, row)
            except Shredded:
                fits = True
            except (MailError, ValueError):
                fits = False
            if not fits:
                look.wrong(claim.name, self.named(row))
        return look

    def opens(self, view: Reading, row: Row) -> bool:
        """Whether the sealed value opens to what it should be. May raise MailError, ValueError."""
        raise NotImplementedError

    def named(self, row: Row) -> str:
        """The problem in words, by ids."""
        raise NotImplementedError


class SealedTraces(Sealed):
    """Traces of hops (OP-74)."""

    name = "sealed traces"
    first = (0,)
    claims = (Claim("sealed-trace", "traces", "its addresses open, its clear part is its own"),)
    page = page_of(
        (transfers.c.number,), *transfers.c["envelope", "at", "clear", "owner", "sealed"]
    )

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the owner of the hop."""
        _, envelope, at, clear, owner, sealed = row
        view._owner_key(owner).open(trace_purpose(envelope, at, clear), sealed)
        return True

    def named(self, row: Row) -> str:
        """By its number."""
        return f"trace {row[0]}: does not open"


class SealedFacts(Sealed):
    """Facts of decisions, while they are kept."""

    name = "sealed facts"
    first = ("",)
    claims = (Claim("sealed-facts", "facts", "they open"),)
    page = page_of((facts.c.envelope,), facts.c.owner, facts.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the owner of the decision."""
        view._owner_key(row[1]).open(FACTS + row[0].encode(), row[2])
        return True

    def named(self, row: Row) -> str:
        """By the envelope's id."""
        return f"envelope {row[0]}: its facts do not open"


class SealedOwners(Sealed):
    """Keys of boxes and domains, as they lie on the disk: not those a process has in memory."""

    name = "sealed keys"
    first = (0,)
    claims = (Claim("sealed-key", "keys of owners", "it opens under the master key"),)
    page = page_of((owners.c.id,), *owners.c["bal", "domain", "handle", "wrapped", "older", "mark"])

    def opens(self, view: Reading, row: Row) -> bool:
        """The newest, and the one before while it is being replaced."""
        _, bal, domain, handle, wrapped, older, mark = row
        if not mark:
            raise Shredded
        purpose = OWNER_KEY + handle + owner_name(bal, domain)
        for one in (wrapped, older):
            if one is not None:
                view._opened_owner(purpose, one)
        return True

    def named(self, row: Row) -> str:
        """By its id."""
        return f"owner {row[0]}: its key does not open"


class SealedPasswords(Sealed):
    """Verifiers of application passwords."""

    name = "sealed passwords"
    first = (0,)
    claims = (Claim("sealed-password", "app passwords", "its verifiers open"),)
    page = page_of((app_passwords.c.id,), app_passwords.c.account, app_passwords.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the master key."""
        view._master_open(password_purpose(row[1], row[0]), row[2])
        return True

    def named(self, row: Row) -> str:
        """By its account."""
        return f"account {row[1]}: its password {row[0]} does not open"


class SealedMembers(Sealed):
    """Who may act in which box."""

    name = "memberships"
    first = (-1, -1)
    claims = (Claim("sealed-member", "memberships", "the operator gave it"),)
    page = page_of((members.c.account, members.c.bal), members.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the master key."""
        view._master_open(member_purpose(row[0], row[1]), row[2])
        return True

    def named(self, row: Row) -> str:
        """By account and box."""
        return f"account {row[0]}: its membership of bal {row[1]} was not given by the operator"


class SealedMailboxes(Sealed):
    """Names of mailboxes."""

    name = "sealed mailboxes"
    first = (0,)
    claims = (Claim("sealed-name", "opened mailboxes", "its name opens and leads back to it"),)
    page = page_of((mailboxes.c.id,), mailboxes.c.bal, mailboxes.c.digest)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box."""
        found = view.mailbox_by_id(MailboxId(row[0]))
        digests = view._bal_key(BalId(row[1])).digests
        return found is not None and bytes(row[2]) in digests(NAME, found.name)

    def named(self, row: Row) -> str:
        """By its id."""
        return f"mailbox {row[0]}: its name does not open or is another's"


class SealedKeywords(Sealed):
    """Keywords of mailboxes."""

    name = "keywords"
    first = (-1, -1)
    claims = (Claim("sealed-keyword", "keywords", "it opens"),)
    page = page_of((keywords.c.mailbox, keywords.c.bit), keywords.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box."""
        bal = view._bal_of(MailboxId(row[0]))
        view._bal_key(bal).open(keyword_purpose(row[0], row[1]), row[2])
        return True

    def named(self, row: Row) -> str:
        """By mailbox and bit."""
        return f"mailbox {row[0]}: its keyword {row[1]} does not open"


class SealedRights(Sealed):
    """Rights of members in single mailboxes."""

    name = "rights"
    first = (-1, -1)
    claims = (Claim("sealed-right", "rights", "they open"),)
    page = page_of((acl.c.mailbox, acl.c.account), acl.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box."""
        bal = view._bal_of(MailboxId(row[0]))
        view._bal_key(bal).open(acl_purpose(row[0], row[1]), row[2])
        return True

    def named(self, row: Row) -> str:
        """By mailbox and account."""
        return f"mailbox {row[0]}: the rights of account {row[1]} do not open"


class SealedAnnotations(Sealed):
    """Annotations of boxes and mailboxes."""

    name = "annotations"
    first = (-1, -1, -1, b"")
    claims = (Claim("sealed-annotation", "annotations", "it opens and stands under its name"),)
    page = page_of(
        (entries.c.bal, entries.c.mailbox, entries.c.account, entries.c.digest), entries.c.sealed
    )

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box."""
        bal, mailbox, account, digest, sealed = row
        key = view._bal_key(BalId(bal))
        opened = key.open(annotation_purpose(mailbox, account, bytes(digest)), sealed)
        return bytes(digest) in key.digests(ANNOTATION, json.loads(opened)[0])

    def named(self, row: Row) -> str:
        """By box and mailbox."""
        return f"bal {row[0]}: an annotation of mailbox {row[1]} does not open"


class SealedPacks(Sealed):
    """Packs of summaries."""

    name = "sealed packs"
    first = (-1, -1)
    claims = (Claim("sealed-pack", "opened packs", "opens to the summaries of its rows (D6)"),)
    page = page_of((packs.c.mailbox, packs.c.window), packs.c.count)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box, to what its rows give."""
        mailbox, window, count = MailboxId(row[0]), row[1], row[2]
        found = view.mailbox_by_id(mailbox)
        if found is None:
            return False
        key = view._bal_key(found.bal)
        low = window * PACK_UIDS
        rows = view.messages(mailbox, [(max(low, 1), low + PACK_UIDS - 1)])
        summaries = dict(view._from_rows(mailbox, [each.uid for each in rows[:count]], key))
        return view.is_pack_of(mailbox, window, summaries)

    def named(self, row: Row) -> str:
        """By mailbox and window."""
        return f"mailbox {row[0]}: pack {row[1]} is not its messages'"


class SealedTexts(Sealed):
    """Packs of texts to be searched."""

    name = "sealed texts"
    first = (-1, -1, -1)
    claims = (Claim("sealed-text", "opened texts", "the pack opens under its box"),)
    page = page_of((texts.c.mailbox, texts.c.kind, texts.c.first), texts.c.last, texts.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the box."""
        mailbox, kind, low, high, sealed = row
        key = view._bal_key(view._bal_of(MailboxId(mailbox)))
        key.open(texts_purpose(mailbox, kind, low, high), sealed)
        return True

    def named(self, row: Row) -> str:
        """By mailbox and first UID."""
        return f"mailbox {row[0]}: the texts from UID {row[2]} on do not open"


PARTS: tuple[type[Part[Any]], ...] = (
    Pages,
    SealedContents,
    SealedLines,
    SealedEnvelopes,
    SealedTraces,
    SealedFacts,
    SealedOwners,
    SealedPasswords,
    SealedMembers,
    SealedMailboxes,
    SealedKeywords,
    SealedRights,
    SealedAnnotations,
    SealedPacks,
    SealedTexts,
)
