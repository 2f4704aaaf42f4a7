"""COPY of more than one commit: whole, or not at all (RFC 9051 6.4.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mssmtp.errors import StorageFull
from mssmtp.imap import effects
from mssmtp.imap.commands import copy
from mssmtp.mail import MailboxId, Role, Uid
from mssmtp.storage import Writing
from mssmtp.storage.copying import LEASE, undo_abandoned
from tests.imap.world import SERVICE, ZOE, Client, World, message

_copy = Writing.copy


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "BATCH", 2)


def after_commit(
    client: Client, number: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Have `act` happen behind that commit of `client`, counted from 1; one entry for each."""
    world, perform, changed = client.world, client._perform, client.world.changed
    commits: list[int] = []
    acting: list[bool] = []

    def performed(effect: effects.Effect) -> bool:
        done = perform(effect)
        if isinstance(effect, effects.Write):
            commits.append(len(commits) + 1)
        return done

    def interfered() -> None:
        if acting and acting[-1]:
            return  # `client` goes on only when all of it has happened
        if len(commits) == number and not acting:
            acting.append(True)
            for each in world.clients:
                each.session.is_changed = True
            act()
            acting.append(False)
        changed()

    monkeypatch.setattr(client, "_perform", performed)
    monkeypatch.setattr(world, "changed", interfered)
    return commits


def nothing() -> None:
    """Nobody interferes."""


def add(world: World, number: int, mailbox: str = "Archive") -> None:
    """A letter comes into Zoé's box; nobody is woken."""
    letter = world.store.seal(message(number))

    def job(writing: Writing) -> None:
        found = writing.mailbox(world.zoe.id, mailbox)
        assert found is not None
        writing.append(found.id, letter, frozenset(), world.clock.now())

    world.store.write(job).result()


def uids(world: World, mailbox: str = "Archive") -> list[int]:
    def query(reading: Any) -> list[int]:
        return [int(uid) for uid in reading.uids(reading.mailbox(world.zoe.id, mailbox).id)]

    return world.store.read(query).result()


def under_way(world: World) -> int:
    return world.store.check().counted["copies under way"]


def copyuid(client: Client, command: str) -> str:
    """The response code of a COPY that succeeds."""
    tagged, _ = client.command(command)
    assert tagged.startswith("OK [COPYUID "), tagged
    return tagged.partition("]")[0].split(" ", 3)[3]


# ---------------------------------------------------------------- how many commits


@pytest.mark.parametrize(("messages", "written"), [(1, 1), (2, 1), (3, 2), (7, 4)])
def test_a_copy_never_holds_the_store_for_more_than_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, messages: int, written: int
) -> None:
    world.fill(messages)
    client = world.client()
    sizes: list[int] = []

    def counted(
        self: Writing, source: MailboxId, named: Sequence[Uid], target: MailboxId, rights: str
    ) -> list[tuple[Uid, Uid]]:
        sizes.append(len(named))
        return _copy(self, source, named, target, rights)

    monkeypatch.setattr(Writing, "copy", counted)
    commits = after_commit(client, 0, nothing, monkeypatch)
    last = "1" if messages == 1 else f"1:{messages}"
    assert copyuid(client, "COPY 1:* Archive") == f"{last} {last}"
    assert len(commits) == len(sizes) == written
    assert sum(sizes) == messages
    assert max(sizes) <= 2
    assert under_way(world) == 0


def test_one_commit_alone_writes_nothing_of_a_copy_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(2)
    client = world.client()

    def forbidden(*_: object) -> None:
        raise AssertionError("a small copy is whole with its commit")

    for name in ("begin_copy", "extend_copy", "end_copy"):
        monkeypatch.setattr(Writing, name, forbidden)
    client.ok("COPY 1:* Archive")
    assert uids(world) == [1, 2]


# ---------------------------------------------------------------- others meanwhile


def test_letters_that_come_between_are_not_named_by_copyuid(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(6)
    client = world.client()
    after_commit(client, 2, lambda: add(world, 9), monkeypatch)
    assert copyuid(client, "COPY 1:6 Archive") == "1:6 1:4,6:7"
    assert uids(world) == [1, 2, 3, 4, 5, 6, 7]


def test_what_another_session_expunges_meanwhile_is_copied_and_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(6)
    client, other = world.client(), world.client(select="Archive")

    def expunge() -> None:
        assert "* 2 EXISTS" in other.ok("NOOP")
        other.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")

    after_commit(client, 1, expunge, monkeypatch)
    assert copyuid(client, "COPY 1:6 Archive") == "1:6 1:6"
    assert uids(world) == [2, 3, 4, 5, 6]


def test_what_is_expunged_at_its_source_meanwhile_is_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(6)
    client = world.client()

    def discard() -> None:
        inbox = world.store.read(lambda r: r.mailbox(world.zoe.id, "INBOX")).result()
        assert inbox is not None
        world.store.write(lambda w: w.discard(inbox.id, [Uid(4)])).result()

    after_commit(client, 1, discard, monkeypatch)
    assert copyuid(client, "COPY 1:6 Archive") == "1:3,5:6 1:5"


def test_a_copy_into_itself_grows_in_steps_and_ends(world: World) -> None:
    world.fill(5)
    client = world.client()
    assert copyuid(client, "COPY 1:* INBOX") == "1:5 6:10"
    assert "* 10 EXISTS" in client.ok("NOOP") or len(uids(world, "INBOX")) == 10


# ---------------------------------------------------------------- failures


def is_undone(world: World, client: Client, burnt: int) -> None:
    """The destination is as it was before, but for UIDNEXT."""
    assert uids(world) == []
    status = f'* STATUS "Archive" (MESSAGES 0 UIDNEXT {burnt + 1})'
    assert client.ok("STATUS Archive (MESSAGES UIDNEXT)") == [status]
    assert under_way(world) == 0


def test_a_box_without_room_for_all_of_it_is_left_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    client = world.client()
    world.limit(0, 9)
    commits = after_commit(client, 0, nothing, monkeypatch)
    client.no("COPY 1:5 Archive", "OVERQUOTA")
    assert commits == []
    is_undone(world, client, burnt=0)


def test_a_box_that_fills_up_meanwhile_keeps_nothing_of_the_copy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    client = world.client()
    world.limit(0, 10)
    after_commit(client, 2, lambda: add(world, 9, "Sent"), monkeypatch)
    client.no("COPY 1:5 Archive", "OVERQUOTA")
    is_undone(world, client, burnt=4)
    client.ok("COPY 1:4 Archive")


def failing_at(number: int, error: Exception) -> Callable[..., list[tuple[Uid, Uid]]]:
    """`Writing.copy` that raises `error` the n-th time."""
    calls = iter(range(1, 100))

    def failing(self: Writing, *given: Any) -> list[tuple[Uid, Uid]]:
        if next(calls) == number:
            raise error
        return _copy(self, *given)

    return failing


@pytest.mark.parametrize(
    ("error", "code"), [(StorageFull(), "LIMIT"), (RuntimeError("a bug"), "SERVERBUG")]
)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_copy_that_fails_half_way_is_undone(
    world: World, monkeypatch: pytest.MonkeyPatch, batch: int, error: Exception, code: str
) -> None:
    world.fill(5)
    client = world.client()
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "copy", failing_at(batch, error))
        client.no("COPY 1:5 Archive", code)
    is_undone(world, client, burnt=2 * (batch - 1))
    assert copyuid(client, "COPY 1:5 Archive").startswith("1:5 ")


def test_a_copy_into_itself_that_fails_leaves_the_view_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    client = world.client()
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "copy", failing_at(3, StorageFull()))
        client.no("COPY 1:5 INBOX", "LIMIT")
    client.ok("NOOP")
    assert client.ok("SEARCH ALL") == ["* SEARCH 1 2 3 4 5"]
    assert client.ok("STATUS INBOX (MESSAGES)") == ['* STATUS "INBOX" (MESSAGES 5)']


def test_who_watches_the_destination_sees_it_grow_and_shrink(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(5)
    client, other = world.client(), world.client(select="Archive")
    seen: list[str] = []
    after_commit(client, 1, lambda: seen.extend(other.ok("NOOP")), monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "copy", failing_at(2, StorageFull()))
        client.no("COPY 1:5 Archive", "LIMIT")
    assert "* 2 EXISTS" in seen
    assert other.ok("NOOP") == ["* 1 EXPUNGE", "* 1 EXPUNGE"]


def test_what_cannot_be_undone_at_once_is_undone_when_its_lease_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes no removal either."""
    world.fill(5)
    client = world.client()

    def full(*_: object) -> bool:
        raise StorageFull

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "copy", failing_at(3, StorageFull()))
        patch.setattr(Writing, "undo_copy", full)
        client.no("COPY 1:5 Archive", "LIMIT")
    assert uids(world) == [1, 2, 3, 4]
    assert under_way(world) == 1
    assert undo_abandoned(world.store) == 0
    world.clock.advance(LEASE.total_seconds())
    assert undo_abandoned(world.store) == 1
    is_undone(world, client, burnt=4)


def test_a_copy_whose_lease_ended_does_not_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was stopped for minutes; another one has cleared up behind it."""
    world.fill(5)
    client = world.client()

    def stopped() -> None:
        world.clock.advance(LEASE.total_seconds())
        assert undo_abandoned(world.store) == 1

    after_commit(client, 2, stopped, monkeypatch)
    client.no("COPY 1:5 Archive", "UNAVAILABLE")
    is_undone(world, client, burnt=4)


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        (("DELETE Vieux",), "TRYCREATE"),
        (("RENAME Vieux Ancien",), "TRYCREATE"),
        (("DELETE Vieux", "CREATE Vieux"), "NONEXISTENT"),
        (("RENAME Vieux Ancien", "CREATE Vieux"), "NONEXISTENT"),
    ],
)
def test_a_destination_that_goes_meanwhile_keeps_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Sequence[str], code: str
) -> None:
    world.fill(5)
    client, other = world.client(), world.client(select=None)
    client.ok("CREATE Vieux")
    after_commit(client, 1, lambda: [other.ok(line) for line in meanwhile], monkeypatch)
    client.no("COPY 1:5 Vieux", code)
    if "RENAME Vieux Ancien" in meanwhile:
        assert uids(world, "Ancien") == []
    if "CREATE Vieux" in meanwhile:
        assert uids(world, "Vieux") == []
    assert under_way(world) == 0


def test_a_move_into_a_mailbox_that_became_another_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One COPYUID has one UIDVALIDITY: what was moved before is told as gone."""
    world.fill(5)
    client, other = world.client(), world.client(select=None)
    client.ok("CREATE Vieux")
    lines = ("RENAME Vieux Ancien", "CREATE Vieux")
    after_commit(client, 1, lambda: [other.ok(line) for line in lines], monkeypatch)
    heard = client.no("MOVE 1:5 Vieux", "NONEXISTENT")
    assert [line for line in heard if "COPYUID" in line and " 1:2 1:2]" in line]
    assert client.ok("NOOP") == ["* 1 EXPUNGE", "* 1 EXPUNGE"]
    assert uids(world, "Ancien") == [1, 2]
    assert uids(world, "Vieux") == []
    assert uids(world, "INBOX") == [3, 4, 5]


@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("side", ["source", "target"])
def test_att_25_a_right_that_ends_in_the_middle_of_a_copy_undoes_it(
    world: World, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    world.share(Role.RESPONSABLE)
    shared = f'"Other Users/{SERVICE}/Archive"'
    world.fill(5)
    client = world.client(select=None)
    client.ok("SELECT INBOX")
    client.ok(f"COPY 1:5 {shared}")
    from_there = side == "source"
    client.ok(f"SELECT {shared if from_there else 'INBOX'}")

    def close() -> None:
        def job(writing: Writing) -> None:
            account = writing.account(ZOE)
            found = writing.mailbox(world.service.id, "Archive")
            assert account is not None
            assert found is not None
            writing.add_member(world.service.id, account.id, Role.SECRETAIRE)
            writing.set_entry(found.id, account.id, "l" if from_there else "lr")

        world.store.write(job).result()

    after_commit(client, 1, close, monkeypatch)
    client.no(f"COPY 1:5 {'Archive' if from_there else shared}", "NOPERM")
    assert uids(world) == []

    def query(reading: Any) -> int:
        return len(reading.uids(reading.mailbox(world.service.id, "Archive").id))

    assert world.store.read(query).result() == 5
    assert under_way(world) == 0
