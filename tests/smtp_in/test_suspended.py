"""What the operator has suspended, at open connections of the doors (OP-79, ATT-25)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes

from mssmtp.mail import Domain
from mssmtp.trust import Suspended
from tests.smtp_in.fakes import PEER, ZOE
from tests.smtp_in.rig import Rig, greeted, logged_in


@pytest.mark.attack("ATT-25")
@pytest.mark.requirement("OP-79")
@pytest.mark.parametrize("what", ["certificate", "domain"])
async def test_a_peer_is_deferred_at_its_next_mail_and_let_in_again(rig: Rig, what: str) -> None:
    mail = f"MAIL FROM:<{PEER}>"
    stopped = {
        "certificate": Suspended(
            certificates=frozenset({rig.b.certificate.fingerprint(hashes.SHA256())})
        ),
        "domain": Suspended(domains=frozenset({PEER.domain})),
    }
    async with rig.operators() as (_, port), await greeted(rig, port, rig.b) as wire:
        assert (await wire.say(mail)).startswith("250 ")
        await wire.say("RSET")
        rig.trust.suspended = stopped[what]
        assert (await wire.say(mail)).startswith("450 4.7.1")
        rig.trust.suspended = Suspended()
        assert (await wire.say(mail)).startswith("250 ")


async def test_nothing_is_taken_for_a_suspended_domain(rig: Rig) -> None:
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        await wire.say(f"MAIL FROM:<{ZOE}>")
        rig.trust.suspended = Suspended(domains=frozenset({Domain("cabinet-b.test")}))
        assert (await wire.say("RCPT TO:<luc@cabinet-b.test>")).startswith("450 4.7.1")
        rig.trust.suspended = Suspended()
        assert (await wire.say("RCPT TO:<luc@cabinet-b.test>")).startswith("250 ")
