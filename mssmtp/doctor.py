"""`mssmtp doctor`: what is wrong or will be, why, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from mssmtp.config import Settings
from mssmtp.errors import MailError
from mssmtp.pki import certificate_name
from mssmtp.policy import Engine
from mssmtp.storage import Store
from mssmtp.trust import Snapshot

_EXPIRY_WARNING = timedelta(days=30)
_LEAST_FREE_OCTETS = 1 << 30


class Severity(StrEnum):
    """`error` makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    severity: Severity
    what: str
    why: str
    remedy: str = ""


def examine(
    settings: Settings, store: Store, snapshot: Snapshot, now: datetime, *, deep: bool
) -> tuple[Finding, ...]:
    """Every finding, worst first. `deep` reads and authenticates every sealed object."""
    found = [
        *_certificates(settings, now),
        *_list(settings, snapshot, now),
        *_own_rows(settings, snapshot),
        *_revocation(snapshot, now),
        *_policy(settings),
        *_disk(settings),
        *_queue(settings, store, now),
        *_store(store, deep=deep),
    ]
    order = (Severity.ERROR, Severity.WARNING, Severity.OK)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _certificates(settings: Settings, now: datetime) -> Iterator[Finding]:
    for title, files in (("operators", settings.tls.operators), ("users", settings.tls.users)):
        what = f"certificate for {title}"
        certificate = _leaf(files.certificate_file)
        left = certificate.not_valid_after_utc - now
        if left < timedelta(0):
            yield Finding(Severity.ERROR, what, "has expired", "Order and install a new one now.")
        elif left < _EXPIRY_WARNING:
            yield Finding(
                Severity.WARNING, what, f"expires in {left.days} days", "Order the next one."
            )
        else:
            yield Finding(Severity.OK, what, f"valid for {left.days} days")


def _leaf(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


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
    age = now - whitelist.date
    severity = Severity.OK
    if age > settings.whitelist.alarm_after:
        severity = Severity.ERROR
    elif age > settings.whitelist.warn_after:
        severity = Severity.WARNING
    yield Finding(
        severity,
        "whitelist",
        f"of {whitelist.date:%Y-%m-%d %H:%M} UTC, {len(whitelist.rows)} rows",
        "" if severity is Severity.OK else "Check the network and the list's server.",
    )


def _own_rows(settings: Settings, snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.whitelist is None:
        return
    own = certificate_name(_leaf(settings.tls.operators.certificate_file).subject)
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
    else:
        yield Finding(Severity.OK, "revocation lists", f"good until {ends:%Y-%m-%d %H:%M} UTC")


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
    free = shutil.disk_usage(settings.store.home).free
    if free < _LEAST_FREE_OCTETS:
        yield Finding(
            Severity.WARNING,
            "disk",
            f"{free // 1_048_576} MiB free where the store lives",
            "Make room: a full disk defers every message.",
        )
    else:
        yield Finding(Severity.OK, "disk", f"{free // (1 << 30)} GiB free")


def _queue(settings: Settings, store: Store, now: datetime) -> Iterator[Finding]:
    waiting = store.read(lambda reading: reading.queue()).result()
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
    try:
        report = store.check(deep=deep)
    except MailError as error:
        yield Finding(Severity.ERROR, "store", str(error), "Check the disk and its rights.")
        return
    for problem in report.problems:
        yield Finding(
            Severity.ERROR, "store", problem, "Keep a copy of the home before anything else."
        )
    if report.is_sound:
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        yield Finding(Severity.OK, "store", f"every invariant holds ({counted})")
