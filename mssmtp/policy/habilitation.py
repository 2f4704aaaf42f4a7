"""Who may write to whom: the rights table of area E, row by row."""

from __future__ import annotations

from enum import StrEnum

from mssmtp.mail import Bal, BalState, BalType, Facts, PersonState, RecipientFacts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.refusals import Refusal
from mssmtp.policy.rule import SUBMISSION, Rule, refuse
from mssmtp.policy.sender import boxes_acted_in, candidates
from mssmtp.policy.tables import Tables


class Row(StrEnum):
    """A row of the rights table: that of the box acted in, not of the person."""

    NOTHING = "pre-registered, suspended or closed"
    ANSWERS = "confirmed, not certified"
    INSIDE = "inside the operator"
    TRUST_SPACE = "trust space"
    PATIENT = "patient"


def row_of(box: Bal, tables: Tables) -> Row:
    """The row of `box`. A box of a patient domain is that of Mon espace santé (OP-89)."""
    if box.state is not BalState.ACTIVE or box.person is PersonState.PRE_REGISTERED:
        return Row.NOTHING
    if tables.is_patient(box.address):
        return Row.PATIENT
    if box.person is PersonState.NOT_CERTIFIED:
        return Row.ANSWERS
    if box.type in (BalType.ORG, BalType.APP):
        return Row.TRUST_SPACE
    if box.type is BalType.PER and box.national_id is not None:
        return Row.TRUST_SPACE
    return Row.INSIDE


def _lacking(row: Row, recipient: RecipientFacts) -> Refusal | None:
    """What refuses a message from a box of `row` to `recipient`, if anything does."""
    if row is Row.TRUST_SPACE:
        return None
    if row is Row.INSIDE:
        return None if recipient.is_local_domain else refusals.NOT_ENTITLED
    if row is Row.ANSWERS:
        answers = recipient.is_local_domain and recipient.has_written
        return None if answers else refusals.NOT_CERTIFIED
    if row is Row.PATIENT:
        return None if recipient.has_written else refusals.PATIENT_FIRST
    return refusals.NOT_ENTITLED


def _judged(box: Bal, facts: Facts, tables: Tables) -> Verdict | None:
    row = row_of(box, tables)
    for recipient in facts.recipients:
        lacking = _lacking(row, recipient)
        if lacking is not None:
            who = f"{tables.shown(box.address)} ({box.type}, {box.person}, {row})"
            written = "has written to it" if recipient.has_written else "has not written to it"
            where = "served here" if recipient.is_local_domain else "elsewhere"
            return refuse(
                "habilitation.trust-space",
                lacking.reply(),
                f"{who} to {tables.shown(recipient.address)} ({where}, {written})",
            )
    return None


def _entitled(facts: Facts, tables: Tables) -> Verdict | None:
    if waiting := candidates(facts):
        # A null reverse-path before From is known: refused only when no box of the login may.
        verdicts = [_judged(box, facts, tables) for box in waiting]
        return None if None in verdicts else verdicts[0]
    boxes = boxes_acted_in(facts)
    verdicts = [_judged(box, facts, tables) for box in boxes]
    return next((verdict for verdict in verdicts if verdict is not None), None)


RULES = (
    Rule(
        "habilitation.trust-space",
        ("SEED-32", "SEED-37", "DEF-08", "OP-89", "OP-94"),
        frozenset({Stage.RECIPIENT, Stage.CONTENT}),
        SUBMISSION,
        _entitled,
        must=True,
    ),
)
