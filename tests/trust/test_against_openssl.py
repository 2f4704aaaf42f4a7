"""`openssl verify` of Debian beside our judgement, with the same anchors, CRLs and time (ATT-16).

Whatever we accept it accepts. What it accepts and we refuse is refused for a reason with a name.
"""

from __future__ import annotations

import re
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from mssmtp.demo.authority import crl_pem
from mssmtp.pki import PEM, CertificateRefused, Role
from mssmtp.revocation import BadRevocationList, Revocation, judge_chain
from tests.space import program
from tests.trust.chains import NOW, Chain, Workshop, chains

OUR_WORDS = {
    "9": "not yet valid",
    "10": "expired",
    "3": "revocation unknown",
    "11": "revocation unknown",
    "12": "revocation unknown",
    "23": "revoked",
}
"""X509_V_ERR_… as `openssl verify` prints it; any other number is a bad chain."""


@dataclass(frozen=True)
class Judges:
    """Both, with the anchors and CRLs of most chains."""

    shop: Workshop
    folder: Path

    def ours(self, chain: Chain, role: Role) -> str:
        anchors = chain.anchors or self.shop.anchors
        sent = (chain.leaf, *chain.sent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns of what a peer may well send
            try:
                revocation = Revocation.of(chain.crls or self.shop.crls, anchors)
            except BadRevocationList:
                revocation = None  # as a server that has none yet
            try:
                judge_chain(sent, anchors, revocation, role, NOW)
            except CertificateRefused as error:
                return error.reason
        return "accepted"

    def theirs(self, chain: Chain, *options: str) -> str:
        anchors = (chain.anchors or self.shop.anchors).certificates
        files = {
            "anchors": b"".join(c.public_bytes(PEM) for c in anchors),
            "crls": crl_pem(chain.crls or self.shop.crls),
            "sent": b"".join(c.public_bytes(PEM) for c in chain.sent),
            "leaf": chain.leaf.public_bytes(PEM),
        }
        for name, octets in files.items():
            (self.folder / name).write_bytes(octets)
        command = [program("openssl"), "verify", "-no-CApath", "-no-CAstore"]
        command += ["-CAfile", "anchors", "-CRLfile", "crls", "-crl_check_all", *options]
        command += ["-attime", str(int(NOW.timestamp()))]
        command += ["-untrusted", "sent"] if chain.sent else []
        done = subprocess.run(
            [*command, "leaf"], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return "accepted"
        found = re.search(r"error (\d+) at", done.stdout + done.stderr)
        return OUR_WORDS.get(found[1] if found else "", "chain")


CHAINS = list(chains())


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Judges:
    return Judges(Workshop(), tmp_path_factory.mktemp("openssl"))


@pytest.mark.attack
@pytest.mark.requirement("OP-07", "OP-08", "OP-09")
@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.name)
def test_att_16_every_chain_is_judged_as_expected_and_never_milder_than_openssl(
    judges: Judges, chain: Chain
) -> None:
    server, client = judges.ours(chain, Role.SERVER), judges.ours(chain, Role.CLIENT)
    theirs = judges.theirs(chain)
    assert (server, client) == (chain.expected, chain.as_client or chain.expected)
    if "accepted" in (server, client):
        assert theirs == "accepted"
    elif theirs == "accepted":
        assert chain.stricter, f"we refuse ({server}) what openssl accepts, for no reason named"
    elif not (chain.stricter or chain.sent):  # issuers that are sent lead it to other faults
        assert server == theirs


@pytest.mark.attack
@pytest.mark.parametrize(
    "chain", [c for c in CHAINS if c.expected == "accepted"], ids=lambda chain: chain.name
)
def test_att_16_a_server_we_accept_is_one_for_openssl_too(judges: Judges, chain: Chain) -> None:
    assert judges.theirs(chain, "-purpose", "sslserver") == "accepted"


@pytest.mark.attack
def test_att_16_openssl_alone_would_accept_what_we_are_stricter_with(judges: Judges) -> None:
    """The detector: each reason of ours is needed by at least one chain."""
    needed = {c.stricter for c in CHAINS if c.stricter and judges.theirs(c) == "accepted"}
    assert needed == {c.stricter for c in CHAINS if c.stricter}
