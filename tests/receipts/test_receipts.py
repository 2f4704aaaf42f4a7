"""What a report says, however it is written (RFC 3464, RFC 8098, messages.md §4, §5, §9)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import dsn, receipts
from mssmtp.demo.incidents import _NOTICES, _notice, _read
from mssmtp.mail import Address
from mssmtp.receipts import Cause, Fate, Report, Told
from tests.dsn.test_dsn import LUC, NOW, ORIGINAL, report

PATIENTS = frozenset({"patient.test"})
ZOE = Address.parse("zoe.tartempion@hopital-a.test")
PATIENT = Address.parse("199019999999979@patient.test")


def read(octets: bytes) -> Report | None:
    return receipts.read(octets, PATIENTS)


def told(octets: bytes) -> Told:
    found = read(octets)
    assert found is not None
    (one,) = found.told
    return one


# ---------------------------------------------------------------- DSN


@pytest.mark.requirement("CL-61", "SEED-68")
@pytest.mark.parametrize(
    ("octets", "fate", "cause"),
    [
        (dsn.failure(report()), Fate.FAILED, Cause.ADDRESS),
        (dsn.delayed(report(), retry_until=NOW + timedelta(1)), Fate.DELAYED, Cause.NONE),
        (dsn.relayed(report()), Fate.RELAYED, Cause.NONE),
        (dsn.delivered(report()), Fate.DELIVERED, Cause.NONE),
        (
            dsn.delivered(report()).replace(b"Action: delivered", b"Action: Expanded "),
            Fate.EXPANDED,
            Cause.NONE,
        ),
    ],
)
def test_every_action_of_rfc_3464_is_read(octets: bytes, fate: Fate, cause: Cause) -> None:
    found = read(octets)
    assert found is not None
    assert (found.kind, found.envid) == ("dsn", "01JGX5Q2M0000000000000TEST")
    assert found.message_ids == ("<1@hopital-a.test>",)
    (one,) = found.told
    assert (one.fate, one.cause, one.final) == (fate, cause, LUC.address)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("5.1.1", Cause.ADDRESS),
        ("5.1.10", Cause.ADDRESS),
        ("5.2.1", Cause.CLOSED),
        ("5.2.2", Cause.FULL),
        ("5.3.4", Cause.TOO_LARGE),
        ("5.7.1", Cause.UNTRUSTED),
        ("5.7.0", Cause.CONTENT),
        ("5.6.0", Cause.CONTENT),
        ("5.4.7", Cause.UNREACHED),
        ("4.4.1", Cause.UNREACHED),
        ("5.0.0", Cause.REFUSED),
        ("nonsense", Cause.REFUSED),
    ],
)
def test_causes_are_told_apart_by_status(status: str, cause: Cause) -> None:
    octets = dsn.failure(report()).replace(b"Status: 5.1.1", f"Status: {status}".encode())
    assert told(octets).cause is cause
    assert receipts.sentence(Fate.FAILED, cause).startswith("Pas remis : ")


def test_a_whole_returned_message_names_the_letter_too() -> None:
    found = read(dsn.failure(report(ret="FULL")))
    assert found is not None
    assert found.message_ids == ("<1@hopital-a.test>",)


def test_a_report_cut_behind_its_second_part_is_read() -> None:
    octets = dsn.failure(report())
    cut = octets[: octets.index(b"Diagnostic-Code")]
    assert told(cut).fate is Fate.FAILED


@pytest.mark.attack("ATT-44")
def test_att_44_a_forwarded_report_is_no_report() -> None:
    """Somebody shows a colleague a report: the colleague's letters have nothing to do with it."""
    inside = dsn.failure(report())
    outer = (
        b"From: luc.dupont@cabinet-b.test\r\nSubject: tr\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\nvoici\r\n'
        b"--x\r\nContent-Type: message/rfc822\r\n\r\n" + inside + b"\r\n--x--\r\n"
    )
    assert read(outer) is None
    assert read(ORIGINAL) is None


# ---------------------------------------------------------------- MDN


def mdn(disposition: str, *more: str) -> bytes:
    lines = [
        "From: luc.dupont@cabinet-b.test", f"To: {ZOE}", "Subject: re", "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=disposition-notification;",
        ' boundary="m"', "", "--m", "", "Lu.", "--m",
        "Content-Type: message/disposition-notification", "Content-Transfert-Encoding: 7bit", "",
        "Reporting-UA: poste; logiciel", "Final-Recipient: rfc822;luc.dupont@cabinet-b.test",
        "Original-Message-ID: < 1@hopital-a.test >", f"Disposition: {disposition}",
        *more, "", "--m--", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


@pytest.mark.requirement("CL-64", "CL-63")
@pytest.mark.parametrize(
    ("disposition", "fate"),
    [
        ("manual-action/MDN-sent-manually; displayed", Fate.DISPLAYED),
        ("manual-action/MDN-sent-manually;displayed", Fate.DISPLAYED),
        ("automatic-action/MDN-sent-automatically; processed", Fate.PROCESSED),
        ("manual-action/MDN-sent-manually; dispatched", Fate.DISPATCHED),
        ("manual-action/MDN-sent-automatically; Deleted", Fate.DELETED),
        ("automatic-action/MDN-sent-automatically; processed/Error: 902^Inconnu", Fate.ERROR),
        ("automatic-action/MDN-sent-automatically; processed/error", Fate.ERROR),
    ],
)
def test_every_disposition_is_read_leniently(disposition: str, fate: Fate) -> None:
    found = read(mdn(disposition))
    assert found is not None
    assert (found.kind, found.message_ids) == ("mdn", ("<1@hopital-a.test>",))
    assert (found.told[0].fate, found.told[0].final) == (fate, LUC.address)


def test_the_error_of_an_integration_is_kept() -> None:
    automatic = "automatic-action/MDN-sent-automatically; processed/"
    one = told(mdn(f"{automatic}Error: 902^Identifiant patient inconnu"))
    assert "902^Identifiant patient inconnu" in one.detail
    assert told(mdn(f"{automatic}error", "Error: 906^autre")).detail == "906^autre"
    assert receipts.sentence(one.fate, one.cause) == (
        "Remis, mais le logiciel du destinataire n'a pas pu intégrer le document."
    )


def test_the_receipt_of_the_demo_is_one() -> None:
    assert told(_read(ZOE, ORIGINAL)).fate is Fate.DISPLAYED


# ---------------------------------------------------------------- Mon espace santé


@pytest.mark.requirement("SEED-78", "SEED-79", "OP-93")
@pytest.mark.parametrize("name", _NOTICES)
def test_the_five_causes_of_mon_espace_sante_are_kept_apart(name: str) -> None:
    found = read(_notice(ZOE, ORIGINAL, _NOTICES[name]))
    assert found is not None
    assert (found.kind, found.message_ids) == ("patient", ("<1@hopital-a.test>",))
    (one,) = found.told
    assert (one.fate, one.cause.value) == (Fate.FAILED, name)
    plain = receipts.sentence(one.fate, one.cause)
    assert plain.count(".") == 1
    assert plain.endswith(".")


@pytest.mark.requirement("SEED-78", "OP-93")
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Le patient n'a pas encore activé Mon espace santé", Cause.PATIENT_NOT_ACTIVATED),
        ("Compte non activé", Cause.PATIENT_NOT_ACTIVATED),
        ("This account has not been activated", Cause.PATIENT_NOT_ACTIVATED),
        ("La messagerie est clôturée", Cause.PATIENT_CLOSED),
        ("Ce compte n'est plus activé", Cause.PATIENT_CLOSED),
        ("mailbox closed", Cause.PATIENT_CLOSED),
        ("Destinataire inconnu", Cause.PATIENT_NOT_FOUND),
        ("user unknown", Cause.PATIENT_NOT_FOUND),
        ("Aucun patient ne correspond", Cause.PATIENT_NOT_FOUND),
        ("Adresse mal formée", Cause.PATIENT_INVALID),
        ("invalid address", Cause.PATIENT_INVALID),
        ("La taille du message dépasse 25 Mo", Cause.PATIENT_TOO_LARGE),
        ("message exceeds size limit", Cause.PATIENT_TOO_LARGE),
        ("Voir le compte rendu détaillé", Cause.PATIENT_OTHER),
    ],
)
def test_causes_are_recognised_by_what_a_person_reads(text: str, cause: Cause) -> None:
    assert told(_notice(ZOE, ORIGINAL, text)).cause is cause


@pytest.mark.requirement("SEED-79")
def test_a_formal_notice_names_its_patient_and_its_words_decide() -> None:
    octets = dsn.failure(report()).replace(
        b"From: MAILER-DAEMON@hopital-a.test", b"From: Mailer-Daemon@patient.test"
    )
    octets = octets.replace(b"luc.dupont@cabinet-b.test", str(PATIENT).encode())
    octets = octets.replace(b"550 5.1.1 no such user", b"550 5.1.1 compte non active")
    found = read(octets)
    assert found is not None
    assert found.kind == "patient"
    (one,) = found.told
    assert (one.cause, one.final) == (Cause.PATIENT_NOT_ACTIVATED, PATIENT)


@pytest.mark.requirement("SEED-79")
def test_a_patient_named_in_the_text_is_found() -> None:
    one = told(_notice(ZOE, ORIGINAL, f"<{PATIENT}>: boîte fermée"))
    assert (one.final, one.cause) == (PATIENT, Cause.PATIENT_CLOSED)


@pytest.mark.attack("ATT-44")
def test_att_44_the_mailer_daemon_of_another_domain_speaks_of_no_patient() -> None:
    octets = _notice(ZOE, ORIGINAL, "non active").replace(b"@patient.test", b"@pirate.test")
    assert read(octets) is None


# ---------------------------------------------------------------- whatever comes


TOKENS = [
    b"\r\n", b"\n", b"\r\n\r\n", b"--m", b"--m--", b"Content-Type: ",
    b"multipart/report; boundary=m",
    b"message/delivery-status", b"message/disposition-notification", b"text/rfc822-headers",
    b"From: MAILER-DAEMON@patient.test", b"Action: failed", b"Final-Recipient: rfc822; ",
    b"Disposition: a; displayed", b"Original-Message-ID: <", b"@", b">", b";", b"\xff", b"\x00",
    b"Status: 5.", b"=?utf-8?q?", b"?=", b"Content-Transfer-Encoding: base64",
]  # fmt: skip


@pytest.mark.attack("ATT-07")
@given(st.lists(st.sampled_from(TOKENS), max_size=60))
def test_any_octets_are_a_report_or_none(pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    receipts.may_be_report(octets, PATIENTS)
    found = read(octets)
    assert found is None or found.told


def test_a_report_with_thousands_of_recipients_is_bounded() -> None:
    group = b"\r\nFinal-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    octets = dsn.failure(report()).replace(b"Diagnostic-Code", group * 2_000 + b"X")
    found = read(octets[: receipts.READ_OCTETS])
    assert found is not None
    assert len(found.told) == 100


def test_every_fate_and_cause_has_a_sentence_of_its_own() -> None:
    failures = {receipts.sentence(Fate.FAILED, c) for c in Cause if c is not Cause.NONE}
    assert len(failures) == len(Cause) - 1
    assert len({receipts.sentence(fate, Cause.NONE) for fate in Fate}) == len(Fate)
