"""Where a message may go: boxes served here, listed domains, nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mssmtp.errors import Reply
from mssmtp.mail import (
    Action,
    BalState,
    Domain,
    Facts,
    RecipientFacts,
    Stage,
    Verdict,
)
from mssmtp.policy import ins, refusals
from mssmtp.policy.rule import (
    EVERY_DOOR,
    FROM_HERE,
    OPERATOR,
    SUBMISSION,
    Rewrite,
    Rule,
    accept,
    refuse,
)
from mssmtp.policy.tables import Tables

_ASKED = frozenset({Stage.RECIPIENT})
_RETRIES_LAST = timedelta(hours=48)
"""How long operators try again (OP-18)."""


def _usual_address(
    recipient: RecipientFacts, tables: Tables
) -> tuple[Verdict, RecipientFacts] | None:
    box = recipient.usual_of
    if box is None or recipient.bal is not None or recipient.address == box.address:
        return None
    verdict = Verdict(
        Action.REWRITE,
        "recipient.usual-address",
        because=f"{tables.shown(recipient.address)} is the usual address of a box served here",
        rewritten=box.address,
    )
    resolved = replace(
        recipient,
        address=box.address,
        is_local_domain=True,
        bal=box,
        usual_of=None,
        target=None,
        typed=recipient.typed or recipient.address,
    )
    return verdict, resolved


def _local(facts: Facts, tables: Tables) -> Verdict | None:
    local = [r for r in facts.recipients if r.is_local_domain]
    for recipient in local:
        if recipient.bal is None:
            because = f"no box {tables.shown(recipient.address)}"
            return refuse("recipient.local", refusals.UNKNOWN.reply(), because)
    if local and len(local) == len(facts.recipients):
        return accept("recipient.local", "the box is served here")
    return None


def _state(facts: Facts, tables: Tables) -> Verdict | None:
    for recipient in facts.recipients:
        if recipient.bal is None:
            continue
        shown = tables.shown(recipient.address)
        if recipient.bal.state is BalState.CLOSED:
            reply = refusals.RECIPIENT_CLOSED.reply()
            return refuse("recipient.state", reply, f"{shown} is closed")
        if recipient.bal.state is BalState.SUSPENDED:
            is_deferred = tables.suspended_box == "defer"
            told = refusals.RECIPIENT_SUSPENDED if is_deferred else refusals.RECIPIENT_STOPPED
            return refuse("recipient.state", told.reply(), f"{shown} is suspended")
    return None


def _quota(facts: Facts, tables: Tables) -> Verdict | None:
    """DAT-09: a temporary refusal, so that the sender's own operator tells him, once."""
    for recipient in facts.recipients:
        if recipient.is_full:
            because = f"{tables.shown(recipient.address)} is full"
            return refuse("recipient.quota", refusals.RECIPIENT_FULL.reply(), because)
    return None


def _listed(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.stage is Stage.RELAY:
        # What was queued goes out only while its domain is in the list (OP-34).
        remote = list(facts.recipients)
    else:
        remote = [r for r in facts.recipients if not r.is_local_domain and not r.is_invited]
    for recipient in remote:
        if not recipient.is_listed:
            domain = recipient.address.domain
            because = f"{domain} is not in the list{_dated(facts)}"
            return refuse("recipient.listed", _unlisted(domain, facts, tables), because)
    if remote and len(remote) == len(facts.recipients):
        return accept("recipient.listed", f"{remote[0].address.domain} is listed{_dated(facts)}")
    return None


def _invited(facts: Facts, tables: Tables) -> Verdict | None:
    """At RELAY nobody is invited: what is not listed goes nowhere (DEF-04)."""
    if facts.recipients and all(each.is_invited for each in facts.recipients):
        return accept("recipient.invited", "its structure invites unknown usual addresses")
    return None


def _unlisted(domain: Domain, facts: Facts, tables: Tables) -> Reply:
    """OP-34: what was queued comes back with the cause, unless a move is announced."""
    if facts.stage is not Stage.RELAY or facts.list_date is None:
        return refusals.UNLISTED.reply(domain=domain)
    until = tables.moves.leaving_until(domain, facts.now)
    if until is not None:
        return refusals.MOVING.reply(domain=domain, date=tables.moves.shown(until))
    return refusals.LEFT_THE_LIST.reply(domain=domain, date=tables.moves.shown(facts.list_date))


def _dated(facts: Facts) -> str:
    return f" of {facts.list_date:%Y-%m-%dT%H:%M:%SZ}" if facts.list_date else ""


def _no_relay(facts: Facts, tables: Tables) -> Verdict | None:
    for recipient in facts.recipients:
        if not recipient.is_local_domain and not _is_forwarded(recipient, facts, tables):
            because = f"{recipient.address.domain} is not served here"
            return refuse("relay.none", _not_here(recipient.address.domain, facts, tables), because)
    return None


def _not_here(domain: Domain, facts: Facts, tables: Tables) -> Reply:
    """OP-101: a domain that is to come, or has left, says since when."""
    coming = tables.moves.coming_at(domain, facts.now)
    if coming is not None:
        # A deferral only when the peer's retries (OP-18) reach the date: else it comes too late.
        soon = coming - facts.now <= _RETRIES_LAST
        refusal = refusals.NOT_YET_SOON if soon else refusals.NOT_YET
        return refusal.reply(domain=domain, date=tables.moves.shown(coming))
    left = tables.moves.leaving.get(domain)
    if left is not None and left <= facts.now:
        return refusals.NO_LONGER.reply(domain=domain, date=tables.moves.shown(left))
    return (refusals.NO_RELAY if left is None else refusals.UNKNOWN).reply()


def _is_forwarded(recipient: RecipientFacts, facts: Facts, tables: Tables) -> bool:
    """A box of a domain that leaves us: until its date its mail goes on (OP-101)."""
    leaving = tables.moves.leaving_until(recipient.address.domain, facts.now) is not None
    return leaving and not recipient.is_local_domain and recipient.bal is not None


def _forward(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.recipients and all(_is_forwarded(r, facts, tables) for r in facts.recipients):
        domain = facts.recipients[0].address.domain
        return accept("recipient.forward", f"{domain} leaves: its mail goes to its other operator")
    return None


def _ins(facts: Facts, tables: Tables) -> Verdict | None:
    for recipient in facts.recipients:
        if not tables.is_patient(recipient.address) or ins.is_valid(recipient.address.local):
            continue
        if tables.check_ins == "refuse":
            because = (
                f"{tables.shown(recipient.address)} is not an INS of 15 characters with its key"
            )
            return refuse("recipient.ins", refusals.BAD_INS.reply(), because)
    return None


REWRITES = (
    Rewrite("recipient.usual-address", ("SEED-29", "OP-13"), FROM_HERE, _usual_address, must=True),
)
RULES = (
    Rule("recipient.local", ("OP-17",), _ASKED, EVERY_DOOR, _local, grants=True),
    Rule("recipient.state", ("OP-50",), _ASKED, EVERY_DOOR, _state),
    Rule("recipient.quota", ("DAT-09",), _ASKED, EVERY_DOOR, _quota),
    Rule(
        "recipient.listed",
        ("OP-13", "OP-30", "OP-34"),
        frozenset({Stage.RECIPIENT, Stage.RELAY}),
        FROM_HERE,
        _listed,
        must=True,
        grants=True,
    ),
    Rule("recipient.invited", ("DEF-09", "OP-13"), _ASKED, SUBMISSION, _invited, grants=True),
    Rule("recipient.forward", ("OP-101",), _ASKED, OPERATOR, _forward, grants=True),
    Rule("recipient.ins", ("OP-87", "OP-88"), _ASKED, SUBMISSION, _ins),
    Rule("relay.none", ("OP-13", "OP-17"), _ASKED, OPERATOR, _no_relay, must=True),
)
