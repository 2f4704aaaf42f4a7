"""The list part of the feed: fetch, verify, brake, keep; the previous stays (OP-22 to OP-29)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from hashlib import sha256
from typing import Literal

from mssmtp import metrics
from mssmtp.config import Settings, WhitelistSettings
from mssmtp.errors import ConfigError
from mssmtp.outside import Clock
from mssmtp.own_rows import own_names
from mssmtp.pki import listed_name
from mssmtp.revocation import Revocation
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed.brakes import STRETCH, Own, ahead, reasons_to_hold, shrunk_in_steps
from mssmtp.trust_feed.fetch import Fetch, FetchFailed, Validators
from mssmtp.trust_feed.files import Answer, TrustFiles
from mssmtp.trust_feed.schedule import Schedule
from mssmtp.trust_feed.state import ListState, State
from mssmtp.whitelist import ListRefused, ListRules, Whitelist

logger = logging.getLogger(__name__)

_TRIED = 3

Verify = Callable[[bytes, ListRules, datetime], Whitelist]


def list_rules(
    settings: WhitelistSettings, snapshot: Snapshot, revocation: Revocation | None
) -> ListRules:
    """What a list has to pass here, whoever asks."""
    return ListRules(settings.signer_subject, snapshot.anchors, revocation, settings.max_octets)


def own(settings: Settings) -> Own:
    """Ourselves, with the certificates as they are on disk now: one may have been renewed."""
    try:
        names = [listed_name(text) for text in own_names(settings)]
    except ConfigError as error:
        # Nobody serves with it either; the list must not wait for that.
        logger.error("own certificate unusable", extra={"reason": str(error)})
        names = []
    return Own(settings.operator.domains, frozenset(name for name in names if name is not None))


Freshness = Literal["fresh", "warning", "alarm"]


def freshness(state: State, settings: WhitelistSettings, now: datetime) -> Freshness:
    """How long ago the list's server last gave a list that verified (OP-27)."""
    if state.published is None:
        return "alarm"
    age = now - state.published.checked_at
    if age > settings.alarm_after:
        return "alarm"
    return "warning" if age > settings.warn_after else "fresh"


class ListFeed:
    """Fetches, verifies and keeps the list; `TrustFeed` puts it in force."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        files: TrustFiles,
        fetch: Fetch,
        verify: Verify,
        schedule: Schedule,
        clock: Clock,
    ) -> None:
        self._settings, self._list = settings, settings.whitelist
        self._trust, self._files, self._fetch, self._verify = trust, files, fetch, verify
        self._schedule, self._clock = schedule, clock
        self._verified: Whitelist | None = None

    # ------------------------------------------------------------ from disk

    def files(self, state: State) -> tuple[str, ...]:
        """The files a snapshot hangs from: of the list in force, and of those whose grace lasts."""
        listed = state.listed
        earlier = state.before(self._list.grace_lists)
        return () if listed is None else tuple(each.file for each in (listed, *earlier))

    def load(self, state: State, revocation: Revocation | None) -> Whitelist | None:
        """The list in force, verified again; what passed before stays when it does not.

        A start that finds its file damaged goes on with the last one before it that verifies:
        that is what would have stayed in force.
        """
        before, listed = self._trust.snapshot.whitelist, state.listed
        if listed is None:
            return before
        found = self._load_one(listed, revocation)
        if found is None:
            others = (self._load_one(kept, revocation) for kept in state.before(_TRIED))
            return before or next((each for each in others if each is not None), None)
        if not self._list.grace_lists:
            return found
        earlier = [self._load_one(e, revocation) for e in state.before(self._list.grace_lists)]
        return found.with_grace(each for each in earlier if each is not None)

    def _load_one(self, kept: ListState, revocation: Revocation | None) -> Whitelist | None:
        for known in (self._trust.snapshot.whitelist, self._verified):
            if known is not None and known.sha256 == kept.sha256:
                return known.without_grace()
        rules = list_rules(self._list, self._trust.snapshot, revocation)
        try:
            octets = self._files.octets(kept.file)
            listed = self._verify(octets, rules, self._clock.now())
        except (OSError, ListRefused) as error:
            logger.error("kept list unusable", extra={"file": kept.file, "reason": str(error)})
            return None
        if listed.sha256 != kept.sha256:
            logger.error("kept list unusable", extra={"file": kept.file, "reason": "another list"})
            return None
        _tell(listed)
        return listed

    # ------------------------------------------------------------ from the network

    async def refresh(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Fetch when it is due; `reload` puts what was taken in force."""
        if self._schedule.is_due(self._list.url, self._checked_at(), self._list.refresh):
            await self._refresh(reload)

    def _checked_at(self) -> datetime | None:
        published = self._files.state().published
        usable = published is not None and self._trust.snapshot.whitelist is not None
        return published.checked_at if published is not None and usable else None

    async def _refresh(self, reload: Callable[[], Awaitable[None]]) -> None:
        url = self._list.url
        try:
            fetched = await self._fetch(url, self._validators(), self._list.max_octets)
            if fetched is None:
                await asyncio.to_thread(self._files.checked_list, self._clock.now())
            else:
                answer = Answer(url, fetched.octets, fetched.validators)
                await reload()  # a person may have chosen another list meanwhile
                await asyncio.to_thread(self._take, answer)
        except (FetchFailed, ListRefused) as error:
            usable = self._trust.snapshot.whitelist is not None
            self._schedule.failed("list", url, error, usable=usable)
            now = self._clock.now()
            await asyncio.to_thread(self._files.note_failure, url, str(error), now)
            return
        self._schedule.plan(url, self._list.refresh)
        await reload()

    def _is_usable(self, state: State) -> bool:
        """Is the list in force on disk the one that is used?"""
        known = self._trust.snapshot.whitelist
        return known is not None and known.sha256 == state.in_force

    def _validators(self) -> Validators:
        """Of the last answer, unless what it brought is lost or came from elsewhere."""
        state = self._files.state()
        published = state.published
        if published is None or published.url != self._list.url or not self._is_usable(state):
            return Validators()
        known = self._files.is_known(published.sha256)
        return published.validators if known else Validators()

    def _take(self, answer: Answer) -> None:
        """Verify, then keep or hold. Raises ListRefused; then nothing has changed."""
        now, snapshot, state = self._clock.now(), self._trust.snapshot, self._files.state()
        digest = sha256(answer.octets).hexdigest()
        if self._is_usable(state) and self._files.is_known(digest):
            self._files.published(answer, now)
            return
        rules = list_rules(self._list, snapshot, snapshot.revocation)
        try:
            listed = self._verify(answer.octets, rules, now)
            reasons = self._reasons_to_hold(listed)
            happened = self._files.take_list(answer, listed, reasons, now)
        except ListRefused as error:
            self._files.note_refusal(answer.octets, error, now)
            raise
        if happened == "accepted":
            self._verified = listed
        _tell(listed)

    def _reasons_to_hold(self, listed: Whitelist) -> tuple[str, ...]:
        previous = self._trust.snapshot.whitelist
        if previous is None:
            return ()
        if previous.signer != listed.signer:
            # OP-25: the pinned subject may renew its certificate; a person should know of it.
            facts = {"was": previous.signer, "is": listed.signer}
            logger.warning("list signer renewed", extra=facts)
        percent = self._list.shrink_percent
        lost = reasons_to_hold(previous, listed, own(self._settings), percent)
        if not lost:
            lately = self._files.state().lately(listed.date - STRETCH)
            lost = shrunk_in_steps(((e.rows, e.domains) for e in lately), listed, percent)
        return (*ahead(listed, self._clock.now()), *lost)

    # ------------------------------------------------------------ what is said of it

    def remind(self) -> None:
        """Once an hour, what a person has to see to: old, held, rolled back, two of one date."""
        now, state = self._clock.now(), self._files.state()
        if state.published is not None and state.listed is not None:
            facts = {"checked_at": state.published.checked_at.isoformat()}
            how = freshness(state, self._list, now)
            if how == "alarm":
                self._schedule.say(logging.ERROR, "list not refreshed: alarm", facts)
            elif how == "warning":
                self._schedule.say(logging.WARNING, "list not refreshed", facts)
        if state.held is not None:
            facts = {"sha256": state.held.listed.sha256, "reasons": "; ".join(state.held.reasons)}
            self._schedule.say(logging.ERROR, "list held until confirmed", facts)
        if state.rolled_back is not None:
            facts = {"by": state.rolled_back.by, "left": state.rolled_back.left.sha256}
            self._schedule.say(logging.WARNING, "list rolled back by hand", facts)
        if state.conflict is not None:
            facts = {"sha256": state.conflict.sha256, "date": state.conflict.date.isoformat()}
            self._schedule.say(logging.ERROR, "two lists of one date", facts)

    def measure(self) -> None:
        """The same, for the metrics page."""
        state, known = self._files.state(), self._trust.snapshot.whitelist
        age = math.inf
        if state.published is not None and state.listed is not None:
            age = (self._clock.now() - state.published.checked_at).total_seconds()
        metrics.whitelist_age_seconds.set(age)
        metrics.whitelist_rows.set(len(known.rows) if known is not None else 0)
        metrics.whitelist_held.set(state.held is not None)
        metrics.whitelist_rolled_back.set(state.rolled_back is not None)
        metrics.whitelist_conflict.set(state.conflict is not None)


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
