"""`mssmtp doctor`: what is wrong or will be, why, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from mssmtp import app
from mssmtp.config import CertificateSettings, Settings
from mssmtp.errors import ConfigError, MailError
from mssmtp.finding import Finding, Severity
from mssmtp.own_rows import publication
from mssmtp.pki import certificate_name, printed_name
from mssmtp.policy import Engine
from mssmtp.storage import Store
from mssmtp.tls_settings import check_settings, load_certificate
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import State, TrustFiles, freshness

__all__ = ["Finding", "Severity", "examine"]

_EXPIRY_WARNING = timedelta(days=30)
_LEAST_FREE_OCTETS = 1 << 30


_FRESHNESS = {"fresh": Severity.OK, "warning": Severity.WARNING, "alarm": Severity.ERROR}


def examine(settings: Settings, now: datetime, *, deep: bool) -> tuple[Finding, ...]:
    """Every finding, worst first. `deep` reads and authenticates every sealed object.

    What cannot even be looked at is a finding itself: one broken file hides nothing else.
    """
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _certificate("certificate for operators", settings.tls.operators[0], now),
        lambda: _certificate("certificate for users", settings.tls.users, now),
        lambda: _tls(settings),
        lambda: _trust(settings, now),
        lambda: _policy(settings),
        lambda: _disk(settings),
        lambda: _home(settings, now, deep=deep),
    )
    found = [finding for look in looks for finding in _reported(look)]
    order = (Severity.ERROR, Severity.WARNING, Severity.OK)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _reported(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except ConfigError as error:
        return [Finding(Severity.ERROR, error.what, error.why, error.remedy)]
    except MailError as error:
        return [Finding(Severity.ERROR, "store", str(error), "Check the disk and its rights.")]


def _certificate(what: str, files: CertificateSettings, now: datetime) -> Iterator[Finding]:
    left = app.end_of(files) - now
    if left < timedelta(0):
        yield Finding(Severity.ERROR, what, "has expired", "Order and install a new one now.")
    elif left < _EXPIRY_WARNING:
        yield Finding(Severity.WARNING, what, f"expires in {left.days} days", "Order the next one.")
    else:
        yield Finding(Severity.OK, what, f"valid for {left.days} days")


def _tls(settings: Settings) -> Iterator[Finding]:
    check_settings(settings.tls)
    yield Finding(Severity.OK, "TLS", f"{settings.tls.min_version} or better, allowed suites only")


def _trust(settings: Settings, now: datetime) -> Iterator[Finding]:
    snapshot = app.stored_trust(settings).snapshot
    yield from _list(settings, snapshot, now)
    yield from _revocation(snapshot, now)
    yield from _own_rows(settings, snapshot)
    yield from publication(settings, snapshot.whitelist, now)


def _list(settings: Settings, snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    whitelist = snapshot.whitelist
    if whitelist is None:
        yield Finding(
            Severity.ERROR,
            "whitelist",
            "none was ever accepted: every operator is deferred with 451 4.7.5",
            f"Check that {settings.whitelist.url} answers and that the signer pin is right.",
        )
        return
    state = TrustFiles(settings.store.home / "trust").state()
    severity = _FRESHNESS[freshness(state, settings.whitelist, now)]
    checked = f"{state.published.checked_at:%Y-%m-%d %H:%M} UTC" if state.published else "never"
    yield Finding(
        severity,
        "whitelist",
        f"of {whitelist.date:%Y-%m-%d %H:%M} UTC, {len(whitelist.rows)} rows;"
        f" last obtained {checked}",
        "" if severity is Severity.OK else "Check the network and the list's server.",
    )
    yield from _choices(state)


def _choices(state: State) -> Iterator[Finding]:
    """What a person has to decide, or has decided (OP-26, OP-28)."""
    if (held := state.held) is not None:
        yield Finding(
            Severity.ERROR,
            f"whitelist of {held.listed.date:%Y-%m-%d %H:%M} UTC",
            f"is held and not used: {'; '.join(held.reasons)}",
            "Look at `mssmtp trust diff`, ask ANS, then"
            f" `mssmtp trust confirm {held.listed.sha256[:12]}` or wait for a newer list.",
        )
    if (conflict := state.conflict) is not None:
        yield Finding(
            Severity.ERROR,
            f"whitelist of {conflict.date:%Y-%m-%d %H:%M} UTC",
            "exists twice with other content, both well signed; the second is refused"
            f" (seen {conflict.last_seen:%Y-%m-%d %H:%M} UTC)",
            "Tell ANS: the authority signed two lists of one second, or its key is misused.",
        )
    if (rolled_back := state.rolled_back) is not None:
        yield Finding(
            Severity.WARNING,
            "whitelist",
            f"was rolled back by {rolled_back.by} on {rolled_back.at:%Y-%m-%d %H:%M} UTC;"
            f" the list of {rolled_back.left.date:%Y-%m-%d %H:%M} UTC stays out",
            "It ends with a newer list, or by `mssmtp trust rollback --undo`.",
        )


def _own_rows(settings: Settings, snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.whitelist is None:
        return
    own = certificate_name(load_certificate(settings.tls.operators[0]).chain[0].subject)
    for domain in settings.operator.domains:
        names = snapshot.whitelist.names(domain)
        if own in names:
            yield Finding(Severity.OK, domain, "listed with our certificate's name")
        elif names:
            yield Finding(
                Severity.ERROR,
                domain,
                "listed, but not with the name of our certificate: peers refuse us",
                "Install the listed certificate, or ask ANS to add this name.",
            )
        else:
            yield Finding(
                Severity.ERROR,
                domain,
                "not in the whitelist: nothing is exchanged for it",
                "Declare it to ANS (contract, test, the six columns of the row).",
            )


def _revocation(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    ends = snapshot.revocation.next_update if snapshot.revocation else None
    if ends is None:
        yield Finding(
            Severity.ERROR,
            "revocation lists",
            "none is usable: every operator is deferred",
            "Check pki.crl_urls and the network.",
        )
    elif ends < now:
        yield Finding(
            Severity.ERROR, "revocation lists", "out of date: operators are deferred", "Same."
        )
    elif without := _without_crl(snapshot):
        yield Finding(
            Severity.ERROR,
            "revocation lists",
            f"none of {', '.join(without)}: operators are deferred",
            "Add its address to pki.crl_urls; certificates it issued name it.",
        )
    else:
        yield Finding(Severity.OK, "revocation lists", f"good until {ends:%Y-%m-%d %H:%M} UTC")


def _without_crl(snapshot: Snapshot) -> tuple[str, ...]:
    """Authorities whose CRL is asked for and not there: of the peers and of their issuers."""
    issuing = snapshot.anchors.issuing
    asked = {each.subject for each in issuing} | {each.issuer for each in issuing}
    held = {crl.issuer for crl in snapshot.revocation.crls} if snapshot.revocation else set()
    return tuple(sorted(printed_name(name) for name in asked - held))


def _policy(settings: Settings) -> Iterator[Finding]:
    relaxed = Engine(settings.policy, settings.limits).relaxed_rules
    for rule in relaxed:
        yield Finding(
            Severity.ERROR,
            f"policy rule {rule}",
            "is relaxed by this configuration",
            "Only a test profile may do that: take it out of policy.relax.",
        )
    if not relaxed:
        yield Finding(Severity.OK, "policy", "no must rule is relaxed")


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
        yield from _reported(lambda: _store(store, deep=deep))


def _queue(settings: Settings, store: Store, now: datetime) -> Iterator[Finding]:
    waiting = store.read(lambda reading: reading.queue()).result()
    for entry in waiting:
        if entry.damaged:
            yield Finding(
                Severity.ERROR,
                f"queue {entry.envelope}",
                "does not authenticate and is held: its recipient gets nothing",
                "Restore the home from its last good copy, or `mssmtp queue drop` it.",
            )
    late = [entry for entry in waiting if now - entry.queued_at > settings.queue.warn_after]
    if late:
        yield Finding(
            Severity.WARNING,
            "queue",
            f"{len(late)} of {len(waiting)} recipients wait for more than"
            f" {settings.queue.warn_after}",
            "`mssmtp queue list` shows the last reply of each.",
        )
    else:
        yield Finding(Severity.OK, "queue", f"{len(waiting)} recipients waiting")


def _store(store: Store, *, deep: bool) -> Iterator[Finding]:
    report = store.check(deep=deep)
    for problem in report.problems:
        yield Finding(
            Severity.ERROR, "store", problem, "Keep a copy of the home before anything else."
        )
    if report.is_sound:
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        yield Finding(Severity.OK, "store", f"every invariant holds ({counted})")
