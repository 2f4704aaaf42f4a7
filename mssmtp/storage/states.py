"""What has become of the neighbouring messages of a mailbox since they came: flags and modseqs.

The row of a message says what it came with and never changes. Changing the flags of 100,000
messages as rows costs SQLite 160 ms; as 200 states of 512 UIDs each, two. A state names only
messages that were changed, all of them alive; it is the truth about them, no cache.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mssmtp.errors import Damaged
from mssmtp.mail import ModSeq

STATE_UIDS = 512
"""UIDs of one window."""

Mark = tuple[int, int, int]
"""UID, modseq, bits."""

_HEAD = struct.Struct(">BHQBH")
"""Whether the UIDs are consecutive, messages, least modseq, size of the others, sets of flags."""
_SIZES = ((0, ""), (1, "B"), (2, "H"), (4, "I"), (8, "Q"))


@dataclass(frozen=True, slots=True)
class State:
    """Message `uids[i]`, ascending, has the flags `sets[codes[i]]` since `modseqs[i]`."""

    uids: Sequence[int]
    modseqs: Sequence[int]
    codes: bytes | Sequence[int]
    sets: Sequence[int]

    @property
    def window(self) -> int:
        """Which `STATE_UIDS` UIDs these are of."""
        return self.uids[0] // STATE_UIDS

    @property
    def modseq(self) -> ModSeq:
        """The newest."""
        only = _only(self.modseqs)
        return ModSeq(max(self.modseqs) if only is None else only)

    def marks(self) -> list[Mark]:
        """Message by message."""
        bits = map(self.sets.__getitem__, self.codes)
        return list(zip(self.uids, self.modseqs, bits, strict=True))

    def mark(self, uid: int) -> Mark | None:
        """Of one message."""
        at = bisect_left(self.uids, uid)
        if at == len(self.uids) or self.uids[at] != uid:
            return None
        return uid, self.modseqs[at], self.sets[self.codes[at]]


def state_of(marks: Iterable[Mark]) -> State:
    """The inverse of `marks`: of one window, one at least, ascending."""
    uids, modseqs, bits = zip(*marks, strict=True)
    sets = sorted(set(bits))
    codes = {each: code for code, each in enumerate(sets)}
    found = [codes[each] for each in bits]
    return State(uids, modseqs, bytes(found) if len(sets) <= 256 else found, sets)


def packed(state: State) -> bytes:
    """As it is kept; the window is not in it."""
    count = len(state.uids)
    codes, sets = _used(state.codes, state.sets)
    least, size, modseqs = _packed_modseqs(state.modseqs)
    base = state.window * STATE_UIDS
    is_whole = state.uids[-1] - state.uids[0] == count - 1
    named = state.uids[:1] if is_whole else state.uids
    head = _HEAD.pack(is_whole, count, least, size, len(sets))
    offsets = struct.pack(f">{len(named)}H", *[uid - base for uid in named])
    return b"".join((head, offsets, modseqs, struct.pack(f">{len(sets)}Q", *sets), codes))


def _used(codes: bytes | Sequence[int], sets: Sequence[int]) -> tuple[bytes, Sequence[int]]:
    """Codes of those sets alone that occur; none for a single one."""
    if not isinstance(codes, bytes):
        return struct.pack(f">{len(codes)}H", *codes), sets
    used = sorted(set(codes))
    if len(used) == 1:
        return b"", (sets[used[0]],)
    table = bytearray(256)
    for new, old in enumerate(used):
        table[old] = new
    return codes.translate(table), [sets[old] for old in used]


def _only(modseqs: Sequence[int]) -> int | None:
    """The modseq of all of them, as after a STORE of a whole mailbox."""
    if isinstance(modseqs, array) and modseqs.tobytes() == modseqs[:1].tobytes() * len(modseqs):
        return int(modseqs[0])
    return None


def _packed_modseqs(modseqs: Sequence[int]) -> tuple[int, int, bytes]:
    if (only := _only(modseqs)) is not None:
        return only, 0, b""
    least = min(modseqs)
    most = max(modseqs) - least
    size, form = next(each for each in _SIZES if most < 1 << 8 * each[0])
    if not size:
        return least, 0, b""
    return least, size, struct.pack(f">{len(modseqs)}{form}", *[each - least for each in modseqs])


def unpacked(window: int, octets: bytes) -> State:
    """The inverse of `packed`. Raises Damaged."""
    try:
        return _unpacked(window * STATE_UIDS, octets)
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise Damaged("the flags of a window cannot be read") from error


def _unpacked(base: int, octets: bytes) -> State:
    is_whole, count, least, size, kinds = _HEAD.unpack_from(octets)
    at = _HEAD.size
    named = struct.unpack_from(f">{1 if is_whole else count}H", octets, at)
    at += 2 * len(named)
    uids: Sequence[int] = range(base + named[0], base + named[0] + count)
    if not is_whole:
        uids = [base + offset for offset in named]
    modseqs: Sequence[int] = array("Q", (least,)) * count
    if size:
        others = struct.unpack_from(f">{count}{dict(_SIZES)[size]}", octets, at)
        modseqs = [least + other for other in others]
        at += size * count
    sets = struct.unpack_from(f">{kinds}Q", octets, at)
    at += 8 * kinds
    codes: bytes | Sequence[int] = octets[at:]
    if kinds == 1 and not codes:
        codes = bytes(count)
    if kinds > 256:
        codes = struct.unpack(f">{count}H", octets[at:])
    if not 0 < count == len(codes) or max(codes) >= kinds:
        raise ValueError("codes")
    return State(uids, modseqs, codes, sets)
