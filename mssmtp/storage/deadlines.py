"""No answer of the store comes later than `ANSWER_WITHIN_S`, whatever it waits for (CL-79).

A lock held by a process that was stopped, a disk or a database that does not answer: a thread that
waits in the kernel can be neither interrupted nor given up. What can is the waiting for it: the
future fails with StorageUnavailable, the door answers, and the thread goes on when it can.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Generic, TypeVar

from mssmtp.errors import StorageUnavailable

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 8.0
_LOOK_EVERY_S = 0.5
_LEFT_SHARE = 8
"""What has less than this share of its time left when its turn comes is not begun any more."""
_IMPATIENT_SHARE = 8
"""While nothing is answered, new ones wait this share of the time only: whole pools of threads
wait for the store, and who queues for one of them must be told in time too."""
_COMPUTING_SHARE = 200
"""A thread that computed for this share of its time works, and is not stuck."""

T = TypeVar("T")


class Answer(Generic[T]):
    """What somebody waits for. Given too late, it is dropped: a temporary failure was told."""

    __slots__ = ("_cpu_clock", "_cpu_s", "_deadlines", "_late_s", "due_s", "future")

    def __init__(self, future: Future[T], deadlines: Deadlines, within_s: float) -> None:
        self.future: Future[T] | None = future
        self.due_s = time.monotonic() + within_s
        self._late_s = self.due_s - within_s / _LEFT_SHARE
        self._deadlines = deadlines
        self._cpu_clock: int | None = None
        self._cpu_s = 0.0

    def begin(self) -> bool:
        """The calling thread starts on it. False: cancelled or too late, nobody waits for it."""
        with self._deadlines.lock:
            future = self.future
            if future is None or (future.done() and not future.cancelled()) or self._is_late():
                return False
            self._cpu_clock = time.pthread_getcpuclockid(threading.get_ident())
            self._cpu_s = time.thread_time()
            return future.set_running_or_notify_cancel()

    def goes_on(self) -> bool:
        """The calling thread has waited since `begin`. False: it is too late by now."""
        with self._deadlines.lock:
            future = self.future
            return not (future is None or future.done() or self._is_late())

    def _is_late(self) -> bool:
        """Begun now it could end after its deadline, and be repeated by who was refused."""
        if time.monotonic() <= self._late_s:
            return False
        self.fail(StorageUnavailable("no turn in time"))
        return True

    def give(self, result: T) -> None:
        """Resolve the future."""
        future, self.future = self.future, None
        self._deadlines.is_stuck = False
        try:
            if future is not None:
                future.set_result(result)
        except InvalidStateError:
            logger.warning("done, but too late: a temporary failure was answered")

    def fail(self, error: BaseException) -> None:
        """Fail the future."""
        future, self.future = self.future, None
        try:
            if future is not None:
                future.set_exception(error)
        except InvalidStateError:
            return  # a temporary failure was answered: as true as this one

    def expire(self, now_s: float) -> bool:
        """Give up the waiting; False when the thread at work is computing, not waiting."""
        future = self.future
        if future is None or future.done():
            return True
        if self._cpu_clock is not None:
            used_s = time.clock_gettime(self._cpu_clock)
            if used_s - self._cpu_s > self._deadlines.within_s / _COMPUTING_SHARE:
                self._cpu_s = used_s
                self.due_s = now_s + self._deadlines.within_s
                return False
        try:
            future.set_exception(StorageUnavailable("no answer in time"))
        except InvalidStateError:
            return True  # answered or cancelled at this moment
        self._deadlines.is_stuck = True
        logger.error("no answer in time: a temporary failure is told")
        return True


class Deadlines:
    """The answers of one store, and the thread that looks after them."""

    def __init__(self, within_s: float, beside: Callable[[], None] = lambda: None) -> None:
        """`beside`: done at every look, twice a second; raises nothing and waits for nothing."""
        self.within_s = within_s
        self._beside = beside
        self.lock = threading.Lock()
        self.is_stuck = False
        """An answer was given up, and none was given since."""
        self._answers: deque[Answer[Any]] = deque()
        self._impatient: deque[Answer[Any]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-deadlines", daemon=True)
        self._thread.start()

    def expect(self, future: Future[T], *, is_read: bool = False) -> Answer[T]:
        """`future` fails unless it is answered in time.

        A write is never given up early: one that is committed all the same comes twice.
        """
        if is_read and self.is_stuck:
            self._impatient.append(answer := Answer(future, self, self.within_s / _IMPATIENT_SHARE))
        else:
            self._answers.append(answer := Answer(future, self, self.within_s))
        return answer

    def close(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(min(_LOOK_EVERY_S, self.within_s / 4)):
            now_s = time.monotonic()
            self._look(self._answers, now_s)
            self._look(self._impatient, now_s)
            self._beside()

    def _look(self, answers: deque[Answer[Any]], now_s: float) -> None:
        """In the order they are due; those that were answered leave when they come to the front."""
        while answers:
            first = answers[0]
            if first.future is not None and first.due_s > now_s:
                return
            answers.popleft()
            with self.lock:
                is_over = first.expire(now_s)
            if not is_over:
                self._answers.append(first)
