"""The content of one message on a connection: DATA, and BDAT chunk by chunk (RFC 5321, RFC 3030).

What is refused is consumed all the same: what belongs to a message is never taken for a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from cryptography import x509

from mssmtp.errors import INTERNAL, MailError, StorageBehind
from mssmtp.mail import Door
from mssmtp.smtp import replies, syntax
from mssmtp.smtp.receiver import ChunkReceiver, DataLimits, DataReceiver, Flooded
from mssmtp.smtp.syntax import BadArgument, Chunk
from mssmtp.smtp.trace import Hop
from mssmtp.smtp.transaction import OutOfOrder, Transaction
from mssmtp.smtp_intake import Intake, Origin
from mssmtp.smtp_link import House, Link
from mssmtp.smtp_lookup import LoginLost, still_entitled

_FLOOD_FACTOR = 2
"""A message is consumed up to this many times the size limit before the connection is cut."""
_MAX_CHUNKS = 10_000
"""Of one message: each costs a command line and a reply."""
_ASK_AGAIN_S = 1.0


@dataclass(slots=True)
class _Chunked:
    """A message that comes by BDAT; `failure`: why none of its chunks counts any more."""

    receiver: ChunkReceiver
    intake: Intake | None = None
    failure: MailError | None = None


class Reception(Link):
    """A connection that takes messages; the verbs around them are `Machine`'s."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._chunked: _Chunked | None = None
        self._idle_commands = 0
        self._asked_at = 0.0

    # ------------------------------------------------------------ DATA

    async def _data(self, arg: str | None) -> None:
        try:
            transaction = self._conversation.data(arg)
        except MailError:
            if len(self._inbox):
                # RFC 2920 3.1: DATA ends a group. What came with it is content of somebody who did
                # not wait for 354: taken for commands, its author would command us.
                self._is_last = True
            raise
        if self._services.store.is_behind:
            raise StorageBehind  # before a message is read that could not be kept
        receiver = DataReceiver(self._data_limits())
        intake = self._intake(transaction)
        self.say(replies.GO_AHEAD)
        self._receiving = True
        try:
            with self._services.store.coming():
                await self._receive(receiver, intake)
                self._check(receiver)
                await self._finish(transaction, intake)
        finally:
            self._receiving = False
            self._conversation.transaction = None
            await intake.abandon()

    async def _receive(self, receiver: DataReceiver, intake: Intake) -> None:
        """Consume the data to its end, whatever becomes of it."""
        while not receiver.done:
            try:
                content = receiver.feed(await self._block())
            except Flooded:
                self._is_last = True
                raise
            if not receiver.clean:
                await intake.abandon()
            elif content:
                await intake.write(content)
        self._receiving = False
        self._inbox.unread(receiver.rest)

    # ------------------------------------------------------------ BDAT

    async def _bdat(self, arg: str | None) -> None:
        chunk = self._chunk_of(arg)
        try:
            message = self._message()
        except MailError as error:
            message = _Chunked(ChunkReceiver(self._data_limits()), failure=error)
        try:
            with self._services.store.coming():
                await self._consume(chunk, message)
                await self._conclude(chunk, message)
        finally:
            if chunk.is_last:
                self._conversation.transaction = None
                await self._drop_chunks()
            self._receiving = self._chunked is not None and self._chunked.failure is None

    def _chunk_of(self, arg: str | None) -> Chunk:
        try:
            return syntax.bdat_command(arg)
        except BadArgument as error:
            self._is_last = True  # ATT-35: nobody knows where the next command begins
            raise BadArgument(reply=replies.BAD_CHUNK) from error

    def _message(self) -> _Chunked:
        """The message that the chunk belongs to. Raises OutOfOrder when there is none.

        A first chunk that is refused spoils all that follow: recipients who are named behind it
        would get the rest for the whole.
        """
        transaction = self._conversation.chunk()
        if self._chunked is None:
            self._chunked = _Chunked(ChunkReceiver(self._data_limits()))
            if not transaction.destinations:
                self._chunked.failure = OutOfOrder(reply=replies.NO_RECIPIENT)
            elif self._services.store.is_behind:
                self._chunked.failure = StorageBehind()
            else:
                self._chunked.intake = self._intake(transaction)
        self._receiving = self._chunked.failure is None
        return self._chunked

    async def _consume(self, chunk: Chunk, message: _Chunked) -> None:
        """Read the octets of the chunk to the last, whether they count or not (RFC 3030 2)."""
        receiver = message.receiver
        try:
            receiver.begin(chunk.size_octets)
            if receiver.chunks > _MAX_CHUNKS:
                raise MailError(reply=replies.TOO_MANY_ERRORS)
            while receiver.missing:
                content = receiver.feed(await self._block(receiver.missing))
                if message.intake is None or message.failure is not None:
                    continue
                if not receiver.clean:
                    await message.intake.abandon()
                elif content:
                    await message.intake.write(content)
        except BaseException:
            self._is_last = True  # octets of the chunk are left, and must not become commands
            message.failure = message.failure or MailError(reply=INTERNAL)
            raise

    async def _conclude(self, chunk: Chunk, message: _Chunked) -> None:
        """Answer one chunk. What was wrong once is the answer to all that are still on the way."""
        if message.failure is not None:
            raise message.failure
        transaction, intake = self._conversation.transaction, message.intake
        assert transaction is not None  # noqa: S101 - `_message` has asked
        assert intake is not None  # noqa: S101 - the same
        try:
            if chunk.is_last:
                message.receiver.end()
            self._check(message.receiver)
            if intake.refusal is not None:
                raise intake.refusal
            if chunk.is_last:
                await self._finish(transaction, intake)
            else:
                self.say(replies.chunk_taken(chunk.size_octets))
        except MailError as error:
            message.failure = error
            await intake.abandon()
            raise

    async def _drop_chunks(self) -> None:
        """RSET, EHLO or the end: nothing of an unfinished message remains (RFC 3030 2)."""
        chunked, self._chunked = self._chunked, None
        self._receiving = False
        if chunked is not None and chunked.intake is not None:
            await chunked.intake.abandon()

    async def _left(self) -> None:
        await self._drop_chunks()

    # ------------------------------------------------------------ both

    def _data_limits(self) -> DataLimits:
        limit = self._house.rules.limits.message_octets
        return DataLimits(limit, limit * _FLOOD_FACTOR)

    def _intake(self, transaction: Transaction) -> Intake:
        origin = self._origin(transaction)
        return Intake(self._services, transaction, origin, self._house.content_threads)

    def _check(self, receiver: DataReceiver | ChunkReceiver) -> None:
        """Raises MailError for content that must not be taken."""
        if receiver.ambiguous:
            # Somebody on the way may hold the rest for another message: execute none of it.
            self._is_last = True
        if receiver.bare:
            raise MailError(reply=replies.BARE_LINE_END)
        if receiver.nul:
            raise MailError(reply=replies.NUL_OCTET)
        if receiver.too_big:
            raise MailError(reply=replies.too_big(self._house.rules.limits.message_octets))

    async def _finish(self, transaction: Transaction, intake: Intake) -> None:
        """The content is here: ask once more, commit, and only then say 250."""
        by = transaction.command.deliver_by
        if by is not None and by.mode == "R" and self._services.clock.now() >= by.deadline:
            raise MailError(reply=replies.DEADLINE_PASSED)
        await self._ask_again(transaction)
        self.say(await intake.finish())
        self._idle_commands = self._refused = 0

    async def _ask_again(self, transaction: Transaction) -> None:
        """SEC-06: who was suspended or unlisted more than a second ago sends nothing."""
        if self.loop.time() - self._asked_at < _ASK_AGAIN_S:
            return
        try:
            await self._still_entitled(transaction)
        except LoginLost:
            self._conversation.principal = None
            raise

    async def _still_entitled(self, transaction: Transaction) -> None:
        await still_entitled(self._services, transaction, self._peer_chain())

    def _peer_chain(self) -> tuple[x509.Certificate, ...]:
        found = self._wire.get_extra_info("peer_chain") if self._wire is not None else None
        return cast("tuple[x509.Certificate, ...]", found or ())

    def _origin(self, transaction: Transaction) -> Origin:
        """What is traced of the connection; a person's own address is not in the message."""
        wire = self._wire
        version = wire.get_extra_info("tls_version") if wire is not None else None
        cipher = wire.get_extra_info("tls_cipher") if wire is not None else None
        is_person = transaction.door is Door.SUBMISSION
        hop = Hop(
            greeting="localhost" if is_person else (self._conversation.greeting or ""),
            peer_address=None if is_person else self.address,
            host_name=self._services.settings.operator.host_name,
            tls_version=version,
            tls_cipher=cipher,
            authenticated=is_person,
            extended=self._conversation.extended,
            priority=transaction.command.priority,
        )
        return Origin(hop, self.address)
