"""The door of appliances: what their old software does, and no other door takes (MAC-02).

A bare LF ends a line as CRLF does, before anything looks at the octets: what is stored and sent on
has CRLF only, so that nothing ambiguous goes further (ATT-01). AUTH is taken in the forms of old
devices. TLS is the TLS of every door.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Protocol

from mssmtp.awaiting import awaited
from mssmtp.identity import BadCredentials, Exchange
from mssmtp.machines import Machines
from mssmtp.smtp.syntax import MailCommand
from mssmtp.smtp.transaction import Transaction
from mssmtp.smtp_link import House
from mssmtp.smtp_lookup import LoginLost, from_principal, still_entitled
from mssmtp.smtp_machine import Machine, NotServed

_BARE_LF = re.compile(rb"(?<!\r)\n")


class ApplianceHouse(House, Protocol):
    """The door of appliances."""

    machines: Machines


class ApplianceMachine(Machine):
    """One connection of a device."""

    def __init__(self, house: ApplianceHouse) -> None:
        super().__init__(house)
        self._machines = house.machines
        self._ended_in_cr = False

    def data_received(self, data: bytes) -> None:
        paired = b"\n" if self._ended_in_cr and data.startswith(b"\n") else b""
        self._ended_in_cr = data.endswith(b"\r") if data else self._ended_in_cr
        super().data_received(paired + _BARE_LF.sub(b"\r\n", data[len(paired) :]))

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        if verb == b"BDAT":
            # The lengths it announces are not those of octets that were mended.
            self._is_last = True
            raise NotServed
        if verb == b"MAIL":
            return self._mail_of_machine(argument)
        return super()._perform(verb, argument)

    def _announced(self) -> list[str]:
        """AUTH= is how devices from before RFC 2554 look for it."""
        lines = [line for line in super()._announced() if line != "CHUNKING"]
        return (
            [*lines, f"AUTH={' '.join(self._house.mechanisms)}"]
            if self._conversation.secured
            else lines
        )

    def _exchange(self, mechanism: str) -> Exchange:
        return Exchange(mechanism, self._house.mechanisms, is_lenient=True)

    async def _mail_of_machine(self, argument: str | None) -> None:
        """MAIL: who has not logged in may have shown a certificate instead."""
        conversation = self._conversation
        if conversation.secured and conversation.principal is None:
            now = self._services.clock.now()
            self._services.trust.demand_active(self._peer_chain())
            machine = self._machines.presenting(self._peer_chain(), self.address, now)
            if machine is not None:
                known = self._services.store.read(lambda r: self._machines.principal(r, machine))
                try:
                    conversation.principal = await awaited(known)
                except BadCredentials as error:
                    raise LoginLost from error
        await self._mail(argument)

    async def _begin(self, command: MailCommand) -> Transaction:
        principal = self._conversation.principal
        if principal is None:
            raise LoginLost
        try:
            return await from_principal(
                self._services, principal, command, self._machines.refreshed
            )
        except LoginLost:
            self._conversation.principal = None
            raise

    async def _still_entitled(self, transaction: Transaction) -> None:
        await still_entitled(self._services, transaction, (), self._machines.refreshed)
