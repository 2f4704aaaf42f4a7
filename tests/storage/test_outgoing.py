"""What a relay reads and writes of many letters at once is what it would one by one (D3, D4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mssmtp.errors import Damaged
from mssmtp.mail import Bal, Door, EnvelopeId
from mssmtp.storage import NoSuchMessage, Outcome, Settled, Store, Transfer
from mssmtp.storage.portions import TOGETHER
from tests.storage.support import SteppingClock, accept, add_bal, behind, message, recipients

OUT = Transfer("out", Door.OPERATOR, "192.0.2.9", "accept", "250 2.0.0 ok", peer_dn="CN=peer")
TO = recipients("bob@cabinet-c.test")
TWO = recipients("bob@cabinet-c.test", "eva@cabinet-c.test")
LARGE = message(body=b"0123456789abcde\r\n" * 20_000)


def told(store: Store, envelope: EnvelopeId) -> object:
    """All that the ledger knows of a letter, but for times and chains."""
    events = store.read(lambda r: r.events(envelope)).result()
    hops = store.read(lambda r: r.transfers(envelope)).result()
    left = ("event", "envelope", "result")
    return (
        [
            ([json.loads(e.clear).get(name) for name in left if name != "envelope"],
             [line[1:] for line in e.opened])
            for e in events
        ],
        [(h.transfer, h.recipients, h.sender, h.size_octets, h.headers, h.domains) for h in hops],
    )  # fmt: skip


def settled(clock: SteppingClock, envelope: EnvelopeId, result: str = "delivered") -> Settled:
    again = clock.now() if result == "retry" else None
    outcome = Outcome(envelope, TO[0], result, "250 2.0.0 ok", again)  # type: ignore[arg-type]
    return Settled(outcome, OUT, clock.now())


@pytest.mark.requirement("SEED-58")
def test_what_is_written_together_is_what_each_would_write_alone(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """More than one statement has room for, of two senders, small and large."""
    other = add_bal(store, "yann@hopital-a.test")
    letters = [
        accept(store, store.seal(LARGE if n % 5 == 0 else message()), [], TO, owner=owner.id)[0]
        for n in range(TOGETHER + 4)
        for owner in ((zoe, other)[n % 2],)
    ]
    alone, *together = letters
    now = clock.now()
    store.write(lambda w: w.lease(now, 100, "w1")).result()
    store.write(lambda w: w.record([settled(clock, alone).outcome], OUT)).result()
    store.write(lambda w: w.record_all([settled(clock, each) for each in together])).result()
    assert store.read(lambda r: r.queue_depth()).result() == 0
    assert store.read(lambda r: r.conservation()).result()[1:3] == (len(letters), len(letters))
    expected = told(store, alone)
    large = [each for number, each in enumerate(letters) if number % 5 == 0]
    for each in large[1:]:
        assert told(store, each) == expected
    assert told(store, together[0]) == told(store, together[1])
    for each in letters:
        with pytest.raises(NoSuchMessage):
            store.read(lambda r, each=each: r.letter_octets(each)).result()  # type: ignore[misc]
    store.write(lambda w: w.prune(now)).result()
    assert [path for path in store._home.glob("blobs/*/*") if path.is_file()] == []


@pytest.mark.requirement("SEED-58")
def test_what_is_not_so_simple_goes_the_long_way_in_the_same_commit(
    store: Store, zoe: Bal, clock: SteppingClock
) -> None:
    """Dropped meanwhile, to two, tried again, one content twice, a copy in a box here."""
    shared = store.seal(message())
    dropped, double, again = (
        accept(store, store.seal(message()), [], to, owner=zoe.id)[0] for to in (TO, TWO, TO)
    )
    first, second = (accept(store, shared, [], TO, owner=zoe.id)[0] for _ in range(2))
    both = accept(store, store.seal(message()), [zoe], TO, owner=zoe.id)[0]
    store.write(lambda w: w.drop(dropped, "erreur")).result()
    done = [settled(clock, each) for each in (dropped, double, first, second, both, first)]
    store.write(lambda w: w.record_all([*done, settled(clock, again, "retry")])).result()
    left = {(e.envelope, e.recipient, e.attempts) for e in store.read(lambda r: r.queue()).result()}
    assert left == {(double, TWO[1], 0), (again, TO[0], 1)}
    _, accepted, delivered, bounced, gone, waiting = store.read(lambda r: r.conservation()).result()
    assert (accepted, delivered, bounced, gone, waiting) == (8, 5, 0, 1, 2)
    mailbox = store.read(lambda r: r.mailbox(zoe.id, "INBOX")).result()
    assert mailbox is not None
    assert store.read(lambda r: r.body(mailbox.id, mailbox.uid_next - 1)).result() == message()  # type: ignore[arg-type]
    assert store.read(lambda r: r.letter_octets(double)).result() == message()


def test_small_letters_are_read_together_and_a_damaged_one_alone_is_not(
    home: Path, store: Store, zoe: Bal
) -> None:
    ids = [
        accept(store, store.seal(message(f"n {n}")), [], TO, owner=zoe.id)[0]
        for n in range(TOGETHER + 2)
    ]
    bad = ids[0]
    db = behind(home)
    db.execute(
        "UPDATE blobs SET chunks = substr(chunks, 1, 0)"
        " WHERE number = (SELECT min(blob) FROM envelopes)"
    )
    db.close()
    gone = EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAA")
    found = store.read(lambda r: r.letters_octets([*ids, gone])).result()
    assert isinstance(found.pop(bad), Damaged)
    assert found == {each: message(f"n {n}") for n, each in enumerate(ids) if each != bad}
    store.write(lambda w: w.drop(bad, "essai")).result()
