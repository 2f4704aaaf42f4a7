"""What the settings say about people, as the functions of this room are given it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from mssmtp.config import Settings
from mssmtp.mail import Address, Domain


@dataclass(frozen=True, slots=True)
class Rules:
    """`served`: domains of this operator; `generic`: those that structures share, and for whom;
    `support`: where a region's people ask for help, by region."""

    served: frozenset[Domain]
    generic: Mapping[Domain, str] = field(default_factory=dict)
    support: Mapping[str, Address] = field(default_factory=dict)
    agreement_lasts: timedelta = timedelta(days=4 * 365)
    has_cab: bool = False
    certifies_finalised: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Those of `settings`."""
        people = settings.people
        return cls(
            frozenset(settings.operator.domains),
            {each.name: each.purpose for each in people.generic_domains},
            {each.region: each.address for each in people.support},
            people.agreement_lasts,
            people.cab,
            settings.prereg.auto_certify,
        )
