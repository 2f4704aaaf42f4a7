"""The session's state: which command is legal when, and what the policy is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mssmtp.config import LimitSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.errors import MailError
from mssmtp.mail import (
    Address,
    Attachment,
    Bal,
    BalId,
    BalType,
    Domain,
    Door,
    Operator,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.policy.engine import Engine
from mssmtp.smtp import replies
from mssmtp.smtp.content import Authors
from mssmtp.smtp.syntax import MailCommand
from mssmtp.smtp.transaction import (
    Conversation,
    Destination,
    DoorRules,
    OutOfOrder,
    Refused,
    Transaction,
    bounced,
    judged,
)

NOW = datetime(2026, 1, 5, tzinfo=UTC)
OURS = Domain("hopital-a.test")
ZOE = Address.parse("zoe@hopital-a.test")
ANNE = Address.parse("anne@cabinet-b.test")
BOX = Bal(BalId(1), ZOE, BalType.ORG)
OPERATOR = Operator((), "CN=b", "1", "CN=ca", frozenset({ANNE.domain}), NOW, 7)


def conversation(door: Door = Door.OPERATOR, **limits: int) -> Conversation:
    rules = DoorRules(door, frozenset({OURS}), LimitSettings.model_validate(limits))
    return Conversation(rules)


def transaction() -> Transaction:
    return Transaction(MailCommand(ANNE, 100), Door.OPERATOR, False, NOW, operator=OPERATOR)


def refused(call: object, *arguments: object) -> object:
    with pytest.raises(MailError) as error:
        call(*arguments)  # type: ignore[operator]
    return error.value.reply


@pytest.mark.requirement("OP-03")
def test_nothing_of_a_transaction_is_legal_in_clear() -> None:
    state = conversation()
    state.greet("x", extended=True)
    assert refused(state.mail, f"FROM:<{ANNE}>", NOW) == replies.TLS_REQUIRED
    assert refused(state.rcpt, f"TO:<{ZOE}>", OURS) == replies.TLS_REQUIRED
    assert refused(state.data, None) == replies.TLS_REQUIRED
    assert refused(state.may_log_in) == replies.TLS_BEFORE_LOGIN


@pytest.mark.requirement("OP-66")
def test_an_announced_size_above_the_limit_is_refused_before_any_look_up() -> None:
    state = conversation(message_octets=1000)
    state.secure()
    state.greet("x", extended=True)
    assert state.mail(f"FROM:<{ANNE}> SIZE=1000", NOW).size_octets == 1000
    assert refused(state.mail, f"FROM:<{ANNE}> SIZE=1001", NOW) == replies.too_big(1000)


def test_tls_forgets_what_was_said_in_clear() -> None:
    state = conversation()
    state.greet("x", extended=True)
    state.may_start_tls(None)
    state.secure()
    assert state.greeting is None
    assert refused(state.mail, f"FROM:<{ANNE}>", NOW) == replies.SAY_HELLO
    state.greet("x", extended=True)
    assert refused(state.may_start_tls, None) == replies.TLS_ALREADY


@pytest.mark.requirement("OP-81")
def test_submission_asks_for_a_login_first() -> None:
    state = conversation(Door.SUBMISSION)
    state.secure()
    state.greet("x", extended=True)
    assert refused(state.mail, f"FROM:<{ZOE}>", NOW) == replies.LOGIN_REQUIRED
    state.may_log_in()


def test_a_greeting_ends_the_transaction() -> None:
    state = conversation()
    state.secure()
    state.greet("x", extended=True)
    state.transaction = transaction()
    assert refused(state.mail, f"FROM:<{ANNE}>", NOW) == replies.NESTED_MAIL
    assert refused(state.may_log_in) == replies.NOT_IN_TRANSACTION
    assert refused(state.data, None) == replies.NO_RECIPIENT
    state.greet("x", extended=True)
    assert refused(state.data, None) == replies.MAIL_FIRST


@pytest.mark.parametrize("name", [None, "", "é", "x" * 256])
def test_a_greeting_has_a_short_ascii_name(name: str | None) -> None:
    with pytest.raises(MailError):
        conversation().greet(name, extended=True)


@pytest.mark.requirement("SEED-54")
def test_the_same_recipient_twice_is_one_and_the_limit_counts_them_once() -> None:
    state = conversation(recipients=2)
    state.secure()
    state.transaction = transaction()
    local = RecipientFacts(ZOE, is_local_domain=True, is_listed=True, bal=BOX)
    for address in (ZOE, Address.parse("ZOE@hopital-a.test")):
        state.transaction.add(Destination(Recipient(address), local))
    assert len(state.transaction.destinations) == 1
    state.rcpt(f"TO:<{ZOE}>", OURS)
    state.transaction.add(Destination(Recipient(ANNE), local))
    assert refused(state.rcpt, f"TO:<{ZOE}>", OURS) == replies.TOO_MANY_RECIPIENTS


@pytest.mark.requirement("APX-04")
def test_two_typed_addresses_that_became_one_elsewhere_are_refused_together() -> None:
    interop = Address.parse("jean@interop-mssante.apicrypt.org")
    typed = [Address.parse(f"jean@medical{number}.apicrypt.org") for number in (34, 69)]
    engine = Engine(PolicySettings(), LimitSettings())
    current = Transaction(MailCommand(ZOE), Door.SUBMISSION, True, NOW, acting=BOX)
    for each in (typed[0], typed[0], typed[1]):
        facts = RecipientFacts(interop, is_local_domain=False, is_listed=True, typed=each)
        current.add(Destination(Recipient(interop, each), facts))
    assert [one.recipient.typed for one in current.destinations] == typed
    with pytest.raises(Refused) as error:
        judged(engine, current.content_facts(NOW, Authors((ZOE,)), 1, ()))
    assert error.value.rule == "apicrypt.collision"


def test_addresses_that_lead_to_one_certain_box_are_one_recipient() -> None:
    usual = Address.parse("zoe@ordinaire.test")
    ours = RecipientFacts(ZOE, is_local_domain=True, is_listed=True, bal=BOX)
    current = transaction()
    current.add(Destination(Recipient(ZOE), ours))
    current.add(Destination(Recipient(ZOE, usual), ours))
    current.add(Destination(Recipient(ZOE, Address.parse("z@ordinaire.test")), ours))
    assert len(current.destinations) == 1
    theirs = RecipientFacts(ANNE, is_local_domain=False, is_listed=True)
    current.add(Destination(Recipient(ANNE, usual), theirs))
    current.add(Destination(Recipient(ANNE), theirs))  # written out: not ambiguous
    assert len(current.destinations) == 2


def test_a_box_counts_as_ours_only_in_our_domains() -> None:
    ours = RecipientFacts(ZOE, is_local_domain=True, is_listed=True, bal=BOX)
    theirs = RecipientFacts(ANNE, is_local_domain=False, is_listed=True, bal=BOX)
    assert Destination(Recipient(ZOE), ours).bal is BOX
    assert Destination(Recipient(ANNE), theirs).bal is None


@pytest.mark.requirement("OP-15")
def test_facts_at_content_hold_everything_the_rules_ask_for() -> None:
    current = transaction()
    attachment = Attachment("a.pdf", "application/pdf", 10)
    facts = current.content_facts(NOW, Authors((ANNE,), (ANNE,)), 5_000, (attachment,))
    assert facts.stage is Stage.CONTENT
    assert (facts.size_octets, facts.attachments) == (5_000, (attachment,))
    assert (facts.from_addresses, facts.sender_addresses) == ((ANNE,), (ANNE,))


def test_a_refusal_of_the_policy_carries_its_rule_and_reply() -> None:
    engine = Engine(PolicySettings(), LimitSettings())
    assert judged(engine, transaction().facts(Stage.SENDER, NOW)).is_accepted
    foreign = RecipientFacts(ANNE, is_local_domain=False, is_listed=True)
    with pytest.raises(Refused) as error:
        judged(engine, transaction().facts(Stage.RECIPIENT, NOW, [foreign]))
    assert error.value.rule == "relay.none"
    assert error.value.reply.code == 550


@pytest.mark.requirement("DEF-18")
def test_bounced_recipients_come_with_their_diagnostic() -> None:
    patient = Address.parse("199019999999979@patient.mssante.fr")
    engine = Engine(PolicySettings(), LimitSettings(patient_octets=10))
    current = Transaction(MailCommand(ZOE), Door.SUBMISSION, True, NOW, acting=BOX)
    for address, is_local in ((patient, False), (ZOE, True)):
        facts = RecipientFacts(address, is_local_domain=is_local, is_listed=True, bal=BOX)
        current.add(Destination(Recipient(address), facts))
    decision = engine.decide(current.content_facts(NOW, Authors((ZOE,)), 11, ()))
    assert list(bounced(decision)) == [patient]
    assert bounced(decision)[patient].startswith("552 5.3.4")


def test_order_errors_say_what_comes_first() -> None:
    assert issubclass(OutOfOrder, MailError)
    assert refused(conversation().may_start_tls, None) == replies.SAY_HELLO


@pytest.mark.attack
def test_att_35_between_two_chunks_only_chunks_go_on() -> None:
    state = conversation()
    state.secure()
    assert refused(state.chunk) == replies.MAIL_FIRST
    state.greet("x", extended=True)
    state.transaction = transaction()
    assert state.chunk() is state.transaction
    assert refused(state.rcpt, f"TO:<{ZOE}>", OURS) == replies.IN_CHUNKS
    assert refused(state.data, None) == replies.IN_CHUNKS
    assert refused(state.mail, f"FROM:<{ANNE}>", NOW) == replies.NESTED_MAIL
    assert refused(state.may_log_in) == replies.NOT_IN_TRANSACTION
    assert state.chunk() is state.transaction
