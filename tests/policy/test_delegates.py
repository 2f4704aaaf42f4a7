"""A delegate writes on behalf of the holder, under the own name beside, and no further than let."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import AccountId, Bal, DelegateRight, Facts, Principal, Stage
from mssmtp.policy import facts_from_bytes, facts_to_bytes
from tests.policy.samples import (
    ENGINE,
    MARC,
    OURS,
    SECRETARIAT,
    THEIRS,
    ZOE,
    at,
    outcome,
    submitted,
    to,
)

REPLIES = "habilitation.delegate 550 5.7.1"
UNNAMED = "from.on-behalf 553 5.7.1"


def delegate(right: DelegateRight, own: Bal = MARC) -> Principal:
    """Marc's account, to which Zoé's box is lent."""
    return Principal(
        AccountId(1), str(own.address), (own, ZOE), roles={ZOE.id: right}, own=own.address
    )


def written(
    stage: Stage, right: DelegateRight, *, knows: bool = True, sender: Bal | None = MARC
) -> Facts:
    facts = submitted(stage, ZOE, to(f"bob@{THEIRS}", has_written=knows), principal=delegate(right))
    if stage is Stage.CONTENT and sender is not None:
        return replace(facts, sender_addresses=(sender.address,))
    return facts


@pytest.mark.requirement("DEF-12")
@pytest.mark.parametrize("stage", [Stage.RECIPIENT, Stage.CONTENT])
@pytest.mark.parametrize(
    ("right", "knows", "expected"),
    [
        (DelegateRight.SEND, False, "accept"),
        (DelegateRight.SEND, True, "accept"),
        (DelegateRight.REPLY, True, "accept"),
        (DelegateRight.REPLY, False, REPLIES),
        (DelegateRight.READ, True, REPLIES),
        (DelegateRight.READ, False, REPLIES),
    ],
)
def test_each_right_of_a_delegate(
    stage: Stage, right: DelegateRight, knows: bool, expected: str
) -> None:
    assert outcome(ENGINE.decide(written(stage, right, knows=knows))) == expected


@pytest.mark.requirement("DEF-12", "SEED-32")
def test_the_rights_are_those_of_the_holders_box_and_never_lent_to_the_own_one() -> None:
    """Marc's box is MED: on behalf of Zoé he reaches another operator, as himself he does not."""
    assert outcome(ENGINE.decide(written(Stage.CONTENT, DelegateRight.SEND))) == "accept"
    own = submitted(
        Stage.CONTENT, MARC, to(f"bob@{THEIRS}"), principal=delegate(DelegateRight.SEND)
    )
    assert outcome(ENGINE.decide(own)) == "habilitation.trust-space 550 5.7.1"


@pytest.mark.requirement("DEF-12", "OP-86")
@pytest.mark.attack
@pytest.mark.parametrize(
    "sender",
    [None, ZOE, SECRETARIAT, replace(ZOE, address=at(f"bob@{THEIRS}"))],
    ids=["nobody", "the holder", "a stranger here", "a stranger elsewhere"],
)
def test_att_42_a_delegate_cannot_hide_behind_the_holder(sender: Bal | None) -> None:
    decision = ENGINE.decide(written(Stage.CONTENT, DelegateRight.SEND, sender=sender))
    assert not decision.is_accepted
    assert any(outcome_.rule == "from.on-behalf" for outcome_ in decision.verdicts)


@pytest.mark.requirement("DEF-12")
@pytest.mark.attack
def test_att_42_a_delegate_who_may_reply_cannot_borrow_own_correspondents() -> None:
    """Who has written is known of the envelope's box: it has to be the one From names."""
    colleague = to(f"colleague@{OURS}", has_written=True)
    login = delegate(DelegateRight.REPLY)
    by_own_envelope = submitted(
        Stage.CONTENT,
        MARC,
        colleague,
        principal=login,
        from_addresses=(ZOE.address,),
        sender_addresses=(MARC.address,),
    )
    assert outcome(ENGINE.decide(by_own_envelope)) == UNNAMED
    null = replace(by_own_envelope, sender=None, acting=None)
    assert outcome(ENGINE.decide(null)) == UNNAMED
    may_send = replace(null, principal=delegate(DelegateRight.SEND))
    assert outcome(ENGINE.decide(may_send)) == "accept"


@pytest.mark.requirement("DEF-12")
def test_a_login_that_opens_the_holders_box_alone_is_named_all_the_same() -> None:
    """By a token the client names one box (CL-13); the person is the token's subject."""
    alone = replace(delegate(DelegateRight.SEND), bals=(ZOE,), box=ZOE.id)
    facts = replace(written(Stage.CONTENT, DelegateRight.SEND), principal=alone)
    assert outcome(ENGINE.decide(facts)) == "accept"
    assert not ENGINE.decide(replace(facts, sender_addresses=(SECRETARIAT.address,))).is_accepted
    # What is no delegation lends the own address nothing.
    mine = replace(facts, from_addresses=(MARC.address,), sender_addresses=())
    assert not ENGINE.decide(mine).is_accepted


@given(
    st.sampled_from(DelegateRight),
    st.sampled_from([MARC, ZOE, SECRETARIAT, None]),
    st.booleans(),
    st.sampled_from(Stage),
)
def test_kept_facts_of_a_delegate_decide_the_same(
    right: DelegateRight, sender: Bal | None, knows: bool, stage: Stage
) -> None:
    facts = written(stage, right, knows=knows, sender=sender)
    assert (
        ENGINE.decide(facts_from_bytes(facts_to_bytes(facts))).final == ENGINE.decide(facts).final
    )
