"""Operations on people, structures and the services around mail, for the scripted workload."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mssmtp.mail import (
    AccountId,
    Actor,
    Address,
    AdminLevel,
    BalId,
    DelegateRight,
    Envelope,
    Recipient,
    Structure,
    StructureId,
    domain,
)
from mssmtp.storage import Administrator, Delegation, LocalDelivery, NewNotice, Writing
from mssmtp.storage.people_values import NewPerson, Record, ServedDomain
from mssmtp.storage.register import RegisterEntry
from mssmtp.storage.suspensions import Suspension
from tests.crash.ledger import Reply
from tests.storage.support import SUBMITTED, read_by

if TYPE_CHECKING:
    from tests.crash.workload import Hand


def register(hand: Hand) -> None:
    """A structure, its person and what was declared; then what the person is given."""
    person = hand.do(lambda w: _person(w, hand.operation))
    hand.do(lambda w: _given(w, hand.bal(0), person, hand.operation))


def _person(writing: Writing, number: int) -> AccountId:
    structure = writing.create_structure(
        Structure(StructureId(0), f"Clinique {number}", f"{130_000_000 + number}")
    )
    served = ServedDomain(domain(f"c{number}.mssante.test"), structure.id, purpose="essai")
    writing.put_domain(served)
    national = f"8{10_000_000_000 + number}"
    person = writing.create_person(
        NewPerson(
            Address.parse(f"p{number}@cabinet.example"),
            "Tartempion",
            "Zoé",
            national_id=national,
            structure=structure.id,
        )
    )
    writing.put_register_entry(RegisterEntry(national, "Tartempion"))
    writing.add_record("person", person.id, Record("attestation", writing.now(), {"by": "dsi"}))
    writing._retire(Address.parse(f"p{number}@ancien.test"))
    writing.add_administrator(
        Administrator(
            Actor(AdminLevel.STRUCTURE, f"dsi {number}", structure=structure.id), uid=number
        )
    )
    return person.account


def _given(writing: Writing, bal: BalId, account: AccountId, number: int) -> None:
    now = writing.now()
    writing.bind_account("psc", f"sub-{number}", account, "e-CPS")
    writing.set_portal_password(account, "argon2")
    writing.new_secret("reset", f"jeton {number}", account, now + timedelta(hours=1))
    writing.add_member(bal, account)
    given = writing.add_delegation(Delegation(bal, account, DelegateRight.SEND, now))
    writing.end_delegation(given)
    writing.put_suspension(Suspension("account", str(account), now, "dsi", "essai"))
    writing.trace("administration", "dsi", "person.add", account=account)


def serve(hand: Hand) -> None:
    """Scripts, absences, choices, service mail, rights and notes in a shared box."""
    bal, number = hand.bal(1), hand.operation
    box = hand.mailbox(1, "INBOX")
    account = hand.store.read(lambda r: r.account("zoe@hopital-a.test")).result()
    assert account is not None

    def job(writing: Writing) -> None:
        now = writing.now()
        writing.put_script(bal, "tri", b"keep; # %d" % number)
        writing.activate_script(bal, "tri")
        writing.remember_answered(bal, f"a{number}@autre.test", now + timedelta(days=4))
        writing.prefer("bal", bal, "reply", b"absent")
        later = now + timedelta(hours=1)
        to = Address.parse("zoe@poste.example")
        writing.queue_notice(NewNotice("code", to, "fr", {}, later, later, account.id))
        writing.set_entry(box, account.id, "lr")
        writing.annotate(bal, "/private/comment", b"%d" % number, mailbox=box, account=account.id)
        # What was subscribed stays so when its mailbox goes (RFC 3501 6.3.6).
        writing.delete_mailbox(bal, writing.create_mailbox(bal, f"Ailleurs {number}").name)

    hand.do(job)


def submit(hand: Hand) -> None:
    """A letter of one of ours to the other and to somebody who is invited; its copy in Sent."""
    octets = hand.octets(900)
    letter = hand.store.seal(octets, may_be_sent=True)
    bals = [hand.bal(0), hand.bal(1)]
    sender, to, stranger = (
        Address.parse(text)
        for text in ("zoe@hopital-a.test", "ana@hopital-a.test", "inconnue@poste.example")
    )
    whom = (Recipient(to), Recipient(stranger))
    envelope = Envelope(hand.store.new_envelope_id(), sender, whom, hand.now)

    def job(writing: Writing) -> Reply:
        done = writing.accept(
            envelope,
            letter,
            local=[LocalDelivery(bals[1], whom[0])],
            queued=(),
            skip=octets.index(b"\r\n") + 2,
            owner=bals[0],
            transfer=SUBMITTED,
            facts=b"{}",
            invited=whom[1:],
        )
        stored = [*done.stored.values()]
        filed = writing.file_sent(bals[0], letter, envelope, frozenset({"\\Seen"}))
        stored += [filed] if filed is not None else []
        return Reply(stored={(copy.mailbox, copy.uid): hand.sha256(octets) for copy in stored})

    hand.do(job, lambda reply: reply)


def read(hand: Hand) -> None:
    """Somebody has seen what is there (DEF-06)."""
    box = hand.mailbox(0, "INBOX")
    account = hand.store.read(lambda r: r.account("zoe@hopital-a.test")).result()
    assert account is not None
    uids = hand.some(box, 3)
    hand.do(lambda w: read_by(w, account.id, box, uids, "lu"))
    hand.do(lambda w: w.record_readings())


OPERATIONS = (register, serve, submit, read)
