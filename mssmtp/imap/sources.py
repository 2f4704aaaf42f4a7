"""Mailboxes named by what they are (RFC 5465 6, RFC 7377 2.2): `inboxes`, `personal`, `subtree`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import mailboxes
from mssmtp.imap.mailboxes import READ, Shown
from mssmtp.imap.names import DELIMITER
from mssmtp.imap.responses import Refused
from mssmtp.imap.syntax import Cursor
from mssmtp.mail import MailboxId, Principal
from mssmtp.message.patients import PATIENTS
from mssmtp.storage.model import NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

SELECTED = "SELECTED"
_PLAIN = frozenset({SELECTED, "INBOXES", "PERSONAL", "SUBSCRIBED"})
_NAMED = frozenset({"MAILBOXES", "SUBTREE", "SUBTREE-ONE"})
INBOXES = frozenset({"INBOX", PATIENTS})
"""What mail is delivered to (RFC 5465 6.3): the second one when `imap.patient_tree` is separate."""
MOST_NAMES = 1_000
"""Of one command: each is looked up, or compared with every mailbox (ATT-27)."""


@dataclass(frozen=True)
class Source:
    """`filter-mailboxes`; the names are those it is followed by."""

    kind: str
    names: tuple[str, ...] = ()

    @cached_property
    def spelt(self) -> frozenset[str]:
        """The names as `mailboxes.shown` spells them."""
        return frozenset(map(mailboxes.canonical, self.names))


def parse(cursor: Cursor) -> tuple[Source, ...]:
    """`"(" filter-mailboxes *(SP filter-mailboxes) ")"`, each once."""
    found = tuple(dict.fromkeys(cursor.listed(lambda: source(cursor))))
    if sum(len(each.names) for each in found) > MOST_NAMES:
        raise BadSyntax("too many mailboxes")
    return found


def source(cursor: Cursor) -> Source:
    """`filter-mailboxes-other`, and SELECTED."""
    kind = cursor.word()
    if kind in _PLAIN:
        return Source(kind)
    if kind not in _NAMED:
        raise BadSyntax("unknown mailboxes")
    cursor.space()
    if cursor.sees(b"("):
        return Source(kind, tuple(cursor.listed(cursor.mailbox)))
    return Source(kind, (cursor.mailbox(),))


def covers(source: Source, name: str, *, subscribed: bool) -> bool:
    """Whether a mailbox, called so, is one of `source`; of what is selected by its name, none."""
    match source.kind:
        case "SELECTED":
            return False
        case "MAILBOXES":
            return name in source.spelt
        case "SUBSCRIBED":
            return subscribed
        case "INBOXES":
            return name in INBOXES
        case "PERSONAL":
            return not mailboxes.is_of_others(name)
        case kind:
            return _is_below(name, source.spelt, deep=kind == "SUBTREE")


def readable(
    reading: Reading, principal: Principal, sources: tuple[Source, ...], selected: MailboxId | None
) -> list[Shown]:
    """What `sources` name and `principal` may read now, each once, in the order of LIST.

    What does not exist and what is forbidden are left out alike (RFC 7377 2.2, ATT-24).
    """
    visible = [each for each in mailboxes.shown(reading, principal) if each.mailbox is not None]
    found: dict[MailboxId, Shown] = {}
    for source in sources:
        for each in _named(reading, principal, source, visible, selected):
            if each.mailbox is not None and READ in each.rights:
                found[each.mailbox.id] = each
    return list(found.values())


def _named(
    reading: Reading,
    principal: Principal,
    source: Source,
    visible: list[Shown],
    selected: MailboxId | None,
) -> Iterator[Shown]:
    match source.kind:
        case "SELECTED":
            yield from (each for each in visible if each.mailbox and each.mailbox.id == selected)
        case "MAILBOXES":
            for name in source.names:
                yield from _one(reading, principal, name)
        case "SUBSCRIBED":
            names = set(mailboxes.subscribed(reading, principal))
            yield from (each for each in visible if each.name in names)
        case "INBOXES":
            yield from (each for each in visible if each.name in INBOXES)
        case "PERSONAL":
            yield from (each for each in visible if not mailboxes.is_of_others(each.name))
        case kind:
            deep, tops = kind == "SUBTREE", frozenset(source.names)
            yield from (each for each in visible if _is_below(each.name, tops, deep=deep))


def _one(reading: Reading, principal: Principal, name: str) -> Iterator[Shown]:
    """A name that was spelt out needs no right but the one to read."""
    try:
        mailbox, rights = mailboxes.find_with_rights(reading, principal, name, READ)
    except (NoSuchMailbox, Refused):
        return
    yield Shown(name, mailbox, None, rights)


def _is_below(name: str, tops: frozenset[str], *, deep: bool) -> bool:
    """One of `tops` itself, its children, and when `deep` theirs: time in proportion to the levels
    of the name, not to the tops (ATT-27). "" is above all."""
    if name in tops:
        return True
    above = name.rpartition(DELIMITER)[0]
    while deep and above and above not in tops:
        above = above.rpartition(DELIMITER)[0]
    return above in tops
