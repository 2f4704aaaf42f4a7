"""The From and Sender the reader sees are bound like the reverse-path (OP-15, OP-86, ATT-42)."""

from __future__ import annotations

from mssmtp.mail import Door, Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import INTERNAL, OPERATOR, SUBMISSION, Rule, accept, refuse
from mssmtp.policy.sender import on_behalf
from mssmtp.policy.tables import Tables

_ASKED = frozenset({Stage.CONTENT})


def _bound(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.principal is None:
        return None
    if not facts.from_addresses:
        return refuse("from.bound", refusals.FROM_MISSING.reply(), "no readable From address")
    # Who writes on behalf of a holder is named by the own box, also where the login opens the
    # holder's alone (DEF-12).
    writer = facts.principal.own if on_behalf(facts) else None
    writers = tuple(each for each in facts.sender_addresses if each != writer)
    for address in facts.from_addresses + writers:
        if facts.principal.acting_in(address) is None and facts.door is Door.GATEWAY:
            shown = tables.shown(address)
            because = f"{shown} is no box behind {facts.principal.login}"
            return refuse("from.bound", refusals.FROM_NOT_BEHIND.reply(address=shown), because)
        if facts.principal.acting_in(address) is None:
            because = f"{tables.shown(address)} is not a box of the login"
            return refuse("from.bound", refusals.FROM_UNBOUND.reply(), because)
    shown = ", ".join(tables.shown(address) for address in facts.from_addresses)
    return accept("from.bound", f"From {shown} is the login's")


def _peer(facts: Facts, tables: Tables) -> Verdict | None:
    if facts.operator is None:
        return None
    if tables.from_policy == "ignore":
        return accept("from.peer", "policy.from_policy is ignore")
    named = facts.from_addresses + facts.sender_addresses
    if _is_handed_on(facts, tables):
        return accept("from.peer", "handed on by the operator this domain comes from")
    foreign = sorted({a.domain for a in named if a.domain not in facts.operator.domains})
    if facts.from_addresses and not foreign:
        return accept("from.peer", f"{facts.from_addresses[0].domain} is listed for the peer")
    why = f"{foreign[0]} is not listed for the peer" if foreign else "no readable From address"
    if tables.from_policy == "flag":
        return accept("from.peer", f"flagged: {why}")
    return refuse("from.peer", refusals.FROM_FOREIGN.reply(), why)


def _is_handed_on(facts: Facts, tables: Tables) -> bool:
    """OP-101: the operator a domain comes from forwards what still arrives there.

    Its reverse-path is the box itself (a report has none), in a domain the list gives to both, so
    that the binding of envelope and certificate holds; From stays the author's.
    """
    listed = facts.operator.domains if facts.operator is not None else frozenset()
    boxes = [recipient.address for recipient in facts.recipients]
    return bool(boxes) and all(
        box.domain in tables.moves.coming and box.domain in listed and facts.sender in (None, box)
        for box in boxes
    )


def _shown(facts: Facts, tables: Tables) -> Verdict | None:
    """Many clients show the display name alone: it must not pass for somebody else's address."""
    if facts.operator is not None and _is_handed_on(facts, tables):
        return None
    if facts.operator is not None:
        own = facts.operator.domains if tables.from_policy == "reject" else facts.shown_domains
    elif facts.principal is not None:
        own = frozenset(box.address.domain for box in facts.principal.bals)
    else:
        return None
    foreign = sorted(facts.shown_domains - own)
    if not foreign:
        return None
    because = f"From or Sender shows an address of {foreign[0]}"
    return refuse("from.shown", refusals.FROM_SHOWN.reply(domain=foreign[0]), because)


def _internal(facts: Facts, tables: Tables) -> Verdict | None:
    return accept("from.internal", "written by this server")


RULES = (
    Rule("from.bound", ("OP-86", "ATT-42"), _ASKED, SUBMISSION, _bound, must=True, grants=True),
    Rule("from.peer", ("OP-15",), _ASKED, OPERATOR, _peer, grants=True),
    Rule("from.shown", ("ATT-42",), _ASKED, OPERATOR | SUBMISSION, _shown),
    Rule("from.internal", ("OP-19",), _ASKED, INTERNAL, _internal, grants=True),
)
