"""Answers of threads to an event loop: many that come together wake it once.

`asyncio.wrap_future` wakes the loop for each answer and keeps both futures in step; of a group
commit all answers come at the same moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")

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
