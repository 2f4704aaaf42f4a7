"""Sets of numbers as rows keep them: the least, the greatest, and the steps between them in octets.

Two thousand letters that came one after the other are two numbers; scattered ones are an octet or
two each, where rows of their own are fifty.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from operator import sub

from mssmtp.errors import Damaged

MOST = 5_000
"""Numbers of one set: what a damaged row may ask for is bounded too."""
_FORMS = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))


def packed(numbers: Sequence[int]) -> tuple[int, int, bytes]:
    """Least, greatest and steps of `numbers`: ascending, different, 1 to `MOST`; no octets when
    none is missing between the two."""
    if not 0 < len(numbers) <= MOST:
        raise ValueError("a set of 1 to 5,000 numbers")
    first, last = numbers[0], numbers[-1]
    if last - first == len(numbers) - 1:
        return first, last, b""
    steps = list(map(sub, numbers[1:], numbers))
    widest = max(steps)
    size, form = next(each for each in _FORMS if widest < 1 << 8 * each[0])
    return first, last, struct.pack(f">B{len(steps)}{form}", size, *steps)


def unpacked(first: int, last: int, octets: bytes) -> Sequence[int]:
    """The inverse of `packed`, ascending. Raises Damaged."""
    try:
        numbers = _unpacked(first, last, octets)
        is_whole = 0 < len(numbers) <= MOST and numbers[-1] == last
    except (struct.error, KeyError, ValueError, OverflowError) as error:
        raise Damaged("a set of numbers cannot be read") from error
    if not is_whole:
        raise Damaged("a set of numbers does not end where it says")
    return numbers


def _unpacked(first: int, last: int, octets: bytes) -> Sequence[int]:
    if not octets:
        return range(first, last + 1)
    form = dict(_FORMS)[octets[0]]
    steps = struct.unpack(f">{(len(octets) - 1) // octets[0]}{form}", octets[1:])
    if 0 in steps:
        raise ValueError("a number twice")
    return list(accumulate(steps, initial=first))
