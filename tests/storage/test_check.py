"""Every invariant of Store.check fires when it is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mssmtp.mail import Uid
from tests.storage.support import (
    accept,
    add_bal,
    behind,
    inbox,
    message,
    open_new,
    recipients,
    reopen,
)


def damaged(home: Path, *statements: str, deep: bool = False) -> str:
    """Problems found after `statements` were run behind the store's back."""
    store = open_new(home, small_octets=2_000)
    bal = add_bal(store)
    accept(store, store.seal(message()), [bal], recipients("a@c.test"), owner=bal.id)
    accept(store, store.seal(message(body=os.urandom(6_000))), [bal])
    accept(store, store.seal(message()), [bal])
    box = inbox(store, bal)
    store.write(lambda w: w.store_flags(box, [Uid(3)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    assert store.check(deep=True).problems == ()
    store.close()
    db = behind(home)
    for statement in statements:
        assert db.execute(statement).rowcount > 0, statement
    db.close()
    store = reopen(home)
    problems = store.check(deep=deep).problems
    store.close()
    return "\n".join(problems)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE mailboxes SET uid_next = 2 WHERE messages > 0", "not below UIDNEXT"),
        ("UPDATE mailboxes SET uid_next = 3 WHERE messages > 0", "not below UIDNEXT"),
        ("UPDATE mailboxes SET highest_modseq = 2 WHERE messages > 0", "above the highest"),
        ("UPDATE mailboxes SET unseen = 7 WHERE messages > 0", "counters"),
        ("UPDATE mailboxes SET uid_validity = 5", "is shared"),
        ("UPDATE mailboxes SET recent_from = 99 WHERE messages > 0", "Recent"),
        ("DELETE FROM mailboxes WHERE messages > 0", "without mailbox"),
        ("INSERT INTO expunged SELECT mailbox, uid, modseq FROM messages", "both there"),
        ("UPDATE messages SET size = size + 1 WHERE uid = 1", "no content of its size"),
        ("DELETE FROM blobs WHERE number = 1", "no content of its size"),
        ("DELETE FROM blob_keys WHERE blob = 1", "nobody refers"),
        ('UPDATE blob_keys SET "references" = 9 WHERE blob = 1', "miscounted"),
        ("DELETE FROM events WHERE number = 2", "is missing"),
        ("UPDATE events SET clear = replace(clear, 'remise', 'relais')", "digest does not fit"),
        ("UPDATE events SET previous = zeroblob(32)", "chain is broken"),
        ("DELETE FROM queue", "lost or counted twice"),
        ("UPDATE envelopes SET delivered = delivered + 1", "lost or counted twice"),
        ("UPDATE envelopes SET blob = NULL WHERE blob IS NOT NULL", "without content"),
        ("UPDATE blobs SET id = zeroblob(16) WHERE data IS NULL", "file is missing"),
        ("UPDATE blobs SET id = zeroblob(16) WHERE data IS NULL", "no blob refers"),
        ("INSERT INTO packs VALUES (1, 0, 99, zeroblob(9))", "out of date"),
    ],
)
def test_a_broken_invariant_is_found(home: Path, statement: str, problem: str) -> None:
    assert problem in damaged(home, statement)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE blobs SET data = zeroblob(length(data)) WHERE number = 1", "chunk 0"),
        ("UPDATE blobs SET chunks = zeroblob(8) WHERE number = 2", "index"),
        ("UPDATE blob_keys SET summary = zeroblob(90) WHERE blob = 1", "authenticate"),
        ("UPDATE event_lines SET sealed = zeroblob(90)", "lines do not authenticate"),
    ],
)
def test_a_deep_check_opens_everything(home: Path, statement: str, problem: str) -> None:
    assert problem in damaged(home, statement, deep=True)
