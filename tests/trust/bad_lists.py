"""Ways of spoiling a signed list; each is a function of the good octets (ATT-32, ATT-33)."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

from lxml import etree

from mssmtp.whitelist import DS

Spoil = Callable[[bytes], bytes]


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


def without_signature(good: bytes) -> bytes:
    start, end = good.index(b"<Signature "), good.index(b"</Signature>") + len(b"</Signature>")
    return good[:start] + good[end:]


def _signature(good: bytes) -> bytes:
    return good[good.index(b"<Signature ") : good.index(b"</Signature>") + len(b"</Signature>")]


def _without(good: bytes, tag: bytes) -> bytes:
    start, end = good.index(b"<" + tag), good.index(b"</" + tag + b">") + len(tag) + 3
    return good[:start] + good[end:]


def _emptied(tag: bytes) -> Spoil:
    def spoil(good: bytes) -> bytes:
        start, end = good.index(b"<" + tag + b">") + len(tag) + 2, good.index(b"</" + tag + b">")
        return good[:start] + b"\n" + good[end:]

    return spoil


def _before_end(tag: bytes) -> Spoil:
    """White space for Python's `str.split`, none for XML, and base64 has no such character."""
    return _insert(b"</" + tag + b">", "\xa0".encode())


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
    evil = without_signature(good).replace(b"hopital-a.test", b"pirate-x.test ")
    holder = _signature(good).replace(
        b"</KeyInfo>", b"</KeyInfo><Object>" + inner + b"</Object>", 1
    )
    return evil.replace(b"</ListeBlancheMSSante>", holder + b"</ListeBlancheMSSante>")


def _wrapped_in_root(good: bytes) -> bytes:
    """A second root of ours around the signed one."""
    inner = good[good.index(b"<ListeBlancheMSSante") :]
    evil = without_signature(good).replace(b"hopital-a.test", b"pirate-x.test ")
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


def _signature_moved_into_the_table(good: bytes) -> bytes:
    return without_signature(good).replace(
        b"</ListeDomaines>", _signature(good) + b"</ListeDomaines>"
    )


def _two_of_one_id(good: bytes) -> bytes:
    """Which of the two the reference means is the reader's guess."""
    evil = _evil_table(good).replace(b"<ListeDomaines>", b'<ListeDomaines Id="x">')
    return _reference_by_id(good).replace(b'<ListeDomaines Id="x">', evil + b"<ListeDomaines>", 1)


def _reference_to(uri: bytes) -> Spoil:
    return _swap(b'URI=""', b'URI="' + uri + b'"')


def _list_in_a_cell(good: bytes) -> bytes:
    """The signed list as text of an unsigned one."""
    inner = good[good.index(b"<ListeBlancheMSSante") :]
    evil = without_signature(good).replace(b"hopital-a.test", b"pirate-x.test ")
    cell = b"<Description><![CDATA[" + inner + b"]]></Description>"
    start = evil.index(b"<Description>")
    end = evil.index(b"</Description>") + len(b"</Description>")
    return (
        evil[:start]
        + cell
        + evil[end:].replace(
            b"</ListeBlancheMSSante>", _signature(good) + b"</ListeBlancheMSSante>"
        )
    )


def _list_as_a_row(good: bytes) -> bytes:
    """The signed list below the table of an unsigned one, its signature moved to the end."""
    inner = without_signature(good)[good.index(b"<ListeBlancheMSSante") :]
    evil = good.replace(b"hopital-a.test", b"pirate-x.test ")
    return evil.replace(b"</ListeDomaines>", inner + b"</ListeDomaines>", 1)


def _digest_of_the_changed_list(good: bytes) -> bytes:
    """Changed, and the digest with it: only the RSA signature says no."""
    evil = good.replace(b"hopital-a.test", b"pirate-x.test ")
    bare = etree.fromstring(without_signature(evil))
    digest = b64encode(sha256(etree.tostring(bare, method="c14n", exclusive=True)).digest())
    start, end = evil.index(b"<DigestValue>") + 13, evil.index(b"</DigestValue>")
    return evil[:start] + digest + evil[end:]


def _hmac_with_the_certificate(good: bytes) -> bytes:
    """Signed by anyone: the secret is the certificate, which everybody has (key confusion)."""
    spoilt = _digest_of_the_changed_list(good).replace(b"#rsa-sha256", b"#hmac-sha256", 1)
    root = etree.fromstring(spoilt)
    certificate = root.findtext(f".//{{{DS}}}X509Certificate") or ""
    info = etree.tostring(root[-1][0], method="c14n", exclusive=True)
    root[-1][1].text = b64encode(hmac.digest(certificate.encode(), info, "sha256")).decode()
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def _certificate_before(good: bytes) -> bytes:
    start = good.index(b"<X509Certificate>")
    end = good.index(b"</X509Certificate>") + len(b"</X509Certificate>")
    return good[:start] + good[start:end] + good[start:]


def _entities(levels: int) -> bytes:
    """Billion laughs: each entity is ten of the one before."""
    defined = [b'<!ENTITY a0 "ha">'] + [
        b'<!ENTITY a%d "%b">' % (level, b"&a%d;" % (level - 1) * 10) for level in range(1, levels)
    ]
    return b"<!DOCTYPE l [" + b"".join(defined) + b"]>"


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
    ("no signature", without_signature, "signature count"),
    ("two signatures", _twice, "signature count"),
    (
        "signature first",
        lambda g: _insert(b"<DateDe", _signature(g))(without_signature(g)),
        "signature count",
    ),
    (
        "signature in a row",
        lambda g: _insert(b"<Nom>", _signature(g))(without_signature(g)),
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
    ("signature value emptied", _emptied(b"SignatureValue"), "signature profile"),
    ("digest emptied", _emptied(b"DigestValue"), "signature profile"),
    ("certificate emptied", _emptied(b"X509Certificate"), "signature profile"),
    (
        "signature value damaged",
        lambda g: g.replace(b"<SignatureValue>", b"<SignatureValue>AAAA", 1),
        "signature",
    ),
    # more wrapping, ambiguity and confusion
    ("signature moved into the table", _signature_moved_into_the_table, "signature count"),
    ("signature below another", _insert(b"</KeyInfo>", b"<Signature/>"), "signature profile"),
    ("signature of another namespace", _swap(DS.encode(), DS.encode() + b"x"), "signature count"),
    ("two tables of one Id", _two_of_one_id, "signature profile"),
    ("Id on the root", _swap(b'schema">', b'schema" Id="x">'), "root"),
    ("xml:base on the root", _swap(b'schema">', b'schema" xml:base="http://x/">'), "root"),
    ("reference by XPointer", _reference_to(b"#xpointer(/)"), "signature profile"),
    ("reference to a file", _reference_to(b"file:///etc/hostname"), "signature profile"),
    ("reference to a server", _reference_to(b"http://127.0.0.1:1/"), "signature profile"),
    ("reference without address", _swap(b' URI=""', b""), "signature profile"),
    ("reference of a type", _swap(b'URI=""', b'URI="" Type="urn:x"'), "signature profile"),
    ("no reference", lambda g: _without(g, b"Reference"), "signature profile"),
    ("list in a cell of another", _list_in_a_cell, "signature"),
    ("list as a row of another", _list_as_a_row, "signature"),
    ("digest of the changed list", _digest_of_the_changed_list, "signature"),
    ("HMAC with the certificate as secret", _hmac_with_the_certificate, "signature profile"),
    (
        "HMAC cut to one bit",
        _swap(
            b'rsa-sha256"/>',
            b'hmac-sha1"><HMACOutputLength>1</HMACOutputLength></SignatureMethod>',
        ),
        "signature profile",
    ),
    ("two certificates", _certificate_before, "signature profile"),
    (
        "key fetched from elsewhere",
        _insert(b"<X509Data>", b'<RetrievalMethod URI="http://127.0.0.1:1/"/>'),
        "signature profile",
    ),
    ("no certificate", lambda g: _without(g, b"KeyInfo"), "signature profile"),
    (
        "included prefixes",
        _swap(
            _TRANSFORM,
            _TRANSFORM[:-2]
            + b'><InclusiveNamespaces xmlns="http://www.w3.org/2001/10/xml-exc-c14n#"'
            + b' PrefixList="#default"/></Transform>',
        ),
        "signature profile",
    ),
    (
        "XPath filter 2",
        _insert(
            _TRANSFORM,
            b'<Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"><XPath'
            b' xmlns="http://www.w3.org/2002/06/xmldsig-filter2" Filter="subtract">/</XPath>'
            b"</Transform>",
        ),
        "signature profile",
    ),
    (
        "base64 transform",
        _insert(_TRANSFORM, b'<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/>'),
        "signature profile",
    ),
    ("MD5 digest", _swap(b"04/xmlenc#sha256", b"04/xmldsig-more#md5"), "signature profile"),
    ("RSA-PSS", _swap(b"#rsa-sha256", b"#sha256-rsa-MGF1"), "signature profile"),
    ("ECDSA", _swap(b"#rsa-sha256", b"#ecdsa-sha256"), "signature profile"),
    ("digest not base64", _swap(b"<DigestValue>", b"<DigestValue>!"), "signature profile"),
    ("value not base64", _swap(b"<SignatureValue>", b"<SignatureValue>!"), "signature profile"),
    ("no-break space in the value", _before_end(b"SignatureValue"), "signature profile"),
    ("no-break space in the digest", _before_end(b"DigestValue"), "signature profile"),
    ("no-break space in the certificate", _before_end(b"X509Certificate"), "signature profile"),
    ("namespace without a scheme", _swap(b'schema">', b'schema" xmlns:x="x">'), "signature"),
    ("namespace without a scheme, lower", _swap(b"<Nom>", b'<Nom xmlns:x="x">'), "signature"),
    ("billion laughs", _insert(b"<ListeBlanche", _entities(12)), "DTD or entity"),
    (
        "billion laughs after a byte order mark",
        lambda g: b"\xef\xbb\xbf" + _insert(b"<ListeBlanche", _entities(12))(g),
        "DTD or entity",
    ),
    (
        "external parameter entity",
        _insert(b"<ListeBlanche", b'<!DOCTYPE l [<!ENTITY % p SYSTEM "http://127.0.0.1:1/">%p;]>'),
        "DTD or entity",
    ),
    ("entity that is not defined", _swap(b"<Nom>hopital", b"<Nom>&h;hopital"), "not XML"),
    (
        "XInclude",
        _insert(
            b"<Domaine>",
            b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/hostname"/>',
        ),
        "signature",
    ),
    ("deeper than any list", _insert(b"<Domaine>", b"<a>" * 300 + b"</a>" * 300), "not XML"),
    ("a word before", lambda g: b"x" + g, "not XML"),
    ("a word after", lambda g: g + b"x", "not XML"),
    ("an octet cut off", lambda g: g[:-1], "not XML"),
    ("NUL in a Nom", _swap(b"<Nom>hopital", b"<Nom>hopital\x00"), "not XML"),
    ("NUL by reference", _swap(b"<Nom>hopital", b"<Nom>hopital&#0;"), "not XML"),
    ("Latin-1", lambda g: g.decode().replace("UTF-8", "ISO-8859-1").encode("latin-1"), "not XML"),
    (
        "certificate damaged",
        lambda g: g.replace(b"<X509Certificate>", b"<X509Certificate>AAAA", 1),
        "signature profile",
    ),
]


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
    ("foreign attribute on a cell", _swap(b"<Nom>", b'<Nom xml:lang="fr">')),
    ("text beside a row", _insert(b"<Domaine>", b"x")),
    ("text beside a cell", _insert(b"<Nom>", b"x")),
    ("text beside the table", _insert(b"<ListeDomaines>", b"x")),
    ("row in a row", _insert(b"<Nom>", b"<Domaine/>")),
    ("only the date", lambda u: _without(u, b"ListeDomaines")),
    ("nothing at all", lambda u: _without(_without(u, b"ListeDomaines"), b"DateDeGeneration")),
]
