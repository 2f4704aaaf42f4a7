"""Words between two steps of a command that takes long (RFC 9585)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mssmtp.imap import responses
from mssmtp.imap.effects import Steps, send
from mssmtp.imap.session import Session

PROGRESS_S = 5.0
"""R06: a client that hears nothing for so long may give up."""


@dataclass(slots=True)
class Progress:
    """Says that the command `tag` goes on, when nothing was heard for a while (R06)."""

    session: Session
    tag: bytes
    text: bytes = b"Still searching"
    _told_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._told_at = self.session.clock.monotonic()

    def told(self, done: int = 0, goal: int = 0) -> Steps[None]:
        """To be called between whole responses; `done` messages of `goal`, 0 when nobody knows."""
        now = self.session.clock.monotonic()
        if now - self._told_at < PROGRESS_S:
            return
        self._told_at = now
        # RFC 9585 4: NIL for what is not known, and never more done than there is to do.
        parts = b"%d %d" % (done, goal) if done < goal else b"NIL NIL"
        code = b'INPROGRESS ("%b" %b)' % (self.tag, parts)
        yield from send(responses.untagged(b"OK", self.text, code))
