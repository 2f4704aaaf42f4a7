"""Reverse-path, From and Sender are bound to the login or to the peer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mssmtp.config import LimitSettings
from mssmtp.mail import Address, Bal, Door, Facts, Stage
from mssmtp.policy import Engine
from tests.policy.samples import (
    ENGINE,
    NOW,
    OURS,
    POLICY,
    SECRETARIAT,
    THEIRS,
    UNLISTED,
    ZOE,
    at,
    outcome,
    principal,
    received,
    submitted,
    to,
)

OTHER = at(f"autre@{OURS}")


@pytest.mark.requirement("OP-86")
@pytest.mark.parametrize("acting", [ZOE, SECRETARIAT])
def test_a_login_sends_as_each_of_its_boxes(acting: Bal) -> None:
    facts = submitted(Stage.SENDER, acting, principal=principal(ZOE, SECRETARIAT))
    assert outcome(ENGINE.decide(facts)) == "accept"


@pytest.mark.requirement("OP-86")
@pytest.mark.attack
@pytest.mark.parametrize(
    "address",
    [
        OTHER,
        at(f"zoe.tartempion@{THEIRS}"),
        at(f"zoe.tartempion@x.{OURS}"),
        at(f"xzoe.tartempion@{OURS}"),
        at(f'"zoe.tartempion"@{OURS}'),
    ],
)
def test_att_42_a_login_does_not_send_as_another(address: Address) -> None:
    facts = submitted(Stage.SENDER, ZOE, sender=address, acting=None)
    assert outcome(ENGINE.decide(facts)) == "sender.bound 553 5.7.1"
    relaxed = Engine(POLICY.model_copy(update={"relax": ("sender.bound",)}), LimitSettings())
    assert outcome(relaxed.decide(facts)) == "accept"  # weakened: the guard is this rule


@pytest.mark.attack
def test_att_42_an_acting_box_that_is_not_the_senders_is_refused() -> None:
    facts = submitted(
        Stage.SENDER, ZOE, sender=SECRETARIAT.address, principal=principal(ZOE, SECRETARIAT)
    )
    assert outcome(ENGINE.decide(facts)) == "sender.bound 553 5.7.1"


def test_the_case_of_the_own_address_does_not_matter() -> None:
    facts = submitted(Stage.SENDER, ZOE, sender=at(f"Zoe.TARTEMPION@{OURS.upper()}"))
    assert outcome(ENGINE.decide(facts)) == "accept"


def test_nobody_logged_in_sends_nothing() -> None:
    facts = submitted(Stage.SENDER, ZOE, principal=None)
    assert outcome(ENGINE.decide(facts)) == "default.deny 550 5.7.1"


FROM_CASES: list[tuple[tuple[Address, ...], tuple[Address, ...], str]] = [
    ((ZOE.address,), (), "accept"),
    ((SECRETARIAT.address,), (ZOE.address,), "accept"),
    ((ZOE.address, SECRETARIAT.address), (ZOE.address,), "accept"),
    ((OTHER,), (), "from.bound 553 5.7.1"),
    ((ZOE.address, OTHER), (), "from.bound 553 5.7.1"),
    ((OTHER, ZOE.address), (), "from.bound 553 5.7.1"),
    ((ZOE.address,), (OTHER,), "from.bound 553 5.7.1"),
    ((), (), "from.bound 553 5.7.1"),
    ((), (ZOE.address,), "from.bound 553 5.7.1"),
]


@pytest.mark.requirement("OP-86")
@pytest.mark.attack
@pytest.mark.parametrize(("named", "senders", "expected"), FROM_CASES)
def test_att_42_from_and_sender_are_boxes_of_the_login(
    named: tuple[Address, ...], senders: tuple[Address, ...], expected: str
) -> None:
    facts = submitted(
        Stage.CONTENT,
        ZOE,
        to(f"bob@{THEIRS}"),
        principal=principal(ZOE, SECRETARIAT),
        from_addresses=named,
        sender_addresses=senders,
    )
    assert outcome(ENGINE.decide(facts)) == expected


@pytest.mark.requirement("OP-10")
def test_a_peer_sends_only_for_its_own_domains() -> None:
    def mail_from(text: str) -> str:
        return outcome(ENGINE.decide(received(Stage.SENDER, sender=at(text))))

    assert mail_from(f"bob@{THEIRS}") == "accept"
    assert mail_from("x@cardio.cabinet-b.test") == "accept"
    assert mail_from(f"x@other.{THEIRS}") == "sender.operator 550 5.7.1"
    assert mail_from(f"zoe@{OURS}") == "sender.operator 550 5.7.1"
    assert mail_from(f"x@{UNLISTED}") == "sender.operator 550 5.7.1"


def test_a_null_reverse_path_needs_a_listed_peer() -> None:
    assert outcome(ENGINE.decide(received(Stage.SENDER, sender=None))) == "accept"
    unknown = received(Stage.SENDER, sender=None, operator=None)
    assert outcome(ENGINE.decide(unknown)) == "default.deny 550 5.7.1"


def _from_peer(engine: Engine, *named: str, sender: str | None = None) -> str:
    facts = received(
        Stage.CONTENT,
        to(f"zoe@{OURS}"),
        from_addresses=tuple(at(each) for each in named),
        sender_addresses=(at(sender),) if sender else (),
    )
    return outcome(engine.decide(facts))


@pytest.mark.requirement("OP-15")
@pytest.mark.attack
def test_att_42_from_of_another_operator_is_refused() -> None:
    assert _from_peer(ENGINE, f"bob@{THEIRS}") == "accept"
    assert _from_peer(ENGINE, f"zoe@{OURS}") == "from.peer 550 5.7.1"
    assert _from_peer(ENGINE, f"bob@{THEIRS}", f"zoe@{OURS}") == "from.peer 550 5.7.1"
    assert _from_peer(ENGINE, f"bob@{THEIRS}", sender=f"x@{UNLISTED}") == "from.peer 550 5.7.1"
    assert _from_peer(ENGINE) == "from.peer 550 5.7.1"


@pytest.mark.requirement("OP-15")
def test_from_policy_flags_or_ignores() -> None:
    flag = Engine(POLICY.model_copy(update={"from_policy": "flag"}), LimitSettings())
    ignore = Engine(POLICY.model_copy(update={"from_policy": "ignore"}), LimitSettings())
    assert _from_peer(flag, f"zoe@{OURS}") == "accept"
    assert _from_peer(ignore, f"zoe@{OURS}") == "accept"
    flagged = flag.decide(
        received(Stage.CONTENT, to(f"zoe@{OURS}"), from_addresses=(at(f"zoe@{OURS}"),))
    )
    assert flagged.final.because.startswith("flagged")


def test_the_servers_own_reports_are_let_through_and_nothing_else_of_foreign_sender() -> None:
    report = Facts(Stage.SENDER, Door.INTERNAL, NOW, None)
    assert outcome(ENGINE.decide(report)) == "accept"
    content = replace(report, stage=Stage.CONTENT, recipients=(to(f"bob@{THEIRS}"),))
    assert outcome(ENGINE.decide(content)) == "accept"
    for recipient in (to(f"bob@{THEIRS}"), to(f"zoe@{OURS}")):
        facts = replace(report, stage=Stage.RECIPIENT, recipients=(recipient,))
        assert outcome(ENGINE.decide(facts)) == "accept"
    forged = replace(report, sender=at(f"bob@{THEIRS}"))
    assert outcome(ENGINE.decide(forged)) == "sender.internal 550 5.7.1"
