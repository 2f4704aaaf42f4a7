"""Peer certificate + whitelist + revocation + now -> Operator, or the reason why not.

Pure functions (docs/trust.md), and `Trust`, which holds the snapshot in force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp import pki
from mssmtp.errors import MailError, Reply
from mssmtp.mail import BalId, DnKey, Domain, Operator, ReversePath
from mssmtp.ocsp import BadAnswer, Verdict
from mssmtp.pki import Anchors, CertificateRefused, Role
from mssmtp.revocation import Revocation, Span, judge_chain, judge_revocation, path_of
from mssmtp.whitelist import Whitelist

PeerReason = Literal[
    "no list", "name not listed", "domain not listed", "name not of domain", "suspended"
]

REPLIES: dict[PeerReason, Reply] = {
    "no list": Reply(451, "4.7.5", "Liste blanche momentanément indisponible ; réessayez."),
    "name not listed": Reply(
        554, "5.7.1", "Opérateur absent de la liste blanche MSSanté ; déclarez son certificat."
    ),
    "domain not listed": Reply(
        550, "5.7.1", "Domaine absent de la liste blanche MSSanté ; vérifiez l'adresse."
    ),
    "name not of domain": Reply(
        550, "5.7.1", "Certificat non déclaré pour ce domaine ; mettez à jour la liste blanche."
    ),
    "suspended": Reply(
        450, "4.7.1", "Échanges suspendus par l'opérateur ; réessayez plus tard ou appelez-le."
    ),
}
_DEFER = Reply(451, "4.7.5", "Serveur destinataire non reconnu ; nouvel essai plus tard.")


class PeerRefused(MailError):
    """A good certificate whose holder may not do this (docs/trust.md, steps 4 to 8)."""

    smtp = REPLIES["name not listed"]
    imap = "AUTHENTICATIONFAILED"

    def __init__(self, reason: PeerReason, serial: str = "", *, reply: Reply | None = None) -> None:
        super().__init__(f"peer refused: {reason}", reply=reply or REPLIES[reason])
        self.reason: PeerReason = reason
        self.serial = serial


@dataclass(frozen=True, slots=True)
class Suspended:
    """What the operator has suspended (OP-79): domains, SHA-256 of certificates, own boxes."""

    domains: frozenset[Domain] = frozenset()
    certificates: frozenset[bytes] = frozenset()
    boxes: frozenset[BalId] = frozenset()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a decision depends on beside the peer and the time. Replaced as a whole.

    None: never obtained; the doors then answer 451 4.7.5.
    """

    whitelist: Whitelist | None
    revocation: Revocation | None
    anchors: Anchors

    def lists(self, domain: Domain) -> bool:
        """Is the domain in the list in force? False without a list."""
        return self.whitelist is not None and self.whitelist.lists(domain)

    def unsaid(
        self, leaf: x509.Certificate, now: datetime
    ) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
        """Of the path of `leaf` each certificate with its issuer of which nothing is known."""
        known = self.revocation or Revocation(())
        return tuple(
            (each, issuer)
            for each, issuer in path_of(leaf, self.anchors)
            if known.status(each, issuer, now).verdict == "unknown"
        )

    @property
    def list_date(self) -> datetime | None:
        """DateDeGeneration of the list in force."""
        return None if self.whitelist is None else self.whitelist.date

    @property
    def listed(self) -> Whitelist:
        """The list in force. Raises PeerRefused (451 4.7.5) when there is none."""
        if self.whitelist is None:
            raise PeerRefused("no list")
        return self.whitelist


def identify(
    chain: Sequence[x509.Certificate],
    snapshot: Snapshot,
    now: datetime,
    *,
    require_eku: bool = False,
) -> Operator:
    """Who the peer is: inbound steps 2 to 5. Raises CertificateRefused, PeerRefused."""
    judge_chain(
        chain, snapshot.anchors, snapshot.revocation, Role.CLIENT, now, require_eku=require_eku
    )
    operator = _operator(chain[0], snapshot)
    if not operator.domains:
        raise PeerRefused("name not listed", operator.serial)
    return operator


def bind(operator: Operator, sender: ReversePath, snapshot: Snapshot) -> None:
    """May this peer send for `sender`: steps 6 to 8. Raises PeerRefused.

    Asked of the snapshot in force, not of the one the peer was identified with: a removal takes
    effect at the next accepted list, also in an open session (OP-34, WT-41).
    """
    listed = snapshot.listed
    if not listed.domains_of(operator.dn):
        raise PeerRefused("name not listed", operator.serial)
    if sender is None:
        return
    _bind_domain(operator, sender.domain, snapshot)


def judge_server(
    chain: Sequence[x509.Certificate],
    recipient_domain: Domain,
    snapshot: Snapshot,
    now: datetime,
    *,
    require_eku: bool = False,
) -> Operator:
    """Is this server one of the recipient domain's: steps 1, 4 and 5 of the outbound table (OP-11).

    The host name is no part of it (OP-12, OP-16). Raises CertificateRefused or PeerRefused with
    reply 451 4.7.5 (try the next MX), and 550 5.7.1 for a domain that is not listed.
    """
    try:
        judge_chain(
            chain, snapshot.anchors, snapshot.revocation, Role.SERVER, now, require_eku=require_eku
        )
    except CertificateRefused as error:
        raise CertificateRefused(error.reason, error.serial, reply=_DEFER) from error
    operator = _operator(chain[0], snapshot)
    try:
        _bind_domain(operator, recipient_domain, snapshot)
    except PeerRefused as error:
        if error.reason != "name not of domain":
            raise
        raise PeerRefused(error.reason, error.serial, reply=_DEFER) from error
    return operator


def _bind_domain(operator: Operator, domain: Domain, snapshot: Snapshot) -> None:
    names = snapshot.listed.names(domain)
    if not names:
        raise PeerRefused("domain not listed", operator.serial)
    if operator.dn not in names:
        raise PeerRefused("name not of domain", operator.serial)


def _operator(leaf: x509.Certificate, snapshot: Snapshot) -> Operator:
    listed = snapshot.listed
    # A name that cannot be compared is an empty one, which no row has.
    dn: DnKey = pki.certificate_name(leaf.subject) or ()
    revocation = snapshot.revocation
    return Operator(
        dn=dn,
        dn_text=pki.printed_name(leaf.subject),
        serial=pki.serial_text(leaf),
        issuer_text=pki.printed_name(leaf.issuer),
        domains=listed.domains_of(dn),
        list_date=listed.date,
        crl_number=None if revocation is None else revocation.number(leaf.issuer),
    )


# ---------------------------------------------------------------- the snapshot in force

_REMEMBERED = 4_096


class Trust:
    """The snapshot in force, and what was already judged with it.

    `swap` replaces both at once: a decision never mixes two lists. Only acceptances are
    remembered, until the first certificate or CRL behind them ends. Safe from several threads.
    """

    def __init__(self, snapshot: Snapshot, *, require_eku: bool = False) -> None:
        self._require_eku = require_eku
        self._state: tuple[Snapshot, dict[_Question, _Answer]] = (snapshot, {})
        self._changing = Lock()
        self._met: dict[bytes, x509.Certificate] = {}
        self._listeners: tuple[Callable[[], object], ...] = ()
        self.suspended = Suspended()
        """Replaced as a whole, a few seconds after a command; whoever is asked looks here first."""

    @property
    def snapshot(self) -> Snapshot:
        """What is in force now."""
        return self._state[0]

    def swap(self, snapshot: Snapshot) -> None:
        """Put `snapshot` in force and tell the listeners; the answers of responders stay."""
        with self._changing:
            held = self.snapshot.revocation
            if held is not None and held.answers:
                known = (snapshot.revocation or Revocation(())).with_answers_of(held)
                snapshot = replace(snapshot, revocation=known)
            self._state = (snapshot, {})
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` after each swap, from the thread that swaps; the call that ends it."""
        self._listeners += (listener,)

        def end() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return end

    def learn(
        self, answer: bytes, certificate: x509.Certificate, now: datetime, nonce: bytes | None
    ) -> Verdict:
        """Take an OCSP answer about `certificate`, checked here. Raises BadAnswer.

        `nonce`: of our question; None for an answer that came with the handshake.
        """
        with self._changing:
            snapshot = self.snapshot
            issuer = snapshot.anchors.issuer_of(certificate)
            if issuer is None or not pki.is_signed(certificate, issuer):
                raise BadAnswer("certificate of no authority of ours")
            known = snapshot.revocation or Revocation(())
            revocation = known.learn(answer, (certificate, issuer), now, nonce=nonce)
            if revocation is not known:
                self._state = (replace(snapshot, revocation=revocation), {})
        return revocation.answers[certificate].verdict

    def contact(self, domain: Domain) -> dict[str, str]:
        """Whom to call about mail for `domain`, for a log line (OP-80); empty: not listed."""
        listed = self.snapshot.whitelist
        contact = listed.contact(domain) if listed is not None else None
        return asdict(contact) if contact is not None else {}

    def take_met(self) -> tuple[x509.Certificate, ...]:
        """Certificates of peers let in since the last call, each once per snapshot (F11)."""
        met, self._met = self._met, {}
        return tuple(met.values())

    def demand_active(self, chain: Sequence[x509.Certificate]) -> None:
        """Raises PeerRefused (450 4.7.1) for a certificate that is suspended (OP-79)."""
        suspended = self.suspended.certificates
        if suspended and chain and _fingerprint(chain[0]) in suspended:
            raise PeerRefused("suspended", pki.serial_text(chain[0]))

    def identify(self, chain: Sequence[x509.Certificate], now: datetime) -> Operator:
        """`identify` with the snapshot in force."""
        self.demand_active(chain)
        snapshot, known = self._state
        if (operator := _recall(known, chain, None, now)) is not None:
            return operator
        operator = identify(chain, snapshot, now, require_eku=self._require_eku)
        _remember(known, chain, None, (operator, _holds(chain[0], snapshot, now)))
        self._meet(chain[0])
        return operator

    def bind(self, operator: Operator, sender: ReversePath) -> None:
        """`bind` with the snapshot in force."""
        if sender is not None and sender.domain in self.suspended.domains:
            raise PeerRefused("suspended", operator.serial)
        bind(operator, sender, self.snapshot)

    def judge_server(
        self, chain: Sequence[x509.Certificate], recipient_domain: Domain, now: datetime
    ) -> Operator:
        """`judge_server` with the snapshot in force."""
        self.demand_active(chain)
        snapshot, known = self._state
        if (operator := _recall(known, chain, recipient_domain, now)) is not None:
            return operator
        operator = judge_server(
            chain, recipient_domain, snapshot, now, require_eku=self._require_eku
        )
        _remember(known, chain, recipient_domain, (operator, _holds(chain[0], snapshot, now)))
        self._meet(chain[0])
        return operator

    def _meet(self, leaf: x509.Certificate) -> None:
        if len(self._met) < _REMEMBERED:
            self._met[_fingerprint(leaf)] = leaf


_Question = tuple[bytes, Domain | None]
"""Digest of the leaf; the recipient domain for a server, None for a client."""
_Answer = tuple[Operator, Span]
"""The operator and the moments between which the answer holds."""


def _recall(
    known: dict[_Question, _Answer],
    chain: Sequence[x509.Certificate],
    domain: Domain | None,
    now: datetime,
) -> Operator | None:
    if not chain:
        return None
    answer = known.get((_fingerprint(chain[0]), domain))
    return answer[0] if answer is not None and answer[1][0] <= now < answer[1][1] else None


def _remember(
    known: dict[_Question, _Answer],
    chain: Sequence[x509.Certificate],
    domain: Domain | None,
    answer: _Answer,
) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[(_fingerprint(chain[0]), domain)] = answer


@lru_cache(maxsize=256)
def _fingerprint(leaf: x509.Certificate) -> bytes:
    return leaf.fingerprint(hashes.SHA256())


def _holds(leaf: x509.Certificate, snapshot: Snapshot, now: datetime) -> Span:
    """The span in which every certificate, CRL and answer behind an acceptance is in date."""
    return judge_revocation(leaf, snapshot.anchors, snapshot.revocation, now)
