"""What a delegate sees of the holder's box, until the very moment it is over (DEF-12, F10)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mssmtp.mail import DelegateRight
from mssmtp.storage import Delegation
from tests.imap.world import LUC, ZOE, World

INBOX = f"Other Users/{LUC}/INBOX"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.fill(2, bal=made.luc)
    return made


def lend(world: World, right: DelegateRight, minutes: int = 60) -> Delegation:
    """Luc lends his box to Zoé."""

    def job(writing: Any) -> Delegation:
        now = world.clock.now()
        ends = now + timedelta(minutes=minutes)
        return writing.add_delegation(  # type: ignore[no-any-return]
            Delegation(world.luc.id, writing.account(ZOE).id, right, now, ends)
        )

    given = world.store.write(job).result()
    world.changed()
    return given


@pytest.mark.requirement("DEF-12", "SEED-42")
def test_the_box_appears_by_itself_and_each_right_does_what_it_says(world: World) -> None:
    client = world.client(select=None)
    assert LUC not in "".join(client.ok('LIST "" "*"'))
    lend(world, DelegateRight.READ)
    assert f'"{INBOX}"' in "".join(client.ok('LIST "" "*"'))
    assert client.ok(f'MYRIGHTS "{INBOX}"')[0].endswith("lrs")
    client.ok(f'SELECT "{INBOX}"')
    assert "Bonjour 1" in "".join(client.ok("FETCH 1 BODY[TEXT]"))
    assert client.command("STORE 1 +FLAGS (\\Flagged)")[0].startswith("NO")
    lend(world, DelegateRight.REPLY)
    client.ok("STORE 1 +FLAGS (\\Flagged)")
    assert client.command("STORE 1 +FLAGS (\\Deleted)")[0].startswith("NO"), (
        "nothing is thrown away"
    )
    assert client.command(f'SETACL "{INBOX}" {ZOE} lrswipkxtea')[0].startswith("NO")


@pytest.mark.requirement("DEF-12")
@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("how", ["its end", "taken back"])
def test_att_25_an_open_session_ends_with_the_delegation(world: World, how: str) -> None:
    given = lend(world, DelegateRight.SEND, minutes=5)
    client = world.client(select=None)
    client.ok(f'SELECT "{INBOX}"')
    client.ok("FETCH 1 UID")
    if how == "its end":
        world.clock.advance(300)
    else:
        world.store.write(lambda writing: writing.end_delegation(given)).result()
        world.changed()
        world.clock.advance(2)
    said = client.send(b"T9 FETCH 2 BODY[TEXT]\r\n")
    assert said.startswith(b"* BYE")
    assert b"Bonjour" not in said
    again = world.client(select=None)
    assert again.command(f'SELECT "{INBOX}"')[0].startswith("NO [NONEXISTENT]")


@pytest.mark.requirement("DEF-12")
def test_what_a_delegate_opens_is_written_down_under_the_delegates_name(world: World) -> None:
    lend(world, DelegateRight.READ)
    client = world.client(select=None)
    client.ok(f'SELECT "{INBOX}"')
    client.ok("FETCH 1 BODY[TEXT]")

    def look(writing: Any) -> tuple[Any, ...]:
        writing.record_readings()
        return writing.account(ZOE).id, writing.reading_events(world.luc.id, world.clock.now())

    zoe, events = world.store.write(look).result()
    assert {(event.kind, event.account) for event in events} == {("releve", zoe), ("lu", zoe)}
