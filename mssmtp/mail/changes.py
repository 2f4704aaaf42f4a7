"""What a commit did, as sessions hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mssmtp.mail.ids import BalId, MailboxId, ModSeq


class ChangeKind(StrEnum):
    """What happened in a mailbox; sessions read the details from the store by modseq."""

    MAIL = "mail"
    FLAGS = "flags"
    EXPUNGE = "expunge"
    MAILBOX = "mailbox"


WHOLE_BOX = MailboxId(0)
"""In the place of a mailbox: the box itself, its state, and who may open it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change, broadcast to every worker after the sync.

    MAILBOX: names, subscriptions, annotations or rights; `mailbox` is WHOLE_BOX when it is of all.
    """

    kind: ChangeKind
    bal: BalId
    mailbox: MailboxId
    modseq: ModSeq
