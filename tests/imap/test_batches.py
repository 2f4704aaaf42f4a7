"""What is asked for at once and written in several commits, and what is told when one fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.imap import sync
from mssmtp.imap.commands import expunge, select
from mssmtp.mail import MailboxId, Principal, Uid
from mssmtp.storage import Reading, Writing
from tests.imap.world import World, message

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
