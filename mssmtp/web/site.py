"""What pages work with: the rooms of the worker they run in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TypeVar

from mssmtp.admin import Office
from mssmtp.card_login import CardLogin, CardReader
from mssmtp.config import Settings
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.portal import Portal
from mssmtp.posting import Posting
from mssmtp.provider_login import ProviderLogin
from mssmtp.psc_login import PscLogin
from mssmtp.storage import Store

T = TypeVar("T")

WITHIN_S = 20.0
"""For what a page asks of the event loop: providers answer in nine."""


@dataclass(slots=True)
class Site:
    """One per worker. `providers`: hospitals' own pages of login; None where there are none.
    `loop`: the door's, once it has opened."""

    office: Office
    desk: Desk
    portal: Portal
    providers: ProviderLogin | None
    posting: Posting | None = None
    """How letters are handed in; None where nobody writes any."""
    psc: PscLogin | None = None
    """e-CPS; None where `psc.redirect_uri` is not set."""
    cards: CardLogin | None = None
    """CPx cards; None without `listen.card`."""
    reader: CardReader | None = None
    """At the port for cards alone."""
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def store(self) -> Store:
        """The store of this worker."""
        return self.office.store

    @property
    def settings(self) -> Settings:
        """The whole settings."""
        return self.office.settings

    @property
    def clock(self) -> Clock:
        """The one clock."""
        return self.office.clock

    @property
    def entropy(self) -> Entropy:
        """The one randomness."""
        return self.office.entropy

    def wait(self, work: Coroutine[object, object, T]) -> T:
        """What the event loop finds, for a page, which runs in a thread beside it."""
        if self.loop is None:
            raise RuntimeError("the door is not open")
        return asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(work, WITHIN_S), self.loop
        ).result()
