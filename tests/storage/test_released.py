"""Stores of earlier releases open, and say the same (D8).

`released/schema-0001.tar.xz` is a home the first release wrote: two boxes, a letter for both, a
large one with two recipients that wait, an APPEND, folders, a keyword, a device, a membership.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from mssmtp.errors import ConfigError
from mssmtp.mail import Address, Uid
from mssmtp.storage import Store
from mssmtp.storage.files import make_directories
from tests.storage.support import SENDER, inbox, message, reopen

RELEASED = Path(__file__).parent / "released"


@pytest.fixture
def engine() -> str:
    """The first release had one engine."""
    return "sqlite"


@pytest.fixture
def first(home: Path) -> Path:
    with tarfile.open(RELEASED / "schema-0001.tar.xz") as archive:
        archive.extractall(home.parent)  # noqa: S202 - ours; Debian's Python has no filter yet
    for path in (home, home / "blobs"):
        path.chmod(0o700)
    make_directories(home)
    return home


@pytest.mark.requirement("OP-77")
def test_a_store_of_the_first_release_opens_and_says_the_same(first: Path) -> None:
    for _ in range(2):  # the second time nothing is left to do
        store = reopen(first)
        assert_as_it_was(store)
        assert store.check(deep=True).problems == ()
        store.close()
    store = reopen(first)
    assert store.rotate_master().is_finished
    assert store.rotate_owners().is_finished
    assert_as_it_was(store)
    store.close()


def assert_as_it_was(store: Store) -> None:
    zoe = store.read(lambda r: r.bal(Address.parse("zoe@hopital-a.test"))).result()
    usual = Address.parse("secretariat@clinique.test")
    org = store.read(lambda r: r.bal_by_usual(usual)).result()
    assert zoe is not None
    assert org is not None
    box = inbox(store, zoe)
    rows = store.read(lambda r: r.messages(box)).result()
    assert [row.uid for row in rows] == [1, 2, 3]
    assert rows[0].flags == {"\\Seen", "Urgent"}
    assert store.read(lambda r: r.body(box, Uid(1))).result() == message("premier")
    assert store.read(lambda r: r.body(inbox(store, org), Uid(1))).result() == message("premier")
    names = {found.name for found in store.read(lambda r: r.mailboxes(zoe.id)).result()}
    assert names >= {"INBOX", "Suivi", "Suivi/Été"}
    assert "Ancien" in store.read(lambda r: r.subscriptions(zoe.id)).result()
    account = store.read(lambda r: r.account("ZOE@hopital-a.test")).result()
    assert account is not None
    assert store.read(lambda r: r.principal(account.id)).result().bals == (zoe, org)
    (device,) = store.read(lambda r: r.app_passwords(account.id)).result()
    assert device.name == "telephone"
    for bal in (zoe, org):
        assert store.read(lambda r, b=bal: r.has_written(b.id, SENDER)).result()  # type: ignore[misc]
    waiting = store.read(lambda r: r.queue()).result()
    assert [entry.recipient.address.local for entry in waiting] == ["marius", "olive"]
    assert waiting[0].last_reply == "451 plus tard"
    letter = store.read(lambda r: r.letter_octets(waiting[0].envelope)).result()
    assert letter == store.read(lambda r: r.body(box, Uid(2))).result()
    assert store.read(lambda r: r.transfers(waiting[0].envelope)).result()
    assert store.read(lambda r: r.facts(waiting[0].envelope)).result()


def test_the_first_release_with_another_key_changes_nothing(first: Path) -> None:
    right = (first / "master.key").read_bytes()
    (first / "master.key").write_bytes(b"x" * 32)
    with pytest.raises(ConfigError, match="not the key"):
        reopen(first)
    (first / "master.key").write_bytes(right)
    store = reopen(first)
    assert_as_it_was(store)
    store.close()
