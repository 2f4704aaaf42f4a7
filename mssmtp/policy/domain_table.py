"""Domains of others whose recipients are written otherwise, reached otherwise, or refused.

Of the rules that fit a domain the longest name counts, and no other; two of one name are an error.
What is written instead is under no rule itself. So no order of them can surprise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mssmtp.config_policy import DomainRuleSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Address, Domain
from mssmtp.policy.apicrypt_table import ApicryptTable

_WHERE = "policy.domain_rules"
_BELOW = "*."


@dataclass(frozen=True, slots=True)
class DomainTable:
    """The rules by the name they were given."""

    rules: Mapping[str, DomainRuleSettings]

    @classmethod
    def of(cls, settings: Iterable[DomainRuleSettings], native: ApicryptTable) -> DomainTable:
        """The table of `settings`. Raises ConfigError when two of them could meet."""
        rules: dict[str, DomainRuleSettings] = {}
        for rule in settings:
            if rule.domain in rules:
                why = f"{rule.domain} has two rules"
                raise ConfigError(_WHERE, why, "Keep one: which one counts must not be chance.")
            rules[rule.domain] = rule
        table = cls(rules)
        for rule in rules.values():
            table._check(rule, native)
        return table

    def _check(self, rule: DomainRuleSettings, native: ApicryptTable) -> None:
        name = Domain(rule.domain.removeprefix(_BELOW))
        if native.mode != "off" and native.meets(name, is_below=rule.domain.startswith(_BELOW)):
            why = f"{rule.domain} is a native Apicrypt domain, which has rules of its own"
            raise ConfigError(_WHERE, why, "See policy.apicrypt, or switch that off.")
        if rule.to is None:
            return
        behind = self.rule_of(rule.to)
        is_further = behind is not None and behind.action != "route"
        if is_further or (native.mode != "off" and native.is_native(rule.to)):
            why = f"{rule.domain} is written as {rule.to}, which is written otherwise or refused"
            raise ConfigError(_WHERE, why, "Name the domain that is meant in the end.")

    def rule_of(self, name: Domain) -> DomainRuleSettings | None:
        """The one rule that counts for `name`."""
        if not self.rules:
            return None
        found = self.rules.get(name)
        rest: str = name
        while found is None and "." in rest:
            rest = rest.partition(".")[2]
            found = self.rules.get(f"{_BELOW}{rest}")
        return found

    def rewritten(self, address: Address) -> Address | None:
        """The address written instead of `address`; None: none. The local part stays."""
        rule = self.rule_of(address.domain)
        if rule is None or rule.to is None or rule.to == address.domain:
            return None
        return Address(address.local, rule.to)

    def hosts(self, name: Domain) -> tuple[str, ...]:
        """Whom to ask instead of the MX of `name`; nobody: its MX."""
        rule = self.rule_of(name)
        return () if rule is None else rule.hosts
