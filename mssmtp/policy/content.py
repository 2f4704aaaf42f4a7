"""What may not be in a message (OP-68): malware, and files that run when they are clicked."""

from __future__ import annotations

from mssmtp.mail import Attachment, Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import EVERY_DOOR, SUBMISSION, Rule, refuse
from mssmtp.policy.tables import Tables


def _malware(facts: Facts, tables: Tables) -> Verdict | None:
    if not facts.malware:
        return None
    name = refusals.quotable(facts.malware)
    return refuse("content.malware", refusals.MALWARE.reply(name=name), f"clamd found {name}")


def _attachment(facts: Facts, tables: Tables) -> Verdict | None:
    """Of our own boxes; what other operators bring is theirs to decide (OP-70)."""
    for number, attachment in enumerate(facts.attachments, 1):
        kind = _forbidden(attachment, tables.forbidden_attachments)
        if kind is not None:
            name = refusals.quotable(attachment.name)
            reply = refusals.FORBIDDEN_ATTACHMENT.reply(name=name, kind=kind)
            # The name may name a patient: it is for the sender's reply, not for `because`.
            return refuse("content.attachment", reply, f"attachment {number} is {kind}")
    return None


def _forbidden(attachment: Attachment, forbidden: frozenset[str]) -> str | None:
    """Which of the forbidden types it is. Windows runs `a.exe. ` too, and readers are shown a
    name without its control characters."""
    media_type = attachment.media_type.lower()
    if media_type in forbidden:
        return media_type
    name = refusals.quotable(attachment.name, len(attachment.name) + 1).rstrip(". ").lower()
    end = "." + name.rpartition(".")[2]
    return end if "." in name and end in forbidden else None


RULES = (
    Rule(
        "content.attachment",
        ("SEED-55",),
        frozenset({Stage.CONTENT}),
        SUBMISSION,
        _attachment,
    ),
    Rule(
        "content.malware",
        ("OP-68",),
        frozenset({Stage.CONTENT}),
        EVERY_DOOR,
        _malware,
    ),
)
