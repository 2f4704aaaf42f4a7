"""What is carried as it is: X-MSS fields, signed and encrypted mail (OP-62, OP-69, CL-40 to 42)."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from mssmtp.smtp_intake import _products
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import Rig, Wire, greeted, logged_in

ARCHIVE = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nBonjour.\r\n"
    b'--b\r\nContent-Type: application/zip; name="Ihe_Xdm.ZIP"\r\n'
    b"Content-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="Ihe_Xdm.ZIP"\r\n\r\nUEsFBgAAAAA=\r\n--b--\r\n'
)
SETS = {
    "as they should be": b"X-MSS-NIL: DPI-7\r\nX-MSS-CODECDA: 34874-8,11488-4\r\nX-MSS-INS: O\r\n",
    "none of them": b"",
    "odd case, folded, trailing blanks": (
        b"x-mss-nil:DPI-7  \r\nX-Mss-CodeCda:\r\n 34874-8,\r\n\t11488-4\r\nX-MSS-INS : n\r\n"
    ),
    "wrong for their archive": b"X-MSS-INS: PEUT-ETRE\r\nX-MSS-CODECDA: \r\nX-MSS-NIL: \r\n",
    "twice, and unknown ones": b"X-MSS-NIL: A\r\nX-MSS-NIL: B\r\nX-MSS-MES: FIN\r\nX-MSS-ZZ: 1\r\n",
}


async def sent(wire: Wire, sender: object, recipient: object, message: bytes) -> str:
    assert (await wire.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
    assert (await wire.say(f"RCPT TO:<{recipient}>")).startswith("250 ")
    assert (await wire.say("DATA")).startswith("354 ")
    return await wire.say(message + b".\r\n")


def letter(sender: object, fields: bytes, rest: bytes) -> bytes:
    complete = b"Message-ID: <1@x.test>\r\nDate: Mon, 5 Jan 2026 09:15:00 +0000\r\n"
    return f"From: <{sender}>\r\n".encode() + complete + fields + rest


@pytest.mark.requirement("OP-62", "CL-40", "CL-41", "CL-42")
@pytest.mark.parametrize("name", SETS)
async def test_x_mss_fields_pass_both_doors_as_they_came(rig: Rig, name: str) -> None:
    theirs, ours = (letter(author, SETS[name], ARCHIVE) for author in (PEER, ZOE))
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await sent(wire, PEER, ZOE, theirs)).startswith("250 2.0.0")
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        for recipient in (PAUL, PEER):
            assert (await sent(wire, ZOE, recipient, ours)).startswith("250 2.0.0")
    assert [kept.message for kept in rig.store.kept] == [theirs, ours, ours]
    for kept in rig.store.kept:
        assert b"X-MSS" not in kept.octets[: -len(kept.message)].upper()


@pytest.mark.requirement("OP-62")
async def test_messages_are_counted_by_product_and_fields(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(product: str, fields: str) -> float:
        labels = {"product": product, "fields": fields}
        return REGISTRY.get_sample_value("mssmtp_product_messages_total", labels) or 0.0

    labels = [("DPI-7", "codecda ins nil"), ("none", "none"), ("others", "nil")]
    before = [counted(*each) for each in labels]
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        for name in ("as they should be", "none of them", "as they should be"):
            await sent(wire, PEER, ZOE, letter(PEER, SETS[name], ARCHIVE))
        monkeypatch.setattr("mssmtp.smtp_intake._MOST_PRODUCTS", len(_products))
        for number in range(3):
            fields = b"X-MSS-NIL: unseen-%d\r\n" % number
            await sent(wire, PEER, ZOE, letter(PEER, fields, ARCHIVE))
    assert [counted(*each) - old for each, old in zip(labels, before, strict=True)] == [2, 1, 3]


SIGNED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=sha-256;\r\n"
    b'\tprotocol="application/pkcs7-signature"; boundary="s"\r\n\r\n'
    b"preamble  \r\n--s\r\nContent-Type: text/plain\r\n\r\n.dot\r\n..two\r\ntrailing  \t\r\n"
    b"undeclared \xe9\r\n-- \r\n--s\r\n"
    b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--s--\r\nepilogue\r\n\r\n"
)
ENCRYPTED = (
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nMIIBHgYJKoZIhvcNAQcDoIIBDzCC\r\n"
)


@pytest.mark.requirement("OP-69", "OP-63")
@pytest.mark.parametrize("content", [SIGNED, ENCRYPTED], ids=["signed", "encrypted"])
async def test_s_mime_passes_both_doors_untouched(rig: Rig, content: bytes) -> None:
    theirs, ours = (letter(author, b"", content) for author in (PEER, ZOE))
    stuffed = theirs.replace(b"\r\n.", b"\r\n..")
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await sent(wire, PEER, ZOE, stuffed)).startswith("250 2.0.0")
        await wire.say(f"MAIL FROM:<{PEER}>")
        await wire.say(f"RCPT TO:<{ZOE}>")
        reply = await wire.say(b"BDAT %d LAST\r\n" % len(theirs) + theirs)
        assert reply.startswith("250 2.0.0")
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        reply = await sent(wire, ZOE, PEER, ours.replace(b"\r\n.", b"\r\n.."))
        assert reply.startswith("250 2.0.0")
    assert [kept.message for kept in rig.store.kept] == [theirs, theirs, ours]
