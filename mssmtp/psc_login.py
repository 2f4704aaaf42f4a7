"""An e-CPS at the portal: linked to an account after a code by mail, then a login (SEED-12, L15).

The browser goes to Pro Santé Connect and back as it goes to a hospital's provider. Its ticket is
good for the session that asked to link, or for a login; what a link or a login is, says `linking`.
"""

from __future__ import annotations

import binascii
import logging

from mssmtp.errors import Reply
from mssmtp.identity import LoginRefused
from mssmtp.identity.detour import DetourRefused, ProviderAway, Ticket
from mssmtp.identity.tokens import TokenRefused, national_id_of
from mssmtp.linking import Linking, NotLinked, Shown
from mssmtp.mail import AccountId
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.portal import StrongLogin
from mssmtp.provider_login import Detours, Started, spend
from mssmtp.providers import OidcProvider
from mssmtp.storage import Store, Writing

logger = logging.getLogger(__name__)

_LOGIN = "psc_login"
"""No name of a hospital's provider has such a letter: their tickets are none of ours."""
_MOST = 256


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


class PscLogin:
    """One per worker. Ways there and back are its event loop's, the rest blocks: for threads."""

    def __init__(
        self, store: Store, desk: Desk, provider: OidcProvider, clock: Clock, entropy: Entropy
    ) -> None:
        self._store, self._provider = store, provider
        self._detours = Detours(store, clock, entropy)
        self._linking = Linking(store, desk, clock, entropy)

    async def start(self, session: int | None) -> Started:
        """To link within a session, or to log in. Raises PscAway."""
        try:
            return await self._detours.start(self._provider, _purpose(session))
        except ProviderAway:
            raise PscAway from None

    async def shown(self, session: int | None, ticket: str, query: str) -> tuple[Ticket, Shown]:
        """Whose e-CPS was at work, by what the browser brought back. Raises PscRefused, PscAway."""
        name = _purpose(session)
        try:
            ours, subject = await self._detours.back(self._provider, name, ticket, query)
            return ours, Shown("psc", national_id_of(subject.named))
        except ProviderAway:
            raise PscAway from None
        except (DetourRefused, TokenRefused) as refused:
            logger.info("Pro Sante Connect: return refused", extra={"why": refused.why})
            raise PscRefused from None

    def log_in(self, ticket: Ticket, shown: Shown) -> StrongLogin:
        """Of whoever has linked this e-CPS. Raises NotLinked, PscRefused."""
        account = self._store.read(lambda r: r.bound_account(shown.kind, shown.subject)).result()
        if account is None:
            raise NotLinked
        self._spend(ticket, account)
        return self._linking.log_in(shown)

    def begin(self, account: AccountId, ticket: Ticket, shown: Shown) -> str:
        """Mail a code to the holder of `account`; what the browser keeps for `finish`.

        Raises PscRefused, and what `Linking.begin` raises.
        """
        self._spend(ticket, account)
        attempt = self._linking.begin(account, shown)
        # The attempt is of this identity alone: with another one behind it no code is right.
        return f"{attempt}.{shown.subject.encode().hex()}"

    def finish(self, attempt: str, code: str) -> AccountId:
        """Link what was shown. Raises CodeRefused, BindingTaken."""
        token, _, subject = attempt[:_MOST].partition(".")
        try:
            named = national_id_of(binascii.unhexlify(subject).decode("ascii"))
        except (ValueError, TokenRefused):
            raise PscRefused from None
        return self._linking.finish(token, code, Shown("psc", named))

    def _spend(self, ticket: Ticket, account: AccountId) -> None:
        """Raises PscRefused: a ticket is good once, whatever comes of it (ATT-21)."""

        def job(writing: Writing) -> None:
            spend(writing, ticket, account)

        try:
            self._store.write(job).result()
        except DetourRefused:
            raise PscRefused from None


def _purpose(session: int | None) -> str:
    return _LOGIN if session is None else f"psc_link_{session}"
