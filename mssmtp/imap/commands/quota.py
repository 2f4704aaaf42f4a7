"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 4.1): one root for each box, named by its address.

What is not limited is not told: a client shows a gauge for what it is told (THB-08).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadAddress, BadSyntax
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.command import Command, Done
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.responses import Refused
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import Address, BalId, Principal

if TYPE_CHECKING:
    from mssmtp.storage import Reading
    from mssmtp.storage.quotas import Room

UNIT = 1_024
"""Octets of one STORAGE (RFC 9208 5.1)."""


@dataclass(frozen=True, slots=True)
class GetQuota(Command):
    """The limits of one root."""

    root: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        found = yield from read(lambda reading: self._room(reading, session.principal))
        yield from send(_quota(self.root, found))
        return Done(b"GETQUOTA completed")

    def _room(self, reading: Reading, principal: Principal) -> Room:
        """A stranger's root answers like one that does not exist (ATT-24)."""
        try:
            address = Address.parse(self.root)
        except BadAddress as error:
            raise _nothing() from error
        now = mailboxes.present(reading, principal)
        for bal in now.bals:
            if bal.id in now.handed:  # DEF-23: how much there is beside the part, nobody hears
                continue
            if bal.address == address and mailboxes.READ in now.rights_in(bal.id):
                return reading.room(bal.id)
        raise _nothing()


@dataclass(frozen=True, slots=True)
class GetQuotaRoot(Command):
    """The root of a mailbox, none where nothing is limited, and its limits."""

    mailbox: str

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        root, room = yield from read(lambda reading: self._find(reading, session.principal))
        name = responses.mailbox(self.mailbox, utf8=session.dialect.utf8)
        roots = b" " + _root(root) if room is not None and _limits(room) else b""
        yield from send(b"* QUOTAROOT %b%b\r\n" % (name, roots))
        if room is not None and roots:
            yield from send(_quota(root, room))
        return Done(b"GETQUOTAROOT completed")

    def _find(self, reading: Reading, principal: Principal) -> tuple[str, Room | None]:
        found = mailboxes.find(reading, principal, self.mailbox, mailboxes.READ)
        is_part = found.part is not None
        return _named(reading, found.bal), None if is_part else reading.room(found.bal)


@dataclass(frozen=True, slots=True)
class SetQuota(Command):
    """Only the operator gives room: `mssmtp bal quota`; QUOTASET is not announced."""

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        yield from send(b"")
        raise Refused("NOPERM")


def _nothing() -> Refused:
    return Refused("NONEXISTENT", b"No such quota root")


def _named(reading: Reading, bal: BalId) -> str:
    found = reading.bal_by_id(bal)
    return "" if found is None else found.address.key


def _root(root: str) -> bytes:
    return responses.quoted(root.encode("utf-8"), utf8=True)


def _limits(room: Room) -> list[bytes]:
    out = []
    if room.most_octets is not None:
        used, most = -(-room.octets // UNIT), room.most_octets // UNIT
        out.append(b"STORAGE %d %d" % (used, most))
    if room.most_messages is not None:
        out.append(b"MESSAGE %d %d" % (room.messages, room.most_messages))
    return out


def _quota(root: str, room: Room) -> bytes:
    return b"* QUOTA %b %b\r\n" % (_root(root), responses.listed(_limits(room)))


def _text(cursor: Cursor) -> str:
    try:
        return cursor.astring().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSyntax("quota root is not UTF-8") from error


def parse(cursor: Cursor) -> GetQuota:
    """`quota-root-name`."""
    root = _text(cursor)
    cursor.end()
    return GetQuota(root)


def parse_root(cursor: Cursor) -> GetQuotaRoot:
    """`mailbox`."""
    mailbox = cursor.mailbox()
    cursor.end()
    return GetQuotaRoot(mailbox)


def parse_set(cursor: Cursor) -> SetQuota:
    """`quota-root-name SP "(" [resource SP number *(SP resource SP number)] ")"`."""
    _text(cursor)
    cursor.space()

    def limit() -> int:
        cursor.atom()
        cursor.space()
        return cursor.number()

    cursor.listed(limit, may_be_empty=True)
    cursor.end()
    return SetQuota()
