"""As whom a letter goes out: with a certificate that the list names for its sender (OP-20)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mssmtp.config import CertificateSettings, Settings
from mssmtp.demo.authority import Authority, Identity, Subject
from mssmtp.mail import Address, Domain
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, unsigned_whitelist
from tests.smtp_out.test_relay import PEER, World, identities

__all__ = ["identities"]

SECOND = "clinique-a.test"
SECOND_SUBJECT = Subject("mx.clinique-a.test", "1990000025", "CLINIQUE A")
ANA = Address.parse(f"ana@{SECOND}")


@dataclass(slots=True)
class TwoNames(World):
    """The operator with two domains, each listed with a certificate of its own."""

    def settings(self) -> Settings:
        made = super(TwoNames, self).settings()
        files = self.identities[SECOND].write(self.directory, "second")
        second = CertificateSettings(
            certificate_file=files.certificate_file, key_file=files.key_file
        )
        domains = (*made.operator.domains, Domain(SECOND))
        return made.model_copy(
            update={
                "operator": made.operator.model_copy(update={"domains": domains}),
                "tls": made.tls.model_copy(update={"operators": (*made.tls.operators, second)}),
            }
        )


@pytest.fixture
def two(authority: Authority, identities: dict[str, Identity], tmp_path: Path) -> TwoNames:
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(
        authority,
        (A_DOMAIN, A_SUBJECT.text),
        (SECOND, SECOND_SUBJECT.text),
        (B_DOMAIN, B_SUBJECT.text),
    )
    snapshot = Snapshot(listed, Revocation.of(authority.crls(), anchors), anchors)
    known = identities | {SECOND: authority.issue(SECOND_SUBJECT)}
    return TwoNames(authority, known, tmp_path, snapshot)


@pytest.mark.requirement("OP-20")
async def test_each_sender_goes_out_under_its_own_name_and_connections_are_not_shared(
    two: TwoNames,
) -> None:
    """A peer binds MAIL FROM to the certificate: the other one's would be refused there."""
    peer = two.peer()
    async with two.relaying(**{PEER: peer}):
        for count, sender in enumerate((None, ANA, None, ANA), start=1):
            if sender is None:
                two.letter()
            else:
                two.letter(sender=sender)
            await two.settled(count)
    assert two.store.results == ["delivered"] * 4
    assert len(peer.sessions) == 2, "each is kept for its own name"
    first, second = peer.sessions
    assert "mx.hopital-a.test" in first.client_subject
    assert "mx.clinique-a.test" in second.client_subject
    assert [m.sender for m in peer.messages].count(str(ANA)) == 2


@pytest.mark.requirement("OP-21", "DEF-01")
async def test_mail_of_a_domain_without_a_listed_certificate_waits(two: TwoNames) -> None:
    anchors = two.snapshot.anchors
    rows = ((A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
    listed = unsigned_whitelist(two.authority, *rows)
    two.trust.swap(Snapshot(listed, two.snapshot.revocation, anchors))
    peer = two.peer()
    async with two.relaying(**{PEER: peer}):
        two.letter(sender=ANA)
        await two.settled()
    assert two.store.results == ["queued"]
    assert two.store.rows[0].reply.startswith("451 4.7.1 ")
    assert not peer.sessions
