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
        request = f"EXPUNGE mailbox {mailbox.id} UID {_cut(uids)}"
        answer = f"{len(uids)} messages"
    _trace(writing, who, mailbox, request, answer)


def moved(
    writing: Writing, who: Principal, way: tuple[Mailbox, Mailbox], uids: Collection[int]
) -> None:
    """Messages have left a box for another, or were thrown away in a box of others: as a deletion,
    for whoever asks where they are (SEED-22, ATT-19). What is put in order within a box is not."""
    source, target = way
    is_thrown = target.special_use == "\\Trash" and not who.owns(target.bal)
    if source.bal == target.bal and not is_thrown:
        return
    request = f"MOVE mailbox {source.id} UID {_cut(uids)} to mailbox {target.id}"
    if source.bal != target.bal:
        request += f" of box {target.bal}"
    _trace(writing, who, source, request, f"{len(uids)} messages")


def _cut(uids: Collection[int]) -> str:
    named = compress(uids).decode("ascii")
    return named if len(named) <= _MOST else named[:_MOST] + "…"


def _trace(writing: Writing, who: Principal, mailbox: Mailbox, request: str, answer: str) -> None:
    # A machine has no account of its own: its box stands for it.
    account = who.account if who.account != AccountId(0) else None
    writing.trace("delete", who.login, request, answer, account=account, bal=mailbox.bal)
