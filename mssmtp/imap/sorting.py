"""The order that SORT asks for (RFC 5256 3, RFC 5957): keys are gathered in a reading thread, a
stretch of the mailbox at a time, then the results are put in order, a heap at a time.

Everything comes from rows and summaries (PRF-04). Python sorts a list in one go during which no
other thread runs, the event loop neither: no list that is sorted is long (ATT-27).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import envelopes
from mssmtp.imap.envelopes import Person
from mssmtp.imap.selected import Selected
from mssmtp.imap.shown import shown
from mssmtp.imap.syntax import Cursor
from mssmtp.message.collation import casemapped
from mssmtp.message.dates import sent_us
from mssmtp.message.subjects import base_subject
from mssmtp.message.words import decode_words

if TYPE_CHECKING:
    from mssmtp.storage import Reading

BATCH = 4_096
"""Messages of one read."""
MOST_CRITERIA = 16
MOST_OCTETS = 500
"""Of a text: what stands behind it is not compared, so that 100,000 subjects of 64 KiB do not fill
the memory (D11)."""
HEAP = 8_192
"""Numbers or texts that are sorted at once: a few milliseconds."""

Column = list[bytes]
"""What one criterion compares, of each message."""
_ZERO = 1 << 62
"""Added to numbers, so that none is negative and their octets are ordered as they are."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """`sort-criterion`."""

    name: str
    is_reverse: bool = False

    def render(self) -> bytes:
        """As a client writes it."""
        return (b"REVERSE " if self.is_reverse else b"") + self.name.encode("ascii")


_BY_ROW = frozenset({"ARRIVAL", "SIZE"})
_BY_DATE = "DATE"


def parse(cursor: Cursor) -> tuple[Criterion, ...]:
    """`"(" sort-criterion *(SP sort-criterion) ")"`."""
    criteria = cursor.listed(lambda: _criterion(cursor))
    if len(criteria) > MOST_CRITERIA:
        raise BadSyntax("too many criteria")
    return tuple(criteria)


def _criterion(cursor: Cursor) -> Criterion:
    word = cursor.word()
    is_reverse = word == "REVERSE"
    if is_reverse:
        cursor.space()
        word = cursor.word()
    if word not in _BY_ROW and word != _BY_DATE and word not in _TEXTS:
        raise BadSyntax("unknown sort criterion")
    return Criterion(word, is_reverse)


def needs_envelopes(names: Sequence[str]) -> bool:
    """False when rows are enough."""
    return not _BY_ROW.issuperset(names)


# ---------------------------------------------------------------- what is compared


def _text(octets: bytes) -> bytes:
    """A text for comparison. RFC 2047 words are decoded (RFC 5256 5)."""
    return _known_text(octets) if len(octets) <= MOST_OCTETS else _text_of(octets)


def _text_of(octets: bytes) -> bytes:
    if octets.isascii() and b"=?" not in octets:
        return octets.upper()[:MOST_OCTETS]
    return casemapped(decode_words(octets))[:MOST_OCTETS]


_known_text = lru_cache(maxsize=4_096)(_text_of)
"""The same few people write most letters. No name of 64 KiB is remembered (D11)."""


def number(value: int) -> bytes:
    """A number for comparison, down to -2**62."""
    return (value + _ZERO).to_bytes(8, "big")


def subject_key(octets: bytes | None) -> bytes:
    """A base subject for comparison."""
    return casemapped(base_subject(decode_words(octets or b"")).text)[:MOST_OCTETS]


def _mailbox(place: int) -> Callable[[bytes], bytes]:
    """RFC 5256 3: `addr-mailbox` of the first address."""
    return lambda envelope: _text(envelopes.first_of(envelope, place).mailbox or b"")


def _display(place: int) -> Callable[[bytes], bytes]:
    """RFC 5957 3: the display name of the first address, or the address itself."""
    return lambda envelope: _text(_displayed(envelopes.first_of(envelope, place)))


def _displayed(person: Person) -> bytes:
    if person.name or person.mailbox is None:
        return person.name or b""
    return person.mailbox if person.host is None else person.mailbox + b"@" + person.host


_TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "CC": _mailbox(envelopes.CC),
    "FROM": _mailbox(envelopes.FROM),
    "TO": _mailbox(envelopes.TO),
    "SUBJECT": lambda envelope: subject_key(envelopes.head(envelope)[1]),
    "DISPLAYFROM": _display(envelopes.FROM),
    "DISPLAYTO": _display(envelopes.TO),
}


def columns(
    reading: Reading, selected: Selected, names: Sequence[str], positions: Sequence[int]
) -> dict[str, Column]:
    """What is compared of the messages at `positions`, ascending: a column for each name."""
    mailbox = selected.mailbox.id
    uids = [selected.view.uids[at] for at in positions]
    found: dict[str, Column] = {}
    if "ARRIVAL" in names or "SIZE" in names:
        rows = reading.arrivals(mailbox, uids)
        found["ARRIVAL"] = [number(at_us) for at_us, _ in rows]
        found["SIZE"] = [number(size) for _, size in rows]
    texts = {name: get for name, get in _TEXTS.items() if name in names}
    if _BY_DATE not in names and not texts:
        return found
    letters = [each.envelope for each in shown(reading, mailbox, uids)]
    for name, get in texts.items():
        found[name] = list(map(get, letters))
    if _BY_DATE in names:
        sent = [sent_us(envelopes.head(envelope)[0]) for envelope in letters]
        found[_BY_DATE] = list(map(number, _dated(reading, selected, uids, sent)))
    return found


def _dated(
    reading: Reading, selected: Selected, uids: Sequence[int], sent: Sequence[int | None]
) -> Iterator[int]:
    """RFC 5256 2.2: without a sent date the INTERNALDATE is used."""
    unsent = [uid for uid, at in zip(uids, sent, strict=True) if at is None]
    rows = iter(reading.arrivals(selected.mailbox.id, unsent) if unsent else ())
    return (next(rows)[0] if at is None else at for at in sent)


# ---------------------------------------------------------------- putting in order


def ordered(
    count: int, criteria: Sequence[Criterion], columns: dict[str, Column]
) -> Generator[None, None, list[int]]:
    """0 to `count` - 1 in the order of `criteria`, equal ones as they are (RFC 5256 3); yields
    when others should have a turn.

    The last criterion goes first: sorting keeps the order of what is equal.
    """
    order = list(range(count))
    for criterion in reversed(criteria):
        order = yield from sorted_by(order, columns[criterion.name], criterion.is_reverse)
    return order


def sorted_by(
    order: list[int], column: Column, is_reverse: bool = False
) -> Generator[None, None, list[int]]:
    """`order` by the values of `column`, equal ones as they are. Short lists at once."""
    if len(order) <= HEAP:
        return sorted(order, key=column.__getitem__, reverse=is_reverse)
    heaps = yield from _heaps(order, column)
    for heap in heaps:
        heap.sort(key=column.__getitem__, reverse=is_reverse)
        yield
    return list(chain.from_iterable(reversed(heaps) if is_reverse else heaps))


def _heaps(order: list[int], column: Column) -> Generator[None, None, list[list[int]]]:
    """`order` in heaps, each with greater values than those before it, otherwise as it was."""
    step = max(len(order) // (16 * (len(order) // HEAP + 1)), 1)
    sample = sorted({column[at] for at in order[::step]})
    yield
    pivots = sample[:: max(len(sample) * HEAP // len(order) // 2, 1)]
    heaps: list[list[int]] = [[] for _ in range(len(pivots) + 1)]
    for done, at in enumerate(order):
        heaps[bisect_right(pivots, column[at])].append(at)
        if done % HEAP == 0:
            yield
    return heaps
