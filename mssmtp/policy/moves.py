"""Domains that move between operators, and when: `[[domains]]` of the settings (OP-101)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from mssmtp import local_time
from mssmtp.config import DomainSettings
from mssmtp.mail import Domain


@dataclass(frozen=True, slots=True)
class Moves:
    """`coming`: served here from a date on. `leaving`: forwarded only, until a date; of a domain
    served elsewhere, the announced end of its move."""

    coming: Mapping[Domain, datetime] = field(default_factory=dict)
    leaving: Mapping[Domain, datetime] = field(default_factory=dict)
    zone: tzinfo = UTC
    """The clock of who reads a date of theirs."""

    @classmethod
    def of(cls, domains: Iterable[DomainSettings], zone: tzinfo = UTC) -> Moves:
        """The moves of the settings."""
        told = tuple(domains)
        return cls(
            {each.name: each.served_from for each in told if each.served_from is not None},
            {each.name: each.forward_only_until for each in told if each.forward_only_until},
            zone,
        )

    def is_settled(self, domain: Domain, now: datetime) -> bool:
        """Its boxes are in use here: neither awaited nor handed over. True without a move."""
        return domain not in self.leaving and self.coming_at(domain, now) is None

    def coming_at(self, domain: Domain, now: datetime) -> datetime | None:
        """From when it is served here, when that is still ahead."""
        moment = self.coming.get(domain)
        return moment if moment is not None and now < moment else None

    def leaving_until(self, domain: Domain, now: datetime) -> datetime | None:
        """Until when its mail is forwarded or waits, when that is still ahead."""
        moment = self.leaving.get(domain)
        return moment if moment is not None and now < moment else None

    def shown(self, moment: datetime) -> str:
        """A date as a person reads it in a reply."""
        return local_time.moment(moment, self.zone)
