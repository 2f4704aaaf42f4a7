"""Functional traces of what a person does to mail (OP-71): who, when, what; never content.

A mailbox is told by its number: its name is the person's own text, and may name a patient.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mssmtp.imap.numbers import compress
from mssmtp.mail import AccountId, Principal
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Writing

_MOST = 200
"""Characters of a set of UIDs."""


def deleted(
    writing: Writing, who: Principal, mailbox: Mailbox, uids: Collection[int] | None = None
) -> None:
    """Messages were expunged, or, when `uids` is None, the mailbox with all of its own."""
    if uids is None:
        request, answer = f"DELETE mailbox {mailbox.id}", f"{mailbox.messages} messages"
    else:
        named = compress(uids).decode("ascii")
        cut = named if len(named) <= _MOST else named[:_MOST] + "…"
        request, answer = f"EXPUNGE mailbox {mailbox.id} UID {cut}", f"{len(uids)} messages"
    # A machine has no account of its own: its box stands for it.
    account = who.account if who.account != AccountId(0) else None
    writing.trace("delete", who.login, request, answer, account=account, bal=mailbox.bal)
