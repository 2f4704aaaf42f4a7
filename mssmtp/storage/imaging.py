"""Making images of mailboxes (`images`), and changing the flags of many messages by them.

With an image at hand nothing is read before flags change, nor after: both are known.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from sqlalchemy import and_, bindparam, case, select, update

from mssmtp.mail import ALL_RIGHTS, ChangeKind, MailboxId, ModSeq
from mssmtp.storage.flags import ALL_BITS, SEEN, FlagSets
from mssmtp.storage.images import (
    SHORT_BITS,
    SHORT_MODSEQ,
    Block,
    Image,
    Span,
    TooManySets,
    block_of,
    block_of_numbers,
    image_of,
)
from mssmtp.storage.mailboxes import MailboxReading, MailboxWriting
from mssmtp.storage.model import FlagsOperation, changeable
from mssmtp.storage.schema import expunged, mailboxes, messages, sql
from mssmtp.storage.stating import StateReading, StateWriting

BLOCK = 512

_STATE = sql(
    select(mailboxes.c.highest_modseq, mailboxes.c.messages).where(
        mailboxes.c.id == bindparam("mailbox")
    )
)
_MARKS = select(messages.c.uid, messages.c.modseq, messages.c.flags).where(
    messages.c.mailbox == bindparam("mailbox")
)
_ALL_MARKS = sql(_MARKS.order_by(messages.c.uid))
_MARKS_IN = sql(
    _MARKS.where(messages.c.uid.between(bindparam("low"), bindparam("high"))).order_by(
        messages.c.uid
    )
)
_IS_SHORT = and_(messages.c.flags < SHORT_BITS, messages.c.modseq < SHORT_MODSEQ)
_SHORT = messages.c.uid + messages.c.modseq * (1 << 32) + messages.c.flags * (1 << 56)
_ALL_NUMBERS = sql(
    select(case((_IS_SHORT, _SHORT), else_=-messages.c.uid))
    .where(messages.c.mailbox == bindparam("mailbox"))
    .order_by(messages.c.uid)
)
_NEW_MARKS = sql(_MARKS.where(messages.c.uid > bindparam("uid")).order_by(messages.c.uid))
_GONE = sql(
    select(expunged.c.uid)
    .where(expunged.c.mailbox == bindparam("mailbox"))
    .where(expunged.c.modseq > bindparam("modseq"))
)
COUNT_UNSEEN = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox_"))
    .values(unseen=mailboxes.c.unseen + bindparam("more"))
)


class ImageReading(StateReading, MailboxReading):
    """Looking at whole mailboxes."""

    def image(self, mailbox: MailboxId) -> Image | None:
        """All messages with their flags; None when the mailbox is not there, or when its messages
        have more different sets of flags than an image can hold."""
        state = self._one(_STATE, mailbox=mailbox)
        if state is None:
            return None
        modseq, count = ModSeq(state[0]), int(state[1])
        known = self._vault.images.of(mailbox)
        if known is not None and known.modseq == modseq:
            return known
        try:
            made = self._with_news(mailbox, known, modseq)
            if made is None or len(made) != count:
                made = image_of(modseq, self._blocks(mailbox), self._states(mailbox))
        except TooManySets:
            return None
        if not self._is_writing:  # what a job sees may be undone
            self._vault.images.keep(mailbox, made)
        return made

    def flag_sets(self, mailbox: MailboxId) -> FlagSets:
        """What the bits of an image stand for."""
        return self._flag_sets(mailbox)

    def _with_news(self, mailbox: MailboxId, known: Image | None, modseq: ModSeq) -> Image | None:
        """`known` and what happened since; None when it is not older than this snapshot."""
        if known is None or known.modseq > modseq:
            return None
        last = known.uids[-1] if known.uids else 0
        news = self._as_now(mailbox, self._all(_NEW_MARKS, mailbox=mailbox, uid=last))
        older = (mark for mark in self._marks_since(mailbox, known.modseq) if mark[0] <= last)
        gone = self._each(_GONE, mailbox=mailbox, modseq=known.modseq)
        return known.with_news(modseq, chain(older, news), (row[0] for row in gone))

    def _blocks(self, mailbox: MailboxId) -> Iterator[Block]:
        if sys.byteorder != "little":
            rows = self._each(_ALL_MARKS, mailbox=mailbox)
            while marks := list(islice(rows, BLOCK)):
                yield block_of(marks)
            return
        numbers = chain.from_iterable(self._each(_ALL_NUMBERS, mailbox=mailbox))
        while block := list(islice(numbers, BLOCK)):
            if min(block) > 0:
                yield block_of_numbers(block)
            else:  # some has keywords or a high modseq
                low, high = (n % (1 << 32) if n > 0 else -n for n in (block[0], block[-1]))
                yield block_of(self._all(_MARKS_IN, mailbox=mailbox, low=low, high=high))


class ImageWriting(ImageReading, StateWriting, MailboxWriting):
    """Changing flags of many messages."""

    def flag(
        self,
        mailbox: MailboxId,
        before: Image,
        spans: Sequence[Span],
        operation: FlagsOperation,
        flags: frozenset[str],
        rights: str = ALL_RIGHTS,
    ) -> Image | None:
        """As `store_flags` for the messages at `spans` of `before`, the present `image`; the image
        after, None when it cannot hold the new flags (then nothing was done).

        Raises NoSuchMailbox, TooManyKeywords.
        """
        keep, more = self._effect(mailbox, operation, flags, rights)
        try:
            after, changed = before.with_flags(spans, keep, more, ModSeq(before.modseq + 1))
        except TooManySets:
            return None
        if not changed:
            return before
        modseq, bal = self._bump(mailbox)
        if modseq != after.modseq:
            raise RuntimeError("not the present image")
        self._keep_states(mailbox, after.states(changed))
        fewer = sum(after.count(span, SEEN) - before.count(span, SEEN) for span in spans)
        if fewer:
            self._run(COUNT_UNSEEN, mailbox_=mailbox, more=-fewer)
        self._changed(ChangeKind.FLAGS, bal, mailbox, modseq)
        self.effects.first.append(lambda: self._vault.images.keep(mailbox, after))
        return after

    def _effect(
        self, mailbox: MailboxId, operation: FlagsOperation, flags: frozenset[str], rights: str
    ) -> tuple[int, int]:
        """New bits are `bits & keep | more`; what `rights` do not let change stays as it is.

        Nothing is learnt from what is taken away: a keyword comes with a change of a message, so
        that its modseq tells of it. Raises NoSuchMailbox, TooManyKeywords.
        """
        bits = self._flag_bits(mailbox, changeable(flags, rights), learn=operation != "-")
        if operation == "+":
            return ALL_BITS, bits
        if operation == "-":
            return ALL_BITS & ~bits, 0
        return ALL_BITS & ~self._changeable(mailbox, rights), bits
