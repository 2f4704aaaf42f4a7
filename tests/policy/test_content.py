"""What may not be in a message, whoever brings it (OP-68)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import Attachment, Door, Facts, Stage, Trait
from mssmtp.policy import Engine
from tests.policy.samples import (
    ENGINE,
    OURS,
    POLICY,
    THEIRS,
    ZOE,
    outcome,
    received,
    submitted,
    to,
)

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


@pytest.mark.parametrize(
    ("name", "media_type", "is_refused"),
    [
        ("compte-rendu.pdf", "application/pdf", False),
        ("IHE_XDM.zip", "application/zip", False),
        ("facture.pdf.exe", "application/pdf", True),
        ("FACTURE.EXE", "application/octet-stream", True),
        ("facture.exe. .", "application/pdf", True),
        ("facture\u202efdp.exe", "application/pdf", True),
        ("facture.ex\u200be", "application/pdf", True),
        ("exe", "application/pdf", False),
        ("", "application/pdf", False),
        ("x.hta\x00.pdf", "application/pdf", False),
    ],
)
def test_what_runs_when_it_is_clicked_is_not_attached(
    name: str, media_type: str, is_refused: bool
) -> None:
    attached = (Attachment("a.pdf", "application/pdf", 10), Attachment(name, media_type, 10))
    facts = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=attached)
    decision = ENGINE.decide(facts)
    assert outcome(decision) == ("content.attachment 550 5.7.1" if is_refused else "accept")
    if is_refused:
        assert name not in decision.final.because, "the name may name a patient"
    brought = received(Stage.CONTENT, to(f"zoe@{OURS}"), attachments=attached)
    assert ENGINE.decide(brought).is_accepted


def test_media_types_can_be_forbidden_and_what_peers_bring_is_theirs() -> None:
    types = {"forbidden_attachments": ("application/x-msdownload",)}
    engine = Engine(POLICY.model_copy(update=types), LimitSettings())
    file = Attachment("a.pdf", "Application/X-MSDownload", 10)
    sent = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=(file,))
    assert outcome(engine.decide(sent)) == "content.attachment 550 5.7.1"
    brought = received(Stage.CONTENT, to(f"zoe@{OURS}"), attachments=(file,))
    assert outcome(engine.decide(brought)) == "accept"
