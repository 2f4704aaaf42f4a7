"""Domains that are reached by other hosts than their MX (`policy.domain_rules`)."""

from __future__ import annotations

from collections.abc import Callable

from mssmtp.mail import Domain
from mssmtp.outside import Resolver


class Routed:
    """A resolver that knows better for some domains. Whoever answers there is judged as always:
    its certificate has to be listed for the domain."""

    def __init__(self, resolver: Resolver, hosts: Callable[[Domain], tuple[str, ...]]) -> None:
        self._resolver = resolver
        self._hosts = hosts

    async def exchangers(self, name: Domain) -> tuple[str, ...]:
        """The hosts of the route, else those of DNS."""
        return self._hosts(name) or await self._resolver.exchangers(name)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """As DNS says."""
        return await self._resolver.addresses(host)
