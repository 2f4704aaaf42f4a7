"""Counters of a mailbox: STATUS (RFC 3501 6.3.10, RFC 9051 6.3.11) and LIST-STATUS (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Uid
from mssmtp.storage.flags import DELETED
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

Item = Callable[["Reading", Mailbox], int | bytes]


def _recent(reading: Reading, mailbox: Mailbox) -> int:
    if mailbox.recent_from >= mailbox.uid_next:
        return 0
    return len(reading.seen_uids(mailbox, mailbox.recent_from))


def _deleted(reading: Reading, mailbox: Mailbox) -> int:
    """The one item no counter is kept of: from the image, or from the rows."""
    image = reading.image(mailbox.id) if mailbox.messages and mailbox.part is None else None
    if image is not None:
        return image.count((0, len(image)), DELETED)
    return len(_deleted_uids(reading, mailbox))


def _deleted_storage(reading: Reading, mailbox: Mailbox) -> int:
    """Octets that EXPUNGE would free (RFC 9208 4.1.4)."""
    uids = _deleted_uids(reading, mailbox)
    return sum(size for _, size in reading.arrivals(mailbox.id, uids))


def _deleted_uids(reading: Reading, mailbox: Mailbox) -> list[Uid]:
    found = reading.deleted(mailbox.id) if mailbox.messages else []
    return reading.among_part(mailbox, found)


_ITEMS: Mapping[str, Item] = {
    "MESSAGES": lambda _, mailbox: mailbox.messages,
    "RECENT": _recent,
    "UIDNEXT": lambda _, mailbox: mailbox.uid_next,
    "UIDVALIDITY": lambda _, mailbox: mailbox.uid_validity,
    "UNSEEN": lambda _, mailbox: mailbox.unseen,
    "DELETED": _deleted,
    "DELETED-STORAGE": _deleted_storage,
    "SIZE": lambda _, mailbox: mailbox.size_octets,
    "HIGHESTMODSEQ": lambda _, mailbox: mailbox.highest_modseq,
    "MAILBOXID": lambda _, mailbox: b"(%b)" % mailboxes.object_id(mailbox),
}
"""SIZE: RFC 8438; the sum of what RFC822.SIZE says, kept by the store."""
_UNCOUNTED = frozenset({"DELETED", "DELETED-STORAGE"})
"""No counter is kept of these."""
_LIMIT = "APPENDLIMIT"
"""RFC 7889: the same for every mailbox, and a setting."""


def items(cursor: Cursor) -> tuple[str, ...]:
    """`"(" status-att *(SP status-att) ")"`; one asked for twice is told once."""
    found = tuple(dict.fromkeys(cursor.listed(cursor.word)))
    for item in found:
        if item not in _ITEMS and item != _LIMIT:
            raise BadSyntax("unknown status item")
    return found


def are_heavy(items: tuple[str, ...]) -> bool:
    """True when messages are looked at: not beside short queries."""
    return not _UNCOUNTED.isdisjoint(items)


def line(
    reading: Reading, mailbox: Mailbox, name: bytes, items: tuple[str, ...], append_limit: int
) -> bytes:
    """The STATUS response of `mailbox`, called `name` on the wire."""
    values = responses.listed(
        _value(item, append_limit if item == _LIMIT else _ITEMS[item](reading, mailbox))
        for item in items
    )
    return b"* STATUS %b %b\r\n" % (name, values)


def _value(item: str, value: int | bytes) -> bytes:
    octets = value if isinstance(value, bytes) else b"%d" % value
    return item.encode("ascii") + b" " + octets
