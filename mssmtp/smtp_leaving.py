"""Whether a letter may still go where it was bound when it was accepted.

Days may lie between the two: the list, the moves of our domains, the sender's box and the hour are
looked at again at each attempt (OP-34, OP-101, SEC-06).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from mssmtp.awaiting import awaited
from mssmtp.errors import Reply
from mssmtp.mail import (
    Action,
    Address,
    BalState,
    Domain,
    DomainState,
    Door,
    Facts,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.outside import Clock
from mssmtp.policy import Engine, refusals
from mssmtp.smtp_wire import DeadlineMissed
from mssmtp.storage import Lease, Store
from mssmtp.trust import PeerRefused, Snapshot, Trust

_HOLDS_S = 1.0
"""As in `smtp_pool`: the letters of one second share one decision, under one list."""
_REMEMBERED = 4_096

Unlisted = Callable[[], tuple[tuple[Domain, DomainState], ...]]


class Leaving:
    """Asked for each lease. `unlisted`: domains of ours that the list does not know."""

    def __init__(
        self,
        domains: Collection[Domain],
        engine: Engine,
        trust: Trust,
        store: Store,
        clock: Clock,
        unlisted: Unlisted,
    ) -> None:
        self._domains = frozenset(domains)
        self._engine, self._trust, self._store = engine, trust, store
        self._clock, self._unlisted = clock, unlisted
        self._passed: dict[tuple[Domain | None, Domain], tuple[Snapshot, float]] = {}

    def is_ours(self, sender: Address) -> bool:
        """An address of a domain served here."""
        return sender.domain in self._domains

    def is_home(self, domain: Domain) -> bool:
        """Served here, and queued only because a gateway that is gone was in front of it."""
        settled = self._engine.moves.is_settled(domain, self._clock.now())
        return domain in self._domains and settled

    def is_handed_on(self, domain: Domain) -> bool:
        """A domain of ours whose mail is forwarded to its other operator (OP-101)."""
        until = self._engine.moves.leaving_until(domain, self._clock.now())
        return domain in self._domains and until is not None

    async def lost_sender(self, lease: Lease) -> Reply | None:
        """SEC-06: of who was suspended or closed since nothing leaves that was wished later (RFC
        4865); it comes back.

        What an account had sent before the operator suspended it waits for the end of that, or of
        its own time (OP-79). What a box had sent before it was closed leaves: it was accepted.
        """
        sender, stopped = lease.envelope.sender, self._trust.suspended.boxes
        is_later = lease.envelope.hold_until is not None
        if not (is_later or stopped) or sender is None or not self.is_ours(sender):
            return None
        box = await awaited(self._store.read(lambda r: r.bal(sender)))
        if box is None or box.state is BalState.ACTIVE:
            return None
        if box.id in stopped or sender.domain in self._trust.suspended.domains:
            return PeerRefused("suspended").reply
        is_closed = box.state is BalState.CLOSED
        refusal = refusals.BOX_CLOSED if is_closed else refusals.BOX_SUSPENDED
        return refusal.reply() if is_later else None

    def too_late(self, lease: Lease) -> Reply | None:
        """RFC 2852 4.1.4: behind its deadline a letter of mode R is not sent on."""
        by = lease.envelope.deliver_by
        if by is not None and by.mode == "R" and by.deadline <= self._clock.now():
            return DeadlineMissed.smtp
        return None

    def refused(self, lease: Lease) -> Reply | None:
        """The list in force decides at each attempt (OP-34): a domain may have left it."""
        snapshot = self._trust.snapshot
        if snapshot.whitelist is None:
            return PeerRefused("no list").reply
        sender, suspended = lease.envelope.sender, self._trust.suspended.domains
        if lease.domain in suspended or (sender is not None and sender.domain in suspended):
            return PeerRefused("suspended").reply
        # Said of the two domains by one list, it holds for the next letter of the same second.
        road, at = (sender.domain if sender is not None else None, lease.domain), self._at()
        known = self._passed.get(road)
        if known is not None and known[0] is snapshot and at < known[1]:
            return None
        for recipient in lease.recipients:
            verdict = self._engine.decide(self._facts(lease, recipient)).final
            if verdict.action in (Action.REJECT, Action.DEFER):
                return verdict.reply  # of the domain, hence of all recipients of this lease
        if len(self._passed) >= _REMEMBERED:
            self._passed.clear()
        self._passed[road] = snapshot, at + _HOLDS_S
        return None

    def _at(self) -> float:
        return self._clock.monotonic()

    def _facts(self, lease: Lease, recipient: Recipient) -> Facts:
        snapshot = self._trust.snapshot
        sender = lease.envelope.sender
        return Facts(
            stage=Stage.RELAY,
            door=Door.INTERNAL,
            now=self._clock.now(),
            sender=sender,
            sender_is_local=sender is not None and sender.domain in self._domains,
            recipients=(
                RecipientFacts(
                    address=recipient.address,
                    is_local_domain=lease.domain in self._domains,
                    is_listed=snapshot.lists(lease.domain),
                    typed=recipient.typed,
                ),
            ),
            size_octets=lease.size_octets - lease.skip,
            list_date=snapshot.list_date,
            own_unlisted=self._unlisted(),
        )
