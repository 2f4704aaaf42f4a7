"""Systems that open APP boxes by their certificate: SASL EXTERNAL on the APP listeners (CL-15).

The certificate is an organisation's, of IGC-Santé; the table of certificates and boxes, which
administrators keep, says what it opens. Both are asked at login and again during the session: a
certificate that was revoked, or taken out of the table, opens nothing more (ATT-25).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp import metrics, pki
from mssmtp.awaiting import awaited
from mssmtp.errors import BadAddress, Reply
from mssmtp.identity import LoginRefused, Presented
from mssmtp.identity.entitled import AccountRow
from mssmtp.identity.noting import Hourly
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Principal,
    System,
)
from mssmtp.outside import Clock
from mssmtp.pki import CertificateRefused, Role
from mssmtp.responder import Responder
from mssmtp.revocation import judge_chain
from mssmtp.storage import Store, Writing
from mssmtp.trust import Trust

logger = logging.getLogger(__name__)

NOBODY = AccountId(0)
"""A system needs no account."""
JUDGED_AGAIN_S = 30.0
"""The chain of an open session is verified anew after so long."""
_MOST_CHAINS = 2_000

BindingKind = Literal["certificate", "name"]


class SystemRefused(LoginRefused):
    """A bad or unknown certificate, one of another box or of another organisation."""

    smtp = Reply(
        535,
        "5.7.8",
        "Ce certificat n'ouvre pas cette boîte applicative ; vérifiez le certificat et l'adresse"
        " demandée avec votre administrateur.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False
    imap_text = "Ce certificat n'ouvre pas cette boite ; voyez votre administrateur"

    def __init__(self, why: str = "") -> None:
        """`why` is for the log."""
        super().__init__(why)
        self.why = why


class NoCertificate(SystemRefused):
    """EXTERNAL by who has shown nothing in the handshake: this is how a system logs in here."""

    smtp = Reply(
        535,
        "5.7.8",
        "Aucun certificat n'a été présenté ; configurez dans le logiciel le certificat client de"
        " votre organisation et sa clé, puis reconnectez-vous.",
    )
    imap_text = "Aucun certificat presente ; configurez celui du logiciel, puis reconnectez-vous"


class CannotBeJudged(LoginRefused):
    """No CRL in force: nothing is known against the certificate (OP-09)."""

    smtp = Reply(
        454, "4.7.0", "Certificat invérifiable pour le moment ; réessayez dans quelques minutes."
    )
    imap = "UNAVAILABLE"
    is_guess = False


class SystemReading(Protocol):
    """The part of `storage.Reading` a system needs."""

    def bal(self, address: Address) -> Bal | None: ...
    def bal_by_id(self, bal: BalId) -> Bal | None: ...
    def account_of(self, bal: BalId) -> AccountRow | None: ...
    def bound_boxes(self, kind: BindingKind, subject: str) -> tuple[BalId, ...]: ...
    def is_suspended(self, kind: Literal["certificate"], name: str) -> bool: ...


def system_of(certificate: x509.Certificate) -> System:
    """What the table knows a certificate by. Raises CertificateRefused."""
    key = pki.certificate_name(certificate.subject)
    if key is None:
        raise CertificateRefused("chain", pki.serial_text(certificate))
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return System(fingerprint, pki.name_text(key))


def opened(reading: SystemReading, system: System, box: str) -> Principal:
    """Who acts in `box`, and in it alone; "" is the only box of the certificate.

    Raises SystemRefused: several boxes and none named, or one that is not in the table.
    """
    found = [reading.bal_by_id(bal) for bal in sorted(_boxes(reading, system))]
    usable = [bal for bal in found if bal and _is_open(bal)]
    if box:
        usable = [bal for bal in usable if bal.address == _address(box)]
    if not usable:
        raise SystemRefused("not in the table for this box")
    if len(usable) > 1:
        raise SystemRefused("several boxes and none named")
    (bal,) = usable
    row = reading.account_of(bal.id)
    return Principal(
        NOBODY if row is None else row.id, str(bal.address), (bal,), box=bal.id, system=system
    )


def _boxes(reading: SystemReading, system: System) -> frozenset[BalId]:
    """None of a certificate that the operator has suspended (OP-79)."""
    if reading.is_suspended("certificate", system.fingerprint):
        return frozenset()
    by_certificate = reading.bound_boxes("certificate", system.fingerprint)
    return frozenset((*by_certificate, *reading.bound_boxes("name", system.name)))


def _is_open(bal: Bal) -> bool:
    return bal.type is BalType.APP and bal.state is BalState.ACTIVE


def _address(box: str) -> Address:
    try:
        return Address.parse(box)
    except BadAddress as error:
        raise SystemRefused("authzid is no address") from error


class Systems:
    """One per worker. `enter` on its event loop; `refreshed` in threads of the store."""

    def __init__(
        self, trust: Trust, store: Store, clock: Clock, responder: Responder | None = None
    ) -> None:
        self._trust, self._store, self._clock = trust, store, clock
        self._responder = responder
        self._noted = Hourly()
        self._judged: OrderedDict[str, tuple[x509.Certificate, float]] = OrderedDict()

    async def enter(self, claim: Presented, chain: Sequence[x509.Certificate]) -> Principal:
        """The box that the certificate opens. Raises SystemRefused, CannotBeJudged.

        NoCertificate: the client has presented none.
        """
        if not chain:
            metrics.peers_refused.labels("system").inc()
            logger.info("system refused", extra={"why": "no certificate"})
            raise NoCertificate("no certificate")
        if self._responder is not None:
            await self._responder.settle(chain, Role.CLIENT)
        told = {"serial": pki.serial_text(chain[0])}
        try:
            system = self._system(chain[0])
            read = self._store.read(lambda reading: opened(reading, system, claim.box))
            principal = await awaited(read)
        except SystemRefused as refused:
            metrics.peers_refused.labels("system").inc()
            logger.info("system refused", extra=told | {"why": refused.why})
            raise
        if self._noted.is_due((system.fingerprint, principal.box), self._clock.now()):
            self._store.write(lambda w: _trace(w, principal, told)).add_done_callback(_missed)
        logger.info("system accepted", extra=told | {"bal": principal.box})
        return principal

    def refreshed(self, reading: SystemReading, principal: Principal) -> Principal:
        """`principal` as of now. Raises SystemRefused, CannotBeJudged."""
        system = principal.system
        if system is None:
            raise SystemRefused("not a system")
        known = self._judged.get(system.fingerprint)
        if known is None:
            raise SystemRefused("forgotten")
        certificate, until = known
        if self._clock.monotonic() >= until:
            self._system(certificate)
        return opened(reading, system, str(principal.bals[0].address))

    def _system(self, certificate: x509.Certificate) -> System:
        """The system, when its chain is good now."""
        snapshot = self._trust.snapshot
        try:
            judge_chain(
                (certificate,),
                snapshot.anchors,
                snapshot.revocation,
                Role.CLIENT,
                self._clock.now(),
            )
            system = system_of(certificate)
        except CertificateRefused as error:
            if not error.reply.is_permanent:
                raise CannotBeJudged from error
            raise SystemRefused(error.reason) from error
        self._judged[system.fingerprint] = certificate, self._clock.monotonic() + JUDGED_AGAIN_S
        self._judged.move_to_end(system.fingerprint)
        while len(self._judged) > _MOST_CHAINS:
            self._judged.popitem(last=False)
        return system


def _trace(writing: Writing, principal: Principal, told: Mapping[str, str]) -> None:
    """One of an hour, a certificate and a box (SEED-48, SEED-90)."""
    account = None if principal.account == NOBODY else principal.account
    request = f"messagerie, certificat {told['serial']}"
    writing.trace("login", principal.login, request, account=account, bal=principal.box)


def _missed(written: Future[None]) -> None:
    if not written.cancelled() and (error := written.exception()) is not None:
        logger.warning("login not traced", extra={"kind": type(error).__name__})
