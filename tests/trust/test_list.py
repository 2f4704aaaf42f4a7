"""The signed list: what is accepted, and every way of being refused (whitelist.md §1-§4, §8)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha1

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
from mssmtp.whitelist import DS, ListRefused, ListRules, Row, Whitelist
from mssmtp.whitelist_signature import verify
from tests.authority import A_SUBJECT, B_SUBJECT, shared_keys

OTHER = Subject("autre.mssante.example", "398765432100033", "AUTRE PORTEUR", "Paris (75)")
SIGNER = Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)")
Spoil = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def space() -> Authority:
    return Authority(datetime.fromisoformat("2026-03-02T09:00:00+00:00"), make_key=shared_keys(10))


@pytest.fixture(scope="module")
def rules(space: Authority) -> ListRules:
    anchors = Anchors.from_pem(space.anchors_pem)
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
    again = Whitelist.from_table(listed.to_table())
    assert (again.date, again.sha256, again.signer) == (listed.date, listed.sha256, listed.signer)
    assert (again.rows, again.unusable) == (listed.rows, listed.unusable)
    assert again.domains == listed.domains


# ---------------------------------------------------------------- refusals


def _insert(marker: bytes, octets: bytes, *, before: bool = True) -> Spoil:
    def spoil(good: bytes) -> bytes:
        assert marker in good
        return good.replace(marker, octets + marker if before else marker + octets, 1)

    return spoil


def _swap(old: bytes, new: bytes) -> Spoil:
    def spoil(good: bytes) -> bytes:
        assert old in good
        return good.replace(old, new, 1)

    return spoil


def _no_signature(good: bytes) -> bytes:
    start, end = good.index(b"<Signature "), good.index(b"</Signature>") + len(b"</Signature>")
    return good[:start] + good[end:]


def _signature(good: bytes) -> bytes:
    return good[good.index(b"<Signature ") : good.index(b"</Signature>") + len(b"</Signature>")]


def _twice(good: bytes) -> bytes:
    return good.replace(_signature(good), _signature(good) * 2)


def _evil_table(good: bytes) -> bytes:
    start, end = good.index(b"<ListeDomaines>"), good.index(b"</ListeDomaines>")
    return good[start:end].replace(b"hopital-a.test", b"pirate-x.test ") + b"</ListeDomaines>"


def _second_table_before(good: bytes) -> bytes:
    return good.replace(b"<ListeDomaines>", _evil_table(good) + b"<ListeDomaines>", 1)


def _second_table_after(good: bytes) -> bytes:
    return good.replace(b"<Signature ", _evil_table(good) + b"<Signature ", 1)


def _table_after_signature(good: bytes) -> bytes:
    return good.replace(b"</Signature>", b"</Signature>" + _evil_table(good), 1)


def _wrapped_in_object(good: bytes) -> bytes:
    """The signed root moved into the signature, an evil root around it."""
    inner = good[good.index(b"<ListeBlancheMSSante") :]
    evil = _no_signature(good).replace(b"hopital-a.test", b"pirate-x.test ")
    holder = _signature(good).replace(
        b"</KeyInfo>", b"</KeyInfo><Object>" + inner + b"</Object>", 1
    )
    return evil.replace(b"</ListeBlancheMSSante>", holder + b"</ListeBlancheMSSante>")


def _wrapped_in_root(good: bytes) -> bytes:
    """A second root of ours around the signed one."""
    inner = good[good.index(b"<ListeBlancheMSSante") :]
    evil = _no_signature(good).replace(b"hopital-a.test", b"pirate-x.test ")
    return evil.replace(b"</ListeBlancheMSSante>", inner + b"</ListeBlancheMSSante>")


def _two_roots(good: bytes) -> bytes:
    return good + good[good.index(b"<ListeBlancheMSSante") :]


def _reference_by_id(good: bytes) -> bytes:
    return good.replace(b'URI=""', b'URI="#x"', 1).replace(
        b"<ListeDomaines>", b'<ListeDomaines Id="x">', 1
    )


def _two_references(good: bytes) -> bytes:
    start, end = good.index(b"<Reference "), good.index(b"</Reference>") + len(b"</Reference>")
    return good[:end] + good[start:end] + good[end:]


_TRANSFORM = b'<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
_XPATH = (
    b'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><XPath>1</XPath>'
    b"</Transform>"
)
_XSLT = b'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>'
_C14N_METHOD = b'CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#'
_INCLUSIVE = b'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315'

SPOILT: list[tuple[str, Spoil, str]] = [
    # WT-20
    ("one byte of a Nom", _swap(b"<Nom>hopital-a", b"<Nom>hopital-c"), "signature"),
    ("one byte of the date", _swap(b"2026-03-02T09:00:00", b"2026-03-02T09:00:09"), "signature"),
    ("white space added", _insert(b"<ListeDomaines>", b" "), "signature"),
    ("text beside a row", _insert(b"<Domaine>", b"x"), "signature"),
    ("attribute added", _swap(b"<Nom>", b'<Nom a="1">'), "signature"),
    # WT-21, WT-23
    ("no signature", _no_signature, "signature count"),
    ("two signatures", _twice, "signature count"),
    (
        "signature first",
        lambda g: _insert(b"<DateDe", _signature(g))(_no_signature(g)),
        "signature count",
    ),
    (
        "signature in a row",
        lambda g: _insert(b"<Nom>", _signature(g))(_no_signature(g)),
        "signature count",
    ),
    (
        "signature part elsewhere",
        _insert(b"<Nom>", f'<X509Data xmlns="{DS}"/>'.encode()),
        "signature count",
    ),
    ("second table before", _second_table_before, "signature"),
    ("second table after", _second_table_after, "signature"),
    ("table after the signature", _table_after_signature, "signature count"),
    ("signed root in an Object", _wrapped_in_object, "signature profile"),
    ("signed root in our root", _wrapped_in_root, "signature count"),
    ("two roots", _two_roots, "not XML"),
    ("reference by Id", _reference_by_id, "signature profile"),
    ("two references", _two_references, "signature profile"),
    ("Id on the signature", _swap(b"<SignedInfo>", b'<SignedInfo Id="x">'), "signature profile"),
    ("Object added", _swap(b"</KeyInfo>", b"</KeyInfo><Object>x</Object>"), "signature profile"),
    ("KeyValue added", _insert(b"<X509Data>", b"<KeyValue/>"), "signature profile"),
    ("KeyName added", _insert(b"<X509Data>", b"<KeyName>x</KeyName>"), "signature profile"),
    # WT-29
    ("XPath transform", _insert(_TRANSFORM, _XPATH), "signature profile"),
    ("XSLT transform", _insert(_TRANSFORM, _XSLT), "signature profile"),
    (
        "no enveloped transform",
        lambda g: g.replace(g[g.index(b"<Transform ") : g.index(_TRANSFORM)], b"", 1),
        "signature profile",
    ),
    ("no canonicalisation transform", _swap(_TRANSFORM, b""), "signature profile"),
    ("other canonicalisation", _swap(_C14N_METHOD, _INCLUSIVE), "signature profile"),
    ("with comments", _swap(_C14N_METHOD, _C14N_METHOD + b"WithComments"), "signature profile"),
    ("SHA-1 digest", _swap(b"2001/04/xmlenc#sha256", b"2000/09/xmldsig#sha1"), "signature profile"),
    (
        "SHA-1 signature",
        _swap(b"2001/04/xmldsig-more#rsa-sha256", b"2000/09/xmldsig#rsa-sha1"),
        "signature profile",
    ),
    ("HMAC", _swap(b"#rsa-sha256", b"#hmac-sha256"), "signature profile"),
    # WT-26 and text tricks
    ("DTD", _insert(b"<ListeBlanche", b"<!DOCTYPE ListeBlancheMSSante []>"), "DTD or entity"),
    (
        "entities",
        _insert(b"<ListeBlanche", b'<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'),
        "DTD or entity",
    ),
    (
        "external entity",
        _insert(b"<ListeBlanche", b'<!DOCTYPE l SYSTEM "file:///etc/hostname">'),
        "DTD or entity",
    ),
    ("comment in a Nom", _swap(b"<Nom>hopital-a", b"<Nom>hopital<!-- -->-a"), "DTD or entity"),
    ("comment before the root", _insert(b"<ListeBlanche", b"<!-- x -->"), "root"),
    ("comment after the root", lambda g: g + b"<!-- x -->", "root"),
    ("instruction", _insert(b"<ListeDomaines>", b"<?x y?>"), "DTD or entity"),
    ("instruction before the root", _insert(b"<ListeBlanche", b"<?xml-stylesheet x?>"), "root"),
    ("UTF-16", lambda g: g.decode().replace("UTF-8", "UTF-16").encode("utf-16"), "not XML"),
    ("other root", lambda g: g.replace(b"ListeBlancheMSSante", b"ListeNoireMSSante"), "root"),
    ("other namespace", _swap(b"listeblanche.mssante.fr/schema", b"exemple.test/schema"), "root"),
    ("cut short", lambda g: g[: len(g) // 2], "not XML"),
    ("empty", lambda g: b"", "not XML"),
    ("not XML", lambda g: b"\x00\xff" * 100, "not XML"),
    (
        "signature value emptied",
        lambda g: g.replace(
            g[g.index(b"<SignatureValue>") : g.index(b"</SignatureValue>")], b"<SignatureValue>"
        ),
        "signature",
    ),
    (
        "signature value damaged",
        lambda g: g.replace(b"<SignatureValue>", b"<SignatureValue>AAAA", 1),
        "signature",
    ),
    (
        "certificate damaged",
        lambda g: g.replace(b"<X509Certificate>", b"<X509Certificate>AAAA", 1),
        "signature profile",
    ),
]


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
def test_att_33_namespace_hidden_signature_parts_are_refused(
    space: Authority, rules: ListRules, good: bytes
) -> None:
    """Signed with SHA-1 throughout by the right key: the profile refuses what the maths accept."""
    root = etree.fromstring(good)
    signature = root[-1]
    info = signature[0]
    info[1].set("Algorithm", f"{DS}rsa-sha1")
    info[2][1].set("Algorithm", f"{DS}sha1")
    bare = etree.fromstring(_no_signature(good))
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

ILL_SHAPED: list[tuple[str, Spoil]] = [
    ("no row", lambda u: u[: u.index(b"<Domaine>")] + u[u.index(b"</ListeDomaines>") :]),
    (
        "no date",
        lambda u: u.replace(b"<DateDeGeneration>2026-03-02T09:00:00Z</DateDeGeneration>", b""),
    ),
    ("date in words", _swap(b"<DateDeGeneration>2026-03-02", b"<DateDeGeneration>2 mars 2026")),
    ("impossible date", _swap(b"<DateDeGeneration>2026-03-02", b"<DateDeGeneration>2026-13-02")),
    ("row date", _swap(b"<DateMAJ>2026-", b"<DateMAJ>26-")),
    ("empty cell", _swap(b"<Nom>hopital-a.test</Nom>", b"<Nom></Nom>")),
    ("long cell", _swap(b"<Description>", b"<Description>" + b"x" * 255)),
    ("column missing", _swap(b"<Nom>hopital-a.test</Nom>", b"")),
    ("column twice", _insert(b"<Description>", b"<Nom>pirate.test</Nom>")),
    (
        "columns swapped",
        lambda u: u.replace(b"Description>", b"X>").replace(b"Nom>", b"Description>"),
    ),
    ("element in a cell", _swap(b"<Nom>hopital", b"<Nom><b/>hopital")),
    ("element after a cell's text", _swap(b"</Nom>", b"<b/></Nom>")),
    ("attribute on a cell", _swap(b"<Nom>", b'<Nom a="1">')),
    ("attribute on a row", _swap(b"<Domaine>", b'<Domaine a="1">')),
    ("attribute on the table", _swap(b"<ListeDomaines>", b'<ListeDomaines a="1">')),
    ("attribute on the date", _swap(b"<DateDeGeneration>", b'<DateDeGeneration a="1">')),
    ("second table", _insert(b"</ListeBlanche", b"<ListeDomaines/>")),
    ("unknown element", _insert(b"<ListeDomaines>", b"<Autre/>")),
    ("foreign row", _swap(b"<Domaine>", b'<Domaine xmlns="urn:x">')),
]


@pytest.mark.requirement("OP-23", "OP-28")
@pytest.mark.parametrize("spoil", [s[1] for s in ILL_SHAPED], ids=[s[0] for s in ILL_SHAPED])
def test_well_signed_list_of_another_shape_is_refused(
    space: Authority, rules: ListRules, rows: tuple[Row, ...], spoil: Spoil
) -> None:
    unsigned = render(rows, space.now)
    spoilt = spoil(unsigned)
    assert spoilt != unsigned
    assert refused(sign(spoilt, space.signer), rules, space.now) == "shape"
