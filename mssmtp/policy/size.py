"""How large a message may be, at each door (messages.md §2)."""

from __future__ import annotations

from mssmtp.mail import Action, Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import EVERY_DOOR, OPERATOR, SUBMISSION, Rule, refuse
from mssmtp.policy.tables import Tables

_CONTENT = frozenset({Stage.CONTENT})


def _message(facts: Facts, tables: Tables) -> Verdict | None:
    limit = tables.limits.message_octets
    if facts.size_octets <= limit:
        return None
    reply = refusals.MESSAGE_TOO_BIG.reply(limit=refusals.octets(limit))
    return refuse("size.message", reply, f"{facts.size_octets} octets, limit {limit}")


def _limited(facts: Facts, tables: Tables) -> bool:
    """Inbound trust-space mail is held to SIZE only, unless configured otherwise (OP-66)."""
    return facts.door in SUBMISSION or tables.limits.inbound == "same"


def _attachment(facts: Facts, tables: Tables) -> Verdict | None:
    limit = tables.limits.attachment_octets
    if not _limited(facts, tables):
        return None
    for number, attachment in enumerate(facts.attachments, 1):
        if attachment.size_octets > limit:
            reply = refusals.ATTACHMENT_TOO_BIG.reply(
                name=refusals.quotable(attachment.name), limit=refusals.octets(limit)
            )
            # The name may name a patient: it is for the sender's reply, not for `because`.
            because = f"attachment {number} has {attachment.size_octets} octets, limit {limit}"
            return refuse("size.attachment", reply, because)
    return None


def _total(facts: Facts, tables: Tables) -> Verdict | None:
    limit = tables.limits.attachments_octets
    total = sum(attachment.size_octets for attachment in facts.attachments)
    if not _limited(facts, tables) or total <= limit:
        return None
    reply = refusals.TOTAL_TOO_BIG.reply(limit=refusals.octets(limit))
    because = f"{len(facts.attachments)} attachments have {total} octets, limit {limit}"
    return refuse("size.total", reply, because)


def _patient(facts: Facts, tables: Tables) -> Verdict | None:
    limit = tables.limits.patient_octets
    if facts.size_octets <= limit:
        return None
    patients = tuple(r.address for r in facts.recipients if tables.is_patient(r.address))
    if not patients:
        return None
    reply = refusals.PATIENT_TOO_BIG.reply(limit=refusals.octets(limit))
    because = (
        f"{facts.size_octets} octets, limit {limit} for {len(patients)} of "
        f"{len(facts.recipients)} recipients"
    )
    if len(patients) == len(facts.recipients):
        return refuse("size.patient", reply, because)
    return Verdict(Action.BOUNCE, "size.patient", reply, because, bounced=patients)


RULES = (
    Rule(
        "size.message",
        ("OP-66", "CL-38"),
        frozenset({Stage.SENDER, Stage.CONTENT}),
        EVERY_DOOR,
        _message,
    ),
    Rule("size.attachment", ("SEED-55",), _CONTENT, SUBMISSION | OPERATOR, _attachment, must=True),
    Rule("size.total", ("SEED-56",), _CONTENT, SUBMISSION | OPERATOR, _total, must=True),
    Rule("size.patient", ("DEF-18",), _CONTENT, SUBMISSION, _patient),
)
