"""Who may write to whom, by the table of area E (`grants.py`)."""

from __future__ import annotations

from mssmtp.mail import Bal, BalState, BalType, Facts, PersonState, RecipientFacts, Stage, Verdict
from mssmtp.policy import grants, refusals
from mssmtp.policy.grants import Cell, Who
from mssmtp.policy.refusals import Refusal
from mssmtp.policy.rule import OPERATOR, SUBMISSION, Rule, accept, refuse
from mssmtp.policy.sender import boxes_acted_in, candidates
from mssmtp.policy.tables import Tables

_PLACES = {each: each.value for each in BalType}
"""An enumeration takes its time to say its value, and a letter has a hundred recipients."""


def who_acts(box: Bal, tables: Tables) -> Who:
    """What counts of `box`: that of the box acted in, never of the person behind it (SEED-20). A
    number counts once the MSSanté access of its box is activated (SEED-27)."""
    kind = grants.PATIENT if tables.is_patient(box.address) else box.type.value
    return Who(kind, box.person, box.exchanges and box.national_id is not None)


def _place(recipient: RecipientFacts, tables: Tables) -> str:
    if recipient.address.domain in tables.patient_domains:
        return grants.PATIENTS
    if recipient.is_invited:
        return BalType.INT.value  # the box that whoever confirms the address will have
    if not recipient.is_local_domain:
        return grants.OPERATORS
    return grants.UNKNOWN if recipient.bal is None else _PLACES[recipient.bal.type]


def _lacking(who: Who) -> Refusal:
    """Which remedy helps `who`."""
    if who.kind == grants.PATIENT:
        return refusals.PATIENT_FIRST
    if who.person is PersonState.NOT_CERTIFIED:
        return refusals.NOT_CERTIFIED
    return refusals.NOT_ENTITLED


def _judged(box: Bal, facts: Facts, tables: Tables) -> Verdict:
    """Of one box to all recipients."""
    who = who_acts(box, tables)
    line = ""
    lines: dict[tuple[str, bool], str | None] = {}
    granted, is_active = tables.habilitation.grants, box.state is BalState.ACTIVE
    for recipient in facts.recipients:
        place = _place(recipient, tables)
        asked = place, recipient.has_written
        if asked not in lines:
            lines[asked] = granted.get(Cell(who, *asked)) if is_active else None
        found = lines[asked]
        if found is None:
            written = "has written to it" if recipient.has_written else "has not written to it"
            return refuse(
                _NAME,
                _lacking(who).reply(),
                f"no line grants it: {tables.shown(box.address)} ({who}, {box.state}) to "
                f"{tables.shown(recipient.address)} ({place}, {written})",
            )
        line = found
    return accept(_NAME, f"line {line}: {who}" if line else "no recipient yet")


def _entitled(facts: Facts, tables: Tables) -> Verdict | None:
    if waiting := candidates(facts):
        # A null reverse-path before From is known: refused only when no box of the login may.
        verdicts = [_judged(box, facts, tables) for box in waiting]
        return next((each for each in verdicts if each.reply is None), verdicts[0])
    verdicts = [_judged(box, facts, tables) for box in boxes_acted_in(facts)]
    refused = next((each for each in verdicts if each.reply is not None), None)
    return refused or (verdicts[0] if verdicts else None)


def _exchange(facts: Facts, tables: Tables) -> Verdict | None:
    """Who has no MSSanté exchange does not receive from other operators either (area E table)."""
    for recipient in facts.recipients:
        if recipient.bal is None:
            continue
        who = who_acts(recipient.bal, tables)
        if who not in tables.habilitation.receives:
            because = f"no line lets {tables.shown(recipient.address)} ({who}) receive"
            return refuse("recipient.exchange", refusals.RECIPIENT_INTERNAL.reply(), because)
    return None


def _patients(facts: Facts, tables: Tables) -> Verdict | None:
    """OP-89, of letters from elsewhere: patients do not write to each other. Whether a professional
    has written first is for the patients' operator to know: the letter that lets a patient write
    here may have left elsewhere, with Reply-To (OP-91), and a pharmacy is written to first."""
    if facts.sender is None or not tables.is_patient(facts.sender):
        return None
    for recipient in facts.recipients:
        if tables.is_patient(recipient.address):
            because = (
                f"{tables.shown(facts.sender)} and {tables.shown(recipient.address)} are patients"
            )
            return refuse("habilitation.patients", refusals.PATIENTS_APART.reply(), because)
    return None


_NAME = "habilitation.trust-space"
RULES = (
    Rule(
        _NAME,
        ("SEED-32", "SEED-37", "DEF-08", "OP-89", "OP-94"),
        frozenset({Stage.RECIPIENT, Stage.CONTENT}),
        SUBMISSION,
        _entitled,
        must=True,
    ),
    Rule(
        "habilitation.patients",
        ("OP-89",),
        frozenset({Stage.RECIPIENT}),
        OPERATOR,
        _patients,
        must=True,
    ),
    Rule(
        "recipient.exchange",
        ("SEED-32", "DEF-08"),
        frozenset({Stage.RECIPIENT}),
        OPERATOR,
        _exchange,
        must=True,
    ),
)
