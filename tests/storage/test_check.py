"""Every invariant of Store.check fires when it is broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mssmtp.mail import AccountId, Bal, Uid
from mssmtp.storage import Store, check_contents, check_envelopes, check_mailboxes, check_sealed
from mssmtp.storage.readings import ReadingKind
from tests.postgres import Cluster, name_of
from tests.storage.support import (
    accept,
    add_bal,
    behind,
    database_file,
    inbox,
    message,
    open_new,
    read_by,
    recipients,
    reopen,
)


def make(home: Path) -> None:
    """A store with one of everything."""
    store = open_new(home, small_octets=2_000)
    bal = add_bal(store)
    accept(store, store.seal(message()), [bal], recipients("a@c.test"), owner=bal.id)
    accept(store, store.seal(message(body=os.urandom(6_000))), [bal])
    accept(store, store.seal(message()), [bal])
    box = inbox(store, bal)
    account = store.read(lambda r: r.account(str(bal.address))).result()
    assert account is not None
    store.write(lambda w: read_by(w, account.id, box, [1, 2, 3], "releve")).result()
    store.write(lambda w: read_by(w, account.id, box, [1, 3], "lu")).result()
    store.write(lambda w: w.store_flags(box, [Uid(3)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    store.write(lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"$Urgent"}))).result()
    store.write(lambda w: w.create_mailbox(bal.id, "Dossier")).result()
    store.write(lambda w: w.delete_mailbox(bal.id, "Dossier")).result()
    store.write(lambda w: w.add_app_password(account.id, "poste", "argon2", "scram")).result()
    store.write(lambda w: w.add_member(bal.id, account.id)).result()
    assert store.check(deep=True).problems == ()
    store.close()


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stores that are only copied lie, one of each engine."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def copied(
    templates: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A copy of the store of `make`, to be damaged."""
    template, home = templates / engine, tmp_path / "copy"
    cluster: Cluster | None = None
    if engine == "postgresql":
        cluster = request.getfixturevalue("postgres")
        if not template.exists():
            database_file(template).write_text(cluster.new_database(), encoding="utf-8")
    if not template.exists():
        make(template)
    shutil.copytree(template, home)
    if cluster is None:
        yield home
        return
    original = name_of(database_file(template).read_text(encoding="utf-8"))
    url = cluster.new_database(template=original)
    database_file(home).write_text(url, encoding="utf-8")
    yield home
    cluster.drop_database(name_of(url))


def damaged(home: Path, *statements: str, deep: bool = False) -> str:
    """Problems found after `statements` were run behind the store's back."""
    with closing(behind(home)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
    with closing(reopen(home)) as store:
        return "\n".join(store.check(deep=deep).problems)


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
        ("INSERT INTO texts VALUES (1, 0, 1, 9, 99, zeroblob(9))", "texts from UID 1 are out"),
        ("DELETE FROM owners WHERE bal IS NULL", "its owner's key is missing"),
        ("DELETE FROM owners WHERE bal IS NOT NULL", "bal 1: has no key"),
        ("DELETE FROM owners WHERE bal IS NOT NULL", "owner 1: its key is missing"),
        ("UPDATE owners SET wrapped = zeroblob(60)", "its key does not open"),
        ("UPDATE owners SET bal = 77 WHERE bal IS NOT NULL", "its key does not open"),
        ("UPDATE owners SET domain = 'x.test' WHERE id = 1", "neither a box nor a domain"),
        ("UPDATE bals SET last_uid_validity = 1", "would come again"),
        ("UPDATE mailboxes SET bal = 77", "its box is missing"),
        ("UPDATE messages SET blob = 99 WHERE uid = 1", "no content of its size"),
        ("UPDATE messages SET blob = 2 WHERE uid = 1", "references of owner"),
        ("UPDATE blobs SET data = zeroblob(3) WHERE data IS NOT NULL", "another length"),
        ("UPDATE blobs SET chunks = zeroblob(8)", "chunk index does not fit"),
        ("DELETE FROM blobs WHERE number = 1", "a key without content"),
        ("DELETE FROM events", "the ledger does not know it"),
        ("DELETE FROM envelopes", "waits without content"),
        ("UPDATE readings SET \"last\" = 9 WHERE kind = 'lu'", "(lu, 1) is damaged"),
        ("UPDATE readings SET octets = zeroblob(3)", "(releve, 1) is damaged"),
        (
            'INSERT INTO readings SELECT bal, day, account, kind, "last", "last", at, zeroblob(0)'
            " FROM readings WHERE kind = 'releve'",
            "(releve, 3) is there twice",
        ),
    ],
)
def test_a_broken_invariant_is_found(copied: Path, statement: str, problem: str) -> None:
    assert problem in damaged(copied, statement)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE blobs SET data = zeroblob(length(data)) WHERE number = 1", "chunk 0"),
        ("UPDATE blobs SET chunks = zeroblob(8) WHERE number = 2", "index"),
        ("UPDATE blob_keys SET summary = zeroblob(90) WHERE blob = 1", "authenticate"),
        ("UPDATE event_lines SET sealed = zeroblob(90)", "lines do not authenticate"),
        ("UPDATE envelopes SET sealed = zeroblob(90)", "does not open"),
        ("UPDATE queue SET sealed = zeroblob(90)", "a recipient of"),
        ("UPDATE transfers SET sealed = zeroblob(90)", "trace 1: does not open"),
        ("UPDATE facts SET sealed = zeroblob(90)", "its facts do not open"),
        ("UPDATE bals SET sealed = zeroblob(90)", "bals 1: does not open or is another's"),
        ("UPDATE bals SET digest = zeroblob(16)", "bals 1: does not open or is another's"),
        ("UPDATE accounts SET sealed = zeroblob(90)", "accounts 1: does not open"),
        ("UPDATE accounts SET login_digest = zeroblob(16)", "accounts 1: does not open or is"),
        ("UPDATE queue SET digest = zeroblob(16)", "or is another's"),
        ("UPDATE mailboxes SET sealed = zeroblob(90) WHERE id = 3", "mailbox 3: its name"),
        ("UPDATE mailboxes SET digest = zeroblob(16) WHERE id = 3", "mailbox 3: its name"),
        ("UPDATE app_passwords SET sealed = zeroblob(90)", "account 1: its password 1"),
        ("UPDATE members SET sealed = zeroblob(90)", "account 1: its membership of bal 1"),
        ("UPDATE correspondents SET sealed = zeroblob(90)", "correspondents 1, "),
        ("UPDATE keywords SET sealed = zeroblob(90)", "its keyword 5 does not open"),
        ("UPDATE subscriptions SET sealed = zeroblob(90)", "subscriptions 1, "),
        ("UPDATE blobs SET envelope = (SELECT max(id) FROM envelopes)", "what the ledger says"),
        ("INSERT INTO packs VALUES (1, 0, 2, zeroblob(90))", "not its messages'"),
    ],
)
def test_a_deep_check_opens_everything(copied: Path, statement: str, problem: str) -> None:
    assert problem in damaged(copied, statement, deep=True)


def test_every_invariant_has_a_name_a_claim_and_what_it_was_seen_in(home: Path) -> None:
    store = open_new(home)
    verified = store.check(deep=True).verified
    store.close()
    assert len({found.name for found in verified}) == len(verified) > 30
    assert all(found.says and found.of for found in verified)


def note(store: Store, bal: Bal, uids: list[int], kind: ReadingKind) -> None:
    """The holder of a box has fetched or seen what is in it; it is written."""
    box = inbox(store, bal)
    store.write(lambda w: read_by(w, AccountId(bal.id), box, uids, kind)).result()
    store.write(lambda w: w.record_readings()).result()


@pytest.mark.parametrize("page", [1, 2, 3])
def test_batches_of_any_size_find_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Nothing falls between two batches, and a content with many keys is never cut in two."""
    store = open_new(home, small_octets=2_000)
    people = [add_bal(store, f"p{number}@hopital-a.test") for number in range(4)]
    for body in (b"x", os.urandom(6_000), b"y"):
        accept(store, store.seal(message(body=body)), people, recipients("a@c.test"))
    for bal in people:
        note(store, bal, [1, 2], "releve")
        note(store, bal, [3], "releve")
        note(store, bal, [1, 3], "lu")
    whole = store.check(deep=True)
    for room in (check_contents, check_envelopes, check_mailboxes, check_sealed):
        monkeypatch.setattr(room, "PAGE", page)
    monkeypatch.setattr(check_contents, "FILES_AT_ONCE", page)
    monkeypatch.setattr(check_envelopes, "PACKS_AT_ONCE", page)
    monkeypatch.setattr(check_sealed, "CONTENTS_AT_ONCE", page)
    monkeypatch.setattr(check_mailboxes, "MESSAGES_AT_ONCE", page)
    monkeypatch.setattr(check_mailboxes, "READINGS_AT_ONCE", page)
    pieces = store.check(deep=True)
    store.close()
    assert pieces == whole
    assert pieces.problems == ()
    assert pieces.counted["messages"] == 12


def test_progress_is_told_and_never_beyond_the_total(home: Path) -> None:
    told: list[tuple[str, int, int]] = []
    store = open_new(home)
    accept(store, store.seal(message()), [add_bal(store)])
    store.check(deep=True, told=lambda *said: told.append(said))
    store.close()
    assert {name for name, _, _ in told} >= {"mailboxes", "contents", "ledger", "sealed contents"}
    assert all(0 <= done <= total for _, done, total in told)


# ---------------------------------------------------------------- the page of the guide

GUIDE = Path(__file__).parents[2] / "docs" / "admin.md"


def test_the_guide_names_every_kind_that_is_verified(store: Store) -> None:
    _, _, table = GUIDE.read_text(encoding="utf-8").partition("| Kind | What holds of each |\n")
    kinds = [row.split("|")[1].strip() for row in table.partition("\n\n")[0].splitlines()[1:]]
    assert kinds.pop() == "with `--contents`"
    verified = list(dict.fromkeys(one.of for one in store.check().verified))
    assert {name for row in kinds for name in row.split(", ")} == set(verified)
