"""Where our own domain stands in the list decides whom its boxes exchange with (DEF-01)."""

from __future__ import annotations

from mssmtp.mail import Domain, DomainState, Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import FROM_HERE, OPERATOR, Rule, refuse
from mssmtp.policy.tables import Tables


def _sender(facts: Facts, tables: Tables) -> Verdict | None:
    """Inside this operator mail goes on; outside nobody would take it, or nobody yet."""
    if not facts.own_unlisted or all(r.is_local_domain for r in facts.recipients):
        return None
    found = _unlisted_author(facts)
    if found is None:
        return None
    domain, state = found
    because = f"{domain} is {state}: not in the list with a certificate of ours"
    if facts.stage is Stage.RELAY:
        # It was accepted while the domain was listed: a list may take it back.
        return refuse("sender.listed", refusals.OWN_WAITS.reply(domain=domain), because)
    refusal = refusals.OWN_REQUESTED if state == "requested" else refusals.OWN_WITHDRAWN
    return refuse("sender.listed", refusal.reply(domain=domain), because)


def _unlisted_author(facts: Facts) -> tuple[Domain, DomainState] | None:
    """The first of our unlisted domains that this message comes from."""
    authors = {address.domain for address in facts.from_addresses}
    if facts.sender is not None:
        authors.add(facts.sender.domain)
    if facts.acting is not None:
        authors.add(facts.acting.address.domain)
    return next((pair for pair in facts.own_unlisted if pair[0] in authors), None)


def _recipient(facts: Facts, tables: Tables) -> Verdict | None:
    """A peer's list may be an hour ahead of ours, hence a deferral."""
    states = dict(facts.own_unlisted)
    for recipient in facts.recipients:
        domain = recipient.address.domain
        if not recipient.is_local_domain or domain not in states:
            continue
        reply = refusals.OWN_NOT_OPEN.reply(domain=domain)
        return refuse("recipient.open", reply, f"{domain} is {states[domain]}, not listed for us")
    return None


RULES = (
    Rule(
        "sender.listed",
        ("DEF-01",),
        frozenset({Stage.RECIPIENT, Stage.CONTENT, Stage.RELAY}),
        FROM_HERE,
        _sender,
    ),
    Rule("recipient.open", ("DEF-01",), frozenset({Stage.RECIPIENT}), OPERATOR, _recipient),
)
