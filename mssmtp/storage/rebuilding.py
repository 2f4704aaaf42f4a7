"""Making every summary and pack anew from the messages, and telling what was other than it should.

Packs and summaries are pure functions of the messages (D6): a rebuild that finds another octet has
found a damage, or what an older release had made; it puts the new in its place. It works beside a
running server, window by window, each a commit of its own, and goes on where it was stopped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from mssmtp.mail import BalId, MailboxId, Uid
from mssmtp.storage.contents import SUMMARY
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.messages import PACK_UIDS, TEXT_UIDS
from mssmtp.storage.model import NoSuchBal, NoSuchMailbox
from mssmtp.storage.schema import blob_keys, mailboxes, messages, meta, sql
from mssmtp.storage.summaries import MAX_PACK_OCTETS, PACK_ROW, SUMMARY_ROWS, packed, sealed_pack
from mssmtp.storage.texts import TextReading, TextWriting, keeping
from mssmtp.storage.textsealing import SealedTexts, TextKind
from mssmtp.storage.view import Row

if TYPE_CHECKING:
    from mssmtp.storage.store import Store
    from mssmtp.storage.views import Reading

PLACE = "rebuild"
WINDOWS_BETWEEN_PLACES = 16
_PLACE = struct.Struct(">QQ")

TextPlace = tuple[MailboxId, TextKind, int]
"""A window of texts."""
State = Literal["identical", "changed", "missing"]
Told = Callable[[int, int], None]
"""Called with (messages done, messages in all)."""

_MAILBOXES = sql(
    select(mailboxes.c.id, mailboxes.c.uid_next, mailboxes.c.messages).order_by(mailboxes.c.id)
)
_MAILBOX = sql(
    select(mailboxes.c.bal, mailboxes.c.uid_next).where(mailboxes.c.id == bindparam("mailbox"))
)
_NEXT_UID = sql(
    select(func.min(messages.c.uid))
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid >= bindparam("uid"))
)
_SET_SUMMARY = sql(
    update(blob_keys)
    .where(and_(blob_keys.c.blob == bindparam("blob_"), blob_keys.c.owner == bindparam("owner_")))
    .values(summary=bindparam("new"))
)
_GET = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))
_FORGET = sql(delete(meta).where(meta.c.key == bindparam("key")))
_KEEP = sql(insert(meta))


def silent(done: int, total: int) -> None:
    """No progress is shown."""


@dataclass(slots=True)
class Tally:
    """How many of one sort, by what the rebuild found in their place."""

    identical: int = 0
    changed: int = 0
    missing: int = 0

    def add(self, state: State) -> None:
        """One more."""
        setattr(self, state, getattr(self, state) + 1)

    @property
    def total(self) -> int:
        """All that were made."""
        return self.identical + self.changed + self.missing


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found. `damaged`: messages whose content cannot be read, with their places."""

    resumed: bool = False
    messages: int = 0
    summaries: Tally = field(default_factory=Tally)
    packs: Tally = field(default_factory=Tally)
    texts: Tally = field(default_factory=Tally)
    damaged: list[str] = field(default_factory=list)

    @property
    def all_identical(self) -> bool:
        """Nothing was other than what the messages say; what was missing had not been made yet."""
        sorts = (self.summaries, self.packs, self.texts)
        return not self.damaged and not any(sort.changed for sort in sorts)


@dataclass(slots=True)
class RemadeWindow:
    """One window of summaries, computed from the messages."""

    bal: BalId
    found: dict[Uid, bytes] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    wrong: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    damaged: list[Uid] = field(default_factory=list)
    pack: State | None = None
    sealed: bytes | None = None


class RebuildReading(TextReading):
    """Computing anew, and comparing."""

    def rebuild_place(self) -> tuple[int, int]:
        """Mailbox and UID from which a stopped rebuild goes on."""
        row = self._one(_GET, key=PLACE)
        mailbox, uid = _PLACE.unpack(row[0]) if row else (0, 0)
        return mailbox, uid

    def rebuild_mailboxes(self) -> list[tuple[MailboxId, int, int]]:
        """(id, next UID, messages) of every mailbox of everybody."""
        return [(MailboxId(id), int(uid), int(n)) for id, uid, n in self._all(_MAILBOXES)]

    def next_uid(self, mailbox: MailboxId, uid: int) -> int | None:
        """The first message at or behind `uid`: empty windows cost nothing."""
        row = self._one(_NEXT_UID, mailbox=mailbox, uid=uid)
        return None if row is None or row[0] is None else int(row[0])

    def remade_summaries(self, mailbox: MailboxId, window: int) -> RemadeWindow | None:
        """The summaries of a window from the contents, beside what is kept."""
        row = self._one(_MAILBOX, mailbox=mailbox)
        if row is None:
            return None
        bal, key = BalId(row[0]), self._bal_key(BalId(row[0]))
        low = window * PACK_UIDS
        high = low + PACK_UIDS - 1
        made = RemadeWindow(bal)
        for each in self._all(SUMMARY_ROWS, mailbox=mailbox, owner=key.id, low=low, high=high):
            self._remade_summary(each, key, made)
        if not made.damaged and made.found:
            self._remade_pack(mailbox, window, key, made)
            if made.pack == "missing" and row[1] <= high:  # nor has anybody read many of it yet
                made.pack = made.sealed = None
        return made

    def _remade_summary(self, row: Row, key: OwnerKey, made: RemadeWindow) -> None:
        uid = Uid(row[0])
        new = self._computed(row[3], key)
        if not new:
            made.damaged.append(uid)
            return
        made.found[uid] = new
        purpose = SUMMARY + row[1]
        old = self._legible(key.open, purpose, row[2])
        state: State = "identical" if old == new else "changed"
        made.states.append(state)
        if state == "changed":
            made.wrong.append((row[3], purpose, new))

    def _remade_pack(
        self, mailbox: MailboxId, window: int, key: OwnerKey, made: RemadeWindow
    ) -> None:
        octets = packed(made.found)
        if len(octets) > MAX_PACK_OCTETS:
            return
        if self._one(PACK_ROW, mailbox=mailbox, window=window) is None:
            made.pack = "missing"
        else:
            old = self._from_pack(mailbox, window, key)
            first = dict(islice(made.found.items(), len(old or ())))
            is_same = old == first and self.is_pack_of(mailbox, window, first)
            made.pack = "identical" if is_same else "changed"
            if is_same and len(first) < len(made.found):  # what came since is not in it
                made.pack = "missing"
        if made.pack != "identical":
            made.sealed = sealed_pack(key, mailbox, window, made.found)

    def remade_texts(self, place: TextPlace, first: int) -> tuple[SealedTexts, State] | None:
        """The next pack of texts of a window that is closed, from `first` on."""
        mailbox, kind, window = place
        made = self.make_texts(mailbox, kind, window, first)
        if made is None:
            return None
        old = self.open_texts(mailbox, kind, made.pack.span)
        if old is None:
            return made.pack, "missing"
        if old != dict(made.texts):
            return made.pack, "changed"
        sieve = made.pack.sieve
        return made.pack, "identical" if sieve is None else self.kept_sieve(sieve)


class RebuildWriting(RebuildReading, TextWriting):
    """Putting the new in the place of the old."""

    def renew_summaries(self, mailbox: MailboxId, window: int, made: RemadeWindow) -> None:
        """Keep what was computed. A message that is gone meanwhile has no row to change."""
        key = self._bal_key(made.bal)
        for blob, purpose, new in made.wrong:
            self._run(_SET_SUMMARY, blob_=blob, owner_=key.id, new=key.seal(purpose, new))
        if made.sealed is not None:
            self.keep_pack(mailbox, max(made.found), len(made.found), made.sealed)

    def keep_rebuild_place(self, place: tuple[int, int] | None) -> None:
        """Go on from here after a stop; None: it is finished."""
        self._run(_FORGET, key=PLACE)
        if place is not None:
            self._run(_KEEP, key=PLACE, value=_PLACE.pack(*place))


def rebuild(store: Store, told: Told, *, from_the_start: bool) -> RebuildReport:
    """Everything anew. Raises what the store raises; called again, it goes on."""
    place = (0, 0) if from_the_start else store.read(lambda r: r.rebuild_place()).result()
    every = store.read(lambda r: r.rebuild_mailboxes()).result()
    report = RebuildReport(resumed=place != (0, 0))
    total = sum(count for _, _, count in every)
    passed = sum(count for id, _, count in every if id < place[0])
    done = 0
    for mailbox, uid_next, _ in every:
        if mailbox < place[0]:
            continue
        start = place[1] if mailbox == place[0] else 0
        try:
            for windows, uid in enumerate(_windows(store, mailbox, start, uid_next)):
                if windows % WINDOWS_BETWEEN_PLACES == 0:
                    _keep_place(store, (mailbox, uid))
                _one_window(store, mailbox, uid // PACK_UIDS, report)
                done = report.messages + passed
                told(min(done, total), total)
        except (NoSuchMailbox, NoSuchBal):
            continue  # deleted meanwhile
    told(total, total)
    _keep_place(store, None)
    return report


def _windows(store: Store, mailbox: MailboxId, start: int, uid_next: int) -> Iterator[int]:
    """The first UID of each window that has messages."""
    uid: int | None = start
    while uid is not None and uid < uid_next:
        at = uid
        uid = store.read(_next(mailbox, at)).result()
        if uid is None:
            return
        first = uid // PACK_UIDS * PACK_UIDS
        yield first
        uid = first + PACK_UIDS


def _one_window(store: Store, mailbox: MailboxId, window: int, report: RebuildReport) -> None:
    made = store.read(lambda r: r.remade_summaries(mailbox, window), patient=True).result()
    if made is None:
        return
    report.messages += len(made.found) + len(made.damaged)
    report.damaged += [f"mailbox {mailbox}, UID {uid}" for uid in made.damaged]
    for state in made.states:
        report.summaries.add(state)
    if made.pack is not None:
        report.packs.add(made.pack)
    if made.wrong or made.sealed is not None:
        store.write(lambda w: w.renew_summaries(mailbox, window, made)).result()
    texts_in_window = PACK_UIDS // TEXT_UIDS
    for text_window in range(window * texts_in_window, (window + 1) * texts_in_window):
        for kind in TextKind:
            _one_text_window(store, (mailbox, kind, text_window), report.texts)


def _one_text_window(store: Store, place: TextPlace, tally: Tally) -> None:
    first = place[2] * TEXT_UIDS
    while True:
        remade = store.read(_remaking(place, first), patient=True).result()
        if remade is None:
            return
        pack, state = remade
        tally.add(state)
        if state != "identical":
            store.write(keeping(pack)).result()
        first = pack.span.last + 1


def _next(mailbox: MailboxId, uid: int) -> Callable[[Reading], int | None]:
    return lambda reading: reading.next_uid(mailbox, uid)


def _remaking(
    place: TextPlace, first: int
) -> Callable[[Reading], tuple[SealedTexts, State] | None]:
    return lambda reading: reading.remade_texts(place, first)


def _keep_place(store: Store, place: tuple[int, int] | None) -> None:
    store.write(lambda w: w.keep_rebuild_place(place)).result()
