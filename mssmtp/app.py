"""Composition root: settings in, running doors out. The only place that builds the rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography import x509

from mssmtp import rates, tls
from mssmtp.admin_sockets import Knocker
from mssmtp.antivirus import Clamd
from mssmtp.bearers import Bearers
from mssmtp.config import CertificateSettings, Endpoint, PkiSettings, Settings
from mssmtp.errors import ConfigError
from mssmtp.gateways import Gateways
from mssmtp.hardening import keep_memory_private
from mssmtp.identity import guesses
from mssmtp.identity.authenticator import Authenticator
from mssmtp.identity.guesses import Guesses
from mssmtp.imap_server import ImapDoor
from mssmtp.introspection import asking, introspection_of
from mssmtp.invitations import Returning
from mssmtp.managesieve import SieveDoor
from mssmtp.message.scanner import ScanLimits
from mssmtp.metrics_server import MetricsServer
from mssmtp.notices import Desk
from mssmtp.notices.courier import Courier
from mssmtp.notices.relay import Relay as NoticeRelay
from mssmtp.notices.telling import Telling
from mssmtp.outside import DnsResolver, SystemClock, SystemEntropy
from mssmtp.own import NotFetched, Outside, OwnKeys, OwnWatch, space_in_force
from mssmtp.pki import Anchors, Role
from mssmtp.policy import Engine, Moves
from mssmtp.rates import Rates
from mssmtp.reactions import Reactions
from mssmtp.responder import Responder
from mssmtp.revocation import judge_chain
from mssmtp.smtp.content import TOP_OCTETS
from mssmtp.smtp_hospital import Whose
from mssmtp.smtp_in import ApplianceDoor, GatewayDoor, OperatorDoor, Services, SubmissionDoor
from mssmtp.smtp_out import Relay, towards_hospitals
from mssmtp.storage import Store
from mssmtp.storage.masters import read_master_key
from mssmtp.system_doors import SystemImapDoor, SystemSubmissionDoor
from mssmtp.systems import Systems
from mssmtp.tls_settings import OwnCertificate, load_certificate
from mssmtp.tls_stdlib import http_context
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed import CardFeed, TrustFeed
from mssmtp.trust_feed.crls import MAX_CRL_OCTETS
from mssmtp.trust_feed.fetch import FetchFailed, HttpFetch, Validators, http_fetch

CLOCK = SystemClock()
ENTROPY = SystemEntropy()

ADMIN_SOCKET = "admin_socket"
"""The door that is no port."""
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
    trust = untrusting(settings)
    feed = TrustFeed(settings, trust, CLOCK, ENTROPY)
    asyncio.run(feed.load())
    return trust


def stored_cards(settings: Settings) -> Snapshot | None:
    """The authorities of cards and their CRLs on disk; None where none is shown. No network."""
    cards = _cards(settings)
    if cards is None:
        return None
    asyncio.run(cards.load())
    return cards.trust.snapshot


def untrusting(settings: Settings) -> Trust:
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
    keys = check_beside_the_store(settings)
    with store_of(settings):
        pass
    return keys


def check_beside_the_store(settings: Settings, trust: Trust | None = None) -> OwnKeys:
    """`trust`: what is in force, for whose keys these are (ATT-43)."""
    keys = OwnKeys(settings, trust or untrusting(settings), CLOCK)
    tls.server_context(settings.tls, keys.between_operators, ask_certificate=True)
    # Before the fork: whose sessions are taken up again, by whichever worker they meet.
    tls.server_context(settings.tls, keys.to_users, ask_certificate=False, resumes=True)
    read_master_key(settings.store.master_key_file)
    if settings.web_certificate is not None:
        load_certificate(settings.web_certificate)
    if settings.web.cards is not None:
        Anchors.load(settings.web.cards.anchors_file)
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
    now, own = CLOCK.now(), [*settings.tls.operators, settings.tls.users]
    if settings.web_certificate is not None:
        own.append(settings.web_certificate)
    return tuple(dict.fromkeys(files.certificate_file for files in own if end_of(files) <= now))


@dataclass(slots=True)
class Rooms:
    """What one worker runs."""

    feed: TrustFeed
    relay: Relay
    watch: OwnWatch
    keys: OwnKeys
    doors: dict[str, Door] = field(default_factory=dict)
    bearers: Bearers | None = None
    metrics: MetricsServer | None = None
    courier: Courier | None = None
    returning: Returning | None = None
    cards: CardFeed | None = None

    def ask_again(self) -> None:
        """Something was suspended: sessions that wait look whether they still may."""
        for door in self.doors.values():
            if isinstance(door, ImapDoor):
                door.ask_again()


@dataclass(frozen=True, slots=True)
class Shared:
    """Counts of all workers, in memory that is theirs together since the fork.

    `paces`: of boxes that write (`rates.py`); `guesses`: of wrong passwords (F13).
    """

    paces: mmap
    guesses: mmap

    @classmethod
    def made(cls) -> Shared:
        """To be called before the fork."""
        return cls(rates.shared_memory(), guesses.shared_memory(ENTROPY))


def services_of(
    settings: Settings,
    store: Store,
    trust: Trust,
    pairs: tuple[OwnCertificate, ...] = (),
    shared: Shared | None = None,
) -> Services:
    """What the SMTP doors, and `explain` in their place, lean on. Raises ConfigError."""
    responder, shared = _responder(settings, settings.pki, trust), shared or Shared.made()
    return Services(
        settings,
        store,
        trust,
        Engine(
            settings.policy, settings.limits, Moves.of(settings.domains, settings.operator.zone)
        ),
        Authenticator(store, CLOCK, ENTROPY, Guesses(shared.guesses)),
        CLOCK,
        ENTROPY,
        OwnKeys(settings, trust, CLOCK, before=pairs),
        responder,
        Clamd.of(settings.antivirus),
        Gateways.load(settings),
        Rates(settings.policy.rates, shared.paces),
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


def _responder(settings: Settings, pki: PkiSettings, trust: Trust) -> Responder | None:
    if pki.ocsp == "off":
        return None
    return Responder(pki, trust, http_fetch(settings).post, CLOCK, ENTROPY)


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
    shared: Shared | None = None,
) -> Rooms:
    """The rooms of one worker, nothing started. Raises ConfigError.

    `pairs`: certificates of ours that the server has started with.

    `worker` is the same for whoever replaces it: the leases of one that was killed are given back
    at once, not after `queue.lease`.
    """
    services = services_of(settings, store, trust, pairs, shared)
    keys = services.keys
    out = settings.smtp_out
    relay = Relay(
        settings,
        store,
        trust,
        services.engine,
        DnsResolver(ENTROPY, out.nameservers, out.nameserver_port),
        CLOCK,
        ENTROPY,
        worker=worker,
        keys=keys,
        responder=services.responder,
        gateways=services.gateways,
        react=Reactions(services).late,
    )
    cards = _cards(settings)
    return Rooms(
        TrustFeed(settings, trust, CLOCK, ENTROPY),
        relay,
        OwnWatch(settings, keys, trust, Outside(CLOCK, ENTROPY, _fetch_of(settings))),
        keys,
        _doors(services, cards),
        services.bearers,
        courier=courier_of(settings, store, worker),
        returning=Returning(services),
        cards=cards,
    )


def _cards(settings: Settings) -> CardFeed | None:
    """The authorities of cards; None where none is shown. Raises ConfigError."""
    section = settings.web.cards
    return None if section is None else CardFeed(settings, section, CLOCK, ENTROPY)


def _doors(services: Services, cards: CardFeed | None) -> dict[str, Door]:
    """The doors the settings open, by the name they have there. Raises ConfigError."""
    settings, store, authenticator = services.settings, services.store, services.authenticator
    presenter, bearers = services.keys.to_users, services.bearers

    def imap(*, implicit_tls: bool) -> ImapDoor:
        return ImapDoor(
            settings,
            store,
            authenticator,
            CLOCK,
            implicit_tls=implicit_tls,
            presenter=presenter,
            bearers=bearers,
        )

    def admin(guard: Guard | None = None) -> Door:
        from mssmtp.admin import Office
        from mssmtp.admin_server import AdminDoor

        return AdminDoor(Office(store, settings, CLOCK, ENTROPY), guard)

    makers: dict[str, Callable[[], Door]] = {
        "operators": lambda: OperatorDoor(services),
        "gateways": lambda: GatewayDoor(services),
        "submission": lambda: SubmissionDoor(services),
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
            settings, store, authenticator, presenter=presenter, bearers=bearers
        ),
        "admin": lambda: admin(_guard(settings, services.keys, services.trust)),
        "web": lambda: Knocker(partial(_pages, services)),
        "card": lambda: Knocker(partial(_card_port, services, cards)),
    }
    opened = {name: makers[name]() for name in endpoints(settings) if name in makers}
    return {ADMIN_SOCKET: Knocker(admin), **opened}


def _pages(services: Services) -> Door:
    from mssmtp.admin import Office
    from mssmtp.posting import Posting
    from mssmtp.web.opening import opened

    office = Office(services.store, services.settings, CLOCK, ENTROPY)
    guesses = services.authenticator.guesses.of("portal")
    return opened(office, guesses, posting=Posting(services))


def _card_port(services: Services, cards: CardFeed | None) -> Door:
    """Raises ConfigError."""
    from mssmtp.admin import Office
    from mssmtp.card_login import CardReader
    from mssmtp.web.opening import opened_for_cards

    if cards is None:
        raise ConfigError("web.cards", "is not set", "Name the authorities of cards.")
    settings, store = services.settings, services.store
    office = Office(store, settings, CLOCK, ENTROPY)
    responder = _responder(settings, cards.settings.pki, cards.trust)
    reader = CardReader(store, cards.trust, responder, CLOCK)
    return opened_for_cards(office, services.authenticator.guesses.of("portal"), reader)


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
