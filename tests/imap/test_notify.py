"""NOTIFY (RFC 5465): who keeps what events tell knows what is there, and what may be known."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from mssmtp.errors import StorageUnavailable
from mssmtp.imap import noticing, pushing
from mssmtp.imap.effects import Woken
from mssmtp.imap.noticing import Look
from mssmtp.mail import ALL_RIGHTS, Role
from tests.imap.world import LUC, SERVICE, ZOE, Client, World, message

EVERYTHING = (
    "(personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)) "
    '(subtree "Other Users" (MessageNew MessageExpunge FlagChange MailboxName))'
)
SHARED = f"Other Users/{SERVICE}/INBOX"
_STATUS = re.compile(r'\* STATUS "([^"]+)" \((.+)\)')
_LIST = re.compile(r'\* LIST \(([^)]*)\) "/" "([^"]+)"(?: \("OLDNAME" \("([^"]+)"\)\))?')


class Keeper:
    """A client that knows of mailboxes what it was told by events alone."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.status: dict[str, str] = {}
        self.names: dict[str, bool] = {}
        for line in client.ok('LIST "" "*" RETURN (SUBSCRIBED)'):
            self._hear(line)
        client.received.clear()
        client.ok(f"NOTIFY SET STATUS {EVERYTHING}")
        self.hear()

    def hear(self) -> None:
        for line in bytes(self.client.received).decode().split("\r\n"):
            self._hear(line)
        self.client.received.clear()

    def _hear(self, line: str) -> None:
        if found := _STATUS.match(line):
            self.status[found[1]] = found[2]
        elif found := _LIST.match(line):
            attributes, name, old = found.groups()
            if old:
                self.names.pop(old)
                self.status.pop(name, None)
                if old in self.status:
                    self.status[name] = self.status.pop(old)
            if "\\NonExistent" in attributes:
                self.names.pop(name, None)
                self.status.pop(name, None)
            elif "\\Noselect" not in attributes:
                self.names[name] = "\\Subscribed" in attributes

    def check(self) -> None:
        self.hear()
        listed = [_LIST.match(line) for line in self.client.ok('LIST "" "*" RETURN (SUBSCRIBED)')]
        there = {each[2]: "\\Subscribed" in each[1] for each in listed if each is not None}
        assert self.names == {
            name: is_on for name, is_on in there.items() if not name.startswith("Other Users")
        } | {name: self.names[name] for name in there if name.startswith("Other Users/r")}
        for name in self.status:
            items = "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)"
            (now,) = self.client.ok(f'STATUS "{name}" {items}')
            assert now == f'* STATUS "{name}" ({self.status[name]})'
        self.client.received.clear()


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("seed", range(2))
def test_who_keeps_what_events_tell_knows_what_is_there(
    world: World, seed: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`together`: changes between two looks."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    world.share(Role.SECRETAIRE)
    world.fill(3)
    keeper = Keeper(world.client(select=None))
    own, member = world.client(select=None), world.client(SERVICE, select=None)
    names = ["INBOX", "Archive", "Fax", "Fax/Recus", "Scans", "Trash"]
    for step in range(60 * together):
        one, other = draw.sample(names, 2)
        actor = draw.choice([own, own, member])
        line = draw.choice(
            [
                f"CREATE {one}",
                f"DELETE {one}",
                f"RENAME {one} {other}",
                f"SUBSCRIBE {one}",
                f"UNSUBSCRIBE {one}",
                f"APPEND {one} {{5+}}\r\nhello",
                f"SELECT {one}",
                "UID STORE 1:* +FLAGS (\\Deleted)",
                "UID STORE 1:* FLAGS (\\Seen)",
                "EXPUNGE",
                f"UID MOVE 1 {one}",
                f"UID COPY 1:* {one}",
                "UNSELECT",
            ]
        )
        with monkeypatch.context() as patch:
            if step % together:
                patch.setattr(world, "changed", lambda: None)
            actor.command(line)
        if not step % together:
            world.changed()
            keeper.check()


def test_a_client_that_acts_itself_knows_no_less(world: World) -> None:
    """What is left out because the client did it is not left out of what others do."""
    keeper = Keeper(world.client(select=None))
    for line in ("CREATE Fax", "RENAME Fax Scans", "UNSUBSCRIBE Scans"):
        keeper.client.ok(line)
        keeper.client.received.clear()
    other = world.client(select=None)
    other.ok("RENAME Scans Fax")
    other.ok("APPEND Fax {5+}\r\nhello")
    heard = bytes(keeper.client.received).decode()
    assert '* LIST (\\HasNoChildren) "/" "Fax" ("OLDNAME" ("Scans"))\r\n' in heard
    assert '* STATUS "Fax" (MESSAGES 1 ' in heard


def restrict(world: World, rights: str) -> None:
    def job(writing: Any) -> None:
        box = writing.mailbox(world.service.id, "INBOX")
        writing.set_entry(box.id, writing.account(ZOE).id, rights)

    world.store.write(job).result()


@pytest.mark.attack("ATT-24")
@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("rights", ["", "l", "r", "lr", ALL_RIGHTS.replace("r", "")])
def test_att_25_events_by_the_rights_of_the_moment(world: World, rights: str) -> None:
    """Given before or taken away after: of a stranger's boxes nothing is told in any case."""
    world.share(Role.SECRETAIRE)
    restrict(world, rights)
    named = f'(mailboxes ("{SHARED}" "Other Users/{LUC}/INBOX") (MessageNew MessageExpunge))'
    late, early = world.client(select=None), world.client(select=None)
    first = late.ok(f"NOTIFY SET STATUS {named}")
    assert ("STATUS" in "".join(first)) == ({"l", "r"} <= set(rights))
    assert ("NoAccess" in "".join(first)) == ("l" in rights and "r" not in rights)
    restrict(world, ALL_RIGHTS)
    world.changed()
    early.ok(f"NOTIFY SET {named}")
    restrict(world, rights)
    for client in (late, early):
        client.received.clear()
    world.deliver(message(1), bal=world.service)
    world.deliver(message(1), bal=world.luc)
    for client in (late, early):
        heard = bytes(client.received).decode()
        assert ("STATUS" in heard) == ({"l", "r"} <= set(rights))
        assert LUC not in heard


def test_a_membership_that_begins_is_heard_of(world: World) -> None:
    client = world.client(select=None)
    client.ok('NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge MailboxName))')
    client.received.clear()
    world.share(Role.LECTEUR)
    assert f'"{SHARED}"' in bytes(client.received).decode()
    client.received.clear()
    world.deliver(message(1), bal=world.service)
    assert f'* STATUS "{SHARED}" (MESSAGES 1 ' in bytes(client.received).decode()


def test_too_much_at_once_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5465 5.8: as NOTIFY NONE."""
    client, other = world.client(), world.client(select=None)
    client.ok("NOTIFY SET (personal (MailboxName)) (selected (MessageNew MessageExpunge))")
    client.received.clear()
    monkeypatch.setattr(pushing, "MOST_EVENTS", 2)
    other.ok("CREATE a/b/c")
    assert bytes(client.received) == b"* OK [NOTIFICATIONOVERFLOW] Too many events\r\n"
    client.received.clear()
    other.ok("CREATE d")
    world.deliver(message(1))
    assert not client.received
    monkeypatch.setattr(pushing, "MOST_ENTRIES", 5)
    client.no("NOTIFY SET (personal (MailboxName))", "NOTIFICATIONOVERFLOW")
    client.ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
    watching = client.session.watching
    assert watching is not None
    assert not watching.groups


def test_many_changes_are_one_look_and_one_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in proportion to what is told, not to what happens (ATT-27)."""
    client = world.client(select=None)
    client.ok("NOTIFY SET (inboxes (MessageNew MessageExpunge))")
    client.received.clear()
    looks = _counting(monkeypatch)
    monkeypatch.setattr(world, "changed", lambda: None)
    world.fill(20)
    monkeypatch.undo()
    world.changed()
    assert bytes(client.received).count(b"STATUS") == 1
    assert looks == []  # one mailbox, not everything
    world.client(select=None).ok("APPEND Sent {5+}\r\nhello")
    assert bytes(client.received).count(b"STATUS") == 1


def _counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    looks: list[int] = []
    whole: Callable[..., Look] = Look.at

    def counted(*arguments: Any) -> Look:
        looks.append(1)
        return whole(*arguments)

    monkeypatch.setattr(Look, "at", counted)
    return looks


def test_a_look_that_fails_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = world.client(select=None), world.client(select=None)
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.received.clear()

    def frozen(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "nearby", frozen)
        other.ok("APPEND Sent {5+}\r\nhello")
    assert not client.received
    client.wake(Woken.TIMEOUT)
    assert b'* STATUS "Sent" (MESSAGES 1 ' in bytes(client.received)
    client.ok("NOOP")


def test_what_was_heard_of_a_mailbox_that_the_session_deletes_harms_nothing(world: World) -> None:
    """The news of its own deletion may come later than that of a letter in it."""
    client = world.client(select=None)
    client.ok("CREATE Essai")
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    watching = client.session.watching
    assert watching is not None
    (id,) = (id for id, state in watching.known.states.items() if state.name == "Essai")
    watching.deleted(id)
    watching._mailboxes.add(id)
    client.received.clear()
    client.ok("NOOP")
    assert client.is_open


def test_gen_08_who_listens_in_silence_is_kept_alive(world: World) -> None:
    client = world.client()
    client.ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
    assert client.wake(Woken.TIMEOUT) == b"* OK Still here\r\n"
    world.clock.advance(world.limits.idle_imap_s)
    assert b"* BYE" in client.wake(Woken.TIMEOUT)
    assert not client.is_open


def test_events_never_stand_in_the_middle_of_a_command(world: World) -> None:
    client = world.client(select=None)
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.received.clear()
    client.send(b"x1 APPEND Drafts {5}\r\n")
    client.send(b"x2"[:0] + b"he")
    world.deliver(message(1))
    assert b"STATUS" not in client.received
    client.send(b"llo\r\n")
    assert bytes(client.received).index(b"x1 OK") < bytes(client.received).index(b"STATUS")


def test_a_mailbox_that_is_left_is_one_of_the_others_again(world: World) -> None:
    client = world.client()
    client.ok("NOTIFY SET (selected NONE) (personal (MessageNew MessageExpunge))")
    client.received.clear()
    world.deliver(message(1))
    assert not client.received
    client.ok("UNSELECT")
    assert b'* STATUS "INBOX" (MESSAGES 1 ' in bytes(client.received)


def test_what_is_looked_at_together_is_told_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client(select=None)
    client.ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
    client.received.clear()
    monkeypatch.setattr(noticing, "FEW", 1)
    looks = _counting(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(world, "changed", lambda: None)
        for name in ("INBOX", "Sent", "Trash"):
            world.deliver(message(1), name)
    world.changed()
    assert bytes(client.received).count(b"STATUS") == 3
    assert looks == [1]
