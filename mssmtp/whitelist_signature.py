"""From the signed file to the list: structure, signature, signer, shape.

Costs about 100 MB for some hundred milliseconds: a server runs it in a child process
(`whitelist_child`), so that neither the memory nor the XML libraries stay in it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, InvalidSignature, SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from mssmtp import pki
from mssmtp.revocation import judge_revocation
from mssmtp.whitelist import DS, NAMESPACE, ListRefused, ListRules, Rows, SignedList, Whitelist


def verify(octets: bytes, rules: ListRules, now: datetime) -> Whitelist:
    """`signed_list`, indexed. Raises ListRefused."""
    return signed_list(octets, rules, now).indexed()


def signed_list(octets: bytes, rules: ListRules, now: datetime) -> SignedList:
    """The list of `octets`: structure, signature, signer, shape. Raises ListRefused.

    Only the canonicalised, verified root is read: what was not signed does not exist (ATT-33).
    Anti-rollback is the caller's, who knows the list in force.
    """

    def accept(signer: x509.Certificate, date: datetime) -> None:
        check_pin(signer, rules.pin)
        _check_signer(signer, rules, date, now)

    return verify_signer(octets, rules.max_octets, accept)


def verify_signer(
    octets: bytes, max_octets: int, accept: Callable[[x509.Certificate, datetime], None]
) -> SignedList:
    """`signed_list`, where `accept` judges the signer of a list of that date."""
    if len(octets) > max_octets:
        raise ListRefused("too big", f"{len(octets)} octets")
    root = _parse(octets)
    signature = _only_signature(root)
    _check_profile(signature)
    signer = _signer_certificate(signature)
    signed = _verified_root(root, signer)
    date = _utc(signed.findtext(f"{{{NAMESPACE}}}DateDeGeneration") or "")
    accept(signer, date)
    rows = _rows(signed)
    subject = f"{pki.printed_name(signer.subject)} {pki.serial_text(signer)}"
    return SignedList(date, sha256(octets).hexdigest(), subject, rows)


def signer_of(octets: bytes) -> x509.Certificate:
    """The certificate in the signature of a list, of which nothing else is checked here.

    Raises ListRefused.
    """
    return _signer_certificate(_only_signature(_parse(octets)))


def _parser() -> etree.XMLParser:
    """No DTD, no entity, no network, libxml2's own limits on depth and text (WT-26)."""
    return etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )


def _tree(octets: bytes) -> etree._Element:
    try:
        return etree.fromstring(octets, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ListRefused("not XML") from error


def _parse(octets: bytes) -> etree._Element:
    # Before the parser sees it: an internal subset may already cost what it wants to cost.
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        raise ListRefused("DTD or entity")
    root = _tree(octets)
    if root.tag != f"{{{NAMESPACE}}}ListeBlancheMSSante" or root.attrib:
        raise ListRefused("root")
    if root.getprevious() is not None or root.getnext() is not None:
        raise ListRefused("root", "something beside it")
    if next(root.iter(etree.Comment, etree.ProcessingInstruction, etree.Entity), None) is not None:
        raise ListRefused("DTD or entity", "comment, instruction or entity")
    return root


def _only_signature(root: etree._Element) -> etree._Element:
    """The one Signature: last child of the root, and nothing else of its namespace elsewhere."""
    signature = root[-1] if len(root) else None
    if signature is None or signature.tag != f"{{{DS}}}Signature":
        raise ListRefused("signature count", "none at the end of the root")
    inside = sum(1 for _ in signature.iter(f"{{{DS}}}*"))
    everywhere = sum(1 for _ in root.iter(f"{{{DS}}}*"))
    if inside != everywhere:
        raise ListRefused("signature count", "more than one, or its parts elsewhere")
    return signature


Skeleton = tuple[str, tuple[tuple[str, str], ...], tuple["Skeleton", ...]]


def _ds(tag: str, *children: Skeleton, **attributes: str) -> Skeleton:
    return f"{{{DS}}}{tag}", tuple(attributes.items()), children


_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_PROFILE = _ds(
    "Signature",
    _ds(
        "SignedInfo",
        _ds("CanonicalizationMethod", Algorithm=_EXCLUSIVE),
        _ds("SignatureMethod", Algorithm=SignatureMethod.RSA_SHA256.value),
        _ds(
            "Reference",
            _ds(
                "Transforms",
                _ds("Transform", Algorithm=_ENVELOPED),
                _ds("Transform", Algorithm=_EXCLUSIVE),
            ),
            _ds("DigestMethod", Algorithm=DigestAlgorithm.SHA256.value),
            _ds("DigestValue"),
            URI="",
        ),
    ),
    _ds("SignatureValue"),
    _ds("KeyInfo", _ds("X509Data", _ds("X509Certificate"))),
)
"""Every element and attribute the signature has, and no other."""


def _skeleton(element: etree._Element) -> Skeleton:
    # libxml2 stops at a depth of 256, so this recursion is bounded.
    attributes = tuple((str(k), str(v)) for k, v in element.attrib.items())
    return str(element.tag), attributes, tuple(_skeleton(child) for child in element)


def _check_profile(signature: etree._Element) -> None:
    """Compare the whole tree: nothing in it is a choice of whoever sent it (ATT-33).

    signxml restricts neither canonicalisation nor transforms, accepts an added Object, and reads
    base64 with strange characters in it.
    """
    found = _skeleton(signature)
    if found != _PROFILE:
        raise ListRefused("signature profile", _difference(found, _PROFILE))
    for tag in ("DigestValue", "SignatureValue"):
        _octets_in(signature, tag)


def _difference(found: Skeleton, wanted: Skeleton) -> str:
    """The first element that is not the profile's, for a person."""
    name = found[0].rpartition("}")[2]
    if found[0] != wanted[0]:
        return f"{name} in place of {wanted[0].rpartition('}')[2]}"
    if found[1] != wanted[1]:
        told = " ".join(f"{key}={value}" for key, value in found[1])
        return f"{name} {told}"[:_TOLD_CHARACTERS]
    for one, other in zip(found[2], wanted[2], strict=False):
        if one != other:
            return _difference(one, other)
    return f"{name} with {len(found[2])} elements in it, not {len(wanted[2])}"


_TOLD_CHARACTERS = 120


def _signer_certificate(signature: etree._Element) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(_octets_in(signature, "X509Certificate"))
        if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
            raise ListRefused("signature profile", "the signer's key is not RSA")
    except pki.UNREADABLE as error:
        raise ListRefused("signature profile", "unreadable certificate") from error
    return certificate


class _Verifier(XMLVerifier):
    """signxml's, of a tree of ours: the one whose profile was compared, not a second one."""

    def get_root(self, data: etree._Element) -> etree._Element:
        return data


def _verified_root(root: etree._Element, signer: x509.Certificate) -> etree._Element:
    """The root as it was signed, parsed again from its canonical octets (XML-DSig 3.2)."""
    config = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
        # Dates are judged afterwards, at DateDeGeneration, which is not known to be true yet.
        verification_time=signer.not_valid_before_utc,
    )
    try:
        result = _Verifier().verify(
            root,
            x509_cert=signer,
            expect_config=config,
            validate_schema=False,  # the profile is narrower
            parser=_parser(),
        )
    except (SignXMLException, etree.LxmlError, TypeError) as error:
        # LxmlError: a namespace that is no absolute URI has no canonical form (RFC 3741 1.1).
        # TypeError: signxml prints the signer's name, and cryptography cannot read every name.
        why = _WHY.get(type(error), type(error).__name__)
        raise ListRefused("signature", why) from error
    match result:
        case VerifyResult(signed_xml=etree._Element() as signed):
            return signed
    raise ListRefused("signature", "not one signed tree")


_WHY: dict[type[Exception], str] = {
    InvalidDigest: "digest",
    InvalidSignature: "not by the key of its certificate",
}


def _octets_in(signature: etree._Element, tag: str) -> bytes:
    """What `tag` holds; as octets, since a text is also cut at white space that XML does not know.

    Raises ListRefused; signxml reads on over strange characters, and fails on nothing.
    """
    text = signature.findtext(f".//{{{DS}}}{tag}") or ""
    try:
        octets = b64decode(b"".join(text.encode().split()), validate=True)
    except ValueError as error:
        raise ListRefused("signature profile", f"{tag} is not base64") from error
    if not octets:
        raise ListRefused("signature profile", f"{tag} is empty")
    return octets


def check_pin(signer: x509.Certificate, pin: str) -> None:
    """OP-25: for each type the pin names, the subject has exactly the values of the pin."""
    try:
        wanted, subject = pki.listed_name(pin), pki.certificate_name(signer.subject)
    except pki.UNREADABLE as error:
        raise ListRefused("signer", "unreadable name") from error
    if wanted is None or subject is None:
        raise ListRefused("signer", "unusable name")
    for kind in {rdn.type for rdn in wanted}:
        if [r for r in wanted if r.type == kind] != [r for r in subject if r.type == kind]:
            found = pki.printed_name(signer.subject)
            raise ListRefused("signer", f"not the pinned subject, but {found}")


def _check_signer(
    signer: x509.Certificate, rules: ListRules, date: datetime, now: datetime
) -> None:
    """In date when the list was made, not revoked now (OP-24)."""
    try:
        pki.judge_certificate(signer, rules.anchors, pki.Role.LIST_SIGNER, date)
        judge_revocation(signer, rules.anchors, rules.revocation, now)
    except pki.CertificateRefused as error:
        raise ListRefused("signer certificate", error.reason) from error
    except pki.UNREADABLE as error:
        raise ListRefused("signer certificate", "unreadable") from error


# ---------------------------------------------------------------- shape


def _holding(tag: str, *content: str) -> str:
    return f'<element name="{tag}">{"".join(content)}</element>'


_TEXT = "<text/>"
_ROW = (
    _holding("Nom", _TEXT),
    _holding("Description", _TEXT),
    _holding("DNCertificatOperateur", _TEXT),
    _holding("ResponsableContact", _TEXT),
    _holding("SupportContact", _TEXT),
    _holding("DateMAJ", _TEXT),
)
_LIST = _holding(
    "ListeBlancheMSSante",
    _holding("DateDeGeneration", _TEXT),
    _holding("ListeDomaines", "<oneOrMore>", _holding("Domaine", *_ROW), "</oneOrMore>"),
)
_SHAPE = etree.RelaxNG(
    etree.fromstring(
        f'<grammar xmlns="http://relaxng.org/ns/structure/1.0" ns="{NAMESPACE}">'
        f"<start>{_LIST}</start></grammar>"
    )
)
"""Every element a signed list has, in this order, and no attribute; libxml2 compares in 12 ms."""
_UTC = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
MAX_CELL = 255


def _rows(root: etree._Element) -> Rows:
    """The rows of the verified root. Raises ListRefused when the shape is another."""
    if not _SHAPE.validate(root):
        raise ListRefused("shape", _SHAPE.error_log.last_error.path)
    # Below canonical octets, where no comment is left, the text of a cell is one node.
    texts = cast("list[str]", root.xpath("*/*/*/text()", smart_strings=False))
    if len(texts) != len(_ROW) * len(root[1]):
        raise ListRefused("shape", "empty cell")
    if max(map(len, texts)) > MAX_CELL:
        raise ListRefused("shape", f"cell of more than {MAX_CELL} characters")
    for date in set(texts[len(_ROW) - 1 :: len(_ROW)]):
        _utc(date)
    return Rows.of(texts)


def _utc(text: str) -> datetime:
    try:
        if _UTC.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError as error:
        raise ListRefused("shape", "date") from error
    raise ListRefused("shape", "date")
