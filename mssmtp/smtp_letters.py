"""Letters on their way out, as the wire sees them: read from the store block by block."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mssmtp.awaiting import Gathering, awaited
from mssmtp.errors import MailError
from mssmtp.mail import EnvelopeId
from mssmtp.outside import Clock
from mssmtp.smtp_client import Content
from mssmtp.smtp_transaction import SMALL_OCTETS
from mssmtp.storage import Lease, NoSuchMessage, Reading, RelayJournal, Store

_TOGETHER = 32
"""Small ones, by one look: two megabytes at most."""


class Letters:
    """What leases carry, for one relay. Reading raises MailError."""

    def __init__(self, store: Store, journal: RelayJournal, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._small = Gathering(self._read_small, most=_TOGETHER)

    def content(self, lease: Lease) -> Content:
        """The letter of `lease`; the journal learns when its last octet is about to leave (D4)."""
        envelope, skip = lease.envelope, lease.skip

        async def read(start: int, stop: int) -> bytes:
            if lease.size_octets <= SMALL_OCTETS:
                whole = await self._small.ask(envelope.id)
                if not isinstance(whole, bytes):
                    raise whole
                return whole[skip + start : skip + stop]
            return await awaited(
                self._store.read(lambda r: r.letter_octets(envelope.id, skip + start, skip + stop))
            )

        by = envelope.deliver_by
        return Content(
            lease.size_octets - skip,
            read,
            envid=envelope.envid,
            ret=envelope.ret,
            require_tls=envelope.require_tls,
            is_report=envelope.sender is None,
            priority=envelope.priority,
            by=by,
            by_s=0 if by is None else int((by.deadline - self._clock.now()).total_seconds()),
            ending=lambda: self._journal.note(envelope.id, lease.positions, "begun"),
        )

    def _read_small(self, ids: list[EnvelopeId]) -> asyncio.Future[Sequence[bytes | MailError]]:
        """Small letters, several by one look at the store."""

        def query(reading: Reading) -> list[bytes | MailError]:
            found = reading.letters_octets(ids)
            return [found.get(each, NoSuchMessage()) for each in ids]

        return awaited(self._store.read(query))
