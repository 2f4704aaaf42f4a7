"""An e-CPS at the portal: linked to an account after a code by mail, then a login (SEED-12, L15).

The browser goes to Pro Santé Connect and back as it goes to a hospital's provider.
"""

from __future__ import annotations

import logging

from mssmtp.errors import Reply
from mssmtp.identity import LoginRefused
from mssmtp.identity.detour import DetourRefused, ProviderAway, Ticket
from mssmtp.identity.tokens import TokenRefused, national_id_of
from mssmtp.linking import Shown
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.provider_login import Detours, Started
from mssmtp.providers import OidcProvider
from mssmtp.storage import Store
from mssmtp.ticketed_login import TicketedLogin

logger = logging.getLogger(__name__)


class PscRefused(LoginRefused):
    """What came back is not what was asked for, or of nobody with a national identifier."""

    smtp = Reply(
        535,
        "5.7.8",
        "Connexion par Pro Santé Connect refusée ; recommencez depuis la page où vous étiez.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False


class PscAway(LoginRefused):
    """Pro Santé Connect gives no usable answer in time, or does not know us."""

    smtp = Reply(454, "4.7.0", "Pro Santé Connect ne répond pas ; réessayez dans quelques minutes.")
    imap = "UNAVAILABLE"
    is_guess = False


class PscLogin(TicketedLogin):
    """One per worker. Ways there and back are its event loop's, the rest blocks: for threads."""

    kind = "psc"
    refusal = PscRefused

    def __init__(
        self, store: Store, desk: Desk, provider: OidcProvider, clock: Clock, entropy: Entropy
    ) -> None:
        super().__init__(store, desk, clock, entropy)
        self._provider = provider
        self._detours = Detours(store, clock, entropy)

    async def start(self, session: int | None) -> Started:
        """To link within a session, or to log in. Raises PscAway."""
        try:
            return await self._detours.start(self._provider, self.purpose(session))
        except ProviderAway:
            raise PscAway from None

    async def shown(self, session: int | None, ticket: str, query: str) -> tuple[Ticket, Shown]:
        """Whose e-CPS was at work, by what the browser brought back. Raises PscRefused, PscAway."""
        name = self.purpose(session)
        try:
            ours, subject = await self._detours.back(self._provider, name, ticket, query)
            return ours, Shown("psc", national_id_of(subject.named))
        except ProviderAway:
            raise PscAway from None
        except (DetourRefused, TokenRefused) as refused:
            logger.info("Pro Sante Connect: return refused", extra={"why": refused.why})
            raise PscRefused from None
