"""Native Apicrypt addresses become interop addresses, in the open (APX-03, APX-04)."""

from __future__ import annotations

import pytest

from mssmtp.config import LimitSettings
from mssmtp.config_policy import ApicryptSettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Domain, RecipientFacts, Stage
from mssmtp.policy import Engine
from tests.policy.samples import ENGINE, INTEROP, POLICY, ZOE, at, outcome, submitted, to

NATIVE = "medical69.apicrypt.test"


def engine(**changes: object) -> Engine:
    apicrypt = POLICY.apicrypt.model_copy(update=changes)
    return Engine(POLICY.model_copy(update={"apicrypt": apicrypt}), LimitSettings())


def typed(text: str, engine: Engine = ENGINE, *, listed: bool = True) -> RecipientFacts:
    """What a door looks up: the typed address, and the one `target` names."""
    target = engine.target(at(text))
    return to(text, target=to(str(target), is_listed=listed) if target else None)


@pytest.mark.requirement("SEED-57", "APX-03")
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_a_native_recipient_is_rewritten_and_its_local_part_kept(stage: Stage) -> None:
    decision = ENGINE.decide(submitted(stage, ZOE, typed(f"jean.DUPONT@{NATIVE}")))
    assert outcome(decision) == "accept"
    (used,) = decision.rewritten.values()
    assert str(used) == f"jean.DUPONT@{INTEROP}"
    assert [v.rule for v in decision.verdicts if v.rewritten] == ["apicrypt.rewrite"]
    assert str(decision.facts.recipients[0].typed) == f"jean.DUPONT@{NATIVE}"


@pytest.mark.requirement("SEED-57", "APX-02")
@pytest.mark.parametrize("region", ["01", "34", "69", "95", "971"])
def test_the_default_domains_are_those_of_the_requirement(region: str) -> None:
    default = Engine(POLICY.model_copy(update={"apicrypt": ApicryptSettings()}), LimitSettings())
    target = default.target(at(f"jean.DUPONT@medical{region}.apicrypt.org"))
    assert str(target) == "jean.DUPONT@interop-mssante.apicrypt.org"


@pytest.mark.requirement("APX-03")
@pytest.mark.parametrize(
    "domain",
    [
        "medical.apicrypt.test",
        "medicalx.apicrypt.test",
        "medical6x.apicrypt.test",
        "medical69.evil.apicrypt.test",
        "medical6.9.apicrypt.test",
        "medical69.apicrypt.test.example",
        "xmedical69.apicrypt.test",
        INTEROP,
    ],
)
def test_a_star_stands_for_digits_only(domain: str) -> None:
    assert ENGINE.target(at(f"jean@{domain}")) is None


def test_the_interop_domain_that_has_left_the_list_is_refused() -> None:
    gone = typed(f"jean@{NATIVE}", listed=False)
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, gone))
    assert outcome(decision) == "recipient.listed 550 5.7.1"


def test_a_target_nobody_looked_up_is_refused() -> None:
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, to(f"jean@{NATIVE}", is_listed=True)))
    assert outcome(decision) == "recipient.listed 550 5.7.1"


@pytest.mark.requirement("APX-03")
def test_the_mapping_table_overrides_the_local_part() -> None:
    mapped = engine(mapping={f"j.dupont@{NATIVE}": "jean.dupont2"})
    assert str(mapped.target(at(f"J.Dupont@{NATIVE}"))) == f"jean.dupont2@{INTEROP}"
    assert str(mapped.target(at(f"other@{NATIVE}"))) == f"other@{INTEROP}"


@pytest.mark.requirement("APX-04")
@pytest.mark.parametrize("form", ["j.dupont@medical34.apicrypt.test", f"jean.dupont@{NATIVE}"])
def test_two_people_with_one_local_part_are_refused_with_both_forms(form: str) -> None:
    mapped = engine(
        mapping={
            "j.dupont@medical34.apicrypt.test": "Jean.Dupont",
            f"jean.dupont@{NATIVE}": "jean.dupont",
        }
    )
    decision = mapped.decide(submitted(Stage.RECIPIENT, ZOE, typed(form, mapped)))
    assert outcome(decision) == "apicrypt.collision 550 5.1.4"
    reply = decision.final.reply
    assert reply is not None
    assert "j.dupont@medical34.apicrypt.test" in reply.text
    assert f"jean.dupont@{NATIVE}" in reply.text


@pytest.mark.requirement("APX-04")
def test_an_unmapped_address_that_meets_a_mapped_one_is_refused() -> None:
    mapped = engine(mapping={"j.dupont@medical34.apicrypt.test": "jean.dupont"})
    decision = mapped.decide(
        submitted(Stage.RECIPIENT, ZOE, typed(f"jean.dupont@{NATIVE}", mapped))
    )
    assert outcome(decision) == "apicrypt.collision 550 5.1.4"


@pytest.mark.requirement("APX-04")
def test_two_recipients_of_one_message_that_become_one_are_refused() -> None:
    both = [typed(f"jean@{NATIVE}"), typed("JEAN@medical34.apicrypt.test")]
    decision = ENGINE.decide(submitted(Stage.CONTENT, ZOE, *both))
    assert outcome(decision) == "apicrypt.collision 550 5.1.4"
    # the door may hand over what RECIPIENT made of them instead
    after = [
        to(f"jean@{INTEROP}", typed=at(f"jean@{NATIVE}")),
        to(f"JEAN@{INTEROP}", typed=at("JEAN@medical34.apicrypt.test")),
    ]
    again = ENGINE.decide(submitted(Stage.CONTENT, ZOE, *after))
    assert outcome(again) == "apicrypt.collision 550 5.1.4"


def test_the_same_recipient_twice_is_no_collision() -> None:
    twice = [typed(f"jean@{NATIVE}"), typed(f"Jean@{NATIVE}")]
    assert outcome(ENGINE.decide(submitted(Stage.CONTENT, ZOE, *twice))) == "accept"


@pytest.mark.requirement("APX-03")
def test_refuse_quotes_the_address_to_use_and_off_knows_no_apicrypt() -> None:
    refusing, off = engine(mode="refuse"), engine(mode="off")
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"jean@{NATIVE}", is_listed=True))
    refused = refusing.decide(facts)
    assert outcome(refused) == "apicrypt.refuse 550 5.1.6"
    assert refused.final.reply is not None
    assert f"jean@{INTEROP}" in refused.final.reply.text
    assert outcome(off.decide(facts)) == "accept"
    unlisted = submitted(Stage.RECIPIENT, ZOE, to(f"jean@{NATIVE}"))
    assert outcome(off.decide(unlisted)) == "recipient.listed 550 5.7.1"


@pytest.mark.parametrize(
    "changes",
    [
        {"domains": ("medical**.apicrypt.test",)},
        {"domains": ("medical[0-9].apicrypt.test",)},
        {"domains": ("",)},
        {"mapping": {"not an address": "x"}},
        {"mapping": {f"jean@{NATIVE}": "two words"}},
        {"mapping": {"jean@cabinet-b.test": "jean"}},
    ],
)
def test_a_wrong_table_is_a_configuration_error(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        engine(**changes)


def test_a_native_domain_is_never_the_interop_domain_itself() -> None:
    loop = engine(domains=("medical*.apicrypt.test",), interop_domain=Domain(NATIVE))
    assert loop.target(at(f"jean@{NATIVE}")) is None
