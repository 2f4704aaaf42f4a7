"""One mail transaction as a client (RFC 5321 3.3), in as few waits as the peer allows.

With PIPELINING the envelope is one write; with CHUNKING a small letter goes along with it, and the
whole transaction is one write and one wait. What is half said when something breaks is for the
caller to cut off: nothing of it may become part of the next transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mssmtp.errors import Damaged
from mssmtp.smtp_wire import (
    DotStuffer,
    FinalReplyLost,
    PeerFailed,
    PeerReply,
    PeerViolates,
    Wire,
    from_reply,
)

BLOCK_OCTETS: Final = 262_144
"""Content is read and sent in blocks of this size; at most two are held."""
SMALL_OCTETS: Final = 65_536
"""A letter up to this size is sent along with its envelope: were every recipient refused, no more
than this was in vain."""
_TOGETHER: Final = 50
"""Commands in one group: the replies to more would wait for who writes while nobody reads."""


class Sent(Protocol):
    """What a letter is to a transaction."""

    @property
    def size_octets(self) -> int:
        """All of it."""
        ...

    @property
    def read(self) -> Callable[[int, int], Awaitable[bytes]]:
        """Octets [start, stop)."""
        ...

    @property
    def ending(self) -> Callable[[], None]:
        """Called before the last octets."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """Replies: one for each recipient, in order; to the message, if it came so far."""

    recipients: tuple[PeerReply, ...]
    final: PeerReply | None = None


class Transaction:
    """One transaction. `in_doubt`: the last octets went out and no answer came (D4)."""

    def __init__(self, wire: Wire, timeout_s: float, extensions: Mapping[str, str]) -> None:
        self._wire = wire
        self._timeout_s = timeout_s
        self._is_pipelined = "pipelining" in extensions
        self._is_chunked = "chunking" in extensions
        self.in_doubt = False

    async def run(self, mail: bytes, rcpts: Sequence[bytes], content: Sent) -> Said:
        """`mail` and `rcpts` are command lines. Raises PeerFailed, NotTransmissible, Damaged.

        Nothing is raised once the last octets are out: the final reply then tells of the doubt.
        """
        is_small = content.size_octets <= SMALL_OCTETS and len(rcpts) < _TOGETHER
        if self._is_chunked and self._is_pipelined and is_small:
            return await self._at_once(mail, rcpts, content)
        said = await self._envelope(mail, rcpts)
        if said.final is not None or not any(reply.is_positive for reply in said.recipients):
            return Said(said.recipients)
        final = await (self._chunks(content) if self._is_chunked else self._data(content))
        return Said(said.recipients, final)

    # ------------------------------------------------------------ the envelope

    async def _envelope(self, mail: bytes, rcpts: Sequence[bytes]) -> Said:
        """What the peer says of the recipients; the refusal of MAIL is said of them all."""
        step = _TOGETHER if self._is_pipelined else 1
        lines = [mail, *rcpts]
        replies: list[PeerReply] = []
        for start in range(0, len(lines), step):
            group = lines[start : start + step]
            replies += await self._asked(b"".join(group), len(group))
            if not replies[0].is_positive:
                return Said((replies[0],) * len(rcpts), replies[0])
        return Said(tuple(replies[1:]))

    async def _asked(self, octets: bytes, count: int) -> list[PeerReply]:
        self._wire.expect(count)
        await self._wire.put(octets, self._timeout_s)
        return [await self._wire.reply(self._timeout_s) for _ in range(count)]

    # ------------------------------------------------------------ the letter

    async def _at_once(self, mail: bytes, rcpts: Sequence[bytes], content: Sent) -> Said:
        """Envelope and letter in one write (RFC 3030 4.2): the peer must take the chunk also when
        it refuses every recipient, and delivers to those it has not refused."""
        letter = await _block(content, 0, content.size_octets)
        stuffer = DotStuffer()
        stuffer.check(letter)
        stuffer.checked()
        last = b"BDAT %d LAST\r\n" % len(letter)
        self._wire.expect(len(rcpts) + 2)
        self._begin_end(content)
        try:
            await self._wire.put(b"".join((mail, *rcpts, last, letter)), self._timeout_s)
            first, *said, final = await self._replies(len(rcpts))
        except PeerFailed:
            lost = from_reply(FinalReplyLost.smtp)
            return Said((lost,) * len(rcpts), lost)
        self.in_doubt = False
        if not first.is_positive:
            said = [first] * len(rcpts)
        if not any(reply.is_positive for reply in said):
            return Said(tuple(said))
        return Said(tuple(said), _final(final))

    async def _replies(self, rcpts: int) -> list[PeerReply]:
        """To MAIL, to each RCPT, to the letter: most peers send them together."""
        replies = [await self._wire.reply(self._timeout_s)]
        if (rest := self._wire.came(rcpts + 1)) is not None:
            return replies + rest
        replies += [await self._wire.reply(self._timeout_s) for _ in range(rcpts)]
        # RFC 5321 4.5.3.2.6: the final reply may take twice as long as any other.
        return [*replies, await self._wire.reply(2 * self._timeout_s)]

    async def _chunks(self, content: Sent) -> PeerReply:
        """The letter in chunks, one wait for each; a refused one ends it (RFC 3030 2)."""
        stuffer, sent = DotStuffer(), 0
        async for block in _blocks(content):
            octets = stuffer.check(block)
            sent += len(octets)
            is_last = sent == content.size_octets
            if is_last:
                stuffer.checked()
                self._begin_end(content)
            line = b"BDAT %d%b\r\n" % (len(octets), b" LAST" if is_last else b"")
            try:
                reply = (await self._asked(line + octets, 1))[0]
            except PeerFailed as error:
                if is_last:
                    return from_reply(FinalReplyLost.smtp)
                raise error
            self.in_doubt = False
            if is_last or not reply.is_positive:
                return _final(reply)
        raise Damaged("no content")

    async def _data(self, content: Sent) -> PeerReply:
        """The letter behind DATA, stuffed (RFC 5321 4.5.2)."""
        (go,) = await self._asked(b"DATA\r\n", 1)
        if go.code != 354:
            if go.code < 400:  # neither a refusal nor an invitation
                raise PeerViolates("unexpected answer to DATA")
            return go
        wire, stuffer = self._wire, DotStuffer()
        wire.expect(1)
        async for block in _blocks(content):
            await wire.put(stuffer.feed(block), self._timeout_s)
            if wire.has_answered:
                return await self._early()
        end = stuffer.finish()
        if wire.has_answered:
            return await self._early()
        self._begin_end(content)
        try:
            await wire.put(end, self._timeout_s)
            final = await wire.reply(2 * self._timeout_s)
        except PeerFailed:
            return from_reply(FinalReplyLost.smtp)
        self.in_doubt = False
        return _final(final)

    async def _early(self) -> PeerReply:
        """A reply before the dot: a refusal counts, anything else is nonsense. Without the dot the
        peer must forget the message (RFC 5321 4.1.1.4)."""
        reply = await self._wire.reply(1.0)
        self._wire.abort()
        if reply.code < 400:
            raise PeerViolates("accepted before the end of the message")
        return reply

    def _begin_end(self, content: Sent) -> None:
        content.ending()
        self.in_doubt = True


def _final(reply: PeerReply) -> PeerReply:
    if 300 <= reply.code < 400:
        raise PeerViolates("unexpected answer to the message")
    return reply


async def _blocks(content: Sent) -> AsyncIterator[bytes]:
    for start in range(0, content.size_octets, BLOCK_OCTETS):
        yield await _block(content, start, min(start + BLOCK_OCTETS, content.size_octets))


async def _block(content: Sent, start: int, stop: int) -> bytes:
    block = await content.read(start, stop) if stop > start else b""
    if len(block) != stop - start:
        raise Damaged("content is shorter than announced")
    return block
