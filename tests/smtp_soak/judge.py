"""The law of conservation, asked of every letter: nothing lost, nothing twice, nothing invented.

Twice is forgiven only where the final reply of a peer was lost, and the trace must say so (D4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.smtp_soak.journal import Arrived, Sent


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the store knows of an envelope: kinds of its ledger, and how many hops are in doubt."""

    events: tuple[str, ...] = ()
    in_doubt: int = 0


def violations(
    sent: Sent, arrived: Arrived, evidence: Evidence, ours: frozenset[str]
) -> Iterator[str]:
    """Everything that is wrong with one letter; `ours` are the boxes of the server itself."""
    name = f"letter {sent.number} ({sent.outcome}, {sent.envelope or sent.said or 'no answer'})"
    strangers = {*arrived.copies, *(to for _, to in arrived.reports)} - set(sent.recipients)
    if strangers:
        yield f"{name}: reached {sorted(strangers)}, who were not accepted"
    happened = bool(arrived.copies or arrived.reports)
    if sent.outcome == "refused":
        if happened:
            yield f"{name}: was refused, and arrived: {arrived}"
        return
    if sent.outcome == "doubt" and not happened:
        return
    for recipient in sent.recipients:
        what = _of_recipient(sent, arrived, evidence, recipient, is_ours=recipient in ours)
        what = what or _of_success(sent, arrived, recipient, hears=sent.sender in ours)
        if what:
            yield f"{name}: {recipient}: {what}; {arrived}, {evidence}"
    if sent.envelope:
        yield from _of_ledger(name, sent, evidence, ours)


def _of_recipient(
    sent: Sent, arrived: Arrived, evidence: Evidence, recipient: str, *, is_ours: bool
) -> str:
    copies = arrived.copies[recipient]
    failed = arrived.reports["failed", recipient]
    if not copies and not failed:
        return "lost"
    if failed > 1 or arrived.reports["delayed", recipient] > 1:
        return "reported twice"
    if is_ours and (copies != 1 or failed):
        return "a box of ours has it once, and no report"
    if not is_ours and copies + failed > 1 + evidence.in_doubt:
        return "delivered twice without doubt"
    return ""


def _of_success(sent: Sent, arrived: Arrived, recipient: str, *, hears: bool) -> str:
    """RFC 3461 5.2: one report of each success that was asked for; `hears`: the sender's box is
    ours, so that it cannot be lost on a way out that is as bad as the others."""
    successes = arrived.reports["delivered", recipient] + arrived.reports["relayed", recipient]
    failed = arrived.reports["failed", recipient]
    twice = successes > 1 and hears  # a peer that lost its final reply gets a report again, too
    if twice or (successes and failed) or (successes and not sent.wants_success):
        return "told of a success that was not asked for, or twice"
    if hears and sent.wants_success and not failed and not successes:
        return "never told of its success"
    return ""


def _of_ledger(name: str, sent: Sent, evidence: Evidence, ours: frozenset[str]) -> Iterator[str]:
    """One event for each recipient, in the commit of what it records (SEED-66)."""
    local = sum(recipient in ours for recipient in sent.recipients)
    kinds = evidence.events
    outside = kinds.count("relais") + kinds.count("rejet")
    if (kinds.count("scellement"), kinds.count("remise"), outside) != (
        1,
        local,
        len(sent.recipients) - local,
    ):
        yield f"{name}: its ledger says {kinds}"
