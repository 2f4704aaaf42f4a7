"""IMAP URLs of messages and their parts, as CATENATE takes them (RFC 4469 3, RFC 5092 5, 9)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mssmtp.errors import BadSyntax
from mssmtp.imap import items, mailboxes, names
from mssmtp.imap.header_lines import chosen, is_in_summary
from mssmtp.imap.items import Section
from mssmtp.imap.responses import Refused
from mssmtp.imap.streams import Stretch
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import BalId, Principal, Uid
from mssmtp.message.summary import Summary, UnknownSummary
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

_URL = re.compile(
    r"/(?P<mailbox>[^;?#]+?)(?:;UIDVALIDITY=(?P<validity>[1-9]\d{0,9}))?/;UID=(?P<uid>[1-9]\d{0,9})"
    r"(?:/;SECTION=(?P<section>[^;?#]+?))?(?:/;PARTIAL=(?P<start>\d{1,10})(?:\.(?P<length>\d{1,10}))?)?",
    re.IGNORECASE,
)
_UNSAID = re.compile(rb"[^\x21-\x5a\x5e-\x7e]")
"""What a response code cannot hold (RFC 4469 5, url-resp-text)."""


class BadUrl(Refused):
    """RFC 4469 4.2: the URL is not of this server, or leads to nothing the client may read."""

    def __init__(self, url: bytes) -> None:
        shown = _UNSAID.sub(lambda found: b"%%%02X" % ord(found[0]), url[:200])
        super().__init__(f"BADURL {shown.decode('ascii')}", b"Nothing to be read under this URL")


@dataclass(frozen=True, slots=True)
class Found:
    """Octets of a message, or the chosen fields of a header; and of which letters of which box they
    are of the body (DEF-06)."""

    content: Stretch | bytes
    bal: BalId
    letters: Collection[int]


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """`/mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=start.length`, relative to this server."""

    octets: bytes
    mailbox: str
    uid_validity: int | None
    uid: Uid
    section: Section
    start: int
    length: int | None

    @classmethod
    def parse(cls, octets: bytes) -> MessageUrl:
        """Raises BadUrl."""
        try:
            found = _URL.fullmatch(octets.decode("ascii"))
            if found is None:
                raise BadUrl(octets)
            return cls(
                octets,
                names.decode_utf8(unquote_to_bytes(found["mailbox"])),
                int(found["validity"]) if found["validity"] else None,
                Uid(int(found["uid"])),
                _section(found["section"] or ""),
                int(found["start"] or 0),
                int(found["length"]) if found["length"] else None,
            )
        except (UnicodeDecodeError, BadSyntax) as error:
            raise BadUrl(octets) from error

    def opened(self, reading: Reading, principal: Principal) -> Found:
        """What it leads to, asked for as any other access (ATT-24). Raises BadUrl."""
        try:
            mailbox = mailboxes.find(reading, principal, self.mailbox, mailboxes.READ)
            if self.uid_validity not in (None, mailbox.uid_validity):
                raise BadUrl(self.octets)
            uids = reading.among_part(mailbox, [self.uid])
            ((_, octets),) = reading.summaries(mailbox.id, uids)
            summary = Summary.from_bytes(octets)
        except (NoSuchMailbox, Refused, UnknownSummary, ValueError) as error:
            raise BadUrl(self.octets) from error
        place = None if summary.is_stub else summary.section(self.section.path, self.section.text)
        if place is None:
            raise BadUrl(self.octets)
        if self.section.names is not None:
            header = summary.header
            if not is_in_summary(self.section):
                header = reading.body(mailbox.id, self.uid, *place)
            found: Stretch | bytes = chosen(self.section, header)[self.start :][: self.length]
        else:
            found = Stretch(mailbox.id, self.uid, *self._within(*place), b"")
        is_read = self.section.is_of_body
        letters = reading.letters_of(mailbox.id, [(self.uid, self.uid)]) if is_read else ()
        return Found(found, mailbox.bal, letters)

    def _within(self, first: int, last: int) -> tuple[int, int]:
        """What PARTIAL leaves of octets `first` to `last`."""
        start = min(first + self.start, last)
        return start, last if self.length is None else min(start + self.length, last)


def _section(text: str) -> Section:
    cursor = Cursor((unquote_to_bytes(text) + b"]",))
    section = items.section(cursor)
    cursor.end()
    return section
