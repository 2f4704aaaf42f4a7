"""The rights table of area E, cell by cell, as far as it concerns mail exchange."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import Address, Bal, BalState, BalType, PersonState, RecipientFacts, Stage
from mssmtp.policy.engine import Engine
from tests.policy.samples import (
    ENGINE,
    INES,
    INS,
    MARC,
    NOREPLY,
    OURS,
    PATIENTS,
    POLICY,
    SECRETARIAT,
    THEIRS,
    ZOE,
    box,
    outcome,
    principal,
    received,
    submitted,
    to,
)

INACTIVE_PER = replace(ZOE, national_id=None)
ROWS: dict[str, list[Bal]] = {
    "pre-registered": [replace(b, person=PersonState.PRE_REGISTERED) for b in (ZOE, MARC, INES)],
    "not certified": [replace(b, person=PersonState.NOT_CERTIFIED) for b in (ZOE, MARC, INES)],
    "certified MED or INT": [MARC, INES],
    "certified PER, MSSanté not active": [INACTIVE_PER],
    "certified PER, ORG, APP": [ZOE, SECRETARIAT, NOREPLY],
    "suspended": [replace(b, state=BalState.SUSPENDED) for b in (ZOE, SECRETARIAT, NOREPLY, MARC)],
    "closed": [replace(b, state=BalState.CLOSED) for b in (ZOE, SECRETARIAT, NOREPLY, MARC)],
}
SENT_TO: dict[str, RecipientFacts] = {
    "reply inside": to(f"colleague@{OURS}", has_written=True),
    "create inside": to(f"colleague@{OURS}"),
    "reply outside": to(f"bob@{THEIRS}", has_written=True),
    "create outside": to(f"bob@{THEIRS}"),
    "patient": to(f"{INS}@{PATIENTS}"),
}
NOBODY = "bal.state 550 5.7.1"
ENTITLED = "habilitation.trust-space 550 5.7.1"
TABLE = {
    "pre-registered": [NOBODY] * 5,
    "not certified": ["accept", ENTITLED, ENTITLED, ENTITLED, ENTITLED],
    "certified MED or INT": ["accept", "accept", ENTITLED, ENTITLED, ENTITLED],
    "certified PER, MSSanté not active": ["accept", "accept", ENTITLED, ENTITLED, ENTITLED],
    "certified PER, ORG, APP": ["accept"] * 5,
    "suspended": [NOBODY] * 5,
    "closed": [NOBODY] * 5,
}


@pytest.mark.requirement("SEED-32", "SEED-37", "DEF-08", "OP-94", "SEED-77", "DEF-21")
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("cell", SENT_TO)
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_each_cell_of_the_rights_table(row: str, cell: str, stage: Stage) -> None:
    expected = TABLE[row][list(SENT_TO).index(cell)]
    for acting in ROWS[row]:
        decision = ENGINE.decide(submitted(stage, acting, SENT_TO[cell]))
        assert outcome(decision) == expected, acting


@pytest.mark.requirement("SEED-32")
@pytest.mark.parametrize("own", [MARC, INES], ids=["MED", "INT"])
def test_a_med_or_int_member_reaches_the_trust_space_from_an_org_box_only(own: Bal) -> None:
    login = principal(own, SECRETARIAT)
    outside = to(f"bob@{THEIRS}")
    as_org = submitted(Stage.RECIPIENT, SECRETARIAT, outside, principal=login)
    as_self = submitted(Stage.RECIPIENT, own, outside, principal=login)
    assert outcome(ENGINE.decide(as_org)) == "accept"
    assert outcome(ENGINE.decide(as_self)) == ENTITLED


@pytest.mark.requirement("SEED-32", "OP-86")
@pytest.mark.attack
def test_att_42_own_med_address_in_from_does_not_borrow_the_rights_of_the_org_envelope() -> None:
    facts = submitted(
        Stage.CONTENT,
        SECRETARIAT,
        to(f"bob@{THEIRS}"),
        principal=principal(MARC, SECRETARIAT),
        from_addresses=(MARC.address,),
    )
    assert outcome(ENGINE.decide(facts)) == ENTITLED
    # Weakened: with the envelope's box alone the same letter would pass.
    assert outcome(ENGINE.decide(replace(facts, from_addresses=(SECRETARIAT.address,)))) == "accept"


def test_a_null_reverse_path_is_judged_by_from() -> None:
    login = principal(MARC, SECRETARIAT)
    outside = to(f"bob@{THEIRS}", has_written=True)

    def mdn(stage: Stage, *named: Bal) -> str:
        facts = submitted(stage, MARC, outside, principal=login, sender=None, acting=None)
        return outcome(
            ENGINE.decide(replace(facts, from_addresses=tuple(b.address for b in named)))
        )

    assert mdn(Stage.RECIPIENT) == "accept"
    assert mdn(Stage.CONTENT, SECRETARIAT) == "accept"
    assert mdn(Stage.CONTENT, MARC) == ENTITLED
    assert mdn(Stage.CONTENT) == "from.bound 553 5.7.1"


def test_a_null_reverse_path_is_refused_early_when_no_box_of_the_login_may() -> None:
    facts = submitted(Stage.RECIPIENT, MARC, to(f"bob@{THEIRS}"), sender=None, acting=None)
    assert outcome(ENGINE.decide(facts)) == ENTITLED


@pytest.mark.requirement("OP-89")
def test_a_patient_only_answers_who_has_written() -> None:
    patient = box(INS, BalType.PER, PATIENTS, national_id=None)
    answer = submitted(Stage.RECIPIENT, patient, to(f"zoe@{OURS}", has_written=True))
    first = submitted(Stage.RECIPIENT, patient, to(f"zoe@{OURS}"))
    assert outcome(ENGINE.decide(answer)) == "accept"
    assert outcome(ENGINE.decide(first)) == ENTITLED


@pytest.mark.requirement("OP-89", "OP-91")
def test_a_patient_of_another_operator_writes_to_professionals_and_to_no_patient() -> None:
    """Who has written first is not asked here: the letter may have named this box by Reply-To."""
    patient = to(f"{INS}@{PATIENTS}", is_local_domain=True, bal=box(INS, BalType.PER, PATIENTS))
    doctor = to(f"zoe@{OURS}", bal=ZOE, has_written=False)
    other = Address.parse(f"199012A99999908@{PATIENTS}")
    for sender, found, expected in (
        (other, doctor, "accept"),
        (other, patient, "habilitation.patients 550 5.7.1"),
        (Address.parse(f"bob@{THEIRS}"), patient, "accept"),
        (None, patient, "accept"),
    ):
        facts = replace(received(Stage.RECIPIENT, found), sender=sender)
        assert outcome(ENGINE.decide(facts)) == expected, sender


INBOUND = {
    "ORG": (box("r", BalType.ORG), "accept"),
    "APP": (box("r", BalType.APP), "accept"),
    "PER": (box("r", BalType.PER), "accept"),
    "MED": (box("r", BalType.MED), "recipient.exchange 550 5.7.1"),
    "INT": (box("r", BalType.INT), "recipient.exchange 550 5.7.1"),
    "PER without number": (
        box("r", BalType.PER, national_id=None),
        "recipient.exchange 550 5.7.1",
    ),
    "PER not certified": (
        box("r", BalType.PER, person=PersonState.NOT_CERTIFIED),
        "recipient.exchange 550 5.7.1",
    ),
    "suspended": (box("r", BalType.ORG, state=BalState.SUSPENDED), "recipient.state 450 4.2.1"),
    "closed": (box("r", BalType.ORG, state=BalState.CLOSED), "recipient.state 550 5.2.1"),
    "unknown": (None, "recipient.local 550 5.1.1"),
}


@pytest.mark.requirement("OP-50")
@pytest.mark.parametrize("type", [BalType.PER, BalType.ORG, BalType.APP])
def test_mail_to_a_suspended_box_is_deferred_or_by_a_setting_refused(type: BalType) -> None:
    asleep = box("r", type, state=BalState.SUSPENDED)
    found = to(f"r@{OURS}", bal=asleep)
    for facts in (received(Stage.RECIPIENT, found), submitted(Stage.RECIPIENT, ZOE, found)):
        assert outcome(ENGINE.decide(facts)) == "recipient.state 450 4.2.1"
        refusing = POLICY.model_copy(update={"suspended_box": "refuse"})
        decided = Engine(refusing, LimitSettings()).decide(facts)
        assert outcome(decided) == "recipient.state 550 5.2.1"


@pytest.mark.requirement("SEED-32", "DEF-08", "OP-50", "OP-17")
@pytest.mark.parametrize("name", INBOUND)
def test_who_receives_from_another_operator(name: str) -> None:
    bal, expected = INBOUND[name]
    decision = ENGINE.decide(received(Stage.RECIPIENT, to(f"r@{OURS}", bal=bal)))
    assert outcome(decision) == expected


def test_a_patient_box_of_our_own_receives_from_other_operators() -> None:
    patient = box(INS, BalType.MED, PATIENTS)
    found = to(f"{INS}@{PATIENTS}", is_local_domain=True, bal=patient)
    assert outcome(ENGINE.decide(received(Stage.RECIPIENT, found))) == "accept"


@pytest.mark.requirement("SEED-32")
def test_a_med_box_receives_from_inside() -> None:
    found = to(f"marc.untel@{OURS}", bal=MARC)
    assert outcome(ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, found))) == "accept"


def test_the_reason_says_what_a_person_not_certified_may_do() -> None:
    acting = replace(ZOE, person=PersonState.NOT_CERTIFIED)
    reply = ENGINE.decide(submitted(Stage.RECIPIENT, acting, to(f"bob@{THEIRS}"))).final.reply
    assert reply is not None
    assert "certifié" in reply.text
