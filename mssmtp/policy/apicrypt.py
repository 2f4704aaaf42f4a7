"""Native Apicrypt recipients become interop addresses, never silently (APX-03, APX-04)."""

from __future__ import annotations

from dataclasses import replace

from mssmtp.mail import Action, Address, Domain, Facts, RecipientFacts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import SUBMISSION, Rewrite, Rule, refuse
from mssmtp.policy.tables import Tables

_ASKED = frozenset({Stage.RECIPIENT, Stage.CONTENT})


def _rewrite(recipient: RecipientFacts, tables: Tables) -> tuple[Verdict, RecipientFacts] | None:
    table = tables.apicrypt
    if table.mode != "rewrite" or not table.is_native(recipient.address.domain):
        return None
    address = table.interop(recipient.address)
    verdict = Verdict(
        Action.REWRITE,
        "apicrypt.rewrite",
        because=f"{recipient.address.domain} is a native Apicrypt domain",
        rewritten=address,
    )
    # Nothing looked up about the new address means unknown: the domain rules then refuse it.
    found = recipient.target or RecipientFacts(address, is_local_domain=False, is_listed=False)
    typed = recipient.typed or recipient.address
    return verdict, replace(found, address=address, typed=typed, target=None)


def _refuse(facts: Facts, tables: Tables) -> Verdict | None:
    table = tables.apicrypt
    if table.mode != "refuse":
        return None
    for recipient in facts.recipients:
        if table.is_native(recipient.address.domain):
            interop = table.interop(recipient.address)
            return refuse(
                "apicrypt.refuse",
                refusals.APICRYPT_MOVED.reply(address=str(interop)),
                f"{recipient.address.domain} is a native Apicrypt domain and the mode is refuse",
            )
    return None


def _collision(facts: Facts, tables: Tables) -> Verdict | None:
    table = tables.apicrypt
    if table.mode == "off":
        return None
    domains = {(each.typed or each.address).domain for each in facts.recipients}
    if not any(table.is_native(domain) for domain in domains):
        return None
    seen: dict[Address, Address] = {}
    for recipient in facts.recipients:
        typed = recipient.typed or recipient.address
        if not table.is_native(typed.domain):
            continue
        interop = table.interop(typed)
        others = table.namesakes(typed)
        other = others[0] if others else seen.setdefault(interop, typed)
        if other != typed:
            return refuse(
                "apicrypt.collision",
                refusals.APICRYPT_AMBIGUOUS.reply(
                    first=str(typed), second=str(other), address=str(interop)
                ),
                f"{typed} and {other} both lead to {interop}",
            )
    return None


def _concerns(domain: Domain, tables: Tables) -> bool:
    return tables.apicrypt.mode == "rewrite" and tables.apicrypt.is_native(domain)


REWRITES = (
    Rewrite(
        "apicrypt.rewrite",
        ("APX-03", "SEED-57"),
        SUBMISSION,
        _rewrite,
        must=True,
        concerns=_concerns,
    ),
)
RULES = (
    Rule("apicrypt.refuse", ("APX-03",), _ASKED, SUBMISSION, _refuse),
    Rule("apicrypt.collision", ("APX-04",), _ASKED, SUBMISSION, _collision),
)
