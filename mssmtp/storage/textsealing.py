"""Packs of texts and their sieves as rows hold them: sealed for the BAL, each for its own place."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mssmtp.errors import Damaged
from mssmtp.mail import MailboxId, Uid
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.sealing import compressed, decompressed
from mssmtp.storage.sieves import SIEVE_OCTETS, sieve_of
from mssmtp.storage.textpack import (
    MAX_PACK_OCTETS,
    Names,
    OtherRelease,
    Text,
    TextPack,
    frame,
    framed,
    packed,
)
from mssmtp.storage.textspans import Span, end_of

logger = logging.getLogger(__name__)

_PURPOSE = b"texts\0"
_CONTEXT = struct.Struct(">QBQQ")


class TextKind(IntEnum):
    """Two packs for a window, so that a search in bodies does not open the headers."""

    HEADER = 0
    BODY = 1


SIEVES = 2
"""`kind` of the sieves of BODY packs: a row beside each pack, for the same span."""


@dataclass(frozen=True, slots=True)
class SealedSieve:
    """The sieve of a BODY pack, ready to be kept beside it."""

    mailbox: MailboxId
    span: Span
    count: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class SealedTexts:
    """A pack ready to be kept."""

    mailbox: MailboxId
    kind: TextKind
    span: Span
    count: int
    sealed: bytes
    sieve: SealedSieve | None = None


SealedRow = tuple[Span, bytes]
Opened = tuple[Span, TextPack | None]


@dataclass(frozen=True, slots=True)
class TextSource:
    """Whose texts, of which kind."""

    mailbox: MailboxId
    kind: TextKind
    key: OwnerKey
    uid_next: int

    def sealed(self, span: Span, filled: Sequence[Text]) -> SealedTexts:
        """A pack of `filled`."""
        made = framed(filled) if self.kind is TextKind.HEADER else compressed(packed(filled))
        sealed = self.key.seal(self._purpose(span), made)
        sieve = self.sieve(span, dict(filled)) if self.kind is TextKind.BODY else None
        return SealedTexts(self.mailbox, self.kind, span, len(filled), sealed, sieve)

    def sieve(self, span: Span, found: dict[Uid, bytes | None]) -> SealedSieve:
        """Of a pack with these texts; an empty one when it has to be opened always."""
        some = [text for text in found.values() if text is not None]
        octets = sieve_of(some) if len(some) == len(found) else b""
        sealed = self.key.seal(self._sieve_purpose(span), compressed(octets))
        return SealedSieve(self.mailbox, span, len(found), sealed)

    def opened_sieve(self, span: Span, sealed: bytes) -> bytes | None:
        """None: the pack has to be opened."""
        try:
            octets = self.key.open(self._sieve_purpose(span), sealed)
            return decompressed(octets, SIEVE_OCTETS) or None
        except Damaged:
            return None

    def _sieve_purpose(self, span: Span) -> bytes:
        return texts_purpose(self.mailbox, SIEVES, span.first, span.last)

    def opened(self, span: Span, sealed: bytes, names: Names = None) -> TextPack | None:
        """None: it cannot be read, and is as good as missing. `names`: these fields are enough."""
        try:
            octets = self.key.open(self._purpose(span), sealed)
            part = frame(octets, names) if self.kind is TextKind.HEADER else octets
            return TextPack.opened(decompressed(part, MAX_PACK_OCTETS))
        except OtherRelease:
            return None
        except Damaged:
            logger.warning("text pack damaged", extra={"mailbox": self.mailbox})
            return None

    def opened_together(
        self, sealed: Sequence[SealedRow], names: Names = None
    ) -> tuple[list[Opened], Sequence[SealedRow]]:
        """The first of them, while they fit into the room of one pack; and what is left."""
        found: list[Opened] = []
        octets = 0
        for count, (span, row) in enumerate(sealed, 1):
            pack = self.opened(span, row, names)
            found.append((span, pack))
            octets += len(pack.octets) if pack is not None else 0
            if octets >= MAX_PACK_OCTETS:
                return found, sealed[count:]
        return found, ()

    def is_closed(self, window: int) -> bool:
        """No UID can join the window any more."""
        return self.uid_next >= end_of(window)

    def _purpose(self, span: Span) -> bytes:
        return texts_purpose(self.mailbox, self.kind, span.first, span.last)


def texts_purpose(mailbox: int, kind: int, first: int, last: int) -> bytes:
    """What a pack is bound to."""
    return _PURPOSE + _CONTEXT.pack(mailbox, kind, first, last)
