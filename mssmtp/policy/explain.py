"""A decision as plain lines or as a dictionary for `--json`; patients are masked (OP-87)."""

from __future__ import annotations

from collections.abc import Sequence

from mssmtp.mail import Action, Address, Domain, Facts, Verdict, masked, masked_text
from mssmtp.policy.engine import REWRITES, RULES, Decision
from mssmtp.policy.facts import Json

_REQUIREMENTS = {rule.name: rule.requirements for rule in RULES} | {
    rewrite.name: rewrite.requirements for rewrite in REWRITES
}
_MARKS = {
    Action.ACCEPT: "+",
    Action.REJECT: "-",
    Action.DEFER: "~",
    Action.BOUNCE: "<",
    Action.REWRITE: ">",
}


def as_dict(decision: Decision) -> dict[str, Json]:
    """Everything of `decision`, ready for JSON."""
    patients = decision.patient_domains
    return {
        "stage": str(decision.facts.stage),
        "door": str(decision.facts.door),
        "facts": _facts(decision.facts, patients),
        "rewritten": [
            {"typed": masked(typed, patients), "used": masked(used, patients)}
            for typed, used in decision.rewritten.items()
        ],
        "rules": [
            *(_verdict(verdict, patients) for verdict in decision.verdicts),
            *(_silent(name, relaxed=name in decision.relaxed) for name in decision.silent),
        ],
        "relaxed": list(decision.relaxed),
        "decided_by": _verdict(decision.final, patients),
        "reply": _reply(decision),
    }


def _reply(decision: Decision) -> str | None:
    reply = decision.final.reply
    return None if reply is None else masked_text(str(reply), decision.patient_domains)


def explain(decision: Decision) -> tuple[str, ...]:
    """The tree as lines: the verdict, the facts, then every rule asked with its outcome.

    `+` accepts, `-` refuses, `~` defers, `<` returns to the sender, `>` rewrites, `.` had nothing
    to say; `*` marks the rule that decided.
    """
    patients, final, facts = decision.patient_domains, decision.final, decision.facts
    lines = [f"{final.action} at {facts.stage} ({facts.door} door), decided by {final.rule}"]
    if (reply := _reply(decision)) is not None:
        lines.append(f"  reply     {reply}")
    lines += [f"  {name:<9} {value}" for name, value in _named(facts, patients)]
    lines.append("  rules")
    for verdict in decision.verdicts:
        lines += _rule_lines(verdict, verdict is final, patients)
    if final not in decision.verdicts:
        lines += _rule_lines(final, True, patients)
    for name in decision.silent:
        note = "relaxed by policy.relax" if name in decision.relaxed else "not concerned"
        lines.append(f"    . {name:<26} {note}{_ids(name)}")
    return tuple(lines)


def _rule_lines(verdict: Verdict, decided: bool, patients: frozenset[Domain]) -> list[str]:
    star = "*" if decided else " "
    because = verdict.because
    if verdict.rewritten is not None:
        because = f"{because}; becomes {masked(verdict.rewritten, patients)}"
    if verdict.bounced:
        because = f"{because}; returned: {_list(verdict.bounced, patients)}"
    return [f"   {star}{_MARKS[verdict.action]} {verdict.rule:<26} {because}{_ids(verdict.rule)}"]


def _ids(name: str) -> str:
    ids = _REQUIREMENTS.get(name)
    return f" [{', '.join(ids)}]" if ids else ""


def _list(addresses: Sequence[Address], patients: frozenset[Domain]) -> str:
    return ", ".join(masked(each, patients) for each in addresses)


def _named(facts: Facts, patients: frozenset[Domain]) -> list[tuple[str, str]]:
    """The facts worth a line, without names of attachments."""
    named = [("sender", "<>" if facts.sender is None else masked(facts.sender, patients))]
    if facts.operator is not None:
        named.append(("peer", facts.operator.dn_text))
    if facts.principal is not None:
        boxes = _list([bal.address for bal in facts.principal.bals], patients)
        named.append(("login's", boxes or "no box"))
    if facts.acting is not None:
        bal = facts.acting
        shown = masked(bal.address, patients)
        named.append(("acting", f"{shown} ({bal.type}, {bal.state}, {bal.person})"))
    for recipient in facts.recipients:
        place = "served here" if recipient.is_local_domain else "elsewhere"
        listed = "listed" if recipient.is_listed else "not listed"
        box = f", {recipient.bal.type} {recipient.bal.state}" if recipient.bal else ""
        typed = f", typed {masked(recipient.typed, patients)}" if recipient.typed else ""
        shown = masked(recipient.address, patients)
        named.append(("recipient", f"{shown} ({place}, {listed}{box}{typed})"))
    if facts.from_addresses:
        named.append(("From", _list(facts.from_addresses, patients)))
    if facts.sender_addresses:
        named.append(("Sender", _list(facts.sender_addresses, patients)))
    if facts.size_octets:
        sizes = ", ".join(" ".join((str(a.size_octets), *a.traits)) for a in facts.attachments)
        named.append(("size", f"{facts.size_octets} octets; attachments: {sizes or 'none'}"))
    if facts.list_date is not None:
        named.append(("list", f"{facts.list_date:%Y-%m-%dT%H:%M:%SZ}"))
    return named


def _facts(facts: Facts, patients: frozenset[Domain]) -> list[Json]:
    return [[name, value] for name, value in _named(facts, patients)]


def _verdict(verdict: Verdict, patients: frozenset[Domain]) -> dict[str, Json]:
    reply = verdict.reply
    return {
        "rule": verdict.rule,
        "outcome": str(verdict.action),
        "because": verdict.because,
        "requirements": list(_REQUIREMENTS.get(verdict.rule, ())),
        "reply": None if reply is None else f"{reply.code} {reply.enhanced}",
        "rewritten": None if verdict.rewritten is None else masked(verdict.rewritten, patients),
        "bounced": [masked(each, patients) for each in verdict.bounced],
    }


def _silent(name: str, *, relaxed: bool) -> dict[str, Json]:
    return {
        "rule": name,
        "outcome": "relaxed" if relaxed else "not concerned",
        "requirements": list(_REQUIREMENTS.get(name, ())),
    }
