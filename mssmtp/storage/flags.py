"""Flags as bits of a message row: five system flags, then up to 57 keywords per mailbox.

Keywords are compared without case and keep their first spelling; people write anything into them,
so they are sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import bindparam, delete, insert, select

from mssmtp.mail import BalId, MailboxId
from mssmtp.storage.model import (
    SYSTEM_FLAGS,
    MessageRow,
    NoSuchMailbox,
    TooManyKeywords,
    changeable,
    is_given,
)
from mssmtp.storage.schema import keywords, mailboxes, sql
from mssmtp.storage.view import Row, View, WritingView

SEEN = 1
DELETED = 8
ALL_BITS = (1 << 62) - 1
MAX_KEYWORDS = 62 - len(SYSTEM_FLAGS)
_SYSTEM_MASK = (1 << len(SYSTEM_FLAGS)) - 1
_SYSTEM_BITS = {flag.lower(): 1 << bit for bit, flag in enumerate(SYSTEM_FLAGS)}

_KEYWORDS = sql(
    select(keywords.c.bit, keywords.c.sealed, mailboxes.c.bal)
    .join_from(keywords, mailboxes, mailboxes.c.id == keywords.c.mailbox)
    .where(keywords.c.mailbox == bindparam("mailbox"))
    .order_by(keywords.c.bit)
)
_BAL = sql(select(mailboxes.c.bal).where(mailboxes.c.id == bindparam("mailbox")))
_NEW_KEYWORD = sql(insert(keywords))
_FORGET = sql(delete(keywords).where(keywords.c.mailbox == bindparam("mailbox")))


class FlagSets:
    """Bits of one mailbox as sets of names; equal bits give the same set object."""

    __slots__ = ("_names", "_sets")

    def __init__(self, keywords: dict[int, str]) -> None:
        self._names = [(1 << bit, flag) for bit, flag in enumerate(SYSTEM_FLAGS)]
        self._names += [(1 << bit, name) for bit, name in keywords.items()]
        self._sets: dict[int, frozenset[str]] = {}

    def of(self, bits: int) -> frozenset[str]:
        """The names of the bits set."""
        if (known := self._sets.get(bits)) is None:
            known = frozenset(name for bit, name in self._names if bits & bit)
            self._sets[bits] = known
        return known

    def rows(self, rows: Iterable[Row]) -> list[MessageRow]:
        """(uid, modseq, bits, size, date) rows with their flags named."""
        sets = self._sets
        for bits in {row[2] for row in rows} - sets.keys():
            self.of(bits)
        new = MessageRow
        return [new(u, m, sets[f], s, d) for u, m, f, s, d in rows]


class FlagReading(View):
    """Names of bits."""

    def keywords(self, mailbox: MailboxId) -> tuple[str, ...]:
        """Keywords used in the mailbox, now or before, in first spelling."""
        return tuple(self._keyword_bits(mailbox).values())

    def _keyword_bits(self, mailbox: MailboxId) -> dict[int, str]:
        rows = self._all(_KEYWORDS, mailbox=mailbox)
        if not rows:
            return {}
        key = self._bal_key(BalId(rows[0][2]))
        found = {}
        for bit, sealed, _ in rows:
            name = self._legible(key.open, keyword_purpose(mailbox, bit), sealed)
            # The bit stays taken: under another name it would come to messages that never had it.
            found[bit] = f"illisible-{bit}" if name is None else name.decode()
        return found

    def _flag_sets(self, mailbox: MailboxId) -> FlagSets:
        return FlagSets(self._keyword_bits(mailbox))


class FlagWriting(FlagReading, WritingView):
    """New keywords."""

    def _flag_bits(self, mailbox: MailboxId, flags: Iterable[str], *, learn: bool = True) -> int:
        """Bits of `flags`; unknown keywords get one, or are passed over where they are not to be
        learnt. `\\Recent` counts for nothing.

        Raises TooManyKeywords.
        """
        bits = 0
        unknown = []
        if not learn:
            known = {name.lower() for name in self._keyword_bits(mailbox).values()}
            flags = [flag for flag in flags if flag.startswith("\\") or flag.lower() in known]
        for flag in flags:
            if (bit := _SYSTEM_BITS.get(flag.lower())) is not None:
                bits |= bit
            elif not flag.startswith("\\"):
                unknown.append(flag)
        return bits | self._keyword_mask(mailbox, unknown) if unknown else bits

    def _bits_we_give(self, mailbox: MailboxId, flags: Iterable[str]) -> int:
        """Bits of the flags that a letter arrives with: it is not refused for want of a keyword."""
        given = tuple(flags)
        try:
            return self._flag_bits(mailbox, given)
        except TooManyKeywords:
            return self._flag_bits(mailbox, given, learn=False)

    def _keyword_mask(self, mailbox: MailboxId, names: Iterable[str]) -> int:
        known = {name.lower(): bit for bit, name in self._keyword_bits(mailbox).items()}
        mask = 0
        for name in sorted(names):
            if (bit := known.get(name.lower())) is None:
                bit = len(SYSTEM_FLAGS) + len(known)
                if len(known) >= MAX_KEYWORDS:
                    raise TooManyKeywords
                self._add_keyword(mailbox, bit, name)
                known[name.lower()] = bit
            mask |= 1 << bit
        return mask

    def _add_keyword(self, mailbox: MailboxId, bit: int, name: str) -> None:
        row = self._one(_BAL, mailbox=mailbox)
        if row is None:
            raise NoSuchMailbox
        sealed = self._bal_key(BalId(row[0])).seal(keyword_purpose(mailbox, bit), name.encode())
        self._run(_NEW_KEYWORD, mailbox=mailbox, bit=bit, sealed=sealed)

    def _changeable(self, mailbox: MailboxId, rights: str) -> int:
        """Bits that who has `rights` may set and remove."""
        mask = _system_mask(rights)
        if "w" in rights:
            mask |= ALL_BITS & ~_SYSTEM_MASK
        for bit, name in self._keyword_bits(mailbox).items():
            if is_given(name):
                mask &= ~(1 << bit)
        return mask

    def _flag_translation(
        self, source: MailboxId, target: MailboxId, rights: str
    ) -> Callable[[int], int]:
        """Maps bits of one mailbox to those of another; keywords are made there as needed.

        Flags that may not be set in the target stay behind (RFC 4314 4, COPY).
        """
        system = _system_mask(rights)
        if source == target and "w" in rights and system == _SYSTEM_MASK:
            return lambda bits: bits
        names = self._flag_sets(source)
        known: dict[int, int] = {}

        def translate(bits: int) -> int:
            if bits < 1 << len(SYSTEM_FLAGS):
                return bits & system
            if bits not in known:
                found = names.of(bits)
                allowed = changeable(found, rights) | set(filter(is_given, found))
                known[bits] = self._flag_bits(target, allowed)
            return known[bits]

        return translate

    def _forget_keywords(self, mailbox: MailboxId) -> None:
        self._run(_FORGET, mailbox=mailbox)


def _system_mask(rights: str) -> int:
    return sum(_SYSTEM_BITS[flag.lower()] for flag in changeable(SYSTEM_FLAGS, rights))


def keyword_purpose(mailbox: int, bit: int) -> bytes:
    """What a sealed keyword is bound to."""
    return b"keyword\0%d\0%d" % (mailbox, bit)
