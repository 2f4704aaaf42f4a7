"""Dropping a key makes unreadable, on the disk too (SEED-89, OP-77)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssmtp.mail import Bal, BalType, Uid
from mssmtp.storage import NoSuchBal, NoSuchMailbox, Store, Writing
from mssmtp.storage.model import Shredded
from mssmtp.storage.people_values import AddressRetired
from tests.storage.support import (
    SteppingClock,
    accept,
    add_bal,
    behind,
    inbox,
    message,
    recipients,
    reopen,
)


def octets_of(home: Path) -> bytes:
    """Every octet of the home."""
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def column(home: Path, statement: str) -> list[bytes]:
    db = behind(home)
    rows = db.execute(statement).fetchall()
    db.close()
    return [bytes(row[0]) for row in rows if row[0]]


@pytest.fixture
def engine() -> str:
    """Raw octets are looked for in the embedded engine's files."""
    return "sqlite"


@pytest.mark.requirement("SEED-89")
@pytest.mark.attack
def test_att_39_an_expunged_message_leaves_neither_key_nor_content_on_the_disk(
    store: Store, zoe: Bal, home: Path, clock: SteppingClock
) -> None:
    for size in (500, 20_000, 300_000):
        accept(store, store.seal(message("secret", os.urandom(size).hex().encode())), [zoe])
    box = inbox(store, zoe)
    keys = column(home, "SELECT wrapped FROM blob_keys") + column(
        home, "SELECT summary FROM blob_keys"
    )
    sealed = column(home, "SELECT data FROM blobs WHERE data IS NOT NULL")
    files = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in files]
    traces = [*keys, *sealed, *contents]
    assert len(traces) >= 3 + 3 + 2 + 1
    places = [(trace, at) for trace in traces for at in (0, len(trace) // 2, len(trace) - 24)]
    pieces = [trace[at : at + 24] for trace, at in places]
    before = octets_of(home)
    assert all(piece in before for piece in pieces)
    store.write(lambda w: w.store_flags(box, w.uids(box), "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    store.write(lambda w: w.prune(clock.now())).result()
    store.scrub()
    after = octets_of(home)
    assert [piece for piece in pieces if piece in after] == []


def fill(store: Store, zoe: Bal) -> Bal:
    other = add_bal(store, "omar@hopital-a.test")
    accept(store, store.seal(message("a deux")), [zoe, other])
    accept(store, store.seal(message("seul", os.urandom(200_000))), [zoe])
    accept(store, store.seal(message("sortant")), [], recipients("x@c.test"), zoe.id)
    box = inbox(store, zoe)

    def rest(writing: Writing) -> None:
        account = writing.account("zoe@hopital-a.test")
        archive = writing.mailbox(zoe.id, "Archive")
        assert account is not None
        assert archive is not None
        writing.add_app_password(account.id, "poste", "argon2", "scram")
        writing.add_member(other.id, account.id)
        writing.set_entry(archive.id, account.id, "lr")
        writing.annotate(zoe.id, "/shared/comment", b"note", mailbox=archive.id)
        writing.store_flags(box, [Uid(1)], "+", frozenset({"Urgent"}))
        for _ in range(300):
            writing.copy(box, [Uid(1)], archive.id)

    store.write(rest).result()
    return other


@pytest.mark.requirement("OP-77")
def test_a_shredded_box_is_gone_for_ever_and_nobody_else_notices(
    store: Store, zoe: Bal, home: Path
) -> None:
    other = fill(store, zoe)
    kept = store.read(lambda r: r.body(inbox(store, other), Uid(1))).result()
    (wrapped,) = column(home, f"SELECT wrapped FROM owners WHERE bal = {zoe.id}")  # noqa: S608
    assert wrapped in octets_of(home)
    box = inbox(store, zoe)
    beside = reopen(home)
    beside.read(lambda r: r.body(box, Uid(1))).result()  # it has the key in memory
    store.write(lambda w: w.shred_key(zoe.id, "fin de contrat")).result()
    for one in (store, beside):  # killed here: the box can be read no more, by nobody
        with pytest.raises(Shredded):
            one.read(lambda r: r.body(box, Uid(1))).result()
        assert one.read(lambda r: r.bal(zoe.address)).result() is None
        assert one.read(lambda r: r.account("zoe@hopital-a.test")).result() is None
    beside.close()
    store.shred_bal(zoe.id, "fin de contrat")
    assert wrapped not in octets_of(home)
    assert store.read(lambda r: r.queue()).result() == ()
    assert store.read(lambda r: r.body(inbox(store, other), Uid(1))).result() == kept
    assert store.check(deep=True).problems == ()
    assert store.rotate_owners().is_finished
    assert store.rotate_master().is_finished
    with pytest.raises(AddressRetired):  # OP-51: nobody gets the mail of who is gone
        store.write(lambda w: w.create_bal(zoe.address, BalType.ORG)).result()
    with pytest.raises(NoSuchBal):
        store.shred_bal(type(zoe.id)(999), "personne")


def test_a_letter_shared_with_a_shredded_box_tells_its_story_still(store: Store, zoe: Bal) -> None:
    other = add_bal(store, "omar@hopital-a.test")
    envelope, _ = accept(store, store.seal(message()), [zoe, other])
    before = store.read(lambda r: r.events(envelope)).result()
    store.shred_bal(zoe.id, "fin de contrat")
    after = store.read(lambda r: r.events(envelope)).result()
    assert after[: len(before)] == before  # the sender's domain has a copy of every line
    assert [event.kind for event in after[len(before) :]] == ["suppression"]


@pytest.mark.requirement("OP-49")
@pytest.mark.requirement("SEED-66")
def test_of_a_removed_box_the_mail_is_gone_and_the_proofs_say_who_it_was(
    store: Store, zoe: Bal, home: Path
) -> None:
    """A key lives as long as the events that are sealed under it, also when the box is closed."""
    other = fill(store, zoe)
    # Sealed under the key of this box alone: nobody else has a copy of who it was.
    envelope, _ = accept(
        store, store.seal(message("à soi", os.urandom(200_000))), [zoe], (), zoe.id
    )
    before = store.read(lambda r: r.events(envelope)).result()
    assert all(event.opened for event in before)
    hops = store.read(lambda r: r.transfers(envelope)).result()
    box, theirs = inbox(store, zoe), inbox(store, other)
    kept = store.read(lambda r: r.body(theirs, Uid(1))).result()
    of_zoe = f"SELECT id FROM owners WHERE bal = {zoe.id}"  # noqa: S608
    wrapped = column(home, f"SELECT wrapped FROM blob_keys WHERE owner IN ({of_zoe})")  # noqa: S608
    assert all(each in octets_of(home) for each in wrapped)
    store.remove_bal(zoe.id, "fin de conservation")
    assert not any(each in octets_of(home) for each in wrapped)
    with pytest.raises(NoSuchMailbox):
        store.read(lambda r: r.body(box, Uid(1))).result()
    assert store.read(lambda r: r.bal(zoe.address)).result() is None
    assert store.read(lambda r: r.account("zoe@hopital-a.test")).result() is None
    after = store.read(lambda r: r.events(envelope)).result()
    assert after[: len(before)] == before
    assert {event.kind for event in after[len(before) :]} == {"suppression"}
    assert store.read(lambda r: r.transfers(envelope)).result() == hops
    assert store.read(lambda r: r.body(theirs, Uid(1))).result() == kept
    assert store.rotate_owners().is_finished
    assert store.read(lambda r: r.events(envelope)).result() == after
    with pytest.raises(AddressRetired):
        store.write(lambda w: w.create_bal(zoe.address, BalType.ORG)).result()
    store.remove_bal(zoe.id, "encore")  # nothing happens


def test_a_removal_that_was_cut_short_is_found_again(store: Store, zoe: Bal) -> None:
    fill(store, zoe)
    store.write(lambda w: w.remove_box(zoe.id, "fin de conservation")).result()
    assert store.read(lambda r: r.half_removed()).result() == [zoe.id]
    store.remove_bal(zoe.id, "fin de conservation")
    assert store.read(lambda r: r.half_removed()).result() == []
