"""Answers of threads to the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from mssmtp.awaiting import awaited


async def test_answers_that_come_together_wake_the_loop_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Future[int]] = [Future() for _ in range(50)]
    waiting = [awaited(answer) for answer in answers]
    woken: list[Callable[..., object]] = []
    loop = asyncio.get_running_loop()
    wake: Any = loop.call_soon_threadsafe

    def counted(call: Callable[..., object], *values: object) -> object:
        woken.append(call)
        return wake(call, *values)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)

    def answer_all() -> None:
        for number, answer in enumerate(answers):
            answer.set_result(number)

    thread = threading.Thread(target=answer_all)
    thread.start()
    thread.join()  # the loop stands still meanwhile, as it does when it is busy
    assert len(woken) == 1
    assert await asyncio.gather(*waiting) == list(range(50))


async def test_errors_and_cancellations_pass_in_both_directions() -> None:
    failing: Future[int] = Future()
    waiting = awaited(failing)
    failing.set_exception(LookupError("no"))
    with pytest.raises(LookupError):
        await waiting
    given_up: Future[int] = Future()
    task = asyncio.ensure_future(awaited(given_up))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert given_up.cancelled()


async def test_an_answer_after_the_end_of_the_loop_is_dropped() -> None:
    late: Future[int] = Future()
    other = asyncio.new_event_loop()

    async def ask() -> None:
        awaited(late)

    await asyncio.to_thread(other.run_until_complete, ask())
    other.close()
    late.set_result(1)
