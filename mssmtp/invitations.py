"""Letters to unknown usual addresses whose thirty days are over: they come back as DSN (DEF-09)."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from mssmtp import metrics
from mssmtp.awaiting import awaited
from mssmtp.errors import Damaged
from mssmtp.smtp_lookup import Services
from mssmtp.smtp_reports import Ready, Reported, Reports
from mssmtp.storage import Invited, NoSuchMessage, Reading, Store, Writing

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 3_600.0
AT_ONCE = 20
ENDED = (
    "550 5.4.7 Le destinataire n'a pas confirmé son adresse en 30 jours ; "
    "joignez-le par un autre moyen."
)
_HEADER_OCTETS = 262_144


class Returning:
    """Looks for them once an hour."""

    def __init__(self, services: Services) -> None:
        self._store, self._clock = services.store, services.clock
        self._reports = Reports(
            services.settings.operator,
            services.store,
            services.clock,
            services.serves,
            services.gateways.ways,
        )

    async def run(self) -> None:
        """Until cancelled. A disk that does not answer now will in an hour."""
        while True:
            try:
                await return_ended(self._store, self._reports, self._clock.now())
            except Exception:
                metrics.internal_errors.labels("invitations").inc()
                logger.exception("invitations not ended")
            await asyncio.sleep(LOOK_EVERY_S)


async def return_ended(store: Store, reports: Reports, now: datetime) -> int:
    """Send back what has waited in vain; how many letters. Each with its report, or neither."""
    done = 0
    while ended := await awaited(store.read(lambda r: r.ended_invitations(now, AT_ONCE))):
        for letter in ended:
            done += await _return(store, reports, letter)
    if done:
        logger.info("invitations ended", extra={"letters": done})
    return done


async def _return(store: Store, reports: Reports, letter: Invited) -> bool:
    header = await awaited(store.read(lambda r: _header(r, letter)))
    about = Reported(letter.envelope, header, letter.owner)
    made: list[Ready] = await reports.failed(about, {letter.recipient.address: ENDED})

    def job(writing: Writing) -> bool:
        if not writing.return_invited(letter, ENDED):
            return False
        for report in made:
            report.accept(writing)
        return True

    is_returned = await awaited(store.write(job))
    if not is_returned:
        for report in made:
            store.discard(report.letter)
    return is_returned


def _header(reading: Reading, letter: Invited) -> bytes:
    """The header section of the letter; empty when it cannot be read any more.

    Raises StorageUnavailable and its like: the letter is returned in an hour, with its header.
    """
    try:
        octets = reading.letter_octets(letter.envelope.id, 0, _HEADER_OCTETS)
    except (Damaged, NoSuchMessage):
        logger.error("returned without its header", extra={"envelope": letter.envelope.id})
        return b""
    return octets.partition(b"\r\n\r\n")[0] + b"\r\n"
