"""Store.stats on both engines."""

from __future__ import annotations

import os

from mssmtp.mail import Bal
from mssmtp.storage import Store
from tests.storage.support import accept, message, recipients


def test_stats_count_what_was_accepted(store: Store, zoe: Bal) -> None:
    accept(store, store.seal(message(body=os.urandom(200_000))), [zoe], recipients("a@c.test"))
    accept(store, store.seal(message()), [zoe])
    found = store.stats()
    assert found.engine
    assert found.octets["database"] > 0
    assert found.octets["files"] > 200_000
    assert found.octets["unfinished files"] == 0
    assert {"messages": 2, "queue": 1, "events": 4, "envelopes": 2, "files": 1}.items() <= (
        found.rows.items()
    )
    assert found.largest[0].messages == 2
    assert found.oldest_queued is not None
