"""The printed tree: every rule, its outcome, the facts that decided, no patient in clear."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from mssmtp.config import LimitSettings
from mssmtp.mail import Attachment, Facts, Stage
from mssmtp.policy import Engine, as_dict, explain
from mssmtp.policy.engine import RULES
from tests.policy import samples
from tests.policy.samples import (
    ENGINE,
    INS,
    MARC,
    PATIENTS,
    POLICY,
    THEIRS,
    ZOE,
    submitted,
    to,
)


def test_the_deciding_rule_is_marked_and_all_others_are_listed() -> None:
    facts = submitted(Stage.RECIPIENT, MARC, to(f"bob@{THEIRS}"))
    lines = explain(ENGINE.decide(facts))
    assert lines[0] == (
        "reject at recipient (submission door), decided by habilitation.trust-space"
    )
    marked = [line for line in lines if line.startswith("   *")]
    assert len(marked) == 1
    assert "SEED-32" in marked[0]
    assert "MED" in marked[0]
    for rule in RULES:
        if Stage.RECIPIENT in rule.stages and facts.door in rule.doors:
            assert any(rule.name in line for line in lines), rule.name


def test_the_rewritten_address_is_shown_beside_the_typed_one() -> None:
    typed = to("jean@medical69.apicrypt.test", target=to("jean@interop.apicrypt.test"))
    text = "\n".join(explain(ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, typed))))
    assert "jean@interop.apicrypt.test" in text
    assert "typed jean@medical69.apicrypt.test" in text


def test_default_deny_is_shown_as_the_decision() -> None:
    lines = explain(ENGINE.decide(submitted(Stage.SENDER, ZOE, principal=None)))
    assert any(line.startswith("   *- default.deny") for line in lines)


def test_a_relaxed_rule_is_shown_as_relaxed() -> None:
    engine = Engine(
        POLICY.model_copy(update={"relax": ("habilitation.trust-space",)}), LimitSettings()
    )
    decision = engine.decide(submitted(Stage.RECIPIENT, MARC, to(f"bob@{THEIRS}")))
    assert any("relaxed by policy.relax" in line for line in explain(decision))
    assert as_dict(decision)["relaxed"] == ["habilitation.trust-space"]


def test_names_of_attachments_stay_out_of_the_tree_but_for_the_reply() -> None:
    named = Attachment("PATIENTEST Dominique.pdf", "application/pdf", 100)
    decision = ENGINE.decide(submitted(Stage.CONTENT, ZOE, to(f"b@{THEIRS}"), attachments=(named,)))
    assert "PATIENTEST" not in "\n".join(explain(decision))
    assert "PATIENTEST" not in json.dumps(as_dict(decision))


@pytest.mark.requirement("OP-87")
@pytest.mark.parametrize("size", [100, 26_214_401])
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_a_patient_is_masked(stage: Stage, size: int) -> None:
    wrong = "199019999999978"
    facts = submitted(
        stage,
        ZOE,
        to(f"{INS}@{PATIENTS}"),
        to(f"{wrong}@{PATIENTS}"),
        to(f"bob@{THEIRS}"),
        size_octets=size,
    )
    decision = ENGINE.decide(facts)
    shown = "\n".join(explain(decision)) + json.dumps(as_dict(decision), ensure_ascii=False)
    assert INS not in shown
    assert wrong not in shown
    assert "199**********79" in shown


@given(samples.facts)
@settings(max_examples=200)
def test_no_facts_bring_a_patient_to_the_screen(facts: Facts) -> None:
    decision = ENGINE.decide(facts)
    shown = "\n".join(explain(decision)) + json.dumps(as_dict(decision), ensure_ascii=False)
    assert f"{INS}@{PATIENTS}" not in shown
