"""Keeps the trust snapshot current: fetch, verify, keep, swap; the previous stays on any failure.

Of the workers of one home the holder of a lock fetches; all reload when what is in force changes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from mssmtp import metrics, tls
from mssmtp.config import Settings
from mssmtp.outside import Clock, Entropy
from mssmtp.pki import Revocation
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed.crls import CrlFeed
from mssmtp.trust_feed.fetch import Fetch, Fetched, FetchFailed, HttpFetch, Validators
from mssmtp.trust_feed.files import ListState, TrustFiles
from mssmtp.trust_feed.own import OwnRows
from mssmtp.trust_feed.schedule import Schedule
from mssmtp.whitelist import ListRefused, ListRules, Whitelist
from mssmtp.whitelist_child import verify_in_child

logger = logging.getLogger(__name__)

POLL_S = 2.0
FIRST_POLL_S = 0.25

Verify = Callable[[bytes, ListRules, datetime], Whitelist]


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
        self._list = settings.whitelist
        anchors_file = settings.whitelist.https_anchors_file or settings.pki.anchors_file
        self._fetch = fetch or HttpFetch(tls.client_context(settings.tls, None, anchors_file))
        self._verify = verify
        self._trust, self._clock = trust, clock
        self._files = TrustFiles(settings.store.home / "trust")
        self._schedule = Schedule(clock, entropy, settings.whitelist.refresh)
        self._crls = CrlFeed(settings.pki, trust, self._files, self._fetch, self._schedule, clock)
        self._own = OwnRows(settings, clock)
        self._version = (-1, -1)
        self._loaded: tuple[str, ...] = ()
        self._verified: Whitelist | None = None
        self._in_force = asyncio.Event()

    async def load(self) -> None:
        """Put in force what is on disk; without anything there the doors answer 451 4.7.5."""
        await asyncio.to_thread(self._reload)
        snapshot = self._trust.snapshot
        if snapshot.whitelist is not None and snapshot.revocation is not None:
            self._in_force.set()

    async def run(self) -> None:
        """Poll, reload and fetch until cancelled. No failure here stops the mail."""
        try:
            while True:
                try:
                    await self.tick()
                except Exception:
                    metrics.internal_errors.labels(room="trust_feed").inc()
                    logger.exception("trust feed failed; it goes on")
                await asyncio.sleep(POLL_S if self._in_force.is_set() else FIRST_POLL_S)
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
            await self._crls.refresh(self.load)
            if self._schedule.is_due(self._list.url, self._list_checked_at(), self._list.refresh):
                await self._refresh_list()
            self._remind()
            await asyncio.to_thread(self._own.look, self._trust.snapshot.whitelist)
        self._measure()

    # ------------------------------------------------------------ from disk

    def _reload(self) -> None:
        """What does not pass any more is not used; what passed before stays (OP-27, OP-28)."""
        version = self._files.version()
        if version == self._version:
            return
        state, snapshot = self._files.state(), self._trust.snapshot
        if state.files != self._loaded:
            revocation = self._crls.load(state.crls.values())
            listed = self._load_list(state.listed, snapshot, revocation)
            self._trust.swap(Snapshot(listed, revocation, snapshot.anchors))
            whole = state.listed is None or (listed and listed.sha256) == state.listed.sha256
            self._loaded = state.files if whole else ()
        self._version = version

    def _load_list(
        self, state: ListState | None, snapshot: Snapshot, revocation: Revocation | None
    ) -> Whitelist | None:
        if state is None:
            return snapshot.whitelist
        for known in (snapshot.whitelist, self._verified):
            if known is not None and known.sha256 == state.sha256:
                return known
        try:
            octets = self._files.octets(state.file)
            listed = self._verify(octets, self._rules(revocation), self._clock.now())
        except (OSError, ListRefused) as error:
            logger.error("kept list unusable", extra={"file": state.file, "reason": str(error)})
            return snapshot.whitelist
        _tell(listed)
        return listed

    def _rules(self, revocation: Revocation | None) -> ListRules:
        anchors, pin = self._trust.snapshot.anchors, self._list.signer_subject
        return ListRules(pin, anchors, revocation, self._list.max_octets)

    # ------------------------------------------------------------ the list

    def _list_checked_at(self) -> datetime | None:
        listed = self._files.state().listed
        return listed.checked_at if listed and self._trust.snapshot.whitelist else None

    async def _refresh_list(self) -> None:
        url, state, snapshot = self._list.url, self._files.state().listed, self._trust.snapshot
        usable = state is not None and snapshot.list_date == state.date
        try:
            validators = state.validators if state is not None and usable else Validators()
            fetched = await self._fetch(url, validators, self._list.max_octets)
            await asyncio.to_thread(self._take_list, fetched, usable=usable)
        except (FetchFailed, ListRefused) as error:
            self._schedule.failed("list", url, error, usable=snapshot.whitelist is not None)
            return
        self._schedule.plan(url, self._list.refresh)
        await self.load()

    def _take_list(self, fetched: Fetched | None, *, usable: bool) -> None:
        """Verify and keep what was fetched. Raises ListRefused; then nothing has changed."""
        now, state = self._clock.now(), self._files.state().listed
        if fetched is None:
            self._files.checked_list(now)
            return
        digest = sha256(fetched.octets).hexdigest()
        if state is not None and usable and digest == state.sha256:
            self._files.checked_list(now)
            return
        listed = self._verify(fetched.octets, self._rules(self._trust.snapshot.revocation), now)
        if state is not None and listed.date < state.date:
            raise ListRefused("older than the list in force", listed.date.isoformat())
        if state is not None and listed.date == state.date and digest != state.sha256:
            raise ListRefused("same date, other content", listed.date.isoformat())
        known = self._trust.snapshot.whitelist
        if known is not None and known.signer != listed.signer:
            # OP-25: the pinned subject may renew its certificate; a person should know of it.
            logger.warning("list signer renewed", extra={"was": known.signer, "is": listed.signer})
        self._verified = listed
        self._files.keep_list(fetched.octets, listed.date, now, fetched.validators)
        _tell(listed)

    def _remind(self) -> None:
        """Warning and alarm by age of the list (OP-27)."""
        now, listed = self._clock.now(), self._files.state().listed
        if listed is not None:
            age, facts = now - listed.checked_at, {"checked_at": listed.checked_at.isoformat()}
            if age > self._list.alarm_after:
                self._schedule.say(logging.ERROR, "list not refreshed: alarm", facts)
            elif age > self._list.warn_after:
                self._schedule.say(logging.WARNING, "list not refreshed", facts)
        self._crls.remind()

    def _measure(self) -> None:
        now, listed = self._clock.now(), self._files.state().listed
        age = (now - listed.checked_at).total_seconds() if listed is not None else math.inf
        metrics.whitelist_age_seconds.set(age)
        self._crls.measure()


def _tell(listed: Whitelist) -> None:
    facts = {
        "date": listed.date.isoformat(),
        "sha256": listed.sha256,
        "signer": listed.signer,
        "rows": len(listed.rows),
        "domains": len(listed.domains),
    }
    logger.info("list verified", extra=facts)
    if listed.unusable:
        logger.warning("entries that never match", extra={"row_numbers": list(listed.unusable)})
