"""Chains, dates, usages, strength and revocation of a peer's certificate (OP-07 to OP-09)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from OpenSSL import crypto

from mssmtp import pki
from mssmtp.demo.authority import (
    CLIENT_ONLY,
    EMAIL_ONLY,
    HEALTHY,
    SERVER_ONLY,
    Authority,
    Identity,
    Make,
    Subject,
    crl_pem,
)
from mssmtp.errors import ConfigError
from mssmtp.pki import Anchors, CertificateRefused, Role
from mssmtp.revocation import BadRevocationList, Revocation, judge_chain, judge_revocation
from tests.authority import A_SUBJECT, shared_keys

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def other(space: Authority) -> Authority:
    """Another authority with the same names and other keys (WT-04, WT-33)."""
    return Authority(space.now, make_key=shared_keys(20))


def refusal(
    identity: Identity,
    anchors: Anchors,
    revocation: Revocation | None,
    now: datetime,
    role: Role = Role.CLIENT,
    **options: bool,
) -> str:
    """The reason of the refusal, or "accepted"."""
    try:
        judge_chain(identity.chain, anchors, revocation, role, now, **options)
    except CertificateRefused as error:
        refused = error
    else:
        return "accepted"
    assert refused.serial == pki.serial_text(identity.certificate)
    expected = (451, "4.7.5") if refused.reason == "revocation unknown" else (554, "5.7.5")
    assert (refused.reply.code, refused.reply.enhanced) == expected
    return refused.reason


USAGES = [
    # usages, as client, as server (WT-44)
    (HEALTHY.usages, "accepted", "accepted"),
    (SERVER_ONLY, "accepted", "accepted"),
    (CLIENT_ONLY, "accepted", "usage"),
    (EMAIL_ONLY, "usage", "usage"),
    ((*EMAIL_ONLY, *SERVER_ONLY), "accepted", "accepted"),
    ((Eku.ANY_EXTENDED_KEY_USAGE,), "usage", "usage"),
    (None, "accepted", "accepted"),
]


@pytest.mark.requirement("OP-08")
@pytest.mark.parametrize(("usages", "client", "server"), USAGES)
def test_usage_decides_by_role(
    space: Authority,
    anchors: Anchors,
    usages: tuple[x509.ObjectIdentifier, ...] | None,
    client: str,
    server: str,
) -> None:
    identity = space.issue(A_SUBJECT, Make(usages=usages))
    crls = Revocation.of(space.crls(), anchors)
    assert refusal(identity, anchors, crls, space.now) == client
    assert refusal(identity, anchors, crls, space.now, Role.SERVER) == server


def test_wt_44_certificate_without_usage_is_refused_by_setting(
    space: Authority, anchors: Anchors
) -> None:
    crls = Revocation.of(space.crls(), anchors)
    bare = space.issue(A_SUBJECT, Make(usages=None))
    assert refusal(bare, anchors, crls, space.now, require_eku=True) == "usage"
    assert refusal(space.issue(A_SUBJECT), anchors, crls, space.now, require_eku=True) == "accepted"


def expired(space: Authority) -> Identity:
    return space.issue(
        A_SUBJECT, Make(not_before=space.now - 9 * DAY, not_after=space.now - timedelta(seconds=1))
    )


def early(space: Authority) -> Identity:
    return space.issue(A_SUBJECT, Make(not_before=space.now + timedelta(seconds=1)))


def other_ca(space: Authority) -> Identity:
    return Authority(space.now, make_key=shared_keys(20)).issue(A_SUBJECT)


def self_signed(space: Authority) -> Identity:
    """The other authority's root as its own leaf."""
    stranger = Authority(space.now, make_key=shared_keys(20))
    return Identity(stranger.root, (), stranger.issue(A_SUBJECT).key)


def below_an_operator(space: Authority) -> Identity:
    """A leaf signed by an operator's certificate: path length and CA bit (ATT-16)."""
    operator = space.issue(A_SUBJECT)
    forger = Authority(space.now, make_key=shared_keys(10))
    forger._key, forger._name = operator.key, operator.certificate.subject
    forged = forger.issue(Subject("mx.forged.test"))
    return replace(forged, issuers=(operator.certificate, space.intermediate))


def below_the_root(space: Authority) -> Identity:
    """Issued by the root itself, past the one intermediate OP-07 names."""
    sister = Authority(space.now, make_key=shared_keys(10))
    sister._key, sister._name = sister._root_key, sister._root_name
    return sister.issue(A_SUBJECT)


def sister_authority(space: Authority) -> Identity:
    """Below an intermediate of the same root that is not ours, sent along by the peer."""
    sister = Authority(space.now, make_key=shared_keys(10))
    key = shared_keys(30)()
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "TEST AC IGC-SANTE ELEMENTAIRE PERSONNES")]
    )
    persons = sister._make_authority(name, key, path_length=0)
    assert persons.issuer == space.root.subject
    # `_make_authority` signs with the root and names it as issuer.
    sister._key, sister._name = key, name
    return replace(sister.issue(A_SUBJECT), issuers=(persons,))


def authority_bit(space: Authority) -> Identity:
    return space.issue(A_SUBJECT, Make(is_authority=True, digital_signature=True))


def no_signature_usage(space: Authority) -> Identity:
    return space.issue(A_SUBJECT, Make(digital_signature=False))


def short_key(space: Authority) -> Identity:
    maker = Authority(space.now, make_key=shared_keys(10))
    maker._make_key = lambda: rsa.generate_private_key(65537, 1024)  # noqa: S505  # too short on purpose
    return maker.issue(A_SUBJECT)


def old_digest(space: Authority) -> Identity:
    """SHA-1, which only OpenSSL still signs with."""
    healthy = space.issue(A_SUBJECT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = crypto.X509.from_cryptography(healthy.certificate)
        old.sign(crypto.PKey.from_cryptography_key(space._key), "sha1")
    return replace(healthy, certificate=old.to_cryptography())


def changed_bit(space: Authority) -> Identity:
    healthy = space.issue(A_SUBJECT)
    der = bytearray(healthy.certificate.public_bytes(pki.DER))
    der[-5] ^= 1
    return replace(healthy, certificate=x509.load_der_x509_certificate(bytes(der)))


BAD: list[tuple[Callable[[Authority], Identity], str]] = [
    (expired, "expired"),
    (early, "not yet valid"),
    (other_ca, "chain"),
    (self_signed, "chain"),
    (below_an_operator, "chain"),
    (below_the_root, "chain"),
    (sister_authority, "chain"),
    (authority_bit, "usage"),
    (no_signature_usage, "usage"),
    (short_key, "weak"),
    (old_digest, "weak"),
    (changed_bit, "chain"),
]


@pytest.mark.attack
@pytest.mark.requirement("OP-07", "OP-08")
@pytest.mark.parametrize(("make", "reason"), BAD, ids=[m.__name__ for m, _ in BAD])
def test_att_16_bad_chain_is_refused_with_its_reason(
    space: Authority, anchors: Anchors, make: Callable[[Authority], Identity], reason: str
) -> None:
    crls = Revocation.of(space.crls(), anchors)
    assert refusal(make(space), anchors, crls, space.now) == reason
    assert refusal(space.issue(A_SUBJECT), anchors, crls, space.now) == "accepted"


@pytest.mark.attack
@pytest.mark.parametrize("make", [short_key, old_digest, below_the_root, no_signature_usage])
def test_att_16_openssl_alone_would_let_these_pass(
    space: Authority, anchors: Anchors, make: Callable[[Authority], Identity]
) -> None:
    """The detector of the test above: without our own checks these four are accepted."""
    store = anchors.store(space.now)
    leaf = crypto.X509.from_cryptography(make(space).certificate)
    crypto.X509StoreContext(store, leaf).verify_certificate()


def test_no_certificate_is_554_5_7_0(space: Authority, anchors: Anchors) -> None:
    with pytest.raises(CertificateRefused) as caught:
        judge_chain((), anchors, None, Role.CLIENT, space.now)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (554, "5.7.0")


# ---------------------------------------------------------------- revocation


@pytest.mark.requirement("OP-08")
def test_wt_03_revoked_certificate_is_refused_and_its_sister_is_not(
    space: Authority, anchors: Anchors
) -> None:
    """WT-42: two certificates of one operator, one revoked."""
    gone, kept = space.issue(A_SUBJECT), space.issue(A_SUBJECT)
    space.revoke(gone)
    crls = Revocation.of(space.crls(), anchors)
    assert refusal(gone, anchors, crls, space.now) == "revoked"
    assert refusal(kept, anchors, crls, space.now) == "accepted"
    assert refusal(gone, anchors, crls, space.now, Role.SERVER) == "revoked"


@pytest.mark.attack
def test_att_16_revoked_intermediate_takes_everything_below_with_it(
    space: Authority, anchors: Anchors
) -> None:
    dates = (space.now - DAY, space.now + DAY)
    root_crl = space._crl(
        space._root_name, space._root_key, [space.intermediate.serial_number], dates
    )
    crls = Revocation.of([root_crl, space.crls()[1]], anchors)
    identity = space.issue(A_SUBJECT)
    assert refusal(identity, anchors, crls, space.now) == "revoked"
    with pytest.raises(CertificateRefused):  # the signer of the list is judged by this one alone
        judge_revocation(identity.certificate, anchors, crls, space.now)
    only = Revocation.of([space.crls()[1]], anchors)
    with pytest.raises(CertificateRefused):
        judge_revocation(identity.certificate, anchors, only, space.now)


@pytest.mark.requirement("OP-09")
def test_wt_30_past_next_update_mail_is_deferred_never_accepted(
    space: Authority, anchors: Anchors
) -> None:
    identity = space.issue(A_SUBJECT)
    crls = Revocation.of(space.crls(next_update=space.now), anchors)
    assert crls.next_update == space.now
    before = space.now - timedelta(seconds=1)
    assert refusal(identity, anchors, crls, before) == "accepted"  # WT-31
    assert refusal(identity, anchors, crls, space.now) == "revocation unknown"
    assert refusal(identity, anchors, None, space.now) == "revocation unknown"
    assert refusal(identity, anchors, Revocation(()), space.now) == "revocation unknown"


def test_a_revocation_holds_past_the_end_of_its_crl(space: Authority, anchors: Anchors) -> None:
    gone = space.issue(A_SUBJECT)
    space.revoke(gone)
    stale = space.crls(this_update=space.now - DAY, next_update=space.now - DAY / 24)
    crls = Revocation.of(stale, anchors)
    assert refusal(gone, anchors, crls, space.now) == "revoked"


def test_crl_that_begins_later_is_not_used_yet(space: Authority, anchors: Anchors) -> None:
    crls = Revocation.of(space.crls(this_update=space.now + DAY), anchors)
    assert refusal(space.issue(A_SUBJECT), anchors, crls, space.now) == "revocation unknown"


@pytest.mark.parametrize("missing", [0, 1])
def test_every_authority_of_the_chain_needs_its_crl(
    space: Authority, anchors: Anchors, missing: int
) -> None:
    files = list(space.crls())
    del files[missing]
    crls = Revocation.of(files, anchors)
    assert refusal(space.issue(A_SUBJECT), anchors, crls, space.now) == "revocation unknown"


def test_bad_certificate_is_refused_before_an_unusable_crl_defers(
    space: Authority, anchors: Anchors
) -> None:
    """Step 3 of docs/trust.md comes before step 4: no retries for what can never pass."""
    for make, reason in BAD:
        assert refusal(make(space), anchors, None, space.now) == reason


def test_of_two_crls_the_higher_number_counts(space: Authority, anchors: Anchors) -> None:
    old = space.crls()
    gone = space.issue(A_SUBJECT)
    space.revoke(gone)
    new = space.crls()
    for files in ((*old, *new), (*new, *old)):
        crls = Revocation.of(files, anchors)
        assert refusal(gone, anchors, crls, space.now) == "revoked"
    number = Revocation.of(new, anchors).number(space.intermediate.subject)
    assert number is not None
    assert Revocation.of(old, anchors).number(space.intermediate.subject) == number - 1


def test_crls_are_read_from_pem_and_der(space: Authority, anchors: Anchors) -> None:
    assert len(Revocation.of([crl_pem(space.crls())], anchors).crls) == 2


def test_crl_of_another_authority_is_refused(
    space: Authority, anchors: Anchors, other: Authority
) -> None:
    with pytest.raises(BadRevocationList, match="not signed"):
        Revocation.of(other.crls(), anchors)


@pytest.mark.parametrize("octets", [b"", b"x", b"-----BEGIN X509 CRL-----\nAA==\n-----END"])
def test_unreadable_crl_is_refused(anchors: Anchors, octets: bytes) -> None:
    with pytest.raises(BadRevocationList):
        Revocation.of([octets], anchors)


# ---------------------------------------------------------------- anchors


def test_wt_45_test_and_production_authorities_are_never_active_together(space: Authority) -> None:
    production = Authority(space.now, make_key=shared_keys(20), prefix="")
    Anchors.from_pem(production.anchors_pem)
    with pytest.raises(ConfigError, match="mixes test and production"):
        Anchors.from_pem(space.anchors_pem + production.anchors_pem)


def test_anchors_need_a_root_and_readable_certificates(space: Authority) -> None:
    with pytest.raises(ConfigError, match="no self-signed root"):
        Anchors((space.intermediate,))
    with pytest.raises(ConfigError, match="no readable certificate"):
        Anchors.from_pem(b"nothing")
