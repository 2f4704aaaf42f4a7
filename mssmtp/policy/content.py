"""What may not be in a message (OP-68)."""

from __future__ import annotations

from mssmtp.mail import Facts, Stage, Verdict
from mssmtp.policy import refusals
from mssmtp.policy.rule import EVERY_DOOR, Rule, refuse
from mssmtp.policy.tables import Tables


def _malware(facts: Facts, tables: Tables) -> Verdict | None:
    if not facts.malware:
        return None
    name = refusals.quotable(facts.malware)
    return refuse("content.malware", refusals.MALWARE.reply(name=name), f"clamd found {name}")


RULES = (
    Rule(
        "content.malware",
        ("OP-68",),
        frozenset({Stage.CONTENT}),
        EVERY_DOOR,
        _malware,
    ),
)
