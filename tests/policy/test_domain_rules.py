"""Domains with a rule of their own: written otherwise, reached otherwise, refused; no surprises."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mssmtp.config import LimitSettings
from mssmtp.config_policy import DomainRuleSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Action, Domain, RecipientFacts, Stage
from mssmtp.policy import Engine
from mssmtp.policy.engine import REWRITES, RULES
from tests.policy.samples import (
    ENGINE,
    INTEROP,
    OPERATOR,
    OURS,
    POLICY,
    THEIRS,
    ZOE,
    at,
    outcome,
    received,
    submitted,
    to,
)

GONE, ROUTED, CLOSED = "ancien.test", "loin.test", "ferme.test"
WRITTEN = DomainRuleSettings(domain=GONE, action="rewrite", to=Domain(THEIRS))
ELSEWHERE = DomainRuleSettings(
    domain=f"*.{ROUTED}", action="route", hosts=(Domain("mx1.test"), Domain("mx2.test"))
)
REFUSED = DomainRuleSettings(
    domain=CLOSED, action="refuse", reason="écrivez à contact@cabinet-b.test."
)


def engine(*rules: DomainRuleSettings) -> Engine:
    return Engine(POLICY.model_copy(update={"domain_rules": rules}), LimitSettings())


RULED = engine(WRITTEN, ELSEWHERE, REFUSED)


def typed(text: str, by: Engine = RULED) -> RecipientFacts:
    target = by.target(at(text))
    return to(text, target=to(str(target)) if target else None)


@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_a_domain_is_written_otherwise_in_the_open(stage: Stage) -> None:
    decision = RULED.decide(submitted(stage, ZOE, typed(f"Luc.Dupont@{GONE}")))
    assert outcome(decision) == "accept"
    (recipient,) = decision.facts.recipients
    assert (str(recipient.address), str(recipient.typed)) == (
        f"Luc.Dupont@{THEIRS}",
        f"Luc.Dupont@{GONE}",
    )
    assert "domain.rewrite" in {v.rule for v in decision.verdicts if v.action is Action.REWRITE}


def test_what_is_written_instead_has_to_be_listed_like_anything_else() -> None:
    by = engine(DomainRuleSettings(domain=GONE, action="rewrite", to=Domain("ailleurs.test")))
    decision = by.decide(submitted(Stage.RECIPIENT, ZOE, typed(f"x@{GONE}", by)))
    assert outcome(decision) == "recipient.listed 550 5.7.1"


def test_a_refused_domain_says_what_to_do_instead() -> None:
    listed = to(f"x@{CLOSED}", is_listed=True)
    decision = RULED.decide(submitted(Stage.RECIPIENT, ZOE, listed))
    assert outcome(decision) == "domain.refuse 550 5.7.1"
    assert decision.final.reply is not None
    assert decision.final.reply.text.endswith(" ; écrivez à contact@cabinet-b.test.")
    assert RULED.decide(received(Stage.RECIPIENT, to(f"zoe@{OURS}"))).is_accepted


def test_a_route_names_hosts_and_nothing_else_changes() -> None:
    assert RULED.hosts(Domain(f"ch.{ROUTED}")) == ("mx1.test", "mx2.test")
    assert RULED.hosts(Domain(ROUTED)) == ()
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"x@ch.{ROUTED}", is_listed=True))
    assert outcome(RULED.decide(facts)) == outcome(ENGINE.decide(facts)) == "accept"
    unlisted = submitted(Stage.RECIPIENT, ZOE, to(f"x@ch.{ROUTED}"))
    assert outcome(RULED.decide(unlisted)) == "recipient.listed 550 5.7.1"


def test_the_longest_name_counts_alone() -> None:
    exact = DomainRuleSettings(domain="a.b.example", action="refuse")
    below = DomainRuleSettings(domain="*.b.example", action="rewrite", to=Domain(THEIRS))
    wide = DomainRuleSettings(domain="*.example", action="refuse")
    by = engine(wide, exact, below)
    assert by.target(at("x@a.b.example")) is None
    assert str(by.target(at("x@c.d.b.example"))) == f"x@{THEIRS}"
    assert by.target(at("x@b.example")) is None


_NAMES = st.sampled_from(["a.test", "b.a.test", "c.b.a.test", "d.test", "*.a.test", "*.b.a.test"])
rules = st.one_of(
    st.builds(
        lambda name, to: DomainRuleSettings(domain=name, action="rewrite", to=Domain(to)),
        _NAMES,
        st.sampled_from([THEIRS, "cible.example"]),
    ),
    st.builds(lambda name: DomainRuleSettings(domain=name, action="refuse"), _NAMES),
    st.builds(
        lambda name: DomainRuleSettings(domain=name, action="route", hosts=(Domain("mx.test"),)),
        _NAMES,
    ),
)


@given(
    st.lists(rules, max_size=5, unique_by=lambda rule: rule.domain),
    st.sampled_from(["a.test", "b.a.test", "c.b.a.test", "x.c.b.a.test", "d.test", "e.test"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_the_order_of_the_domain_rules_does_not_matter(
    given_rules: list[DomainRuleSettings], domain: str, shuffle: random.Random
) -> None:
    mixed = list(given_rules)
    shuffle.shuffle(mixed)
    one, other = engine(*given_rules), engine(*mixed)
    assert one.hosts(Domain(domain)) == other.hosts(Domain(domain))
    facts = submitted(Stage.RECIPIENT, ZOE, typed(f"x@{domain}", one))
    assert one.decide(facts) == other.decide(facts)
    # Once is always enough: what was written is under no rule.
    (settled,) = one.decide(facts).facts.recipients
    assert one.target(settled.address) is None


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ((WRITTEN, WRITTEN), "two rules"),
        ((WRITTEN.model_copy(update={"to": Domain(CLOSED)}), REFUSED), "in the end"),
        ((WRITTEN.model_copy(update={"to": Domain("medical1.apicrypt.test")}),), "in the end"),
        ((REFUSED.model_copy(update={"domain": "medical69.apicrypt.test"}),), "Apicrypt"),
        ((REFUSED.model_copy(update={"domain": "*.apicrypt.test"}),), "Apicrypt"),
    ],
)
def test_rules_that_could_meet_are_a_configuration_error(
    bad: tuple[DomainRuleSettings, ...], why: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        engine(*bad)
    assert why in f"{refused.value.why} {refused.value.remedy}"


@pytest.mark.parametrize(
    "bad",
    [
        {"domain": GONE, "action": "rewrite"},
        {"domain": GONE, "action": "route"},
        {"domain": GONE, "action": "refuse", "to": THEIRS},
        {"domain": "med*.test", "action": "refuse"},
        {"domain": "*.", "action": "refuse"},
        {"domain": GONE, "action": "refuse", "reason": "a\r\n250 ok"},
        {"domain": GONE, "action": "footer"},
    ],
)
def test_a_rule_that_is_not_whole_is_refused_where_it_is_read(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DomainRuleSettings.model_validate(bad)


def test_no_rule_touches_a_letter_itself() -> None:
    """Never footers: a decision holds addresses and replies, no octet of the content."""
    assert {rewrite.name for rewrite in REWRITES} == {
        "recipient.usual-address",
        "apicrypt.rewrite",
        "domain.rewrite",
    }
    assert all(rule.name.partition(".")[0] != "footer" for rule in RULES)


# ---------------------------------------------------------------- Apicrypt is nobody special

ORDINARY = ["mssante.apicrypt.test", "x.pharmacrypt.test", INTEROP]


@pytest.mark.requirement("APX-06")
@pytest.mark.parametrize("domain", ORDINARY)
def test_mail_from_apicrypt_is_judged_as_that_of_any_other_operator(domain: str) -> None:
    for theirs in (THEIRS, domain):
        peer = OPERATOR.__class__(
            OPERATOR.dn,
            OPERATOR.dn_text,
            OPERATOR.serial,
            OPERATOR.issuer_text,
            frozenset({Domain(theirs)}),
            OPERATOR.list_date,
            OPERATOR.crl_number,
        )
        found = []
        for author in (theirs, "ailleurs.test"):
            sender = at(f"jean@{author}")
            facts = [
                received(Stage.SENDER, sender=sender, operator=peer),
                received(Stage.RECIPIENT, to(f"zoe@{OURS}"), sender=sender, operator=peer),
                received(
                    Stage.CONTENT,
                    to(f"zoe@{OURS}"),
                    sender=sender,
                    operator=peer,
                    from_addresses=(sender,),
                ),
            ]
            decisions = [ENGINE.decide(each) for each in facts]
            assert all(each.facts.sender == sender for each in decisions), "no sender is rewritten"
            assert not any(each.rewritten for each in decisions)
            found.append([outcome(each) for each in decisions])
        assert found == [
            ["accept", "accept", "accept"],
            ["sender.operator 550 5.7.1", "accept", "from.peer 550 5.7.1"],
        ]


@pytest.mark.requirement("APX-08")
@pytest.mark.parametrize("domain", ORDINARY)
def test_other_domains_run_by_apicrypt_are_ordinary_ones(domain: str) -> None:
    assert ENGINE.target(at(f"jean@{domain}")) is None
    for is_listed, expected in ((True, "accept"), (False, "recipient.listed 550 5.7.1")):
        facts = submitted(Stage.RECIPIENT, ZOE, to(f"jean@{domain}", is_listed=is_listed))
        decision = ENGINE.decide(facts)
        assert outcome(decision) == expected
        assert not decision.rewritten
