"""The tables the rules read, compiled once from the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mssmtp.config import LimitSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.mail import Address, Domain, masked
from mssmtp.policy.apicrypt_table import ApicryptTable
from mssmtp.policy.domain_table import DomainTable
from mssmtp.policy.grants import Table
from mssmtp.policy.moves import Moves


@dataclass(frozen=True, slots=True)
class Tables:
    """What the rules know beside the facts."""

    from_policy: Literal["reject", "flag", "ignore"]
    patient_domains: frozenset[Domain]
    check_ins: Literal["refuse", "warn"]
    suspended_box: Literal["defer", "refuse"]
    apicrypt: ApicryptTable
    limits: LimitSettings
    habilitation: Table
    domains: DomainTable
    forbidden_attachments: frozenset[str] = frozenset()
    moves: Moves = Moves()
    test_words: frozenset[str] = frozenset()

    @classmethod
    def of(cls, policy: PolicySettings, limits: LimitSettings, moves: Moves) -> Tables:
        """The tables of the settings. Raises ConfigError."""
        native = ApicryptTable.of(policy.apicrypt)
        return cls(
            policy.from_policy,
            frozenset(policy.patient_domains),
            policy.check_ins,
            policy.suspended_box,
            native,
            limits,
            Table.of(policy.habilitation),
            DomainTable.of(policy.domain_rules, native),
            frozenset(policy.forbidden_attachments),
            moves,
            frozenset(word.lower() for word in policy.test_words),
        )

    def is_for_tests(self, domain: Domain) -> bool:
        """Is it a test or training domain by its name (OP-99)?"""
        return not self.test_words.isdisjoint(re.split(r"[.-]", domain))

    def is_patient(self, address: Address) -> bool:
        """True when `address` is one of a patient (OP-87)."""
        return address.domain in self.patient_domains

    def shown(self, address: Address | None) -> str:
        """`address` for `because` texts: a patient's is masked (OP-87), None is `<>`."""
        return "<>" if address is None else masked(address, self.patient_domains)
