"""Logins by token: the issuer says who, the store says in which box (OP-82, CL-11 to CL-14)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from mssmtp.awaiting import awaited
from mssmtp.identity import Authenticator, Bearer
from mssmtp.identity.entitled import entitled, entitled_still
from mssmtp.identity.noting import Hourly
from mssmtp.identity.tokens import CannotBeAsked, Subject, TokenRefused
from mssmtp.introspection import Introspection
from mssmtp.mail import Principal, counted_as
from mssmtp.people import persons
from mssmtp.storage import Reading, Store, Writing

logger = logging.getLogger(__name__)

PER_ADDRESS = 64
"""Tokens of one address that are being judged: a hospital is one address; a flood waits behind
itself (ATT-41)."""


def as_of_now(authenticator: Authenticator, reading: Reading, principal: Principal) -> Principal:
    """Who the person of an open session is now, by password or token. Raises LoginRefused."""
    if principal.subject is not None:
        return entitled_still(reading, principal)
    return authenticator.refreshed(reading, principal)


class Bearers:
    """One per worker, for all its doors. One event loop."""

    def __init__(self, introspection: Introspection, store: Store) -> None:
        self._introspection, self._store = introspection, store
        self._waiting: Counter[str] = Counter()
        self._noted = Hourly()

    async def enter(self, claim: Bearer, address: str) -> Principal:
        """Who opens the box that `claim` names. Raises TokenRefused, CannotBeAsked.

        CL-23: jti and azp are traced, nothing else of a token.
        """
        with self._counted(address):
            try:
                subject = await self._introspection.subject(claim.token)
            except TokenRefused as refused:
                logger.info("token refused", extra={"why": refused.why})
                raise
        return await self._opened(claim, subject)

    async def _opened(self, claim: Bearer, subject: Subject) -> Principal:
        told = {"azp": subject.client, "jti": subject.jti}

        def look(reading: Reading) -> tuple[Principal, bool, bool]:
            found = entitled(reading, subject.national_id, claim.box)
            is_first = persons.lacks_strong_authentication(reading, found.account)
            key = (found.account, claim.box.casefold(), subject.client)
            return found, is_first, self._noted.is_due(key, reading.now())

        try:
            principal, is_first, is_told = await awaited(self._store.read(look))
        except TokenRefused as refused:
            logger.info("token without right on the box", extra=told | {"why": refused.why})
            raise
        if is_first:  # SEED-27: the e-CPS is a card
            note = persons.note_strong_authentication
            await awaited(self._store.write(lambda w: note(w, principal.account, "psc")))
        if is_told:
            self._store.write(lambda w: _trace(w, principal, subject)).add_done_callback(_missed)
        logger.info("token accepted", extra=told | {"account": principal.account})
        return principal

    @contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        peer = counted_as(address)
        if self._waiting[peer] >= PER_ADDRESS:
            raise CannotBeAsked("too many tokens of one address")
        self._waiting[peer] += 1
        try:
            yield
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]

    async def close(self) -> None:
        """No more questions to the issuer."""
        await self._introspection.close()


def _trace(writing: Writing, principal: Principal, subject: Subject) -> None:
    """One of an hour, a box and a program (SEED-48); of the token its client alone."""
    request = f"messagerie, jeton Pro Santé Connect, {subject.client}"
    bal = principal.bals[0].id
    writing.trace("login", principal.login, request, account=principal.account, bal=bal)


def _missed(written: Future[None]) -> None:
    if not written.cancelled() and (error := written.exception()) is not None:
        logger.warning("login not traced", extra={"kind": type(error).__name__})
