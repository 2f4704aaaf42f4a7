"""Where each served domain stands in the list, and since when (DEF-01)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from mssmtp.config import Settings
from mssmtp.mail import Domain
from mssmtp.own.memory import KEPT_CHANGES, Change, Memory, OwnFiles, State
from mssmtp.pki import certificate_name, printed_name
from mssmtp.tls_settings import load_certificate
from mssmtp.whitelist import Whitelist


@dataclass(frozen=True, slots=True)
class Standing:
    """One served domain. `ours`: printed names of our certificates the list has for it; `others`:
    how many names of others; `since` and `changes` as the server remembers them."""

    domain: Domain
    state: State
    since: datetime | None
    ours: tuple[str, ...]
    others: int
    changes: tuple[Change, ...]


def standings_of(settings: Settings, listed: Whitelist | None) -> tuple[Standing, ...]:
    """For a command: certificates and memory as they are on disk.

    Raises ConfigError when a certificate cannot be loaded.
    """
    leaves = tuple(load_certificate(files).leaf for files in settings.tls.operators)
    memory = OwnFiles(settings.store.home).memory()
    return standings(settings.operator.domains, leaves, listed, memory)


def standings(
    served: tuple[Domain, ...],
    certificates: tuple[x509.Certificate, ...],
    listed: Whitelist | None,
    memory: Memory,
) -> tuple[Standing, ...]:
    """Of every served domain. `certificates`: ours, of `tls.operators`."""
    return tuple(_standing(domain, certificates, listed, memory) for domain in served)


def _standing(
    domain: Domain,
    certificates: tuple[x509.Certificate, ...],
    listed: Whitelist | None,
    memory: Memory,
) -> Standing:
    known = memory.domains.get(domain, ())
    if listed is None:
        state: State = known[-1].state if known else "requested"
        return Standing(domain, state, memory.since(domain, state), (), 0, known)
    names = listed.names(domain)
    ours = {
        key: printed_name(each.subject)
        for each in certificates
        if (key := certificate_name(each.subject)) in names and key is not None
    }
    state = "listed" if ours else "withdrawn" if memory.was_listed(domain) else "requested"
    since = memory.since(domain, state)
    return Standing(domain, state, since, tuple(ours.values()), len(names - ours.keys()), known)


def remember(memory: Memory, now: datetime, found: tuple[Standing, ...]) -> Memory:
    """`memory` with the states that have changed."""
    domains = dict(memory.domains)
    for each in found:
        known = domains.get(each.domain, ())
        if not known or known[-1].state != each.state:
            changes = (*known, Change(each.state, now.isoformat()))
            # The first change stays: it says since when the domain is prepared here.
            domains[each.domain] = (
                changes
                if len(changes) <= KEPT_CHANGES
                else changes[:1] + changes[1 - KEPT_CHANGES :]
            )
    return replace(memory, domains=domains) if domains != dict(memory.domains) else memory
