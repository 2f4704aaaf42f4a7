"""The CRL part of the feed: daily, the last unexpired one stays on failure (OP-09)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from mssmtp import metrics
from mssmtp.config import PkiSettings
from mssmtp.crl_child import read_apart
from mssmtp.outside import Clock
from mssmtp.pki import printed_name
from mssmtp.revocation import BadRevocationList, Crl, Revocation
from mssmtp.trust import Trust
from mssmtp.trust_feed.fetch import Fetch, Fetched, FetchFailed, Validators
from mssmtp.trust_feed.files import TrustFiles
from mssmtp.trust_feed.schedule import FIRST_RETRY, RETRY, Schedule
from mssmtp.trust_feed.state import CrlState
from mssmtp.whitelist import Whitelist

logger = logging.getLogger(__name__)

MAX_CRL_OCTETS = 20 * 1_048_576
CRL_ALARM = timedelta(hours=12)


class CrlFeed:
    """Fetches, checks and keeps the CRLs; `TrustFeed` puts them in force together with the list."""

    def __init__(
        self,
        settings: PkiSettings,
        trust: Trust,
        files: TrustFiles,
        fetch: Fetch,
        schedule: Schedule,
        clock: Clock,
    ) -> None:
        self._settings, self._trust, self._files = settings, trust, files
        self._fetch, self._schedule, self._clock = fetch, schedule, clock
        self._read: dict[str, tuple[Crl, ...]] = {}

    def load(self, crls: Iterable[CrlState]) -> Revocation | None:
        """The kept CRLs, checked again; what does not pass any more is not used."""
        kept, anchors, before = tuple(crls), self._trust.snapshot.anchors, self._read
        if before and not kept:
            self._schedule.hurry()  # state.json was lost: what passed stays until it is back
            return self._trust.snapshot.revocation
        read: dict[str, tuple[Crl, ...]] = {}
        for crl in kept:
            try:
                # The name holds the digest: what was read under it is what is there.
                read[crl.file] = before.get(crl.file) or read_apart(
                    self._files.octets(crl.file), anchors
                )
            except (OSError, BadRevocationList) as error:
                logger.error("kept CRL unusable", extra={"file": crl.file, "reason": str(error)})
        self._read = read
        found = [crl for crls in read.values() for crl in crls]
        return Revocation.newest(found) if found else None

    async def refresh(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Fetch what is due; `reload` puts it in force."""
        for url in self._settings.crl_urls:
            if self._schedule.is_due(url, self._checked_at(url), self._settings.crl_refresh):
                await self._refresh_one(url, reload)

    def _checked_at(self, url: str) -> datetime | None:
        crl, revocation = self._files.state().crls.get(url), self._trust.snapshot.revocation
        ends = revocation.next_update if revocation is not None else None
        if crl is None or crl.file not in self._read:
            return None
        return crl.checked_at if ends and ends > self._clock.now() else None

    async def _refresh_one(self, url: str, reload: Callable[[], Awaitable[None]]) -> None:
        state, revocation = self._files.state().crls.get(url), self._trust.snapshot.revocation
        try:
            # What cannot be read any more is fetched whole: "not modified" would leave us without.
            is_read = state is not None and state.file in self._read
            validators = state.validators if state is not None and is_read else Validators()
            fetched = await self._fetch(url, validators, MAX_CRL_OCTETS)
            await asyncio.to_thread(self._take, url, fetched)
        except (FetchFailed, BadRevocationList) as error:
            self._schedule.failed("CRL", url, error, usable=revocation is not None)
            now = self._clock.now()
            await asyncio.to_thread(self._files.note_failure, url, str(error), now)
            return
        await reload()
        self._schedule.plan(url, self._period())

    def _take(self, url: str, fetched: Fetched | None) -> None:
        """Check and keep a CRL. Raises BadRevocationList; then nothing has changed."""
        now, snapshot = self._clock.now(), self._trust.snapshot
        if fetched is None:
            self._files.checked_crl(url, now)
            return
        crls = read_apart(fetched.octets, snapshot.anchors)
        self._check_follows(url, crls, now)
        for crl in crls:
            held = snapshot.revocation.held(crl) if snapshot.revocation is not None else None
            if held is None:
                continue
            if crl.number < held.number:
                raise BadRevocationList("older than the one in force")
            if held.is_in_date(now) and not crl.is_in_date(now):
                raise BadRevocationList("not in date, and the one in force is")
        self._files.keep_crl(url, fetched.octets, now, fetched.validators)

    def _check_follows(self, url: str, crls: Iterable[Crl], now: datetime) -> None:
        """Everything kept from `url` and still in date must have a successor of its kind there.

        Else whoever sits on the way drops what we know of one authority with the CRL of another,
        and then plays back one from before a revocation.
        """
        state = self._files.state().crls.get(url)
        kept = self._read.get(state.file, ()) if state is not None else ()
        kinds = {(crl.authority, crl.scope) for crl in crls}
        if any(crl.is_in_date(now) and (crl.authority, crl.scope) not in kinds for crl in kept):
            raise BadRevocationList("of another authority or scope than the one in force")

    def _period(self) -> timedelta:
        """The configured period, or half of what is left when the CRLs live shorter."""
        revocation = self._trust.snapshot.revocation
        if revocation is None or revocation.next_update is None:
            return FIRST_RETRY
        left = (revocation.next_update - self._clock.now()) / 2
        return max(min(self._settings.crl_refresh, left), RETRY)

    def remind(self, what: str = "operators are deferred") -> None:
        """Alarm before the first CRL ends and once it has, and when the list's signer is on one."""
        now, snapshot = self._clock.now(), self._trust.snapshot
        crls = snapshot.revocation.crls if snapshot.revocation is not None else ()
        if crls:
            first = min(crls, key=lambda crl: crl.next_update)
            facts = {
                "issuer": printed_name(first.issuer),
                "next_update": first.next_update.isoformat(),
            }
            if first.next_update <= now:
                self._schedule.say(logging.ERROR, f"CRL has ended: {what}", facts)
            elif first.next_update - now < min(self._settings.crl_refresh, CRL_ALARM):
                self._schedule.say(logging.ERROR, "CRL ends soon", facts)
        listed = snapshot.whitelist
        if listed is not None and any(crl.lists(_serial_of(listed)) for crl in crls):
            # What was accepted before stays in force (OP-28); nothing new of this signer comes in.
            facts = {"signer": listed.signer, "date": listed.date.isoformat()}
            self._schedule.say(logging.ERROR, "signer of the list in force is revoked", facts)

    def measure(self) -> None:
        """What is left, for the metrics page."""
        revocation = self._trust.snapshot.revocation
        ends = revocation.next_update if revocation is not None else None
        left = (ends - self._clock.now()).total_seconds() if ends is not None else 0.0
        metrics.crl_seconds_left.set(left)


def _serial_of(listed: Whitelist) -> int:
    """The signer's serial number, which stands behind its name."""
    try:
        return int(listed.signer.rpartition(" ")[2], 16)
    except ValueError:
        return 0
