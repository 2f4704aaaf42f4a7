"""Answers of threads to an event loop: many that come together wake it once, and many that are
asked for together are one question.

`asyncio.wrap_future` wakes the loop for each answer and keeps both futures in step; of a group
commit all answers come at the same moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

_inboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Inbox] = WeakKeyDictionary()


class _Inbox:
    """What threads have answered and one loop has not taken yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._answers: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._is_woken = False

    def put(self, waiter: asyncio.Future[Any], answer: Future[Any]) -> None:
        self._answers.append((waiter, answer))
        if not self._is_woken:
            self._is_woken = True
            loop = self._loop()
            with suppress(RuntimeError):  # the loop has ended: nobody waits
                if loop is not None:
                    loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        # Before the first is taken: what is put from now on wakes again.
        self._is_woken = False
        while self._answers:
            waiter, answer = self._answers.popleft()
            if not waiter.done():
                _settle(waiter, answer)


def _settle(waiter: asyncio.Future[Any], answer: Future[Any]) -> None:
    if answer.cancelled():
        waiter.cancel()
    elif (error := answer.exception()) is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(answer.result())


def awaited(answer: Future[T]) -> asyncio.Future[T]:
    """`answer` for the running loop; who is cancelled while waiting cancels it, if it can be."""
    loop = asyncio.get_running_loop()
    inbox = _inboxes.get(loop)
    if inbox is None:
        inbox = _inboxes[loop] = _Inbox(loop)
    put, waiter = inbox.put, loop.create_future()
    answer.add_done_callback(lambda done: put(waiter, done))

    def give_up(ended: asyncio.Future[T]) -> None:
        if ended.cancelled():
            with suppress(CancelledError):
                answer.cancel()

    waiter.add_done_callback(give_up)
    return waiter


class Gathering(Generic[Q, A]):
    """Questions that come while another is being answered go together, at most `most` of them.

    `work` answers several, in their order; at most `at_once` times at once. Who stops waiting for
    an answer takes nothing back: what was asked is done. One event loop.
    """

    def __init__(
        self,
        work: Callable[[list[Q]], asyncio.Future[Sequence[A]]],
        *,
        most: int,
        at_once: int = 1,
    ) -> None:
        self._work, self._most, self._at_once = work, most, at_once
        self._asked: list[tuple[Q, asyncio.Future[A]]] = []
        self._under_way = 0
        self._is_called = False

    def ask(self, what: Q) -> asyncio.Future[A]:
        """The answer, or what `work` raised."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._asked.append((what, answer))
        if not self._is_called and self._under_way < self._at_once:
            self._is_called = True
            loop.call_soon(self._begin)  # behind whoever asks in the same round of the loop
        return answer

    def hurry(self) -> None:
        """Begin with all that was asked: at the end, nothing waits for its turn."""
        while self._asked:
            self._go_on()

    def _begin(self) -> None:
        self._is_called = False
        while self._asked and self._under_way < self._at_once:
            self._go_on()

    def _go_on(self) -> None:
        some, self._asked = self._asked[: self._most], self._asked[self._most :]
        try:
            working = self._work([what for what, _ in some])
        except Exception as error:
            for _, answer in some:
                if not answer.done():
                    answer.set_exception(error)
            return
        self._under_way += 1
        working.add_done_callback(partial(self._answer, [answer for _, answer in some]))

    def _answer(
        self, waiting: list[asyncio.Future[A]], working: asyncio.Future[Sequence[A]]
    ) -> None:
        self._under_way -= 1
        if working.cancelled():
            for answer in waiting:
                answer.cancel()
        elif (error := working.exception()) is not None:
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for answer, result in zip(waiting, working.result(), strict=True):
                if not answer.done():
                    answer.set_result(result)
        self._begin()
