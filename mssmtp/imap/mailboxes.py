"""Whose mailbox a name means: one's own, or `Other Users/<address>/…` of an ORG box (RFC 2342).

Every access asks here, with the rights of this moment (ATT-25): a BAL that was suspended, or a
membership that ended, answers like a name that never existed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadAddress
from mssmtp.imap.names import DELIMITER, folded
from mssmtp.imap.responses import Refused
from mssmtp.mail import Address, Bal, Principal
from mssmtp.storage.model import Mailbox, NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

OTHERS = "Other Users"
_PREFIX = OTHERS + DELIMITER


@dataclass(frozen=True, slots=True)
class Place:
    """A name inside one BAL."""

    bal: Bal
    name: str


def locate(reading: Reading, principal: Principal, name: str) -> Place:
    """The place `name` means now. Raises NoSuchMailbox; the name itself need not exist."""
    now = reading.principal(principal.account)
    if name == OTHERS or name.startswith(_PREFIX):
        return _others(now, name)
    own = principal.bals[0].id if principal.bals else None
    for bal in now.bals:
        if bal.id == own:
            return Place(bal, name)
    raise NoSuchMailbox


def _others(principal: Principal, name: str) -> Place:
    box, _, inner = name.removeprefix(_PREFIX).partition(DELIMITER)
    try:
        address = Address.parse(box)
    except BadAddress as error:
        raise NoSuchMailbox from error
    for bal in principal.bals[1:]:
        if bal.address == address and inner:
            return Place(bal, folded(inner))
    raise NoSuchMailbox


def find(reading: Reading, principal: Principal, name: str) -> Mailbox:
    """The existing mailbox `name`. Raises NoSuchMailbox."""
    place = locate(reading, principal, name)
    mailbox = reading.mailbox(place.bal.id, place.name)
    if mailbox is None:
        raise NoSuchMailbox
    return mailbox


def find_target(reading: Reading, principal: Principal, name: str) -> Mailbox:
    """As `find` for COPY, MOVE and APPEND: a missing one is worth creating (6.4.7 TRYCREATE)."""
    try:
        return find(reading, principal, name)
    except NoSuchMailbox as error:
        raise Refused("TRYCREATE") from error


@dataclass(frozen=True, slots=True)
class Shown:
    """One name of a listing; `mailbox` is None for a level that only holds others.

    Only one's own mailboxes show a special use: a client takes the first of each it is shown.
    """

    name: str
    mailbox: Mailbox | None
    special_use: str | None = None


def as_shown(mailbox: Mailbox, name: str) -> Shown:
    """`mailbox`, known to the client as `name`."""
    return Shown(name, mailbox, None if name.startswith(_PREFIX) else mailbox.special_use)


def shown(reading: Reading, principal: Principal) -> list[Shown]:
    """Every name this principal sees, own first, each box in the order of its names."""
    now = reading.principal(principal.account)
    own = principal.bals[0].id if principal.bals else None
    out: list[Shown] = []
    for bal in now.bals:
        if bal.id == own:
            out += _tree("", reading.mailboxes(bal.id))
    others = [bal for bal in now.bals if bal.id != own]
    if others:
        out.append(Shown(OTHERS, None))
    for bal in others:
        top = _PREFIX + bal.address.key
        out.append(Shown(top, None))
        out += _tree(top + DELIMITER, reading.mailboxes(bal.id))
    return out


def subscribed(reading: Reading, principal: Principal) -> list[str]:
    """Subscribed names, also of mailboxes deleted since (RFC 3501 6.3.6)."""
    now = reading.principal(principal.account)
    own = principal.bals[0].id if principal.bals else None
    out: list[str] = []
    for bal in now.bals:
        prefix = "" if bal.id == own else _PREFIX + bal.address.key + DELIMITER
        out += [prefix + name for name in reading.subscriptions(bal.id)]
    return out


def _tree(prefix: str, mailboxes: tuple[Mailbox, ...]) -> Iterator[Shown]:
    """INBOX first; a parent that does not exist is shown as a bare level (GEN-13)."""
    known = {mailbox.name for mailbox in mailboxes}
    for mailbox in sorted(mailboxes, key=lambda each: (each.name != "INBOX", each.name)):
        levels = mailbox.name.split(DELIMITER)
        for depth in range(1, len(levels)):
            parent = DELIMITER.join(levels[:depth])
            if parent not in known:
                known.add(parent)
                yield Shown(prefix + parent, None)
        yield Shown(prefix + mailbox.name, mailbox, None if prefix else mailbox.special_use)
