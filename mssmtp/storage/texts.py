"""Searching the sealed texts of a mailbox (RFC 3501 6.4.4; T16, F7).

What SEARCH looks through is decoded and folded once per message and kept in packs of neighbouring
UIDs, sealed for the BAL: a search opens one after the other and looks for octets. Packs are a
cache: without them the answers are the same, and slower. A window that no UID can join any more is
packed behind the delivery, or by whoever searches it first; it is thrown away when one of its
messages is expunged.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.errors import Damaged
from mssmtp.mail import BalId, MailboxId, Uid
from mssmtp.message.headers import header_fields
from mssmtp.message.readable import BLOCK_OCTETS, Needle, folded_body, folded_header
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.messages import TEXT_UIDS
from mssmtp.storage.model import NoSuchMessage
from mssmtp.storage.schema import sql, texts
from mssmtp.storage.sieves import lets_through, places_of
from mssmtp.storage.summaries import (
    BOX_AND_UIDNEXT,
    COUNT_OF_SPAN,
    SUMMARY_ROWS,
    SummaryReading,
    SummaryWriting,
)
from mssmtp.storage.textpack import (
    EMPTY_OCTETS,
    MAX_PACK_OCTETS,
    MAX_TEXT_OCTETS,
    Names,
    Text,
    TextPack,
    are_short,
    packed,
    room_of,
)
from mssmtp.storage.textsealing import (
    SIEVES,
    Opened,
    SealedRow,
    SealedSieve,
    SealedTexts,
    TextKind,
    TextSource,
)
from mssmtp.storage.textsearch import DEARER, MESSAGE_COST, Scanned, Search
from mssmtp.storage.textspans import Kept, Span, end_of, gaps_of, runs, together, windows_of
from mssmtp.storage.view import Row, ranges

if TYPE_CHECKING:
    from mssmtp.storage.views import Writing

logger = logging.getLogger(__name__)

PACK_FROM = 16
"""For fewer messages of a window no pack is made in passing."""
AHEAD = 3
"""As many other threads open packs while one is looked through."""
_KEPT_TEXT_OCTETS = 400
"""What a remembered text takes beside itself."""
_SIEVES_TOGETHER = 64
_SIEVE_COST = 32_768

_HERE = (texts.c.mailbox == bindparam("mailbox")) & (texts.c.kind == bindparam("kind"))
_BETWEEN = texts.c.first.between(bindparam("low"), bindparam("high"))
_SPANS = sql(
    select(texts.c.first, texts.c.last, func.length(texts.c.sealed))
    .where(_HERE)
    .where(_BETWEEN)
    .order_by(texts.c.first)
)
_KEPT = sql(
    select(texts.c.first, texts.c.last, texts.c.count)
    .where(_HERE)
    .where(_BETWEEN)
    .order_by(texts.c.first)
)
_SEALED = sql(select(texts.c.sealed).where(_HERE).where(_BETWEEN).order_by(texts.c.first))
_PACK = sql(
    select(texts.c.last, texts.c.count).where(_HERE).where(texts.c.first == bindparam("first"))
)
_SIEVES = sql(select(texts.c.first, texts.c.sealed).where(_HERE).where(_BETWEEN))
_DROP = sql(
    delete(texts)
    .where(_HERE)
    .where(texts.c.first.between(bindparam("least"), bindparam("high")))
    .where(texts.c.last >= bindparam("low"))
)
_NEW = sql(insert(texts))
_DROP_ALL = sql(delete(texts))

_Opening = Future[tuple[list[Opened], Sequence[SealedRow]]] | list[Opened]
_SIEVED = TextPack(b"", (), ())
"""In the place of a pack that holds nothing of what is looked for."""


@dataclass(frozen=True, slots=True)
class MadeTexts:
    """A pack, and what it holds."""

    pack: SealedTexts
    texts: list[Text]


class TextReading(SummaryReading):
    """Looking for text."""

    def find_texts(
        self, mailbox: MailboxId, kind: TextKind, needles: Sequence[Needle], uids: Sequence[int]
    ) -> Iterator[Scanned]:
        """Which of `uids`, ascending, hold each of `needles`; step by step.

        A damaged message holds nothing (D10).
        """
        source = self._texts_of(mailbox, kind)
        if source is None or not uids or not needles:
            return
        at = 0
        for span, pack in self._joined(source, uids, Search(tuple(needles), ()).names):
            start, stop = bisect_left(uids, span.first), bisect_right(uids, span.last)
            yield from self._find_apart(source, needles, uids[at:start])
            search = Search(tuple(needles), uids[start:stop])
            yield Scanned(span.last, search.look(pack), len(pack.octets) * len(needles))
            at = stop
        yield from self._find_apart(source, needles, uids[at:])

    def _find_apart(
        self, source: TextSource, needles: Sequence[Needle], uids: Sequence[int]
    ) -> Iterator[Scanned]:
        """Pack by pack."""
        if not uids:
            return
        spans = self._spans(source, uids[0] // TEXT_UIDS * TEXT_UIDS, uids[-1])
        windows = windows_of(uids)
        spans = [span for span in spans if span.first // TEXT_UIDS in windows]
        names = Search(tuple(needles), ()).names
        packs = self._opened(source, self._sieved(source, needles, spans), names)
        ahead = next(packs, None)
        for window, some in windows.items():
            search = Search(tuple(needles), uids[some])
            at = window * TEXT_UIDS
            while ahead is not None and ahead[0].first < end_of(window):
                span, pack = ahead
                if pack is not None:
                    if at < span.first:
                        yield from self._through_gap(source, search, Span(at, span.first - 1))
                    yield from self._through_pack(source, search, span, pack)
                    at = span.last + 1
                ahead = next(packs, None)
            if at < end_of(window):
                yield from self._through_gap(source, search, Span(at, end_of(window) - 1))

    def _joined(
        self, source: TextSource, uids: Sequence[int], names: Names
    ) -> Iterator[tuple[Span, TextPack]]:
        """Short texts of many packs at once."""
        if source.kind is not TextKind.HEADER or not are_short(names) or len(uids) < PACK_FROM:
            return
        place = {"mailbox": source.mailbox, "kind": int(source.kind)}
        low = uids[0] // TEXT_UIDS * TEXT_UIDS
        rows = self._all(_KEPT, **place, low=low, high=uids[-1])
        for run in runs(map(Kept._make, rows), uids):
            key = ("texts", source.mailbox, names, *run)
            pack = self.remembered.get(key, TextPack)
            if pack is None:
                pack = self._join(source, run, names)
                self.remembered.keep(key, pack, pack.octets_held)
            if pack.uids:
                yield Span(run[0].first, run[-1].last), pack

    def _join(self, source: TextSource, run: Sequence[Kept], names: Names) -> TextPack:
        """An empty one when each has to be looked into by itself."""
        spans = ((Span(first, last), True) for first, last, _ in run)
        packs = [pack for _, pack in self._opened(source, spans, names)]
        there = [pack for pack in packs if pack is not None and not pack.apart]
        return TextPack.joined(there) if len(there) == len(run) else TextPack(b"", (), ())

    def make_texts(
        self, mailbox: MailboxId, kind: TextKind, window: int, first: int
    ) -> MadeTexts | None:
        """The pack for `first` and what follows, if no UID can join its window any more."""
        source = self._texts_of(mailbox, kind)
        if source is None or not source.is_closed(window) or first >= end_of(window):
            return None
        span, filled = next(self._filled(source, Span(first, end_of(window) - 1)))
        return MadeTexts(source.sealed(span, filled), filled)

    def missing_texts(self, mailbox: MailboxId, kind: TextKind, window: int) -> SealedTexts | None:
        """The first pack that a window lacks, if no UID can join it any more."""
        source = self._texts_of(mailbox, kind)
        if source is None or not source.is_closed(window):
            return None
        known = self._spans(source, window * TEXT_UIDS, end_of(window) - 1)
        for gap in gaps_of(window, known):
            return source.sealed(*next(self._filled(source, gap)))
        return None

    def missing_sieve(self, mailbox: MailboxId, window: int) -> SealedSieve | None:
        """The sieve of the first pack of a window that lacks it and can be opened."""
        source = self._texts_of(mailbox, TextKind.BODY)
        if source is None:
            return None
        low, high = window * TEXT_UIDS, end_of(window) - 1
        rows = self._all(_SIEVES, mailbox=mailbox, kind=SIEVES, low=low, high=high)
        known = {first for first, _ in rows}
        spans = [span for span in self._spans(source, low, high) if span.first not in known]
        for span, pack in self._opened(source, ((span, True) for span in spans)):
            if pack is not None:
                return source.sieve(span, pack.texts())
        return None

    def kept_sieve(self, made: SealedSieve) -> Literal["identical", "changed", "missing"]:
        """What is kept in the place of `made`."""
        source = self._texts_of(made.mailbox, TextKind.BODY)
        low = made.span.first
        rows = self._all(_SIEVES, mailbox=made.mailbox, kind=SIEVES, low=low, high=low)
        if source is None or not rows:
            return "missing"
        new = source.opened_sieve(made.span, made.sealed)
        return "identical" if source.opened_sieve(made.span, rows[0][1]) == new else "changed"

    def open_texts(
        self, mailbox: MailboxId, kind: TextKind, span: Span
    ) -> dict[Uid, bytes | None] | None:
        """What can be opened of the packs of `span`, for a comparison; None: there are none."""
        source = self._texts_of(mailbox, kind)
        if source is None:
            return None
        least = span.first // TEXT_UIDS * TEXT_UIDS
        spans = [each for each in self._spans(source, least, span.last) if each.last >= span.first]
        found: dict[Uid, bytes | None] = {}
        for _, pack in self._opened(source, ((span, True) for span in spans)):
            found |= pack.texts() if pack is not None else {}
        inside = {uid: text for uid, text in found.items() if span.first <= uid <= span.last}
        return inside if spans else None

    def _texts_of(self, mailbox: MailboxId, kind: TextKind) -> TextSource | None:
        row = self._one(BOX_AND_UIDNEXT, mailbox=mailbox)
        return (
            None if row is None else TextSource(mailbox, kind, self._bal_key(BalId(row[0])), row[1])
        )

    def _spans(self, source: TextSource, low: int, high: int) -> list[Span]:
        rows = self._all(_SPANS, mailbox=source.mailbox, kind=int(source.kind), low=low, high=high)
        return [Span(first, last, octets) for first, last, octets in rows]

    def _sieved(
        self, source: TextSource, needles: Sequence[Needle], spans: Sequence[Span]
    ) -> Iterator[tuple[Span, bool]]:
        """Each pack, and whether it has to be opened."""
        sought = [places_of(needle.text) for needle in needles]
        if source.kind is not TextKind.BODY or not all(sought):
            yield from ((span, True) for span in spans)
            return
        place = {"mailbox": source.mailbox, "kind": SIEVES}
        for at in range(0, len(spans), _SIEVES_TOGETHER):
            some = spans[at : at + _SIEVES_TOGETHER]
            rows = self._all(_SIEVES, **place, low=some[0].first, high=some[-1].first)
            sealed: dict[int, bytes] = dict(rows)
            for span in some:
                if span.first not in sealed:  # the pack is of the release before
                    self._vault.want_packs(source.mailbox, span.first // TEXT_UIDS)
                sieve = source.opened_sieve(span, sealed.get(span.first, b""))
                yield span, sieve is None or any(lets_through(sieve, each) for each in sought)

    def _opened(
        self, source: TextSource, spans: Iterable[tuple[Span, bool]], names: Names = None
    ) -> Iterator[tuple[Span, TextPack | None]]:
        """The packs in order, empty where one has not to be opened. The next are opened meanwhile:
        that needs no interpreter."""
        waiting: deque[_Opening] = deque()
        submit = self._vault.openers.submit

        def next_opened() -> list[Opened]:
            found = waiting.popleft()
            if isinstance(found, list):
                return found
            opened, left = found.result()
            if left:
                waiting.appendleft(submit(source.opened_together, left, names))
            return opened

        def sealed(some: list[Span]) -> list[SealedRow]:
            span = {"low": some[0].first, "high": some[-1].first}
            rows = self._all(_SEALED, mailbox=source.mailbox, kind=int(source.kind), **span)
            return [(each, row[0]) for each, row in zip(some, rows, strict=True)]

        groups = together(spans)
        group = next(groups, None)
        try:
            while group is not None:
                some, is_wanted = group
                group = next(groups, None)
                if is_wanted and not waiting and (group is None or names is not None):
                    # Little to open, or nothing to do meanwhile: changes of thread cost more.
                    found = ((at, source.opened(at, row, names)) for at, row in sealed(some))
                    yield from found
                elif is_wanted:
                    waiting.append(submit(source.opened_together, sealed(some), names))
                else:
                    waiting.append([(span, _SIEVED) for span in some])
                while len(waiting) > AHEAD:
                    yield from next_opened()
            while waiting:
                yield from next_opened()
        finally:
            for opening in waiting:
                if isinstance(opening, Future):
                    opening.cancel()

    def _through_pack(
        self, source: TextSource, search: Search, span: Span, pack: TextPack
    ) -> Iterator[Scanned]:
        """A pack, then the long texts it has no room for."""
        if pack is _SIEVED:
            yield Scanned(span.last, tuple(set() for _ in search.needles), _SIEVE_COST)
            return
        apart = sorted({*pack.apart}.intersection(map(Uid, search.uids))) if pack.apart else []
        lasts = [uid - 1 for uid in apart] + [span.last]
        yield Scanned(lasts[0], search.look(pack), len(pack.octets) * len(search.needles))
        for uid, last in zip(apart, lasts[1:], strict=True):
            for row in self._text_rows(source, uid, uid):
                yield replace(search.stream(uid, self._read_on(row, source, search)), last=last)

    def _through_gap(self, source: TextSource, search: Search, gap: Span) -> Iterator[Scanned]:
        """What no pack answers for; where much is missing, packs are made on the way."""
        wanted = search.wanted(gap)
        if len(wanted) >= PACK_FROM and source.is_closed(gap.first // TEXT_UIDS):
            for span, filled in self._filled(source, gap):
                self._vault.later(keeping(source.sealed(span, filled)))
                pack = TextPack.opened(packed(filled))
                for scanned in self._through_pack(source, search, span, pack):
                    cost = DEARER * len(pack.octets) + MESSAGE_COST * len(filled)
                    yield replace(scanned, cost=scanned.cost + cost)
            return
        for low, high in ranges(wanted):
            for row in self._text_rows(source, low, high):
                yield search.stream(Uid(row[0]), self._read_on(row, source, search))

    def _filled(self, source: TextSource, gap: Span) -> Iterator[tuple[Span, list[Text]]]:
        """The texts of a gap, in as many packs as they need."""
        first, room = gap.first, EMPTY_OCTETS
        filled: list[Text] = []
        for row in self._text_rows(source, gap.first, gap.last):
            text = self._bounded(row, source)
            if room + room_of(text) > MAX_PACK_OCTETS:
                yield Span(first, filled[-1][0]), filled
                first, room, filled = filled[-1][0] + 1, EMPTY_OCTETS, []
            filled.append((Uid(row[0]), text))
            room += room_of(text)
        yield Span(first, gap.last), filled

    def _text_rows(self, source: TextSource, low: int, high: int) -> list[Row]:
        return self._all(
            SUMMARY_ROWS, mailbox=source.mailbox, owner=source.key.id, low=low, high=high
        )

    def _bounded(self, row: Row, source: TextSource) -> bytes | None:
        """The text of a message; None when it is too long, or cannot be read now."""
        pieces: list[bytes] = []
        size = 0
        try:
            for piece in self._text(row, source):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_TEXT_OCTETS:
                    return None
        except (Damaged, NoSuchMessage, UnknownSummary):
            return None
        return b"".join(pieces)

    def _read_on(self, row: Row, source: TextSource, search: Search) -> Iterator[bytes]:
        """The text of a message as far as it can be read."""
        try:
            yield from self._text(row, source, search.names)
        except (Damaged, NoSuchMessage, UnknownSummary):
            logger.exception("message damaged", extra={"mailbox": source.mailbox, "uid": row[0]})

    def _text(
        self, row: Row, source: TextSource, names: tuple[str, ...] | None = None
    ) -> Iterator[bytes]:
        """`names`: of the header section these fields are enough.

        Raises Damaged, NoSuchMessage, UnknownSummary.
        """
        key = ("short", source.mailbox, row[0], names)
        is_short = source.kind is TextKind.HEADER and are_short(names)
        if is_short and (known := self.remembered.get(key, bytes)) is not None:
            yield known
            return
        summary = Summary.from_bytes(self._summary(row, source.key))
        if source.kind is TextKind.HEADER:
            header = summary.header
            text = folded_header(header if names is None else header_fields(header, names))
            if is_short:  # the newest, which are in no pack yet
                self.remembered.keep(key, text, len(text) + _KEPT_TEXT_OCTETS)
            yield text
            return
        content = self._content(row[3], source.key.id)
        if summary.size_octets > BLOCK_OCTETS:
            yield from folded_body(summary, content.read)
            return
        octets = content.read()
        yield from folded_body(summary, lambda start, stop: octets[start:stop])


class TextWriting(TextReading, SummaryWriting):
    """Keeping packs of texts."""

    def keep_texts(self, pack: SealedTexts) -> bool:
        """Keep a pack a reader made; not if a message was expunged or the key replaced since."""
        if not self._bal_key(self._bal_of(pack.mailbox)).is_current(pack.sealed):
            return False
        low, high = pack.span.first, pack.span.last
        if self._new(COUNT_OF_SPAN, mailbox=pack.mailbox, low=low, high=high)[0] != pack.count:
            return False
        place = {"mailbox": pack.mailbox, "kind": int(pack.kind)}
        self._run(_DROP, **place, least=low // TEXT_UIDS * TEXT_UIDS, low=low, high=high)
        self._run(_NEW, **place, first=low, last=high, count=pack.count, sealed=pack.sealed)
        if pack.sieve is not None:
            self._put_sieve(pack.sieve)
        return True

    def keep_sieve(self, sieve: SealedSieve) -> bool:
        """Keep the sieve of a pack that had none; not if the pack was dropped or replaced since."""
        pack = self._one(
            _PACK, mailbox=sieve.mailbox, kind=int(TextKind.BODY), first=sieve.span.first
        )
        is_current = self._bal_key(self._bal_of(sieve.mailbox)).is_current(sieve.sealed)
        if pack != (sieve.span.last, sieve.count) or not is_current:
            return False
        self._put_sieve(sieve)
        return True

    def _put_sieve(self, sieve: SealedSieve) -> None:
        place = {"mailbox": sieve.mailbox, "kind": SIEVES}
        low, high = sieve.span.first, sieve.span.last
        self._run(_DROP, **place, least=low // TEXT_UIDS * TEXT_UIDS, low=low, high=high)
        self._run(_NEW, **place, first=low, last=high, count=sieve.count, sealed=sieve.sealed)

    def drop_texts(self) -> int:
        """Throw every pack of texts away; they come back by themselves."""
        return self._run(_DROP_ALL)


def keeping(pack: SealedTexts) -> Callable[[Writing], bool]:
    """The job that keeps a pack."""
    return lambda writing: writing.keep_texts(pack)
