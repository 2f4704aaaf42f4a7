"""Who has subscribed to what (RFC 3501 6.3.6): in a shared box each member for himself.

A mailbox is made subscribed (GEN-14), and in one's own box that is what SUBSCRIBE changes. In a
shared one it holds until a member chooses otherwise: what one hides stays visible to the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mssmtp.mail import AccountId, BalId, Principal
from mssmtp.storage.model import Mailbox

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Writing

_ENTRY = "subscriptions"
"""Among the annotations of a person in a box; no client can name it: theirs begin with a slash."""


def choices(reading: Reading, bal: BalId, account: AccountId) -> dict[int, bool]:
    """What a member has chosen, by mailbox."""
    text = reading.annotations(bal, 0, account).get(_ENTRY, b"").decode("ascii")
    return {int(each[:-1]): each.endswith("+") for each in text.split()}


def choose(writing: Writing, mailbox: Mailbox, account: AccountId, *, on: bool) -> None:
    """Keep a choice; those about mailboxes that are gone are forgotten."""
    there = {each.id for each in writing.mailboxes(mailbox.bal)}
    kept = {id: was for id, was in choices(writing, mailbox.bal, account).items() if id in there}
    kept[mailbox.id] = on
    text = " ".join(f"{id}{'+' if is_on else '-'}" for id, is_on in sorted(kept.items()))
    writing.annotate(mailbox.bal, _ENTRY, text.encode("ascii"), account=account)


def is_own(principal: Principal, bal: BalId) -> bool:
    """True in the box that `principal` has to himself; never as a member, also where the box of
    others is the only one and its names have no prefix."""
    return principal.owns(bal)


def seen_by(reading: Reading, principal: Principal, mailbox: Mailbox) -> Mailbox:
    """`mailbox` as subscribed as it is for `principal`."""
    if is_own(principal, mailbox.bal):
        return mailbox
    chosen = choices(reading, mailbox.bal, principal.account).get(mailbox.id)
    return mailbox if chosen is None else replace(mailbox, subscribed=chosen)


def names(reading: Reading, bal: BalId, account: AccountId) -> set[str]:
    """Subscribed names of a shared box, also of mailboxes deleted since."""
    found = set(reading.subscriptions(bal))
    chosen = choices(reading, bal, account)
    if chosen:
        for mailbox in reading.mailboxes(bal):
            is_on = chosen.get(mailbox.id)
            if is_on is not None:
                (found.add if is_on else found.discard)(mailbox.name)
    return found
