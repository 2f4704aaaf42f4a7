"""What follows a browser's detour that has shown an identity: a login, or a link (SEED-12).

The ticket of the detour is good once, for a login or for the session that left to link; what a
login or a link is, says `linking`. Everything blocks: to be called in a thread.
"""

from __future__ import annotations

import binascii
from typing import ClassVar, Literal

from mssmtp.identity.detour import DetourRefused, Ticket
from mssmtp.identity.refusals import LoginRefused
from mssmtp.identity.tokens import TokenRefused, national_id_of
from mssmtp.linking import Linking, NotLinked, Shown
from mssmtp.mail import AccountId
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.portal import StrongLogin
from mssmtp.provider_login import spend
from mssmtp.storage import Store, Writing

_MOST = 256


class TicketedLogin:
    """One per worker. `refusal`: what is said of a ticket that is none, or was spent."""

    kind: ClassVar[Literal["psc", "card"]]
    refusal: ClassVar[type[LoginRefused]]

    def __init__(self, store: Store, desk: Desk, clock: Clock, entropy: Entropy) -> None:
        self._store, self._clock, self._entropy = store, clock, entropy
        self._linking = Linking(store, desk, clock, entropy)

    def log_in(self, ticket: Ticket, shown: Shown) -> StrongLogin:
        """Of whoever has linked this identity. Raises NotLinked, `refusal`."""
        account = self._store.read(lambda r: r.bound_account(shown.kind, shown.subject)).result()
        if account is None:
            raise NotLinked
        self._spend(ticket, account)
        return self._linking.log_in(shown)

    def begin(self, account: AccountId, ticket: Ticket, shown: Shown) -> str:
        """Mail a code to the holder of `account`; what the browser keeps for `finish`.

        Raises `refusal`, and what `Linking.begin` raises.
        """
        self._spend(ticket, account)
        attempt = self._linking.begin(account, shown)
        # The attempt is of this identity alone: with another one behind it no code is right.
        return f"{attempt}.{shown.subject.encode().hex()}"

    def finish(self, attempt: str, code: str) -> AccountId:
        """Link what was shown. Raises CodeRefused, BindingTaken, `refusal`."""
        token, _, subject = attempt[:_MOST].partition(".")
        try:
            named = national_id_of(binascii.unhexlify(subject).decode("ascii"))
        except (ValueError, TokenRefused):
            raise self.refusal from None
        return self._linking.finish(token, code, Shown(self.kind, named))

    def purpose(self, session: int | None) -> str:
        """Whose ticket: no name of a hospital's provider has such a letter."""
        if session is None:
            return f"{self.kind}_login"
        return f"{self.kind}_link_{session}"

    def _spend(self, ticket: Ticket, account: AccountId) -> None:
        """Raises `refusal`: a ticket is good once, whatever comes of it (ATT-21)."""

        def job(writing: Writing) -> None:
            spend(writing, ticket, account)

        try:
            self._store.write(job).result()
        except DetourRefused:
            raise self.refusal from None
