"""Whose mailbox a name means: one's own, or `Other Users/<address>/…` of an ORG box (RFC 2342).

Every access asks here and names the right it needs, which is judged by the rights of this moment
(ATT-24, ATT-25): a BAL that was suspended, or a membership that ended, answers like a name that
never existed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mssmtp.errors import BadAddress
from mssmtp.imap import subscriptions
from mssmtp.imap.names import DELIMITER, folded
from mssmtp.imap.numbers import View
from mssmtp.imap.responses import Refused
from mssmtp.mail import ALL_RIGHTS, Address, Bal, BalId, BalState, MailboxId, Principal
from mssmtp.storage.model import Mailbox, NoSuchMailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading

OTHERS = "Other Users"
SENT, SENT_USE = "Sent", "\\Sent"
_PREFIX = OTHERS + DELIMITER

LOOKUP, READ, SEEN, WRITE, INSERT, CREATE = "l", "r", "s", "w", "i", "k"
DELETE_MAILBOX, DELETE_MESSAGES, EXPUNGE, ADMINISTER = "x", "t", "e", "a"
"""RFC 4314 2.1; what each lets do is in section 4."""


@dataclass(frozen=True, slots=True)
class Place:
    """A name inside one BAL; `rights` are those in the BAL, whatever single mailboxes say; `grant`:
    the delegation that shows but a part of it, 0 for none."""

    bal: Bal
    name: str
    rights: str
    grant: int = 0


def present(reading: Reading, principal: Principal) -> Principal:
    """`principal` as of now; with a password for one box, that box alone."""
    if principal.system is not None:
        return _present_system(reading, principal)
    now = reading.principal(principal.account)
    if principal.box is None:
        return now
    bals = tuple(bal for bal in now.bals if bal.id == principal.box)
    return replace(now, bals=bals, box=principal.box)


def _present_system(reading: Reading, principal: Principal) -> Principal:
    """A system in its APP box, which need not have an account."""
    found = (reading.bal_by_id(bal.id) for bal in principal.bals)
    return replace(
        principal, bals=tuple(bal for bal in found if bal and bal.state is BalState.ACTIVE)
    )


def locate(reading: Reading, principal: Principal, name: str) -> Place:
    """The place `name` means now. Raises NoSuchMailbox; the name itself need not exist."""
    own = principal.first
    is_of_others = name == OTHERS or name.startswith(_PREFIX)
    if not is_of_others and principal.system is None and own is not None and principal.owns(own):
        # What is shared with the account says nothing of its own box.
        found = reading.own_bal(principal.account)
        if found is None or found.id != own:
            raise NoSuchMailbox
        return Place(found, name, ALL_RIGHTS)
    now = present(reading, principal)
    if is_of_others:
        return _others(now, own, name)
    for bal in now.bals:
        if bal.id == own:
            return Place(bal, name, now.rights_in(bal.id), now.handed.get(bal.id, 0))
    raise NoSuchMailbox


def _others(now: Principal, own: BalId | None, name: str) -> Place:
    box, _, inner = name.removeprefix(_PREFIX).partition(DELIMITER)
    try:
        address = Address.parse(box)
    except BadAddress as error:
        raise NoSuchMailbox from error
    for bal in now.bals:
        if bal.address == address and bal.id != own and inner:
            handed = now.handed.get(bal.id, 0)
            return Place(bal, folded(inner), now.rights_in(bal.id), handed)
    raise NoSuchMailbox


def find(reading: Reading, principal: Principal, name: str, right: str) -> Mailbox:
    """The existing mailbox `name`, if the principal has `right` there: letters of RFC 4314 2.1.

    Raises NoSuchMailbox, also for what must not be known to exist (RFC 4314 6, ATT-24); Refused
    for what is known and not permitted.
    """
    return find_with_rights(reading, principal, name, right)[0]


def find_with_rights(
    reading: Reading, principal: Principal, name: str, right: str
) -> tuple[Mailbox, str]:
    """As `find`, with all the principal may do there."""
    place = locate(reading, principal, name)
    mailbox = reading.mailbox(place.bal.id, place.name)
    # Asked in any case: a mailbox that is hidden costs what one costs that is not there.
    rights = _inside(reading, principal, place.bal.id, place.rights, mailbox)
    if mailbox is not None:
        mailbox = _part(reading, mailbox, place.grant)
    if mailbox is None:
        raise NoSuchMailbox
    demand(rights, right)
    return mailbox, rights


def _part(reading: Reading, mailbox: Mailbox, grant: int) -> Mailbox | None:
    """As much of it as is to be seen; all of it without a `grant`.

    The name of a mailbox of which nothing was handed over says something too ("divorce"): it is
    told when a letter of the part has come into it.
    """
    if not grant:
        return mailbox
    found = reading.part_of(mailbox, grant)
    if found is None or found.messages or found.name == "INBOX":
        return found
    return found if found.part is not None and found.part.kept else None


def again(reading: Reading, principal: Principal, id: MailboxId) -> Mailbox | None:
    """A mailbox as it is now for `principal`; None when it was deleted."""
    mailbox = reading.mailbox_by_id(id)
    if mailbox is None or principal.owns(mailbox.bal):
        return mailbox
    grant = present(reading, principal).handed.get(mailbox.bal, 0)
    return reading.part_of(mailbox, grant) if grant else mailbox


def viewed(reading: Reading, mailbox: Mailbox) -> View:
    """The messages of a mailbox, as far as they are to be seen."""
    return View(reading.seen_uids(mailbox), is_part=mailbox.part is not None)


def rights(reading: Reading, principal: Principal, mailbox: Mailbox) -> str:
    """What `principal` may do in `mailbox` now; "" when there is nothing left to see, or another
    part of it than before: to a session that is a mailbox of its own (DEF-23)."""
    now = present(reading, principal)
    if now.handed.get(mailbox.bal, 0) != (mailbox.part.grant if mailbox.part else 0):
        return ""
    return _inside(reading, principal, mailbox.bal, now.rights_in(mailbox.bal), mailbox)


def demand_still(reading: Reading, principal: Principal, mailbox: Mailbox, needed: str) -> str:
    """What may be done in an open mailbox now: long commands ask before each of their commits.

    Of one's own box nobody takes rights away. Raises Refused, NoSuchMailbox (ATT-25).
    """
    if principal.owns(mailbox.bal):
        return ALL_RIGHTS
    now = rights(reading, principal, mailbox)
    demand(now, READ + needed)
    return now


def _inside(
    reading: Reading, principal: Principal, bal: BalId, general: str, mailbox: Mailbox | None
) -> str:
    """Who answers for a box is locked out of no mailbox of it."""
    if general in ("", ALL_RIGHTS):
        return general
    exception = reading.exception(principal.account, mailbox.id if mailbox else 0, bal)
    return general if exception is None else exception


def demand(rights: str, needed: str) -> None:
    """Raises Refused where a right is missing; NoSuchMailbox where not even the name is seen."""
    if all(right in rights for right in needed):
        return
    if LOOKUP in rights:
        raise Refused("NOPERM")
    raise NoSuchMailbox


def may_change(rights: str) -> bool:
    """Whether SELECT opens it READ-WRITE (RFC 4314 5.2)."""
    return any(right in rights for right in (INSERT, EXPUNGE, SEEN, DELETE_MESSAGES, WRITE))


def may_remove(rights: str) -> bool:
    """Whether messages can be deleted and expunged."""
    return DELETE_MESSAGES in rights and EXPUNGE in rights


def find_target(reading: Reading, principal: Principal, name: str) -> tuple[Mailbox, str]:
    """As `find_with_rights` for COPY, MOVE and APPEND: a missing one is worth creating (6.4.7
    TRYCREATE)."""
    try:
        return find_with_rights(reading, principal, name, INSERT)
    except NoSuchMailbox as error:
        raise Refused("TRYCREATE") from error


def kept_beside(
    reading: Reading, principal: Principal, source: Mailbox, target: Mailbox
) -> tuple[Mailbox, str] | None:
    """Where what is thrown away in a box of others goes, in place of one's own `target`.

    Mail programs know one Trash and one Junk, those of the account (THB-10): a letter of a service
    would leave its box unseen by colleagues (SEED-22, DEF-22). It goes to the same mailbox of its
    own box. None: `target` it is. Raises Refused where nothing may be filed there.
    """
    is_leaving = principal.owns(target.bal) and not principal.owns(source.bal)
    if not is_leaving or target.special_use not in _THROWN or source.special_use in _THROWN:
        return None
    for each in reading.mailboxes(source.bal):
        if each.special_use == target.special_use:
            found = rights(reading, principal, each)
            if INSERT not in found:
                break
            return each, found
    raise Refused("NOPERM")


_THROWN = ("\\Trash", "\\Junk")


def creatable(reading: Reading, principal: Principal, name: str) -> Place:
    """Where a new mailbox `name` would stand. Raises Refused.

    The nearest mailbox above decides, as RFC 4314 4 has it, and on the first level the box. What
    is there already and hidden says no, as it would if it were above (ATT-24).
    """
    try:
        place = locate(reading, principal, name)
    except NoSuchMailbox as error:  # beside the boxes of others nothing can be made
        raise Refused("CANNOT") from error
    rights = place.rights
    levels = place.name.split(DELIMITER)
    for depth in range(len(levels), 0, -1):
        found = reading.mailbox(place.bal.id, DELIMITER.join(levels[:depth]))
        inside = _inside(reading, principal, place.bal.id, place.rights, found)
        if found is not None and depth == len(levels) and LOOKUP not in inside:
            raise Refused("NOPERM")
        if found is not None and depth < len(levels):
            rights = inside
            break
    if CREATE not in rights:
        raise Refused("NOPERM")
    return place


def path(reading: Reading, place: Place) -> list[Mailbox]:
    """Those of the levels of a name that are mailboxes, from the first one down."""
    levels = place.name.split(DELIMITER)
    names = (DELIMITER.join(levels[:depth]) for depth in range(1, len(levels) + 1))
    found = (reading.mailbox(place.bal.id, name) for name in names)
    return [each for each in found if each is not None]


def renamable(reading: Reading, principal: Principal, name: str) -> Place:
    """Where the mailbox `name`, or a level that only holds others, stands; its rights let it be
    renamed. Raises NoSuchMailbox, Refused."""
    place = locate(reading, principal, name)
    mailbox = reading.mailbox(place.bal.id, place.name)
    rights = _inside(reading, principal, place.bal.id, place.rights, mailbox)
    if mailbox is None and DELETE_MAILBOX not in rights:
        raise NoSuchMailbox  # as a mailbox that is hidden
    demand(rights, DELETE_MAILBOX)
    return place


def may_be_sent(name: str) -> bool:
    """Whether `name` may be that of a mailbox with SENT_USE, which cannot be renamed."""
    return name.rpartition(DELIMITER)[2] == SENT


def object_id(mailbox: Mailbox) -> bytes:
    """MAILBOXID (RFC 8474 4): stays through renames and restarts, and never comes back.

    A number of a deleted mailbox could, after a restore from an older copy; not with the same
    UIDVALIDITY, which is a time.
    """
    return b"M%d-%d" % (mailbox.id, mailbox.uid_validity)


@dataclass(frozen=True, slots=True)
class Shown:
    """One name of a listing; `mailbox` is None for a level that only holds others.

    Only one's own mailboxes show a special use: a client takes the first of each it is shown.
    """

    name: str
    mailbox: Mailbox | None
    special_use: str | None = None
    rights: str = ""


def as_shown(mailbox: Mailbox, name: str) -> Shown:
    """`mailbox`, known to the client as `name`."""
    return Shown(name, mailbox, None if name.startswith(_PREFIX) else mailbox.special_use)


def canonical(name: str) -> str:
    """`name` as `shown` spells it: the address of a box is the same in any case."""
    if not name.startswith(_PREFIX):
        return name
    box, delimiter, inner = name.removeprefix(_PREFIX).partition(DELIMITER)
    try:
        return _PREFIX + Address.parse(box).key + delimiter + folded(inner)
    except BadAddress:
        return name


def beside(name: str, mailbox: Mailbox) -> str:
    """What `mailbox` is called for who calls another one of its box `name`."""
    if not name.startswith(_PREFIX):
        return mailbox.name
    box = canonical(name).removeprefix(_PREFIX).partition(DELIMITER)[0]
    return _PREFIX + box + DELIMITER + mailbox.name


def is_of_others(name: str) -> bool:
    """Whether a name is of a box that is shared with us."""
    return name.startswith(_PREFIX)


def shown(reading: Reading, principal: Principal) -> list[Shown]:
    """Every name this principal sees, own first, each box in the order of its names."""
    now = present(reading, principal)
    own = principal.first
    out: list[Shown] = []
    for bal in now.bals:
        if bal.id == own:
            out += _tree("", _visible(reading, now, bal.id))
    others = [bal for bal in now.bals if bal.id != own]
    if others:
        out.append(Shown(OTHERS, None))
    for bal in others:
        top = _PREFIX + bal.address.key
        out.append(Shown(top, None))
        out += _tree(top + DELIMITER, _visible(reading, now, bal.id))
    return out


def _visible(reading: Reading, now: Principal, bal: BalId) -> dict[str, tuple[Mailbox, str]]:
    """Mailboxes of a box by name, with the rights there; those without `l` are left out."""
    general = now.rights_in(bal)
    exceptions = {} if general == ALL_RIGHTS else reading.exceptions(now.account, bal)
    grant = now.handed.get(bal, 0)
    seen = (_part(reading, each, grant) for each in reading.mailboxes(bal))
    found = ((each, exceptions.get(each.id, general)) for each in seen if each is not None)
    return {each.name: (each, rights) for each, rights in found if LOOKUP in rights}


def subscribed(reading: Reading, principal: Principal) -> list[str]:
    """Subscribed names, also of mailboxes deleted since (RFC 3501 6.3.6)."""
    now = present(reading, principal)
    own = principal.first
    out: list[str] = []
    for bal in now.bals:
        if subscriptions.is_own(now, bal.id):
            out += reading.subscriptions(bal.id)
            continue
        prefix = "" if bal.id == own else _PREFIX + bal.address.key + DELIMITER
        found = subscriptions.names(reading, bal.id, now.account)
        out += [prefix + name for name in sorted(found - _hidden(reading, now, bal.id))]
    return out


def _hidden(reading: Reading, now: Principal, bal: BalId) -> set[str]:
    is_open = now.rights_in(bal) == ALL_RIGHTS or not reading.exceptions(now.account, bal)
    if is_open and bal not in now.handed:
        return set()
    visible = _visible(reading, now, bal)
    return {each.name for each in reading.mailboxes(bal)} - visible.keys()


def _tree(prefix: str, mailboxes: dict[str, tuple[Mailbox, str]]) -> Iterator[Shown]:
    """INBOX first; a parent that does not exist is shown as a bare level (GEN-13)."""
    known = set(mailboxes)
    for name in sorted(mailboxes, key=lambda each: (each != "INBOX", each)):
        mailbox, rights = mailboxes[name]
        levels = name.split(DELIMITER)
        for depth in range(1, len(levels)):
            parent = DELIMITER.join(levels[:depth])
            if parent not in known:
                known.add(parent)
                yield Shown(prefix + parent, None)
        yield Shown(prefix + name, mailbox, None if prefix else mailbox.special_use, rights)
