"""Invariants of owners, boxes and mailboxes: keys, UIDs, modseqs, counters; who has read what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select, tuple_

from mssmtp.errors import Damaged
from mssmtp.storage import copying as copies
from mssmtp.storage.check import END, PAGE, Claim, Look, Part, within
from mssmtp.storage.flags import SEEN
from mssmtp.storage.number_sets import unpacked as numbers_in
from mssmtp.storage.schema import (
    bals,
    copying,
    expunged,
    mailboxes,
    messages,
    owners,
    readings,
    sql,
    states,
)
from mssmtp.storage.states import STATE_UIDS, unpacked
from mssmtp.storage.view import Row
from mssmtp.storage.views import Reading

MESSAGES_AT_ONCE = 200_000
READINGS_AT_ONCE = 200
"""Each is up to 5,000 letters."""

_AFTER: BindParameter[int] = bindparam("after")
_MOST: BindParameter[int] = bindparam("most")

_OWNERS = sql(
    select(owners.c.id, owners.c.bal, owners.c.domain, owners.c.mark)
    .where(owners.c.id > _AFTER)
    .order_by(owners.c.id)
    .limit(_MOST)
)
_BALS = sql(
    select(bals.c.id, bals.c.last_uid_validity, owners.c.id)
    .join_from(bals, owners, owners.c.bal == bals.c.id, isouter=True)
    .where(bals.c.id > _AFTER)
    .order_by(bals.c.id)
    .limit(_MOST)
)
_VALIDITIES = sql(
    select(mailboxes.c.bal, mailboxes.c.uid_validity, func.count())
    .where(within(mailboxes.c.bal))
    .group_by(mailboxes.c.bal, mailboxes.c.uid_validity)
)
_SEEN = messages.c.flags.bitwise_and(1)
_MAILBOXES = sql(
    select(
        mailboxes.c.id,
        bals.c.id,
        mailboxes.c.uid_validity,
        mailboxes.c.uid_next,
        mailboxes.c.highest_modseq,
        mailboxes.c.recent_from,
        mailboxes.c.messages,
        mailboxes.c.unseen,
        mailboxes.c.size,
    )
    .join_from(mailboxes, bals, bals.c.id == mailboxes.c.bal, isouter=True)
    .where(mailboxes.c.id > _AFTER)
    .order_by(mailboxes.c.id)
    .limit(_MOST)
)
_TOTALS = sql(
    select(
        messages.c.mailbox,
        func.max(messages.c.uid),
        func.max(messages.c.modseq),
        func.min(messages.c.uid),
        func.count(),
        func.sum(1 - _SEEN),
        func.sum(messages.c.size),
    )
    .where(within(messages.c.mailbox))
    .group_by(messages.c.mailbox)
)
_TOMBSTONES = sql(
    select(expunged.c.mailbox, func.max(expunged.c.uid), func.max(expunged.c.modseq))
    .where(within(expunged.c.mailbox))
    .group_by(expunged.c.mailbox)
)
_ZOMBIES = sql(
    select(expunged.c.mailbox, expunged.c.uid)
    .join_from(
        expunged,
        messages,
        (expunged.c.mailbox == messages.c.mailbox) & (expunged.c.uid == messages.c.uid),
    )
    .where(within(expunged.c.mailbox))
    .limit(_MOST)
)
_STATES = sql(
    select(states.c.mailbox, states.c.window, states.c.modseq, states.c.octets)
    .where(within(states.c.mailbox))
    .order_by(states.c.mailbox, states.c.window)
)
_CAME = sql(
    select(messages.c.uid, messages.c.flags, messages.c.modseq)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
)
_COPIES = sql(
    select(copying.c.id, copying.c.uids, mailboxes.c.uid_next)
    .join_from(copying, mailboxes, mailboxes.c.id == copying.c.mailbox, isouter=True)
    .where(copying.c.id > _AFTER)
    .order_by(copying.c.id)
    .limit(_MOST)
)
_READING = readings.c.bal, readings.c.day, readings.c.account, readings.c.kind, readings.c.first
_READINGS = sql(
    select(*_READING, readings.c.last, readings.c.octets)
    .where(
        tuple_(*_READING)
        > tuple_(*(bindparam(f"after_{column.name}", type_=column.type) for column in _READING))
    )
    .order_by(*_READING)
    .limit(_MOST)
)
_SIZE_OF_ALL = sql(select(func.coalesce(func.sum(mailboxes.c.messages), 0)))


class Owners(Part[int]):
    """Whoever seals has a key."""

    name = "keys"
    first = 0
    claims = (
        Claim("owner-key", "owners", "its key opens under the master key"),
        Claim("owner-is", "owners", "is one box, there or removed, or one domain"),
    )

    def look(self, view: Reading, after: int) -> Look[int]:
        """Keys of boxes and of domains served."""
        rows = view._all(_OWNERS, after=after, most=PAGE)
        look: Look[int] = Look.over("owners", rows, PAGE)
        for id, bal, domain, mark in rows:
            if not mark:
                continue  # shredded on purpose: neither key nor box is left
            if (bal is None) == (domain is None):
                look.wrong("owner-is", f"owner {id}: is neither a box nor a domain")
            try:
                view._owner_key(id)
            except Damaged:
                look.wrong("owner-key", f"owner {id}: its key does not open")
        return look


class Boxes(Part[int]):
    """BALs: their keys and the UIDVALIDITYs they gave."""

    name = "boxes"
    first = 0
    claims = (
        Claim("box-key", "bals", "has a key"),
        Claim("uid-validity", "bals", "no two mailboxes of it share a UIDVALIDITY (GEN-01)"),
        Claim("next-uid-validity", "bals", "the next UIDVALIDITY is above all before (D5)"),
    )

    def look(self, view: Reading, after: int) -> Look[int]:
        """A range of boxes and the mailboxes in them."""
        rows = view._all(_BALS, after=after, most=PAGE)
        look: Look[int] = Look.over("bals", rows, PAGE)
        last = {row[0]: row[1] for row in rows}
        for id, _, owner in rows:
            if owner is None:
                look.wrong("box-key", f"bal {id}: has no key")
        through = look.next or END
        for bal, validity, times in view._all(_VALIDITIES, after=after, through=through):
            if times > 1:
                look.wrong("uid-validity", f"bal {bal}: UIDVALIDITY {validity} is shared")
            if validity > last.get(bal, validity):
                look.wrong("next-uid-validity", f"bal {bal}: a UIDVALIDITY would come again")
        return look


class Mailboxes(Part[int]):
    """Counters of mailboxes against their rows."""

    name = "mailboxes"
    first = 0
    claims = (
        Claim("uid", "messages", "its UID is above 0 and below UIDNEXT (D5)"),
        Claim("modseq", "messages", "its modseq is at most the mailbox's highest (D5)"),
        Claim("state", "mailboxes", "flags that were changed are those of messages in it"),
        Claim("counters", "mailboxes", "messages, unseen, octets are those of its rows"),
        Claim("expunged", "mailboxes", "no UID is both there and expunged"),
        Claim("mailbox", "mailboxes", "has its box, UIDVALIDITY and \\Recent in range"),
    )

    def total(self, view: Reading) -> int:
        """By the counters, which are what is checked here."""
        return int(view._all(_SIZE_OF_ALL)[0][0])

    def look(self, view: Reading, after: int) -> Look[int]:
        """As many mailboxes as hold MESSAGES_AT_ONCE messages, one at least."""
        rows = view._all(_MAILBOXES, after=after, most=PAGE)
        chosen = _up_to(rows, MESSAGES_AT_ONCE)
        is_last = len(chosen) == len(rows) < PAGE
        look: Look[int] = Look(None if is_last else chosen[-1][0])
        span = {"after": after, "through": look.next or END}
        totals = {row[0]: list(row[1:]) for row in view._all(_TOTALS, **span)}
        for state in view._all(_STATES, **span):
            _apply(view, look, state, totals.get(state[0]))
        buried = {row[0]: (row[1], row[2]) for row in view._all(_TOMBSTONES, **span)}
        look.looked["mailboxes"] = len(chosen)
        look.looked["messages"] = sum(total[3] for total in totals.values())
        for row in chosen:
            _compare(look, row, totals.get(row[0]), buried.get(row[0], (0, 0)))
        for id in (totals.keys() | buried.keys()) - {row[0] for row in chosen}:
            look.wrong("mailbox", f"mailbox {id}: rows without mailbox")
        for mailbox, uid in view._all(_ZOMBIES, **span, most=PAGE):
            look.wrong("expunged", f"mailbox {mailbox}: UID {uid} is both there and expunged")
        return look


class Copies(Part[int]):
    """COPYs of several commits that are not whole yet: of now, or of a server that died."""

    name = "copies"
    first = 0
    claims = (
        Claim("copy", "copies under way", "names UIDs its mailbox has given, in their order"),
    )

    def look(self, view: Reading, after: int) -> Look[int]:
        """A mailbox that is gone has taken what was copied along."""
        rows = view._all(_COPIES, after=after, most=PAGE)
        look: Look[int] = Look.over("copies under way", rows, PAGE)
        for id, text, uid_next in rows:
            try:
                ends = [uid for span in copies.spans(text) for uid in span]
            except ValueError:
                look.wrong("copy", f"copy {id}: its UIDs cannot be read")
                continue
            if ends != sorted(ends) or not all(0 < uid < (uid_next or END) for uid in ends):
                look.wrong("copy", f"copy {id}: a UID is not one of its mailbox")
        return look


def _up_to(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """The first rows that together count `most` messages."""
    count = 0
    for index, row in enumerate(rows):
        count += max(row[6], 0)
        if count >= most:
            return rows[: index + 1]
    return rows


def _apply(view: Reading, look: Look[int], row: Row, total: list[int] | None) -> None:
    """What one window's state changes of the sums over the messages as they came."""
    id, window, newest, octets = row
    low = window * STATE_UIDS
    came = view._all(_CAME, mailbox=id, low=low, high=low + STATE_UIDS - 1)
    known = {uid: (flags, modseq) for uid, flags, modseq in came}
    try:
        state = unpacked(window, octets)
        marks = state.marks()
    except Damaged:
        look.wrong("state", f"mailbox {id}: the flags of window {window} cannot be read")
        return
    if total is None or newest != state.modseq or any(uid not in known for uid, _, _ in marks):
        look.wrong("state", f"mailbox {id}: flags of window {window} are not of its messages")
        return
    if any(modseq < known[uid][1] for uid, modseq, _ in marks):
        look.wrong("state", f"mailbox {id}: in window {window} a modseq went back")
    total[1] = max(total[1], newest)
    total[4] += sum((known[uid][0] & SEEN) - (bits & SEEN) for uid, _, bits in marks)


def _compare(
    look: Look[int], row: Row, total: Sequence[int] | None, buried: tuple[int, int]
) -> None:
    """One mailbox row against the sums over its messages and tombstones."""
    id, bal, validity, uid_next, highest, recent_from, *counters = row
    top_uid, top_modseq, least, *counted = total or (0, 0, 1, 0, 0, 0)
    if max(top_uid, buried[0]) >= uid_next or least < 1:
        look.wrong("uid", f"mailbox {id}: a UID is not below UIDNEXT")
    if max(top_modseq, buried[1]) > highest:
        look.wrong("modseq", f"mailbox {id}: a modseq is above the highest")
    if counted != counters:
        look.wrong("counters", f"mailbox {id}: counters do not fit its messages")
    if bal is None:
        look.wrong("mailbox", f"mailbox {id}: its box is missing")
    if not 0 < validity < 1 << 32:
        look.wrong("mailbox", f"mailbox {id}: impossible UIDVALIDITY")
    if not 1 <= recent_from <= uid_next:
        look.wrong("mailbox", f"mailbox {id}: \\Recent beyond UIDNEXT")


_Reading = tuple[int, int, int, str, int]


class Readings(Part[_Reading]):
    """Who has fetched and seen what."""

    name = "readings"
    first = (-1, -1, -1, "", -1)
    claims = (Claim("reading", "readings", "names letters, for a person and day once (DEF-06)"),)

    def look(self, view: Reading, after: _Reading) -> Look[_Reading]:
        """A range of sets. Those of a person and day that it cuts are compared on either side."""
        begin = {f"after_{column.name}": it for column, it in zip(_READING, after, strict=True)}
        rows = view._all(_READINGS, **begin, most=READINGS_AT_ONCE)
        look: Look[_Reading]
        look = Look.over("readings", rows, READINGS_AT_ONCE, itemgetter(0, 1, 2, 3, 4))
        for (bal, day, account, kind), sets in groupby(rows, itemgetter(0, 1, 2, 3)):
            known: set[int] = set()
            for *_, first, last, octets in sets:
                named = f"bal {bal}: what account {account} read on day {day} ({kind}, {first})"
                try:
                    letters = numbers_in(first, last, octets)
                except Damaged:
                    look.wrong("reading", f"{named} is damaged")
                    continue
                if not known.isdisjoint(letters):
                    look.wrong("reading", f"{named} is there twice")
                known.update(letters)
        return look


PARTS: tuple[type[Part[Any]], ...] = (
    Owners,
    Boxes,
    Mailboxes,
    Copies,
    Readings,
)
