"""One server from its start to its stop: what the supervisor knows, and the life of each worker.

The rooms are `app`'s, processes and ports those of `workers` and `listening`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import uvloop

from mssmtp import app, listening, log, metrics_server, processors, workers
from mssmtp.admin_sockets import bind_sockets
from mssmtp.app import CLOCK, Rooms, Shared
from mssmtp.config import Settings, load
from mssmtp.errors import ConfigError, MailError
from mssmtp.hardening import harden
from mssmtp.notices import Desk
from mssmtp.own import OwnKeys
from mssmtp.people.daily import Daily
from mssmtp.people.register import LocalRegister
from mssmtp.storage import Store, Writing, copying
from mssmtp.suspending import SuspensionWatch
from mssmtp.tls_settings import OwnCertificate
from mssmtp.trust import Snapshot, Trust

GRACE_S = 20.0
"""How long an orderly stop lets sessions finish what is in flight."""
SUPERVISOR_GRACE_S = GRACE_S + 10.0
_PRUNE_EVERY_S = 86_400.0
_READINGS_EVERY_S = 5.0
_COPIES_EVERY_S = 15.0

logger = logging.getLogger(__name__)


def serve(config: Path, count: int) -> int:
    """Run the server of `config` with `count` workers until it is told to stop; its exit code."""
    settings = load(config)
    log.configure(settings.log.level)
    harden()
    # httpx loads a command line of its own with it, of 2.5 MB; without that it does as well.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    pairs = app.check_files(settings).pairs
    for file in app.expired(settings):
        logger.error("own certificate has expired", extra={"file": str(file)})
    # Verified once, before the fork: the workers share its memory and start without waiting.
    known = _Known(settings, app.stored_trust(settings).snapshot, pairs, Shared.made())

    admin: list[socket.socket] = []

    def run(context: workers.WorkerContext) -> None:
        processors.settle(context.number, count)
        uvloop.run(_Worker(config, context, known, tuple(admin)).run())

    home = settings.store.home
    with metrics_server.shared_metrics(home) as place:
        doors = app.endpoints(settings)

        def bind() -> None:
            admin.extend(bind_sockets(home / "run", settings.admin.socket))

        plan = workers.Plan(home, count, doors, SUPERVISOR_GRACE_S, metrics=place, on_locked=bind)
        return workers.supervise(plan, run)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the supervisor found on disk under the settings of its start."""

    settings: Settings
    snapshot: Snapshot
    pairs: tuple[OwnCertificate, ...]
    shared: Shared

    def trust(self, settings: Settings) -> Trust:
        """Where a worker begins; from nothing when anchors or pin have changed since."""
        trust = app.untrusting(settings)
        anchors = trust.snapshot.anchors
        before = self.settings
        if (settings.pki, settings.whitelist) == (
            before.pki,
            before.whitelist,
        ) and anchors.certificates == self.snapshot.anchors.certificates:
            trust.swap(self.snapshot)
        return trust


class _Worker:
    """One process's doors on one event loop."""

    def __init__(
        self,
        config: Path,
        context: workers.WorkerContext,
        known: _Known,
        admin: tuple[socket.socket, ...],
    ) -> None:
        # Read again: after SIGHUP the worker that replaces another serves the new settings.
        self._config = config
        self._settings = load(config)
        self._context = context
        self._known = known
        self._admin = admin
        self._name = f"worker-{context.number}"
        self._stop = asyncio.Event()
        self._trust = known.trust(self._settings)
        self._keys: OwnKeys | None = None

    async def run(self) -> None:
        """Open everything, serve until SIGTERM or SIGHUP, close in the opposite order."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(initializer=processors.roam))
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        store = app.open_store(self._settings, self._name)
        try:
            await self._serve(store)
        finally:
            await asyncio.to_thread(store.close)

    def _reload(self) -> None:
        """Leave in order for a successor with the new settings; stay when they are wrong."""
        try:
            settings = load(self._config)
            keys = app.check_beside_the_store(settings, self._trust)
            if self._keys is not None:
                self._keys.check_successor(keys)
        except ConfigError as error:
            why = {"what": error.what, "why": error.why, "remedy": error.remedy}
            logger.error("not reloaded: the settings are wrong", extra=why)
            return
        self._stop.set()

    async def _serve(self, store: Store) -> None:
        known = self._known
        rooms = app.build(self._settings, store, self._trust, self._name, known.pairs, known.shared)
        self._keys = rooms.keys
        await rooms.feed.load()
        suspensions = SuspensionWatch(store, self._trust, rooms.ask_again)
        await suspensions.look()
        await _give_up_copies(store)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(rooms.feed.run(), name="trust-feed"),
                tasks.create_task(rooms.watch.run(), name="own-watch"),
                tasks.create_task(suspensions.run(), name="suspensions"),
                tasks.create_task(_prune_daily(store), name="prune"),
                tasks.create_task(_record_readings(store), name="readings"),
                tasks.create_task(_undo_copies(store), name="copies"),
                tasks.create_task(_people_daily(store, self._settings), name="people"),
            ]
            for each in (rooms.courier, rooms.returning, rooms.cards):
                if each is not None:
                    background.append(tasks.create_task(each.run()))
            relay = tasks.create_task(rooms.relay.run(), name="relay")
            # A peer that comes before the list is in force is deferred for minutes: wait a little.
            await rooms.feed.wait_in_force(self._settings.whitelist.first_within.total_seconds())
            await self._open_doors(rooms)
            # Said first: who sees the server ready and ends a worker finds its line in the log.
            logger.info("serving", extra={"doors": sorted(rooms.doors)})
            self._context.ready()
            await self._stop.wait()
            logger.info("stopping")
            await _finish(rooms)
            await relay
            if rooms.bearers is not None:
                await rooms.bearers.close()
            for task in background:
                task.cancel()
            await _record_all(store)
        if rooms.metrics is not None:
            await asyncio.to_thread(rooms.metrics.close)

    async def _open_doors(self, rooms: Rooms) -> None:
        for sock in self._admin:
            await rooms.doors[app.ADMIN_SOCKET].start(sock)
        for name, endpoint in app.endpoints(self._settings).items():
            sock = listening.bind(name, endpoint)
            if name == "metrics":
                rooms.metrics = metrics_server.MetricsServer(sock)
            else:
                await rooms.doors[name].start(sock)


async def _finish(rooms: Rooms) -> None:
    """Doors and relay at the same time: one after the other, both graces together would be longer
    than the supervisor's, and a delivery could be killed after its dot (D4)."""
    doors = (door.stop(GRACE_S) for door in rooms.doors.values())
    await asyncio.gather(*doors, rooms.relay.stop(GRACE_S))


async def _record_readings(store: Store) -> None:
    """What sessions note of what people read, in few commits (DEF-06)."""
    while True:
        await asyncio.sleep(_READINGS_EVERY_S)
        await _record_all(store)


async def _record_all(store: Store) -> None:
    try:
        while store.noted:
            await asyncio.wrap_future(store.write(lambda writing: writing.record_readings()))
    except Exception:
        logger.exception("readings not recorded")  # they stay noted


async def _give_up_copies(store: Store) -> None:
    """Before a door opens: what is under way in this worker's name, one that died has begun."""
    try:
        await asyncio.wrap_future(store.write(lambda writing: writing.give_up_copies()))
    except MailError as error:  # their leases end all the same
        logger.warning("copies not given up", extra={"kind": type(error).__name__})


async def _undo_copies(store: Store) -> None:
    """Of a COPY that was cut short nothing stays (RFC 9051 6.4.7), whichever worker has died."""
    while True:
        try:
            await asyncio.to_thread(copying.undo_abandoned, store)
        except Exception:
            logger.exception("copies not undone")  # they are found again
        await asyncio.sleep(_COPIES_EVERY_S)


async def _people_daily(store: Store, settings: Settings) -> None:
    """Still boxes, the weekly question to the register, boxes whose retention is over."""
    daily = Daily(store, settings.people, Desk.of(settings, CLOCK), LocalRegister())
    while True:
        try:
            await asyncio.to_thread(daily.run, CLOCK.now())
        except Exception:
            logger.exception("people not gone through")  # tomorrow again: nothing depends on it
        await asyncio.sleep(_PRUNE_EVERY_S)


async def _prune_daily(store: Store) -> None:
    def prune(writing: Writing) -> None:
        writing.prune(CLOCK.now())

    while True:
        try:
            await asyncio.wrap_future(store.write(prune))
            while await asyncio.wrap_future(store.write(lambda w: w.forget_traces(CLOCK.now()))):
                pass
            await asyncio.to_thread(store.scrub)
        except Exception:
            # A full or lost disk is the doors' to refuse; what is old can wait for tomorrow. Raised
            # on, it would close every door of this worker and of those that replace it.
            logger.exception("prune failed")
        await asyncio.sleep(_PRUNE_EVERY_S)
