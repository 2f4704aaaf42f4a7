"""The octets of a text pack: folded texts of neighbouring messages, one behind the other."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from mssmtp.errors import Damaged
from mssmtp.mail import Uid
from mssmtp.message.readable import BORDER, Needle
from mssmtp.storage.sealing import compressed

MAX_TEXT_OCTETS = 1_048_576
"""A longer text lies apart: it is read from the message at each search."""
MAX_PACK_OCTETS = 2 * 1_048_576
"""One is in memory at a time, and looking through it holds everybody else up for a millisecond."""
VERSION = 2
"""Of what texts are made of: an older pack is as good as missing."""
_HEAD = struct.Struct(">BI")
EMPTY_OCTETS = _HEAD.size
_ENTRY_OCTETS = 8
_APART = 0xFFFF_FFFF

Names = tuple[str, ...] | None
"""Folded names of fields; None: all."""
SHORT = (
    frozenset({"subject"}),
    frozenset({"from"}),
    frozenset({"subject", "from", "to", "cc"}),
)
"""The fields of the frames of a pack of header sections; the whole comes last."""
_FRAMES = struct.Struct(">BIII")
_FRAMED = 1
"""Of the frames: no pack without them begins with it."""


class OtherRelease(Damaged):
    """A pack made of texts as another release reads them."""


Text = tuple[Uid, bytes | None]
"""None: apart."""


def packed(texts: Sequence[Text]) -> bytes:
    """The content of a pack: the same for the same messages, whenever it is made (D6)."""
    table = [field for uid, text in texts for field in (uid, _APART if text is None else len(text))]
    head = struct.pack(f">BI{len(table)}I", VERSION, len(texts), *table)
    return b"".join([head, *(text + BORDER for _, text in texts if text is not None)])


def framed(texts: Sequence[Text]) -> bytes:
    """The content of a pack of header sections, compressed: beside it the fields that are looked
    into most, apart, which are a tenth of it."""
    shorts = [[(uid, text and _short(text, names)) for uid, text in texts] for names in SHORT]
    frames = [compressed(packed(each)) for each in (*shorts, texts)]
    return _FRAMES.pack(_FRAMED, *map(len, frames[:-1])) + b"".join(frames)


def are_short(names: Names) -> bool:
    """Whether a small part of a pack of header sections holds all fields `names`."""
    return names is not None and any(short.issuperset(names) for short in SHORT)


def frame(octets: bytes, names: Names) -> memoryview:
    """The smallest part, still compressed, that holds all fields `names`. Raises OtherRelease,
    Damaged."""
    try:
        version, *lengths = _FRAMES.unpack_from(octets)
    except struct.error as error:
        raise Damaged("a text pack cannot be read") from error
    if version != _FRAMED:
        raise OtherRelease("a text pack of another release")
    start = _FRAMES.size
    for short, length in zip(SHORT, lengths, strict=True):
        if names is not None and short.issuperset(names):
            return memoryview(octets)[start : start + length]
        start += length
    return memoryview(octets)[start:]


def _short(text: bytes, names: frozenset[str]) -> bytes:
    """Of a folded header section the fields `names`."""
    fields = text.split(BORDER)[1:]
    kept = (each for each in fields if each.partition(b": ")[0].decode() in names)
    return b"".join(BORDER + each for each in kept)


def room_of(text: bytes | None) -> int:
    """Octets that a text takes of a pack."""
    return _ENTRY_OCTETS if text is None else _ENTRY_OCTETS + len(text) + len(BORDER)


@dataclass(frozen=True)
class TextPack:
    """An opened pack."""

    octets: bytes
    uids: Sequence[int]
    _lengths: Sequence[int]

    @classmethod
    def opened(cls, octets: bytes) -> TextPack:
        """Raises OtherRelease, Damaged."""
        try:
            version, count = _HEAD.unpack_from(octets)
            table = struct.unpack_from(f">{2 * count}I", octets, _HEAD.size)
        except struct.error as error:
            raise Damaged("a text pack cannot be read") from error
        if version != VERSION:
            raise OtherRelease("a text pack of another release")
        return cls(octets, table[::2], table[1::2])

    @classmethod
    def joined(cls, packs: Sequence[TextPack]) -> TextPack:
        """Packs of neighbours as one, with less for each message than theirs."""
        uids, lengths = array("I"), array("I")
        for pack in packs:
            uids.extend(pack.uids)
            lengths.extend(pack._lengths)
        room = bytes(EMPTY_OCTETS + _ENTRY_OCTETS * len(uids))
        return cls(room + b"".join(pack.octets[pack._start :] for pack in packs), uids, lengths)

    @property
    def apart(self) -> list[Uid]:
        """Messages whose text is too long for a pack."""
        if _APART not in self._lengths:
            return []
        both = zip(self.uids, self._lengths, strict=True)
        return [Uid(uid) for uid, length in both if length == _APART]

    @property
    def octets_held(self) -> int:
        """What a joined one takes of memory, roughly."""
        return len(self.octets) + 12 * len(self.uids)

    @property
    def _start(self) -> int:
        return _HEAD.size + _ENTRY_OCTETS * len(self.uids)

    @cached_property
    def _ends(self) -> array[int]:
        sizes = (0 if length == _APART else length + 1 for length in self._lengths)
        return array("I", accumulate(sizes, initial=self._start))[1:]

    def find(self, needle: Needle) -> Iterator[Uid]:
        """Messages whose text holds `needle`. Raises Damaged."""
        at = self.octets.find(needle.text, self._start)
        while at >= 0:
            ends = self._ends
            found = bisect_right(ends, at)
            if found == len(ends):
                raise Damaged("a text pack has another size")
            start = ends[found - 1] if found else self._start
            if not needle.mark or needle.is_in(self.octets, start, ends[found]):
                yield Uid(self.uids[found])
            at = self.octets.find(needle.text, ends[found])

    def texts(self) -> dict[Uid, bytes | None]:
        """Everything, for a comparison."""
        starts = [self._start, *self._ends]
        return {
            Uid(uid): None if length == _APART else self.octets[start : start + length]
            for uid, length, start in zip(self.uids, self._lengths, starts, strict=False)
        }
