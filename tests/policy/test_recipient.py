"""Local, listed, usual address, patient: where a message may go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import BalState, BalType, Door, Facts, Stage
from mssmtp.policy import Engine
from mssmtp.policy.ins import is_valid
from tests.policy.samples import (
    ENGINE,
    INS,
    NOW,
    OURS,
    PATIENTS,
    POLICY,
    THEIRS,
    UNLISTED,
    ZOE,
    at,
    box,
    outcome,
    received,
    submitted,
    to,
)


@pytest.mark.requirement("OP-13")
def test_an_unlisted_domain_is_refused_at_submission_with_its_name() -> None:
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, to(f"x@{UNLISTED}")))
    assert outcome(decision) == "recipient.listed 550 5.7.1"
    assert decision.final.reply is not None
    assert UNLISTED in decision.final.reply.text


@pytest.mark.requirement("OP-13", "OP-95")
@pytest.mark.parametrize("address", [f"bob@{THEIRS}", f"zoe@{OURS}", f"{INS}@{PATIENTS}"])
def test_listed_and_local_recipients_are_accepted(address: str) -> None:
    assert outcome(ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, to(address)))) == "accept"


@pytest.mark.requirement("OP-54")
@pytest.mark.parametrize("door", [received, submitted])
def test_a_box_of_the_red_list_receives_by_its_exact_address(door: Callable[..., Facts]) -> None:
    hidden = box("zoe", BalType.PER, is_red_listed=True)
    given = () if door is received else (ZOE,)
    facts = door(Stage.RECIPIENT, *given, to(f"zoe@{OURS}", bal=hidden))
    assert outcome(ENGINE.decide(facts)) == "accept"


@pytest.mark.requirement("OP-13")
def test_a_usual_address_resolves_to_its_box_and_never_leaves() -> None:
    marc = box("marc.untel", BalType.MED, usual_address=at("marc@courriel.example"))
    typed = to("marc@courriel.example", usual_of=marc)
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, typed))
    assert outcome(decision) == "accept"
    assert decision.final.rule == "recipient.local"
    assert decision.rewritten == {typed.address: marc.address}
    assert decision.facts.recipients[0].typed == typed.address


@pytest.mark.requirement("OP-13")
def test_a_usual_address_in_a_listed_domain_stays_inside_too() -> None:
    typed = to(f"zoe@{THEIRS}", usual_of=ZOE)
    decision = ENGINE.decide(submitted(Stage.RECIPIENT, ZOE, typed))
    assert decision.rewritten == {typed.address: ZOE.address}


def test_a_usual_address_of_a_suspended_box_gets_that_boxs_answer() -> None:
    asleep = box("zoe", BalType.PER, state=BalState.SUSPENDED)
    decision = ENGINE.decide(
        submitted(Stage.RECIPIENT, ZOE, to("z@courriel.example", usual_of=asleep))
    )
    assert outcome(decision) == "recipient.state 450 4.2.1"


@pytest.mark.parametrize("door", [received, submitted])
def test_a_full_box_is_refused_for_the_time_being(door: Callable[..., Facts]) -> None:
    given = () if door is received else (ZOE,)
    decision = ENGINE.decide(door(Stage.RECIPIENT, *given, to(f"zoe@{OURS}", is_full=True)))
    assert outcome(decision) == "recipient.quota 452 4.2.2"


def test_a_peer_cannot_use_a_usual_address() -> None:
    decision = ENGINE.decide(received(Stage.RECIPIENT, to("zoe@courriel.example", usual_of=ZOE)))
    assert outcome(decision) == "relay.none 550 5.7.1"


@pytest.mark.requirement("OP-13", "OP-17")
@pytest.mark.attack
@pytest.mark.parametrize("address", [f"x@{UNLISTED}", f"bob@{THEIRS}", f"{INS}@{PATIENTS}"])
def test_a_peer_gets_no_relay(address: str) -> None:
    facts = received(Stage.RECIPIENT, to(address))
    assert outcome(ENGINE.decide(facts)) == "relay.none 550 5.7.1"


@pytest.mark.requirement("OP-13")
@pytest.mark.parametrize("door", [Door.SUBMISSION, Door.INTERNAL])
def test_the_queue_asks_the_list_again(door: Door) -> None:
    def relay(address: str) -> str:
        return outcome(
            ENGINE.decide(Facts(Stage.RELAY, door, NOW, ZOE.address, recipients=(to(address),)))
        )

    assert relay(f"bob@{THEIRS}") == "accept"
    assert relay(f"bob@{UNLISTED}") == "recipient.listed 550 5.7.1"


@pytest.mark.parametrize(
    ("local", "valid"),
    [
        ("199019999999979", True),
        ("199012A99999908", True),
        ("199012b99999935", True),
        ("799019999999970", True),
        ("199019999999978", False),
        ("1990199999999", False),
        ("1990199999999791", False),
        ("19901999999997X", False),
        ("", False),
        ("١٩٩٠١٩٩٩٩٩٩٩٩٧٩", False),
        ("1990199999999 9", False),
        ("199019999999979\n", False),
        ("199012C99999908", False),
    ],
)
@pytest.mark.requirement("OP-88")
def test_the_key_of_an_ins(local: str, valid: bool) -> None:
    assert is_valid(local) is valid


@pytest.mark.requirement("OP-87", "OP-88")
def test_a_wrong_ins_is_refused_at_submission_unless_it_is_a_warning() -> None:
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"199019999999978@{PATIENTS}"))
    assert outcome(ENGINE.decide(facts)) == "recipient.ins 550 5.1.3"
    lenient = Engine(POLICY.model_copy(update={"check_ins": "warn"}), LimitSettings())
    assert outcome(lenient.decide(facts)) == "accept"
    assert lenient.is_doubtful(facts.recipients[0].address)
    assert not lenient.is_doubtful(at(f"{INS}@{PATIENTS}"))
    assert not ENGINE.is_doubtful(facts.recipients[0].address)


def test_an_ins_is_checked_in_the_patients_domain_only() -> None:
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"12345@{THEIRS}"))
    assert outcome(ENGINE.decide(facts)) == "accept"
