"""The signed list: what is accepted, and every way of being refused."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha1
from random import Random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree
from signxml.verifier import SignatureConfiguration, XMLVerifier

from mssmtp import whitelist_signature
from mssmtp.demo.authority import (
    EMAIL_ONLY,
    Authority,
    Identity,
    Make,
    Subject,
    render,
    row,
    sign,
)
from mssmtp.mail import domain
from mssmtp.pki import Anchors, listed_name
from mssmtp.revocation import Revocation
from mssmtp.whitelist import DS, ListRefused, ListRules, Row, SignedList
from mssmtp.whitelist_signature import signed_list, verify
from tests.authority import A_SUBJECT, B_SUBJECT, shared_keys
from tests.trust.bad_lists import ILL_SHAPED, SPOILT, Spoil, without_signature
from tests.trust.spoiling import NEUTRAL

OTHER = Subject("autre.mssante.example", "398765432100033", "AUTRE PORTEUR", "Paris (75)")
SIGNER = Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)")


@pytest.fixture(scope="module")
def rules(space: Authority, anchors: Anchors) -> ListRules:
    return ListRules(space.pin, anchors, Revocation.of(space.crls(), anchors), 20 * 1_048_576)


@pytest.fixture(scope="module")
def rows(space: Authority) -> tuple[Row, ...]:
    return (
        row("hopital-a.test", A_SUBJECT.text, updated=space.now),
        row("hopital-a.test", B_SUBJECT.text, updated=space.now + timedelta(seconds=1)),
        row("Cabinet-B.test ", B_SUBJECT.text, updated=space.now),
        row("cabinet-b.test", B_SUBJECT.text, updated=space.now),
        row("hôpital.test", A_SUBJECT.text, updated=space.now),
        row("pas un domaine", A_SUBJECT.text, updated=space.now),
        row("casse.test", 'CN=a,O="X,C=FR', updated=space.now),
    )


@pytest.fixture(scope="module")
def good(space: Authority, rows: tuple[Row, ...]) -> bytes:
    return space.sign_whitelist(rows, space.now)


def refused(octets: bytes, rules: ListRules, now: datetime) -> str:
    """The reason, or "accepted"."""
    try:
        verify(octets, rules, now)
    except ListRefused as error:
        return error.reason
    return "accepted"


@pytest.mark.requirement("OP-23", "OP-24")
def test_signed_list_is_accepted_and_indexed(
    space: Authority, rules: ListRules, good: bytes, rows: tuple[Row, ...]
) -> None:
    listed = verify(good, rules, space.now)
    a, b = domain("hopital-a.test"), domain("cabinet-b.test")
    a_key, b_key = listed_name(A_SUBJECT.text), listed_name(B_SUBJECT.text)
    assert a_key is not None
    assert b_key is not None
    assert listed.date == space.now
    assert listed.rows == rows
    assert listed.names(a) == {a_key, b_key}
    assert listed.names(b) == {b_key}
    assert listed.domains_of(b_key) == {a, b}
    assert listed.domains_of(a_key) == {a, domain("xn--hpital-ixa.test")}
    assert listed.row(a, b_key) == rows[1]
    assert listed.row(b, a_key) is None
    contact = listed.contact(b)
    assert contact is not None
    assert "@" in contact.support
    assert listed.unusable == (6, 7)
    assert "alb.mssante.example" in listed.signer


@pytest.mark.requirement("OP-30", "OP-31")
def test_wt_35_listed_parent_does_not_cover_a_sub_domain(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    listed = verify(good, rules, space.now)
    assert listed.lists(domain("hopital-a.test"))
    for name in ("sous.hopital-a.test", "test", "a.test", "xhopital-a.test"):
        assert not listed.lists(domain(name))
        assert listed.names(domain(name)) == frozenset()


def test_table_between_processes_is_the_same_list(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    listed = verify(good, rules, space.now)
    again = SignedList.from_table(signed_list(good, rules, space.now).to_table()).indexed()
    assert (again.date, again.sha256, again.signer) == (listed.date, listed.sha256, listed.signer)
    assert (again.rows, again.unusable) == (listed.rows, listed.unusable)
    assert again.domains == listed.domains


# ---------------------------------------------------------------- refusals


@pytest.mark.attack
@pytest.mark.requirement("OP-23", "OP-24", "OP-28")
@pytest.mark.parametrize(("spoil", "reason"), [s[1:] for s in SPOILT], ids=[s[0] for s in SPOILT])
def test_att_33_list_changed_after_signing_is_refused(
    space: Authority, rules: ListRules, good: bytes, spoil: Spoil, reason: str
) -> None:
    spoilt = spoil(good)
    assert spoilt != good
    assert refused(spoilt, rules, space.now) == reason
    assert refused(good, rules, space.now) == "accepted"


def test_text_behind_the_signature_belongs_to_the_list(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """Only the element is taken out (XML-DSig 6.6.4): moved across white space, nothing changes."""
    bare, signature = without_signature(good), good[good.index(b"<Signature ") :]
    signature = signature[: signature.index(b"</Signature>") + len(b"</Signature>")]
    behind = b"</ListeDomaines>"
    moved = bare.replace(behind, behind + signature)
    assert moved.endswith(b"</Signature>\n</ListeBlancheMSSante>")
    assert verify(moved, rules, space.now).rows == verify(good, rules, space.now).rows
    assert (
        refused(moved.replace(b"</Signature>\n", b"</Signature>"), rules, space.now) == "signature"
    )


@pytest.mark.parametrize("name", NEUTRAL)
def test_changes_that_canonicalisation_takes_away_change_no_row(
    space: Authority, rules: ListRules, good: bytes, name: str
) -> None:
    """What is read is the verified form; `test_against_xmlsec` compares its octets (ATT-33)."""
    for seed in range(5):
        chance = Random(seed)  # noqa: S311  # a test draws, it keeps no secret
        octets = NEUTRAL[name](chance, good)
        assert verify(octets, rules, space.now).rows == verify(good, rules, space.now).rows


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("SHA-1 digest", "DigestMethod Algorithm=http://www.w3.org/2000/09/xmldsig#sha1"),
        ("Object added", "Signature with 4 elements in it, not 3"),
        ("KeyValue added", "KeyValue in place of X509Data"),
        ("XPath transform", "Transform Algorithm=http://www.w3.org/TR/1999/REC-xpath-19991116"),
        ("reference to a file", "Reference URI=file:///etc/hostname"),
        ("one byte of a Nom", "digest"),
        ("digest of the changed list", "not by the key of its certificate"),
        ("namespace without a scheme", "C14NError"),
    ],
)
def test_refused_profile_is_told_to_a_person(
    space: Authority, rules: ListRules, good: bytes, name: str, detail: str
) -> None:
    spoil = next(s[1] for s in SPOILT if s[0] == name)
    with pytest.raises(ListRefused) as caught:
        verify(spoil(good), rules, space.now)
    assert caught.value.detail == detail


@pytest.mark.attack
@pytest.mark.requirement("OP-23", "OP-28")
def test_list_cut_short_anywhere_is_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    cuts = {refused(good[:length], rules, space.now) for length in range(0, len(good), 97)}
    assert cuts == {"not XML"}


@pytest.mark.attack
@pytest.mark.parametrize("name", ["Object added", "comment in a Nom", "comment before the root"])
def test_att_33_the_library_alone_accepts_what_the_profile_refuses(
    space: Authority, good: bytes, name: str
) -> None:
    """The detector of the test above: without the structural check these three pass."""
    spoil = next(s[1] for s in SPOILT if s[0] == name)
    config = SignatureConfiguration(location="./", verification_time=space.now)
    XMLVerifier().verify(spoil(good), x509_cert=space.signer.certificate, expect_config=config)


@pytest.mark.attack
def test_att_33_without_the_profile_check_an_added_object_is_accepted(
    space: Authority, rules: ListRules, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil = next(s[1] for s in SPOILT if s[0] == "Object added")
    monkeypatch.setattr(whitelist_signature, "_check_profile", lambda signature: None)
    assert refused(spoil(good), rules, space.now) == "accepted"


@pytest.mark.attack
def test_att_33_weak_digest_signed_by_the_right_key_is_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """SHA-1 throughout, by the right key: the profile refuses what the maths accept."""
    root = etree.fromstring(good)
    signature = root[-1]
    info = signature[0]
    info[1].set("Algorithm", f"{DS}rsa-sha1")
    info[2][1].set("Algorithm", f"{DS}sha1")
    bare = etree.fromstring(without_signature(good))
    digest = sha1(etree.tostring(bare, method="c14n", exclusive=True))  # noqa: S324  # the attack
    info[2][2].text = b64encode(digest.digest()).decode()
    signed = etree.tostring(info, method="c14n", exclusive=True)
    value = space.signer.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    signature[1].text = b64encode(value).decode()
    assert refused(etree.tostring(root), rules, space.now) == "signature profile"


@pytest.mark.attack
def test_wt_26_list_over_the_size_limit_is_refused_before_it_is_parsed(
    space: Authority, rules: ListRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    monkeypatch.setattr(whitelist_signature, "_parse", lambda octets: parsed.append(len(octets)))
    assert refused(b"<" * (25 * 1_048_576), rules, space.now) == "too big"
    assert parsed == []


def test_size_limit_is_exact(space: Authority, rules: ListRules, good: bytes) -> None:
    assert refused(good, replace(rules, max_octets=len(good)), space.now) == "accepted"
    assert refused(good, replace(rules, max_octets=len(good) - 1), space.now) == "too big"


# ---------------------------------------------------------------- the signer


def signer_variants(space: Authority) -> dict[str, tuple[Identity, str]]:
    email = Make(usages=EMAIL_ONLY)
    stranger = Authority(space.now, make_key=shared_keys(20))
    past = Make(
        usages=EMAIL_ONLY,
        not_before=space.now - timedelta(days=9),
        not_after=space.now - timedelta(seconds=1),
    )
    return {
        "same subject, new certificate": (space.issue(SIGNER, email), "accepted"),
        "another holder": (space.issue(OTHER, email), "signer"),
        "pin as a part of the CN": (
            space.issue(replace(SIGNER, cn="alb.mssante.example.pirate.test"), email),
            "signer",
        ),
        "pin in another attribute": (
            space.issue(replace(OTHER, o="CN=alb.mssante.example"), email),
            "signer",
        ),
        "server certificate of the subject": (space.issue(SIGNER), "signer certificate"),
        "no usage at all": (space.issue(SIGNER, Make(usages=None)), "signer certificate"),
        "another authority": (stranger.issue(SIGNER, email), "signer certificate"),
        "expired when the list was made": (space.issue(SIGNER, past), "signer certificate"),
    }


@pytest.mark.requirement("OP-24", "OP-25")
def test_wt_22_wt_27_only_the_pinned_subject_in_date_below_our_authority_signs(
    space: Authority, rules: ListRules, rows: tuple[Row, ...]
) -> None:
    unsigned = render(rows, space.now)
    outcomes = {
        name: (refused(sign(unsigned, signer), rules, space.now), expected)
        for name, (signer, expected) in signer_variants(space).items()
    }
    assert {n: got for n, (got, _) in outcomes.items()} == {
        n: expected for n, (_, expected) in outcomes.items()
    }


@pytest.mark.requirement("OP-25")
def test_pin_is_configuration(space: Authority, rules: ListRules, rows: tuple[Row, ...]) -> None:
    other = space.issue(OTHER, Make(usages=EMAIL_ONLY))
    octets = sign(render(rows, space.now), other)
    for pin in ("CN=autre.mssante.example", "CN=autre.mssante.example,OU=398765432100033"):
        assert refused(octets, replace(rules, pin=pin), space.now) == "accepted"
    for pin in ("CN=autre.mssante.example,OU=1", 'CN="', "L=Paris"):
        assert refused(octets, replace(rules, pin=pin), space.now) == "signer"


def test_wt_27_signer_is_valid_at_the_date_of_the_list_not_at_ours(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """The list stays usable when its signer's certificate has ended since; the CRL must not."""
    after = space.signer.certificate.not_valid_after_utc + timedelta(days=1)
    fresh = space.crls(this_update=after - timedelta(hours=1))
    later = replace(rules, revocation=Revocation.of(fresh, rules.anchors))
    assert refused(good, later, after) == "accepted"
    assert refused(good, rules, after) == "signer certificate"


def test_wt_27_signer_revoked_since_is_refused(space: Authority, rows: tuple[Row, ...]) -> None:
    signer = space.issue(SIGNER, Make(usages=EMAIL_ONLY))
    octets = sign(render(rows, space.now), signer)
    anchors = Anchors.from_pem(space.anchors_pem)
    rules = ListRules(space.pin, anchors, Revocation.of(space.crls(), anchors), 1_048_576)
    assert refused(octets, rules, space.now) == "accepted"
    space.revoke(signer)
    rules = replace(rules, revocation=Revocation.of(space.crls(), anchors))
    assert refused(octets, rules, space.now) == "signer certificate"
    assert refused(octets, replace(rules, revocation=None), space.now) == "signer certificate"


# ---------------------------------------------------------------- shape, signed


@pytest.mark.requirement("OP-23", "OP-28")
@pytest.mark.parametrize("spoil", [s[1] for s in ILL_SHAPED], ids=[s[0] for s in ILL_SHAPED])
def test_well_signed_list_of_another_shape_is_refused(
    space: Authority, rules: ListRules, rows: tuple[Row, ...], spoil: Spoil
) -> None:
    unsigned = render(rows, space.now)
    spoilt = spoil(unsigned)
    assert spoilt != unsigned
    assert refused(sign(spoilt, space.signer), rules, space.now) == "shape"


@pytest.mark.requirement("OP-23")
def test_a_list_of_another_shape_is_told_with_its_place(
    space: Authority, rules: ListRules, rows: tuple[Row, ...]
) -> None:
    first, second = b"<Nom>hopital-a.test</Nom>", b"<Nom>Cabinet-B.test </Nom>"
    unsigned = render(rows, space.now)
    for cell, place in ((first, "/*/*[2]/*[1]/*[1]"), (second, "/*/*[2]/*[3]/*[1]")):
        with pytest.raises(ListRefused) as caught:
            verify(sign(unsigned.replace(cell, b"", 1), space.signer), rules, space.now)
        assert caught.value.detail == place


@pytest.mark.attack
@pytest.mark.requirement("OP-23")
def test_att_33_a_cell_written_in_pieces_is_one_text(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """Else the texts behind it would move by one column: a domain under another's name."""
    pieces = b"<Nom>ho<![CDATA[pi]]>ta&#108;<![CDATA[-a]]>.test</Nom>"
    spoilt = good.replace(b"<Nom>hopital-a.test</Nom>", pieces, 1)
    assert spoilt != good
    assert verify(spoilt, rules, space.now).rows == verify(good, rules, space.now).rows
