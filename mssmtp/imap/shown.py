"""What lists of mail show of many messages, for SORT and THREAD: from listings where there are
any, from summaries elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mssmtp.mail import MailboxId, Uid
from mssmtp.message.summary import UnknownSummary, texts_of

if TYPE_CHECKING:
    from mssmtp.storage import Reading

LEAST = 16
"""Of fewer messages in a window the summaries are read."""
_NOTHING = b""


class Shown(NamedTuple):
    """Of a message that is damaged, or gone, both are empty (D10). `fields`: its header section, or
    those fields of it that are listed."""

    envelope: bytes
    fields: bytes


def shown(reading: Reading, mailbox: MailboxId, uids: Sequence[int]) -> Iterator[Shown]:
    """One for each of `uids`, ascending."""
    at = 0
    while at < len(uids):
        window = uids[at] // reading.pack_uids
        end = bisect_left(uids, (window + 1) * reading.pack_uids, at)
        yield from _of_window(reading, mailbox, window, uids[at:end])
        at = end


def _of_window(
    reading: Reading, mailbox: MailboxId, window: int, uids: Sequence[int]
) -> Iterator[Shown]:
    listing = reading.listing(mailbox, window) if len(uids) >= LEAST else None
    found: dict[int, Shown] = {}
    if listing is not None:
        whole = 0, len(listing.uids)
        values = map(Shown, listing.envelopes(whole), listing.fields(whole))
        found = dict(zip(listing.uids, values, strict=True))
    if not found.keys() >= set(uids):
        left = [Uid(each) for each in uids if each not in found]
        for uid, octets in reading.summaries(mailbox, left):
            try:
                texts = texts_of(octets)
            except UnknownSummary:
                continue
            found[uid] = Shown(texts[0], texts[3])
    nothing = Shown(_NOTHING, _NOTHING)
    for each in uids:
        yield found.get(each, nothing)
