"""Requests -> the store: shown only, one by one, or all in one transaction (DEF-10).

One by one, a line is one job of the committer: whole or not at all, many in one sync, and mail goes
on between them. All or nothing is one transaction: while it lasts nobody else writes, and peers are
told to come again (451) as behind a disk that does not keep up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from mssmtp.bulk.boxes import box_step
from mssmtp.bulk.columns import KEY, Column, Problem
from mssmtp.bulk.persons import person_step
from mssmtp.bulk.report import Outcome, Told
from mssmtp.bulk.request import Request
from mssmtp.bulk.steps import Done, Promised, Step, refused
from mssmtp.mail import Structure
from mssmtp.people.rules import Rules
from mssmtp.storage import BalExists, Reading, Store, Writing
from mssmtp.storage.people_values import PersonExists

IN_FLIGHT = 128
"""Jobs that wait for the committer at once: a quarter second of its work, so that a letter which
comes meanwhile is not kept waiting."""

Reaches = Callable[[Structure], bool]
"""Whether who loads administers this structure (SEED-38)."""
Welcomes = Callable[[Writing, Request, Done, Structure], None]
"""Told inside the transaction of a line that made an account: its activation link (SEED-40)."""


class _Undone(Exception):
    """All or nothing, and one line was refused: the transaction is taken back."""

    def __init__(self, told: list[Told]) -> None:
        super().__init__("a line was refused")
        self.told = told


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads for one administrator; `author` is the name that traces say."""

    store: Store
    author: str
    reaches: Reaches
    welcomes: Welcomes
    rules: Rules

    def shown(self, requests: Sequence[Request], people: Collection[str] = ()) -> list[Told]:
        """What each would do now; nothing is written.

        Each sees what those before it would make. `people`: what earlier calls have shown of the
        same file, usual addresses and idNatPS.
        """

        def query(reading: Reading) -> list[Told]:
            found: list[Told] = []
            promised = Promised(people=set(people))
            for request in requests:
                structure = self._structure(reading, request)
                step = self._step(reading, request, structure, promised)
                if step.outcome is Outcome.CREATED:
                    promised.add(request, step.address)
                found.append(step.told(request))
            return found

        return self.store.read(query).result()

    def each(self, requests: Sequence[Request]) -> Iterator[Told]:
        """Apply each by itself, in this order; a refused one hinders no other.

        Raises StorageUnavailable and its like: then the rest is not begun.
        """
        waiting: deque[tuple[Request, Future[Told]]] = deque()
        for request in requests:
            waiting.append((request, self.store.write(self._job(request))))
            if len(waiting) == IN_FLIGHT:
                yield _answer(*waiting.popleft())
        while waiting:
            yield _answer(*waiting.popleft())

    def whole(self, requests: Sequence[Request]) -> list[Told]:
        """Apply all, or none when one is refused; the report says which.

        What is refused as things are is found before anybody else has to wait.
        """
        told = self.shown(requests)
        if any(each.outcome is Outcome.REFUSED for each in told):
            return told

        def job(writing: Writing) -> list[Told]:
            found = [self._job(request)(writing) for request in requests]
            if any(told.outcome is Outcome.REFUSED for told in found):
                raise _Undone(found)
            return found

        try:
            return self.store.write(job).result()
        except _Undone as undone:
            return undone.told

    def _job(self, request: Request) -> Callable[[Writing], Told]:
        def job(writing: Writing) -> Told:
            structure = self._structure(writing, request)
            step = self._step(writing, request, structure, Promised())
            if step.take is None or structure is None:
                return step.told(request)
            done = step.take(writing)
            if step.outcome is Outcome.CREATED and done.account is not None:
                self.welcomes(writing, request, done, structure)
            writing.trace(
                "administration",
                self.author,
                f"bal.load {request.verb} {request.type} {done.address}",
                account=done.account,
                bal=done.bal,
                structure=structure.id,
            )
            return step.told(request, done)

        return job

    def _structure(self, reading: Reading, request: Request) -> Structure | None:
        found = reading.structure_by_number(request.structure)
        # ATT-24: a structure out of reach is answered like one that does not exist.
        if found is None or found.is_closed or not self.reaches(found):
            return None
        return found

    def _step(
        self,
        reading: Reading,
        request: Request,
        structure: Structure | None,
        promised: Promised,
    ) -> Step:
        if structure is None:
            return refused(
                Column.STRUCTURE, "aucune structure que vous administrez n'a ce FINESS ou SIRET"
            )
        if KEY[request.type] is Column.USUAL:
            if request.usual is not None and request.usual.domain in self.rules.served:
                return refused(
                    Column.USUAL,
                    "c'est une adresse MSSanté, où codes et avis n'arriveraient pas ; donnez"
                    " l'adresse de messagerie ordinaire",
                )
            return person_step(reading, request, structure, promised)
        return box_step(reading, request, structure, self.rules, promised)


def _answer(request: Request, future: Future[Told]) -> Told:
    """Somebody else may have taken an address or a number since it was looked for."""
    try:
        return future.result()
    except (BalExists, PersonExists) as taken:
        return Told.of(request, Outcome.REFUSED, (Problem("", taken.reply.text),))
