"""Native Apicrypt domains, the interop domain and the mapping of local parts (APX-03)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mssmtp.config_policy import ApicryptSettings
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import Address, Domain

_PATTERN = re.compile(r"[a-z0-9*]([a-z0-9*.-]*[a-z0-9*])?\Z")


@dataclass(frozen=True, slots=True)
class ApicryptTable:
    """Native domains, the interop domain and the mapping of local parts (APX-03)."""

    mode: Literal["rewrite", "refuse", "off"]
    native: tuple[re.Pattern[str], ...]
    interop_domain: Domain
    mapping: Mapping[Address, str]
    samples: tuple[str, ...] = ()
    """One domain of each pattern."""

    @classmethod
    def of(cls, settings: ApicryptSettings) -> ApicryptTable:
        """The table of `settings`. Raises ConfigError naming the pattern or line at fault."""
        native = tuple(_compiled(pattern) for pattern in settings.domains)
        table = cls(settings.mode, native, settings.interop_domain, {})
        mapping: dict[Address, str] = {}
        for typed, local in settings.mapping.items():
            where = f"policy.apicrypt.mapping.{typed}"
            try:
                address = Address.parse(typed)
                Address(local, settings.interop_domain)
            except BadAddress as error:
                raise ConfigError(
                    where, "is not an address = local part", "Correct the line."
                ) from error
            if not table.is_native(address.domain):
                raise ConfigError(
                    where,
                    "is in no native domain, so it would never be used",
                    "Add its domain to policy.apicrypt.domains or remove the line.",
                )
            mapping[address] = local
        samples = tuple(each.strip().lower().replace("*", "1") for each in settings.domains)
        return cls(settings.mode, native, settings.interop_domain, mapping, samples)

    def is_native(self, name: Domain) -> bool:
        """True when `name` is one of the native domains; the interop domain never is."""
        return name != self.interop_domain and any(p.match(name) for p in self.native)

    def meets(self, name: Domain, *, is_below: bool) -> bool:
        """True when `name`, or with `is_below` a domain below it, can be a native one."""
        if not is_below:
            return self.is_native(name)
        return any(sample.endswith(f".{name}") for sample in self.samples)

    def interop(self, typed: Address) -> Address:
        """The address written instead of the native `typed`: local part kept unless mapped."""
        return Address(self.mapping.get(typed, typed.local), self.interop_domain)

    def namesakes(self, typed: Address) -> tuple[Address, ...]:
        """The other native addresses the mapping table leads to the same interop address."""
        target = self.interop(typed)
        return tuple(
            other for other in self.mapping if other != typed and self.interop(other) == target
        )


def _compiled(pattern: str) -> re.Pattern[str]:
    """`medical*.apicrypt.org` as an expression: `*` is digits only, one or more.

    Digits only, so that a pattern can never reach a domain somebody else could register below
    or beside the one that was meant.
    """
    folded = pattern.strip().lower()
    if not _PATTERN.match(folded) or "**" in folded:
        raise ConfigError(
            "policy.apicrypt.domains",
            f"« {pattern} » is not a domain, with * for digits",
            "Write for example medical*.apicrypt.org.",
        )
    return re.compile(re.escape(folded).replace(r"\*", "[0-9]+") + r"\Z")
