"""What a person should know of the list and the CRLs in force: `doctor` and `trust show` say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mssmtp.config import PkiSettings, Settings
from mssmtp.finding import Finding, Severity
from mssmtp.pki import printed_name
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import CRL_ALARM, ListState, State, freshness

_FRESHNESS = {"fresh": Severity.OK, "warning": Severity.WARNING, "alarm": Severity.ERROR}


def list_findings(
    settings: Settings, snapshot: Snapshot, state: State, now: datetime
) -> Iterator[Finding]:
    """The list in force, how fresh it is, and what waits for a person (OP-26 to OP-28)."""
    url, failure = settings.whitelist.url, state.failures.get(settings.whitelist.url)
    failed = f"; the last try failed: {failure.reason}" if failure is not None else ""
    whitelist = snapshot.whitelist
    if whitelist is None and state.listed is not None:
        yield _unusable(state.listed, snapshot, now)
        return
    if whitelist is None:
        yield Finding(
            Severity.ERROR,
            "whitelist",
            f"none was ever accepted: every operator is deferred with 451 4.7.5{failed}",
            f"Check that {url} answers and that whitelist.signer_subject is right;"
            " `mssmtp trust refresh` tries now.",
        )
        return
    severity = _FRESHNESS[freshness(state, settings.whitelist, now)]
    checked = f"{state.published.checked_at:%Y-%m-%d %H:%M} UTC" if state.published else "never"
    yield Finding(
        severity,
        "whitelist",
        f"of {whitelist.date:%Y-%m-%d %H:%M} UTC, {len(whitelist.rows)} rows;"
        f" last obtained {checked}{failed}",
        ""
        if severity is Severity.OK
        else f"Mail goes on with this list. Check the way to {url}; `mssmtp trust refresh` tries.",
    )
    if whitelist.sha256 != state.in_force:
        yield Finding(
            Severity.ERROR,
            "whitelist",
            "the one in force is damaged or does not verify any more: an earlier one serves",
            "`mssmtp trust refresh` fetches it again; `mssmtp trust history` shows what is kept.",
        )
    yield from _choices(state)


def _unusable(listed: ListState, snapshot: Snapshot, now: datetime) -> Finding:
    """A list was accepted, and does not verify now: who signed it must be known not revoked."""
    ends = snapshot.revocation.next_update if snapshot.revocation else None
    has_crls = ends is not None and ends > now
    return Finding(
        Severity.ERROR,
        "whitelist",
        f"the list of {listed.date:%Y-%m-%d %H:%M} UTC is kept, but does not verify now"
        + ("" if has_crls else ", because no CRL in force tells of its signer")
        + ": after a restart every operator is deferred with 451 4.7.5",
        "`mssmtp trust refresh` fetches it again; see `whitelist.url` and the anchors."
        if has_crls
        else "Cure the CRLs first: the list is usable again with them.",
    )


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


@dataclass(frozen=True, slots=True)
class Whose:
    """Certificates whose CRLs are told of: `section` of the settings, and what happens to them."""

    what: str = "CRLs"
    section: str = "pki"
    all_wait: str = "every operator is deferred"
    wait: str = "operators are deferred"
    retry: str = "`mssmtp trust refresh` tries now."


OPERATORS = Whose()
CARDS = Whose(
    "CRLs of cards",
    "web.cards",
    "every card is refused",
    "cards are refused",
    "a running server tries every few minutes.",
)


def revocation_findings(
    pki: PkiSettings, snapshot: Snapshot, state: State, now: datetime, whose: Whose = OPERATORS
) -> Iterator[Finding]:
    """The CRLs in force; one that is not obtained any more is told while there is time (OP-09)."""
    what, ends = whose.what, snapshot.revocation.next_update if snapshot.revocation else None
    remedy = f"Check {whose.section}.crl_urls and the network; {whose.retry}"
    failed = [(url, state.failures[url]) for url in pki.crl_urls if url in state.failures]
    why = "".join(f"; {url}: {failure.reason}" for url, failure in failed)
    if ends is None:
        yield Finding(Severity.ERROR, what, f"none is usable: {whose.all_wait}{why}", remedy)
    elif ends <= now:
        yield Finding(
            Severity.ERROR,
            what,
            f"out of date since {ends:%Y-%m-%d %H:%M} UTC: {whose.wait}{why}",
            remedy,
        )
    elif without := _without_crl(snapshot):
        yield Finding(
            Severity.ERROR,
            what,
            f"none of {', '.join(without)}: {whose.wait}{why}",
            f"Add its address to {whose.section}.crl_urls; certificates it issued name it.",
        )
    elif failed:
        soon = ends - now < min(pki.crl_refresh, CRL_ALARM)
        yield Finding(
            Severity.ERROR if soon else Severity.WARNING,
            what,
            f"good until {ends:%Y-%m-%d %H:%M} UTC, then {whose.wait}{why}",
            remedy,
        )
    else:
        yield Finding(Severity.OK, what, f"good until {ends:%Y-%m-%d %H:%M} UTC")


def _without_crl(snapshot: Snapshot) -> tuple[str, ...]:
    """Authorities whose CRL is asked for and not there: of the peers and of their issuers."""
    issuing = snapshot.anchors.issuing
    asked = {each.subject for each in issuing} | {each.issuer for each in issuing}
    held = {crl.issuer for crl in snapshot.revocation.crls} if snapshot.revocation else set()
    return tuple(sorted(printed_name(name) for name in asked - held))
