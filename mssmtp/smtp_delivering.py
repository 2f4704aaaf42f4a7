"""One delivery: whether it may go still, over which connections, and what the peer said.

A letter is sent twice only when the final reply of the peer was lost, and that is marked (D4).
"""

from __future__ import annotations

import logging
from dataclasses import replace

from mssmtp.errors import MailError, Reply, StorageFull, StorageUnavailable
from mssmtp.mail import Recipient
from mssmtp.outside import Clock
from mssmtp.smtp_client import Answers, Content, PeerConnection
from mssmtp.smtp_hospital import Hospitals
from mssmtp.smtp_lanes import Lanes
from mssmtp.smtp_leaving import Leaving
from mssmtp.smtp_letters import Letters
from mssmtp.smtp_pool import Pool
from mssmtp.smtp_record import Attempt
from mssmtp.smtp_wire import (
    NoDeadlineOnward,
    NoTlsOnward,
    NotTransmissible,
    PeerFailed,
    PeerGone,
    PeerTakesLess,
    from_reply,
)
from mssmtp.storage import RelayJournal

logger = logging.getLogger(__name__)

_CONNECTIONS_OF_LETTER = 20
"""One after the other: peers that take few recipients or messages on each (RFC 9422)."""


class CopyNotKept(Exception):
    """Of a letter for a hospital and for the box here: tried again when there is room."""


class Delivering:
    """What the relay of one worker delivers with; many deliveries at once."""

    def __init__(
        self,
        leaving: Leaving,
        hospitals: Hospitals,
        pool: Pool,
        lanes: Lanes,
        letters: Letters,
        journal: RelayJournal,
        clock: Clock,
    ) -> None:
        self._leaving, self._hospitals = leaving, hospitals
        self._pool, self._lanes = pool, lanes
        self._letters, self._journal = letters, journal
        self._clock = clock

    async def run(self, attempt: Attempt) -> None:
        """Ask the policy again, find a judged connection, hand the letter over.

        What became of it is in `attempt`. Raises CopyNotKept.
        """
        if (lost := await self._leaving.lost_sender(attempt.lease)) is not None:
            attempt.all_get(from_reply(lost))
            return
        if self._hospitals.lane(attempt.lease.domain) is not None:
            await self._to_hospital(attempt)
            return
        if self._leaving.is_home(attempt.lease.domain):
            await self._hospitals.bring_home(attempt)
            return
        refused = self._leaving.refused(attempt.lease) or self._leaving.too_late(attempt.lease)
        if refused is not None:
            attempt.all_get(from_reply(refused))
            return
        for _ in range(_CONNECTIONS_OF_LETTER):
            connection = await self._connect(attempt)
            if connection is None:
                return
            attempt.connection, attempt.failure = connection, None
            was_used = connection.messages > 0
            try:
                await self._hand_over(attempt, connection)
            except BaseException:
                connection.abort()
                raise
            self._pool.give_back(connection)
            broke = attempt.failure
            if not attempt.waiting or attempt.in_doubt:
                break
            if broke is not None and not (was_used and isinstance(broke, PeerGone)):
                break
            # The peer had closed what we kept, or takes no more on it: another connection.
        if attempt.waiting:
            attempt.fails(attempt.failure or PeerFailed("takes too little at a time"))

    async def _to_hospital(self, attempt: Attempt) -> None:
        lease = attempt.lease
        failure = self._lanes.shared_failure(lease.domain, self._clock.monotonic())
        if failure is not None:
            attempt.fails(failure)
            return
        if (late := self._leaving.too_late(lease)) is not None:
            attempt.all_get(from_reply(late))
            return
        try:
            await self._hospitals.keep_copies(attempt)
        except (StorageFull, StorageUnavailable) as error:
            logger.warning("no copy for the box yet", extra={"kind": type(error).__name__})
            raise CopyNotKept from error
        await self._hospitals.deliver(attempt, self._letters.content(lease), _unfit)
        self._note_taken(attempt, Answers(attempt.replies, attempt.final))
        if attempt.connection is None and attempt.failure is not None:
            self._lanes.missed(lease.domain, attempt.failure, self._clock.monotonic())
        else:
            self._lanes.reached(lease.domain)

    async def _connect(self, attempt: Attempt) -> PeerConnection | None:
        """A judged connection; None, and the reason in `attempt`, when there is none."""
        lease = attempt.lease
        failure = self._lanes.shared_failure(lease.domain, self._clock.monotonic())
        if failure is not None:
            attempt.fails(failure)
            return None
        sender = lease.envelope.sender
        beside_us = self._leaving.is_handed_on(lease.domain)
        try:
            connection = await self._pool.borrow(
                lease.domain, sender.domain if sender else None, beside_us=beside_us
            )
        except MailError as error:
            attempt.fails(error)
            if not error.reply.is_permanent:
                self._lanes.missed(lease.domain, error, self._clock.monotonic())
            return None
        self._lanes.reached(lease.domain)
        return connection

    async def _hand_over(self, attempt: Attempt, connection: PeerConnection) -> None:
        """As many transactions as this connection takes."""
        lease = attempt.lease
        content = self._letters.content(lease)
        refused = _unfit(connection, content)
        if refused is not None:
            attempt.all_get(from_reply(refused))
            return
        try:
            sender = lease.envelope.sender
            handed_on = self._leaving.is_handed_on(lease.domain)
            if handed_on and sender is not None and not self._leaving.is_ours(sender):
                await self._hand_on(attempt, connection, content)
                return
            while attempt.waiting and connection.is_open and not connection.is_spent:
                waiting = attempt.waiting
                answers = await connection.send(sender, waiting, content)
                attempt.replies |= answers.by_recipient
                attempt.final = answers.final or attempt.final
                self._note_taken(attempt, answers)
                if len(attempt.waiting) == len(waiting):
                    break
        except PeerFailed as error:
            attempt.failure = error
        except NotTransmissible as error:
            attempt.all_get(from_reply(error.reply))

    def _note_taken(self, attempt: Attempt, answers: Answers) -> None:
        if answers.final is None or not answers.final.is_positive:
            return
        lease = attempt.lease
        places = zip(lease.recipients, lease.positions, strict=False)
        taken = [
            position
            for recipient, position in places
            if (reply := answers.by_recipient.get(recipient)) is not None and reply.is_positive
        ]
        self._journal.note(lease.envelope.id, taken, "taken")

    async def _hand_on(
        self, attempt: Attempt, connection: PeerConnection, content: Content
    ) -> None:
        """OP-101: mail for boxes that have left us, one letter each, from the box itself.

        The author's domain is not listed for our certificate, and the peer would have to refuse it
        (docs/trust.md, step 8); the box's own domain is. The wishes of RFC 3461 do not go along
        with another reverse-path (5.2.7.3). Raises PeerFailed, NotTransmissible.
        """
        content = replace(content, envid=None, ret=None)
        attempt.handed_on = True
        for recipient in attempt.waiting:
            if connection.is_spent or not connection.is_open:
                return
            bare = Recipient(recipient.address)
            answers = await connection.send(recipient.address, (bare,), content)
            attempt.replies[recipient] = answers.by_recipient[bare]
            attempt.final = answers.final
            self._note_taken(
                attempt, Answers({recipient: attempt.replies[recipient]}, answers.final)
            )


def _unfit(connection: PeerConnection, content: Content) -> Reply | None:
    """Why this peer cannot have the letter as its sender wants it; nothing was said to it yet."""
    largest = connection.largest_octets
    if largest is not None and content.size_octets > largest:
        return PeerTakesLess.smtp
    if content.require_tls and not (connection.promises_tls or content.is_report):
        return NoTlsOnward.smtp
    if content.by is not None and content.by.mode == "R" and not connection.keeps_time:
        return NoDeadlineOnward.smtp
    return None
