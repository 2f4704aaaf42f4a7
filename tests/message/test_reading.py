"""What a page shows of a message: text alone, and files under names that are no paths."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.message import reading
from mssmtp.message.readable import Read
from mssmtp.message.reading import Opened, safe_name, shown
from mssmtp.message.scanner import ScanLimits, Scanner
from mssmtp.message.summary import Summary

NAMES = st.lists(
    st.sampled_from(
        ["..", "/", "\\", "C:", "a", ".exe", "\u202e", "\x00", "\r\n", " ", '"', "é", "fdp", "'"]
    ),
    max_size=12,
).map("".join)


def scanned(octets: bytes) -> Summary:
    scanner = Scanner(ScanLimits())
    scanner.feed(octets)
    return Summary.of(scanner.close())


def opened(octets: bytes) -> Opened:
    return shown(scanned(octets), lambda start, stop: octets[start:stop])


def made(**parts: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Zoé Tartempion <zoe@hopital-a.test>"
    message["Subject"] = "Bilan d'été"
    message.set_content(parts.get("plain", "Bonjour\n"))
    if "html" in parts:
        message.add_alternative(parts["html"], subtype="html")
    return message


def test_the_text_is_shown_with_who_and_what() -> None:
    found = opened(made(plain="Ligne é\nDeux\n").as_bytes())
    assert (found.author, found.subject) == (
        "Zoé Tartempion <zoe@hopital-a.test>",
        "Bilan d'été",
    )
    assert found.text == "Ligne é\nDeux"
    assert not found.files
    assert not found.is_cut


@pytest.mark.attack("ATT-29")
def test_att_29_of_html_only_what_is_read_remains() -> None:
    html = (
        "<html><head><style>p{background:url(https://x.example/s)}</style></head><body>"
        "<p>Bonjour&nbsp;<b>Zoé</b></p><br><img src='https://x.example/p.png' alt='p'>"
        "<script>alert(1)</script><a href='javascript:alert(2)'>suite</a><!-- <p>non</p> --></body>"
    )
    message = EmailMessage(policy=SMTP)
    message["From"] = "zoe@hopital-a.test"
    message.set_content(html, subtype="html")
    assert opened(message.as_bytes()).text == "Bonjour\xa0Zoé\n\nsuite"


def test_of_two_forms_of_a_text_the_plain_one_is_shown() -> None:
    assert opened(made(plain="simple\n", html="<p>riche</p>").as_bytes()).text == "simple"


def test_files_are_those_that_the_policy_counts_octet_for_octet() -> None:
    message = made(html="<p>x</p>")
    message.add_attachment(bytes(range(256)), "application", "pdf", filename="bilan été.pdf")
    message.add_attachment("texte joint\n", filename="note.txt")
    inner = made()
    message.add_attachment(inner)
    octets = message.as_bytes()
    scanner = Scanner(ScanLimits())
    scanner.feed(octets)
    scan = scanner.close()
    found = opened(octets).files
    assert [each.octets for each in found] == [each.size_octets for each in scan.attachments]
    assert [each.name for each in found] == ["bilan été.pdf", "note.txt", "message-3.eml"]
    read = scan_read(octets)
    assert b"".join(found[0].blocks(read)) == bytes(range(256))
    assert b"".join(found[1].blocks(read)).strip() == b"texte joint"
    assert b"Bonjour" in b"".join(found[2].blocks(read))


def scan_read(octets: bytes) -> Read:
    return lambda start, stop: octets[start:stop]


@pytest.mark.attack("ATT-29")
def test_att_29_a_huge_text_is_cut_and_a_huge_tree_is_walked_once() -> None:
    found = opened(b"From: a@b.test\r\n\r\n" + b"mot \r\n" * 200_000)
    assert found.is_cut
    assert len(found.text) <= reading.MOST_TEXT_OCTETS
    parts = b"".join(
        b"--b\r\nContent-Disposition: attachment; filename=f%d\r\n\r\nx\r\n" % n for n in range(400)
    )
    head = b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert len(opened(head + parts + b"--b--\r\n").files) == 400


@given(NAMES)
def test_a_file_name_is_never_a_path(name: str) -> None:
    safe = safe_name(name, 7)
    assert safe
    assert safe not in (".", "..")
    assert not set(safe) & set('/\\:\x00\r\n"<>|?*\u202e')
    assert not safe.startswith(".")
    assert len(safe) <= reading.MOST_NAME


@given(
    st.lists(
        st.sampled_from(
            [
                b"From: a@b.test",
                b"\r\n",
                b"Subject: =?utf-8?B?",
                b"<p>",
                b"Content-Type: text/html",
                b"Content-Type: multipart/mixed; boundary=b",
                b"--b",
                b"\xff",
                b"Content-Transfer-Encoding: base64",
                b"=",
                b"\xe2\x80\xae",
            ]
        ),
        max_size=30,
    )
)
def test_whatever_the_octets_a_page_can_show_them(pieces: list[bytes]) -> None:
    found = opened(b"".join(pieces))
    assert "\u202e" not in found.text + found.subject + found.author
