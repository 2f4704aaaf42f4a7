"""OCSP beside the CRLs (`pki.ocsp`): answers that come with a handshake, and answers asked for.

A responder is asked only when no CRL in force says anything about a certificate whose chain is
good, so that neither mail nor a stranger makes us ask. It has five seconds; then the peer is
deferred as without it. What it says is checked in `ocsp`, and kept until it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from cryptography import x509

from mssmtp import metrics, ocsp, pki
from mssmtp.config import PkiSettings
from mssmtp.ocsp import BadAnswer
from mssmtp.outside import Clock, Entropy
from mssmtp.pki import CertificateRefused, Role, serial_text
from mssmtp.trust import Trust

logger = logging.getLogger(__name__)

DEADLINE_S = 5.0
NOT_AGAIN_S = 30.0
"""After a failure the same certificate is not asked about for so long."""
AT_ONCE = 8
MAX_FAILED = 1_000
NONCE_OCTETS = 32


class AskFailed(Exception):
    """The responder gave nothing; the text is for the log."""


class Post(Protocol):
    """How the network is reached."""

    async def __call__(self, url: str, question: bytes, max_octets: int) -> bytes:
        """The answer to a POST of an OCSP question (RFC 6960 A.1). Raises AskFailed."""
        ...


class Responder:
    """Brings OCSP answers to `trust`. One event loop."""

    def __init__(
        self, settings: PkiSettings, trust: Trust, post: Post, clock: Clock, entropy: Entropy
    ) -> None:
        self._settings, self._trust, self._post = settings, trust, post
        self._clock, self._entropy = clock, entropy
        self._asking: dict[x509.Certificate, asyncio.Task[None]] = {}
        self._failed: dict[x509.Certificate, float] = {}

    async def settle(self, chain: Sequence[x509.Certificate], role: Role) -> None:
        """Before the peer is judged: ask about what no CRL says. Never fails, never waits long."""
        if self._settings.ocsp != "ask" or not chain:
            return
        try:
            for certificate, issuer in self._unsaid(chain[0], role):
                await self._ask_once(certificate, issuer)
        except pki.UNREADABLE:
            return  # the judgement says so

    def take(self, answer: bytes, chain: Sequence[x509.Certificate]) -> None:
        """An answer that came with the handshake (RFC 6066 8). A bad one is none."""
        if answer and chain:
            self._learn(answer, chain[0], "stapled", None)

    def _unsaid(
        self, leaf: x509.Certificate, role: Role
    ) -> tuple[tuple[x509.Certificate, x509.Certificate], ...]:
        now, snapshot = self._clock.now(), self._trust.snapshot
        unsaid = snapshot.unsaid(leaf, now)
        if unsaid:
            try:
                # Before a question goes out: is it one of our authorities' at all? The address
                # of the responder stands in the certificate.
                pki.judge_certificate(leaf, snapshot.anchors, role, now)
            except CertificateRefused:
                return ()
        return unsaid

    async def _ask_once(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        """Ask, or wait with those who ask the same already."""
        task = self._asking.get(certificate)
        if task is None:
            now = self._clock.monotonic()
            if self._failed.get(certificate, now) > now or len(self._asking) >= AT_ONCE:
                return
            task = asyncio.create_task(self._ask(certificate, issuer), name="ocsp")
            self._asking[certificate] = task
            task.add_done_callback(lambda _: self._asking.pop(certificate, None))
        # One who gives up waiting does not take the answer away from the others.
        await asyncio.shield(task)

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        url = self._settings.ocsp_url or ocsp.address(certificate)
        if url is None:
            self._missed(certificate)
            self._note(certificate, "nowhere", "no address of a responder")
            return
        nonce = self._entropy.token_bytes(NONCE_OCTETS)
        try:
            async with asyncio.timeout(DEADLINE_S):
                question = ocsp.question(certificate, issuer, nonce)
                answer = await self._post(url, question, ocsp.MAX_OCTETS)
        except (AskFailed, TimeoutError) as error:
            self._missed(certificate)
            self._note(certificate, url, str(error) or "no answer in time")
            return
        if not self._learn(answer, certificate, url, nonce):
            self._missed(certificate)

    def _learn(
        self, answer: bytes, certificate: x509.Certificate, source: str, nonce: bytes | None
    ) -> bool:
        try:
            verdict = self._trust.learn(answer, certificate, self._clock.now(), nonce)
        except BadAnswer as error:
            self._note(certificate, source, str(error))
            return False
        except pki.UNREADABLE:
            self._note(certificate, source, "the certificate itself cannot be read")
            return False  # the judgement says so
        metrics.ocsp_answers.labels(verdict).inc()
        return True

    def _missed(self, certificate: x509.Certificate) -> None:
        if len(self._failed) >= MAX_FAILED:
            self._failed.clear()
        self._failed[certificate] = self._clock.monotonic() + NOT_AGAIN_S

    def _note(self, certificate: x509.Certificate, source: str, reason: str) -> None:
        metrics.ocsp_answers.labels("not taken").inc()
        facts = {"serial": serial_text(certificate), "from": source, "reason": reason}
        logger.warning("OCSP answer not taken", extra=facts)
