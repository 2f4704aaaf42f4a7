"""One thread of the soak: asks the store something, and writes down what it said.

`Hand.write` and `Hand.read` put the question; what is asked is drawn in `play`. Every transaction
also notes the versions of what it touches, before and after: that is how a serial order is found
again later without any lock of our own.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from mssmtp.errors import MailError
from mssmtp.mail import BalId, EnvelopeId, MailboxId
from mssmtp.storage import Letter, QueueEntry, Reading, Store, Writing
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import bals, sql
from tests.soak.journal import GONE, NEW, Journal, Touched, Version
from tests.soak.reference import entries_version, names_version

_LAST_VALIDITY = sql(select(bals.c.last_uid_validity).where(bals.c.id == bindparam("bal")))


class Undone(Exception):
    """Raised by a job on purpose, after it has written."""


Body = Callable[[Writing], Any]
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A job under way."""

    number: int
    future: Future[Any]


class Hand:
    """The journal and the store of one thread."""

    def __init__(self, store: Store, journal: Journal, chance: random.Random) -> None:
        self.store = store
        self.journal = journal
        self.chance = chance
        self._asked: list[Asked] = []

    def ask(
        self,
        act: str,
        arguments: dict[str, Any],
        body: Body,
        resources: Iterable[str] | Callable[[Writing], Iterable[str]],
        made: Callable[[Any], Iterable[str]] = lambda result: (),
        met: Callable[[Any], Iterable[str]] = lambda result: (),
    ) -> Asked:
        """Submit a job. From its result: `made` names what it made, `met` what it only met."""
        number = self.journal.begin(act, arguments)

        def job(view: Writing) -> Any:
            names = list(resources(view) if callable(resources) else resources)
            before = {name: version(view, name) for name in names}
            try:
                result = body(view)
            except (MailError, Undone):
                self.journal.ran(number, [(name, v, v) for name, v in before.items()], None)
                raise
            touched: Touched = [(name, v, version(view, name)) for name, v in before.items()]
            touched += [(name, NEW, version(view, name)) for name in made(result)]
            found = {name: version(view, name) for name in met(result)}
            touched += [(name, v, v) for name, v in found.items()]
            self.journal.ran(number, touched, result)
            return result

        return Asked(number, self.store.write(job))

    def write(self, *question: Any, **more: Any) -> Any:
        """Submit a job and wait; None when it was refused."""
        return self.answer(self.ask(*question, **more))

    def answer(self, asked: Asked) -> Any:
        """Wait for a job and note what became of it."""
        try:
            result = asked.future.result(PATIENCE_S)
        except (MailError, Undone) as error:
            self.journal.end(asked.number, type(error).__name__)
            return None
        self.journal.end(asked.number)
        return result

    def read(
        self,
        act: str,
        arguments: dict[str, Any],
        query: Callable[[Reading], Any],
        resources: Iterable[str],
    ) -> Any:
        """Run a query on one snapshot; the versions are read last, from the same snapshot."""
        number = self.journal.begin(act, arguments)

        def job(view: Reading) -> Any:
            result = query(view)
            seen = [(name, version(view, name)) for name in resources]
            self.journal.ran(number, [(name, v, v) for name, v in seen], result)
            return result

        return self.answer(Asked(number, self.store.read(job)))

    def letter(self, octets: bytes) -> tuple[Letter, dict[str, Any]]:
        """A sealed letter, and what the reference has to know of it."""
        letter = self.store.seal(octets)
        return letter, {
            "id": letter.blob.id.hex(),
            "sha": short(octets),
            "summary": short(letter.summary),
            "size": len(octets),
        }


def short(octets: bytes) -> str:
    """Enough of a digest to tell contents apart."""
    return hashlib.sha256(octets).hexdigest()[:16]


def version(view: Reading, name: str) -> Version:
    """The version of a resource in this transaction."""
    kind, _, id = name.partition(":")
    if kind == "bal":
        # Names alone may come back; a UIDVALIDITY never does.
        row = view._one(_LAST_VALIDITY, bal=int(id))
        return f"{row and row[0]}|{names_version(names(view, int(id)))}"
    if kind == "env":
        return entries_version(entries(view.queue_entry(EnvelopeId(id))))
    mailbox = view.mailbox_by_id(MailboxId(int(id)))
    if mailbox is None:
        return GONE
    return mailbox.highest_modseq if kind == "box" else mailbox.recent_from


def names(view: Reading, bal: int) -> dict[str, int]:
    """Names and ids of the mailboxes of a BAL."""
    return {mailbox.name: mailbox.id for mailbox in view.mailboxes(BalId(bal))}


def entries(found: Iterable[QueueEntry]) -> list[list[Any]]:
    """What waits, as the reference keeps it. Leases depend on the time: they are left out."""
    return [[str(one.recipient.address), one.attempts, to_us(one.next_attempt)] for one in found]
