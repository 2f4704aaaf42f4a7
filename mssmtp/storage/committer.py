"""Group commit: one thread writes everything that waits in one transaction and syncs once.

The committers of several processes take turns: beside SQLite they queue in the kernel for a file
lock instead of polling the database's own (measured p99 240 ms); PostgreSQL queues them itself at
BEGIN. Each job has its savepoint, so that one that fails harms no other; an answer is given only
after COMMIT returned (D1).
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mssmtp import metrics
from mssmtp.errors import StorageBehind, StorageUnavailable
from mssmtp.mail import Change
from mssmtp.storage import deadlines
from mssmtp.storage.changes import forget_changes, write_changes
from mssmtp.storage.database import refusal
from mssmtp.storage.deadlines import Answer, Deadlines
from mssmtp.storage.engine import Connection, Engine, Rung
from mssmtp.storage.rows import Rows, RowsRefused
from mssmtp.storage.view import Effects, WritingView

logger = logging.getLogger(__name__)

T = TypeVar("T")
W = TypeVar("W", bound=WritingView)

MAX_WAITING = 2_048
MAX_WAITING_OCTETS = 64 * 1_048_576
"""Content in memory whose commit is waited for."""
BEHIND_S = 2.0
"""A commit under way for so long is a disk that does not keep up."""
MAX_BATCH = 256
HOLD_S = 0.004
"""A group waits so long for letters that are being received: together they cost one sync, one turn
and one change of threads. Nobody waits for a letter alone."""
COMMITS_BETWEEN_PRUNING = 1_000
_LOOK_AT_LOCK_S = 0.02


@contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Hold the home's commit lock, to open a store. Raises StorageUnavailable after 8 s (CL-79).

    Committers wait for it in the kernel, where their answers expire by themselves.
    """
    number = os.open(home / "commit.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until_s = time.monotonic() + deadlines.ANSWER_WITHIN_S
    try:
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until_s:
                    raise StorageUnavailable("another process holds commit.lock") from error
                time.sleep(_LOOK_AT_LOCK_S)
        yield
    finally:
        os.close(number)


@dataclass(slots=True)
class _Waiting(Generic[W]):
    job: Callable[[W], Any]
    octets: int
    answer: Answer[Any]
    raised: BaseException | None = None
    """Told only after the commit: the job saw what the jobs before it in the batch had written."""


@dataclass(slots=True)
class _Done:
    answer: Answer[Any]
    result: object
    effects: Effects


class Committer(Generic[W]):
    """The one writing thread of a process. `view` makes the view a job gets."""

    def __init__(
        self,
        db: Connection,
        engine: Engine,
        view: Callable[[Rows], W],
        rolled_back: Callable[[], None],
        unlink: Callable[[Effects], None],
        answers: Deadlines,
    ) -> None:
        self._db = db
        self._view = view
        self._rolled_back = rolled_back
        self._unlink = unlink
        self._answers = answers
        self._bell = engine.bell()
        self._turn = engine.turn()
        # Its limit is looked at in `submit`: a queue that knows one takes and gives away four locks
        # for every job, between the event loop and the committer.
        self._queue: queue.SimpleQueue[_Waiting[W] | None] = queue.SimpleQueue()
        self._closing = False
        self._gate = threading.Lock()
        self._commits = 0
        self._octets = 0
        self._began_s: float | None = None
        self.coming = 0
        """Letters that are being received or written; changed by one thread, the doors'."""
        self._thread = threading.Thread(target=self._loop, name="store-committer", daemon=True)
        self._thread.start()

    @property
    def is_behind(self) -> bool:
        """Half of what may wait is waiting, or the disk does not answer: begin nothing new."""
        began_s = self._began_s
        return (
            self._octets > MAX_WAITING_OCTETS // 2
            or self._queue.qsize() > MAX_WAITING // 2
            or (began_s is not None and time.monotonic() - began_s > BEHIND_S)
        )

    def submit(self, job: Callable[[W], T], octets: int = 0) -> Future[T]:
        """Queue a job that holds `octets` in memory.

        Its future fails with StorageBehind at once when too much waits.
        """
        future: Future[T] = Future()
        with self._gate:  # nothing is queued behind the end
            if self._closing:
                future.set_exception(StorageUnavailable("the store is closed"))
                return future
            is_too_much = self._octets and self._octets + octets > MAX_WAITING_OCTETS
            if is_too_much or self._queue.qsize() >= MAX_WAITING:
                future.set_exception(StorageBehind())
                return future
            self._octets += octets
            self._queue.put(_Waiting(job, octets, self._answers.expect(future)))
        return future

    def close(self) -> None:
        """Finish what waits, then stop."""
        with self._gate:
            self._closing = True
        self._queue.put(None)
        self._thread.join()
        self._bell.close()
        self._turn.close()
        self._db.close()

    def _loop(self) -> None:
        while (first := self._queue.get()) is not None:
            self._began_s = time.monotonic()
            waiting = [first]
            self._gather(waiting, self._began_s + HOLD_S)
            self._commit(waiting)
            self._began_s = None
            with self._gate:
                self._octets -= sum(one.octets for one in waiting)

    def _gather(self, waiting: list[_Waiting[W]], until_s: float) -> None:
        """Add what waits to `waiting`, and what comes until then while letters are coming."""
        while len(waiting) < MAX_BATCH:
            hold_s = until_s - time.monotonic() if self.coming > len(waiting) else 0.0
            try:
                one = self._queue.get(hold_s > 0, hold_s)
            except queue.Empty:
                return
            if one is None:
                self._queue.put(None)  # the end is behind everything else
                return
            waiting.append(one)

    def _commit(self, gathered: list[_Waiting[W]]) -> None:
        started = time.perf_counter()
        waiting = gathered
        done: list[_Done] = []
        try:
            with self._turn:
                # Another process may have had the turn for a while.
                self._gather(gathered, 0.0)
                # Behind a lock that was long in coming nobody may be waiting any more (CL-79).
                waiting = [one for one in gathered if one.answer.begin()]
                if not waiting:
                    return
                done = self._together(waiting)
        except BaseException as error:  # the batch failed as a whole; the thread goes on
            self._fail(waiting, error)
            return
        self._answer(done)
        for one in waiting:
            if one.raised is not None:
                self._fail([one], one.raised)
        try:
            metrics.commit_seconds.observe(time.perf_counter() - started)
            metrics.commit_jobs.observe(len(waiting))
            self._tidy(done)
        except Exception:  # committed and answered: tidying can be done again later
            logger.exception("tidying after a commit failed")

    def _together(self, waiting: list[_Waiting[W]]) -> list[_Done]:
        """All jobs in one transaction; their rows are written when all have run."""
        try:
            return self._transaction(waiting, alone=False)
        except RowsRefused:
            logger.warning("rows of a group were refused: every job writes its own")
            for one in waiting:
                one.raised = None
            return self._transaction(waiting, alone=True)

    def _transaction(self, waiting: list[_Waiting[W]], *, alone: bool) -> list[_Done]:
        db = self._db
        if db.in_transaction:  # what ended the one before could not even undo it
            db.execute("ROLLBACK")
        db.execute("BEGIN IMMEDIATE")
        done: list[_Done] = []
        rows = Rows(db)
        try:
            # The lock of the database may have been long in coming, too (CL-79, D4).
            for one in [one for one in waiting if one.answer.goes_on()]:
                self._run(one, done, rows, alone=alone)
            rows.write()
            changes = [change for one in done for change in one.effects.changes]
            if changes:
                write_changes(db, _latest(changes))
            if rung := _rung(done):
                self._bell.announce(db, rung)
            self._commits += 1
            if self._commits % COMMITS_BETWEEN_PRUNING == 0:
                forget_changes(db)
        except BaseException:
            for finished in done:
                self._undo(finished.effects)
            self._roll_back()
            raise
        try:
            db.execute("COMMIT")
        except BaseException:
            # Whether it reached the disk is not known: what happens to files is the sweep's to say.
            for finished in done:
                for blob in finished.effects.adopted:
                    blob.keep()
            self._roll_back()
            raise
        return done

    def _run(self, one: _Waiting[W], done: list[_Done], rows: Rows, *, alone: bool) -> None:
        """One job in its savepoint. Raises only when the whole transaction is lost.

        `alone`: with its rows, so that they fail this job and no other.
        """
        db = self._db
        view = self._view(rows)
        mark = rows.mark()
        db.execute("SAVEPOINT job")
        try:
            result = one.job(view)
            if alone:
                rows.write()
        except BaseException as error:
            try:
                if not db.in_transaction:  # the engine rolled everything back (full disk)
                    raise
                db.execute("ROLLBACK TO job")
                db.execute("RELEASE job")
                rows.back(mark)
            except BaseException:
                self._undo(view.effects)
                raise
            self._undo(view.effects)
            if isinstance(error, RowsRefused):
                if not alone:
                    raise  # whose they were is not known
                error = error.__cause__ or error
            one.raised = error
        else:
            db.execute("RELEASE job")
            done.append(_Done(one.answer, result, view.effects))

    def _undo(self, effects: Effects) -> None:
        self._rolled_back()
        for blob in effects.adopted:
            blob.withdraw()

    def _roll_back(self) -> None:
        self._rolled_back()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _fail(self, waiting: list[_Waiting[W]], error: BaseException) -> None:
        answer = refusal(error)
        if isinstance(answer, StorageUnavailable) or answer is not error:
            logger.error("nothing was written: %s", type(error).__name__)
        for one in waiting:
            one.answer.fail(answer)

    def _answer(self, done: list[_Done]) -> None:
        """Before anything else: somebody waits for it. Only the bell is rung first: its calls give
        the interpreter away, and behind the answers the loop would fight for it at each."""
        for one in done:
            for call in one.effects.first:
                call()
        if rung := _rung(done):
            self._bell.ring(rung)
        for one in done:
            for blob in one.effects.adopted:
                blob.keep()
            one.answer.give(one.result)

    def _tidy(self, done: list[_Done]) -> None:
        for one in done:
            try:
                self._unlink(one.effects)
                for call in one.effects.after:
                    call()
            except Exception:  # the others' files must go all the same
                logger.exception("tidying after a job failed")


def _rung(done: list[_Done]) -> Rung:
    rung = Rung.NOTHING
    if any(one.effects.changes for one in done):
        rung |= Rung.CHANGES
    if any(one.effects.queued for one in done):
        rung |= Rung.QUEUE
    return rung


def _latest(changes: list[Change]) -> list[Change]:
    """One change per mailbox and kind: the one with the highest modseq, in first order."""
    latest: dict[tuple[str, int, int], Change] = {}
    for change in changes:
        key = (change.kind.value, change.bal, change.mailbox)
        known = latest.get(key)
        if known is None or change.modseq > known.modseq:
            latest[key] = change
    return list(latest.values())
