"""Mailboxes of a BAL: names, hierarchy, counters, subscriptions (RFC 3501 5.1, 6.3).

Names can name patients: they are sealed and looked up by a digest keyed with the BAL's key. They
never become a path (ATT-23).
"""

from __future__ import annotations

import unicodedata
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import WHOLE_BOX, BalId, Change, ChangeKind, MailboxId, ModSeq, Uid, UidValidity
from mssmtp.storage.annotations import AnnotationReading, AnnotationWriting
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import (
    SPECIAL_MAILBOXES,
    BadMailboxName,
    Mailbox,
    MailboxExists,
    NoSuchBal,
    NoSuchMailbox,
    ProtectedMailbox,
    TooManyMailboxes,
    UseTaken,
    to_us,
)
from mssmtp.storage.quotas import QuotaReading, QuotaWriting
from mssmtp.storage.readings import ReadingsReading, ReadingsWriting
from mssmtp.storage.rights import RightsReading, RightsWriting
from mssmtp.storage.schema import bals, mailboxes, sql, subscriptions
from mssmtp.storage.view import Row

INBOX = "INBOX"
_PROTECTED_USES = frozenset(use for _, use in SPECIAL_MAILBOXES)
MAX_NAME_CHARACTERS = 1_000
MAX_LEVELS = 30
MAX_MAILBOXES = 10_000
"""Of one BAL: LIST shows them all at once, and a client that loops must find an end."""
NAME = b"mailbox-name\0"
SUBSCRIPTION = b"subscription\0"

_COLUMNS = (
    mailboxes.c.id,
    mailboxes.c.bal,
    mailboxes.c.sealed,
    mailboxes.c.uid_validity,
    mailboxes.c.uid_next,
    mailboxes.c.highest_modseq,
    mailboxes.c.special_use,
    mailboxes.c.subscribed,
    mailboxes.c.messages,
    mailboxes.c.unseen,
    mailboxes.c.recent_from,
    mailboxes.c.size,
)
_OF_BAL = sql(select(*_COLUMNS).where(mailboxes.c.bal == bindparam("bal")))
_BY_NAME = sql(
    select(*_COLUMNS)
    .where(mailboxes.c.bal == bindparam("bal"))
    .where(mailboxes.c.digest == bindparam("digest"))
)
_HOW_MANY = sql(select(func.count()).where(mailboxes.c.bal == bindparam("bal")))
_ID_BY_NAME = sql(
    select(mailboxes.c.id)
    .where(mailboxes.c.bal == bindparam("bal"))
    .where(mailboxes.c.digest == bindparam("digest"))
)
_BY_ID = sql(select(*_COLUMNS).where(mailboxes.c.id == bindparam("id")))
_NEW = sql(
    insert(mailboxes)
    .values({c.name: bindparam(c.name) for c in mailboxes.c if c.name != "id"})
    .returning(mailboxes.c.id)
)
FIRST_MAILBOXES = ((INBOX, None), *SPECIAL_MAILBOXES)
_FIRST_NAMES = tuple(name for name, _ in FIRST_MAILBOXES)
_NEW_FIRST = sql(
    insert(mailboxes)
    .values(
        [
            {
                "bal": bindparam("bal"),
                "digest": bindparam(f"digest_{place}"),
                "sealed": bindparam("sealed"),
                "uid_validity": bindparam(f"uid_validity_{place}"),
                "uid_next": 1,
                "highest_modseq": 1,
                "special_use": bindparam(f"special_use_{place}"),
                "subscribed": True,
                "recent_from": 1,
                "messages": 0,
                "unseen": 0,
                "size": 0,
            }
            for place in range(len(FIRST_MAILBOXES))
        ]
    )
    .returning(mailboxes.c.id, mailboxes.c.digest)
)
"""In one statement: in which order an engine answers, it does not say."""
_NEXT_VALIDITY = sql(
    update(bals)
    .where(bals.c.id == bindparam("bal"))
    .values(last_uid_validity=bindparam("new"))
    .returning(bals.c.last_uid_validity)
)
_LAST_VALIDITY = sql(select(bals.c.last_uid_validity).where(bals.c.id == bindparam("bal")))
_RENAME = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(digest=bindparam("new_digest"), sealed=bindparam("new_sealed"))
)
_SEAL = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(sealed=bindparam("new_sealed"))
)
_SUBSCRIBE = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(subscribed=bindparam("new"))
)
_DELETE = sql(delete(mailboxes).where(mailboxes.c.id == bindparam("mailbox")))
_CLAIM = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(recent_from=mailboxes.c.uid_next)
)
_BUMP = sql(
    update(mailboxes)
    .where(mailboxes.c.id == bindparam("mailbox"))
    .values(highest_modseq=mailboxes.c.highest_modseq + 1)
    .returning(mailboxes.c.highest_modseq, mailboxes.c.bal)
)
_ORPHAN_SUBSCRIPTIONS = sql(
    select(subscriptions.c.digest, subscriptions.c.sealed).where(
        subscriptions.c.bal == bindparam("bal")
    )
)
_UNSUBSCRIBE_ORPHAN = sql(
    delete(subscriptions)
    .where(subscriptions.c.bal == bindparam("bal"))
    .where(subscriptions.c.digest == bindparam("digest"))
)
_SUBSCRIBE_ORPHAN = sql(insert(subscriptions))


def mailbox_name(name: str) -> str:
    """`name` checked, INBOX folded (RFC 3501 5.1). Raises BadMailboxName."""
    levels = name.split("/")
    if (
        not all(levels)
        or len(levels) > MAX_LEVELS
        or len(name) > MAX_NAME_CHARACTERS
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    ):
        raise BadMailboxName
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return "/".join(levels)


class MailboxReading(RightsReading, AnnotationReading, QuotaReading, ReadingsReading):
    """Looking at mailboxes."""

    def _mailbox_id(self, bal: BalId, name: str) -> MailboxId | None:
        """Id of the mailbox called `name` (checked, folded); nothing is opened. NoSuchBal."""
        row = self._named(_ID_BY_NAME, bal, name)
        return MailboxId(row[0]) if row else None

    def _named(self, statement: str, bal: BalId, name: str) -> Row | None:
        for digest in self._bal_key(bal).digests(NAME, name):
            if (row := self._one(statement, bal=bal, digest=digest)) is not None:
                return row
        return None

    def mailboxes(self, bal: BalId) -> tuple[Mailbox, ...]:
        """Every mailbox of the BAL, INBOX first, then by name. Raises NoSuchBal.

        One whose name is damaged is left out: it cannot be shown, and must not hide the others.
        """
        key = self._bal_key(bal)
        found = []
        for row in self._all(_OF_BAL, bal=bal):
            name = self._legible(key.open, mailbox_purpose(row[0]), row[2])
            if name is not None:
                found.append(_named_mailbox(row, name.decode()))
        return tuple(sorted(found, key=lambda mailbox: (mailbox.name != INBOX, mailbox.name)))

    def mailbox(self, bal: BalId, name: str) -> Mailbox | None:
        """The mailbox called `name`; INBOX in any case. None also for an impossible name."""
        try:
            folded = mailbox_name(name)
        except BadMailboxName:
            return None
        row = self._named(_BY_NAME, bal, folded)
        found = self._opened_mailbox(row, self._bal_key(bal)) if row else None
        if found is not None and found.name != folded:
            raise Damaged("a mailbox stands under another name")
        return found

    def mailbox_by_id(self, mailbox: MailboxId) -> Mailbox | None:
        """The mailbox with this id, None once deleted."""
        row = self._one(_BY_ID, id=mailbox)
        return self._opened_mailbox(row, self._bal_key(BalId(row[1]))) if row else None

    def subscriptions(self, bal: BalId) -> tuple[str, ...]:
        """Subscribed names, also of mailboxes deleted meanwhile (RFC 3501 6.3.6, 6.3.9)."""
        key = self._bal_key(bal)
        names = (
            self._legible(key.open, SUBSCRIPTION + digest, sealed)
            for digest, sealed in self._all(_ORPHAN_SUBSCRIPTIONS, bal=bal)
        )
        gone = (name.decode() for name in names if name is not None)
        here = (mailbox.name for mailbox in self.mailboxes(bal) if mailbox.subscribed)
        return tuple(sorted({*gone, *here}))

    def _existing(self, mailbox: MailboxId) -> Mailbox:
        """Raises NoSuchMailbox."""
        if (found := self.mailbox_by_id(mailbox)) is None:
            raise NoSuchMailbox
        return found

    @staticmethod
    def _opened_mailbox(row: Row, key: OwnerKey) -> Mailbox:
        return _named_mailbox(row, key.open(mailbox_purpose(row[0]), row[2]).decode())


class MailboxWriting(
    MailboxReading, RightsWriting, AnnotationWriting, QuotaWriting, ReadingsWriting
):
    """Changing mailboxes; messages in them are the business of `messages`."""

    def create_mailbox(self, bal: BalId, name: str, special_use: str | None = None) -> Mailbox:
        """A new, subscribed mailbox; missing parents are made too (GEN-13, GEN-14).

        Raises MailboxExists, BadMailboxName, TooManyMailboxes, NoSuchBal, and UseTaken when
        another mailbox of the BAL has `special_use` (RFC 6154 3).
        """
        folded = mailbox_name(name)
        if self.mailbox(bal, folded) is not None:
            raise MailboxExists
        if special_use and any(each.special_use == special_use for each in self.mailboxes(bal)):
            raise UseTaken
        levels = folded.split("/")
        parents = ["/".join(levels[:depth]) for depth in range(1, len(levels))]
        missing = [parent for parent in parents if self.mailbox(bal, parent) is None]
        if self._new(_HOW_MANY, bal=bal)[0] + len(missing) >= MAX_MAILBOXES:
            raise TooManyMailboxes
        for parent in missing:
            self._add_mailbox(bal, parent, None)
        return self._existing(self._add_mailbox(bal, folded, special_use))

    def ensure_mailbox(self, bal: BalId, name: str) -> None:
        """Make `name` when it is not there. Raises NoSuchBal, BadMailboxName, TooManyMailboxes."""
        if self.mailbox(bal, name) is None:
            self.create_mailbox(bal, name)

    def subscribe(self, bal: BalId, name: str, *, on: bool) -> None:
        """Subscribe or not. Raises NoSuchMailbox when subscribing to what is not there."""
        folded = mailbox_name(name)
        found = self.mailbox(bal, folded)
        self._unsubscribe_orphan(bal, folded)
        if found is not None:
            self._run(_SUBSCRIBE, mailbox=found.id, new=on)
        elif on:
            raise NoSuchMailbox
        id = found.id if found is not None else WHOLE_BOX
        self._changed(ChangeKind.MAILBOX, bal, id, ModSeq(0))

    def claim_recent(self, mailbox: MailboxId) -> Uid:
        """The UID from which on messages are `\\Recent` for the caller alone (RFC 3501 2.3.2)."""
        found = self._existing(mailbox)
        if found.recent_from < found.uid_next:
            self._run(_CLAIM, mailbox=mailbox)
        return found.recent_from

    def touch(self, mailbox: MailboxId) -> None:
        """A new modseq, no message having changed: it was annotated. Raises NoSuchMailbox."""
        self._bump(mailbox)

    def _add_first_mailboxes(self, bal: BalId, first: int) -> None:
        """INBOX and the special mailboxes of a new BAL: none of their names is subscribed yet.

        `first`: the first of their UIDVALIDITYs, which follow one another.

        Fifty thousand boxes are loaded in one go (DEF-10): what each mailbox costs counts.
        """
        key = self._bal_key(bal)
        names = key.digest_each(NAME, _FIRST_NAMES)
        values: dict[str, object] = {"bal": bal, "sealed": b""}
        for place, (digest, (_, use)) in enumerate(zip(names, FIRST_MAILBOXES, strict=True)):
            values |= {
                f"digest_{place}": digest,
                f"uid_validity_{place}": first + place,
                f"special_use_{place}": use,
            }
        sealed: list[dict[str, object]] = []
        for row, digest in self._new_all(_NEW_FIRST, **values):
            name = key.seal(mailbox_purpose(row), names[bytes(digest)].encode())
            sealed.append({"mailbox": row, "new_sealed": name})
        self._run_many(_SEAL, sealed)
        # Nobody watches them yet: one change says that there is a box.
        self._box_changed(bal)

    def _add_mailbox(self, bal: BalId, name: str, special_use: str | None) -> MailboxId:
        self._unsubscribe_orphan(bal, name)
        key = self._bal_key(bal)
        made, sealed = self._put_mailbox(key, bal, name, special_use, self._next_validity(bal))
        self._run(_SEAL, mailbox=made, new_sealed=sealed)
        parent = self._mailbox_id(bal, name.rpartition("/")[0]) if "/" in name else None
        if parent is not None:
            self._inherit_rights(parent, made)
        return made

    def _put_mailbox(
        self, key: OwnerKey, bal: BalId, name: str, special_use: str | None, validity: int
    ) -> tuple[MailboxId, bytes]:
        """The row without its name, and the name sealed for it."""
        row = self._new(
            _NEW,
            bal=bal,
            digest=key.digest(NAME, name),
            sealed=b"",
            uid_validity=validity,
            uid_next=1,
            highest_modseq=1,
            special_use=special_use,
            subscribed=True,
            recent_from=1,
            messages=0,
            unseen=0,
            size=0,
        )
        made = MailboxId(row[0])
        self._changed(ChangeKind.MAILBOX, bal, made, ModSeq(1))
        return made, key.seal(mailbox_purpose(made), name.encode())

    def _next_validity(self, bal: BalId, many: int = 1) -> int:
        """A UIDVALIDITY no mailbox of the BAL ever had (GEN-01), from the time; the first of `many`
        that follow one another."""
        row = self._one(_LAST_VALIDITY, bal=bal)
        if row is None:
            raise NoSuchBal
        new = max(row[0] + 1, validity_at(self.now()))
        return int(self._new(_NEXT_VALIDITY, bal=bal, new=new + many - 1)[0]) - many + 1

    def _rename(self, mailbox: Mailbox, new: str) -> None:
        """Under a name that outlived its mailbox as a subscription, the mailbox is subscribed."""
        key = self._bal_key(mailbox.bal)
        if self._unsubscribe_orphan(mailbox.bal, new):
            self._run(_SUBSCRIBE, mailbox=mailbox.id, new=True)
        self._run(
            _RENAME,
            mailbox=mailbox.id,
            new_digest=key.digest(NAME, new),
            new_sealed=key.seal(mailbox_purpose(mailbox.id), new.encode()),
        )
        self._changed(ChangeKind.MAILBOX, mailbox.bal, mailbox.id, mailbox.highest_modseq)

    def _renamed_names(self, bal: BalId, old: str, new: str) -> list[tuple[Mailbox, str]]:
        """Mailboxes that a rename concerns, the children too, with their new names."""
        prefix = old + "/"
        return [
            (mailbox, new + mailbox.name[len(old) :])
            for mailbox in self.mailboxes(bal)
            if mailbox.name == old or mailbox.name.startswith(prefix)
        ]

    def _drop_mailbox(self, mailbox: Mailbox) -> None:
        """Remove the row; the name stays subscribed if it was (RFC 3501 6.3.9)."""
        self._run(_DELETE, mailbox=mailbox.id)
        self._forget_rights(mailbox.id)
        self._forget_annotations(mailbox.bal, mailbox.id)
        if mailbox.subscribed:
            key = self._bal_key(mailbox.bal)
            digest = key.digest(NAME, mailbox.name)
            sealed = key.seal(SUBSCRIPTION + digest, mailbox.name.encode())
            self._run(_SUBSCRIBE_ORPHAN, bal=mailbox.bal, digest=digest, sealed=sealed)
        self._changed(ChangeKind.MAILBOX, mailbox.bal, mailbox.id, mailbox.highest_modseq)

    def _bump(self, mailbox: MailboxId) -> tuple[ModSeq, BalId]:
        """A new modseq of the mailbox. Raises NoSuchMailbox."""
        row = self._one(_BUMP, mailbox=mailbox)
        if row is None:
            raise NoSuchMailbox
        return ModSeq(row[0]), BalId(row[1])

    def _changed(self, kind: ChangeKind, bal: BalId, mailbox: MailboxId, modseq: ModSeq) -> None:
        self.effects.changes.append(Change(kind, bal, mailbox, modseq))

    def _unsubscribe_orphan(self, bal: BalId, name: str) -> bool:
        """Whether there was one."""
        digests = self._bal_key(bal).digests(NAME, name)
        gone = [self._run(_UNSUBSCRIBE_ORPHAN, bal=bal, digest=digest) for digest in digests]
        return any(gone)


def validity_at(now: datetime) -> int:
    """The least UIDVALIDITY of a mailbox made now (RFC 9051 2.3.1.1: the time in seconds)."""
    return max(to_us(now) // 1_000_000, 1)


def mailbox_purpose(mailbox: int) -> bytes:
    """What the sealed name of a mailbox is bound to."""
    return NAME + b"%d" % mailbox


def deletable(mailbox: Mailbox | None) -> Mailbox:
    """`mailbox` if it may be deleted or renamed. Raises NoSuchMailbox, ProtectedMailbox."""
    if mailbox is None:
        raise NoSuchMailbox
    if mailbox.name == INBOX or mailbox.special_use in _PROTECTED_USES:
        raise ProtectedMailbox
    return mailbox


def _named_mailbox(row: Row, name: str) -> Mailbox:
    return Mailbox(
        id=MailboxId(row[0]),
        bal=BalId(row[1]),
        name=name,
        uid_validity=UidValidity(row[3]),
        uid_next=Uid(row[4]),
        highest_modseq=ModSeq(row[5]),
        special_use=row[6],
        subscribed=bool(row[7]),
        messages=row[8],
        unseen=row[9],
        recent_from=Uid(row[10]),
        size_octets=row[11],
    )
