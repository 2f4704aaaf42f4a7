"""Making packs behind the deliveries, in a thread of its own (ATT-29: never on their path)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mssmtp import processors
from mssmtp.errors import MailError
from mssmtp.mail import MailboxId
from mssmtp.storage.model import NoSuchBal, NoSuchMailbox

logger = logging.getLogger(__name__)

MAX_WAITING = 65_536
"""Windows that wait for their packs; one that is forgotten is packed by who searches it first."""
BUSY_S = 1.0
BUSY_SHARE = 4
"""For each second of work so many seconds of rest, while mail is coming in."""

Window = tuple[MailboxId, int]


class Packer:
    """Calls `make` for the windows it was told of, one after the other.

    What waits is not written down: a window whose packs are missing after a crash is packed when
    it is searched, or by `mssmtp store rebuild`.
    """

    def __init__(self, make: Callable[[MailboxId, int], None]) -> None:
        self._make = make
        self._waiting: dict[Window, None] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_working = False
        self._is_awaited = False
        self._mail_at = 0.0
        self._thread: threading.Thread | None = None

    def want(self, mailbox: MailboxId, window: int) -> None:
        """The packs of a window are missing."""
        with self._changed:
            if self._is_closed or len(self._waiting) >= MAX_WAITING:
                return
            self._waiting[mailbox, window] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="store-packer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def mail_came(self) -> None:
        """Packs have time."""
        self._mail_at = time.monotonic()

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        with self._changed:
            self._is_awaited = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._is_working)
            self._is_awaited = False

    def close(self) -> None:
        """Finish the window at hand and forget the others."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        processors.roam()
        while (window := self._next()) is not None:
            started = time.monotonic()
            try:
                self._make(*window)
            except (NoSuchMailbox, NoSuchBal):
                pass  # it was deleted meanwhile
            except MailError as error:
                logger.warning("packs not made: %s", type(error).__name__)
            except Exception:
                logger.exception("packs not made")
            self._rest(time.monotonic() - started)

    def _next(self) -> Window | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            self._is_working = True
            window = next(iter(self._waiting))
            del self._waiting[window]
            return window

    def _rest(self, worked_s: float) -> None:
        with self._changed:
            self._is_working = False
            self._changed.notify_all()
            if time.monotonic() - self._mail_at < BUSY_S:
                self._changed.wait_for(
                    lambda: self._is_closed or self._is_awaited, BUSY_SHARE * worked_s
                )
