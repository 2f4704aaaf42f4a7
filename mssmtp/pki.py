"""Certificates: names as RDN sequences, authorities, chains. No network; time is a parameter.

Chains are built by OpenSSL (pyOpenSSL's X509Store); what it lets pass and we do not (weak
signatures, short keys, usages) is checked here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from OpenSSL import crypto

from mssmtp.errors import ConfigError, MailError, Reply
from mssmtp.mail import DnKey, Rdn

# ---------------------------------------------------------------- names

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

    OP-32: quotes toggle and are dropped, escapes are read, a comma outside quotes ends
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


def name_text(key: DnKey) -> str:
    """A normalised name as tables of ours hold it: the order of the list, CN first."""
    return ",".join(f"{rdn.type}={rdn.value}" for rdn in key)


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


Space = Literal["production", "test"]


def space_of(name: x509.Name) -> Space | None:
    """The trust space an authority's name belongs to (OP-100).

    None: an authority of neither, such as a hospital's own or a public one.
    """
    texts = {(KEY_TYPES_BY_OID.get(a.oid.dotted_string), str(a.value).upper()) for a in name}
    if ("OU", "IGC-SANTE TEST") in texts or any(
        kind == "CN" and text.startswith("TEST ") for kind, text in texts
    ):
        return "test"
    return "production" if ("OU", "IGC-SANTE") in texts else None


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
    """What the certificate is used for; decides the key usages asked for."""

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
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, eq=False)
class Anchors:
    """The only authorities of one door (OP-07): self-signed roots and intermediates below them.

    Raises ConfigError when test and production authorities are mixed (OP-100), when an authority
    is weak, or when no root is there.
    """

    certificates: tuple[x509.Certificate, ...]

    def __post_init__(self) -> None:
        spaces = {space_of(c.subject) for c in self.certificates}
        if "test" in spaces and len(spaces) > 1:
            raise ConfigError(
                "pki.anchors_file",
                "mixes test and production authorities",
                "Keep only the authorities of one trust space in it.",
            )
        if not any(c.subject == c.issuer for c in self.certificates):
            raise ConfigError(
                "pki.anchors_file", "holds no self-signed root", "Add the root certificate."
            )
        if any(is_weak(c) for c in self.certificates):
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
                str(path),
                f"cannot be read ({error.strerror})",
                "Check the path and its mode, or put the authorities there (certs/README.md).",
            ) from error

    @cached_property
    def space(self) -> Space | None:
        """The trust space whose authorities these are; None: of neither by their names."""
        spaces = {space_of(c.subject) for c in self.certificates}
        return "test" if "test" in spaces else "production" if "production" in spaces else None

    @cached_property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The self-signed ones: what a mail program has to know."""
        return tuple(c for c in self.certificates if c.subject == c.issuer)

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

    def store(self, now: datetime) -> crypto.X509Store:
        """An OpenSSL store at `now`, without CRLs: `revocation` looks those up."""
        store = crypto.X509Store()
        for certificate in self._openssl:
            store.add_cert(certificate)
        store.set_time(now.astimezone(UTC))
        return store

    def issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """The authority of ours that signed it; of several of one name the one whose key did."""
        named = [c for c in self.certificates if c.subject == certificate.issuer]
        if len(named) == 1:
            return named[0]
        return next((c for c in named if is_signed(certificate, c)), None)


def is_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Was it made with the key of `issuer`, in its name?"""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def is_weak(certificate: x509.Certificate) -> bool:
    """True for a short key or a digest older than SHA-2; OpenSSL's store lets both pass."""
    key = certificate.public_key()
    strong_key = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)
    )
    return not strong_key or not isinstance(certificate.signature_hash_algorithm, HASHES)


# ---------------------------------------------------------------- the judgement

_STORE_REASONS: dict[int, Reason] = {
    9: "not yet valid",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "expired",  # X509_V_ERR_CERT_HAS_EXPIRED
}


def judge_certificate(
    leaf: x509.Certificate,
    anchors: Anchors,
    role: Role,
    now: datetime,
    *,
    require_eku: bool = False,
) -> None:
    """Chain, dates, strength and usages, without revocation. Raises CertificateRefused."""
    _verify(leaf, anchors.store(now))
    if not any(leaf.issuer == issuer.subject for issuer in anchors.issuing):
        raise CertificateRefused("chain", serial_text(leaf))
    judge_leaf(leaf, role, require_eku=require_eku)


def judge_leaf(leaf: x509.Certificate, role: Role, *, require_eku: bool = False) -> None:
    """Strength and usages of the certificate itself. Raises CertificateRefused."""
    serial = serial_text(leaf)
    if is_weak(leaf):
        raise CertificateRefused("weak", serial)
    if not _fits(leaf, role, require_eku=require_eku):
        raise CertificateRefused("usage", serial)


def serial_text(certificate: x509.Certificate) -> str:
    """The serial number as tools print it: hexadecimal, upper case."""
    return f"{certificate.serial_number:X}"


def _verify(leaf: x509.Certificate, store: crypto.X509Store) -> None:
    try:
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf))
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        reason = _STORE_REASONS.get(error.errors[0], "chain")
        raise CertificateRefused(reason, serial_text(leaf)) from error
    except crypto.Error as error:
        # What cryptography reads OpenSSL may not: refused, never skipped.
        raise CertificateRefused("chain", serial_text(leaf)) from error


X = TypeVar("X", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[X]) -> X | None:
    """The extension of that kind; None without it."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _fits(leaf: x509.Certificate, role: Role, *, require_eku: bool) -> bool:
    """Basic constraints, key usage and extended key usage for `role` (WT-44)."""
    basic = extension(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return False
    usage = extension(leaf, x509.KeyUsage)
    if usage is not None and not (
        usage.digital_signature
        or (role is Role.SERVER and usage.key_encipherment)
        or (role is Role.LIST_SIGNER and usage.content_commitment)
    ):
        return False
    extended = extension(leaf, x509.ExtendedKeyUsage)
    if extended is None:
        return role is not Role.LIST_SIGNER and not require_eku
    if role is Role.LIST_SIGNER:
        return Eku.EMAIL_PROTECTION in extended and Eku.SERVER_AUTH not in extended
    if role is Role.SERVER:
        return Eku.SERVER_AUTH in extended
    return Eku.CLIENT_AUTH in extended or Eku.SERVER_AUTH in extended
