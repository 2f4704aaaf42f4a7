"""What is known of revocations, at its edges: each was a check that no other test held (OP-09)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as wire

from mssmtp import pki
from mssmtp.demo.authority import Authority, Identity, Make, crl_pem
from mssmtp.ocsp import Answer, BadAnswer
from mssmtp.pki import Anchors, CertificateRefused, Role
from mssmtp.revocation import (
    BadRevocationList,
    Crl,
    Revocation,
    Scope,
    Status,
    judge_chain,
    judge_revocation,
    read_crls,
)
from tests.authority import A_SUBJECT, MakeAnswer, MakeCrl, make_answer, make_crl
from tests.trust.answering import with_extension
from tests.trust.forging import algorithm, element, forged, sealed

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def peer(space: Authority) -> Identity:
    return space.issue(A_SUBJECT)


@pytest.fixture(scope="module")
def whole(space: Authority) -> Crl:
    """Of the intermediate, number 5, for a day before and after now; it lists nobody."""
    dates = NOW - DAY, NOW + DAY
    return Crl(space.intermediate, 5, *dates, Scope(), 1, b"")


def known(crl: Crl | None, *answers: tuple[Identity, Answer]) -> Revocation:
    return Revocation(
        () if crl is None else (crl,), {who.certificate: answer for who, answer in answers}
    )


# ---------------------------------------------------------------- one CRL


def test_a_scope_of_users_or_authorities_covers_the_one_kind(
    space: Authority, peer: Identity
) -> None:
    """RFC 5280 4.2.1.9: without basic constraints a certificate is no authority's."""
    bare = (
        space._builder(A_SUBJECT.name, peer.key.public_key(), (NOW - DAY, NOW + DAY))
        .issuer_name(space._name)
        .sign(space._key, hashes.SHA256())
    )
    assert pki.extension(bare, x509.BasicConstraints) is None
    users, authorities = Scope(only_users=True), Scope(only_authorities=True)
    for certificate, is_authority in (
        (bare, False),
        (peer.certificate, False),
        (space.intermediate, True),
    ):
        assert Scope().covers(certificate)
        assert users.covers(certificate) is not is_authority
        assert authorities.covers(certificate) is is_authority


def test_a_crl_counts_from_its_first_moment_to_before_its_last(whole: Crl) -> None:
    assert whole.is_in_date(whole.this_update)
    assert not whole.is_in_date(whole.this_update - SECOND)
    assert whole.is_in_date(whole.next_update - SECOND)
    assert not whole.is_in_date(whole.next_update)


def test_a_pem_file_may_begin_with_empty_lines_and_must_hold_something(
    space: Authority, anchors: Anchors
) -> None:
    pem = crl_pem([make_crl(space, MakeCrl())])
    assert len(read_crls(b"\r\n \n" + pem, anchors)) == 1
    with pytest.raises(BadRevocationList, match="empty"):
        read_crls(pem[: pem.index(b"-----END")], anchors)


def _changed(space: Authority, octets: bytes, old: bytes, new: bytes, last: int = 11) -> bytes:
    """A CRL with one piece of its signed part changed, signed again by the authority."""
    signed = x509.load_der_x509_crl(octets).tbs_certlist_bytes
    assert signed.count(old) == 1
    inner = signed.replace(old, new)
    head = 2 + (inner[1] & 0x7F if inner[1] & 0x80 else 0)
    return sealed(element(0x30, inner[head:]), space._key, last)


@pytest.mark.attack
def test_att_16_a_crl_without_an_end_or_with_an_old_digest_is_refused(
    space: Authority, anchors: Anchors
) -> None:
    good = make_crl(space, MakeCrl(next_update=NOW + 5 * DAY))
    assert read_crls(_changed(space, good, b"260307090000Z", b"260308090000Z"), anchors)
    endless = _changed(space, good, element(0x17, b"260307090000Z"), b"")
    old = _changed(space, good, algorithm(11), algorithm(5), last=5)
    for octets, reason in ((endless, "without an end"), (old, "weak signature")):
        with pytest.raises(BadRevocationList, match=reason):
            read_crls(octets, anchors)


@pytest.mark.attack
def test_att_16_a_crl_of_two_numbers_is_refused(space: Authority, anchors: Anchors) -> None:
    number = element(0x30, bytes.fromhex("0603551d14"), element(0x04, element(0x02, b"\x03\xe8")))
    once, twice = (element(0xA0, element(0x30, *[number] * count)) for count in (1, 2))
    with pytest.raises(BadRevocationList, match="not readable"):
        read_crls(_changed(space, make_crl(space, MakeCrl()), once, twice), anchors)


@pytest.mark.attack
def test_att_16_the_octet_of_a_crl_that_no_signature_covers_is_looked_at(
    space: Authority, anchors: Anchors
) -> None:
    """How many bits at the end do not count: two files would be one CRL."""
    good = make_crl(space, MakeCrl())
    value = b"\0" + x509.load_der_x509_crl(good).signature
    assert good.endswith(value)
    with pytest.raises(BadRevocationList):
        read_crls(good[: -len(value)] + b"\1" + value[1:], anchors)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_serial_number_below_zero_is_kept_as_it_is(space: Authority, anchors: Anchors) -> None:
    """RFC 5280 4.1.2.2: some authority has let one slip, and its CRL still counts."""
    entry = bytes.fromhex("020107") + element(0x17, b"260302085500Z")
    octets = _changed(space, make_crl(space, MakeCrl([7])), entry, b"\x02\x01\xf9" + entry[3:])
    (kept,) = read_crls(octets, anchors)
    assert kept.lists(-7)
    assert not kept.lists(7)
    assert not kept.lists(249)


@pytest.mark.attack
def test_att_16_a_crl_of_a_relative_name_is_of_a_part_only(
    space: Authority, anchors: Anchors
) -> None:
    name = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    part = x509.IssuingDistributionPoint(None, name, False, False, None, False, False)
    with pytest.raises(BadRevocationList, match="of a part only"):
        read_crls(make_crl(space, MakeCrl(extensions=((part, True),))), anchors)


@pytest.mark.attack
def test_att_16_a_point_whose_crl_is_somebody_elses_is_not_the_crl_of_our_authority(
    space: Authority,
) -> None:
    place = [x509.UniformResourceIdentifier("http://crl.igc.test/organisations.crl")]
    scope = Scope(points=frozenset({f"UniformResourceIdentifier:{place[0].value}"}))
    for issuer, covered in ((None, True), ([x509.DirectoryName(A_SUBJECT.name)], False)):
        points = x509.CRLDistributionPoints([x509.DistributionPoint(place, None, None, issuer)])
        made = with_extension(space, space.issue(A_SUBJECT), points)
        assert scope.covers(made.certificate) is covered


@pytest.mark.attack
def test_att_16_a_crl_is_of_the_authority_it_names(space: Authority) -> None:
    """Two authorities of one key: what one has revoked is not what the other has."""
    sister = x509.NameAttribute(x509.NameOID.COMMON_NAME, "TEST AC SOEUR")
    name = x509.Name([*(a for a in space._name if a.oid != sister.oid), sister])
    other = space._make_authority(name, space._key, path_length=0)
    octets = make_crl(space, MakeCrl())
    for order in ((other, space.intermediate), (space.intermediate, other)):
        (kept,) = read_crls(octets, Anchors((space.root, *order)))
        assert kept.authority == space.intermediate


def test_an_authority_without_a_key_usage_may_sign_crls(space: Authority) -> None:
    """RFC 5280 4.2.1.3: what is not restricted is allowed."""
    old = (
        space._builder(space._name, space._key.public_key(), (NOW - DAY, NOW + DAY))
        .issuer_name(space._root_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(space._root_key, hashes.SHA256())
    )
    assert read_crls(make_crl(space, MakeCrl()), Anchors((space.root, old)))


# ---------------------------------------------------------------- several


@pytest.mark.attack
def test_of_one_authority_and_scope_the_newest_crl_counts_wherever_it_stands(
    space: Authority, whole: Crl
) -> None:
    newer = replace(whole, number=6)
    later = replace(whole, this_update=whole.this_update + SECOND)
    for old, new in ((whole, newer), (whole, later), (later, newer)):
        assert Revocation.newest([old, new]).crls == (new,)
        assert Revocation.newest([new, old]).crls == (new,)
    again = replace(whole)
    assert Revocation.newest([whole, again]).crls[0] is whole
    users = replace(newer, scope=Scope(only_users=True))
    of_root = replace(whole, authority=space.root)
    assert Revocation.newest([whole, users, of_root]).crls == (whole, users, of_root)


def test_when_the_first_ends_and_which_number_an_authority_has_reached(
    space: Authority, whole: Crl
) -> None:
    of_root = replace(whole, authority=space.root, number=90, next_update=whole.next_update + DAY)
    users = replace(whole, number=7, scope=Scope(only_users=True))
    for crls in ((whole, of_root, users), (users, of_root, whole)):
        found = Revocation(crls)
        assert found.next_update == whole.next_update
        assert found.number(space.intermediate.subject) == 7
        assert found.number(space.root.subject) == 90
        assert found.number(A_SUBJECT.name) is None
        assert found.held(replace(whole, number=8)) is whole
        assert found.held(replace(users, number=8)) is users
        assert found.held(replace(users, authority=space.root)) is None
    assert Revocation(()).next_update is None


def test_all_of_several_crls_come_back_from_a_child(
    space: Authority, anchors: Anchors, whole: Crl
) -> None:
    """The serial numbers of all stand one behind the other."""
    crls = (
        replace(whole, serials=b"\x01\x02"),
        replace(whole, scope=Scope(only_users=True), width=2, serials=b"\x00\x03\x01\x04"),
        replace(whole, authority=space.root, serials=b"\x05"),
    )
    table = Revocation(crls).to_table(anchors)
    assert [crl.serials for crl in Revocation.from_table(table, anchors).crls] == [
        b"\x01\x02",
        b"\x00\x03\x01\x04",
        b"\x05",
    ]


# ---------------------------------------------------------------- what an answer adds


@pytest.mark.attack
@pytest.mark.parametrize(
    ("verdict", "now", "expected"),
    [
        ("good", NOW - SECOND, "unknown"),
        ("good", NOW, "good"),
        ("good", NOW + DAY - SECOND, "good"),
        ("good", NOW + DAY, "unknown"),
        ("unknown", NOW, "unknown"),
        ("revoked", NOW, "revoked"),
        ("revoked", NOW + DAY, "revoked"),
    ],
)
def test_att_25_without_a_crl_only_a_good_answer_in_date_is_good(
    space: Authority, peer: Identity, verdict: wire.OCSPCertStatus, now: datetime, expected: str
) -> None:
    answer = Answer(verdict, NOW, NOW + DAY)  # type: ignore[arg-type]  # a parameter
    status = known(None, (peer, answer)).status(peer.certificate, space.intermediate, now)
    holds = (NOW, NOW + DAY) if expected == "good" else None
    assert status == Status(expected, holds)  # type: ignore[arg-type]  # a parameter


def test_what_a_crl_says_holds_as_long_as_the_crl(
    space: Authority, peer: Identity, whole: Crl
) -> None:
    """An answer beside it that ends tomorrow neither shortens nor lengthens that."""
    dates = (whole.this_update, whole.next_update)
    for end in (NOW + DAY / 2, NOW + 9 * DAY):
        found = known(whole, (peer, Answer("good", NOW, end)))
        assert found.status(peer.certificate, space.intermediate, NOW) == Status("good", dates)


@pytest.mark.attack
def test_att_16_what_is_learnt_has_our_nonce(space: Authority, peer: Identity, whole: Crl) -> None:
    octets = make_answer(space, peer.certificate, MakeAnswer(nonce=NONCE))
    path = (peer.certificate, space.intermediate)
    assert known(whole).learn(octets, path, NOW, nonce=NONCE).answers
    with pytest.raises(BadAnswer, match="another nonce"):
        known(whole).learn(octets, path, NOW, nonce=NONCE[::-1])


@pytest.mark.attack
def test_att_25_a_younger_answer_takes_the_place_of_an_older_and_a_revocation_of_any(
    space: Authority, peer: Identity, whole: Crl
) -> None:
    path = (peer.certificate, space.intermediate)

    def said(status: wire.OCSPCertStatus, at: datetime) -> bytes:
        make = MakeAnswer(status=status, this_update=at)
        return make_answer(space, peer.certificate, make)

    good, revoked = wire.OCSPCertStatus.GOOD, wire.OCSPCertStatus.REVOKED
    first = known(whole).learn(said(good, NOW - 2 * SECOND), path, NOW)
    assert first.learn(said(good, NOW - 2 * SECOND), path, NOW) is first
    assert first.learn(said(good, NOW - 3 * SECOND), path, NOW) is first
    younger = first.learn(said(good, NOW - SECOND), path, NOW)
    assert younger.answers[peer.certificate].this_update == NOW - SECOND
    older = first.learn(said(revoked, NOW - 3 * SECOND), path, NOW)
    assert older.answers[peer.certificate].verdict == "revoked"
    assert older.learn(said(good, NOW), path, NOW) is older


def test_answers_are_kept_up_to_their_number(
    space: Authority, whole: Crl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.revocation.MAX_ANSWERS", 2)
    found, counts = known(whole), []
    for _ in range(4):
        who = space.issue(A_SUBJECT).certificate
        octets = make_answer(space, who, MakeAnswer())
        found = found.learn(octets, (who, space.intermediate), NOW)
        counts.append(len(found.answers))
    assert counts == [1, 2, 1, 2]


def test_new_crls_take_the_answers_over(peer: Identity, whole: Crl) -> None:
    answered = known(None, (peer, Answer("good", NOW, NOW + DAY)))
    new = known(whole)
    assert new.with_answers_of(None) is new
    assert new.with_answers_of(known(None)) is new
    both = new.with_answers_of(answered)
    assert (both.crls, both.answers) == (new.crls, answered.answers)


# ---------------------------------------------------------------- the judgement


def _latin_in_a_t61_string(der: bytes) -> bytes:
    town = A_SUBJECT.st.encode()
    text = bytes([0x0C, len(town)]) + town
    assert text in der
    return der.replace(text, bytes([0x14, len(town)]) + b"\xed" + town[1:], 1)


@pytest.mark.attack
def test_att_15_a_peer_whose_name_cannot_be_read_is_refused(
    space: Authority, anchors: Anchors, peer: Identity
) -> None:
    """Its caller compares the name next: an error there would be one of ours."""
    spoilt = forged(peer.certificate, space._key, _latin_in_a_t61_string)
    chain = (x509.load_der_x509_certificate(spoilt), space.intermediate)
    good = Revocation.of(space.crls(), anchors)
    judge_revocation(chain[0], anchors, good, NOW)
    for given, reason in ((chain, "chain"), ((), "no certificate")):
        with pytest.raises(CertificateRefused) as caught:
            judge_chain(given, anchors, good, Role.CLIENT, NOW)
        assert caught.value.reason == reason


def test_a_chain_without_usages_is_judged_as_it_is_asked_for(
    space: Authority, anchors: Anchors
) -> None:
    bare = space.issue(A_SUBJECT, Make(usages=None))
    good = Revocation.of(space.crls(), anchors)
    judge_chain(bare.chain, anchors, good, Role.CLIENT, NOW)
    with pytest.raises(CertificateRefused) as caught:
        judge_chain(bare.chain, anchors, good, Role.CLIENT, NOW, require_eku=True)
    assert caught.value.reason == "usage"


def test_a_judgement_holds_while_all_of_the_path_is_in_date_and_known_to_be_good(
    space: Authority, anchors: Anchors, whole: Crl
) -> None:
    """Whatever begins last and ends first: the leaf, its issuers, or a CRL of one of them."""
    long = replace(whole, this_update=NOW - 900 * DAY, next_update=NOW + 9_999 * DAY)
    of_root = replace(long, authority=space.root)
    wide = space.issue(A_SUBJECT, Make(not_before=NOW - 900 * DAY, not_after=NOW + 9_000 * DAY))
    tight = space.issue(A_SUBJECT, Make(not_before=NOW - DAY / 2, not_after=NOW + DAY / 2))
    authority = space.intermediate
    from_authority = authority.not_valid_before_utc, authority.not_valid_after_utc

    def short(crl: Crl) -> Crl:
        return replace(crl, this_update=NOW - DAY / 4, next_update=NOW + DAY / 4)

    for leaf, crls, expected in (
        (tight, (long, of_root), (NOW - DAY / 2, NOW + DAY / 2)),
        (wide, (long, of_root), from_authority),
        (wide, (short(long), of_root), (NOW - DAY / 4, NOW + DAY / 4)),
        (wide, (long, short(of_root)), (NOW - DAY / 4, NOW + DAY / 4)),
    ):
        assert judge_revocation(leaf.certificate, anchors, Revocation(crls), NOW) == expected
