"""Golden tables: ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2)."""

from __future__ import annotations

import pytest

from mssmtp.message.headers import fields
from mssmtp.message.scanner import Scanner
from mssmtp.message.structure import MAX_QUOTED_OCTETS, envelope_of, string
from mssmtp.message.summary import Summary
from tests.corpus import cpython_messages, torture_messages


def summary_of(octets: bytes) -> Summary:
    scanner = Scanner()
    scanner.feed(octets)
    return Summary.of(scanner.close())


def envelope(header: str) -> str:
    return envelope_of(fields(header.replace("\n", "\r\n").encode("latin-1"))).decode("ascii")


def structure(message: str, *, extended: bool = True) -> str:
    summary = summary_of(message.replace("\n", "\r\n").encode("utf-8"))
    return (summary.bodystructure if extended else summary.body).decode("ascii")


ZOE = '("Zoe" NIL "zoe" "hopital-a.test")'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        ("Subject:\n", '(NIL "" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        (
            "Date: Mon, 05 Jan 2026 09:15:00 +0100\nSubject: essai\n"
            "From: Zoe <zoe@hopital-a.test>\nTo: a@b.test, C <c@d.test>\n"
            "In-Reply-To: <1@x.test>\nMessage-ID: <2@x.test>\n",
            f'("Mon, 05 Jan 2026 09:15:00 +0100" "essai" ({ZOE}) ({ZOE}) ({ZOE})'
            ' ((NIL NIL "a" "b.test")("C" NIL "c" "d.test")) NIL NIL "<1@x.test>" "<2@x.test>")',
        ),
        (
            "From: Zoe <zoe@hopital-a.test>\nSender: s@b.test\nReply-To:\n"
            "Cc: c@b.test\nBcc: d@b.test\n",
            f'(NIL NIL ({ZOE}) ((NIL NIL "s" "b.test")) ({ZOE}) NIL ((NIL NIL "c" "b.test"))'
            ' ((NIL NIL "d" "b.test")) NIL NIL)',
        ),
        (
            "To: undisclosed-recipients:;\n",
            '(NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))'
            " NIL NIL NIL NIL)",
        ),
        (
            "To: Equipe: a@b.test, B <b@b.test>;, c@d.test\n",
            '(NIL NIL NIL NIL NIL ((NIL NIL "Equipe" NIL)(NIL NIL "a" "b.test")'
            '("B" NIL "b" "b.test")(NIL NIL NIL NIL)(NIL NIL "c" "d.test")) NIL NIL NIL NIL)',
        ),
        (
            'Subject: un "mot" \\ fin\n',
            '(NIL "un \\"mot\\" \\\\ fin" NIL NIL NIL NIL NIL NIL NIL NIL)',
        ),
        (
            "Subject: =?UTF-8?Q?Zo=C3=A9?=\n suite\n",
            '(NIL "=?UTF-8?Q?Zo=C3=A9?= suite" NIL NIL NIL NIL NIL NIL NIL NIL)',
        ),
        (
            "Subject: cabinet d'\xe9t\xe9 ouvert\n",
            '(NIL "cabinet =?utf-8?B?ZCfDqXTDqQ==?= ouvert" NIL NIL NIL NIL NIL NIL NIL NIL)',
        ),
        (
            'To: "a b"@c.test (Le Nom), inconnu, deux mots, <>\n',
            '(NIL NIL NIL NIL NIL (("Le Nom" NIL "a b" "c.test")'
            '(NIL NIL "inconnu" "MISSING_DOMAIN")'
            '("deux mots" NIL "MISSING_MAILBOX" "MISSING_DOMAIN")'
            '(NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN")) NIL NIL NIL NIL)',
        ),
        (
            "To: a@b.test\nTo: c@d.test\nSubject: un\nSubject: deux\n",
            '(NIL "un" NIL NIL NIL ((NIL NIL "a" "b.test")(NIL NIL "c" "d.test")) NIL NIL NIL NIL)',
        ),
    ],
)
def test_envelopes(header: str, expected: str) -> None:
    assert envelope(header) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b'""'),
        (b"a", b'"a"'),
        (b'"\\', b'"\\"\\\\"'),
        (b"a\0b", b'"ab"'),
        (b"a\rb", b"{3}\r\na\rb"),
        (b"a\t\x01b", b'"a\t\x01b"'),
        (b"a" * MAX_QUOTED_OCTETS, b'"' + b"a" * MAX_QUOTED_OCTETS + b'"'),
        (b"a" * 1_001, b"{1001}\r\n" + b"a" * 1_001),
    ],
)
def test_strings_are_quoted_or_literal(value: bytes, expected: bytes) -> None:
    assert string(value) == expected


# clients.md GEN-03, APL-02
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", '("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)'),
        (
            "Subject: x\n\nBonjour\n",
            '("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 9 1 NIL NIL NIL NIL)',
        ),
        ("\nZoé\n", '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 6 1 NIL NIL NIL NIL)'),
        (
            "Content-Transfer-Encoding: quoted-printable\n\n=E9",
            '("TEXT" "PLAIN" NIL NIL NIL "QUOTED-PRINTABLE" 3 1 NIL NIL NIL NIL)',
        ),
        (
            'Content-Type: text/plain; charset=""\n\nx',
            '("TEXT" "PLAIN" ("CHARSET" "") NIL NIL "7BIT" 1 1 NIL NIL NIL NIL)',
        ),
        (
            "Content-Type: text/html; format=flowed\n\n<p>",
            '("TEXT" "HTML" ("CHARSET" "US-ASCII" "FORMAT" "flowed") NIL NIL "7BIT" 3 1'
            " NIL NIL NIL NIL)",
        ),
        (
            'Content-Type: Image/PNG; Name="a b.png"\nContent-Transfer-Encoding: Base64\n'
            "Content-ID: <i@x.test>\nContent-Description: une image\nContent-MD5: Q2hlY2s=\n"
            "Content-Disposition: Inline; FileName=a.png; size=3\nContent-Language: fr, en\n"
            "Content-Location: http://x.test/a\n\nAAAA\n",
            '("IMAGE" "PNG" ("NAME" "a b.png") "<i@x.test>" "une image" "BASE64" 6 "Q2hlY2s="'
            ' ("INLINE" ("FILENAME" "a.png" "SIZE" "3")) ("fr" "en") "http://x.test/a")',
        ),
        (
            "Content-Type: application/pdf\nContent-Language: fr\n"
            "Content-Disposition: attachment\n\nx",
            '("APPLICATION" "PDF" NIL NIL NIL "7BIT" 1 NIL ("ATTACHMENT" NIL) "fr" NIL)',
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nun\n--b\n"
            "Content-Type: application/pdf\n\nx\n--b--\n",
            '(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2 1 NIL NIL NIL NIL)'
            '("APPLICATION" "PDF" NIL NIL NIL "7BIT" 1 NIL NIL NIL NIL)'
            ' "MIXED" ("BOUNDARY" "b") NIL NIL NIL)',
        ),
        (
            "Content-Type: message/rfc822\n\nSubject: dedans\n\nun\ndeux\n",
            '("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 29'
            ' (NIL "dedans" NIL NIL NIL NIL NIL NIL NIL NIL)'
            ' ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 2 NIL NIL NIL NIL)'
            " 4 NIL NIL NIL NIL)",
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\nrien\n",
            '("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1 NIL NIL NIL NIL)',
        ),
    ],
)
def test_bodystructures(message: str, expected: str) -> None:
    assert structure(message) == expected


def test_body_is_bodystructure_without_extension_data() -> None:
    message = (
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nun\n--b\n"
        "Content-Type: application/pdf\nContent-Disposition: attachment\n\nx\n--b--\n"
    )
    assert structure(message, extended=False) == (
        '(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2 1)'
        '("APPLICATION" "PDF" NIL NIL NIL "7BIT" 1) "MIXED")'
    )


# clients.md AND-03
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ('; filename="été.pdf"', '("FILENAME*" "UTF-8\'\'%C3%A9t%C3%A9.pdf")'),
        ("; filename*=UTF-8''%C3%A9", '("FILENAME*" "UTF-8\'\'%C3%A9")'),
        ("; filename*=UTF-8''é", '("FILENAME*" "UTF-8\'\'%C3%A9")'),
        ("; filename=é; filename*=UTF-8''%C3%A9", '("FILENAME*" "UTF-8\'\'%C3%A9")'),
        (
            '; filename="=?utf-8?q?=C3=A9?="',
            '("FILENAME" "=?utf-8?q?=C3=A9?=")',
        ),
        ("; filename*0=a; filename*1=b", '("FILENAME" "ab")'),
        ("; filename*1=b; filename*0=a; size=3", '("FILENAME" "ab" "SIZE" "3")'),
        (
            "; filename*0*=UTF-8''%C3%A9; filename*1=\"100%\"",
            '("FILENAME*" "UTF-8\'\'%C3%A9100%25")',
        ),
        ("; filename*0=a; filename*1*=%C3%A9", '("FILENAME*" "\'\'a%C3%A9")'),
        ("; filename=x; filename*0=a; filename*1=b", '("FILENAME" "ab")'),
        ("; filename=x; filename*0*=a; filename*1=b", '("FILENAME" "x" "FILENAME*" "ab")'),
        ("; filename*0=a; filename*2=c", '("FILENAME" "a" "FILENAME*2" "c")'),
        ("; filename*1=b", '("FILENAME*1" "b")'),
    ],
)
def test_file_names_go_out_in_seven_bits(parameters: str, expected: str) -> None:
    message = f"Content-Type: a/b\nContent-Disposition: attachment{parameters}\n\nx"
    assert f'("ATTACHMENT" {expected})' in structure(message)


# clients.md AND-03
def test_every_fetch_value_is_seven_bit_and_balanced_for_every_torture_message() -> None:
    for name, octets in [*torture_messages(), *cpython_messages()]:
        summary = summary_of(octets)
        for value in (summary.envelope, summary.body, summary.bodystructure):
            assert value.isascii(), name
            assert b"\0" not in value, name
            assert is_balanced(value), name


def is_balanced(value: bytes) -> bool:
    """One parenthesised list, read as an IMAP client reads it."""
    depth = position = 0
    while position < len(value):
        octet = value[position : position + 1]
        if octet == b'"':
            position += 1
            while value[position : position + 1] != b'"':
                if value[position : position + 1] in (b"\r", b"\n", b""):
                    return False
                position += 2 if value[position : position + 1] == b"\\" else 1
        elif octet == b"{":
            end = value.index(b"}\r\n", position)
            position = end + 2 + int(value[position + 1 : end])
        elif octet in b"()":
            depth += 1 if octet == b"(" else -1
            if depth == 0 and position != len(value) - 1:
                return False
        elif octet in b"\r\n":
            return False
        position += 1
    return depth == 0
