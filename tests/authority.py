"""Certificates for tests, made once per process: RSA keys are the slow part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from mssmtp.demo.authority import Authority, Identity, Make, Subject, row
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot
from mssmtp.whitelist import Row, Whitelist
from tests.keys import key

A_DOMAIN, B_DOMAIN = "hopital-a.test", "cabinet-b.test"
A_SUBJECT = Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER DE VALMONT")
B_SUBJECT = Subject("mx.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")


def shared_keys(first: int = 0, last: int = 5) -> Callable[[], rsa.RSAPrivateKey]:
    """Two fresh keys for the authorities, then a few that certificates take turns with.

    Another `first` gives other authority keys: two authorities must never share one.
    """
    numbers = count(first)

    def make() -> rsa.RSAPrivateKey:
        number = next(numbers) - first
        return key(first + number if number < 2 else 100 + number % last)

    return make


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A trust space whose certificates are valid now, by the machine's clock."""
    return Authority(datetime.now(UTC), make_key=shared_keys())


@pytest.fixture(scope="session")
def healthy(authority: Authority) -> dict[str, Identity]:
    """A good operator certificate per listed domain; `localhost` and 127.0.0.1 fit too."""
    make = Make(hosts=("localhost", "127.0.0.1"))
    return {A_DOMAIN: authority.issue(A_SUBJECT, make), B_DOMAIN: authority.issue(B_SUBJECT, make)}


def rows_for(authority: Authority, *bindings: tuple[str, str]) -> tuple[Row, ...]:
    """Rows of (domain, name as the list prints it)."""
    return tuple(row(domain, dn, updated=authority.now) for domain, dn in bindings)


def unsigned_whitelist(authority: Authority, *bindings: tuple[str, str]) -> Whitelist:
    """A list as if verified, for tests of what comes after verification."""
    return Whitelist(authority.now, "0" * 64, "CN=test", rows_for(authority, *bindings))


@pytest.fixture(scope="session")
def snapshot(authority: Authority) -> Snapshot:
    """Both domains listed, fresh CRLs, nobody revoked."""
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(authority, (A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
    return Snapshot(
        anchors=anchors,
        whitelist=listed,
        revocation=Revocation.of(authority.crls(), anchors),
    )


@dataclass(frozen=True, slots=True)
class MakeCrl:
    """How a CRL is made; the defaults are those of a whole one of the intermediate, in date.

    `extensions`: (extension, critical), beside the number, which `number` None leaves out.
    """

    serials: Sequence[int] = ()
    of_root: bool = False
    number: int | None = 1_000
    this_update: datetime | None = None
    next_update: datetime | None = None
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()


def make_crl(space: Authority, make: MakeCrl) -> bytes:
    """DER of a CRL of `space`."""
    name, key = (space._root_name, space._root_key) if make.of_root else (space._name, space._key)
    start = make.this_update or space.now - timedelta(minutes=5)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name)
        .last_update(start)
        .next_update(make.next_update or start + timedelta(days=7))
    )
    if make.number is not None:
        builder = builder.add_extension(x509.CRLNumber(make.number), critical=False)
    for extension, critical in make.extensions:
        builder = builder.add_extension(extension, critical=critical)
    for serial in make.serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def big_crl(space: Authority, serials: Sequence[int], *, entry_octets: int = 200) -> bytes:
    """As `make_crl`, encoded by hand: the builder of cryptography needs the square of the number.

    Each entry carries a reason and a long invalidity text, which makes it `entry_octets` long.
    """
    whole = x509.load_der_x509_crl(make_crl(space, MakeCrl([1])))
    tbs = whole.tbs_certlist_bytes
    only = _der(0x30, _der(0x02, b"\1") + _moment(space.now - timedelta(minutes=5)))
    before, after = tbs[_head(tbs) :].split(_der(0x30, only), 1)
    padding = entry_octets - 60
    reason = _der(0x30, bytes.fromhex("0603551d15") + _der(0x04, bytes.fromhex("0a0101")))
    note = _der(0x30, bytes.fromhex("06022a03") + _der(0x04, bytes(padding)))
    rest = _moment(space.now) + _der(0x30, reason + note)
    entries = b"".join(
        _der(0x30, _der(0x02, n.to_bytes(n.bit_length() // 8 + 1, "big")) + rest) for n in serials
    )
    signed = _der(0x30, before + _der(0x30, entries) + after)
    signature = space._key.sign(signed, PKCS1v15(), hashes.SHA256())
    algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
    return _der(0x30, signed + algorithm + _der(0x03, b"\0" + signature))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _head(der: bytes) -> int:
    return 2 if der[1] < 128 else 2 + (der[1] & 0x7F)


def _moment(moment: datetime) -> bytes:
    return _der(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


@dataclass(frozen=True, slots=True)
class MakeAnswer:
    """How an OCSP answer is made; the defaults are those of a good one by the authority itself.

    `signer`: a delegate, normally sent along; `about`: other (certificate, issuer); `digest`: of
    the certificate's name in it.
    """

    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD
    this_update: datetime | None = None
    next_update: datetime | None = None
    ends: bool = True
    nonce: bytes | None = None
    signer: Identity | None = None
    before: tuple[x509.Certificate, ...] = ()
    sent: bool = True
    spoilt: bool = False
    about: tuple[x509.Certificate, x509.Certificate] | None = None
    by_hash: bool = False
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA1)
    signed_with: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 = field(
        default_factory=hashes.SHA256
    )


def make_answer(space: Authority, certificate: x509.Certificate, make: MakeAnswer) -> bytes:
    """DER of an OCSP answer about `certificate`, which the intermediate of `space` has issued."""
    start = make.this_update or space.now - timedelta(minutes=5)
    about, issuer = make.about or (certificate, space.intermediate)
    revoked = make.status is ocsp.OCSPCertStatus.REVOKED
    end = make.next_update or start + timedelta(days=1)
    encoding = ocsp.OCSPResponderEncoding.HASH if make.by_hash else ocsp.OCSPResponderEncoding.NAME
    responder = space.intermediate if make.signer is None else make.signer.certificate
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about,
            issuer=issuer,
            algorithm=make.digest,
            cert_status=make.status,
            this_update=start,
            next_update=end if make.ends else None,
            revocation_time=start if revoked else None,
            revocation_reason=None,
        )
        .responder_id(encoding, responder)
    )
    if make.signer is not None and make.sent:
        builder = builder.certificates([*make.before, make.signer.certificate])
    if make.nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(make.nonce), critical=False)
    key = space._key if make.signer is None else make.signer.key
    octets = builder.sign(key, make.signed_with).public_bytes(Encoding.DER)
    # Without certificates the signature is the end of it.
    return octets[:-1] + bytes([octets[-1] ^ 1]) if make.spoilt else octets
