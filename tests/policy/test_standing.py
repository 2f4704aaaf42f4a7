"""A served domain exchanges outside when the list gives it to us, not before and not after."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from mssmtp.mail import Domain, DomainState, Door, Facts, Stage
from mssmtp.policy import facts_from_bytes, facts_to_bytes
from tests.policy.samples import (
    ENGINE,
    NOW,
    OURS,
    THEIRS,
    ZOE,
    outcome,
    received,
    submitted,
    to,
)

REQUESTED: tuple[tuple[Domain, DomainState], ...] = ((Domain(OURS), "requested"),)
WITHDRAWN: tuple[tuple[Domain, DomainState], ...] = ((Domain(OURS), "withdrawn"),)
OTHER: tuple[tuple[Domain, DomainState], ...] = ((Domain("annexe.test"), "requested"),)


def queued(address: str, **changes: object) -> Facts:
    facts = Facts(Stage.RELAY, Door.INTERNAL, NOW, ZOE.address, sender_is_local=True)
    facts = replace(facts, recipients=(to(address),))
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.mark.requirement("DEF-01", "SEED-03")
@pytest.mark.parametrize(
    ("unlisted", "expected"),
    [(REQUESTED, "n'est pas encore publié"), (WITHDRAWN, "n'est plus dans la liste blanche")],
)
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
def test_an_unlisted_domain_of_ours_does_not_write_outside(
    unlisted: tuple[tuple[Domain, DomainState], ...], expected: str, stage: Stage
) -> None:
    facts = submitted(stage, ZOE, to(f"bob@{THEIRS}"), own_unlisted=unlisted)
    decision = ENGINE.decide(facts)
    assert outcome(decision) == "sender.listed 550 5.7.1"
    assert decision.final.reply is not None
    assert expected in decision.final.reply.text
    assert OURS in decision.final.reply.text


@pytest.mark.requirement("DEF-01")
@pytest.mark.parametrize("unlisted", [REQUESTED, WITHDRAWN])
def test_inside_the_operator_it_goes_on(
    unlisted: tuple[tuple[Domain, DomainState], ...],
) -> None:
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"zoe@{OURS}"), own_unlisted=unlisted)
    assert outcome(ENGINE.decide(facts)) == "accept"


@pytest.mark.requirement("DEF-01")
def test_a_listed_domain_of_ours_is_not_held_back_by_another_one() -> None:
    facts = submitted(Stage.RECIPIENT, ZOE, to(f"bob@{THEIRS}"), own_unlisted=OTHER)
    assert outcome(ENGINE.decide(facts)) == "accept"


@pytest.mark.requirement("DEF-01")
def test_a_null_sender_does_not_open_a_way_around_it() -> None:
    """An MDN comes from the address in From."""
    facts = submitted(
        Stage.CONTENT,
        ZOE,
        to(f"bob@{THEIRS}"),
        own_unlisted=REQUESTED,
        sender=None,
        acting=None,
        from_addresses=(ZOE.address,),
    )
    assert outcome(ENGINE.decide(facts)) == "sender.listed 550 5.7.1"


@pytest.mark.requirement("DEF-01")
def test_what_is_queued_when_the_list_loses_us_waits() -> None:
    assert outcome(ENGINE.decide(queued(f"bob@{THEIRS}"))) == "accept"
    decision = ENGINE.decide(queued(f"bob@{THEIRS}", own_unlisted=WITHDRAWN))
    assert outcome(decision) == "sender.listed 451 4.7.1"


@pytest.mark.requirement("DEF-01")
def test_from_outside_a_domain_that_is_not_listed_for_us_defers() -> None:
    """The list of the peer may be newer than ours: its mail must not come back for that."""
    facts = received(Stage.RECIPIENT, to(f"zoe@{OURS}"))
    assert outcome(ENGINE.decide(facts)) == "accept"
    decision = ENGINE.decide(replace(facts, own_unlisted=REQUESTED))
    assert outcome(decision) == "recipient.open 451 4.7.1"
    assert outcome(ENGINE.decide(replace(facts, own_unlisted=OTHER))) == "accept"


@pytest.mark.parametrize("state", get_args(DomainState))
def test_the_states_survive_sealing(state: DomainState) -> None:
    if state == "listed":
        return  # never among them
    facts = queued(f"bob@{THEIRS}", own_unlisted=((Domain(OURS), state),))
    assert facts_from_bytes(facts_to_bytes(facts)) == facts
