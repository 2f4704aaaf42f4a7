"""Keeps what the authorities of CPx cards have revoked current (SEED-12, OP-09).

The CRLs of cards are fetched, checked and kept as those of operators are, in a directory of their
own: an authority of the one door is none of the other (OP-07).
"""

from __future__ import annotations

import asyncio
import logging

from mssmtp import metrics
from mssmtp.config import Settings
from mssmtp.config_web import CardSettings
from mssmtp.outside import Clock, Entropy
from mssmtp.pki import Anchors
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed.crls import CrlFeed
from mssmtp.trust_feed.fetch import Fetch, http_fetch
from mssmtp.trust_feed.files import TrustFiles
from mssmtp.trust_feed.schedule import Schedule

logger = logging.getLogger(__name__)

PLACE = "cards"
"""Below `trust` of the home."""
POLL_S = 2.0


class CardFeed:
    """Feeds `trust`: the authorities of cards, and what of theirs is in force.

    `run` goes on for ever and is ended by cancelling it.
    """

    def __init__(
        self,
        settings: Settings,
        cards: CardSettings,
        clock: Clock,
        entropy: Entropy,
        *,
        fetch: Fetch | None = None,
    ) -> None:
        """Without a CRL every card waits. Raises ConfigError."""
        self.settings = cards
        self.trust = Trust(Snapshot(None, None, Anchors.load(cards.anchors_file)))
        self._files = TrustFiles(settings.store.home / "trust" / PLACE)
        schedule = Schedule(clock, entropy, cards.crl_refresh)
        fetch = fetch or http_fetch(settings)
        self._crls = CrlFeed(cards.pki, self.trust, self._files, fetch, schedule, clock)
        self._version = (-1, -1)
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Put in force what is on disk."""
        async with self._loading:
            await asyncio.to_thread(self._reload)

    def _reload(self) -> None:
        version = self._files.version()
        if version != self._version:
            revocation = self._crls.load(self._files.state().crls.values())
            self.trust.swap(Snapshot(None, revocation, self.trust.snapshot.anchors))
            self._version = version

    async def run(self) -> None:
        """Follow the disk, and fetch what is due in the one worker that does. Nothing here stops
        the pages."""
        try:
            while True:
                try:
                    await self.tick()
                except Exception:
                    metrics.internal_errors.labels(room="trust_feed").inc()
                    logger.exception("CRLs of cards failed; it goes on")
                await asyncio.sleep(POLL_S)
        finally:
            self._files.release()

    async def tick(self) -> None:
        """One round."""
        await self.load()
        if await asyncio.to_thread(self._files.take_lock):
            await self._crls.refresh(self.load)
            self._crls.remind("cards are refused")
