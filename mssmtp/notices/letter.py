"""A service mail as octets: plain text, marked as automatic, nothing attached (DEF-04)."""

from __future__ import annotations

import binascii
from datetime import UTC, datetime

from mssmtp.mail import Address
from mssmtp.message.dates import render_date
from mssmtp.message.encode import encode_8bit
from mssmtp.notices.templates import Written

_LINE = 76


def octets(
    written: Written, sender: Address, brand: str, to: Address, at: datetime, id: str
) -> bytes:
    """The message. `id` is unique: its Message-ID is `<id@domain of sender>`.

    RFC 3834 5: what is marked so is answered by no automatic reply, hence by none of ours (ATT-44).
    """
    head = (
        b'From: "%b" <%b>' % (encode_8bit(brand.encode()), str(sender).encode("ascii"))
        if brand.isascii()
        else b"From: %b <%b>" % (encode_8bit(brand.encode()), str(sender).encode("ascii")),
        b"To: <%b>" % str(to).encode("ascii"),
        b"Subject: " + _folded(written.subject),
        b"Date: " + render_date(at.astimezone(UTC)).encode("ascii"),
        b"Message-ID: <%b@%b>" % (id.encode("ascii"), sender.domain.encode("ascii")),
        b"Auto-Submitted: auto-generated",
        b"X-Auto-Response-Suppress: All",
        b"MIME-Version: 1.0",
        b'Content-Type: text/plain; charset="utf-8"',
        b"Content-Transfer-Encoding: quoted-printable",
    )
    text = "\n".join(written.lines).encode() + b"\n"
    body = binascii.b2a_qp(text, istext=True).replace(b"\n", b"\r\n")
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _folded(subject: str) -> bytes:
    """RFC 5322 2.2.3: a line is folded where a space is; a long run is B words with spaces."""
    lines: list[bytes] = []
    line = b""
    for word in encode_8bit(subject.encode()).split(b" "):
        if line and len(line) + 1 + len(word) > _LINE - len("Subject: "):
            lines.append(line)
            line = word
        else:
            line = line + b" " + word if line else word
    return b"\r\n ".join([*lines, line])
