"""Boxes, their people and letters for tests of what is told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalType,
    Domain,
    Door,
    Envelope,
    EnvelopeId,
    MailboxId,
    PersonState,
    Recipient,
    Role,
)
from mssmtp.storage import LocalDelivery, Store, Transfer, Writing
from mssmtp.storage.people_values import NewPerson

ELSEWHERE = Domain("cabinet-b.test")
_numbers = count(1)


def usual(name: str) -> Address:
    return Address.parse(f"{name}@poste.example")


def add_box(
    store: Store, name: str, type: BalType = BalType.MED, *, with_usual: bool = True
) -> Bal:
    """A box of our domain; its holder's usual address is at poste.example."""
    made = store.write(
        lambda w: w.create_bal(
            Address.parse(f"{name}@hopital-a.test"),
            type,
            usual_address=usual(name) if with_usual else None,
            login=f"{name}@hopital-a.test",
        )
    )
    return made.result()


def add_person(store: Store, name: str, language: str = "fr") -> AccountId:
    """Somebody with an account and no box yet."""
    new = NewPerson(usual(name), name.title(), "Zoé", PersonState.CERTIFIED, language=language)
    return store.write(lambda w: w.create_person(new)).result().account


def join(store: Store, box: Bal, account: AccountId, role: Role) -> None:
    store.write(lambda w: w.add_member(box.id, account, role)).result()


def octets(subject: str, sender: str, to: str = "zoe@hopital-a.test") -> bytes:
    number = next(_numbers)
    return (
        f"Message-ID: <{number}@cabinet-b.test>\r\nFrom: {sender}\r\nTo: {to}\r\n"
        f"Subject: {subject}\r\n\r\nVeuillez trouver le corps-du-message.\r\n"
    ).encode()


def deliver(
    store: Store,
    boxes: Sequence[Bal],
    subject: str = "Compte rendu",
    *,
    sender: str | None = "marius@cabinet-b.test",
    owner: Bal | None = None,
    to: Sequence[Address] = (),
) -> EnvelopeId:
    """A letter into `boxes`, from elsewhere or from the box `owner`, and for others elsewhere."""
    author = sender or "MAILER-DAEMON@cabinet-b.test"
    letter = store.seal(octets(subject, author), may_be_sent=owner is not None)
    local = [LocalDelivery(box.id, Recipient(box.address)) for box in boxes]
    queued = tuple(Recipient(each) for each in to)
    envelope = Envelope(
        store.new_envelope_id(),
        None if sender is None else Address.parse(sender),
        (*(each.recipient for each in local), *queued),
        store._vault.clock.now(),
    )
    door = Door.OPERATOR if owner is None else Door.SUBMISSION

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=local,
            queued=queued,
            skip=0,
            owner=ELSEWHERE if owner is None else owner.id,
            transfer=Transfer("in", door, "192.0.2.7", "accept", "250 2.0.0"),
            facts=b"{}",
        )

    store.write(job).result()
    return envelope.id


def inbox(store: Store, box: Bal) -> MailboxId:
    found = store.read(lambda r: r.mailbox(box.id, "INBOX")).result()
    assert found is not None
    return found.id
