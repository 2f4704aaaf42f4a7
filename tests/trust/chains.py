"""Chains of every bad sort: each a leaf, what the peer sends along, and our anchors and CRLs.

Where OpenSSL's own verification lets a chain pass that we refuse, `stricter` says why we do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from mssmtp.demo.authority import Authority, Make, Subject
from mssmtp.pki import DER, Anchors
from tests.authority import A_SUBJECT, shared_keys
from tests.keys import key
from tests.trust.forging import element, forged, sealed, with_digest

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
LeafKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Builder = x509.CertificateBuilder


@dataclass(frozen=True)
class Chain:
    """`expected` is what a server is told, `as_client` when a client is told something else."""

    name: str
    leaf: x509.Certificate
    expected: str
    stricter: str = ""
    as_client: str = ""
    sent: tuple[x509.Certificate, ...] = ()
    anchors: Anchors | None = None
    crls: tuple[bytes, ...] | None = None


class Workshop:
    """One authority, and certificates below it made in ways it never would."""

    def __init__(self) -> None:
        self.space = Authority(NOW, make_key=shared_keys(10))
        self.anchors = Anchors.from_pem(self.space.anchors_pem)
        self.gone = self.space.issue(A_SUBJECT)
        self.space.revoke(self.gone)
        self.crls = self.space.crls()

    @property
    def issuer_key(self) -> rsa.RSAPrivateKey:
        return self.space._key

    def leaf(
        self,
        public_key: LeafKey | None = None,
        change: Callable[[Builder], Builder] = lambda builder: builder,
        *,
        bare: bool = False,
        digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        rsa_padding: padding.PSS | None = None,
    ) -> x509.Certificate:
        """A healthy leaf, but for what is asked; `bare` has only the extensions of `change`."""
        builder = (
            Builder()
            .subject_name(A_SUBJECT.name)
            .issuer_name(self.space._name)
            .public_key(public_key or key(100).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 900 * DAY)
        )
        if not bare:
            builder = (
                builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
                .add_extension(usage(digital_signature=True), True)
                .add_extension(x509.ExtendedKeyUsage([Eku.SERVER_AUTH, Eku.CLIENT_AUTH]), False)
            )
        return change(builder).sign(
            self.issuer_key, digest or hashes.SHA256(), rsa_padding=rsa_padding
        )


def usage(**bits: bool) -> x509.KeyUsage:
    """KeyUsage with only those bits."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names})


def chains() -> Iterator[Chain]:
    """All of them, on one authority."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn of what a careless authority signs
        shop = Workshop()
        yield from _uses(shop)
        yield from _dates(shop)
        yield from _strangers(shop)
        yield from _strengths(shop)
        yield from _signatures(shop)
        yield from _extensions(shop)
        yield from _constraints(shop)
        yield from _long(shop)
        yield from _revocation(shop)


def _uses(shop: Workshop) -> Iterator[Chain]:
    ours = "what a certificate may be used for is decided by role"
    yield Chain("healthy", shop.leaf(), "accepted")
    for name, kinds, server, client in (
        ("server only", [Eku.SERVER_AUTH], "accepted", "accepted"),
        ("client only", [Eku.CLIENT_AUTH], "usage", "accepted"),
        ("e-mail only", [Eku.EMAIL_PROTECTION], "usage", "usage"),
        ("any usage", [Eku.ANY_EXTENDED_KEY_USAGE], "usage", "usage"),
        ("code and server", [Eku.CODE_SIGNING, Eku.SERVER_AUTH], "accepted", "accepted"),
        ("time stamps", [Eku.TIME_STAMPING], "usage", "usage"),
    ):
        make = Make(usages=tuple(kinds))
        leaf = shop.space.issue(A_SUBJECT, make).certificate
        yield Chain(f"usage: {name}", leaf, server, ours, as_client=client)
    yield Chain("usage: none", shop.leaf(bare=True), "accepted")
    for name, server, client in (
        ("digital_signature", "accepted", "accepted"),
        ("key_encipherment", "accepted", "usage"),
        ("key_agreement", "usage", "usage"),
        ("content_commitment", "usage", "usage"),
        ("data_encipherment", "usage", "usage"),
        ("crl_sign", "usage", "usage"),
    ):
        leaf = shop.leaf(change=_with(usage(**{name: True}), True), bare=True)
        yield Chain(f"key usage: {name}", leaf, server, ours, as_client=client)
    authority = shop.space.issue(A_SUBJECT, Make(is_authority=True, digital_signature=True))
    yield Chain("an authority as a leaf", authority.certificate, "usage", ours)
    above = "only what our intermediate issued is an operator's (OP-07)"
    yield Chain("the intermediate itself", shop.space.intermediate, "chain", above)
    yield Chain("the root itself", shop.space.root, "chain", above)
    alone = Anchors((shop.space.root,))
    only = (shop.crls[0],)
    yield Chain("the only anchor itself", shop.space.root, "usage", ours, anchors=alone, crls=only)


def _with(extension: x509.ExtensionType, critical: bool) -> Callable[[Builder], Builder]:
    return lambda builder: builder.add_extension(extension, critical)


def _dates(shop: Workshop) -> Iterator[Chain]:
    def lasting(start: datetime, end: datetime) -> x509.Certificate:
        identity = shop.space.issue(A_SUBJECT, Make(not_before=start, not_after=end))
        return identity.certificate

    yield Chain("expired", lasting(NOW - 9 * DAY, NOW - SECOND), "expired")
    # Not asked: the very second of its end, which RFC 5280 4.1.2.5 and our OpenSSL still count in,
    # and Debian's OpenSSL 3.0 no longer.
    yield Chain("ends in a second", lasting(NOW - 9 * DAY, NOW + SECOND), "accepted")
    yield Chain("not yet valid", lasting(NOW + SECOND, NOW + DAY), "not yet valid")
    yield Chain("begins now", lasting(NOW, NOW + DAY), "accepted")
    yield Chain("ends in 9999", lasting(NOW, NOW.replace(year=9999)), "accepted")
    healthy = shop.leaf()
    swapped = forged(healthy, shop.issuer_key, _dates_exchanged)
    yield Chain("ends before it begins", x509.load_der_x509_certificate(swapped), "not yet valid")


def _dates_exchanged(der: bytes) -> bytes:
    start, end = b"\x17\x0d260301090000Z", b"\x17\x0d280818090000Z"
    assert start + end in der
    return der.replace(start + end, end + start)


def _strangers(shop: Workshop) -> Iterator[Chain]:
    space = shop.space
    other = Authority(NOW, make_key=shared_keys(20))
    twin = other.issue(A_SUBJECT)
    yield Chain("another authority of the same name", twin.certificate, "chain")
    sent = (other.intermediate, other.root)
    yield Chain("and it sends its chain", twin.certificate, "chain", sent=sent)
    yield Chain("self-signed", _self_signed(A_SUBJECT.name), "chain")
    yield Chain("self-signed in our intermediate's name", _self_signed(space._name), "chain")
    below = Authority(NOW, make_key=shared_keys(10))
    operator = space.issue(A_SUBJECT)
    below._key, below._name = operator.key, operator.certificate.subject
    leaf = below.issue(Subject("mx.forged.test")).certificate
    yield Chain("issued by an operator", leaf, "chain", sent=(operator.certificate,))
    yield from _below_the_root(shop)
    old = "an issuer is found by its name as written, not by a likeness of it"
    whispered = x509.Name(
        [x509.NameAttribute(a.oid, a.value.lower(), _validate=False) for a in space._name]
    )
    for name, issuer, expected in (
        ("issuer in small letters", whispered, "chain"),
        ("issuer in another type of string", _as_printable(space._name), "accepted"),
        ("no issuer", x509.Name([]), "chain"),
    ):
        leaf = shop.leaf(change=_issued_by(issuer))
        yield Chain(name, leaf, expected, old if issuer is whispered else "")
    stranger = x509.AuthorityKeyIdentifier.from_issuer_public_key(key(20).public_key())
    yield Chain(
        "another key named as the issuer's", shop.leaf(change=_with(stranger, False)), "chain"
    )


def _issued_by(issuer: x509.Name) -> Callable[[Builder], Builder]:
    def change(builder: Builder) -> Builder:
        builder._issuer_name = issuer
        return builder

    return change


def _as_printable(name: x509.Name) -> x509.Name:
    return x509.Name([x509.NameAttribute(a.oid, a.value, _ASN1Type.PrintableString) for a in name])


def _self_signed(name: x509.Name) -> x509.Certificate:
    return (
        Builder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key(101).public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(key(101), hashes.SHA256())
    )


def _below_the_root(shop: Workshop) -> Iterator[Chain]:
    why = "only what our intermediate issued is an operator's (OP-07)"
    direct = Authority(NOW, make_key=shared_keys(10))
    direct._key, direct._name = direct._root_key, direct._root_name
    yield Chain("issued by the root", direct.issue(A_SUBJECT).certificate, "chain", why)
    sister = Authority(NOW, make_key=shared_keys(10))
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "TEST AC IGC-SANTE ELEMENTAIRE PERSONNES")]
    )
    persons = sister._make_authority(name, key(30), path_length=0)
    sister._key, sister._name = key(30), name
    leaf = sister.issue(A_SUBJECT).certificate
    yield Chain("issued by a sister of our intermediate", leaf, "chain", sent=(persons,))


def _strengths(shop: Workshop) -> Iterator[Chain]:
    weak = "keys below RSA 2048 and other curves than the three are not used"
    huge = rsa.RSAPublicNumbers(65537, (1 << 16_383) + 12_345).public_key()
    larger = rsa.RSAPublicNumbers(65537, (1 << 65_535) + 12_345).public_key()
    odd = rsa.RSAPublicNumbers((1 << 2000) + 1, (1 << 2047) + 12_345).public_key()
    short = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  # on purpose
    almost = rsa.RSAPublicNumbers(65537, (1 << 2046) + 12_345).public_key()
    for name, public_key, expected in (
        ("RSA 1024", short, "weak"),
        ("RSA 2047", almost, "weak"),
        ("RSA 16384", huge, "accepted"),
        ("RSA 65536", larger, "accepted"),
        ("RSA with an exponent of 2001 bits", odd, "accepted"),
        ("P-256", ec.generate_private_key(ec.SECP256R1()).public_key(), "accepted"),
        ("P-384", ec.generate_private_key(ec.SECP384R1()).public_key(), "accepted"),
        ("P-521", ec.generate_private_key(ec.SECP521R1()).public_key(), "accepted"),
        ("P-224", ec.generate_private_key(ec.SECP224R1()).public_key(), "weak"),
        ("secp256k1", ec.generate_private_key(ec.SECP256K1()).public_key(), "weak"),
        ("brainpool", ec.generate_private_key(ec.BrainpoolP256R1()).public_key(), "weak"),
        ("Ed25519", ed25519.Ed25519PrivateKey.generate().public_key(), "weak"),
    ):
        yield Chain(f"key: {name}", shop.leaf(public_key), expected, weak)


def _signatures(shop: Workshop) -> Iterator[Chain]:
    old = "digests older than SHA-256 are not taken"
    load = x509.load_der_x509_certificate
    leaf = shop.leaf()
    for name, last in (("MD5", 4), ("SHA-1", 5), ("SHA-224", 14)):
        octets = with_digest(leaf, shop.issuer_key, last)
        yield Chain(f"digest: {name}", load(octets), "weak", old)
    for digest in (hashes.SHA384(), hashes.SHA512()):
        yield Chain(f"digest: {digest.name}", shop.leaf(digest=digest), "accepted")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    yield Chain("signature: PSS", shop.leaf(rsa_padding=pss), "accepted")
    for name, at in (("its last octet", -1), ("its first", -256)):
        changed = bytearray(leaf.public_bytes(DER))
        changed[at] ^= 1
        yield Chain(f"signature changed: {name}", load(bytes(changed)), "chain")
    other = leaf.public_bytes(DER).replace(b"hopital-a", b"hopital-b", 1)
    yield Chain("name changed under the signature", load(other), "chain")
    outer = with_digest(leaf, shop.issuer_key, 5)
    inner = leaf.tbs_certificate_bytes
    mixed = element(0x30, inner, outer[len(element(0x30, inner)) :][:0], _tail(outer, inner))
    yield Chain("two algorithms named", load(mixed), "chain")


def _tail(der: bytes, inner: bytes) -> bytes:
    """Algorithm and signature of a certificate whose signed part is as long as `inner`."""
    return der[4 + len(inner) :]


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.250.1.71.99.2"), b"\x05\x00")


def _extensions(shop: Workshop) -> Iterator[Chain]:
    load = x509.load_der_x509_certificate
    yield Chain("unknown extension", shop.leaf(change=_with(UNKNOWN, False)), "accepted")
    yield Chain("unknown extension, critical", shop.leaf(change=_with(UNKNOWN, True)), "chain")
    yield Chain("no extension at all", shop.leaf(bare=True), "accepted")
    version_1 = crypto.X509.from_cryptography(shop.leaf(bare=True))
    version_1.set_version(0)
    version_1.sign(crypto.PKey.from_cryptography_key(shop.issuer_key), "sha256")
    yield Chain("version 1", version_1.to_cryptography(), "accepted")
    proxy = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"),
        element(0x30, element(0x30, element(0x06, bytes.fromhex("2b06010505071501")))),
    )
    yield Chain("a proxy", shop.leaf(change=_with(proxy, True)), "chain")
    host = x509.SubjectAlternativeName([x509.DNSName("mx.hopital-a.test\x00.evil.test")])
    yield Chain("NUL in the alternative name", shop.leaf(change=_with(host, False)), "accepted")
    for name, oid in (
        ("key usage", x509.OID_KEY_USAGE),
        ("extended key usage", x509.OID_EXTENDED_KEY_USAGE),
        ("basic constraints", x509.OID_BASIC_CONSTRAINTS),
    ):
        broken = x509.UnrecognizedExtension(oid, b"\x04\x01x")
        leaf = shop.leaf(change=_with(broken, False), bare=True)
        yield Chain(f"unreadable {name}", leaf, "chain")
    address = x509.UnrecognizedExtension(
        x509.OID_SUBJECT_ALTERNATIVE_NAME, element(0x30, element(0x87, b"1234567"))
    )
    leaf = shop.leaf(change=_with(address, False))
    why = "what cannot be read is refused, never skipped"
    yield Chain("an address of seven octets", leaf, "chain", why)
    # An unknown one renamed into a second KeyUsage: the lengths of both OIDs are made the same.
    second = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x03\x02\x07\x80")
    doubled = shop.leaf(change=_with(second, False))
    octets = forged(doubled, shop.issuer_key, lambda d: d.replace(b"\x55\x1d\x63", b"\x55\x1d\x0f"))
    yield Chain("key usage twice", load(octets), "chain")
    for name, serial in (
        ("0", b"\0"),
        ("negative", b"\x80"),
        ("21 octets", b"\x01" + b"\xff" * 20),
    ):
        yield Chain(f"serial number: {name}", _numbered(shop, serial), "accepted")


def _numbered(shop: Workshop, serial: bytes) -> x509.Certificate:
    """A healthy leaf with another serial number."""
    inner = shop.leaf(change=lambda b: b).tbs_certificate_bytes
    content = inner[4:]
    version, rest = content[:5], content[5:]
    rest = rest[2 + rest[1] :]
    return x509.load_der_x509_certificate(
        sealed(element(0x30, version, element(0x02, serial), rest), shop.issuer_key)
    )


def _constraints(shop: Workshop) -> Iterator[Chain]:
    space = shop.space

    def below(change: Callable[[Builder], Builder], *, root_path: int | None = None) -> Anchors:
        """Our authorities' names and keys, the intermediate made in another way."""
        root = _authority(space, space._root_name, space._root_key, root_path)
        return Anchors((root, _authority(space, space._name, space._key, 0, change)))

    named = x509.NameConstraints([x509.DNSName("hopital-a.test")], None)
    elsewhere = x509.NameConstraints([x509.DNSName("ailleurs.test")], None)
    excluded = x509.NameConstraints(None, [x509.DNSName("hopital-a.test")])
    leaf = space.issue(A_SUBJECT).certificate
    for name, constraints, expected in (
        ("within", named, "accepted"),
        ("elsewhere", elsewhere, "chain"),
        ("excluded", excluded, "chain"),
    ):
        anchors = below(_with(constraints, True))
        yield Chain(f"name constraints: {name}", leaf, expected, anchors=anchors)
    anchors = below(lambda builder: builder, root_path=0)
    yield Chain("path length: of our root", leaf, "chain", anchors=anchors)
    anchors = below(_with(UNKNOWN, True))
    yield Chain(
        "our intermediate has an unknown critical extension", leaf, "chain", anchors=anchors
    )
    unsigning = below(lambda builder: builder)
    broken = (unsigning.certificates[0], _not_signing(space))
    yield Chain("our intermediate may not sign", leaf, "chain", anchors=Anchors(broken))
    ended = Anchors((space.root, _authority(space, space._name, space._key, 0, _ended)))
    yield Chain("our intermediate has expired", leaf, "expired", anchors=ended)
    yield from _loops(shop, leaf)


def _authority(
    space: Authority,
    name: x509.Name,
    own: rsa.RSAPrivateKey,
    path: int | None,
    change: Callable[[Builder], Builder] = lambda builder: builder,
    usages: x509.KeyUsage | None = None,
) -> x509.Certificate:
    builder = (
        Builder()
        .subject_name(name)
        .issuer_name(space._root_name)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 90 * DAY)
        .not_valid_after(NOW + 900 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path), True)
        .add_extension(usages or usage(key_cert_sign=True, crl_sign=True), True)
    )
    return change(builder).sign(space._root_key, hashes.SHA256())


def _not_signing(space: Authority) -> x509.Certificate:
    usages = usage(digital_signature=True)
    return _authority(space, space._name, space._key, 0, usages=usages)


def _ended(builder: Builder) -> Builder:
    builder._not_valid_after = (NOW - SECOND).replace(tzinfo=None)
    return builder


def _loops(shop: Workshop, leaf: x509.Certificate) -> Iterator[Chain]:
    """Two authorities that sign one another, ours among them."""
    space = shop.space
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST AC CROISEE")])
    crossed = _authority(space, name, key(30), None)
    back = (
        Builder()
        .subject_name(space._name)
        .issuer_name(name)
        .public_key(space._key.public_key())
        .serial_number(99)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key(30), hashes.SHA256())
    )
    yield Chain("a loop is sent along", leaf, "accepted", sent=(back, crossed, back, crossed))
    twisted = Anchors((space.root, space.intermediate, crossed, back))
    yield Chain("our anchors are crossed", leaf, "accepted", anchors=twisted)


def _long(shop: Workshop) -> Iterator[Chain]:
    """Fifty certificates, each signed by the one before, the first by our intermediate."""
    issuer, signer = shop.space._name, shop.issuer_key
    line = []
    for number in range(50):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"TEST AC {number}")])
        own = key(100 + number % 5)
        builder = Builder().subject_name(name).issuer_name(issuer).public_key(own.public_key())
        builder = builder.serial_number(number + 1).not_valid_before(NOW - DAY)
        builder = builder.not_valid_after(NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        line.append(builder.sign(signer, hashes.SHA256()))
        issuer, signer = name, own
    last = Authority(NOW, make_key=shared_keys(10))
    last._key, last._name = signer, issuer
    leaf = last.issue(A_SUBJECT).certificate
    yield Chain("fifty authorities", leaf, "chain", sent=tuple(reversed(line)))


def _revocation(shop: Workshop) -> Iterator[Chain]:
    space, leaf = shop.space, shop.leaf()
    yield Chain("revoked", shop.gone.certificate, "revoked")
    ended = space.crls(next_update=NOW)
    later = space.crls(this_update=NOW + SECOND)
    yield Chain("CRLs end now", leaf, "revocation unknown", crls=ended)
    yield Chain("CRLs begin later", leaf, "revocation unknown", crls=later)
    root_crl, crl = space.crls()
    yield Chain("no CRL of the intermediate", leaf, "revocation unknown", crls=(root_crl,))
    yield Chain("no CRL of the root", leaf, "revocation unknown", crls=(crl,))
    held = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number)
    held = held.revocation_date(NOW - DAY)
    for reason in (x509.ReasonFlags.certificate_hold, x509.ReasonFlags.superseded):
        entry = held.add_extension(x509.CRLReason(reason), False).build()
        listed = _crl_of(space, entry)
        yield Chain(f"revoked: {reason.value}", leaf, "revoked", crls=(root_crl, listed))
    later_on = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number)
    listed = _crl_of(space, later_on.revocation_date(NOW + DAY).build())
    yield Chain("revoked from tomorrow on", leaf, "revoked", crls=(root_crl, listed))
    number = [space.intermediate.serial_number]
    above = space._crl(space._root_name, space._root_key, number, (NOW - DAY, NOW + DAY))
    yield Chain("the intermediate is revoked", leaf, "revoked", crls=(above, crl))


def _crl_of(space: Authority, entry: x509.RevokedCertificate) -> bytes:
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(space._name)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_extension(x509.CRLNumber(900), False)
        .add_revoked_certificate(entry)
        .sign(space._key, hashes.SHA256())
        .public_bytes(DER)
    )
