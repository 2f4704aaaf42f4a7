"""What a CRL says and of whom, as it is kept and looked up (OP-09, RFC 5280 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import crypto

from mssmtp import crl_child, pki
from mssmtp.demo.authority import Authority, Identity, Make, crl_pem
from mssmtp.pki import Anchors, CertificateRefused, Role
from mssmtp.revocation import (
    BadRevocationList,
    Revocation,
    judge_chain,
    judge_revocation,
    path_of,
    read_crls,
)
from tests.authority import A_SUBJECT, MakeCrl, big_crl, make_crl, shared_keys

HERE = "http://crl.igc.test/organisations.crl"
THERE = "http://crl.igc.test/other.crl"


@pytest.fixture(scope="module")
def peer(space: Authority) -> Identity:
    return space.issue(A_SUBJECT)


def verdict(space: Authority, peer: Identity, crl: bytes) -> str:
    """What the intermediate's `crl` beside the root's good one makes of `peer`."""
    anchors = Anchors.from_pem(space.anchors_pem)
    known = Revocation.of([make_crl(space, MakeCrl(of_root=True)), crl], anchors)
    try:
        judge_chain(peer.chain, anchors, known, Role.CLIENT, space.now)
    except CertificateRefused as error:
        return error.reason
    return "accepted"


def point(url: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url)]


def scope(
    *,
    url: str | None = None,
    users: bool = False,
    authorities: bool = False,
    indirect: bool = False,
    attributes: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=None if url is None else point(url),
        relative_name=None,
        only_contains_user_certs=users,
        only_contains_ca_certs=authorities,
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=attributes,
    )


# ---------------------------------------------------------------- kinds of CRL

PARTIAL = {
    "indirect": scope(indirect=True),
    "of some reasons": scope(reasons=frozenset({x509.ReasonFlags.key_compromise})),
    "of attribute certificates": scope(attributes=True),
}


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("kind", PARTIAL)
def test_att_16_crl_of_a_part_is_refused(
    space: Authority, anchors: Anchors, kind: str, critical: bool
) -> None:
    octets = make_crl(space, MakeCrl(extensions=((PARTIAL[kind], critical),)))
    with pytest.raises(BadRevocationList, match="of a part only"):
        read_crls(octets, anchors)


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
@pytest.mark.parametrize("critical", [True, False])
def test_att_16_delta_is_never_taken_for_the_whole(
    space: Authority, anchors: Anchors, peer: Identity, critical: bool
) -> None:
    """A later, empty delta beside a whole list: who was revoked stays revoked."""
    delta = make_crl(
        space, MakeCrl(number=1_001, extensions=((x509.DeltaCRLIndicator(1_000), critical),))
    )
    with pytest.raises(BadRevocationList, match="delta without the whole"):
        read_crls(delta, anchors)
    whole = make_crl(space, MakeCrl([peer.certificate.serial_number]))
    for order in ((whole, delta), (delta, whole)):
        (kept,) = read_crls(crl_pem(order), anchors)
        assert kept.number == 1_000
        assert verdict(space, peer, crl_pem(order)) == "revoked"


def test_address_of_deltas_in_a_whole_crl_is_of_no_importance(
    space: Authority, peer: Identity
) -> None:
    fresh = x509.FreshestCRL([x509.DistributionPoint(point(THERE), None, None, None)])
    assert verdict(space, peer, make_crl(space, MakeCrl(extensions=((fresh, False),)))) == (
        "accepted"
    )


@pytest.mark.attack
@pytest.mark.parametrize("critical", [True, False])
def test_att_16_unknown_extension_of_a_crl_matters_when_critical(
    space: Authority, peer: Identity, anchors: Anchors, critical: bool
) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    octets = make_crl(space, MakeCrl(extensions=((unknown, critical),)))
    if critical:
        with pytest.raises(BadRevocationList, match="unknown kind"):
            read_crls(octets, anchors)
    else:
        assert verdict(space, peer, octets) == "accepted"


def test_crl_without_a_number_is_refused(space: Authority, anchors: Anchors) -> None:
    """What has no number cannot be told from an older one."""
    with pytest.raises(BadRevocationList):
        read_crls(make_crl(space, MakeCrl(number=None)), anchors)


@pytest.mark.attack
def test_att_16_crl_signed_by_a_key_not_meant_for_it_is_refused(space: Authority) -> None:
    """An authority whose key usage leaves cRLSign out."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    limited = (
        space._builder(space._name, space._key.public_key(), _dates(space))
        .issuer_name(space._root_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(space._root_key, hashes.SHA256())
    )
    octets = make_crl(space, MakeCrl())
    read_crls(octets, Anchors((space.root, space.intermediate)))
    with pytest.raises(BadRevocationList, match="not signed"):
        read_crls(octets, Anchors((space.root, limited)))


def _dates(space: Authority) -> tuple[datetime, datetime]:
    return space.now - timedelta(days=9), space.now + timedelta(days=900)


# ---------------------------------------------------------------- whom it speaks of


@pytest.mark.attack
@pytest.mark.requirement("OP-09")
def test_att_16_crl_of_authorities_says_nothing_of_operators(
    space: Authority, peer: Identity
) -> None:
    users = make_crl(space, MakeCrl(extensions=((scope(users=True), True),)))
    authorities = make_crl(space, MakeCrl(extensions=((scope(authorities=True), True),)))
    assert verdict(space, peer, users) == "accepted"
    assert verdict(space, peer, authorities) == "revocation unknown"
    both = crl_pem([users, authorities])
    assert verdict(space, peer, both) == "accepted"
    gone = MakeCrl([peer.certificate.serial_number], extensions=((scope(authorities=True), True),))
    assert verdict(space, peer, make_crl(space, gone)) == "revoked"  # never a pardon by scope


@pytest.mark.attack
def test_att_16_crl_of_another_distribution_point_says_nothing(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    """An authority may split its list over several addresses (RFC 5280 5.2.5)."""
    here = make_crl(space, MakeCrl(extensions=((scope(url=HERE), True),)))
    assert verdict(space, peer, here) == "revocation unknown"
    assert verdict(space, with_point(space, HERE), here) == "accepted"
    assert verdict(space, with_point(space, THERE), here) == "revocation unknown"
    some = frozenset({x509.ReasonFlags.superseded})
    assert verdict(space, with_point(space, HERE, some), here) == "revocation unknown"


def with_point(
    space: Authority, url: str, reasons: frozenset[x509.ReasonFlags] | None = None
) -> Identity:
    """A healthy peer whose certificate says where it would be listed."""
    made = space.issue(A_SUBJECT)
    points = x509.CRLDistributionPoints([x509.DistributionPoint(point(url), None, reasons, None)])
    before = made.certificate
    builder = space._builder(A_SUBJECT.name, made.key.public_key(), _dates(space))
    builder = builder.issuer_name(before.issuer).add_extension(points, critical=False)
    for each in before.extensions:
        if not isinstance(each.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(each.value, critical=each.critical)
    return replace(made, certificate=builder.sign(space._key, hashes.SHA256()))


@pytest.mark.attack
def test_att_16_of_two_authorities_of_one_name_only_the_own_crl_counts(
    space: Authority, peer: Identity
) -> None:
    """A renewed authority key: the new key's CRL says nothing of what the old key signed."""
    renewed = Authority(space.now, make_key=shared_keys(10))
    renewed._key = shared_keys(30)()
    successor = renewed._make_authority(renewed._name, renewed._key, path_length=0)
    anchors = Anchors((space.root, space.intermediate, successor))
    assert path_of(peer.certificate, anchors)[0][1] == space.intermediate
    younger = renewed.issue(A_SUBJECT)
    assert path_of(younger.certificate, anchors)[0][1] == successor
    root = make_crl(space, MakeCrl(of_root=True))
    known = Revocation.of([root, make_crl(renewed, MakeCrl())], anchors)
    judge_revocation(younger.certificate, anchors, known, space.now)
    with pytest.raises(CertificateRefused) as caught:
        judge_revocation(peer.certificate, anchors, known, space.now)
    assert caught.value.reason == "revocation unknown"
    both = Revocation.of([root, make_crl(space, MakeCrl()), make_crl(renewed, MakeCrl())], anchors)
    assert len(both.crls) == 3
    judge_revocation(peer.certificate, anchors, both, space.now)


def test_certificate_of_no_authority_of_ours_is_never_known_to_be_good(
    space: Authority, anchors: Anchors
) -> None:
    known = Revocation.of(space.crls(), anchors)
    stranger = Authority(space.now, make_key=shared_keys(20), prefix="").issue(A_SUBJECT)
    with pytest.raises(CertificateRefused) as caught:
        judge_revocation(stranger.certificate, anchors, known, space.now)
    assert caught.value.reason == "revocation unknown"


# ---------------------------------------------------------------- how it is kept


SERIALS = st.integers(1, 2**159 - 1)


@given(st.lists(SERIALS, max_size=30), SERIALS)
@settings(max_examples=40, deadline=None)
def test_what_is_kept_of_a_crl_lists_exactly_its_serials(
    space: Authority, anchors: Anchors, serials: list[int], other: int
) -> None:
    serials = list(dict.fromkeys(serials))
    (kept,) = read_crls(make_crl(space, MakeCrl(serials)), anchors)
    assert kept.count == len(serials)
    assert all(kept.lists(serial) for serial in serials)
    for near in (other, *(s + 1 for s in serials), *(s << 8 for s in serials), 0, -1):
        assert kept.lists(near) == (near in serials)


def test_what_a_child_process_is_told_is_all_that_is_known(
    space: Authority, anchors: Anchors
) -> None:
    crls = [
        make_crl(space, MakeCrl([7, 2**150], extensions=((scope(url=HERE, users=True), True),))),
        make_crl(space, MakeCrl(of_root=True)),
    ]
    known = Revocation.of(crls, anchors)
    told = Revocation.from_table(known.to_table(anchors), anchors)
    for there, here in zip(told.crls, known.crls, strict=True):
        assert [getattr(there, name) for name in there.__slots__] == [
            getattr(here, name) for name in here.__slots__
        ]


def test_a_hundred_thousand_entries_are_kept_in_two_megabytes(
    space: Authority, anchors: Anchors
) -> None:
    octets = big_crl(space, range(2**126, 2**126 + 100_000))
    assert len(octets) > 20 * 1_000_000
    (kept,) = read_crls(octets, anchors)
    assert kept.count == 100_000
    assert len(kept.serials) == 1_600_000
    assert kept.lists(2**126 + 99_999)
    assert not kept.lists(2**126 + 100_000)


# ---------------------------------------------------------------- beside OpenSSL


def openssl_says(space: Authority, peer: Identity, crls: list[bytes], now: datetime) -> bool:
    """OpenSSL's own verdict with all of its CRL checks."""
    store = Anchors.from_pem(space.anchors_pem).store(now)
    for octets in crls:
        store.add_crl(x509.load_der_x509_crl(octets))
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    leaf = crypto.X509.from_cryptography(peer.certificate)
    try:
        crypto.X509StoreContext(store, leaf).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


KINDS = {
    "whole": MakeCrl(),
    "ended": MakeCrl(next_update=datetime.fromisoformat("2026-03-02T08:59:59+00:00")),
    "not begun": MakeCrl(this_update=datetime.fromisoformat("2026-03-02T09:00:01+00:00")),
    "users": MakeCrl(extensions=((scope(users=True), True),)),
    "authorities": MakeCrl(extensions=((scope(authorities=True), True),)),
    "here": MakeCrl(extensions=((scope(url=HERE), True),)),
    "there": MakeCrl(extensions=((scope(url=THERE), True),)),
    "indirect": MakeCrl(extensions=((scope(indirect=True), True),)),
    "of a delta": MakeCrl(extensions=((x509.DeltaCRLIndicator(1), True),)),
    "of the root": MakeCrl(of_root=True),
}


@pytest.mark.attack
@pytest.mark.parametrize("revoked", [False, True], ids=["good", "revoked"])
@pytest.mark.parametrize("kind", KINDS)
def test_att_16_openssl_accepts_nothing_that_we_refuse_and_the_reverse(
    space: Authority, anchors: Anchors, kind: str, revoked: bool
) -> None:
    peer = with_point(space, HERE)
    serials = [peer.certificate.serial_number] if revoked else []
    crls = [
        make_crl(space, MakeCrl(of_root=True)),
        make_crl(space, replace(KINDS[kind], serials=serials)),
    ]
    try:
        known = Revocation.of(crls, anchors)
        judge_chain(peer.chain, anchors, known, Role.CLIENT, space.now)
    except (BadRevocationList, CertificateRefused):
        ours = False
    else:
        ours = True
    assert ours == openssl_says(space, peer, crls, space.now)
    assert ours == (kind in {"whole", "users", "here"} and not revoked)


def test_peer_without_certificate_extensions_is_judged_by_a_whole_crl(
    space: Authority, anchors: Anchors
) -> None:
    bare = space.issue(A_SUBJECT, Make(usages=None))
    assert pki.extension(bare.certificate, x509.CRLDistributionPoints) is None
    assert verdict(space, bare, make_crl(space, MakeCrl())) == "accepted"


# ---------------------------------------------------------------- big ones


@pytest.mark.requirement("OP-09")
def test_big_crl_is_read_in_a_child_and_says_the_same(space: Authority, anchors: Anchors) -> None:
    octets = big_crl(space, range(2**126, 2**126 + 2_000))
    assert len(octets) > crl_child.BIG_OCTETS
    (here,), (there,) = read_crls(octets, anchors), crl_child.read_apart(octets, anchors)
    assert there.authority is here.authority
    assert (there.number, there.next_update, there.scope, there.serials) == (
        here.number,
        here.next_update,
        here.scope,
        here.serials,
    )


@pytest.mark.attack
def test_att_16_big_crl_is_refused_in_the_child_for_the_same_reason(
    space: Authority, anchors: Anchors
) -> None:
    octets = bytearray(big_crl(space, range(2**126, 2**126 + 2_000)))
    octets[len(octets) // 2] ^= 1
    with pytest.raises(BadRevocationList) as caught:
        crl_child.read_apart(bytes(octets), anchors)
    assert str(caught.value) in {"not signed by our authorities", "not readable"}


def test_child_that_dies_refuses_the_crl(
    space: Authority, anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.crl_child.sys.executable", "/bin/false")
    with pytest.raises(BadRevocationList, match="child ended with 1"):
        crl_child.read_apart(big_crl(space, range(2**126, 2**126 + 2_000)), anchors)


@pytest.mark.attack
def test_child_that_reads_a_crl_takes_nothing_from_the_directory_it_is_started_in(
    space: Authority, anchors: Anchors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert crl_child.read_apart(big_crl(space, range(2**126, 2**126 + 2_000)), anchors)
