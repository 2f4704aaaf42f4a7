"""A letter that was decided once, asked about again from its first word (F6)."""

from __future__ import annotations

from dataclasses import replace

from mssmtp.mail import Action, Facts, RecipientFacts, Stage
from mssmtp.policy.engine import Decision, Engine


def replayed(engine: Engine, kept: Facts) -> Decision:
    """What `engine` says of the letter of the kept facts: the first refusal on its way, else the
    decision at its end.

    Kept facts have their rewrites done; the recipients are put back as they were typed.
    """
    given = replace(kept, recipients=tuple(map(_as_typed, kept.recipients)))
    if given.stage is not Stage.CONTENT:
        return engine.decide(given)
    before = replace(
        given,
        recipients=(),
        from_addresses=(),
        sender_addresses=(),
        shown_domains=frozenset(),
        attachments=(),
        malware="",
    )
    first = engine.decide(replace(before, stage=Stage.SENDER))
    if not first.is_accepted:
        return first
    settled = []
    for recipient in given.recipients:
        asked = replace(before, stage=Stage.RECIPIENT, recipients=(recipient,))
        decision = engine.decide(asked)
        if not decision.is_accepted:
            return decision
        settled.append(decision.facts.recipients[0])
    return engine.decide(replace(given, recipients=tuple(settled)))


def _as_typed(found: RecipientFacts) -> RecipientFacts:
    """`found` before the rewrite that made it: a usual address, or another domain's."""
    if found.typed is None or found.typed == found.address:
        return found
    before = RecipientFacts(found.typed, is_local_domain=False, is_listed=False)
    if found.is_local_domain and found.bal is not None:
        return replace(before, usual_of=found.bal, has_written=found.has_written)
    return replace(before, target=replace(found, typed=None))


def in_short(decision: Decision) -> str:
    """Rule and codes of a refusal; else `accept`, with what is returned or written otherwise."""
    final = decision.final
    if final.reply is not None and final.action is not Action.BOUNCE:
        return f"{final.rule} {final.reply.code} {final.reply.enhanced}"
    told = [final.rule] if final.action is Action.BOUNCE else []
    told += sorted({v.rule for v in decision.verdicts if v.action is Action.REWRITE})
    return " ".join(["accept", *(f"({each})" for each in told)])
