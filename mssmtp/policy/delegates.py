"""Who writes on behalf of a holder says so, and goes no further than he was let (DEF-12)."""

from __future__ import annotations

from mssmtp.mail import DelegateRight, Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import SUBMISSION, Rule, accept, refuse
from mssmtp.policy.sender import boxes_acted_in, on_behalf
from mssmtp.policy.tables import Tables


def _replies(facts: Facts, tables: Tables) -> Verdict | None:
    """The right `reply`: to those alone who have written to the box acted in."""
    if facts.principal is None or not facts.principal.roles:
        return None
    for box in boxes_acted_in(facts):
        right = facts.principal.lent(box.id)
        if right is None or right is DelegateRight.SEND:
            continue
        for recipient in facts.recipients:
            if right is DelegateRight.READ or not recipient.has_written:
                because = f"{facts.principal.login} may {right} in {tables.shown(box.address)}"
                reply = refusals.DELEGATE_REPLIES.reply()
                return refuse("habilitation.delegate", reply, because)
    return None


def _named(facts: Facts, tables: Tables) -> Verdict | None:
    """RFC 5322 3.6.2: From is whose letter it is, Sender who has written it."""
    principal, boxes = facts.principal, on_behalf(facts)
    if principal is None or not boxes:
        return None
    for box in boxes:
        # What was looked up of the recipients is about the box of the envelope.
        may_be_null = facts.sender is None and principal.lent(box.id) is DelegateRight.SEND
        if facts.sender != box.address and not may_be_null:
            because = f"From is {tables.shown(box.address)}, MAIL FROM {tables.shown(facts.sender)}"
            return refuse("from.on-behalf", refusals.DELEGATE_ENVELOPE.reply(), because)
    writers = set(facts.sender_addresses)
    if not writers or writers != {principal.own}:
        because = f"Sender names no box of {principal.login}'s own"
        return refuse("from.on-behalf", refusals.DELEGATE_UNNAMED.reply(), because)
    shown = ", ".join(tables.shown(box.address) for box in boxes)
    return accept("from.on-behalf", f"{principal.login} writes on behalf of {shown}")


RULES = (
    Rule(
        "habilitation.delegate",
        ("DEF-12", "SEED-42"),
        frozenset({Stage.RECIPIENT, Stage.CONTENT}),
        SUBMISSION,
        _replies,
        must=True,
    ),
    Rule("from.on-behalf", ("DEF-12",), frozenset({Stage.CONTENT}), SUBMISSION, _named, must=True),
)
