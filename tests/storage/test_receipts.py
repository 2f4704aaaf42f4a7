"""What reports tell of letters sent from here: the ledger, and the copy in Sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mssmtp.mail import ALL_RIGHTS, Address, Bal, BalType, EnvelopeId, MailboxId, Recipient, Uid
from mssmtp.storage import (
    LocalDelivery,
    Outcome,
    Receipt,
    Step,
    Store,
    TooManyKeywords,
    Writing,
    by_envid,
    by_message_id,
)
from mssmtp.storage.model import OUTCOMES
from mssmtp.storage.receipts import keywords
from tests.storage.support import (
    SUBMITTED,
    TRANSFER,
    accept,
    add_bal,
    message,
    open_new,
    recipients,
)

OLIVE, MARIUS = recipients("olive@cabinet-b.test", "marius@cabinet-b.test")
NAME = by_message_id("<1@cabinet-b.test>")
REPORT = EnvelopeId("01JGX5Q2M0000000000000DSN0")
READ = Receipt("lu", "displayed", "", OLIVE.address)
LOST = Receipt("rejet", "failed", "patient-closed", MARIUS.address, None, "550 5.2.1 close")


@dataclass
class Sent:
    """A letter to two strangers, of which the sender has a copy."""

    store: Store
    bal: Bal
    envelope: EnvelopeId
    mailbox: MailboxId
    uid: Uid

    def receive(self, *receipts: Receipt, name: str = NAME, vouched: bool = True) -> object:
        return self.store.write(
            lambda w: w.receive(self.bal.id, [name], receipts, lambda _: vouched, REPORT)
        ).result()

    def steps(self) -> list[tuple[str, str, str]]:
        found = self.store.read(lambda r: r.journey(self.envelope)).result()
        return [(one.recipient, one.kind, one.cause) for one in found]

    def shown(self) -> frozenset[str]:
        (row,) = self.store.read(lambda r: r.messages(self.mailbox)).result()
        return row.flags & OUTCOMES


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    store = open_new(tmp_path / "home")
    bal = add_bal(store)
    letter = store.seal(message())
    envelope, _ = accept(store, letter, [], [OLIVE, MARIUS], bal.id, SUBMITTED)

    def file(writing: Writing) -> MailboxId:
        box = writing.mailbox(bal.id, "Sent")
        assert box is not None
        key = writing._bal_key(bal.id)
        blob = writing._adopt(letter, envelope)
        writing._refer(blob, key, letter, shown=True)
        writing._add_message(box.id, (1, letter.size_octets, 0, blob))
        return box.id

    mailbox = store.write(file).result()
    yield Sent(store, bal, envelope, mailbox, Uid(1))
    assert store.check(deep=True).problems == ()
    store.close()


@pytest.mark.requirement("SEED-79", "OP-93", "CL-64")
def test_what_a_report_tells_is_written_and_shown_once(sent: Sent) -> None:
    assert sent.receive(READ, LOST) == [READ, LOST]
    assert sent.steps() == [
        (str(OLIVE.address), "lu", ""),
        (str(MARIUS.address), "rejet", "patient-closed"),
    ]
    assert sent.shown() == {"$MSSRead", "$MSSFailed"}
    assert sent.receive(READ, LOST) == []
    assert len(sent.steps()) == 2


@pytest.mark.requirement("SEED-79")
def test_our_own_failures_show_on_the_copy_too(sent: Sent) -> None:
    later = sent.store._vault.clock.now()
    late = Outcome(sent.envelope, OLIVE, "retry", "451 4.4.1 non", later, warned=True)
    gone = Outcome(sent.envelope, MARIUS, "failed", "550 5.1.1 inconnu")
    sent.store.write(lambda w: w.record([late, gone], TRANSFER)).result()
    assert sent.shown() == {"$MSSDelayed", "$MSSFailed"}
    done = Outcome(sent.envelope, OLIVE, "delivered", "250 2.0.0 pris")
    sent.store.write(lambda w: w.record([done], TRANSFER)).result()
    sent.receive(Receipt("remise", "delivered", "", OLIVE.address))
    assert sent.shown() == {"$MSSFailed"}, "the delay is over"


@pytest.mark.requirement("CL-61", "CL-64")
def test_a_letter_is_found_by_envid_and_by_message_id(sent: Sent) -> None:
    assert sent.receive(READ, name=by_message_id("<autre@x.test>")) is None
    assert sent.receive(READ, name=by_envid("QQ")) is None
    assert by_envid("a+2Bb") == by_envid("a+2Bb".replace("+2B", "+2B"))
    assert by_envid("a+2Bb") == "envid:a+b"
    assert sent.receive(READ) == [READ]


@pytest.mark.attack("ATT-44")
def test_att_44_a_strangers_report_changes_nothing(sent: Sent) -> None:
    assert sent.receive(READ, LOST, vouched=False) == []
    other = Receipt("lu", "displayed", "", Address.parse("pirate@pirate.test"))
    assert sent.receive(other) == []
    assert sent.steps() == []
    assert sent.shown() == frozenset()


def test_one_box_never_tells_another_ones_letters(sent: Sent) -> None:
    noe = sent.store.write(
        lambda w: w.create_bal(Address.parse("org@hopital-a.test"), BalType.ORG)
    ).result()
    query = sent.store.write(lambda w: w.receive(noe.id, [NAME], [READ], lambda _: True, REPORT))
    assert query.result() is None


@pytest.mark.requirement("SEED-79")
def test_outcomes_are_not_for_clients_to_set_or_to_take_away(sent: Sent) -> None:
    sent.receive(READ)

    def meddle(writing: Writing) -> None:
        writing.store_flags(sent.mailbox, [sent.uid], "-", frozenset({"$MSSRead"}), ALL_RIGHTS)
        writing.store_flags(sent.mailbox, [sent.uid], "+", frozenset({"$mssfailed"}), ALL_RIGHTS)

    sent.store.write(meddle).result()
    assert sent.shown() == {"$MSSRead"}
    sent.store.write(
        lambda w: w.store_flags(sent.mailbox, [sent.uid], "=", frozenset({"\\Seen"}))
    ).result()
    assert sent.shown() == {"$MSSRead"}
    archive = sent.store.read(lambda r: r.mailbox(sent.bal.id, "Archive")).result()
    assert archive is not None
    sent.store.write(lambda w: w.copy(sent.mailbox, [sent.uid], archive.id)).result()
    (row,) = sent.store.read(lambda r: r.messages(archive.id)).result()
    assert "$MSSRead" in row.flags
    sent.receive(LOST)
    (row,) = sent.store.read(lambda r: r.messages(archive.id)).result()
    assert {"$MSSRead", "$MSSFailed"} <= row.flags, "every copy of the sender's shows it"


def test_a_mailbox_full_of_keywords_costs_only_the_keyword(sent: Sent) -> None:
    def fill(writing: Writing) -> None:
        for number in range(70):
            writing.store_flags(sent.mailbox, [sent.uid], "+", frozenset({f"mot{number}"}))

    with pytest.raises(TooManyKeywords):
        sent.store.write(fill).result()

    def fill_up(writing: Writing) -> None:
        some = frozenset(f"mot{number}" for number in range(57))
        writing.store_flags(sent.mailbox, [sent.uid], "+", some)

    sent.store.write(fill_up).result()
    assert sent.receive(READ) == [READ]
    assert sent.shown() == frozenset()


def step(recipient: Recipient, kind: str, result: str = "") -> Step:
    return Step(str(recipient.address), kind, result, "", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([], set()),
        ([step(OLIVE, "relais")], set()),
        ([step(OLIVE, "remise"), step(MARIUS, "remise")], {"$MSSDelivered"}),
        ([step(OLIVE, "lu"), step(MARIUS, "remise")], {"$MSSDelivered", "$MSSRead"}),
        ([step(OLIVE, "lu"), step(MARIUS, "relais")], {"$MSSRead"}),
        ([step(OLIVE, "retard")], {"$MSSDelayed"}),
        ([step(OLIVE, "retard"), step(OLIVE, "relais")], set()),
        ([step(OLIVE, "relais"), step(OLIVE, "rejet")], {"$MSSFailed"}),
        ([step(OLIVE, "rejet"), step(OLIVE, "remise")], set()),
        ([step(OLIVE, "releve", "error"), step(MARIUS, "remise")], {"$MSSFailed", "$MSSDelivered"}),
    ],
)
def test_the_sum_of_all_recipients(steps: list[Step], shown: set[str]) -> None:
    assert keywords(steps, [OLIVE, MARIUS]) == shown


def test_a_copy_delivered_to_oneself_is_no_stranger_to_its_letter(sent: Sent) -> None:
    """Who writes to himself has two messages of one content; both show the outcome."""
    letter = sent.store.seal(message("moi"))
    local = LocalDelivery(sent.bal.id, Recipient(sent.bal.address))
    assert local.mailbox == "INBOX"
    envelope, _ = accept(sent.store, letter, [sent.bal], [OLIVE], sent.bal.id, SUBMITTED)
    sent.store.write(
        lambda w: w.receive(sent.bal.id, [NAME], [READ], lambda _: True, REPORT)
    ).result()
    assert [s.kind for s in sent.store.read(lambda r: r.journey(envelope)).result()] == [
        "remise",
        "lu",
    ]
