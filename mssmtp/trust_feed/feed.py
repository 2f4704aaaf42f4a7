"""Keeps the trust snapshot current: fetch, verify, keep, swap; the previous stays on any failure.

Of the workers of one home the holder of a lock fetches; all reload when what is in force changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mssmtp import metrics
from mssmtp.config import Settings
from mssmtp.outside import Clock, Entropy
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed.crls import CrlFeed
from mssmtp.trust_feed.fetch import Fetch, http_fetch
from mssmtp.trust_feed.files import TrustFiles
from mssmtp.trust_feed.lists import ListFeed, Verify
from mssmtp.trust_feed.own import OwnRows
from mssmtp.trust_feed.peers import PeerFiles
from mssmtp.trust_feed.schedule import Schedule
from mssmtp.whitelist_child import verify_in_child

logger = logging.getLogger(__name__)

POLL_S = 2.0
FIRST_POLL_S = 0.25


class TrustFeed:
    """Feeds `trust` with what the trust space publishes (OP-09, OP-22 to OP-29).

    `load` puts in force what is on disk; `run` goes on for ever and is ended by cancelling it.
    """

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        clock: Clock,
        entropy: Entropy,
        *,
        fetch: Fetch | None = None,
        verify: Verify = verify_in_child,
    ) -> None:
        fetch = fetch or http_fetch(settings)
        self._trust, self._files = trust, TrustFiles(settings.store.home / "trust")
        self._schedule = schedule = Schedule(clock, entropy, settings.whitelist.refresh)
        self._crls = CrlFeed(settings.pki, trust, self._files, fetch, schedule, clock)
        self._lists = ListFeed(settings, trust, self._files, fetch, verify, schedule, clock)
        self._own, self._clock = OwnRows(settings, clock), clock
        self._peers = PeerFiles(settings.store.home / "trust" / "peers")
        self._version = (-1, -1)
        self._loaded: tuple[str, ...] = ()
        self._in_force, self._loading = asyncio.Event(), asyncio.Lock()

    async def load(self) -> None:
        """Put in force what is on disk; without anything there the doors answer 451 4.7.5."""
        async with self._loading:
            await asyncio.to_thread(self._reload)
        snapshot = self._trust.snapshot
        if snapshot.whitelist is not None and snapshot.revocation is not None:
            self._in_force.set()

    async def run(self) -> None:
        """Poll, reload and fetch until cancelled. No failure here stops the mail.

        What is on disk is followed beside the fetching: a server that drips must not hold back
        what a person chose meanwhile.
        """
        following = asyncio.create_task(self._again_and_again(self.load), name="trust files")
        try:
            await self._again_and_again(self.tick)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._files.release()

    async def _again_and_again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception:
                metrics.internal_errors.labels(room="trust_feed").inc()
                logger.exception("trust feed failed; it goes on")
            await asyncio.sleep(POLL_S if self._in_force.is_set() else FIRST_POLL_S)

    async def once(self) -> None:
        """One round for a command; it fetches when no server does."""
        try:
            await self.tick()
        finally:
            self._files.release()

    async def wait_in_force(self, timeout_s: float) -> bool:
        """Wait, while `run` works, for a list and CRLs to be in force; False: not in that time.

        A first start opens its doors a second later in place of deferring its first letters.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._in_force.wait()
        except TimeoutError:
            return False
        return True

    async def tick(self) -> None:
        """One round: take up what changed on disk; fetch what is due, if it is ours to fetch."""
        await self.load()
        if await asyncio.to_thread(self._files.take_lock):
            if await asyncio.to_thread(self._files.refresh_requested):
                self._schedule.hurry()
            await self._crls.refresh(self.load)
            await self._lists.refresh(self.load)
            self._lists.remind()
            self._crls.remind()
            await asyncio.to_thread(self._own.look, self._trust.snapshot.whitelist)
        if met := self._trust.take_met():
            await asyncio.to_thread(self._peers.saw, met, self._clock.now())
        self._lists.measure()
        self._crls.measure()

    # ------------------------------------------------------------ from disk

    def _reload(self) -> None:
        """What does not pass any more is not used; what passed before stays (OP-27, OP-28)."""
        version = self._files.version()
        if version == self._version:
            return
        state, snapshot = self._files.state(), self._trust.snapshot
        files = (*self._lists.files(state), *state.crl_files)
        if files != self._loaded:
            revocation = self._crls.load(state.crls.values())
            listed = self._lists.load(state, revocation)
            self._trust.swap(Snapshot(listed, revocation, snapshot.anchors))
            whole = state.in_force is None or (listed and listed.sha256) == state.in_force
            self._loaded = files if whole else ()
        self._version = version
