"""Who may write to whom, over the wire: refusals a person can read, and reports that come back."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from mssmtp.mail import EnvelopeId
from tests.end_to_end.mail import (
    Said,
    arrival,
    letter,
    mailbox,
    message_id,
    say,
    submission,
    submit,
)
from tests.space import Account, Operator, RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

FRENCH = re.compile(r"55\d 5\.\d\.\d [A-Z][^.]+ ; [^.]+(\.[a-z]+[^.]*)?\.\Z")
"""Codes, a sentence that says what is wrong, and behind the semicolon what to do."""


def attempt(space: RunningSpace, sender: Account, to: object) -> Said:
    return submit(space, space.a, sender, [to], letter(sender, [to]).octets)


# ---------------------------------------------------------------- the closed space


@pytest.mark.requirement("OP-13")
def test_a_recipient_outside_the_space_is_refused_in_a_french_sentence(
    space: RunningSpace,
) -> None:
    said = attempt(space, space.a.doctor(0), "quelqu.un@hors-liste.example")
    assert said.data == ""
    assert said.last.startswith("550 5.7.1 Le domaine hors-liste.example n'est pas dans l'espace")
    assert said.last.endswith("verifiez l'adresse dans l'annuaire.")


@pytest.mark.requirement("OP-13")
def test_a_usual_address_reaches_the_box_here_and_leaves_for_nobody(space: RunningSpace) -> None:
    box = f"renee.habituelle.{os.urandom(3).hex()}@hopital-a.test"
    usual = f"{os.urandom(3).hex()}@fournisseur.example"
    made = space.a.command(
        "bal", "add", box, "--type", "PER", "--rpps", "99900000110",
        "--usual-address", usual, "--json",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    renee = Account(box, json.loads(made.stdout)["password"], "PER", "certified")
    sender = space.a.doctor(0)
    sent = letter(sender, [usual])
    said = submit(space, space.a, sender, [usual], sent.octets)
    assert said.data.startswith("250 2.0.0"), said
    arrival(space, space.a, renee, sent.message_id).below_trace(sent.octets)
    with space.a.store() as store:
        hops = store.read(lambda r: r.transfers(EnvelopeId(said.envelope))).result()
    assert [hop.transfer.direction for hop in hops] == ["in"]


@pytest.mark.requirement("OP-86")
def test_mail_from_and_from_must_be_a_box_of_the_login(space: RunningSpace) -> None:
    zoe, ali, to = space.a.doctor(0), space.a.doctor(1), space.b.doctor(0)
    with submission(space, space.a, zoe) as client:
        said = say(client, ali, [to], letter(ali, [to]).octets)
        assert said.mail.startswith("553 5.7.1 L'adresse d'expedition n'est pas une boite"), said
        said = say(client, zoe, [to], letter(ali, [to]).octets)
        assert said.data.startswith("553 5.7.1 L'en-tete From"), said
        assert say(client, zoe, [to], letter(zoe, [to]).octets).data.startswith("250 2.0.0")


# ---------------------------------------------------------------- kinds of boxes


@pytest.mark.requirement("SEED-32")
@pytest.mark.parametrize("kind", ["MED", "INT"])
def test_a_box_without_rpps_stays_inside_the_operator(space: RunningSpace, kind: str) -> None:
    sender, here = space.a.of_type(kind), space.a.of_type("INT" if kind == "MED" else "MED")
    said = attempt(space, sender, space.b.doctor(0))
    assert said.last.startswith("550 5.7.1 Votre boite n'ecrit qu'aux boites de cet operateur")
    assert FRENCH.match(said.last)
    sent = letter(sender, [here])
    assert submit(space, space.a, sender, [here], sent.octets).data.startswith("250 2.0.0")
    arrival(space, space.a, here, sent.message_id).below_trace(sent.octets)


@pytest.mark.requirement("SEED-32")
def test_a_med_account_writes_out_from_an_org_box_it_is_a_member_of(space: RunningSpace) -> None:
    member = space.a.of_type("MED")
    box = f"accueil.{os.urandom(3).hex()}@hopital-a.test"
    made = space.a.command("bal", "add", box, "--type", "ORG", "--member", member.address)
    assert made.code == 0, made.stderr
    to = space.b.doctor(0)
    sent = letter(box, [to])
    with submission(space, space.a, member) as client:
        assert say(client, box, [to], sent.octets).data.startswith("250 2.0.0")
        other = space.a.of_type("ORG")
        assert say(client, other, [to], letter(other, [to]).octets).mail.startswith("553 5.7.1")
    arrival(space, space.b, to, sent.message_id).below_trace(sent.octets)


@pytest.mark.requirement("SEED-32")
def test_who_is_not_certified_only_answers_inside_the_operator(space: RunningSpace) -> None:
    newcomer = space.a.of_type("PER", "not-certified")
    zoe, ali = space.a.doctor(0), space.a.doctor(1)
    for to in (space.b.doctor(0), ali):
        refused = attempt(space, newcomer, to).last
        assert refused.startswith("550 5.7.1 Votre compte n'est pas encore certifie"), refused
    assert attempt(space, zoe, newcomer).data.startswith("250 2.0.0")
    assert attempt(space, newcomer, zoe).data.startswith("250 2.0.0")
    assert attempt(space, newcomer, ali).last.startswith("550 5.7.1")


@pytest.mark.requirement("OP-38")
def test_a_per_box_needs_a_valid_number_and_med_is_proposed(space: RunningSpace) -> None:
    for arguments in ([], ["--rpps", "99900000111"], ["--adeli", "12345"]):
        made = space.a.command("bal", "add", "x.y@hopital-a.test", "--type", "PER", *arguments)
        assert made.code != 0, made.stdout
        assert "MED" in made.stderr, made.stderr


# ---------------------------------------------------------------- the copy in Sent


@pytest.mark.requirement("CL-80")
@pytest.mark.parametrize("first", ["submission", "client"])
def test_a_client_that_files_its_own_copy_leaves_one_in_sent(
    space: RunningSpace, first: str
) -> None:
    """F8, with the worker that takes the letter and the one that serves IMAP side by side."""
    sender, to = space.a.doctor(1), space.b.doctor(1)
    sent = letter(sender, [to])
    with mailbox(space, space.a, sender, "Sent") as client:

        def file() -> int:
            said = client.append("Sent", sent.octets, [b"\\Seen"]).decode()
            return int(said.partition("APPENDUID ")[2].partition("]")[0].split()[1])

        uid = file() if first == "client" else 0
        assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250 2.0.0")
        uid = uid or file()
        client.noop()
        assert client.search(["HEADER", "Message-ID", sent.message_id]) == [uid]
        octets = client.fetch([uid], ["BODY.PEEK[]", "FLAGS"])[uid]
        assert octets[b"BODY[]"].endswith(sent.octets)
        assert b"\\Seen" in octets[b"FLAGS"]
    arrival(space, space.b, to, sent.message_id).below_trace(sent.octets)


# ---------------------------------------------------------------- Apicrypt


@pytest.mark.requirement("SEED-57", "APX-03")
def test_a_native_apicrypt_address_is_rewritten_and_the_reply_names_it(
    space: RunningSpace,
) -> None:
    sender, to = space.a.doctor(0), space.apicrypt.doctor(1)
    typed = to.address.replace("interop-mssante", "medical69")
    written = typed.replace("ali.martin-essai", "Ali.MARTIN-Essai")
    sent = letter(sender, [written])
    said = submit(space, space.a, sender, [written], sent.octets)
    rewritten = "Ali.MARTIN-Essai@interop-mssante.apicrypt.test"
    assert said.recipients[0].endswith(f"adresse utilisee : {rewritten}"), said
    arrival(space, space.apicrypt, to, sent.message_id).below_trace(sent.octets)
    with space.a.store() as store:
        envelope = EnvelopeId(said.envelope)
        hops, events = store.read(lambda r: (r.transfers(envelope), r.events(envelope))).result()
    assert {recipient for hop in hops for recipient in hop.recipients} == {rewritten}
    named = {value for event in events for _, kind, value in event.opened if kind == "recipient"}
    assert named == {rewritten, written}


HPRIM_LINES = (
    *("0004021", "PATIENTEST", "Dominique", "12 rue de l'\xc9glise", "", "13000 VALMONT"),
    *("01/02/1950", "199019999999979", "A-17", "05/01/2026", "LABO", "LABO MARELLE"),
    *("DR", "DR TARTEMPION", "", "R\xe9sultats :  H\xe9moglobine\t12,4 g/dl", ".", "..", ""),
    *("****LAB****", "RES|H\xe9moglobine|HB|N|12.4||g/dl|12|16||N|F|", "****FIN****"),
    "****FINFICHIER****",
)
HPRIM = "\r\n".join((*HPRIM_LINES, "", "")).encode("latin-1")
"""Twelve lines of header, text in Latin-1, results, as software of laboratories writes it."""


@pytest.mark.requirement("APX-05")
@pytest.mark.parametrize(
    "field",
    [
        "",
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n"
        "Content-Transfer-Encoding: 8bit\r\n",
        "Content-Type: application/hprim; name=LABO.HPR\r\nContent-Transfer-Encoding: 8bit\r\n",
    ],
    ids=["without MIME", "text", "application"],
)
def test_an_hprim_letter_passes_octet_for_octet_in_both_directions(
    space: RunningSpace, field: str
) -> None:
    ours, theirs = space.a.doctor(2), space.apicrypt.doctor(0)
    native = theirs.address.replace("interop-mssante", "medical34")
    for operator, sender, to, there, reader in (
        (space.apicrypt, theirs, ours.address, space.a, ours),
        (space.a, ours, native, space.apicrypt, theirs),
    ):
        identifier = message_id()
        sent = (
            f"From: {sender}\r\nTo: {to}\r\nSubject: Resultats\r\nMessage-ID: {identifier}\r\n"
            f"Date: Mon, 05 Jan 2026 09:15:00 +0100\r\n{field}\r\n"
        ).encode() + HPRIM
        assert submit(space, operator, sender, [to], sent).data.startswith("250 2.0.0")
        received = arrival(space, there, reader, identifier)
        received.below_trace(sent)
        with mailbox(space, there, reader) as client:
            parts = client.fetch([received.uid], ["BODY.PEEK[1]", "BODY.PEEK[TEXT]"])
        assert parts[received.uid][b"BODY[1]"] == HPRIM
        assert parts[received.uid][b"BODY[TEXT]"] == HPRIM


# ---------------------------------------------------------------- reports


def report_about(space: RunningSpace, text: str) -> bytes:
    """The report in Dr A's INBOX whose original has that Message-ID."""
    sender = space.a.doctor(2)
    with mailbox(space, space.a, sender) as client:
        client.idle()
        found: list[int] = []
        for _ in range(30):
            client.idle_done()
            if found := client.search(["SUBJECT", "Undelivered", "TEXT", text]):
                break
            client.idle()
            client.idle_check(timeout=1)
        assert len(found) == 1, f"{len(found)} reports"
        octets: bytes = client.fetch(found, ["BODY.PEEK[]"])[found[0]][b"BODY[]"]
        return octets


@pytest.mark.requirement("OP-19", "SEED-68")
def test_an_unknown_recipient_at_b_comes_back_to_the_senders_inbox(space: RunningSpace) -> None:
    sender, known = space.a.doctor(2), space.b.doctor(2)
    to = ["personne.inconnue@cabinet-b.test", known.address]
    sent = letter(sender, to)
    envelope = submit(space, space.a, sender, to, sent.octets).envelope
    octets = report_about(space, sent.message_id)
    assert octets.startswith(
        b"Return-Path: <>\r\n"
        b"From: MAILER-DAEMON@hopital-a.test (Mail Delivery System)\r\n"
        b"To: " + sender.address.encode() + b"\r\n"
    )
    assert b"\r\nSubject: Undelivered Mail Returned to Sender\r\n" in octets
    report = email.message_from_bytes(octets, EmailMessage, policy=email.policy.default)
    assert report["Auto-Submitted"] == "auto-replied"
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    words, status, original = report.iter_parts()
    text = words.get_content()
    assert "Votre message n'a pas pu être remis à personne.inconnue@cabinet-b.test" in text
    assert known.address not in text
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    message, recipient = (block for block in blocks if isinstance(block, EmailMessage))
    assert message["Original-Envelope-Id"] == envelope
    assert recipient["Final-Recipient"] == "rfc822; personne.inconnue@cabinet-b.test"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert recipient["Diagnostic-Code"].startswith("smtp; 550 5.1.1 Boite inconnue")
    assert original.get_content_type() == "text/rfc822-headers"
    arrival(space, space.b, known, sent.message_id).below_trace(sent.octets)


@pytest.mark.requirement("OP-19")
def test_an_unknown_recipient_here_is_refused_at_once(space: RunningSpace) -> None:
    said = attempt(space, space.a.doctor(0), "personne.inconnue@hopital-a.test")
    assert said.last.startswith("550 5.1.1 Boite inconnue ; verifiez"), said


# ---------------------------------------------------------------- masking


@pytest.fixture
def queue_id(space: RunningSpace) -> str:
    """A letter to a patient, delivered."""
    sender, patient = space.a.doctor(0), space.patients.accounts[0]
    sent = letter(sender, [patient])
    envelope = submit(space, space.a, sender, [patient], sent.octets).envelope
    arrival(space, space.patients, patient, sent.message_id).below_trace(sent.octets)
    return envelope


@pytest.mark.requirement("OP-87")
def test_a_patients_address_is_masked_in_every_log_metric_and_command(
    space: RunningSpace, queue_id: str
) -> None:
    sender, patient = space.a.doctor(0), space.patients.accounts[0].address
    local = patient.partition("@")[0]
    masked = f"{local[:3]}**********{local[-2:]}@patient.test"
    wrong = f"{local[:-1]}{(int(local[-1]) + 1) % 10}@patient.test"
    assert attempt(space, sender, wrong).last.startswith("550 5.1.3 ")
    shown = {
        "explain id": space.a.command("explain", queue_id).stdout,
        "explain": space.a.command("explain", patient, "--from", sender.address).stdout,
        "queue show": space.a.command("queue", "show", queue_id).stdout,
        "bal list": space.patients.command("bal", "list").stdout,
        "bal show": space.patients.command("bal", "show", patient, "--json").stdout,
        "doctor": space.patients.command("doctor").stdout,
    }
    for command in ("explain id", "explain", "bal list", "bal show"):
        assert masked in shown[command], command
    shown |= dict(logs_and_metrics(space))
    for where, text in shown.items():
        assert local not in text, where
        assert wrong.partition("@")[0] not in text, where


def logs_and_metrics(space: RunningSpace) -> Iterator[tuple[str, str]]:
    for operator in (space.a, space.b, space.patients):
        yield f"log of {operator.domain}", operator.log.read_text()
        yield f"metrics of {operator.domain}", metrics(operator)


def metrics(operator: Operator) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics}/metrics") as page:  # noqa: S310
        text = page.read().decode()
    assert "mssmtp_" in text
    return str(text)


def test_no_label_of_a_metric_holds_an_address(space: RunningSpace) -> None:
    for operator in (space.a, space.b, space.patients):
        for label in re.findall(r'="([^"]*)"', metrics(operator)):
            assert "@" not in label
            assert ".test" not in label


def test_logs_are_json_lines_without_words_of_letters_or_passwords(space: RunningSpace) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    sent = letter(sender, [to])
    assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250")
    arrival(space, space.b, to, sent.message_id)
    for operator in (space.a, space.b):
        text = operator.log.read_text()
        for line in text.splitlines():
            assert {"at", "level", "room", "event"} <= set(json.loads(line)), line
        for secret in ("canari", sender.password, to.password, sent.message_id.strip("<>")):
            assert secret not in text
