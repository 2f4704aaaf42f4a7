"""Work on several processes, each forked from one that has no threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TypeVar, cast

from mssmtp import processors

T = TypeVar("T")
R = TypeVar("R")


def spread(
    tasks: Sequence[T], work: Callable[[int, T], R], deadline: float, jobs: int
) -> Iterator[R]:
    """Results of `work(process, task)` as they come; tasks not begun at `deadline` (monotonic) are
    left out. Raises RuntimeError when a process fails."""
    lines: dict[Connection, int] = {}
    for number in range(jobs):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        assert processors.alone()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                _work(
                    theirs,
                    list(tasks[number::jobs]),
                    partial(work, number),
                    deadline,
                )
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        theirs.close()
        lines[ours] = process
    try:
        while lines:
            for line in wait(list(lines)):
                try:
                    yield cast(R, cast(Connection, line).recv())
                except EOFError:
                    _, status = os.waitpid(lines.pop(cast(Connection, line)), 0)
                    if status:
                        raise RuntimeError("a process of the laboratory failed") from None
    finally:
        for process in lines.values():  # nobody wants the other results
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _work(line: Connection, tasks: list[T], work: Callable[[T], R], deadline: float) -> None:
    for task in tasks:
        if time.monotonic() > deadline:
            return
        line.send(work(task))
