"""A delegate's letter at the submission door: Sender is added, the trace names both (DEF-12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.mail import DelegateRight
from tests.authority import B_DOMAIN
from tests.smtp_in.fakes import PAUL, URGENCES, ZOE
from tests.smtp_in.rig import Rig, logged_in

TO = f"luc@{B_DOMAIN}"


def lend(rig: Rig, right: DelegateRight) -> int:
    """Paul lends his box to Zoé."""
    paul = rig.store.bals[PAUL]
    known = rig.logins.principal
    bals = tuple(bal for bal in known.bals if bal.address == ZOE)
    rig.logins.principal = replace(known, bals=(*bals, paul), roles={paul.id: right}, own=ZOE)
    return paul.id


async def letter(rig: Rig, *, sender: str = "", author: object = PAUL) -> str:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{author}>")
        await wire.say(f"RCPT TO:<{TO}>")
        await wire.say("DATA")
        return await wire.say(f"{sender}From: <{PAUL}>\r\nTo: <{TO}>\r\n\r\ntexte\r\n.")


@pytest.mark.requirement("DEF-12", "SEED-42")
async def test_what_is_written_on_behalf_names_the_delegate_and_is_traced_to_both(rig: Rig) -> None:
    paul = lend(rig, DelegateRight.SEND)
    assert (await letter(rig)).startswith("250")
    (kept,) = rig.store.kept
    assert kept.octets.count(b"Sender: <%b>\r\n" % str(ZOE).encode()) == 1
    assert b"From: <%b>\r\n" % str(PAUL).encode() in kept.octets
    ((kind, author, request, answer, account, bal),) = rig.store.traces
    assert (kind, author, answer, bal) == ("send", str(ZOE), "250 2.0.0", paul)
    assert account == rig.logins.principal.account
    assert f"from {PAUL} (on behalf)" in str(request)
    assert TO not in str(request)


@pytest.mark.requirement("DEF-12")
@pytest.mark.attack
async def test_att_42_a_sender_that_hides_the_delegate_is_refused_and_traced(rig: Rig) -> None:
    lend(rig, DelegateRight.SEND)
    for hidden in (PAUL, URGENCES, TO):
        told = await letter(rig, sender=f"Sender: <{hidden}>\r\n")
        assert told.startswith("553 5.7.1"), hidden
    assert not rig.store.kept
    assert {trace[3] for trace in rig.store.traces} == {"553 5.7.1"}


@pytest.mark.requirement("DEF-12")
async def test_who_may_only_reply_or_read_writes_to_nobody_new(rig: Rig) -> None:
    for right, code in ((DelegateRight.REPLY, "550 5.7.1"), (DelegateRight.READ, "553 5.7.1")):
        lend(rig, right)
        async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
            told = [await wire.say(f"MAIL FROM:<{PAUL}>"), await wire.say(f"RCPT TO:<{TO}>")]
        assert code in " ".join(told)


async def test_ones_own_letter_gets_no_sender(rig: Rig) -> None:
    lend(rig, DelegateRight.SEND)
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        await wire.say(f"RCPT TO:<{TO}>")
        await wire.say("DATA")
        assert (await wire.say(f"From: <{ZOE}>\r\n\r\ntexte\r\n.")).startswith("250")
    (kept,) = rig.store.kept
    assert b"Sender:" not in kept.octets
    assert "(on behalf)" not in str(rig.store.traces)
