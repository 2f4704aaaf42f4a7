"""Invariants of envelopes, queue, ledger and packs."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select, tuple_

from mssmtp.storage.check import PAGE, Claim, Look, Part
from mssmtp.storage.ledger import FIRST_PREVIOUS, chain_digest
from mssmtp.storage.messages import PACK_UIDS
from mssmtp.storage.schema import (
    envelopes,
    events,
    invited,
    messages,
    owners,
    packs,
    queue,
    sql,
    texts,
)
from mssmtp.storage.views import Reading

PACKS_AT_ONCE = 200


_AFTER: BindParameter[int] = bindparam("after")
_MOST: BindParameter[int] = bindparam("most")

_WAITING = (
    select(func.count()).where(queue.c.envelope == envelopes.c.id).correlate(envelopes)
).scalar_subquery()
_INVITED = (
    select(func.count()).where(invited.c.envelope == envelopes.c.id).correlate(envelopes)
).scalar_subquery()
_FIRST_EVENT = (
    select(func.min(events.c.number))
    .where(events.c.envelope == envelopes.c.id)
    .correlate(envelopes)
).scalar_subquery()
_ENVELOPES = sql(
    select(
        envelopes.c.id,
        envelopes.c.accepted
        - envelopes.c.delivered
        - envelopes.c.bounced
        - envelopes.c.dropped
        - _WAITING
        - _INVITED,
        _FIRST_EVENT,
        owners.c.id,
        envelopes.c.dropped,
    )
    .join_from(envelopes, owners, owners.c.id == envelopes.c.owner, isouter=True)
    .where(envelopes.c.id > _AFTER)
    .order_by(envelopes.c.id)
    .limit(_MOST)
)
_REFUSALS = sql(
    select(events.c.clear)
    .where(events.c.envelope == bindparam("envelope"))
    .where(events.c.kind == bindparam("kind"))
)
_QUEUE = sql(
    select(queue.c.envelope, queue.c.position, envelopes.c.blob)
    .join_from(queue, envelopes, envelopes.c.id == queue.c.envelope, isouter=True)
    .where(
        tuple_(queue.c.envelope, queue.c.position)
        > tuple_(bindparam("envelope"), bindparam("position"))
    )
    .order_by(queue.c.envelope, queue.c.position)
    .limit(_MOST)
)
_EVENTS = sql(
    select(events.c.number, events.c.clear, events.c.previous, events.c.digest)
    .where(events.c.number > _AFTER)
    .order_by(events.c.number)
    .limit(_MOST)
)
_LAST_EVENT = sql(select(func.coalesce(func.max(events.c.number), 0)))
_PACKS = sql(
    select(packs.c.mailbox, packs.c.window, packs.c.count)
    .where(
        tuple_(packs.c.mailbox, packs.c.window) > tuple_(bindparam("mailbox"), bindparam("window"))
    )
    .order_by(packs.c.mailbox, packs.c.window)
    .limit(_MOST)
)
_TEXTS = sql(
    select(texts.c.mailbox, texts.c.kind, texts.c.first, texts.c.last, texts.c.count)
    .where(
        tuple_(texts.c.mailbox, texts.c.kind, texts.c.first)
        > tuple_(bindparam("mailbox"), bindparam("kind"), bindparam("begin"))
    )
    .order_by(texts.c.mailbox, texts.c.kind, texts.c.first)
    .limit(_MOST)
)
_IN_WINDOW = sql(
    select(func.count())
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
)


class Envelopes(Part[str]):
    """Conservation: nobody who was accepted is lost."""

    name = "envelopes"
    first = ""
    claims = (
        Claim(
            "conservation", "envelopes", "accepted = delivered + bounced + dropped + waiting (D3)"
        ),
        Claim("drop-event", "envelopes", "the ledger has who dropped whom, and why (D3)"),
        Claim("sealing-event", "envelopes", "the ledger has its acceptance"),
        Claim("envelope-owner", "envelopes", "its owner has a key"),
    )

    def look(self, view: Reading, after: str) -> Look[str]:
        """A range of envelopes, each with its rows in the queue."""
        rows = view._all(_ENVELOPES, after=after, most=PAGE)
        look: Look[str] = Look.over("envelopes", rows, PAGE)
        for id, lost, event, owner, dropped in rows:
            if lost:
                look.wrong("conservation", f"envelope {id}: recipients are lost or counted twice")
            if dropped:
                told = view._all(_REFUSALS, envelope=id, kind="rejet")
                if sum(json.loads(row[0]).get("result") == "dropped" for row in told) != dropped:
                    look.wrong("drop-event", f"envelope {id}: dropped, and the ledger is silent")
            if event is None:
                look.wrong("sealing-event", f"envelope {id}: the ledger does not know it")
            if owner is None:
                look.wrong("envelope-owner", f"envelope {id}: its owner's key is missing")
        return look


class Queue(Part[tuple[str, int]]):
    """Who waits can be sent to."""

    name = "queue"
    first = ("", -1)
    claims = (Claim("waiting", "queue", "has its envelope and its content (D3)"),)

    def look(self, view: Reading, after: tuple[str, int]) -> Look[tuple[str, int]]:
        """A range of waiting recipients."""
        rows = view._all(_QUEUE, envelope=after[0], position=after[1], most=PAGE)
        look: Look[tuple[str, int]] = Look.over("queue", rows, PAGE, key=itemgetter(0, 1))
        for envelope, _, blob in rows:
            if blob is None:
                look.wrong("waiting", f"envelope {envelope}: waits without content")
        return look


class Ledger(Part[tuple[int, bytes]]):
    """The chain of events."""

    name = "ledger"
    first = (0, FIRST_PREVIOUS)
    claims = (
        Claim("chain", "events", "names the digest of the one before, without a gap"),
        Claim("event-digest", "events", "its digest is that of its text"),
    )

    def total(self, view: Reading) -> int:
        """Events are numbered without gap."""
        return int(view._all(_LAST_EVENT)[0][0])

    def look(self, view: Reading, after: tuple[int, bytes]) -> Look[tuple[int, bytes]]:
        """A piece of the chain; the digest before it comes along."""
        number, previous = after
        rows = view._all(_EVENTS, after=number, most=PAGE)
        look: Look[tuple[int, bytes]] = Look()
        look.looked["events"] = len(rows)
        for found, clear, named, digest in rows:
            if found != number + 1:
                look.wrong("chain", f"event {found}: {number + 1} is missing")
            # In canonical JSON no peer's text can hold an unescaped quotation mark.
            if named != previous or f'"previous":"{previous.hex()}"' not in clear:
                look.wrong("chain", f"event {found}: the chain is broken")
            if chain_digest(clear) != digest or f'"number":{found},' not in clear:
                look.wrong("event-digest", f"event {found}: its digest does not fit")
            previous, number = bytes(digest), found
        if len(rows) == PAGE:
            look.next = (number, previous)
        return look


class Packs(Part[tuple[int, int]]):
    """Packs of summaries, a cache."""

    name = "packs"
    first = (-1, -1)
    claims = (Claim("pack", "packs", "holds no more summaries than its window has messages (D6)"),)

    def look(self, view: Reading, after: tuple[int, int]) -> Look[tuple[int, int]]:
        """A range of packs."""
        rows = view._all(_PACKS, mailbox=after[0], window=after[1], most=PACKS_AT_ONCE)
        look: Look[tuple[int, int]]
        look = Look.over("packs", rows, PACKS_AT_ONCE, itemgetter(0, 1))
        for mailbox, window, count in rows:
            low = window * PACK_UIDS
            span = {"low": low, "high": low + PACK_UIDS - 1}
            (there,) = view._one(_IN_WINDOW, mailbox=mailbox, **span) or (0,)
            if not 0 < count <= there:
                look.wrong("pack", f"mailbox {mailbox}: pack {window} is out of date")
        return look


class Texts(Part[tuple[int, int, int]]):
    """Packs of texts to be searched, a cache."""

    name = "texts"
    first = (-1, -1, -1)
    claims = (Claim("text", "texts", "holds as many texts as its span has messages (D6)"),)

    def look(self, view: Reading, after: tuple[int, int, int]) -> Look[tuple[int, int, int]]:
        """A range of packs."""
        mailbox, kind, begin = after
        rows = view._all(_TEXTS, mailbox=mailbox, kind=kind, begin=begin, most=PACKS_AT_ONCE)
        look: Look[tuple[int, int, int]]
        look = Look.over("texts", rows, PACKS_AT_ONCE, itemgetter(0, 1, 2))
        for mailbox, _, low, high, count in rows:
            if (count,) != view._one(_IN_WINDOW, mailbox=mailbox, low=low, high=high):
                look.wrong("text", f"mailbox {mailbox}: the texts from UID {low} are out of date")
        return look


PARTS: tuple[type[Part[Any]], ...] = (
    Envelopes,
    Queue,
    Ledger,
    Packs,
    Texts,
)
