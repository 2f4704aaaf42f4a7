"""Letters of invented people, as the interpreter takes them."""

from __future__ import annotations

from datetime import UTC, datetime

from mssmtp.mail import Address
from mssmtp.message.scanner import Scanner
from mssmtp.message.tree import ScanLimits
from mssmtp.sieve.letter import Box, Letter

SENDER = "zoe.tartempion@hopital-a.test"
BOX = "secretariat.cardio+suivi@hopital-b.test"
NOW = datetime(2026, 1, 5, 14, 3, 9, tzinfo=UTC)

PLAIN = b"""From: =?utf-8?Q?Zo=C3=A9?= Tartempion <zoe.tartempion@hopital-a.test>\r
To: "Cardio, secretariat" <secretariat.cardio+suivi@hopital-b.test>,\r
\tgroupe: jean@hopital-b.test, marie <marie+x+y@hopital-b.test>;\r
Cc: undisclosed-recipients:;\r
Subject: =?utf-8?B?UsOpc3VsdGF0?= de   biologie\r
 [urgent] du 05/01/2026\r
Date: Mon, 05 Jan 2026 23:30:00 +0200\r
Message-ID: <1@hopital-a.test>\r
X-Empty:\r
X-Number: 12abc\r
X-Many: a\r
X-Many: b\r
X-Stars: a*b?c\\d\r
X-Odd:   two  spaces \t\r
Content-Type: multipart/mixed; boundary=b\r
\r
preamble\r
--b\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
Le r=C3=A9sultat est normal.\r
--b\r
Content-Type: text/html\r
\r
<p>Tout est <b>normal</b></p>\r
--b\r
Content-Type: application/zip; name="IHE_XDM.zip"\r
Content-Disposition: attachment; filename="IHE_XDM.zip"\r
Content-Transfer-Encoding: base64\r
\r
UEsDBAoAAAAAAA==\r
--b--\r
"""


def letter_of(octets: bytes, sender: str = SENDER, recipient: str = BOX) -> Letter:
    """`sender` may be empty, the null reverse-path."""
    scanner = Scanner(ScanLimits())
    scanner.feed(octets)
    return Letter(
        scanner.close(),
        Address.parse(sender) if sender else None,
        Address.parse(recipient),
        NOW,
        lambda start, stop: octets[start:stop],
    )


def box_of(*mailboxes: str, **special_uses: str) -> Box:
    """The box of BOX with INBOX and these."""
    return Box(
        (Address.parse(BOX),),
        frozenset(("INBOX", *mailboxes)),
        {f"\\{use}": name for use, name in special_uses.items()},
    )
