"""Keeps `OwnKeys` and the memory of the home current while the server runs.

Every worker takes up renewed certificates. One of them, the holder of the lock, remembers states
and keys, looks once a day whether the CRLs our certificates name can be had (CL-10), and says when
a certificate of ours comes to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509

from mssmtp import metrics
from mssmtp.config import Settings
from mssmtp.mail import Domain
from mssmtp.outside import Clock, Entropy
from mssmtp.own.judging import digest_of, key_of
from mssmtp.own.keys import OwnKeys, in_use, refused
from mssmtp.own.memory import CrlSeen, KeyUse, Memory
from mssmtp.own.standing import remember, standings
from mssmtp.pki import UNREADABLE, printed_name
from mssmtp.tls_settings import OwnCertificate
from mssmtp.trust import Trust

logger = logging.getLogger(__name__)

POLL_S = 2.0
CRL_EVERY = timedelta(hours=24)
CRL_RETRY = timedelta(hours=1)
REMIND_EVERY = timedelta(hours=24)

_KEPT_KEYS = 10_000

Fetch = Callable[[str], Awaitable[bytes]]
"""The octets at an address. Raises NotFetched."""


class NotFetched(Exception):
    """A CRL could not be had; the text says why."""


class EndIn:
    """How near the end of a certificate of ours is: levels of doctor and of the log."""

    SOON = timedelta(days=90)
    NEAR = timedelta(days=30)
    NOW = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Outside:
    """What the watch reaches the world by."""

    clock: Clock
    entropy: Entropy
    fetch: Fetch


class OwnWatch:
    """`run` until cancelled."""

    def __init__(self, settings: Settings, keys: OwnKeys, trust: Trust, outside: Outside) -> None:
        self._settings, self._keys, self._trust = settings, keys, trust
        self._clock, self._entropy, self._fetch = outside.clock, outside.entropy, outside.fetch
        self._reminded: datetime | None = None
        self._crl_due: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look every two seconds. No failure here stops the mail."""
        try:
            while True:
                try:
                    await self.tick()
                except Exception:
                    metrics.internal_errors.labels(room="own").inc()
                    logger.exception("watch of our certificates failed; it goes on")
                await asyncio.sleep(POLL_S)
        finally:
            self._keys.files.release()

    async def tick(self) -> None:
        """One round."""
        await asyncio.to_thread(self._keys.refresh)
        if await asyncio.to_thread(self._keys.files.take_lock):
            await self._remember()
            self._remind()
        self._measure()

    async def _remember(self) -> None:
        before = self._keys.memory
        memory = self._remembered(before)
        memory = replace(memory, crls=await self._look_at_crls(memory))
        if memory != before:
            await asyncio.to_thread(self._keys.files.keep, memory)

    # ------------------------------------------------------------ memory

    def _remembered(self, memory: Memory) -> Memory:
        keys, now = self._keys, self._clock.now()
        served = self._settings.operator.domains
        listed = self._trust.snapshot.whitelist
        held = tuple(slot.own for slot in keys.slots)
        if listed is not None:
            known = memory
            found = standings(served, tuple(own.leaf for own in held), listed, memory)
            memory = remember(memory, now, found)
            _tell_changes(known, memory)
            idle = [own for own in held if not any(keys.may_speak(own, d) for d in served)]
            since = {digest_of(own): now.isoformat() for own in idle}
            waiting = {each: memory.waiting.get(each, start) for each, start in since.items()}
            memory = replace(memory, waiting=waiting)
        return replace(
            memory,
            space=keys.space,
            keys=_with_uses((*memory.keys, *keys.met_keys), (*held, keys.users.own), served),
            in_use=in_use(keys),
            refused=refused(keys),
        )

    # ------------------------------------------------------------ CRLs our certificates name

    async def _look_at_crls(self, memory: Memory) -> dict[str, CrlSeen]:
        slots = (*self._keys.slots, self._keys.users)
        urls = dict.fromkeys(url for slot in slots for url in crl_urls(slot.own.chain))
        seen = {url: memory.crls[url] for url in urls if url in memory.crls}
        for url in urls:
            if self._is_due(url, seen.get(url)):
                seen[url] = await self._look_at(url, seen.get(url))
        return seen

    def _is_due(self, url: str, known: CrlSeen | None) -> bool:
        now = self._clock.now()
        if url not in self._crl_due:
            last = datetime.fromisoformat(known.tried) if known else now - CRL_EVERY
            self._crl_due[url] = last + self._jittered(CRL_EVERY if known else timedelta(0))
        due = self._crl_due[url]
        return now >= due or due > now + 2 * CRL_EVERY  # the clock was put back

    async def _look_at(self, url: str, known: CrlSeen | None) -> CrlSeen:
        now = self._clock.now()
        try:
            ends = end_of_crl(await self._fetch(url))
        except NotFetched as error:
            self._crl_due[url] = now + self._jittered(CRL_RETRY)
            logger.warning("CRL of our certificate not had", extra={"url": url, "why": str(error)})
            last = known or CrlSeen("")
            return replace(last, tried=now.isoformat(), trouble=str(error))
        self._crl_due[url] = now + self._jittered(CRL_EVERY)
        if ends <= now:
            logger.error("CRL of our certificate is out of date", extra={"url": url})
        return CrlSeen(now.isoformat(), now.isoformat(), ends.isoformat())

    def _jittered(self, period: timedelta) -> timedelta:
        """Somewhat less than `period`, at a moment of our own: the operators are many."""
        fraction = int.from_bytes(self._entropy.token_bytes(2), "big") / 65_535
        return period * (0.8 + 0.2 * fraction)

    # ------------------------------------------------------------ what is said

    def _measure(self) -> None:
        now = self._clock.now()
        for door, slots in (("operators", self._keys.slots), ("users", [self._keys.users])):
            ends = min(slot.own.leaf.not_valid_after_utc for slot in slots)
            metrics.own_certificate_seconds_left.labels(door).set((ends - now).total_seconds())
        crls = self._keys.memory.crls.values()
        ends_of_crls = [datetime.fromisoformat(crl.ends) for crl in crls if crl.ends is not None]
        if ends_of_crls:
            left = (min(ends_of_crls) - now).total_seconds()
            metrics.own_crl_seconds_left.set(left)

    def _remind(self) -> None:
        now = self._clock.now()
        if self._reminded is not None and abs(now - self._reminded) < REMIND_EVERY:
            return
        self._reminded = now
        for slot in (*self._keys.slots, self._keys.users):
            ends = slot.own.leaf.not_valid_after_utc
            facts = {"file": str(slot.files.certificate_file), "ends": ends.isoformat()}
            if ends - now <= EndIn.NOW:
                logger.error("alarm: own certificate ends", extra=facts)
            elif ends - now <= EndIn.NEAR:
                logger.warning("own certificate ends soon: install the next one", extra=facts)
            elif ends - now <= EndIn.SOON:
                logger.info("own certificate ends in less than 90 days: order it", extra=facts)


def _tell_changes(before: Memory, after: Memory) -> None:
    for domain, changes in after.domains.items():
        if changes != before.domains.get(domain):
            state = changes[-1].state
            level = logging.ERROR if state == "withdrawn" else logging.INFO
            logger.log(level, "own domain is %s", state, extra={"domain": domain})


def _with_uses(
    known: tuple[KeyUse, ...], held: Iterable[OwnCertificate], served: tuple[Domain, ...]
) -> tuple[KeyUse, ...]:
    """Which key was used under which name for which domains (ATT-43), ours and those of peers."""
    uses = {(use.key, use.name): use for use in known[-_KEPT_KEYS:]}
    for own in held:
        use = KeyUse(key_of(own), printed_name(own.leaf.subject), tuple(sorted(served)))
        uses[use.key, use.name] = use
    return tuple(uses.values())


def crl_urls(chain: Iterable[x509.Certificate]) -> Iterator[str]:
    """The http addresses of CRLs that the certificates of `chain` name."""
    for certificate in chain:
        try:
            points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
        except x509.ExtensionNotFound:
            continue
        for point in points.value:
            for name in point.full_name or ():
                if str(name.value).startswith(("http://", "https://")):
                    yield str(name.value)


def end_of_crl(octets: bytes) -> datetime:
    """nextUpdate of a CRL, PEM or DER. Raises NotFetched when it is none."""
    is_pem = octets.lstrip().startswith(b"-----BEGIN")
    try:
        crl = x509.load_pem_x509_crl(octets) if is_pem else x509.load_der_x509_crl(octets)
        ends = crl.next_update_utc
    except UNREADABLE as error:
        raise NotFetched("what is there is no CRL") from error
    if ends is None:
        raise NotFetched("the CRL has no end")
    return ends
