"""Certificates: names as RDN sequences, chains, revocation. No network; time is a parameter.

Chains are built by OpenSSL (pyOpenSSL's X509Store); what it lets pass and we do not (weak
signatures, short keys, usages) is checked here (facts.md).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from OpenSSL import crypto

from mssmtp.errors import ConfigError, MailError, Reply
from mssmtp.mail import DnKey, Rdn

# ---------------------------------------------------------------- names (whitelist.md §5)

KEY_TYPES_BY_OID = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "TITLE",
    "2.5.4.17": "POSTALCODE",
    "2.5.4.42": "GIVENNAME",
    "2.5.4.97": "ORGANIZATIONIDENTIFIER",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "EMAILADDRESS",
}
_ALIASES = {"S": "ST", "T": "TITLE", "E": "EMAILADDRESS", "GN": "GIVENNAME"}
_HEX_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
# Unicode's White_Space. `str.split` also takes the separators U+001C to U+001F for white space: a
# certificate whose CN ends in one of them would be the host's without it (ATT-15).
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_RUN_OF_SPACE = re.compile(f"[{_WHITE_SPACE}]+")


def listed_name(text: str) -> DnKey | None:
    """The comparable form of a name as the list prints it; None: unusable, never matches.

    whitelist.md §5: quotes toggle and are dropped, escapes are read, a comma outside quotes ends
    the RDN. An odd number of quotes, an RDN without `=`, type or value makes it unusable.
    """
    pieces = _split(text)
    if pieces is None:
        return None
    rdns = []
    for piece in pieces:
        kind, equals, value = piece.partition("=")
        rdn = Rdn(_type_key(kind), _value_key(value))
        if not equals or not rdn.type or not rdn.value:
            return None
        rdns.append(rdn)
    return tuple(rdns)


def certificate_name(name: x509.Name) -> DnKey | None:
    """The comparable form of a certificate's name, from its ASN.1 and never from a printed form.

    None, which never matches: a multi-valued RDN, a value that is not text, or an empty name.
    """
    rdns = []
    for part in reversed(list(name.rdns)):
        attributes = list(part)
        if len(attributes) != 1 or not isinstance(attributes[0].value, str):
            return None
        oid = attributes[0].oid.dotted_string
        value = _value_key(attributes[0].value)
        if not value:
            return None
        rdns.append(Rdn(KEY_TYPES_BY_OID.get(oid, oid), value))
    return tuple(rdns) or None


def printed_name(name: x509.Name) -> str:
    """For traces and logs only: RFC 4514, CN first, control characters replaced."""
    text = name.rfc4514_string()
    return "".join("?" if unicodedata.category(c).startswith("C") else c for c in text)


def _split(text: str) -> list[str] | None:
    """The RDNs of `text` with quotes and escapes resolved; None when it is not readable."""
    pieces: list[str] = []
    current = bytearray()
    quoted = False
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            pieces.append(current.decode(errors="replace"))
            current.clear()
        elif character != "\\":
            current += character.encode(errors="surrogatepass")
        elif pair := _HEX_PAIR.match(text, at):
            current.append(int(pair[0], 16))
            at += 2
        elif at < len(text):
            current += text[at].encode(errors="surrogatepass")
            at += 1
        else:
            return None
    if quoted:
        return None
    pieces.append(current.decode(errors="replace"))
    # Hex pairs that are not UTF-8 became U+FFFD: two different names must not meet there.
    return None if any("\ufffd" in piece for piece in pieces) else pieces


def _type_key(text: str) -> str:
    kind = text.strip(_WHITE_SPACE).upper().removeprefix("OID.")
    return _ALIASES.get(kind, KEY_TYPES_BY_OID.get(kind, kind))


def _value_key(text: str) -> str:
    value = unicodedata.normalize("NFC", text.replace('"', ""))
    return _RUN_OF_SPACE.sub(" ", value).strip(" ").replace(" (", "(").casefold()


# ---------------------------------------------------------------- refusals


class Role(StrEnum):
    """What the certificate is used for; decides the key usages asked for (whitelist.md §9)."""

    CLIENT = "client"
    SERVER = "server"
    LIST_SIGNER = "list signer"


Reason = Literal[
    "no certificate",
    "chain",
    "expired",
    "not yet valid",
    "revoked",
    "usage",
    "weak",
    "revocation unknown",
]

REPLIES: dict[Reason, Reply] = {
    "no certificate": Reply(
        554, "5.7.0", "Certificat absent ; présentez le certificat de votre opérateur MSSanté."
    ),
    "chain": Reply(
        554, "5.7.5", "Certificat non émis par l'autorité attendue ; présentez celui d'IGC-Santé."
    ),
    "expired": Reply(554, "5.7.5", "Certificat expiré ; renouvelez le certificat de l'opérateur."),
    "not yet valid": Reply(
        554, "5.7.5", "Certificat pas encore valable ; vérifiez ses dates et votre horloge."
    ),
    "revoked": Reply(554, "5.7.5", "Certificat révoqué ; présentez un certificat en vigueur."),
    "usage": Reply(
        554, "5.7.5", "Certificat non prévu pour cet usage ; présentez un certificat de serveur."
    ),
    "weak": Reply(554, "5.7.5", "Certificat trop faible ; il faut RSA 2048 et SHA-256 au minimum."),
    "revocation unknown": Reply(
        451, "4.7.5", "Révocation momentanément invérifiable ; réessayez plus tard."
    ),
}


class CertificateRefused(MailError):
    """A peer's certificate is not acceptable. `reason` and `serial` are for the log (OP-08)."""

    smtp = REPLIES["chain"]
    imap = "AUTHENTICATIONFAILED"

    def __init__(self, reason: Reason, serial: str = "", *, reply: Reply | None = None) -> None:
        super().__init__(f"certificate refused: {reason}", reply=reply or REPLIES[reason])
        self.reason: Reason = reason
        self.serial = serial


class BadRevocationList(Exception):
    """A CRL that is not one of our authorities', or not readable, or without an end."""


UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises, early or late, on octets that are no proper certificate or CRL."""


# ---------------------------------------------------------------- anchors

DER, PEM = Encoding.DER, Encoding.PEM
MIN_RSA_BITS = 2048
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, eq=False)
class Anchors:
    """The only authorities of one door (OP-07): self-signed roots and intermediates below them.

    Raises ConfigError when test and production authorities are mixed (OP-100), when an authority
    is weak, or when no root is there.
    """

    certificates: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        names = {certificate_name(c.subject) or () for c in self.certificates}
        tests = {n for n in names if any(r.type == "CN" and r.value.startswith("test ") for r in n)}
        if tests and tests != names:
            raise ConfigError(
                "pki.anchors_file",
                "mixes test and production authorities",
                "Keep only the authorities of one trust space in it.",
            )
        if not any(c.subject == c.issuer for c in self.certificates):
            raise ConfigError(
                "pki.anchors_file", "holds no self-signed root", "Add the root certificate."
            )
        if any(_is_weak(c) for c in self.certificates):
            raise ConfigError(
                "pki.anchors_file",
                "holds an authority with a short key or an old digest",
                "Use RSA 2048 and SHA-256 or better.",
            )

    @classmethod
    def from_pem(cls, octets: bytes) -> Anchors:
        """Every certificate of a PEM file. Raises ConfigError."""
        try:
            return cls(tuple(x509.load_pem_x509_certificates(octets)))
        except UNREADABLE as error:
            raise ConfigError(
                "pki.anchors_file", "holds no readable certificate", "Give PEM certificates."
            ) from error

    @classmethod
    def load(cls, path: Path) -> Anchors:
        """`from_pem` of a file. Raises ConfigError."""
        try:
            return cls.from_pem(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                str(path), f"cannot be read ({error.strerror})", "Check the path and its mode."
            ) from error

    @cached_property
    def issuing(self) -> tuple[x509.Certificate, ...]:
        """The authorities end certificates hang from: intermediates, or roots when there are none.

        OP-07 names one intermediate: a sister below the same root, which issues cards to persons,
        must not open the operators' door.
        """
        below = tuple(c for c in self.certificates if c.subject != c.issuer)
        return below or self.certificates

    @cached_property
    def _openssl(self) -> tuple[crypto.X509, ...]:
        return tuple(crypto.X509.from_cryptography(c) for c in self.certificates)

    def store(
        self, now: datetime, crls: Iterable[x509.CertificateRevocationList]
    ) -> crypto.X509Store:
        """An OpenSSL store at `now`; with CRLs it also asks for the status of every certificate."""
        store = crypto.X509Store()
        for certificate in self._openssl:
            store.add_cert(certificate)
        store.set_time(now.astimezone(UTC))
        crls = tuple(crls)
        for crl in crls:
            store.add_crl(crl)
        if crls:
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
        return store


def _is_weak(certificate: x509.Certificate) -> bool:
    """True for a short key or a digest older than SHA-2; OpenSSL's store lets both pass."""
    key = certificate.public_key()
    strong_key = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)
    )
    return not strong_key or not isinstance(certificate.signature_hash_algorithm, _HASHES)


# ---------------------------------------------------------------- revocation


@dataclass(frozen=True, eq=False)
class Revocation:
    """The CRLs in force, one per authority, each with a signature already checked (OP-09)."""

    crls: tuple[x509.CertificateRevocationList, ...]

    @classmethod
    def of(cls, files: Iterable[bytes], anchors: Anchors) -> Revocation:
        """CRLs from PEM or DER octets; of one authority the highest number counts.

        Raises BadRevocationList.
        """
        newest: dict[x509.Name, x509.CertificateRevocationList] = {}
        for octets in files:
            for crl in read_crls(octets, anchors):
                known = newest.get(crl.issuer)
                if known is None or crl_order(crl) > crl_order(known):
                    newest[crl.issuer] = crl
        return cls(tuple(newest.values()))

    @cached_property
    def next_update(self) -> datetime | None:
        """When the first of the CRLs ends; None without any."""
        ends = [crl.next_update_utc for crl in self.crls if crl.next_update_utc is not None]
        return min(ends, default=None)

    def number(self, issuer: x509.Name) -> int | None:
        """The CRL number of `issuer`, for the trace (OP-74)."""
        crl = self._of(issuer)
        return None if crl is None else crl_order(crl)[0]

    def status(
        self, certificate: x509.Certificate, now: datetime
    ) -> Literal["good", "revoked", "unknown"]:
        """What the issuer's CRL says. A revocation holds even when the CRL is past its end."""
        crl = self._of(certificate.issuer)
        if crl is None:
            return "unknown"
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return "revoked"
        ends = crl.next_update_utc
        fresh = ends is not None and crl.last_update_utc <= now < ends
        return "good" if fresh else "unknown"

    def _of(self, issuer: x509.Name) -> x509.CertificateRevocationList | None:
        return next((crl for crl in self.crls if crl.issuer == issuer), None)


def read_crls(octets: bytes, anchors: Anchors) -> tuple[x509.CertificateRevocationList, ...]:
    """The CRLs of one file, PEM (one or more) or DER (one), signed by `anchors`.

    Raises BadRevocationList: not readable, of another authority, without end or number, weak, a
    delta or a partial list (RFC 5280 5.2.4, 5.2.5).
    """
    try:
        if octets.lstrip().startswith(b"-----BEGIN"):
            crls = tuple(x509.load_pem_x509_crl(part) for part in _pem_parts(octets))
        else:
            crls = (x509.load_der_x509_crl(octets),)
        for crl in crls:
            _check_crl(crl, anchors)
    except UNREADABLE as error:
        raise BadRevocationList("not readable") from error
    if not crls:
        raise BadRevocationList("empty")
    return crls


def crl_order(crl: x509.CertificateRevocationList) -> tuple[int, datetime]:
    """Sorts CRLs of one authority from old to new (RFC 5280 5.2.3)."""
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return number, crl.last_update_utc


def _pem_parts(octets: bytes) -> list[bytes]:
    end = b"-----END X509 CRL-----"
    return [part + end for part in octets.split(end)[:-1]]


def _check_crl(crl: x509.CertificateRevocationList, anchors: Anchors) -> None:
    crl_order(crl)  # the number must be there
    if crl.next_update_utc is None:
        raise BadRevocationList("without an end")
    if not isinstance(crl.signature_hash_algorithm, _HASHES):
        raise BadRevocationList("weak signature")
    if not crl.public_bytes(DER).endswith(b"\0" + crl.signature):
        # The one octet no signature covers counts unused bits. OpenSSL takes only 0, and would
        # refuse every peer with such a CRL: whoever sits on the way must not slip it in (OP-09).
        raise BadRevocationList("unused bits in the signature")
    for extension in crl.extensions:
        scope = extension.value
        whole = isinstance(scope, x509.IssuingDistributionPoint) and not (
            scope.indirect_crl or scope.only_some_reasons or scope.only_contains_attribute_certs
        )
        if extension.critical and not whole:
            raise BadRevocationList("delta, partial or unknown kind")
    for issuer in anchors.certificates:
        key = issuer.public_key()
        if (
            issuer.subject == crl.issuer
            and isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
            and crl.is_signature_valid(key)
        ):
            return
    raise BadRevocationList("not signed by our authorities")


# ---------------------------------------------------------------- the judgement

_STORE_REASONS: dict[int, Reason] = {
    3: "revocation unknown",  # X509_V_ERR_UNABLE_TO_GET_CRL
    9: "not yet valid",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "expired",  # X509_V_ERR_CERT_HAS_EXPIRED
    11: "revocation unknown",  # X509_V_ERR_CRL_NOT_YET_VALID
    12: "revocation unknown",  # X509_V_ERR_CRL_HAS_EXPIRED
    23: "revoked",  # X509_V_ERR_CERT_REVOKED
}


def judge_chain(
    chain: Sequence[x509.Certificate],
    anchors: Anchors,
    revocation: Revocation | None,
    role: Role,
    now: datetime,
    *,
    require_eku: bool = False,
) -> None:
    """Accept the peer's certificate `chain[0]` or raise CertificateRefused (OP-08).

    The order is that of whitelist.md §6: no certificate, then chain, dates, usages, revoked, and
    only then an unusable CRL, which defers. Issuers sent by the peer are never used: the only
    path is from the leaf to our own intermediate and root (OP-07).
    """
    if not chain:
        raise CertificateRefused("no certificate")
    leaf = chain[0]
    try:
        certificate_name(leaf.subject)  # must be readable: the caller compares it
        judge_certificate(leaf, anchors, role, now, require_eku=require_eku)
        crls = judge_revocation(leaf, anchors, revocation, now)
        _verify(leaf, anchors.store(now, crls))
    except (*UNREADABLE, crypto.Error) as error:
        # The certificate parses lazily: what cannot be read is refused, never skipped.
        raise CertificateRefused("chain", serial_text(leaf)) from error


def judge_certificate(
    leaf: x509.Certificate,
    anchors: Anchors,
    role: Role,
    now: datetime,
    *,
    require_eku: bool = False,
) -> None:
    """Chain, dates, strength and usages, without revocation. Raises CertificateRefused."""
    _verify(leaf, anchors.store(now, ()))
    if not any(leaf.issuer == issuer.subject for issuer in anchors.issuing):
        raise CertificateRefused("chain", serial_text(leaf))
    judge_leaf(leaf, role, require_eku=require_eku)


def judge_leaf(leaf: x509.Certificate, role: Role, *, require_eku: bool = False) -> None:
    """Strength and usages of the certificate itself. Raises CertificateRefused."""
    serial = serial_text(leaf)
    if _is_weak(leaf):
        raise CertificateRefused("weak", serial)
    if not _fits(leaf, role, require_eku=require_eku):
        raise CertificateRefused("usage", serial)


def judge_revocation(
    leaf: x509.Certificate, anchors: Anchors, revocation: Revocation | None, now: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Refuse a revoked certificate; defer when a CRL of the chain is missing or past its end.

    Returns the CRLs that were looked at.
    """
    serial = serial_text(leaf)
    if revocation is None or not revocation.crls:
        raise CertificateRefused("revocation unknown", serial)
    issuers = [c for c in anchors.issuing if c.subject == leaf.issuer and c.subject != c.issuer]
    statuses = [revocation.status(c, now) for c in (leaf, *issuers)]
    if "revoked" in statuses:
        raise CertificateRefused("revoked", serial)
    if "unknown" in statuses:
        raise CertificateRefused("revocation unknown", serial)
    return revocation.crls


def serial_text(certificate: x509.Certificate) -> str:
    """The serial number as tools print it: hexadecimal, upper case."""
    return f"{certificate.serial_number:X}"


def _verify(leaf: x509.Certificate, store: crypto.X509Store) -> None:
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf))
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        reason = _STORE_REASONS.get(error.errors[0], "chain")
        raise CertificateRefused(reason, serial_text(leaf)) from error


X = TypeVar("X", bound=x509.ExtensionType)


def _extension(certificate: x509.Certificate, kind: type[X]) -> X | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _fits(leaf: x509.Certificate, role: Role, *, require_eku: bool) -> bool:
    """Basic constraints, key usage and extended key usage for `role` (whitelist.md §9, WT-44)."""
    basic = _extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return False
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not (
        usage.digital_signature
        or (role is Role.SERVER and usage.key_encipherment)
        or (role is Role.LIST_SIGNER and usage.content_commitment)
    ):
        return False
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if extended is None:
        return role is not Role.LIST_SIGNER and not require_eku
    if role is Role.LIST_SIGNER:
        return Eku.EMAIL_PROTECTION in extended and Eku.SERVER_AUTH not in extended
    if role is Role.SERVER:
        return Eku.SERVER_AUTH in extended
    return Eku.CLIENT_AUTH in extended or Eku.SERVER_AUTH in extended
