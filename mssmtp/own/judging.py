"""Is a pair of ours fit to be presented: chain, dates, strength, usages, and nobody else's key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from mssmtp.errors import ConfigError
from mssmtp.mail import DnKey, Domain
from mssmtp.own.memory import KeyUse, Memory
from mssmtp.pki import (
    Anchors,
    CertificateRefused,
    Reason,
    Role,
    certificate_name,
    judge_certificate,
    printed_name,
)
from mssmtp.tls_settings import OwnCertificate
from mssmtp.whitelist import Whitelist

_ORDER = "Order and install a new one now."
REASONS: dict[Reason, tuple[str, str]] = {
    "expired": ("has expired", _ORDER),
    "not yet valid": ("is not valid yet", "Check its dates and the clock of this machine."),
    "weak": ("has a short key or an old digest", "Use RSA 2048 and SHA-256 or better."),
    "usage": ("is not made for a server", "Order the product SERV SSL (serverAuth)."),
    "chain": (
        "was not issued by the authorities of its door",
        "Install one that IGC-Santé has issued, or correct the anchors.",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair is not fit, and what to do."""

    why: str
    remedy: str


def name_of(own: OwnCertificate) -> DnKey:
    """The comparable name of a certificate of ours; an empty one is in no row."""
    return certificate_name(own.leaf.subject) or ()


def digest_of(own: OwnCertificate) -> str:
    """What tells certificates apart in the memory."""
    return own.leaf.fingerprint(hashes.SHA256()).hex()


def key_of(own: OwnCertificate) -> str:
    """What tells keys apart in the memory: a digest of the public half."""
    return key_digest(own.leaf)


def key_digest(leaf: x509.Certificate) -> str:
    """Of the public half of any certificate's key."""
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).hexdigest()


def problems(
    own: OwnCertificate, anchors: Anchors, roles: Iterable[Role], now: datetime
) -> Iterator[Problem]:
    """What a peer would refuse in this pair (OP-08), and a chain sent without its issuers."""
    reasons = dict.fromkeys(r for role in roles if (r := _refusal(own.leaf, anchors, role, now)))
    for reason in reasons:
        yield Problem(*REASONS[reason])
    if not reasons and (lacking := lacking_issuer(own.chain, anchors, now)):
        yield Problem(
            f"is sent without {lacking}: who knows the root only refuses it",
            f"Append that authority to {own.files.certificate_file} (PEM, after the certificate).",
        )


def _refusal(leaf: x509.Certificate, anchors: Anchors, role: Role, now: datetime) -> Reason | None:
    try:
        judge_certificate(leaf, anchors, role, now)
    except CertificateRefused as error:
        return error.reason
    return None


def lacking_issuer(
    chain: Sequence[x509.Certificate], anchors: Anchors, now: datetime
) -> str | None:
    """The authority a client that knows only the roots cannot find in `chain` (CL-09)."""
    store = crypto.X509Store()
    for root in anchors.roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    store.set_time(now)
    sent = [crypto.X509.from_cryptography(each) for each in chain]
    try:
        crypto.X509StoreContext(store, sent[0], sent[1:]).verify_certificate()
    except crypto.X509StoreContextError:
        known = {each.subject for each in (*chain, *anchors.roots)}
        names = [each.issuer for each in chain if each.issuer not in known]
        return printed_name(names[0] if names else chain[0].issuer)
    return None


def check_holder(
    own: OwnCertificate,
    served: frozenset[Domain],
    listed: Whitelist | None,
    memory: Memory,
) -> None:
    """Refuse a key that is bound to another's domain, by the list or in our memory (ATT-43).

    A key belongs to one holder. The memory holds our own past and the keys that peers presented.
    What this home has used under this very name stays usable: neither a list that loses us nor a
    peer that got hold of our key keeps the server from starting. Raises ConfigError.
    """
    name, key = printed_name(own.leaf.subject), key_of(own)
    if any((use.key, use.name) == (key, name) for use in memory.keys):
        return
    for use in foreign_uses(own, served, memory):
        raise _foreign(own, f"was seen here as {use.name} for {', '.join(use.domains[:3])}")
    if listed is None:
        return
    bound = listed.domains_of(name_of(own))
    if bound and served.isdisjoint(bound):
        shown = ", ".join(sorted(bound)[:3]) + (" …" if len(bound) > 3 else "")
        raise _foreign(own, f"is bound by the whitelist to {shown} and to no domain served here")


def foreign_uses(
    own: OwnCertificate, served: frozenset[Domain], memory: Memory
) -> Iterator[KeyUse]:
    """Where the same key was seen under another name, for nobody that we serve."""
    name, key = printed_name(own.leaf.subject), key_of(own)
    for use in memory.keys:
        if use.key == key and use.name != name and served.isdisjoint(use.domains):
            yield use


def _foreign(own: OwnCertificate, why: str) -> ConfigError:
    return ConfigError(
        str(own.files.key_file),
        f"is a key of somebody else: it {why}",
        "Make a key of your own: one that two operators share lets each read as the other.",
    )
