"""`mssmtp doctor`: what is wrong or will be, why, and what to do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache

from mssmtp import app
from mssmtp.antivirus import Clamd, ScannerDown, signatures_of
from mssmtp.cloud_relays import LISTED_ON
from mssmtp.config import Settings
from mssmtp.config_tokens import AuthSettings
from mssmtp.errors import ConfigError, MailError
from mssmtp.finding import Finding, Severity
from mssmtp.gateways import Gateways
from mssmtp.own import findings
from mssmtp.own_rows import own_names, publication
from mssmtp.people.findings import findings as people_findings
from mssmtp.pki import listed_name
from mssmtp.policy import Engine, Moves
from mssmtp.storage import QUEUE_BEGIN, QueueEntry, QueuePlace, Reading, Store
from mssmtp.tls_settings import check_settings
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import CARDS as CARDS_PLACE
from mssmtp.trust_feed import TrustFiles
from mssmtp.trust_findings import CARDS, list_findings, revocation_findings

__all__ = ["Finding", "Severity", "examine"]

_LEAST_FREE_OCTETS = 1 << 30
_HANDING_ON_LASTS = timedelta(days=30)
_NOTICES_LATE = timedelta(hours=26)
"""A daily notice waits for a day."""
_PAGE = 200
_CLOUD_TOLD = timedelta(days=30)
_LIST_LASTS = timedelta(days=366)
_MOST_SHOWN = 10
_SIGNATURES_LAST = timedelta(days=7)


def examine(settings: Settings, now: datetime, *, deep: bool) -> tuple[Finding, ...]:
    """Every finding, worst first. `deep` reads and authenticates every sealed object, and has the
    scanner look at the longest message.

    What cannot even be looked at is a finding itself: one broken file hides nothing else.
    """
    stored = cache(lambda: app.stored_trust(settings).snapshot)  # verified once
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _own(settings, now, stored),
        lambda: _tls(settings),
        lambda: _trust(settings, now, stored),
        lambda: _cards(settings, now),
        lambda: _moves(settings, now, stored),
        lambda: _policy(settings),
        lambda: _gateways(settings),
        lambda: _antivirus(settings, now, deep=deep),
        lambda: _disk(settings),
        lambda: _home(settings, now, deep=deep),
    )
    # A file that several looks need is told once.
    found = dict.fromkeys(finding for look in looks for finding in _reported(look))
    order = (Severity.ERROR, Severity.WARNING, Severity.OK)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _reported(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except ConfigError as error:
        return [Finding(Severity.ERROR, error.what, error.why, error.remedy)]
    except MailError as error:
        return [Finding(Severity.ERROR, "store", str(error), "Check the disk and its rights.")]


def _own(settings: Settings, now: datetime, stored: Callable[[], Snapshot]) -> Iterator[Finding]:
    try:
        listed = stored().whitelist
    except ConfigError:
        listed = None  # `_trust` says why
    yield from findings(settings, now, listed)


def _tls(settings: Settings) -> Iterator[Finding]:
    check_settings(settings.tls)
    yield Finding(Severity.OK, "TLS", f"{settings.tls.min_version} or better, allowed suites only")


def _trust(settings: Settings, now: datetime, stored: Callable[[], Snapshot]) -> Iterator[Finding]:
    snapshot = stored()
    state = TrustFiles(settings.store.home / "trust").state()
    yield from list_findings(settings, snapshot, state, now)
    yield from revocation_findings(settings.pki, snapshot, state, now)
    yield from publication(settings, snapshot.whitelist, now)


def _cards(settings: Settings, now: datetime) -> Iterator[Finding]:
    """SEED-12: whether the card of a holder can be judged."""
    cards, snapshot = settings.web.cards, app.stored_cards(settings)
    if cards is None or snapshot is None:
        return
    if not cards.crl_urls:
        yield Finding(Severity.OK, CARDS.what, "none: the responder of cards is asked")
        return
    state = TrustFiles(settings.store.home / "trust" / CARDS_PLACE).state()
    yield from revocation_findings(cards.pki, snapshot, state, now, CARDS)


def _moves(settings: Settings, now: datetime, stored: Callable[[], Snapshot]) -> Iterator[Finding]:
    """OP-101: what a domain that comes or leaves still lacks, and dates that have passed."""
    listed, moves = stored().whitelist, Moves.of(settings.domains)
    own = {listed_name(name) for name in own_names(settings)}
    for domain, moment in {**moves.coming, **moves.leaving}.items():
        day = f"{moment:%Y-%m-%d}"
        ahead, names = now < moment, listed.names(domain) if listed is not None else frozenset()
        if domain in moves.coming and ahead and not names & own:
            lacks = f"is served here from {day}, but the list does not name us for it"
            remedy = "`mssmtp trust expected` prints the rows to send to the authority."
        elif domain in moves.coming and now - moment > _HANDING_ON_LASTS:
            lacks = f"came on {day}; its former operator may still hand its mail on"
            remedy = "Take served_from out of its table [[domains]]."
        elif domain in moves.leaving and not ahead:
            lacks = f"left on {day}"
            remedy = "Take its table [[domains]] away, and its name from operator.domains."
        elif domain in settings.operator.domains and domain in moves.leaving and not names - own:
            lacks = f"leaves until {day}, but the list names nobody beside us: its mail waits"
            remedy = "Its new operator has its certificate declared for it."
        else:
            yield Finding(Severity.OK, f"domain {domain}", f"moves, {day}")
            continue
        yield Finding(Severity.WARNING, f"domain {domain}", lacks, remedy)


def _policy(settings: Settings) -> Iterator[Finding]:
    engine = Engine(settings.policy, settings.limits)
    relaxed = engine.relaxed_rules
    for rule in relaxed:
        yield Finding(
            Severity.ERROR,
            f"policy rule {rule}",
            "is relaxed by this configuration",
            "Only a test profile may do that: take it out of policy.relax.",
        )
    if not relaxed:
        yield Finding(Severity.OK, "policy", "no must rule is relaxed")
    for opened in engine.opened_beyond:
        yield Finding(
            Severity.WARNING,
            "policy habilitation",
            f"opens more than the shipped table: {opened}",
            "Keep it only if the rules of the space allow it; the line is in policy.habilitation.",
        )


def _antivirus(settings: Settings, now: datetime, *, deep: bool) -> Iterator[Finding]:
    """OP-68: none is allowed, and told; one that does not answer defers every message."""
    scanner = Clamd.of(settings.antivirus)
    if scanner is None:
        yield Finding(
            Severity.WARNING,
            "antivirus",
            "none is configured: messages are not scanned",
            "Install clamd and name its socket as antivirus.clamd.",
        )
        return
    try:
        version = asyncio.run(scanner.version())
    except ScannerDown as error:
        yield Finding(
            Severity.ERROR,
            "antivirus",
            f"clamd does not answer at {scanner.place} ({error}): every message is deferred",
            "Start clamd, or correct antivirus.clamd.",
        )
        return
    longest = settings.limits.message_octets
    if deep and not _takes(scanner, longest):
        yield Finding(
            Severity.ERROR,
            "antivirus",
            f"clamd does not take a message of {longest} octets: such a message is deferred",
            "Set StreamMaxLength of clamd.conf to limits.message_octets or more.",
        )
    dated = signatures_of(version)
    if dated is not None and now - dated > _SIGNATURES_LAST:
        yield Finding(
            Severity.WARNING,
            "antivirus",
            f"its signatures are of {dated:%Y-%m-%d}",
            "See why freshclam does not bring newer ones.",
        )
    else:
        yield Finding(Severity.OK, "antivirus", version)


def _takes(scanner: Clamd, octets: int) -> bool:
    try:
        asyncio.run(scanner.take(octets))
    except ScannerDown:
        return False
    return True


def _gateways(settings: Settings) -> Iterator[Finding]:
    """DEF-19: hospitals in front of us; `gateway check` tries them."""
    for gateway in Gateways.load(settings).all:
        shown = f"{len(gateway.aliases)} aliases, mail for its boxes: {gateway.settings.inbound}"
        yield Finding(Severity.OK, f"gateway {gateway.name}", shown)
    if settings.gateways and settings.listen.gateways is None:
        yield Finding(
            Severity.WARNING,
            "gateways",
            "are in the settings, and no door is open for them",
            "Name listen.gateways.",
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(settings.store.home).free
    except OSError:
        return  # the home itself is a finding then
    if free < _LEAST_FREE_OCTETS:
        yield Finding(
            Severity.WARNING,
            "disk",
            f"{free // 1_048_576} MiB free where the store lives",
            "Make room: a full disk defers every message.",
        )
    else:
        yield Finding(Severity.OK, "disk", f"{free // (1 << 30)} GiB free")


def _home(settings: Settings, now: datetime, *, deep: bool) -> Iterator[Finding]:
    with app.store_of(settings) as store:
        yield from _reported(lambda: _queue(settings, store, now))
        yield from _reported(lambda: _notices(settings, store, now))
        yield from _reported(lambda: _conservation(store))
        yield from _reported(lambda: _people(settings, store, now))
        yield from _reported(lambda: cloud_findings(settings.auth, store, now))
        yield from _reported(lambda: _store(store, deep=deep))


def _people(settings: Settings, store: Store, now: datetime) -> tuple[Finding, ...]:
    return store.read(lambda reading: tuple(people_findings(reading, settings, now))).result()


def cloud_findings(auth: AuthSettings, store: Store, now: datetime) -> Iterator[Finding]:
    """F2: who tried to log in through the servers of a program's maker; how old the list is."""
    tried = store.read(lambda reading: reading.cloud_attempts(now - _CLOUD_TOLD)).result()
    if tried:
        shown = ", ".join(str(id) for id in tried[:_MOST_SHOWN])
        more = "" if len(tried) <= _MOST_SHOWN else f" and {len(tried) - _MOST_SHOWN} more"
        why = f"logins through a maker's servers in 30 days, of the accounts {shown}{more}"
        remedy = (
            "`mssmtp person activity` shows when and whence. Have these people use a program that"
            " connects directly, and change the password they gave away."
        )
        yield Finding(Severity.WARNING, "cloud relays", why, remedy)
    if auth.cloud_relays != "allow" and auth.cloud_shipped_ranges:
        is_old = now.date() - LISTED_ON > _LIST_LASTS
        severity = Severity.WARNING if is_old else Severity.OK
        remedy = "Take a newer release, or name the new ranges in auth.cloud_ranges."
        days = (now.date() - LISTED_ON).days
        why = f"{auth.cloud_relays}; the list of addresses is of {LISTED_ON}, {days} days old"
        yield Finding(severity, "cloud relays", why, remedy if is_old else "")


def _queue(settings: Settings, store: Store, now: datetime) -> Iterator[Finding]:
    """Counted by the engine: a queue of 100,000 is as quick as an empty one."""
    late_after = settings.queue.warn_after
    counts = store.read(lambda reading: reading.queue_counts(now, late_after)).result()
    yield from _damaged(store)
    if counts.late:
        yield Finding(
            Severity.WARNING,
            "queue",
            f"{counts.late} of {counts.waiting} recipients wait for more than {late_after}",
            "`mssmtp queue top` shows where, `mssmtp queue why DOMAIN` why.",
        )
    else:
        yield Finding(Severity.OK, "queue", f"{counts.waiting} recipients waiting")
    if counts.held:
        yield Finding(
            Severity.WARNING,
            "queue",
            f"{counts.held} recipients are held",
            "`mssmtp queue list --held` shows them, `mssmtp queue release` lets them go.",
        )


def _notices(settings: Settings, store: Store, now: datetime) -> Iterator[Finding]:
    """The relay of service mail: mail itself does not depend on it (DEF-04)."""
    if not settings.notices.is_on:
        why = "no relay: no code is mailed, and nobody is told of what arrives"
        yield Finding(Severity.OK, "service mail", why)
        return
    if settings.listen.web is None:
        yield Finding(
            Severity.WARNING,
            "service mail",
            f"its links lead to {settings.notices.portal_url}, and no door answers browsers here",
            "Set listen.web and [web], unless another server answers there.",
        )
    waiting, oldest = store.read(lambda reading: reading.notice_state()).result()
    stuck = store.read(lambda reading: reading.relay_stuck_since()).result()
    if stuck is not None:
        yield Finding(
            Severity.WARNING,
            "service mail",
            f"the relay takes nothing; {waiting} mails wait, one since {stuck:%Y-%m-%d %H:%M} UTC",
            f"See that {settings.notices.relay_host} answers; the log says why it does not.",
        )
    elif oldest is not None and now - oldest > _NOTICES_LATE:
        yield Finding(
            Severity.WARNING,
            "service mail",
            f"{waiting} mails wait, one since {oldest:%Y-%m-%d %H:%M} UTC",
            "The relay puts them off one by one: ask its administrator.",
        )
    else:
        yield Finding(Severity.OK, "service mail", f"{waiting} mails waiting")


def _damaged(store: Store) -> Iterator[Finding]:
    """What does not authenticate is held by whoever meets it first; each letter is told once."""
    place: QueuePlace | None = QUEUE_BEGIN
    last = None
    while place is not None:
        page, place = store.read(_held_behind(place)).result()
        for entry in page:
            if entry.damaged and entry.envelope != last:
                last = entry.envelope
                yield Finding(
                    Severity.ERROR,
                    f"queue {entry.envelope}",
                    "does not authenticate and is held: its recipient gets nothing",
                    "Restore the home from its last good copy, or `mssmtp queue drop` it.",
                )


def _held_behind(
    place: QueuePlace,
) -> Callable[[Reading], tuple[tuple[QueueEntry, ...], QueuePlace | None]]:
    return lambda reading: reading.queue_page(place, _PAGE, held=True)


def _conservation(store: Store) -> Iterator[Finding]:
    """D3, of all envelopes together; `store check` looks at each."""
    found = store.read(lambda reading: reading.conservation()).result()
    envelopes, accepted, delivered, bounced, dropped, waiting = found
    law = (
        f"{accepted} recipients accepted in {envelopes} messages = {delivered} delivered"
        f" + {bounced} bounced + {waiting} queued + {dropped} dropped"
    )
    if accepted == delivered + bounced + waiting + dropped:
        yield Finding(Severity.OK, "conservation law", law)
    else:
        yield Finding(
            Severity.ERROR,
            "conservation law",
            f"does not hold: {law}",
            "Copy the home before anything else; `mssmtp store check` names the messages.",
        )


def _store(store: Store, *, deep: bool) -> Iterator[Finding]:
    report = store.check(deep=deep)
    for problem in report.problems:
        yield Finding(
            Severity.ERROR, "store", problem, "Keep a copy of the home before anything else."
        )
    if report.is_sound:
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        yield Finding(Severity.OK, "store", f"every invariant holds ({counted})")
