"""The expiry weather: everything that ends in the next days, and what to do before (F11).

Pure: what is known comes in, endings sorted by date go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from mssmtp.config import Settings
from mssmtp.mail import Domain
from mssmtp.pki import certificate_name, printed_name, serial_text
from mssmtp.trust import Snapshot

HORIZON = timedelta(days=90)
STILL_USED = timedelta(days=2)
"""A certificate of a name that has a later one counts while it was seen this recently."""

FORGOTTEN = timedelta(days=30)
"""A peer's certificate that ended longer ago is no news."""


class Whose(StrEnum):
    """Who must act."""

    OURS = "ours"
    PEER = "peer"
    SPACE = "trust space"


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing that ends `at` that moment: what happens then, and what to do before."""

    at: datetime
    whose: Whose
    what: str
    then: str
    remedy: str
    routine: bool = False
    """Renewed by the server itself, again and again: nobody has to do anything before."""

    def is_trouble(self, now: datetime) -> bool:
        """It has ended, and somebody here should have prevented it."""
        return self.at <= now and self.whose is not Whose.PEER


@dataclass(frozen=True, slots=True)
class Peer:
    """A certificate of another operator that was let in, and when last."""

    certificate: x509.Certificate
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What the forecast is made of. `own`: our certificates by the file they are in."""

    snapshot: Snapshot
    own: Sequence[tuple[Path, x509.Certificate]]
    peers: Sequence[Peer] = ()
    signer: x509.Certificate | None = None
    list_checked_at: datetime | None = None
    own_crls: Sequence[tuple[str, datetime]] = ()
    """CRLs that our certificates name, and when the copy last seen there ends (CL-10)."""


def endings(
    settings: Settings, known: Known, now: datetime, horizon: timedelta = HORIZON
) -> tuple[Ending, ...]:
    """What has ended or ends within `horizon`, soonest first."""
    found = [
        *_own(known),
        *_peers(known, now),
        *_list(settings, known, now),
        *_authorities(known),
        *_crls(known, now),
        *_own_crls(known, now),
        *_moves(settings, now),
    ]
    return tuple(sorted((e for e in found if e.at < now + horizon), key=lambda each: each.at))


def _own(known: Known) -> Iterator[Ending]:
    listed = known.snapshot.whitelist
    for file, certificate in known.own:
        name = certificate_name(certificate.subject) or ()
        is_listed = listed is not None and bool(listed.domains_of(name))
        yield Ending(
            certificate.not_valid_after_utc,
            Whose.OURS,
            f"our certificate {printed_name(certificate.subject)} ({file})",
            "other operators and mail clients refuse us",
            "Order the next one now, with the same name: then nothing changes in the list."
            if is_listed
            else "Order the next one now.",
        )


def _peers(known: Known, now: datetime) -> Iterator[Ending]:
    listed = known.snapshot.whitelist
    if listed is None:
        return
    latest: dict[object, datetime] = {}
    for peer in known.peers:
        name = certificate_name(peer.certificate.subject)
        end = peer.certificate.not_valid_after_utc
        latest[name] = max(latest.get(name, end), end)
    for peer in known.peers:
        name = certificate_name(peer.certificate.subject)
        domains = sorted(listed.domains_of(name or ()))
        end = peer.certificate.not_valid_after_utc
        replaced = end < latest[name] and peer.seen_at < now - STILL_USED
        if not domains or replaced or end < now - FORGOTTEN:
            continue  # no partner any more, or renewed
        yield Ending(
            end,
            Whose.PEER,
            f"certificate of {printed_name(peer.certificate.subject)},"
            f" serial {serial_text(peer.certificate)}, for {_some(domains)}",
            "its mail is refused here, and ours to it waits",
            f"Tell them: {_contact(known, domains[0])}.",
        )


def _some(domains: Sequence[Domain]) -> str:
    more = f" and {len(domains) - 3} more" if len(domains) > 3 else ""
    return ", ".join(domains[:3]) + more


def _contact(known: Known, domain: Domain) -> str:
    listed = known.snapshot.whitelist
    contact = listed.contact(domain) if listed is not None else None
    return contact.support if contact is not None else "no contact is listed"


def _list(settings: Settings, known: Known, now: datetime) -> Iterator[Ending]:
    if known.list_checked_at is not None:
        stale_at = known.list_checked_at + settings.whitelist.alarm_after
        yield Ending(
            stale_at,
            Whose.SPACE,
            f"freshness of the list, last fetched {known.list_checked_at:%Y-%m-%d %H:%M} UTC",
            "an alarm is logged; mail goes on with the list in force",
            _usual(
                stale_at, now, "it is fetched every hour", "check whitelist.url and the network"
            ),
            routine=True,
        )
    if known.signer is not None:
        yield Ending(
            known.signer.not_valid_after_utc,
            Whose.SPACE,
            f"certificate of the list's signer {printed_name(known.signer.subject)}",
            "a list made later needs another certificate of the same subject",
            "Nothing if the subject stays. If the authority announces another one, set"
            " whitelist.signer_subject on the day (OP-25).",
        )


def _usual(ends: datetime, now: datetime, usually: str, cure: str) -> str:
    """What to do about an end that normally never comes, and about one that has come."""
    return f"Nothing while {usually}; else {cure}." if now < ends else f"Now {cure}."


def _authorities(known: Known) -> Iterator[Ending]:
    for authority in known.snapshot.anchors.certificates:
        yield Ending(
            authority.not_valid_after_utc,
            Whose.SPACE,
            f"authority {printed_name(authority.subject)}",
            "every certificate below it ends with it",
            "Add the authority that follows to pki.anchors_file before.",
        )


def _crls(known: Known, now: datetime) -> Iterator[Ending]:
    revocation = known.snapshot.revocation
    for crl in revocation.crls if revocation is not None else ():
        yield Ending(
            crl.next_update,
            Whose.SPACE,
            f"CRL of {printed_name(crl.issuer)}",
            "every operator below it is deferred with 451 4.7.5",
            _usual(
                crl.next_update, now, "it is fetched daily", "check pki.crl_urls and the network"
            ),
            routine=True,
        )


def _own_crls(known: Known, now: datetime) -> Iterator[Ending]:
    for url, ends in known.own_crls:
        yield Ending(
            ends,
            Whose.SPACE,
            f"CRL that our certificates name, {url}",
            "who checks it refuses us",
            _usual(ends, now, "its authority renews it", "tell ANS"),
            routine=True,
        )


def _moves(settings: Settings, now: datetime) -> Iterator[Ending]:
    for table in settings.domains:
        if table.served_from is not None and table.served_from > now:
            yield Ending(
                table.served_from,
                Whose.OURS,
                f"{table.name} begins to be served here",
                "its mail is delivered to the boxes here",
                "Have its boxes ready and the list name our certificate for it before.",
            )
        if table.forward_only_until is not None and table.forward_only_until > now:
            yield Ending(
                table.forward_only_until,
                Whose.OURS,
                f"forwarding of {table.name} ends",
                "what still comes here for it is refused, and what waits for it is returned",
                "Make sure the list and the MX record name its new operator before.",
            )
