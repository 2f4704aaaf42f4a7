"""Making images of mailboxes (`images`), and changing the flags of many messages by them.

With an image at hand nothing is read before flags change, nor after: both are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import bindparam, select, update

from mssmtp.mail import ALL_RIGHTS, ChangeKind, MailboxId, ModSeq
from mssmtp.storage.flags import ALL_BITS, SEEN, FlagReading, FlagSets, FlagWriting
from mssmtp.storage.images import Image, Span, TooManySets, image_of
from mssmtp.storage.mailboxes import MailboxReading, MailboxWriting
from mssmtp.storage.model import FlagsOperation, changeable
from mssmtp.storage.schema import expunged, mailboxes, messages, sql
from mssmtp.storage.view import Row

BLOCK = 4_096

_STATE = sql(
    select(mailboxes.c.highest_modseq, mailboxes.c.messages).where(
        mailboxes.c.id == bindparam("mailbox")
    )
)
_FLAGS = select(messages.c.uid, messages.c.flags).where(messages.c.mailbox == bindparam("mailbox"))
_ALL_FLAGS = sql(_FLAGS.order_by(messages.c.uid))
_CHANGED_FLAGS = sql(_FLAGS.where(messages.c.modseq > bindparam("modseq")).order_by(messages.c.uid))
_GONE = sql(
    select(expunged.c.uid)
    .where(expunged.c.mailbox == bindparam("mailbox"))
    .where(expunged.c.modseq > bindparam("modseq"))
)
_NEW_FLAGS = messages.c.flags.bitwise_and(bindparam("keep")).bitwise_or(bindparam("more"))
SET_FLAGS = sql(
    update(messages)
    .where(messages.c.mailbox == bindparam("mailbox_"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
    .where(messages.c.flags != _NEW_FLAGS)
    .values(flags=_NEW_FLAGS, modseq=bindparam("new_modseq"))
)
COUNT_UNSEEN = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox_"))
    .values(unseen=mailboxes.c.unseen + bindparam("more"))
)


class ImageReading(FlagReading, MailboxReading):
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
                made = image_of(modseq, self._flags_of_all(mailbox))
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
        rows = self._each(_CHANGED_FLAGS, mailbox=mailbox, modseq=known.modseq)
        gone = self._each(_GONE, mailbox=mailbox, modseq=known.modseq)
        return known.with_news(modseq, rows, (row[0] for row in gone))

    def _flags_of_all(self, mailbox: MailboxId) -> Iterator[list[Row]]:
        rows = self._each(_ALL_FLAGS, mailbox=mailbox)
        while block := list(islice(rows, BLOCK)):
            yield block


class ImageWriting(ImageReading, FlagWriting, MailboxWriting):
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
            after = before.with_flags(spans, keep, more, ModSeq(before.modseq + 1))
        except TooManySets:
            return None
        if before.codes == after.codes:
            return before
        modseq, bal = self._bump(mailbox)
        if modseq != after.modseq:
            raise RuntimeError("not the present image")
        values = {"mailbox_": mailbox, "keep": keep, "more": more, "new_modseq": modseq}
        for start, stop in spans:
            self._run(SET_FLAGS, low=before.uids[start], high=before.uids[stop - 1], **values)
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

        Raises NoSuchMailbox, TooManyKeywords.
        """
        bits = self._flag_bits(mailbox, changeable(flags, rights))
        if operation == "+":
            return ALL_BITS, bits
        if operation == "-":
            return ALL_BITS & ~bits, 0
        return ALL_BITS & ~self._changeable(mailbox, rights), bits
