"""Composition root: settings in, running doors out. The only place that builds the rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import uvloop
from cryptography import x509

from mssmtp import log, processors, tls, workers
from mssmtp.admin_sockets import Knocker, bind_sockets
from mssmtp.antivirus import Clamd
from mssmtp.bearers import Bearers
from mssmtp.config import CertificateSettings, Endpoint, Settings, load
from mssmtp.errors import ConfigError
from mssmtp.gateways import Gateways
from mssmtp.hardening import harden, keep_memory_private
from mssmtp.identity.authenticator import Authenticator
from mssmtp.imap_server import ImapDoor
from mssmtp.introspection import asking, introspection_of
from mssmtp.invitations import Returning
from mssmtp.managesieve import SieveDoor
from mssmtp.message.scanner import ScanLimits
from mssmtp.notices import Desk
from mssmtp.notices.courier import Courier
from mssmtp.notices.relay import Relay as NoticeRelay
from mssmtp.notices.telling import Telling
from mssmtp.outside import DnsResolver, SystemClock, SystemEntropy
from mssmtp.own import NotFetched, Outside, OwnKeys, OwnWatch, space_in_force
from mssmtp.people.daily import Daily
from mssmtp.people.register import LocalRegister
from mssmtp.pki import Anchors, Role
from mssmtp.policy import Engine, Moves
from mssmtp.rates import Rates, shared_memory
from mssmtp.responder import Responder
from mssmtp.revocation import judge_chain
from mssmtp.smtp.content import TOP_OCTETS
from mssmtp.smtp_hospital import Whose
from mssmtp.smtp_in import (
    ApplianceDoor,
    GatewayDoor,
    OperatorDoor,
    Services,
    SubmissionDoor,
)
from mssmtp.smtp_out import Relay, towards_hospitals
from mssmtp.storage import Store, Writing
from mssmtp.storage.masters import read_master_key
from mssmtp.suspending import SuspensionWatch
from mssmtp.system_doors import SystemImapDoor, SystemSubmissionDoor
from mssmtp.systems import Systems
from mssmtp.tls_settings import OwnCertificate, http_context, load_certificate
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed import TrustFeed
from mssmtp.trust_feed.crls import MAX_CRL_OCTETS
from mssmtp.trust_feed.fetch import FetchFailed, HttpFetch, Validators, http_fetch

CLOCK = SystemClock()
ENTROPY = SystemEntropy()

GRACE_S = 20.0
"""How long an orderly stop lets sessions finish what is in flight."""
SUPERVISOR_GRACE_S = GRACE_S + 10.0

ADMIN_SOCKET = "admin_socket"
"""The door that is no port."""
_PRUNE_EVERY_S = 86_400.0
_READINGS_EVERY_S = 5.0

logger = logging.getLogger(__name__)


if TYPE_CHECKING:
    from mssmtp.admin_server import Guard


class Door(Protocol):
    """What every door can do."""

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        ...


def endpoints(settings: Settings) -> dict[str, Endpoint]:
    """Door name -> where it listens, for the doors the settings open."""
    named = {name: getattr(settings.listen, name) for name in type(settings.listen).model_fields}
    return {name: endpoint for name, endpoint in named.items() if endpoint is not None}


def scan_limits(settings: Settings) -> ScanLimits:
    """Limits of the MIME scanner (messages.md §2), which sees our trace headers too."""
    limits = settings.limits
    return ScanLimits(limits.header_octets + TOP_OCTETS, limits.mime_depth, limits.mime_parts)


def open_store(settings: Settings, worker: str) -> Store:
    """The store of these settings. Raises ConfigError."""
    return Store(
        settings.store,
        CLOCK,
        ENTROPY,
        limits=scan_limits(settings),
        worker=worker,
        tells=settings.notices.is_on,
    )


def stored_trust(settings: Settings) -> Trust:
    """The list and the CRLs on disk, verified as a server would at its start; no network."""
    trust = _untrusting(settings)
    feed = TrustFeed(settings, trust, CLOCK, ENTROPY)
    asyncio.run(feed.load())
    return trust


def _untrusting(settings: Settings) -> Trust:
    """Anchors, and neither list nor CRL yet: every peer is deferred until both are in force."""
    space_in_force(settings)
    anchors = Anchors.load(settings.pki.anchors_file)
    snapshot = Snapshot(whitelist=None, revocation=None, anchors=anchors)
    return Trust(snapshot, require_eku=settings.pki.require_eku)


@contextmanager
def store_of(settings: Settings) -> Iterator[Store]:
    """The store for one command, beside a running server or without one."""
    keep_memory_private()
    store = open_store(settings, f"cli-{os.getpid()}")
    try:
        yield store
    finally:
        store.close()


def check_files(settings: Settings) -> OwnKeys:
    """Load every file the settings name, as `serve` will. Raises ConfigError at the first."""
    keys = _check_beside_the_store(settings)
    with store_of(settings):
        pass
    return keys


def _check_beside_the_store(settings: Settings, trust: Trust | None = None) -> OwnKeys:
    """`trust`: what is in force, for whose keys these are (ATT-43)."""
    keys = OwnKeys(settings, trust or _untrusting(settings), CLOCK)
    tls.server_context(settings.tls, keys.between_operators, ask_certificate=True)
    tls.server_context(settings.tls, keys.to_users, ask_certificate=False)
    read_master_key(settings.store.master_key_file)
    Engine(settings.policy, settings.limits)
    Gateways.load(settings)
    if settings.psc is not None:
        asking(settings, settings.psc)
    _check_first_factors(settings)
    if settings.notices.is_on:
        NoticeRelay(settings.notices, settings.operator.host_name)
    return keys


def _check_first_factors(settings: Settings) -> None:
    """Hospitals' directories and providers, with the files they name. Raises ConfigError."""
    if settings.directories:
        from mssmtp.directories import Directories

        Directories.of(settings).close()
    if settings.providers:
        from mssmtp.providers import Providers

        Providers.of(settings, CLOCK)


def end_of(files: CertificateSettings) -> datetime:
    """When a certificate of ours stops being valid. Raises ConfigError."""
    return load_certificate(files).chain[0].not_valid_after_utc


def expired(settings: Settings) -> tuple[Path, ...]:
    """Certificates of ours that have ended. Nobody trusts them, but mail here can still be read."""
    now, own = CLOCK.now(), (*settings.tls.operators, settings.tls.users)
    return tuple(dict.fromkeys(files.certificate_file for files in own if end_of(files) <= now))


def serve(config: Path, count: int) -> int:
    """Run the server of `config` with `count` workers until it is told to stop; its exit code."""
    settings = load(config)
    log.configure(settings.log.level)
    harden()
    pairs = check_files(settings).pairs
    for file in expired(settings):
        logger.error("own certificate has expired", extra={"file": str(file)})
    # Verified once, before the fork: the workers share its memory and start without waiting.
    known = _Known(settings, stored_trust(settings).snapshot, pairs, shared_memory())

    admin: list[socket.socket] = []

    def run(context: workers.WorkerContext) -> None:
        processors.settle(context.number, count)
        uvloop.run(_Worker(config, context, known, tuple(admin)).run())

    home = settings.store.home
    with workers.shared_metrics(home) as place:
        doors = endpoints(settings)

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
    paces: mmap
    """Of boxes that write, for all workers (`rates.py`)."""

    def trust(self, settings: Settings) -> Trust:
        """Where a worker begins; from nothing when anchors or pin have changed since."""
        trust = _untrusting(settings)
        anchors = trust.snapshot.anchors
        before = self.settings
        if (settings.pki, settings.whitelist) == (
            before.pki,
            before.whitelist,
        ) and anchors.certificates == self.snapshot.anchors.certificates:
            trust.swap(self.snapshot)
        return trust


@dataclass(slots=True)
class Rooms:
    """What one worker runs."""

    feed: TrustFeed
    relay: Relay
    watch: OwnWatch
    keys: OwnKeys
    doors: dict[str, Door] = field(default_factory=dict)
    bearers: Bearers | None = None
    metrics: workers.MetricsServer | None = None
    courier: Courier | None = None
    returning: Returning | None = None

    def ask_again(self) -> None:
        """Something was suspended: sessions that wait look whether they still may."""
        for door in self.doors.values():
            if isinstance(door, ImapDoor):
                door.ask_again()


def services_of(
    settings: Settings,
    store: Store,
    trust: Trust,
    pairs: tuple[OwnCertificate, ...] = (),
    paces: mmap | None = None,
) -> Services:
    """What the SMTP doors, and `explain` in their place, lean on. Raises ConfigError."""
    responder = _responder(settings, trust)
    return Services(
        settings,
        store,
        trust,
        Engine(settings.policy, settings.limits, Moves.of(settings.domains)),
        Authenticator(store, CLOCK, ENTROPY),
        CLOCK,
        ENTROPY,
        OwnKeys(settings, trust, CLOCK, before=pairs),
        responder,
        Clamd.of(settings.antivirus),
        Gateways.load(settings),
        Rates(settings.policy.rates, paces),
        _bearers(settings, store),
        Systems(trust, store, CLOCK, responder),
    )


def _bearers(settings: Settings, store: Store) -> Bearers | None:
    """Who judges tokens of Pro Santé Connect. Raises ConfigError."""
    if settings.psc is None:
        return None
    ask = asking(settings, settings.psc)
    return Bearers(introspection_of(settings.psc, ask, CLOCK), store)


def towards(services: Services) -> Whose:
    """Connections to hospitals' own servers, for a dry try. Raises ConfigError."""
    out = services.settings.smtp_out
    resolver = DnsResolver(ENTROPY, out.nameservers, out.nameserver_port)
    return towards_hospitals(
        services.settings, services.keys, resolver, services.trust, services.clock
    )


def _responder(settings: Settings, trust: Trust) -> Responder | None:
    if settings.pki.ocsp == "off":
        return None
    return Responder(settings.pki, trust, http_fetch(settings).post, CLOCK, ENTROPY)


def _fetch_of(settings: Settings) -> Callable[[str], Awaitable[bytes]]:
    """How the CRLs that our certificates name are looked at."""
    get = HttpFetch(tls.client_context(settings.tls, None, settings.pki.anchors_file))

    async def fetch(url: str) -> bytes:
        try:
            fetched = await get(url, Validators(), MAX_CRL_OCTETS)
        except FetchFailed as error:
            raise NotFetched(str(error)) from error
        return b"" if fetched is None else fetched.octets

    return fetch


def build(
    settings: Settings,
    store: Store,
    trust: Trust,
    worker: str,
    pairs: tuple[OwnCertificate, ...] = (),
    paces: mmap | None = None,
) -> Rooms:
    """The rooms of one worker, nothing started. Raises ConfigError.

    `pairs`: certificates of ours that the server has started with.

    `worker` is the same for whoever replaces it: the leases of one that was killed are given back
    at once, not after `queue.lease`.
    """
    services = services_of(settings, store, trust, pairs, paces)
    engine, authenticator = services.engine, services.authenticator
    out = settings.smtp_out
    resolver = DnsResolver(ENTROPY, out.nameservers, out.nameserver_port)
    keys = services.keys

    def imap(*, implicit_tls: bool) -> ImapDoor:
        return ImapDoor(
            settings,
            store,
            authenticator,
            CLOCK,
            implicit_tls=implicit_tls,
            presenter=keys.to_users,
            bearers=services.bearers,
        )

    def admin(guard: Guard | None = None) -> Door:
        from mssmtp.admin import Office
        from mssmtp.admin_server import AdminDoor

        return AdminDoor(Office(store, settings, CLOCK, ENTROPY), guard)

    makers: dict[str, Callable[[], Door]] = {
        "admin": lambda: admin(_guard(settings, keys, trust)),
        "operators": lambda: OperatorDoor(services),
        "submission": lambda: SubmissionDoor(services),
        "gateways": lambda: GatewayDoor(services),
        "submissions": lambda: SubmissionDoor(services, implicit_tls=True),
        "appliances": lambda: ApplianceDoor(services),
        "appliances_tls": lambda: ApplianceDoor(services, implicit_tls=True),
        "app_submission": lambda: SystemSubmissionDoor(services),
        "app_submissions": lambda: SystemSubmissionDoor(services, implicit_tls=True),
        "app_imap": lambda: SystemImapDoor(services),
        "app_imaps": lambda: SystemImapDoor(services, implicit_tls=True),
        "imap": lambda: imap(implicit_tls=False),
        "imaps": lambda: imap(implicit_tls=True),
        "sieve": lambda: SieveDoor(
            settings, store, authenticator, presenter=keys.to_users, bearers=services.bearers
        ),
    }
    return Rooms(
        TrustFeed(settings, trust, CLOCK, ENTROPY),
        Relay(
            settings,
            store,
            trust,
            engine,
            resolver,
            CLOCK,
            ENTROPY,
            worker=worker,
            keys=keys,
            responder=services.responder,
            gateways=services.gateways,
        ),
        OwnWatch(settings, keys, trust, Outside(CLOCK, ENTROPY, _fetch_of(settings))),
        keys,
        {
            ADMIN_SOCKET: Knocker(admin),
            **{name: makers[name]() for name in endpoints(settings) if name in makers},
        },
        services.bearers,
        courier=courier_of(settings, store, worker),
        returning=Returning(services),
    )


def _guard(settings: Settings, keys: OwnKeys, trust: Trust) -> Guard:
    """What the administration's TLS door asks for. Raises ConfigError."""
    from mssmtp.admin_server import Guard

    def judge(certificate: x509.Certificate) -> None:
        now, known = CLOCK.now(), trust.snapshot
        trust.demand_active((certificate,))
        judge_chain((certificate,), known.anchors, known.revocation, Role.CLIENT, now)

    return Guard(http_context(settings.tls, keys.to_users, settings.pki.anchors_file), judge)


def courier_of(settings: Settings, store: Store, worker: str) -> Courier | None:
    """Who carries service mail to its relay; None without one. Raises ConfigError."""
    if not settings.notices.is_on:
        return None
    desk = Desk.of(settings, CLOCK)
    relay = NoticeRelay(settings.notices, settings.operator.host_name)
    telling = Telling(desk, settings.policy.patient_domains)
    return Courier(desk, relay, telling, store, CLOCK, worker)


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
        store = open_store(self._settings, self._name)
        try:
            await self._serve(store)
        finally:
            await asyncio.to_thread(store.close)

    def _reload(self) -> None:
        """Leave in order for a successor with the new settings; stay when they are wrong."""
        try:
            settings = load(self._config)
            keys = _check_beside_the_store(settings, self._trust)
            if self._keys is not None:
                self._keys.check_successor(keys)
        except ConfigError as error:
            why = {"what": error.what, "why": error.why, "remedy": error.remedy}
            logger.error("not reloaded: the settings are wrong", extra=why)
            return
        self._stop.set()

    async def _serve(self, store: Store) -> None:
        pairs = self._known.pairs
        rooms = build(self._settings, store, self._trust, self._name, pairs, self._known.paces)
        self._keys = rooms.keys
        await rooms.feed.load()
        suspensions = SuspensionWatch(store, self._trust, rooms.ask_again)
        await suspensions.look()
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(rooms.feed.run(), name="trust-feed"),
                tasks.create_task(rooms.watch.run(), name="own-watch"),
                tasks.create_task(suspensions.run(), name="suspensions"),
                tasks.create_task(_prune_daily(store), name="prune"),
                tasks.create_task(_record_readings(store), name="readings"),
                tasks.create_task(_people_daily(store, self._settings), name="people"),
            ]
            for each in (rooms.courier, rooms.returning):
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
            await rooms.doors[ADMIN_SOCKET].start(sock)
        for name, endpoint in endpoints(self._settings).items():
            sock = workers.bind(name, endpoint)
            if name == "metrics":
                rooms.metrics = workers.MetricsServer(sock)
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
