"""Who may pass for whom, at every door and with every trick (ATT-42).

The chain: login or certificate, whitelist row, domain, reverse-path, then From, Sender and every
Resent field, as any reader could understand them.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mssmtp.mail import Address, BalType, Role
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT, unsigned_whitelist
from tests.smtp_in.fakes import PASSWORD, PAUL, PEER, URGENCES, ZOE, per, zoe
from tests.smtp_in.plug import Plug, codes
from tests.smtp_in.rig import APP_BOX, Rig

pytestmark = pytest.mark.attack

THIRD = "hopital-c.test"
"""Listed too, and of neither of the two."""


@asynccontextmanager
async def speaker(rig: Rig, door: str) -> AsyncIterator[tuple[Plug, Address, Address]]:
    """A session at `door` that may send, whom it may send as, and whom it writes to."""
    also = unsigned_whitelist(
        rig.authority,
        (A_DOMAIN, A_SUBJECT.text),
        ("cabinet-b.test", B_SUBJECT.text),
        (THIRD, "CN=mx.hopital-c.test"),
    )
    rig.trust.swap(replace(rig.trust.snapshot, whitelist=also))
    if door == "operator":
        async with rig.operators() as (opened, _):
            plug = Plug(opened, certificate=rig.b.certificate)
            await plug.say(b"EHLO x\r\n")
            yield plug, PEER, ZOE
    elif door == "submission":
        async with rig.submission(implicit_tls=True) as (opened, _):
            plug = Plug(opened)
            await plug.say(f"EHLO x\r\nAUTH PLAIN {login(str(ZOE))}\r\n".encode())
            yield plug, ZOE, PAUL
    else:
        async with rig.appliances(addresses=["192.0.2.0/24"], implicit_tls=True) as (opened, _):
            plug = Plug(opened)
            await plug.say(f"EHLO x\r\nAUTH PLAIN {login('scanner-radio')}\r\n".encode())
            yield plug, APP_BOX, PAUL
    await plug.cut()


def login(name: str) -> str:
    return base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()


async def answer(plug: Plug, sender: object, to: Address, fields: bytes) -> str:
    """What is said in the end to one letter with these fields."""
    octets = f"MAIL FROM:<{sender or ''}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode()
    lines = await plug.say(octets + fields + b"Subject: x\r\n\r\nx\r\n.\r\n")
    await plug.say(b"RSET\r\n")
    return lines[-1]


DOORS = ("operator", "submission", "appliance")

# `%(me)s` may send here; `%(them)s` is of the domain of others, `%(box)s` another box of ours.
TRICKS = {
    "another From": b"From: %(them)s\r\n",
    "no From": b"To: %(me)s\r\n",
    "empty From": b"From:\r\n",
    "From of blanks": b"From: \t \r\n",
    "two From fields": b"From: %(me)s\r\nFrom: %(them)s\r\n",
    "two From fields, the other way round": b"From: %(them)s\r\nFrom: %(me)s\r\n",
    "the same From twice": b"From: %(me)s\r\nFrom: %(me)s\r\n",
    "From before a space and colon": b"From: %(me)s\r\nFrom : %(them)s\r\n",
    "From in capitals": b"From: %(me)s\r\nFROM: %(them)s\r\n",
    "two authors": b"From: %(me)s, %(them)s\r\nSender: %(me)s\r\n",
    "two authors, ours last": b"From: %(them)s, %(me)s\r\n",
    "a group": b"From: equipe: %(them)s;\r\n",
    "a group behind": b"From: %(me)s, equipe: %(them)s;\r\n",
    "an empty group": b"From: undisclosed:;\r\n",
    "Sender": b"From: %(me)s\r\nSender: %(them)s\r\n",
    "two Senders": b"From: %(me)s\r\nSender: %(me)s\r\nSender: %(them)s\r\n",
    "Resent-From": b"Resent-From: %(them)s\r\nFrom: %(me)s\r\n",
    "Resent-Sender": b"Resent-Sender: %(them)s\r\nResent-From: %(me)s\r\nFrom: %(me)s\r\n",
    "a second Resent-From": b"Resent-From: %(me)s\r\nResent-From: %(them)s\r\nFrom: %(me)s\r\n",
    "an address in the display name": b'From: "%(them)s" <%(me)s>\r\n',
    "an address beside the address": b"From: %(them)s <%(me)s>\r\n",
    "an address in brackets before": b'From: "<%(them)s>" <%(me)s>\r\n',
    "two addresses in brackets": b"From: <%(them)s> <%(me)s>\r\n",
    "an encoded display name": b"From: =?utf-8?q?Dr_=3C%(q)s=3E?= <%(me)s>\r\n",
    "an encoded name in base64": b"From: =?utf-8?b?%(b64)s?= <%(me)s>\r\n",
    "a name encoded in pieces": b"From: =?utf-8?q?dr?= =?utf-8?q?%(q)s?= <%(me)s>\r\n",
    "a name folded": b'From: "Dr\r\n %(them)s" <%(me)s>\r\n',
    "an address folded": b"From:\r\n %(them)s\r\n",
    "a comment": b"From: (%(me)s) %(them)s\r\n",
    "a comment inside": b"From: %(them_local)s(x)@(%(me)s)%(them_domain)s\r\n",
    "a quoted local part": b'From: "%(me)s"@%(them_domain)s\r\n',
    "an encoded address": b"From: =?utf-8?q?%(q)s?=\r\n",
    "a source route": b"From: <@%(me_domain)s:%(them)s>\r\n",
    "a trailing dot": b"From: %(them)s.\r\n",
    "a subdomain": b"From: x@x.%(me_domain)s.%(them_domain)s\r\n",
    "our domain in front of another": b"From: x@%(me_domain)s.evil.test\r\n",
    "an address literal": b"From: x@[127.0.0.1]\r\n",
    "a NUL": b"From: %(me)s\0%(them)s\r\n",
    "a look-alike in Unicode": "From: z\u043e\u00e9@%(me_domain)s\r\n".encode(),
    "a full-width at": "From: x\uff20%(them_domain)s <%(me)s>\r\n".encode(),
    "From behind the body": b"\r\nFrom: %(me)s\r\n",
    "an unended quotation": b'From: "%(me)s <%(them)s>\r\n',
    "an unended bracket": b"From: <%(them)s\r\n",
    "a backslash at the end": b'From: "x\\" <%(me)s>, %(them)s\r\n',
    "ten thousand blanks": b"From: " + b" " * 9_000 + b"%(them)s\r\n",
}

PASSES = {
    "the address alone": b"From: %(me)s\r\n",
    "a title": 'From: "Dr Zo\u00e9 (cardiologie)" <%(me)s>\r\n'.encode(),
    "an encoded name": b"From: =?utf-8?q?Zo=C3=A9?= <%(me)s>\r\nSender: %(me)s\r\n",
    "another Reply-To": b"From: %(me)s\r\nReply-To: %(them)s\r\n",
    "another To": b"From: %(me)s\r\nTo: %(them)s\r\nCc: x@ailleurs.example\r\n",
    "the case is no matter": b"From: <%(ME)s>\r\n",
}


def filled(template: bytes, me: Address, them: Address) -> bytes:
    quoted = str(them).replace("@", "=40").replace(".", "=2E")
    words = {
        "me": str(me),
        "ME": str(me).upper(),
        "me_domain": me.domain,
        "them": str(them),
        "them_local": them.local,
        "them_domain": them.domain,
        "q": quoted,
        "b64": base64.b64encode(f"Dr {them}".encode()).decode(),
    }
    return template % {name.encode(): value.encode() for name, value in words.items()}


@pytest.mark.requirement("OP-15", "OP-86")
@pytest.mark.parametrize("door", DOORS)
async def test_att_42_nobody_passes_for_somebody_else(rig: Rig, door: str) -> None:
    passed: list[str] = []
    async with speaker(rig, door) as (plug, me, to):
        for them in (Address.parse(f"bob@{THIRD}"), PEER if me != PEER else PAUL):
            for trick, template in TRICKS.items():
                said = await answer(plug, me, to, filled(template, me, them))
                if said[:9] not in ("550 5.7.1", "553 5.7.1", "550 5.6.0"):
                    passed.append(f"{trick} ({them}): {said}")
        assert passed == []
        assert rig.store.kept == []
        for harmless, template in PASSES.items():
            said = await answer(plug, me, to, filled(template, me, Address.parse(f"bob@{THIRD}")))
            assert said.startswith("250 2.0.0"), harmless
    assert len(rig.store.kept) == len(PASSES)


SENDERS = {
    "operator": {
        f"anne@{THIRD}": "550",
        str(ZOE): "550",
        "anne@evil.cabinet-b.test": "550",
        "anne@cabinet-b.test.evil.test": "550",
        "anne@ordinaire.example": "550",
    },
    "submission": {
        str(PAUL): "553",
        str(PEER): "553",
        "zoe.tartempion+x@hopital-a.test": "553",
        '"zoe.tartempion"@hopital-a.test': "553",
        "zoe.tartempion@x.hopital-a.test": "553",
    },
    "appliance": {str(ZOE): "553", str(PAUL): "553", str(PEER): "553"},
}


@pytest.mark.requirement("OP-10", "OP-86")
@pytest.mark.parametrize("door", DOORS)
async def test_att_42_a_reverse_path_is_ones_own(rig: Rig, door: str) -> None:
    async with speaker(rig, door) as (plug, me, to):
        for sender, code in SENDERS[door].items():
            assert codes(await plug.say(f"MAIL FROM:<{sender}>\r\n".encode())) == [code], sender
            # Nor is it believed for what stands in the parameters (RFC 4954 5).
        if door != "operator":
            assert codes(await plug.say(f"MAIL FROM:<{PAUL}> AUTH={me}\r\n".encode())) == ["553"]
        assert (await answer(plug, me, to, f"From: {me}\r\n".encode())).startswith("250 ")


@pytest.mark.requirement("OP-15", "OP-86")
@pytest.mark.parametrize("door", DOORS)
async def test_att_42_a_null_reverse_path_lends_no_other_from(rig: Rig, door: str) -> None:
    async with speaker(rig, door) as (plug, me, to):
        for them in (ZOE if me != ZOE else PAUL, Address.parse(f"bob@{THIRD}")):
            assert (await answer(plug, None, to, f"From: {them}\r\n".encode()))[:2] == "55"
        assert (await answer(plug, None, to, f"From: {me}\r\n".encode()))[:3] == "250"


@pytest.mark.requirement("OP-86")
async def test_att_42_a_shared_box_is_sent_as_by_those_who_may_answer(rig: Rig) -> None:
    shared = per(3, URGENCES, type=BalType.ORG)
    for role, code in ((Role.SECRETAIRE, "250"), (Role.LECTEUR, "553")):
        rig.logins.principal = replace(zoe(per(1, ZOE), shared), roles={shared.id: role})
        async with speaker(rig, "submission") as (plug, _, to):
            said = await answer(plug, URGENCES, to, f"From: {URGENCES}\r\n".encode())
            assert said[:3] in (code, "503", "554"), said
            assert (said[:3] == "250") == (code == "250")


@pytest.mark.requirement("OP-10")
@pytest.mark.parametrize("loss", ["row", "domain", "list"])
async def test_att_42_what_the_list_takes_away_is_felt_at_the_next_letter(
    rig: Rig, loss: str
) -> None:
    async with speaker(rig, "operator") as (plug, me, to):
        fields = f"From: {me}\r\n".encode()
        assert (await answer(plug, me, to, fields)).startswith("250 ")
        rows = {
            "row": (("cabinet-b.test", "CN=another.cabinet-b.test"),),
            "domain": (("other.test", B_SUBJECT.text),),
        }
        ours = (A_DOMAIN, A_SUBJECT.text)
        listed = unsigned_whitelist(rig.authority, ours, *rows[loss]) if loss in rows else None
        rig.trust.swap(replace(rig.trust.snapshot, whitelist=listed))
        assert codes(await plug.say(f"MAIL FROM:<{me}>\r\n".encode()))[0][0] in "45"
    assert len(rig.store.kept) == 1
