"""What reports tell of letters that a hospital's own servers bring and take (DEF-19, CL-61)."""

from __future__ import annotations

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import EnvelopeId
from mssmtp.storage import Store
from tests.smtp_in.fakes import PAUL, PEER, ZOE
from tests.smtp_in.rig import Wire, greeted
from tests.smtp_in.test_delivered_reports import wish
from tests.smtp_in.test_gateway_door import RELAY, USUAL, hospital
from tests.smtp_in.test_receipts_at_the_doors import failed, receipt, steps
from tests.smtp_in.test_with_store import OWN, Whole, log_in, store, whole

__all__ = ["store", "whole"]


@pytest.fixture
def relay(authority: Authority) -> Identity:
    return authority.issue(RELAY)


async def relayed(wire: Wire, sender: str, octets: bytes, to: object = PEER) -> EnvelopeId:
    reply = await wish(wire, sender, {to: ""}, octets)  # type: ignore[dict-item]
    assert reply.startswith("250 2.0.0"), reply
    return EnvelopeId(reply.split()[-1])


@pytest.mark.requirement("DEF-19", "CL-61")
@pytest.mark.parametrize("inbound", ["store", "forward"])
async def test_a_report_finds_the_letter_that_a_hospital_brought(
    whole: Whole, store: Store, relay: Identity, inbound: str
) -> None:
    """By ENVID and by Message-ID, and wherever the report itself goes."""
    whole.gateways = hospital(inbound=inbound, hosts=["relais.chu.example:25"])
    async with whole.hospitals() as (_, port), await greeted(whole, port, relay) as wire:
        named = await relayed(wire, f"<{ZOE}> ENVID=QQ+2B1", OWN + b"corps\r\n")
        other = await relayed(wire, f"<{ZOE}>", OWN.replace(b"<1@", b"<2@") + b"corps\r\n")
    by_id = failed(PEER, "inconnu").replace(b"<1@", b"<2@")
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        for octets in (failed(PEER), by_id):
            assert (await wish(wire, "<>", {ZOE: ""}, octets)).startswith("250 2.0.0")
    for envelope in (named, other):
        assert steps(store, envelope) == [(str(PEER), "rejet", "closed")]


@pytest.mark.attack("ATT-44")
@pytest.mark.requirement("DEF-19", "CL-64")
async def test_a_hospitals_server_speaks_of_its_own_people_by_either_address(
    whole: Whole, store: Store, relay: Identity
) -> None:
    whole.gateways = hospital()
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        reply = await wish(wire, f"<{ZOE}>", {PAUL: "", PEER: "", ZOE: ""}, OWN + b"corps\r\n")
    envelope = EnvelopeId(reply.split()[-1])
    about = (
        receipt(PAUL),
        receipt(ZOE).replace(f"rfc822; {ZOE}".encode(), f"rfc822; {USUAL}".encode()),
    )
    async with whole.hospitals() as (_, port), await greeted(whole, port, relay) as wire:
        mine = failed(PEER).replace(b"MAILER-DAEMON@cabinet-b.test", str(ZOE).encode())
        for octets in (*about, receipt(PEER), mine):
            assert (await wish(wire, "<>", {ZOE: ""}, octets)).startswith("250 2.0.0")
    read = {(to, kind) for to, kind, _ in steps(store, envelope)} - {(str(PEER), "relais")}
    assert {to for to, kind in read if kind == "lu"} == {str(PAUL), str(ZOE)}
    assert not any(to == str(PEER) for to, _ in read), "not of whom it has no word to say"
