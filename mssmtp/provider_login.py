"""Logging in to the portal by a hospital's own OIDC provider, in the place of a password (T29).

Two calls for the two ends of the browser's way there and back; then a code by mail as for all
(SEED-09). The provider speaks for the people of its structure and for nobody else. Who has come
once, code included, is known by the provider's own `sub`: an address that the hospital gives to
somebody else opens nothing of its former holder (OpenID Connect Core 5.7). An administrator ends
that with `mssmtp person binding remove`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mssmtp import codes
from mssmtp.awaiting import awaited
from mssmtp.config_tokens import ProviderSettings
from mssmtp.errors import BadAddress
from mssmtp.identity import detour
from mssmtp.identity.detour import DetourRefused, Ticket
from mssmtp.identity.id_token import OidcSubject
from mssmtp.mail import AccountId, Address, Person
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.portal import is_same, may_log_in
from mssmtp.providers import OidcProvider, Providers
from mssmtp.storage import Reading, Store, Writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """Where the browser goes, and what it keeps meanwhile: a cookie HttpOnly, Secure, Lax."""

    url: str = field(repr=False)
    ticket: str = field(repr=False)


class Detours:
    """Both ends of a browser's way to a provider and back. One per worker, on its event loop."""

    def __init__(self, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._store, self._clock, self._entropy = store, clock, entropy

    async def start(self, provider: OidcProvider, name: str) -> Started:
        """With a ticket that is good for `name` alone. Raises ProviderAway."""
        random = self._entropy.token_bytes(detour.TICKET_OCTETS)
        ticket = detour.drawn(name, random, self._clock.now())
        (voucher, *_) = await awaited(self._store.read(lambda r: r.vouchers(ticket.vouched)))
        return Started(await provider.way(ticket), detour.written(ticket, voucher))

    async def back(
        self, provider: OidcProvider, name: str, shown: str, query: str
    ) -> tuple[Ticket, OidcSubject]:
        """Who has logged in there, and the ticket, which is still to be spent.

        Raises DetourRefused, ProviderAway.
        """
        ticket, voucher = detour.parted(shown)
        ours = await awaited(self._store.read(lambda r: r.vouchers(ticket.vouched)))
        detour.demand_ours(ticket, voucher, ours, name, self._clock.now())
        return ticket, await provider.subject(query, ticket)


class ProviderLogin:
    """One per worker, on its event loop."""

    def __init__(
        self, store: Store, desk: Desk, providers: Providers, clock: Clock, entropy: Entropy
    ) -> None:
        self._store, self._desk, self._providers = store, desk, providers
        self._clock, self._entropy = clock, entropy
        self._detours = Detours(store, clock, entropy)

    async def start(self, name: str) -> Started:
        """To the provider `name`. Raises DetourRefused, ProviderAway."""
        return await self._detours.start(self._providers.named(name), name)

    async def finish(self, name: str, ticket: str, query: str) -> str:
        """What the browser brought back to the address of provider `name`, with the ticket it
        kept; the token of the attempt, for `Portal.finish`.

        Raises DetourRefused, ProviderAway, CodeTooSoon, NoticesDown.
        """
        try:
            return await self._finished(name, ticket, query)
        except DetourRefused as refused:
            told = {"provider": name[:31], "why": refused.why}
            logger.info("login by a provider refused", extra=told)
            raise

    async def _finished(self, name: str, shown: str, query: str) -> str:
        provider = self._providers.named(name)
        ticket, subject = await self._detours.back(provider, name, shown, query)
        identity = {"oidc": subject.text, "provider": provider.settings.name}
        drawn = replace(codes.draw(self._entropy, self._clock.now()), beside=identity)

        def job(writing: Writing) -> str:
            person = _person(writing, provider.settings, subject)
            spend(writing, ticket, person.account)
            if not is_same(writing, subject.text, person.account):
                raise DetourRefused("bound otherwise")
            return codes.issue(writing, self._desk, person, "login", drawn)

        return await awaited(self._store.write(job))


def _person(reading: Reading, settings: ProviderSettings, subject: OidcSubject) -> Person:
    """The one of this structure whom the provider names. Raises DetourRefused."""
    person = _named(reading, settings, subject)
    structure = reading.structure_by_number(settings.structure)
    if person is None or structure is None or person.structure != structure.id:
        raise DetourRefused("nobody of this structure")
    if structure.is_closed or not may_log_in(reading, person.account):
        raise DetourRefused("not active")
    return person


def _named(reading: Reading, settings: ProviderSettings, subject: OidcSubject) -> Person | None:
    if settings.claim_is == "national-id":
        return reading.person_by_national_id(subject.named) if subject.named else None
    address = subject.address if settings.claim == "email" else _address(subject.named)
    if address is None or address.domain not in settings.usual_domains:
        raise DetourRefused("without an address of its domains")
    return reading.person(address)


def _address(text: str) -> Address | None:
    try:
        return Address.parse(text)
    except BadAddress:
        return None


def spend(writing: Writing, ticket: Ticket, account: AccountId) -> None:
    """One return a ticket, whatever the provider thinks of a code that comes twice (ATT-21)."""
    if writing.secret("detour", ticket.vouched) is not None:
        raise DetourRefused("the ticket was used")
    ends = datetime.fromtimestamp(ticket.ends, UTC)
    writing.spend_secret(writing.new_secret("detour", ticket.vouched, account, ends))
