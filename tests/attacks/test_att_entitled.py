"""Mail is taken only from who is entitled to send it, at the moment it is taken."""

from __future__ import annotations

import time

import pytest

from tests.attacks.test_att_isolation import TAKES_EFFECT_S, suspended
from tests.attacks.wire import peer, submitter, transaction
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]


def letter(author: object, *fields: str) -> bytes:
    lines = [f"From: {author}", *fields, "To: x@x.test", "Subject: x", "", "x"]
    return "\r\n".join(lines).encode()


def test_att_18_a_transaction_begun_before_the_suspension_sends_nothing(
    space: RunningSpace,
) -> None:
    account = space.b.doctor(3)
    with submitter(space, space.b, account) as wire:
        assert wire.say(f"MAIL FROM:<{account}>".encode())[:3] == "250"
        assert wire.say(f"RCPT TO:<{space.b.doctor(0)}>".encode())[:3] == "250"
        assert wire.say(b"DATA")[:3] == "354"
        with suspended(space.b, account):
            time.sleep(TAKES_EFFECT_S)
            wire.send(letter(account) + b"\r\n.\r\n")
            assert wire.reply().startswith("530 5.7.0")


VICTIM = "zoe.tartempion@hopital-a.test"
SPOOFS = {
    "quoted display name": [f'From: "{VICTIM}" <x@guest.test>'],
    "encoded display name": ["From: =?utf-8?q?Zo=C3=A9_zoe=40hopital-a.test?= <x@guest.test>"],
    "base64 display name": ["From: =?utf-8?b?em9lQGhvcGl0YWwtYS50ZXN0?= <x@guest.test>"],
    "wide at sign": ['From: "zoe\N{FULLWIDTH COMMERCIAL AT}hopital-a.test" <x@guest.test>'],
    "spaces": ['From: "zoe @ HOPITAL-A.TEST" <x@guest.test>'],
    "comment": [f"From: x@guest.test ({VICTIM})"],
    "quoted local part": [f'From: "{VICTIM}"@guest.test'],
    "display name of Sender": ["From: x@guest.test", f'Sender: "{VICTIM}" <x@guest.test>'],
    "address in display name": [f"From: {VICTIM} <x@guest.test>"],
    "two From": ["From: x@guest.test", f"From: {VICTIM}"],
    "two in one": [f"From: x@guest.test, {VICTIM}"],
    "on a folded line": ["From: x@guest.test", f" ,{VICTIM}"],
    "space before the colon": [f"From : {VICTIM}", "From: x@guest.test"],
    "behind a line of white space": ["From: x@guest.test", " ", f"From: {VICTIM}"],
    "behind a line that is no field": ["From: x@guest.test", "x", f"From: {VICTIM}"],
    "route": [f"From: <@guest.test:{VICTIM}>"],
    "Sender": ["From: x@guest.test", f"Sender: {VICTIM}"],
    "Resent-From": ["From: x@guest.test", f"Resent-From: {VICTIM}"],
    "second Resent-Sender": [
        "From: x@guest.test",
        "Resent-Sender: x@guest.test",
        f"Resent-Sender: {VICTIM}",
    ],
}


@pytest.mark.requirement("OP-15")
def test_att_42_a_listed_operator_cannot_pass_for_another(space: RunningSpace) -> None:
    victim = space.b.doctor(0)
    accepted = {}
    with peer(space, space.b, space.guest) as wire:
        for trick, fields in SPOOFS.items():
            octets = "\r\n".join([*fields, "Subject: x", "", "x"]).encode()
            reply = transaction(wire, "x@guest.test", [victim], octets)
            if not reply.startswith("550 5.7.1"):
                accepted[trick] = reply
        honest = letter('"Dr X, guest.test (x@ailleurs.example)" <x@guest.test>')
        assert transaction(wire, "x@guest.test", [victim], honest).startswith("250")
    assert accepted == {}


@pytest.mark.requirement("OP-86")
def test_att_42_an_account_cannot_pass_for_another(space: RunningSpace) -> None:
    account, other = space.a.doctor(1), space.a.doctor(2)
    tricks = [
        letter(account, f"Resent-From: {other}"),
        letter(account, f"Sender: {other}"),
        letter(f'"zoe.tartempion@cabinet-b.test" <{account}>'),
        letter(f"{account}, {other}"),
        letter(other),
    ]
    with submitter(space, space.a, account) as wire:
        for octets in tricks:
            assert transaction(wire, str(account), [other], octets)[:9] in (
                "553 5.7.1",
                "550 5.7.1",
            )
        for sender in ("", str(account)):
            assert transaction(wire, sender, [other], letter(other)).startswith("553 5.7.1")
        assert transaction(wire, str(account), [other], letter(account)).startswith("250")
