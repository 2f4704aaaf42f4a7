"""What may not be in a message, whoever brings it (OP-68)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.mail import Attachment, Door, Facts, Stage, Trait
from tests.policy.samples import ENGINE, OURS, THEIRS, ZOE, outcome, received, submitted, to

NAME = "Win.Test.EICAR_HDB-1"
SENT = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"))
TAKEN = received(Stage.CONTENT, to(f"zoe@{OURS}"))


@pytest.mark.requirement("OP-68")
@pytest.mark.parametrize("facts", [SENT, TAKEN, replace(SENT, door=Door.GATEWAY)])
def test_what_the_scanner_found_is_refused_at_every_door_and_named(facts: Facts) -> None:
    decision = ENGINE.decide(replace(facts, malware=NAME))
    assert outcome(decision) == "content.malware 554 5.7.0"
    assert decision.final.reply is not None
    assert NAME in decision.final.reply.text
    assert "content.malware" not in {v.rule for v in ENGINE.decide(facts).verdicts}


@pytest.mark.attack
def test_att_37_the_name_of_a_signature_starts_no_line_of_a_reply() -> None:
    decision = ENGINE.decide(replace(TAKEN, malware="X\r\n250 2.0.0 OK\u202e" + "y" * 900))
    assert decision.final.reply is not None
    assert len(decision.final.reply.text) < 300
    assert "\n" not in decision.final.because


def test_an_archive_with_a_password_is_no_reason_to_refuse() -> None:
    locked = Attachment("bilan.zip", "application/zip", 10, (Trait.ENCRYPTED, Trait.XDM))
    assert outcome(ENGINE.decide(replace(SENT, attachments=(locked,)))) == "accept"
