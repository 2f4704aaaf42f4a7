"""Telling every process of a home about committed changes.

The changes themselves are rows of the commit; a bell without content only says "look": a datagram
beside SQLite, a notification of PostgreSQL. A lost one is made good by a look every second, so that
nothing depends on it but the delay. A commit that made something due in the queue has a bell of its
own: listeners are then called with no change at all.
"""

from __future__ import annotations

import logging
import os
import select as polling
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import bindparam, delete, func, insert, select

from mssmtp.errors import StorageUnavailable
from mssmtp.mail import BalId, Change, ChangeKind, MailboxId, ModSeq
from mssmtp.storage.engine import Connection, Engine, Rung
from mssmtp.storage.schema import changes, mailboxes, sql

logger = logging.getLogger(__name__)

POLL_S = 1.0
TOGETHER_S = 0.003
"""Whoever rings again so soon is heard after it, with all who rang meanwhile: under load each look
costs as much as half a commit."""
UNHURRIED_S = 0.02
"""The same while no listener hurries: where nobody has a mailbox open, every letter that is taken
would otherwise be looked at by every process, for nothing."""
KEPT_CHANGES = 50_000
_NAMES = {Rung.CHANGES: ".wake", Rung.QUEUE: ".due"}
"""How the sockets of an ear end."""
_SETTLED_NS = 2_500_000_000
"""Two entries made within one tick of the clock of a file system leave a directory with the same
time: 10 ms by the kernel's, a whole second or two where no finer times are kept."""
Listener = Callable[[tuple[Change, ...]], None]

_NEW = sql(
    insert(changes).values({name: bindparam(name) for name in ("kind", "bal", "mailbox", "modseq")})
)
_LAST = sql(select(func.coalesce(func.max(changes.c.number), 0)))
_FIRST = sql(select(func.coalesce(func.min(changes.c.number), 0)))
_AFTER = sql(
    select(changes.c.number, changes.c.kind, changes.c.bal, changes.c.mailbox, changes.c.modseq)
    .where(changes.c.number > bindparam("last"))
    .order_by(changes.c.number)
)
_ALL_MAILBOXES = sql(select(mailboxes.c.bal, mailboxes.c.id, mailboxes.c.highest_modseq))
_FORGET = sql(delete(changes).where(changes.c.number <= bindparam("last")))


def write_changes(db: Connection, found: list[Change]) -> None:
    """Insert the changes of a batch into its transaction."""
    db.executemany(
        _NEW,
        [
            {"kind": c.kind.value, "bal": c.bal, "mailbox": c.mailbox, "modseq": c.modseq}
            for c in found
        ],
    )


def forget_changes(db: Connection) -> None:
    """Keep only the last KEPT_CHANGES."""
    last = db.execute(_LAST).fetchone()[0]
    db.execute(_FORGET, {"last": last - KEPT_CHANGES})


class Bell:
    """Wakes the followers of a home by datagrams.

    Socket names stay short through the directory's descriptor.
    """

    def __init__(self, run: Path) -> None:
        self._directory = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._listed: list[str] = []
        self._listed_as_of_ns = 0

    def announce(self, db: Connection, rung: Rung) -> None:
        """Nothing: followers would look before the commit."""

    def ring(self, rung: Rung) -> None:
        """One datagram to every listening process; the names of dead ones are removed."""
        endings = tuple(ending for each, ending in _NAMES.items() if each in rung)
        with suppress(OSError):
            for name in self._names():
                if name.endswith(endings):
                    self._ring_one(name)

    def _names(self) -> list[str]:
        """What is in the directory, listed again when that has changed: a listing gives the
        interpreter away for every entry."""
        as_of_ns = os.stat(self._directory).st_mtime_ns
        if as_of_ns != self._listed_as_of_ns:
            self._listed = os.listdir(self._directory)
            is_settled = time.time_ns() - as_of_ns > _SETTLED_NS
            self._listed_as_of_ns = as_of_ns if is_settled else 0
        return self._listed

    def _ring_one(self, name: str) -> None:
        try:
            self._socket.sendto(b"!", f"/proc/self/fd/{self._directory}/{name}")
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)
        except OSError:
            # Full: it is awake already. Gone: nobody to wake. The poll covers the rest.
            return

    def close(self) -> None:
        """Stop ringing."""
        self._socket.close()
        os.close(self._directory)


class Ear:
    """Hears the datagrams of bells."""

    def __init__(self, run: Path, token: str) -> None:
        self._directory = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._token = token
        self._sockets = {self._bound(ending): rung for rung, ending in _NAMES.items()}

    def _bound(self, ending: str) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(f"/proc/self/fd/{self._directory}/{self._token}{ending}")
        return bound

    def wait(self, seconds: float) -> Rung:
        """What rang within `seconds`."""
        heard = Rung.NOTHING
        ready, _, _ = polling.select(list(self._sockets), [], [], seconds)
        for each in ready:
            heard |= self._sockets[each]
            with suppress(BlockingIOError):
                while True:
                    each.recv(16)
        return heard

    def wake(self) -> None:
        """End a `wait` from another thread."""
        with suppress(OSError):
            for each in self._sockets:
                each.sendto(b"!", each.getsockname())

    def close(self) -> None:
        """Remove the sockets."""
        for each, rung in self._sockets.items():
            with suppress(FileNotFoundError):
                os.unlink(self._token + _NAMES[rung], dir_fd=self._directory)
            each.close()
        os.close(self._directory)


class Follower:
    """A thread that reads new changes and hands them to this process's listeners."""

    def __init__(self, engine: Engine, token: str) -> None:
        self._db = engine.connect(writing=False)
        self._last = self._highest()
        self._is_blind = False
        self._listeners: dict[int, tuple[Listener, Callable[[], bool]]] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._ear = engine.ear(token)
        self._thread = threading.Thread(target=self._run, name="store-changes", daemon=True)
        self._thread.start()

    def subscribe(self, listener: Listener, hurries: Callable[[], bool]) -> Callable[[], None]:
        """See `Store.subscribe`."""
        with self._lock:
            key = max(self._listeners, default=0) + 1
            self._listeners[key] = listener, hurries

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return unsubscribe

    def close(self) -> None:
        """Stop the thread and listen no more."""
        self._stopping = True
        self._ear.wake()
        self._thread.join(5)
        self._ear.close()
        self._db.close()

    def _run(self) -> None:
        looked_s = 0.0
        while not self._stopping:
            rung = self._ear.wait(POLL_S)
            together_s = self._together_s()
            if rung and time.monotonic() - looked_s < together_s:
                time.sleep(together_s)
                rung |= self._ear.wait(0)  # what rang meanwhile is answered by the same look
            if not self._stopping:
                self._look(rung)
            looked_s = time.monotonic()

    def _together_s(self) -> float:
        with self._lock:
            is_hurried = any(hurries() for _, hurries in self._listeners.values())
        return TOGETHER_S if is_hurried else UNHURRIED_S

    def _look(self, rung: Rung) -> None:
        found: tuple[Change, ...] = ()
        try:
            if rung is not Rung.QUEUE:
                found = self._new_changes()
        except (sqlite3.Error, StorageUnavailable) as error:
            if not self._is_blind:
                logger.error("changes cannot be read (%s); trying again", error)
            self._is_blind = True
            return
        self._is_blind = False
        if found:
            self._tell(found)
        if Rung.QUEUE in rung:
            self._tell(())

    def _tell(self, found: tuple[Change, ...]) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for listener, _ in listeners:
            try:
                listener(found)
            except Exception:  # one session's trouble must not silence the others
                logger.exception("a listener failed")

    def _highest(self) -> int:
        return int(self._db.execute(_LAST).fetchone()[0])

    def _new_changes(self) -> tuple[Change, ...]:
        self._db.execute("BEGIN")
        try:
            rows = self._db.execute(_AFTER, {"last": self._last}).fetchall()
            before, last = self._last, rows[-1][0] if rows else self._highest()
            if not rows and last >= before:
                return ()
            missed = before and (not rows or rows[0][0] > before + 1)
            if missed and (not rows or self._db.execute(_FIRST).fetchone()[0] == rows[0][0]):
                # Older changes are pruned already, or a database that lags behind took over:
                # everything may have changed.
                rows = [
                    (0, ChangeKind.MAILBOX.value, bal, mailbox, modseq)
                    for bal, mailbox, modseq in self._db.execute(_ALL_MAILBOXES)
                ]
            self._last = last  # not before: what fails above is asked again
        finally:
            if self._db.in_transaction:  # what lost the connection ended it already
                self._db.execute("COMMIT")
        return tuple(
            Change(ChangeKind(kind), BalId(bal), MailboxId(mailbox), ModSeq(modseq))
            for _, kind, bal, mailbox, modseq in rows
        )
