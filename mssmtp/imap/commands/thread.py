"""THREAD and UID THREAD (RFC 5256 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.errors import BadSyntax
from mssmtp.imap import keys, threads
from mssmtp.imap.command import Command, Done
from mssmtp.imap.commands.search import aware
from mssmtp.imap.commands.sort import worked
from mssmtp.imap.effects import Steps, read, send
from mssmtp.imap.keys import And
from mssmtp.imap.looking import Look, beside, looked_for
from mssmtp.imap.progress import Progress
from mssmtp.imap.results import Answer
from mssmtp.imap.search import has_numbers
from mssmtp.imap.session import Session
from mssmtp.imap.syntax import Cursor
from mssmtp.imap.threads import Threader
from mssmtp.mail import MailboxId

if TYPE_CHECKING:
    from mssmtp.storage import Reading


@dataclass(frozen=True, slots=True)
class Thread(Command):
    """Searches, then puts together what it found."""

    algorithm: str
    key: And
    by_uid: bool

    @property
    def withholds_expunge(self) -> bool:
        # RFC 7162 3.2.10.2: numbers among the keys of a UID command must not move, either.
        return not self.by_uid or has_numbers(self.key)

    def run(self, session: Session, tag: bytes) -> Steps[Done]:
        selected = session.selected
        progress = Progress(session, tag)
        look = Look(session, progress, session.selected)
        yield from aware(session, self.key)
        found = yield from looked_for(look, self.key, None)
        threader = Threader(self.algorithm)
        for start in range(0, len(found), threads.BATCH):
            some = found.positions[start : start + threads.BATCH]
            uids = [selected.view.uids[at] for at in some]
            yield from read(_Taking(threader, selected.mailbox.id, uids), is_long=True)
            yield from progress.told(start + len(some), len(found))
        forest = yield from worked(threader.threads(), progress)
        answer = Answer(selected.view, self.by_uid, tag)
        lists = yield from beside(
            len(found),
            lambda: threads.rendered(forest, tuple(answer.numbers(found.positions))),
        )
        yield from send(b"* THREAD%b%b\r\n" % (b" " if lists else b"", lists))
        return Done(b"THREAD completed")


@dataclass(frozen=True, slots=True)
class _Taking:
    """`Threader.take` with its arguments, for a reading thread."""

    threader: Threader
    mailbox: MailboxId
    uids: Sequence[int]

    def __call__(self, reading: Reading) -> None:
        self.threader.take(reading, self.mailbox, self.uids)


def _parse(cursor: Cursor, *, by_uid: bool) -> Thread:
    algorithm = cursor.word()
    if algorithm not in threads.ALGORITHMS:
        raise BadSyntax("unknown threading algorithm")
    cursor.space()
    return Thread(algorithm, keys.parse_criteria(cursor), by_uid)


def parse(cursor: Cursor) -> Thread:
    """`thread-alg SP charset SP keys`."""
    return _parse(cursor, by_uid=False)


def parse_uid(cursor: Cursor) -> Thread:
    """The same; UIDs are answered."""
    return _parse(cursor, by_uid=True)
