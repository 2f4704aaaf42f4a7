"""The throw-away authority makes what the product sheets say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from mssmtp.demo.authority import Authority, Identity
from mssmtp.pki import Anchors, Role, certificate_name, listed_name
from mssmtp.revocation import judge_chain
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN, A_SUBJECT, shared_keys


@pytest.mark.requirement("OP-06")
def test_operator_certificate_is_rsa_2048_sha_256_three_years_for_both_roles(
    authority: Authority, healthy: dict[str, Identity], snapshot: Snapshot
) -> None:
    leaf = healthy[A_DOMAIN].certificate
    key = leaf.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    assert (leaf.not_valid_after_utc - authority.now).days == 3 * 365
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {Eku.SERVER_AUTH, Eku.CLIENT_AUTH} <= set(usages)
    for role in (Role.CLIENT, Role.SERVER):
        judge_chain((leaf,), snapshot.anchors, snapshot.revocation, role, authority.now)


def test_names_of_the_authorities_are_the_national_test_names(authority: Authority) -> None:
    assert certificate_name(authority.root.subject) == listed_name(
        "CN=TEST AC RACINE IGC-SANTE ELEMENTAIRE,"
        "OU=IGC-SANTE TEST,OU=0002 187512751,O=ASIP-SANTE,C=FR"
    )
    assert certificate_name(authority.intermediate.subject) == listed_name(
        "CN=TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS,"
        "OU=IGC-SANTE TEST,OU=0002 187512751,O=ASIP-SANTE,C=FR"
    )
    assert len(Anchors.from_pem(authority.anchors_pem).certificates) == 2


def test_printed_name_is_that_of_the_list(healthy: dict[str, Identity]) -> None:
    identity = healthy[A_DOMAIN]
    assert identity.dn_text == A_SUBJECT.text
    assert listed_name(identity.dn_text) == certificate_name(identity.certificate.subject)


def test_written_key_is_readable_by_its_owner_only(
    healthy: dict[str, Identity], tmp_path: Path
) -> None:
    files = healthy[A_DOMAIN].write(tmp_path / "certs", "operator")
    assert files.key_file.stat().st_mode & 0o777 == 0o600
    assert len(x509.load_pem_x509_certificates(files.certificate_file.read_bytes())) == 2


def test_authority_is_made_for_its_moment() -> None:
    moment = datetime(2031, 5, 1, 12, tzinfo=UTC)
    later = Authority(moment, make_key=shared_keys())
    assert later.intermediate.not_valid_before_utc < moment < later.intermediate.not_valid_after_utc
