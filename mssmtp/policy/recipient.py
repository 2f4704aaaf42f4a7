"""Where a message may go: boxes served here, listed domains, nothing else."""

from __future__ import annotations

from dataclasses import replace

from mssmtp.mail import (
    Action,
    BalState,
    BalType,
    Facts,
    PersonState,
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
        if not recipient.is_local_domain or recipient.bal is None:
            continue
        shown = tables.shown(recipient.address)
        if recipient.bal.state is BalState.CLOSED:
            reply = refusals.RECIPIENT_CLOSED.reply()
            return refuse("recipient.state", reply, f"{shown} is closed")
        if recipient.bal.state is BalState.SUSPENDED:
            reply = refusals.RECIPIENT_SUSPENDED.reply()
            return refuse("recipient.state", reply, f"{shown} is suspended")
    return None


def _listed(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.stage is Stage.RELAY:
        # What was queued goes out only while its domain is in the list (OP-34).
        remote = list(facts.recipients)
    else:
        remote = [r for r in facts.recipients if not r.is_local_domain]
    for recipient in remote:
        if not recipient.is_listed:
            domain = recipient.address.domain
            return refuse(
                "recipient.listed",
                refusals.UNLISTED.reply(domain=domain),
                f"{domain} is not in the list{_dated(facts)}",
            )
    if remote and len(remote) == len(facts.recipients):
        return accept("recipient.listed", f"{remote[0].address.domain} is listed{_dated(facts)}")
    return None


def _dated(facts: Facts) -> str:
    return f" of {facts.list_date:%Y-%m-%dT%H:%M:%SZ}" if facts.list_date else ""


def _no_relay(facts: Facts, tables: Tables) -> Verdict | None:
    for recipient in facts.recipients:
        if not recipient.is_local_domain:
            because = f"{recipient.address.domain} is not served here"
            return refuse("relay.none", refusals.NO_RELAY.reply(), because)
    return None


def _exchange(facts: Facts, tables: Tables) -> Verdict | None:
    """Who has no MSSanté exchange does not receive from other operators either (area E table)."""
    for recipient in facts.recipients:
        box = recipient.bal
        if box is None or tables.is_patient(recipient.address):
            continue
        shown = tables.shown(recipient.address)
        why = ""
        if box.type in (BalType.MED, BalType.INT):
            why = f"{shown} is a {box.type} box"
        elif box.person is not PersonState.CERTIFIED:
            why = f"the holder of {shown} is {box.person}"
        elif box.type is BalType.PER and box.national_id is None:
            why = f"{shown} is a PER box without RPPS or ADELI"
        if why:
            return refuse("recipient.exchange", refusals.RECIPIENT_INTERNAL.reply(), why)
    return None


def _ins(facts: Facts, tables: Tables) -> Verdict | None:
    for recipient in facts.recipients:
        if not tables.is_patient(recipient.address) or ins.is_valid(recipient.address.local):
            continue
        if tables.check_ins:
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
    Rule(
        "recipient.listed",
        ("OP-13", "OP-30", "OP-34"),
        frozenset({Stage.RECIPIENT, Stage.RELAY}),
        FROM_HERE,
        _listed,
        must=True,
        grants=True,
    ),
    Rule("recipient.exchange", ("SEED-32", "DEF-08"), _ASKED, OPERATOR, _exchange, must=True),
    Rule("recipient.ins", ("OP-87", "OP-88"), _ASKED, SUBMISSION, _ins),
    Rule("relay.none", ("OP-13", "OP-17"), _ASKED, OPERATOR, _no_relay, must=True),
)
