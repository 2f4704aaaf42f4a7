"""What holds whatever the rules say."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.config import LimitSettings
from mssmtp.errors import ConfigError, Reply
from mssmtp.mail import Action, Door, Facts, Stage, Verdict
from mssmtp.policy import Engine
from mssmtp.policy.engine import REWRITES, RULES
from mssmtp.policy.rule import Rule
from mssmtp.policy.tables import Tables
from tests.policy import samples
from tests.policy.samples import (
    ENGINE,
    MARC,
    OURS,
    POLICY,
    THEIRS,
    ZOE,
    outcome,
    received,
    submitted,
    to,
)

LIMITS = LimitSettings()
MUSTS = sorted({r.name for r in RULES if r.must} | {r.name for r in REWRITES if r.must})


@given(samples.facts, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_the_order_of_the_rules_does_not_matter(facts: Facts, shuffle: random.Random) -> None:
    """Nor does it whom a rewrite says it does not concern."""
    rules, rewrites = list(RULES), [replace(r, concerns=lambda *_: True) for r in REWRITES]
    shuffle.shuffle(rules)
    shuffle.shuffle(rewrites)
    mixed = Engine(POLICY, LIMITS, rules=rules, rewrites=rewrites).decide(facts)
    plain = ENGINE.decide(facts)
    assert mixed.final == plain.final
    assert mixed.rewritten == plain.rewritten
    assert mixed.facts == plain.facts
    assert sorted(map(repr, mixed.verdicts)) == sorted(map(repr, plain.verdicts))


@given(samples.facts)
@settings(max_examples=300)
def test_without_a_granting_rule_nothing_is_accepted(facts: Facts) -> None:
    closed = Engine(POLICY, LIMITS, rules=[rule for rule in RULES if not rule.grants])
    assert not closed.decide(facts).is_accepted


@given(samples.facts)
@settings(max_examples=300)
def test_an_acceptance_is_granted_and_contradicted_by_nobody(facts: Facts) -> None:
    decision = ENGINE.decide(facts)
    actions = {verdict.action for verdict in decision.verdicts}
    if decision.is_accepted:
        granting = {rule.name for rule in RULES if rule.grants}
        assert any(v.action is Action.ACCEPT and v.rule in granting for v in decision.verdicts)
        assert not actions & {Action.REJECT, Action.DEFER}
    elif Action.REJECT in actions:
        assert decision.final.action is Action.REJECT


@given(samples.facts)
def test_a_decision_is_a_function_of_the_facts(facts: Facts) -> None:
    assert ENGINE.decide(facts) == ENGINE.decide(facts)


@given(samples.facts)
def test_every_rule_asked_is_named_once(facts: Facts) -> None:
    decision = ENGINE.decide(facts)
    named = [v.rule for v in decision.verdicts if v.action is not Action.REWRITE]
    asked = [r.name for r in RULES if facts.stage in r.stages and facts.door in r.doors]
    assert sorted([*named, *decision.silent]) == sorted(asked)


FEWER = [
    Engine(POLICY, LIMITS, rules=[rule for rule in RULES if rule is not dropped])
    for dropped in RULES
    if not dropped.grants
]


@given(samples.facts)
@settings(max_examples=200)
def test_more_rules_never_open(facts: Facts) -> None:
    """Dropping a closing rule may open, adding one never does."""
    if ENGINE.decide(facts).is_accepted:
        for engine in FEWER:
            assert engine.decide(facts).is_accepted


def _says(action: Action, code: int) -> Rule:
    def ask(facts: Facts, tables: Tables) -> Verdict | None:
        name = f"size.{action}"
        if action is Action.ACCEPT:
            return Verdict(action, name)
        return Verdict(action, name, Reply(code, f"{code // 100}.0.0", "Non."))

    return Rule(
        f"size.{action}",
        ("DEF-21",),
        frozenset(Stage),
        frozenset({Door.OPERATOR}),
        ask,
        grants=action is Action.ACCEPT,
    )


REJECT, DEFER = _says(Action.REJECT, 550), _says(Action.DEFER, 450)
BOUNCE, ACCEPT = _says(Action.BOUNCE, 552), _says(Action.ACCEPT, 250)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([ACCEPT, BOUNCE, DEFER, REJECT], Action.REJECT),
        ([ACCEPT, BOUNCE, DEFER], Action.DEFER),
        ([ACCEPT, BOUNCE], Action.BOUNCE),
        ([ACCEPT], Action.ACCEPT),
        ([BOUNCE], Action.REJECT),
        ([], Action.REJECT),
    ],
)
def test_reject_beats_defer_beats_bounce_beats_accept(rules: list[Rule], expected: Action) -> None:
    facts = received(Stage.CONTENT)
    for order in (rules, rules[::-1]):
        assert Engine(POLICY, LIMITS, rules=order).decide(facts).final.action is expected


def test_the_reason_a_person_can_mend_first_is_told() -> None:
    """A MED box writing to an unlisted domain learns about the address, not about its rights."""
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, MARC, to("x@ailleurs.test")))
    assert outcome(decision) == "recipient.listed 550 5.7.1"
    assert {v.rule for v in decision.verdicts} >= {"recipient.listed", "habilitation.trust-space"}


@pytest.mark.parametrize("name", ["no.such.rule", "size.patient", ""])
def test_relaxing_what_is_not_a_must_rule_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="must rule"):
        Engine(POLICY.model_copy(update={"relax": (name,)}), LIMITS)


def test_a_relaxed_rule_is_named_and_no_longer_refuses() -> None:
    facts = submitted(Stage.RECIPIENT, MARC, to(f"bob@{THEIRS}"))
    relaxed = Engine(POLICY.model_copy(update={"relax": ("habilitation.trust-space",)}), LIMITS)
    decision = relaxed.decide(facts)
    assert outcome(ENGINE.decide(facts)) == "habilitation.trust-space 550 5.7.1"
    assert outcome(decision) == "accept"
    assert decision.relaxed == ("habilitation.trust-space",)
    assert relaxed.relaxed_rules == ("habilitation.trust-space",)
    assert ENGINE.relaxed_rules == ()


@pytest.mark.parametrize("name", MUSTS)
@given(facts=samples.facts)
@settings(max_examples=25)
def test_relaxing_one_rule_changes_only_what_it_alone_refused(name: str, facts: Facts) -> None:
    relaxed = Engine(POLICY.model_copy(update={"relax": (name,)}), LIMITS)
    strict, loose = ENGINE.decide(facts), relaxed.decide(facts)
    others = {v.rule for v in strict.verdicts if v.action in (Action.REJECT, Action.DEFER)} - {name}
    if name not in {rewrite.name for rewrite in REWRITES} and others:
        assert not loose.is_accepted


def test_the_list_is_still_asked_about_a_suspended_correspondents_domain() -> None:
    """Two recipients at once: every one has to be accepted."""
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"zoe@{OURS}"), to(f"bob@{THEIRS}"))
    assert outcome(ENGINE.decide(facts)) == "default.deny 550 5.7.1"
    one = replace(facts, recipients=facts.recipients[:1])
    assert outcome(ENGINE.decide(one)) == "accept"
