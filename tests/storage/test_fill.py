"""bench.fill: a store made in bulk is like one made letter by letter."""

from __future__ import annotations

from pathlib import Path

from bench.fill import Filler, Plan
from bench.letters import letter
from mssmtp.mail import Address, Uid
from mssmtp.storage import Store
from tests.storage.support import inbox


def test_a_store_filled_in_bulk_is_sound_and_readable(store: Store, home: Path) -> None:
    plan = Plan(90, boxes=2, mailboxes=3, octets=1_500, distinct=20, delivered=6, queued=4)
    assert list(Filler(store, plan).run())[-1] == plan.total
    report = store.check(deep=True)
    assert report.problems == ()
    assert report.counted["messages"] == 96
    assert report.counted["queue"] == 4
    bal = store.read(lambda r: r.bal(Address.parse("boite00001@hopital-a.test"))).result()
    assert bal is not None
    box = inbox(store, bal)
    bodies = store.read(lambda r: [r.body(box, Uid(uid)) for uid in range(1, 16)]).result()
    texts = [letter(number, plan.octets) for number in range(plan.distinct)]
    assert all(body in texts for body in bodies)
    assert all(octets for _, octets in store.read(lambda r: [*r.summaries(box, [Uid(1)])]).result())
