"""Each limit at its value and at one octet more (messages.md §2)."""

from __future__ import annotations

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import Action, Attachment, Stage
from mssmtp.policy import Engine
from tests.policy.samples import (
    ENGINE,
    INS,
    OURS,
    PATIENTS,
    POLICY,
    THEIRS,
    ZOE,
    at,
    outcome,
    received,
    submitted,
    to,
)

MEBI = 1_048_576
SAME = Engine(POLICY, LimitSettings(inbound="same"))


def files(*sizes: int, name: str = "bilan.pdf") -> tuple[Attachment, ...]:
    return tuple(Attachment(name, "application/pdf", size) for size in sizes)


def sent(engine: Engine, *sizes: int) -> str:
    facts = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=files(*sizes))
    return outcome(engine.decide(facts))


def taken(engine: Engine, *sizes: int) -> str:
    facts = received(Stage.CONTENT, to(f"zoe@{OURS}"), attachments=files(*sizes))
    return outcome(engine.decide(facts))


@pytest.mark.requirement("SEED-55")
def test_one_attachment_passes_at_ten_mebi_and_is_refused_at_one_octet_more() -> None:
    assert sent(ENGINE, 10 * MEBI) == "accept"
    assert sent(ENGINE, 10 * MEBI + 1) == "size.attachment 552 5.3.4"


@pytest.mark.requirement("SEED-56")
def test_all_attachments_pass_at_forty_mebi_and_are_refused_at_one_octet_more() -> None:
    forty = [10 * MEBI] * 4
    assert sent(ENGINE, *forty) == "accept"
    assert sent(ENGINE, *forty, 1) == "size.total 552 5.3.4"
    assert sent(ENGINE, *[9 * MEBI] * 5) == "size.total 552 5.3.4"


@pytest.mark.requirement("SEED-56")
def test_the_total_refusal_says_to_split() -> None:
    facts = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=files(*[9 * MEBI] * 5))
    reply = ENGINE.decide(facts).final.reply
    assert reply is not None
    assert "plusieurs envois" in reply.text
    assert "40 Mo" in reply.text


@pytest.mark.requirement("OP-66")
def test_inbound_is_held_to_size_only_unless_configured_the_same() -> None:
    assert taken(ENGINE, 12 * MEBI, 40 * MEBI) == "accept"
    assert taken(SAME, 10 * MEBI) == "accept"
    assert taken(SAME, 10 * MEBI + 1) == "size.attachment 552 5.3.4"
    assert taken(SAME, *[9 * MEBI] * 5) == "size.total 552 5.3.4"


@pytest.mark.requirement("OP-66")
@pytest.mark.parametrize("stage", [Stage.SENDER, Stage.CONTENT])
def test_the_whole_message_at_every_door(stage: Stage) -> None:
    for size, expected in ((62_914_560, "accept"), (62_914_561, "size.message 552 5.3.4")):
        inbound = received(stage, to(f"zoe@{OURS}"), size_octets=size)
        outbound = submitted(stage, ZOE, to(f"bob@{THEIRS}"), size_octets=size)
        assert outcome(ENGINE.decide(inbound)) == expected
        assert outcome(ENGINE.decide(outbound)) == expected


@pytest.mark.requirement("DEF-18")
def test_patients_only_are_refused_above_their_limit() -> None:
    patient = to(f"{INS}@{PATIENTS}")
    for size, expected in ((26_214_400, "accept"), (26_214_401, "size.patient 552 5.3.4")):
        facts = submitted(Stage.CONTENT, ZOE, patient, size_octets=size)
        assert outcome(ENGINE.decide(facts)) == expected


@pytest.mark.requirement("DEF-18")
def test_a_mixed_message_goes_on_and_names_the_patients_that_come_back() -> None:
    facts = submitted(
        Stage.CONTENT,
        ZOE,
        to(f"{INS}@{PATIENTS}"),
        to(f"bob@{THEIRS}"),
        to(f"199012A99999908@{PATIENTS}"),
        size_octets=26_214_401,
    )
    decision = ENGINE.decide(facts)
    assert decision.final.action is Action.BOUNCE
    assert decision.is_accepted
    assert decision.final.bounced == (
        at(f"{INS}@{PATIENTS}"),
        at(f"199012A99999908@{PATIENTS}"),
    )
    assert outcome(decision) == "size.patient 552 5.3.4"


@pytest.mark.requirement("DEF-18")
def test_a_bounce_does_not_open_what_nothing_accepts() -> None:
    facts = submitted(
        Stage.CONTENT,
        ZOE,
        to(f"{INS}@{PATIENTS}"),
        to(f"bob@{THEIRS}"),
        size_octets=26_214_401,
        from_addresses=(at(f"autre@{OURS}"),),
    )
    assert outcome(ENGINE.decide(facts)) == "from.bound 553 5.7.1"


def test_an_unusual_limit_is_shown_in_octets() -> None:
    engine = Engine(POLICY, LimitSettings(attachment_octets=1000))
    facts = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=files(1001))
    reply = engine.decide(facts).final.reply
    assert reply is not None
    assert "1000 octets" in reply.text
