"""Annotations of a box and of its mailboxes (RFC 5464): sealed, looked up by keyed digest."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.mail import BalId, Change, ChangeKind, MailboxId, ModSeq
from mssmtp.storage.schema import entries, sql
from mssmtp.storage.view import View, WritingView

ANNOTATION = b"annotation\0"

_OF = sql(
    select(entries.c.digest, entries.c.sealed)
    .where(entries.c.bal == bindparam("bal"))
    .where(entries.c.mailbox == bindparam("mailbox"))
    .where(entries.c.account == bindparam("account"))
)
_HOW_MANY = sql(select(func.count()).where(entries.c.bal == bindparam("bal")))
_NEW = sql(insert(entries))
_DROP = sql(
    delete(entries)
    .where(entries.c.bal == bindparam("bal"))
    .where(entries.c.mailbox == bindparam("mailbox"))
    .where(entries.c.account == bindparam("account"))
    .where(entries.c.digest == bindparam("digest"))
)
_DROP_ALL = sql(
    delete(entries)
    .where(entries.c.bal == bindparam("bal"))
    .where(entries.c.mailbox == bindparam("mailbox"))
)


class AnnotationReading(View):
    """Looking at annotations."""

    def annotations(self, bal: BalId, mailbox: int = 0, account: int = 0) -> dict[str, bytes]:
        """Values by entry name. `mailbox` 0: of the box itself; `account` 0: the shared ones.

        Raises NoSuchBal.
        """
        key = self._bal_key(bal)
        found = {}
        for digest, sealed in self._all(_OF, bal=bal, mailbox=mailbox, account=account):
            octets = self._legible(key.open, annotation_purpose(mailbox, account, digest), sealed)
            if octets is not None:
                name, value = json.loads(octets)
                found[name] = value.encode("utf-8", "surrogateescape")
        return found

    def annotations_in(self, bal: BalId) -> int:
        """How many the box has, of all its mailboxes and everybody together."""
        row = self._one(_HOW_MANY, bal=bal)
        return 0 if row is None else int(row[0])


class AnnotationWriting(AnnotationReading, WritingView):
    """Changing them."""

    def annotate(
        self, bal: BalId, name: str, value: bytes | None, *, mailbox: int = 0, account: int = 0
    ) -> None:
        """Set or, with None, remove one; names are the same in any case. Raises NoSuchBal."""
        key = self._bal_key(bal)
        name = name.lower()
        self.effects.changes.append(Change(ChangeKind.MAILBOX, bal, MailboxId(mailbox), ModSeq(0)))
        for digest in key.digests(ANNOTATION, name):
            self._run(_DROP, bal=bal, mailbox=mailbox, account=account, digest=digest)
        if value is None:
            return
        digest = key.digest(ANNOTATION, name)
        octets = json.dumps([name, value.decode("utf-8", "surrogateescape")]).encode()
        sealed = key.seal(annotation_purpose(mailbox, account, digest), octets)
        where = {"bal": bal, "mailbox": mailbox, "account": account}
        self._run(_NEW, **where, digest=digest, sealed=sealed)

    def _forget_annotations(self, bal: BalId, mailbox: int) -> None:
        self._run(_DROP_ALL, bal=bal, mailbox=mailbox)


def annotation_purpose(mailbox: int, account: int, digest: bytes) -> bytes:
    """What a sealed annotation is bound to."""
    return ANNOTATION + b"%d\0%d\0" % (mailbox, account) + digest
