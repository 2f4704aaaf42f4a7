"""What is asked for at once and written in several commits, and what is told when one fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

import pytest

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.imap import sync
from mssmtp.imap.commands import copy, delete, expunge, rename, select
from mssmtp.mail import MailboxId, Principal, Role, Uid
from mssmtp.storage import Reading, Writing
from tests.imap.world import SERVICE, ManualClock, World, message

_expunge = Writing.expunge


@pytest.mark.parametrize("command", ["EXPUNGE", "UID EXPUNGE 1:*", "CLOSE"])
def test_an_expunge_never_holds_the_store_for_more_than_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    world.fill(7)
    client = world.client()
    client.ok("STORE 1:3,5:7 +FLAGS.SILENT (\\Deleted)")
    sizes: list[int] = []

    def counted(self: Writing, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Uid]:
        sizes.append(len(uids))
        return _expunge(self, mailbox, uids)

    monkeypatch.setattr(expunge, "BATCH", 2)
    monkeypatch.setattr(Writing, "expunge", counted)
    told = [f"* {number} EXPUNGE" for number in (1, 1, 1, 2, 2, 2)]
    heard = client.ok(command)
    assert heard == ([] if command == "CLOSE" else told)
    assert sizes == [2, 2, 2]
    assert client.ok("STATUS INBOX (MESSAGES)") == ['* STATUS "INBOX" (MESSAGES 1)']


def test_an_expunge_that_fails_half_way_tells_what_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(3)
    client = world.client()
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")

    def full_at_two(self: Writing, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Uid]:
        if uids == [2]:
            raise StorageFull
        return _expunge(self, mailbox, uids)

    monkeypatch.setattr(expunge, "BATCH", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "expunge", full_at_two)
        client.no("EXPUNGE", "LIMIT")
    assert client.ok("NOOP") == ["* 1 EXPUNGE"]
    assert client.ok("EXPUNGE") == ["* 1 EXPUNGE", "* 1 EXPUNGE"]


# ---------------------------------------------------------------- deleting a whole mailbox


def commits_of_delete(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each commit has taken out of a mailbox that goes; the first is no commit
    of that kind."""
    sizes: list[int] = []
    empty, discard = Writing._empty, Writing.discard

    def counted(self: Writing, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Uid]:
        sizes.append(len(uids))
        return discard(self, mailbox, uids)

    def emptied(self: Writing, mailbox: MailboxId) -> None:
        sizes.append(len(self.uids(mailbox)))
        empty(self, mailbox)

    monkeypatch.setattr(delete, "BATCH", 2)
    monkeypatch.setattr(Writing, "discard", counted)
    monkeypatch.setattr(Writing, "_empty", emptied)
    return sizes


def test_a_large_mailbox_goes_some_messages_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion of 100,000 kept every delivery of the home waiting for twenty seconds."""
    world.fill(7)
    client, other = world.client(), world.client(select=None)
    client.ok("CREATE Vieux")
    client.ok("COPY 1:* Vieux")
    other.ok("SELECT Vieux")
    sizes = commits_of_delete(world, monkeypatch)
    assert client.ok("DELETE Vieux") == []
    assert sizes == [2, 2, 2, 1, 0]
    client.no("STATUS Vieux (MESSAGES)", "NONEXISTENT")
    assert b"BYE [UNAVAILABLE]" in other.send(b"a NOOP\r\n")


def test_a_mailbox_that_must_stay_loses_nothing_to_a_deletion(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    client = world.client()
    client.ok("COPY 1:* Sent")
    sizes = commits_of_delete(world, monkeypatch)
    for name in ("INBOX", "Sent"):
        client.no(f"DELETE {name}", "CANNOT")
        assert f'* STATUS "{name}" (MESSAGES 5)' in client.ok(f"STATUS {name} (MESSAGES)")
    assert sizes == []


def test_what_comes_while_a_mailbox_is_deleted_goes_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much it is: the second look at the mailbox is the last."""
    world.fill(5)
    client = world.client()
    client.ok("CREATE Vieux")
    client.ok("COPY 1:* Vieux")
    sizes = commits_of_delete(world, monkeypatch)
    discard = Writing.discard

    def overtaken(self: Writing, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Uid]:
        gone = discard(self, mailbox, uids)
        for _ in range(2):
            self.append(mailbox, world.store.seal(message(9)), frozenset(), world.clock.now())
        return gone

    monkeypatch.setattr(Writing, "discard", overtaken)
    client.ok("DELETE Vieux")
    assert sizes == [2, 2, 1, 6]
    client.no("STATUS Vieux (MESSAGES)", "NONEXISTENT")


def test_a_mailbox_that_took_the_name_meanwhile_is_not_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for the one has not asked for the other, with all its letters."""
    world.fill(5)
    client = world.client()
    client.ok("CREATE Vieux")
    client.ok("COPY 1:* Vieux")
    client.ok("CREATE Patients")
    client.ok("MOVE 1:* Patients")
    sizes = commits_of_delete(world, monkeypatch)
    changed = world.changed

    def renamed(writing: Writing) -> None:
        writing.rename_mailbox(world.zoe.id, "Vieux", "Ancien")
        writing.rename_mailbox(world.zoe.id, "Patients", "Vieux")

    def interfere() -> None:
        if sizes == [2]:
            sizes.append(0)
            world.store.write(renamed).result()
        changed()

    monkeypatch.setattr(world, "changed", interfere)
    client.no("DELETE Vieux", "NONEXISTENT")
    assert '* STATUS "Vieux" (MESSAGES 5)' in client.ok("STATUS Vieux (MESSAGES)")
    assert '* STATUS "Ancien" (MESSAGES 3)' in client.ok("STATUS Ancien (MESSAGES)")


@pytest.mark.attack("ATT-25")
def test_att_25_a_right_that_ends_in_the_middle_of_a_deletion_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.share(Role.RESPONSABLE)
    client = world.client(select=None)
    client.ok(f'CREATE "Other Users/{SERVICE}/Vieux"')
    for _ in range(5):
        world.deliver(message(1), "Vieux", world.service)
    sizes = commits_of_delete(world, monkeypatch)
    changed = world.changed

    def interfere() -> None:
        if sizes == [2]:
            sizes.append(0)
            world.share(Role.LECTEUR)
        changed()

    monkeypatch.setattr(world, "changed", interfere)
    client.no(f'DELETE "Other Users/{SERVICE}/Vieux"', "NOPERM")
    assert sizes == [2, 0]
    told = client.ok(f'STATUS "Other Users/{SERVICE}/Vieux" (MESSAGES)')
    assert "(MESSAGES 3)" in told[0]


# ---------------------------------------------------------------- words meanwhile


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("EXPUNGE", "removing"),
        ("UID EXPUNGE 1:*", "removing"),
        ("CLOSE", "removing"),
        ("DELETE Vieux", "removing"),
        ("MOVE 1:* Archive", "moving"),
        ("COPY 1:* Archive", "copying"),
        ("RENAME INBOX Ancien", "moving"),
    ],
)
def test_r06_a_long_command_says_between_its_commits_that_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str, word: str
) -> None:
    """RFC 9585. A client that hears nothing for long takes the connection for dead and does it all
    again."""
    world.fill(3)
    client = world.client()
    client.ok("CREATE Vieux")
    client.ok("COPY 1:* Vieux")
    client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    for module, name in ((expunge, "BATCH"), (delete, "BATCH"), (copy, "BATCH")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(rename, "BATCH", 1)
    quiet = [line for line in client.ok("NOOP") if "INPROGRESS" in line]
    ticks = count(0, 3)
    monkeypatch.setattr(ManualClock, "monotonic", lambda self: next(ticks))
    heard = [line for line in client.ok(command) if "INPROGRESS" in line]
    progress = rf'\* OK \[INPROGRESS \("T\d+" (NIL NIL|[012] 3)\)\] Still {word}'
    assert heard
    assert not quiet
    assert all(re.fullmatch(progress, line) for line in heard)


def test_a_flag_that_was_taken_back_meanwhile_saves_its_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(1)
    client, other = world.client(), world.client()
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    deleted = Reading.deleted

    def overtaken(self: Reading, mailbox: MailboxId) -> list[Uid]:
        found = deleted(self, mailbox)
        world.store.write(
            lambda w: w.store_flags(mailbox, found, "-", frozenset({"\\Deleted"}))
        ).result()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Reading, "deleted", overtaken)
        client.ok("EXPUNGE")
    assert '* STATUS "INBOX" (MESSAGES 1)' in other.ok("STATUS INBOX (MESSAGES)")


def test_what_comes_while_a_mailbox_is_opened_is_told_at_the_next_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the snapshot of SELECT and its answer the watch is on: what it hears must stay."""
    client = world.client(select=None)
    opened = select._open

    def overtaken(
        reading: Reading, principal: Principal, name: str, parameters: select.Parameters
    ) -> select._Opened:
        found = opened(reading, principal, name, parameters)
        letter = world.store.seal(message(1))
        world.store.write(
            lambda w: w.append(found.mailbox.id, letter, frozenset(), world.clock.now())
        ).result()
        client.session.is_changed = True  # as the door does when the store tells it
        return found

    with monkeypatch.context() as patch:
        patch.setattr(select, "_open", overtaken)
        heard = client.ok("SELECT INBOX")
    assert "* 1 EXISTS" in heard + client.ok("SEARCH ALL")


@pytest.mark.parametrize(
    "command",
    [b"APPEND Sent {5+}\r\nhello", b"COPY 1 Archive", b"MOVE 1 Archive", b"STORE 1 +FLAGS (fait)"],
)
def test_what_is_committed_is_answered_ok_even_when_the_news_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch, command: bytes
) -> None:
    """A NO would make the client do it again: a letter twice in Sent, or a letter moved twice."""
    world.fill(1)
    client = world.client()

    def unreadable(*args: object, **kwargs: object) -> object:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(sync, "_news", unreadable)
        client.session.is_changed = True
        client.ok(command)
    other = world.client()
    other.ok("SELECT INBOX")
    if command.startswith(b"MOVE"):
        assert "* 1 EXPUNGE" in client.ok("NOOP")
