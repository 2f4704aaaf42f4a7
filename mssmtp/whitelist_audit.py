"""Any list file looked at from outside: does everything hold, and what is in it (OP-24 to OP-26).

Needs neither settings nor a home: authorities, or the one certificate that may have signed, come
from whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from mssmtp import pki
from mssmtp.errors import ConfigError
from mssmtp.revocation import BadRevocationList, Revocation
from mssmtp.trust_feed import AHEAD
from mssmtp.whitelist import ListRefused, ListRules, RefusalReason, Whitelist
from mssmtp.whitelist_signature import check_pin, signer_of, verify, verify_signer

PRODUCTION_PIN = "CN=alb.mssante.fr"
TEST_PIN = "CN=alb.mssante.example"
"""Of the throw-away authority: what a test space's own pin is, only its settings know."""

_SUFFIXES = (".pem", ".crt", ".cer", ".der", ".crl")
_FILE_OCTETS = 20 * 1_048_576

WHY: dict[RefusalReason, tuple[str, str]] = {
    "too big": (
        "the file is larger than a list may be",
        "Check what was downloaded; whitelist.max_octets is the limit (OP-23).",
    ),
    "not XML": (
        "the file is not well-formed XML",
        "It is cut or another file: download it again.",
    ),
    "DTD or entity": (
        "it holds a DTD, an entity, a comment or an instruction, which no genuine list has",
        "Do not use it: somebody may have made it to be read in two ways (WT-26).",
    ),
    "root": (
        "its root is not ListeBlancheMSSante of the list's namespace, or something stands beside",
        "It is another document, or somebody has wrapped the list.",
    ),
    "signature count": (
        "there is not exactly one signature at the end of the root",
        "An unsigned or wrapped list is nobody's word: do not use it (ATT-33).",
    ),
    "signature profile": (
        "the signature has another form than the list's: algorithms, transforms or added elements",
        "Do not use it; if the authority changed the profile, this software must learn it first.",
    ),
    "signature": (
        "what was signed is not what the file says",
        "The file was altered or damaged after signing: download it again from its origin.",
    ),
    "signer": (
        "it was not signed by the pinned subject",
        "A valid signature of somebody else is worth nothing (OP-25). Compare the signer with the"
        " pin; `--pin` names another.",
    ),
    "signer certificate": (
        "the signer's certificate is not good",
        "`chain`: it is not of these authorities; `expired`: it had ended when the list was made;"
        " `revoked`, `revocation unknown`: see the CRLs.",
    ),
    "shape": (
        "the signed content has not the form of a list",
        "Tell the authority: it signed something its own schema refuses.",
    ),
    "older than the list in force": (
        "a newer list is in force",
        "`mssmtp trust rollback` goes back on purpose; nothing else does (OP-26).",
    ),
    "same date, other content": (
        "another list of the same date is in force",
        "Two lists cannot have one date: ask the authority which one it published.",
    ),
    "dated in the future": (
        "it says it was made later than now",
        "Check this machine's clock; a list of tomorrow would hold off those of today.",
    ),
    "no verification": (
        "it could not be verified at all",
        "See the log: memory, time or the process of the verification gave out.",
    ),
}


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller trusts: authorities with the CRLs beside them, or the signer itself."""

    anchors: pki.Anchors | None = None
    revocation: Revocation | None = None
    signer: x509.Certificate | None = None
    pin: str | None = None

    @property
    def wanted_pin(self) -> str:
        """The subject that must have signed: the one given, or the national one of the space."""
        if self.pin is not None:
            return self.pin
        is_test = self.anchors is not None and any(
            pki.printed_name(c.subject).startswith("CN=TEST ") for c in self.anchors.certificates
        )
        return TEST_PIN if is_test else PRODUCTION_PIN


@dataclass(frozen=True, slots=True)
class Audit:
    """A list that holds, in figures. `not_checked` says what nobody could have checked."""

    listed: Whitelist
    signer: x509.Certificate
    not_checked: tuple[str, ...]

    @property
    def printed_names(self) -> int:
        """Distinct operator names as the list prints them."""
        return len({row.dn for row in self.listed.rows})

    @property
    def names(self) -> int:
        """Distinct operator names once normalised; unusable ones are none."""
        keys = {pki.listed_name(text) for text in {row.dn for row in self.listed.rows}}
        return len(keys - {None})


def audit(octets: bytes, given: Given, at: datetime, max_octets: int) -> Audit:
    """Verify `octets` as of `at`, with all that is given. Raises ListRefused, ConfigError.

    A list dated after `at` (an hour is left to clocks) is refused: nobody can have published it.
    """
    not_checked: tuple[str, ...] = ()
    if given.signer is not None:
        listed = verify_signer(octets, max_octets, _only(given.signer, given.pin)).indexed()
        not_checked = ("chain", "revocation")
    elif given.anchors is None:
        raise ConfigError(
            "--anchors", "or --signer is needed", "Name the authorities, or the signer itself."
        )
    elif given.revocation is None:
        listed = verify_signer(
            octets, max_octets, _below(given.anchors, given.wanted_pin)
        ).indexed()
        not_checked = ("revocation",)
    else:
        rules = ListRules(given.wanted_pin, given.anchors, given.revocation, max_octets)
        listed = verify(octets, rules, at)
    if listed.date > at + AHEAD:
        raise ListRefused("dated in the future", f"{listed.date:%Y-%m-%d %H:%M:%S} UTC")
    return Audit(listed, signer_of(octets), not_checked)


Accept = Callable[[x509.Certificate, datetime], None]


def _only(wanted: x509.Certificate, pin: str | None) -> Accept:
    """Accepts one certificate as signer, when it was in date and made for signing lists."""

    def accept(signer: x509.Certificate, date: datetime) -> None:
        if signer != wanted:
            raise ListRefused("signer", "not the certificate that was given")
        if pin is not None:
            check_pin(signer, pin)
        if date < signer.not_valid_before_utc:
            raise ListRefused("signer certificate", "not yet valid")
        if date > signer.not_valid_after_utc:
            raise ListRefused("signer certificate", "expired")
        try:
            pki.judge_leaf(signer, pki.Role.LIST_SIGNER)
        except (pki.CertificateRefused, *pki.UNREADABLE) as error:
            raise ListRefused("signer certificate", _reason(error)) from error

    return accept


def _below(anchors: pki.Anchors, pin: str) -> Accept:
    """Accepts the pinned subject below the given authorities; nothing is known of revocation."""

    def accept(signer: x509.Certificate, date: datetime) -> None:
        check_pin(signer, pin)
        try:
            pki.judge_certificate(signer, anchors, pki.Role.LIST_SIGNER, date)
        except (pki.CertificateRefused, *pki.UNREADABLE) as error:
            raise ListRefused("signer certificate", _reason(error)) from error

    return accept


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, pki.CertificateRefused) else "unreadable"


# ---------------------------------------------------------------- authorities from files


def authorities(place: Path) -> tuple[pki.Anchors, Revocation | None]:
    """The authorities of a file, or of every certificate file in a directory, and its CRLs.

    PEM or DER. End certificates beside them are no authorities and are left out. Raises
    ConfigError.
    """
    certificates: dict[bytes, x509.Certificate] = {}
    crls: list[bytes] = []
    for path in _files(place):
        octets = read_file(path)
        for certificate in certificates_of(octets):
            if _is_authority(certificate):
                certificates.setdefault(certificate.public_bytes(pki.DER), certificate)
        if path.suffix == ".crl" or b"-----BEGIN X509 CRL-----" in octets:
            crls.append(octets)
    if not certificates:
        raise ConfigError(
            str(place), "holds no certificate of an authority", "Give PEM or DER, root included."
        )
    anchors = pki.Anchors(tuple(certificates.values()))
    try:
        return anchors, Revocation.of(crls, anchors) if crls else None
    except BadRevocationList as error:
        raise ConfigError(
            str(place), f"holds a CRL that is {error}", "Take it out, or give the right one."
        ) from error


def certificates_of(octets: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM or DER file, in their order; none when there are none."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in octets:
            found = x509.load_pem_x509_certificates(octets)
        else:
            found = [x509.load_der_x509_certificate(octets)]
        for each in found:
            _ = (each.subject, each.issuer)  # read only when they are looked at
    except pki.UNREADABLE:
        return ()
    return tuple(found)


def read_file(path: Path, most: int = _FILE_OCTETS) -> bytes:
    """The octets of a file named on a command line, `most` + 1 at most. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Check the path and its mode."
        ) from error


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            yield path


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except pki.UNREADABLE:
        return False
    return basic.value.ca
