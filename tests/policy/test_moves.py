"""Domains that move between operators, with time as a parameter (OP-101, OP-34)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import (
    Action,
    Address,
    Bal,
    BalType,
    Domain,
    Door,
    Facts,
    Operator,
    RecipientFacts,
    Stage,
)
from mssmtp.policy import Engine, Moves
from tests.policy.samples import POLICY, principal
from tests.policy.samples import box as box_of

D = datetime(2026, 3, 10, 8, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
COMES, LEAVES, ANNOUNCED = Domain("arrive.test"), Domain("part.test"), Domain("ailleurs.test")
ENGINE = Engine(POLICY, LimitSettings(), Moves({COMES: D}, {LEAVES: D, ANNOUNCED: D}))
STILL = Engine(POLICY, LimitSettings())
PEER = Operator((), "CN=pair", "1", "CN=AC", frozenset({Domain("pair.test"), COMES}), D, 1)
AUTHOR = Address("auteur", Domain("pair.test"))


def bal(address: Address) -> Bal:
    return box_of(address.local, BalType.PER, address.domain)


def at_rcpt(domain: Domain, now: datetime, *, box: bool = True) -> tuple[str, str]:
    """(code, rule) of what the operator door answers to RCPT."""
    address = Address("luc", domain)
    here = ENGINE.moves.is_settled(domain, now)
    found = RecipientFacts(address, here, is_listed=True, bal=bal(address) if box else None)
    facts = Facts(Stage.RECIPIENT, Door.OPERATOR, now, AUTHOR, operator=PEER, recipients=(found,))
    final = ENGINE.decide(facts).final
    return ("250" if final.reply is None else str(final.reply)[:9]), final.rule


@pytest.mark.requirement("OP-101")
@pytest.mark.parametrize(
    ("now", "answer"),
    [
        (D - 30 * DAY, "550 5.7.1"),
        (D - 48 * HOUR - SECOND, "550 5.7.1"),
        (D - 48 * HOUR, "450 4.7.1"),
        (D - SECOND, "450 4.7.1"),
        (D, "250"),
        (D + 30 * DAY, "250"),
    ],
)
def test_served_from_its_date_and_deferred_only_while_retries_reach_it(
    now: datetime, answer: str
) -> None:
    assert at_rcpt(COMES, now)[0] == answer


@pytest.mark.requirement("OP-101")
@pytest.mark.parametrize(
    ("now", "box", "answer"),
    [
        (D - DAY, True, ("250", "recipient.forward")),
        (D - SECOND, True, ("250", "recipient.forward")),
        (D - SECOND, False, ("550 5.1.1", "relay.none")),
        (D, True, ("550 5.7.1", "relay.none")),
        (D + DAY, False, ("550 5.7.1", "relay.none")),
    ],
)
def test_forwarded_until_its_date_for_its_boxes_only(
    now: datetime, box: bool, answer: tuple[str, str]
) -> None:
    assert at_rcpt(LEAVES, now, box=box) == answer


@pytest.mark.requirement("OP-13", "OP-101")
def test_the_announced_move_of_a_stranger_makes_no_relay_of_us() -> None:
    """A domain served elsewhere has no boxes here, whatever is announced about it."""
    assert at_rcpt(ANNOUNCED, D - DAY, box=False) == ("550 5.1.1", "relay.none")


@pytest.mark.requirement("OP-34")
@pytest.mark.parametrize(
    ("domain", "now", "status"),
    [
        (ANNOUNCED, D - SECOND, "451 4.7.1"),
        (ANNOUNCED, D, "550 5.7.1"),
        (LEAVES, D - SECOND, "451 4.7.1"),
        (Domain("retire.test"), D - DAY, "550 5.7.1"),
    ],
)
def test_queued_mail_for_an_absent_domain_comes_back_unless_its_move_is_announced(
    domain: Domain, now: datetime, status: str
) -> None:
    found = RecipientFacts(Address("x", domain), is_local_domain=False, is_listed=False)
    facts = Facts(Stage.RELAY, Door.INTERNAL, now, None, recipients=(found,), list_date=now - HOUR)
    final = ENGINE.decide(facts).final
    assert final.action is (Action.DEFER if status.startswith("4") else Action.REJECT)
    assert final.reply is not None
    assert str(final.reply).startswith(status)
    assert str(domain) in final.reply.text
    listed = replace(facts, recipients=(replace(found, is_listed=True),))
    assert ENGINE.decide(listed).is_accepted


def content(sender: Address | None, *recipients: Address) -> Facts:
    return Facts(
        Stage.CONTENT,
        Door.OPERATOR,
        D,
        sender,
        operator=PEER,
        recipients=tuple(
            RecipientFacts(r, is_local_domain=True, is_listed=True) for r in recipients
        ),
        from_addresses=(Address("auteur", Domain("autre.test")),),
        shown_domains=frozenset({Domain("autre.test")}),
    )


BOX, NEIGHBOUR = Address("luc", COMES), Address("eve", COMES)


@pytest.mark.attack
@pytest.mark.requirement("OP-101", "OP-15")
def test_att_42_a_foreign_from_passes_only_as_a_box_of_a_coming_domain_handed_on_to_itself() -> (
    None
):
    for facts in (content(BOX, BOX), content(None, BOX)):
        assert ENGINE.decide(facts).is_accepted
        assert not STILL.decide(facts).is_accepted
    refused = (
        content(BOX, NEIGHBOUR),
        content(BOX, BOX, NEIGHBOUR),
        content(AUTHOR, BOX),
        content(None, AUTHOR),
        replace(content(BOX, BOX), operator=replace(PEER, domains=frozenset())),
    )
    for facts in refused:
        decision = ENGINE.decide(facts)
        assert not decision.is_accepted
        assert decision.final.rule in ("from.peer", "from.shown")


@pytest.mark.requirement("OP-101")
def test_a_box_of_a_coming_domain_sends_from_its_date() -> None:
    box = bal(BOX)
    facts = Facts(
        Stage.SENDER, Door.SUBMISSION, D - SECOND, BOX, principal=principal(box), acting=box
    )
    final = ENGINE.decide(facts).final
    assert (final.rule, str(final.reply)[:9]) == ("sender.not-yet", "550 5.7.1")
    assert ENGINE.decide(replace(facts, now=D)).is_accepted
