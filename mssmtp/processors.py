"""Which processors the threads of a worker run on.

The event loop, the thread that commits and those that read hold the interpreter in turn, and let go
of it at every call into OpenSSL or the database. Each time the other one has to be woken: on
another processor that is an interrupt there, the way out of its sleep and a cold cache. On one
processor they took 1.2 to 1.5 times as many letters. Nothing is lost where every processor has a
worker of its own; where there are fewer workers, and in threads that compute beside the
interpreter, the kernel chooses.
"""

from __future__ import annotations

import logging
import os
import time

logger = logging.getLogger(__name__)

_LOOK_S = 0.001

_allowed: frozenset[int] | None = None
"""What the process may use, once its first thread has settled."""


def settle(worker: int, workers: int) -> None:
    """Keep the calling thread, and those it starts, on the processor of this worker.

    To be called before any other thread is started; does nothing with fewer workers than
    processors.
    """
    global _allowed  # noqa: PLW0603 - a process has one set of processors
    found = sorted(os.sched_getaffinity(0))
    if len(found) > 1 and workers >= len(found) and _set({found[worker % len(found)]}):
        _allowed = frozenset(found)


def roam() -> None:
    """Let the calling thread run anywhere again: it hashes, seals or decompresses for long."""
    if _allowed is not None:
        _set(_allowed)


def alone(within_s: float = 5.0) -> bool:
    """The calling thread is the only one of its process, also for the kernel; False when others do
    not end in time. To be asked before a fork.

    A thread that was joined still runs the destructors of libraries, and those of OpenSSL hold a
    lock: a child forked then waits for it for ever, at its first digest.
    """
    until_s = time.monotonic() + within_s
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_S)
    return True


def _set(chosen: set[int] | frozenset[int]) -> bool:
    try:
        os.sched_setaffinity(0, chosen)
    except OSError as error:  # forbidden, or taken away meanwhile: only slower
        logger.info("the processor cannot be chosen", extra={"why": error.strerror})
        return False
    return True
