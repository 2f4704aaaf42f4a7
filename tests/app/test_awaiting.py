"""Answers of threads to the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from mssmtp.awaiting import Gathering, awaited


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


class Asked:
    """Work that is done when a test says so."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.answers: list[asyncio.Future[Sequence[int]]] = []

    def __call__(self, several: list[int]) -> asyncio.Future[Sequence[int]]:
        self.together.append(several)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    def answer(self, number: int) -> None:
        self.answers[number].set_result([10 * each for each in self.together[number]])


async def test_what_is_asked_while_another_is_answered_goes_together() -> None:
    work = Asked()
    gathering = Gathering(work, most=3)
    waiting = [gathering.ask(1), gathering.ask(2)]
    assert work.together == [], "whoever asks in the same round goes along"
    await asyncio.sleep(0)
    waiting += [gathering.ask(number) for number in (3, 4, 5, 6)]
    await asyncio.sleep(0)
    assert work.together == [[1, 2]]
    work.answer(0)
    assert await asyncio.gather(*waiting[:2]) == [10, 20]
    assert work.together == [[1, 2], [3, 4, 5]]
    work.answer(1)
    assert await asyncio.gather(*waiting[2:5]) == [30, 40, 50]
    work.answer(2)
    assert await waiting[5] == 60


async def test_who_stops_waiting_takes_nothing_back_and_errors_reach_all() -> None:
    work = Asked()
    gathering = Gathering(work, most=9)
    left, stays = gathering.ask(1), gathering.ask(2)
    left.cancel()
    await asyncio.sleep(0)
    assert work.together == [[1, 2]]
    later = gathering.ask(3)
    gathering.hurry()
    assert work.together == [[1, 2], [3]], "at the end nothing waits for its turn"
    work.answers[0].set_exception(LookupError("no"))
    with pytest.raises(LookupError):
        await stays
    work.answer(1)
    assert await later == 30


async def test_work_that_cannot_begin_is_told_to_who_asked_and_the_next_is_begun() -> None:
    done = Asked()

    def work(several: list[int]) -> asyncio.Future[Sequence[int]]:
        if 1 in several:
            raise LookupError("no")
        return done(several)

    gathering = Gathering(work, most=9)
    left, refused = gathering.ask(1), gathering.ask(1)
    left.cancel()
    with pytest.raises(LookupError):
        await refused
    later = gathering.ask(2)
    await asyncio.sleep(0)
    done.answer(0)
    assert await later == 20
