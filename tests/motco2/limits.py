"""What must be refused, at the first moment it can be, with its code (OP-66, CL-38, SEED-55)."""

from __future__ import annotations

import os
import smtplib
from base64 import encodebytes
from collections.abc import Iterator
from functools import partial

from tests.motco2.cases import Case, expect, said
from tests.motco2.letters import arrived as arrived_
from tests.motco2.letters import compose, inbox, remove
from tests.motco2.target import Target

SIZE = 62_914_560
ATTACHMENT = 10_485_760


def cases() -> Iterator[Case]:
    """From the envelope to the content."""
    group = "limits and refusals"
    yield Case(
        group,
        f"EHLO SIZE {SIZE}, PIPELINING, 8BITMIME, ENHANCEDSTATUSCODES, not SMTPUTF8",
        "OP-66, OP-67",
        _ehlo,
    )
    yield Case(group, "MAIL with SIZE + 1 is refused before DATA: 552 5.3.4", "CL-38", _size)
    yield Case(group, "a sender who is somebody else is refused", "OP-83", _another)
    yield Case(group, "a domain that is not listed is refused: 550 5.7.1", "OP-13", _unlisted)
    yield Case(group, "an unknown box is refused: 550 5.1.1", "OP-17", _unknown)
    yield Case(group, "an address that is not ASCII is refused", "OP-67", _not_ascii)
    yield Case(group, "a bare line feed in the content is refused: 550 5.6.0", "DEF-02", _bare)
    yield Case(group, "an IMAP literal before login is bounded", "ATT-03", _literal)
    for more, code in ((0, "250"), (1, "552 5.3.4")):
        run = partial(_attachment, octets=ATTACHMENT + more, code=code)
        yield Case(group, f"an attachment of 10 Mo + {more}: {code}", "SEED-55", run, is_long=True)


def _ehlo(target: Target) -> str:
    with target.smtp_session() as client:
        found = client.esmtp_features
    expect(found.get("size") == str(SIZE), found)
    for name in ("pipelining", "8bitmime", "enhancedstatuscodes"):
        expect(name in found, found)
    expect("smtputf8" not in found, found)
    return " ".join(found)


def _size(target: Target) -> str:
    with target.smtp_session(target.box) as client:
        return _code(client.mail(target.box.address, [f"SIZE={SIZE + 1}"]), "552 5.3.4")


def _another(target: Target) -> str:
    with target.smtp_session(target.box) as client:
        reply = client.mail(target.other.address)
        if reply[0] == 250:
            reply = client.rcpt(target.other.address)
        expect(500 <= reply[0] < 600, said(reply))
        return said(reply)


def _rcpt(target: Target, address: str) -> tuple[int, bytes]:
    with target.smtp_session(target.box) as client:
        client.mail(target.box.address)
        return client.rcpt(address)


def _unlisted(target: Target) -> str:
    return _code(_rcpt(target, target.unlisted), "550 5.7.1")


def _unknown(target: Target) -> str:
    return _code(_rcpt(target, f"personne.inconnue.{target.other.address}"), "550 5.1.1")


def _not_ascii(target: Target) -> str:
    with target.smtp_session(target.box) as client:
        client.mail(target.box.address)
        client.sock.sendall(f"RCPT TO:<zoé@{target.box.address.partition('@')[2]}>\r\n".encode())  # type: ignore[union-attr]
        reply = client.getreply()
        expect(500 <= reply[0] < 600, said(reply))
        return said(reply)


def _bare(target: Target) -> str:
    with target.smtp_session(target.box) as client:
        client.mail(target.box.address)
        client.rcpt(target.other.address)
        client.putcmd("DATA")
        client.getreply()
        head = compose(target)[0].partition(b"\r\n\r\n")[0]
        client.send(head + b"\r\n\r\nseul\nsuite\r\n.\r\n")
        return _code(client.getreply(), "550 5.6.0")


def _literal(target: Target) -> str:
    with target.imap_session() as client:
        client.send(b"x1 LOGIN {2000000000}\r\n")
        line = client.readline()
        expect(line and not line.startswith(b"+"), line)
        return line.decode("ascii", "replace").strip()


def _attachment(target: Target, *, octets: int, code: str) -> str:
    plain, name = compose(target)
    head, _, tail = plain.partition(b"JVBERi0xLjQK\r\n")
    encoded = encodebytes(os.urandom(octets)).replace(b"\n", b"\r\n")
    with target.smtp_session(target.box) as client:
        try:
            client.sendmail(target.box.address, [target.other.address], head + encoded + tail)
        except smtplib.SMTPDataError as error:
            text = error.smtp_error
            octets_ = text if isinstance(text, bytes) else text.encode()
            return _code((error.smtp_code, octets_), code)
    expect(code == "250", "accepted")
    with inbox(target, target.other) as box:
        remove(box, arrived_(box, name))
    return "250, and it arrived"


def _code(reply: tuple[int, bytes], wanted: str) -> str:
    expect(said(reply).startswith(wanted), said(reply))
    return said(reply)
