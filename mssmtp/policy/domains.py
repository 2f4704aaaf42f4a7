"""Recipients of a domain with a rule of its own are written otherwise or refused, in the open."""

from __future__ import annotations

from dataclasses import replace

from mssmtp.mail import Action, Domain, Facts, RecipientFacts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import SUBMISSION, Rewrite, Rule, refuse
from mssmtp.policy.tables import Tables


def _rewrite(recipient: RecipientFacts, tables: Tables) -> tuple[Verdict, RecipientFacts] | None:
    address = tables.domains.rewritten(recipient.address)
    if address is None:
        return None
    because = f"{recipient.address.domain} is written as {address.domain}"
    verdict = Verdict(Action.REWRITE, "domain.rewrite", because=because, rewritten=address)
    # Nothing looked up about the new address means unknown: the domain rules then refuse it.
    found = recipient.target or RecipientFacts(address, is_local_domain=False, is_listed=False)
    typed = recipient.typed or recipient.address
    return verdict, replace(found, address=address, typed=typed, target=None)


def _refuse(facts: Facts, tables: Tables) -> Verdict | None:
    if not tables.domains.rules:
        return None
    for recipient in facts.recipients:
        rule = tables.domains.rule_of(recipient.address.domain)
        if rule is not None and rule.action == "refuse":
            domain = recipient.address.domain
            reason = rule.reason.rstrip(". ") or "adressez-vous à votre administrateur"
            reply = refusals.DOMAIN_REFUSED.reply(domain=domain, reason=reason)
            return refuse("domain.refuse", reply, f"{rule.domain} is refused by the settings")
    return None


def _concerns(domain: Domain, tables: Tables) -> bool:
    rule = tables.domains.rule_of(domain)
    return rule is not None and rule.to is not None


REWRITES = (Rewrite("domain.rewrite", ("APX-03",), SUBMISSION, _rewrite, concerns=_concerns),)
RULES = (
    Rule(
        "domain.refuse",
        ("OP-13",),
        frozenset({Stage.RECIPIENT, Stage.CONTENT}),
        SUBMISSION,
        _refuse,
    ),
)
