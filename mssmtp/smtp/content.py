"""The top of a message while it arrives: its header section, and what we write above it.

Nothing of the message itself is ever changed (OP-63): our lines go on top, the octets follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from mssmtp.errors import MailError
from mssmtp.mail import Address, Domain, EnvelopeId, Principal, ReversePath
from mssmtp.message import headers
from mssmtp.message.headers import BadFrom
from mssmtp.smtp import replies, trace
from mssmtp.smtp.trace import Hop

MAX_HOPS = 100
"""Received fields of a message that is not yet taken for a loop (RFC 5321 6.3)."""

TOP_OCTETS = 2_048
"""What we write above a message is shorter: room to give a scanner of header sections."""

_EMPTY_LINE = b"\r\n\r\n"


class RefusedContent(MailError):
    """The message cannot be taken as it is; carries which reply."""

    smtp = replies.HEADER_TOO_LONG


class HeaderGate:
    """Holds content back until the header section is complete (RFC 5322 2.1).

    `header` includes the empty line; it is the whole message when there is none. `rewrite` gives
    what is to stand in its place: of a gateway's letter alone (OP-63).
    """

    def __init__(self, limit_octets: int, rewrite: Callable[[bytes], bytes] | None = None) -> None:
        self._limit = limit_octets
        self._rewrite = rewrite
        self._held = bytearray()
        self._searched = 0
        self.header = b""
        self.is_open = False

    def feed(self, content: bytes) -> bytes:
        """Content that may go on: nothing until the gate opens, then header and all that follows.

        Raises RefusedContent when the section exceeds the limit (ATT-07).
        """
        if self.is_open:
            return content
        self._held += content
        end = self._end()
        if end < 0:
            # The empty line may still be cut in two; the limit holds for what is certain.
            if len(self._held) > self._limit + len(_EMPTY_LINE):
                raise RefusedContent
            return b""
        if end > self._limit:
            raise RefusedContent
        return self._open(end)

    def close(self) -> bytes:
        """What is still held at the end of the data: a message without an empty line."""
        if self.is_open:
            return b""
        if len(self._held) > self._limit:
            raise RefusedContent
        return self._open(len(self._held))

    def _end(self) -> int:
        if self._held.startswith(b"\r\n"):
            return 2
        found = self._held.find(_EMPTY_LINE, self._searched)
        self._searched = max(len(self._held) - len(_EMPTY_LINE) + 1, 0)
        return found + len(_EMPTY_LINE) if found >= 0 else -1

    def _open(self, end: int) -> bytes:
        octets = bytes(self._held)
        self._held.clear()
        self.is_open, self.header = True, octets[:end]
        if self._rewrite is None:
            return octets
        self.header = self._rewrite(self.header)
        return self.header + octets[end:]


@dataclass(frozen=True, slots=True)
class Top:
    """What this server writes above a message, and where the wire content of a relay starts."""

    octets: bytes
    skip: int


def check_header(header: bytes) -> None:
    """Refuse what would be misread under our lines. Raises RefusedContent."""
    if header[:1] in (b" ", b"\t"):
        # ATT-09: it would continue our own last field.
        raise RefusedContent(reply=replies.LEADING_FOLD)
    if sum(field.name == "received" for field in headers.fields(header)) > MAX_HOPS:
        raise RefusedContent(reply=replies.LOOP)


@dataclass(frozen=True, slots=True)
class Authors:
    """Who the reader will see as the author: `From`, `Sender` and `Resent-…` bound like it, and
    the domains of the trust space that are written beside them, as in a display name (ATT-42)."""

    from_addresses: tuple[Address, ...] = ()
    sender_addresses: tuple[Address, ...] = ()
    shown_domains: frozenset[Domain] = frozenset()


def authors(header: bytes, is_listed: Callable[[Domain], bool]) -> Authors:
    """Addresses of From, Sender and Resent; none at all when one cannot be read in one way only.

    What nobody can read authorises nothing: the rules of the policy refuse it (ATT-08, ATT-42).
    """
    try:
        found = headers.from_addresses(header)
        sender = headers.sender_address(header)
        resent = headers.resent_addresses(header)
        shown = frozenset(filter(is_listed, headers.shown_domains(header)))
    except BadFrom:
        return Authors()
    return Authors(found, resent if sender is None else (sender, *resent), shown)


def top(
    hop: Hop, envelope: EnvelopeId, sender: ReversePath, at: datetime, extra: bytes = b""
) -> Top:
    """Return-Path, Received, then `extra` (lines of `missing_fields`)."""
    first = trace.return_path(sender)
    return Top(first + trace.received(hop, envelope, at) + extra, len(first))


def missing_fields(header: bytes, envelope: EnvelopeId, domain: Domain, at: datetime) -> bytes:
    """Message-ID and Date when the message has none: at submission only (CL-56, RFC 6409 8)."""
    lines = b""
    if not headers.has(header, "message-id"):
        lines += trace.message_id(envelope, domain)
    if not headers.has(header, "date"):
        lines += trace.date(at)
    return lines


def on_behalf(
    header: bytes, authors: Authors, principal: Principal | None
) -> tuple[Authors, bytes]:
    """A delegate's letter without Sender says who wrote it: the line, and the authors with it.

    DEF-12. Nothing when From names no box that is lent, when Sender is there already (the policy
    judges it), or when the login has no box of its own to name.
    """
    if principal is None or not principal.roles or headers.has(header, "sender"):
        return authors, b""
    boxes = (principal.acting_in(address) for address in authors.from_addresses)
    if not any(box is not None and principal.lent(box.id) for box in boxes):
        return authors, b""
    if principal.own is None:
        return authors, b""
    named = replace(authors, sender_addresses=(principal.own, *authors.sender_addresses))
    return named, trace.sender(principal.own)
