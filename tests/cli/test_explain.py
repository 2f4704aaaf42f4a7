"""`mssmtp explain`: the decision about an address, a message, and one that passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.mail import Address, Door, Envelope, Facts, Recipient, RecipientFacts, Stage
from mssmtp.policy import facts_to_bytes
from mssmtp.storage import Transfer
from tests.home import CLOCK, PATIENT_DOMAIN, SECRETARIAT, UNCERTIFIED, ZOE, Home

LUC = "luc.dupont@cabinet-b.test"
INS = "199019999999979"


def letter(author: str, *, octets: int = 0) -> bytes:
    head = f"From: <{author}>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n"
    if not octets:
        return head.encode() + b"\r\ntexte\r\n"
    head += 'Content-Type: application/pdf; name="scan.pdf"\r\n'
    head += 'Content-Disposition: attachment; filename="scan.pdf"\r\n'
    return head.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"x" * octets + b"\r\n"


def test_an_accepted_address_shows_every_rule_that_was_asked(home: Home) -> None:
    answer = home.mssmtp("explain", LUC, "--from", str(SECRETARIAT))
    assert answer.code == 0
    assert answer.out.startswith("accept at recipient (submission door), decided by recipient")
    assert "cabinet-b.test is listed" in answer.out


@pytest.mark.requirement("SEED-32")
def test_a_refusal_is_code_1_and_names_rule_reply_and_facts(home: Home) -> None:
    machine = home.mssmtp("explain", LUC, "--from", str(UNCERTIFIED), "--json")
    assert machine.code == 1
    assert machine.json["decided_by"]["rule"] == "habilitation.trust-space"
    assert machine.json["reply"].startswith("550 5.7.1 ")
    people = home.mssmtp("explain", LUC, "--from", str(UNCERTIFIED))
    assert people.code == 1
    assert "decided by habilitation.trust-space" in people.out


def test_another_operators_sender_is_asked_as_at_the_operator_door(home: Home) -> None:
    answer = home.mssmtp("explain", str(ZOE), "--from", LUC)
    assert answer.code == 0
    assert "(operator door)" in answer.out
    answer = home.mssmtp("explain", "autre@cabinet-b.test", "--from", LUC)
    assert (answer.code, "relay.none" in answer.out) == (1, True)


@pytest.mark.requirement("SEED-55")
def test_a_message_is_asked_about_its_author_and_its_attachments(
    home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "letter.eml"
    question = ("explain", LUC, "--from", str(ZOE), "--message", str(file))
    file.write_bytes(letter(str(ZOE)))
    assert home.mssmtp(*question).out.startswith("accept at content")
    file.write_bytes(letter("quelqu.un@hopital-a.test"))
    assert "decided by from.bound" in home.mssmtp(*question).out
    file.write_bytes(letter(str(ZOE), octets=10 * 1_048_576 + 1))
    refused = home.mssmtp(*question)
    assert refused.code == 1
    assert "decided by size.attachment" in refused.out


def test_a_message_that_passed_is_explained_by_its_queue_id(home: Home) -> None:
    to = Address.parse(LUC)
    listed = RecipientFacts(to, is_local_domain=False, is_listed=False)
    facts = Facts(Stage.RECIPIENT, Door.SUBMISSION, CLOCK.now(), ZOE, recipients=(listed,))
    with home.store() as store:
        envelope = Envelope(store.new_envelope_id(), ZOE, (Recipient(to),), CLOCK.now())
        transfer = Transfer("in", Door.SUBMISSION, "192.0.2.7", "reject", "550 5.7.1")
        kept = facts_to_bytes(facts)
        domain = ZOE.domain
        store.write(lambda w: w.reject(envelope, transfer, kept, owner=domain)).result()
    answer = home.mssmtp("explain", envelope.id)
    assert answer.code == 1
    assert "decided by recipient.listed" in answer.out


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((LUC,), 2, "--from: is needed with an address"),
        ((LUC, "--from", "nobody@hopital-a.test"), 2, "is no login here"),
        ((LUC, "--from", "zoe@inconnu.test"), 2, "its domain is not in the whitelist"),
        (("zoé@cabinet-b.test", "--from", str(ZOE)), 2, "Adresse non ASCII"),
        (("01ABC",), 1, "no decision is kept under this id"),
        ((LUC, "--from", str(ZOE), "--message", "/nowhere"), 2, "/nowhere: cannot be read"),
    ],
)
def test_a_wrong_question_says_how_to_ask(
    home: Home, arguments: tuple[str, ...], code: int, why: str
) -> None:
    answer = home.mssmtp("explain", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert why in answer.err
    assert len(answer.err.strip().splitlines()) == 2


@pytest.mark.requirement("OP-87")
def test_a_patient_is_masked_in_the_tree_and_in_errors(home: Home) -> None:
    patient = f"{INS}@{PATIENT_DOMAIN}"
    for command in (
        ("explain", patient, "--from", str(ZOE)),
        ("explain", patient, "--from", str(ZOE), "--json"),
        ("explain", patient, "--from", str(UNCERTIFIED)),
        ("explain", str(ZOE), "--from", patient),
    ):
        answer = home.mssmtp(*command)
        assert INS not in answer.out + answer.err, command
        assert "199**********79@" in answer.out, command
