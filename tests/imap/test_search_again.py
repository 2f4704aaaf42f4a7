"""A search in short header fields opens packs once and remembers them joined: the same results."""

from __future__ import annotations

from typing import Any

import pytest

from mssmtp.storage import texts
from mssmtp.storage.messages import TEXT_UIDS
from tests.imap.world import Client, World

COUNT = 6 * TEXT_UIDS + 10


def filled(world: World) -> None:
    """Every tenth subject says so; every seventh letter is to somebody else."""
    sealed = [
        world.store.seal(
            b"From: a@b.test\r\nTo: %b@c.test\r\nSubject: lettre %04d%b\r\n\r\ntexte\r\n"
            % (b"autre" if n % 7 == 0 else b"zoe", n, b" dixi\xc3\xa8me" if n % 10 == 0 else b"")
        )
        for n in range(1, COUNT + 1)
    ]

    def job(writing: Any) -> None:
        inbox = writing.mailbox(world.zoe.id, "INBOX")
        for letter in sealed:
            writing.append(inbox.id, letter, frozenset(), world.clock.now())

    world.store.write(job).result()
    world.store.settle()


def found(client: Client, keys: str) -> list[int]:
    return [int(number) for number in client.ok(f"UID SEARCH {keys}")[0].split()[2:]]


def searches(client: Client) -> list[list[int]]:
    keys = (
        'SUBJECT "dixi\u00e8me"',
        "TO autre",
        'SUBJECT "lettre 0050"',
        "TO autre FROM b.test NOT SUBJECT dixi",
        'UID 100:700 SUBJECT "lettre 0"',
        "SUBJECT nulle-part",
    )
    return [found(client, f"CHARSET UTF-8 {each}") for each in keys]


def test_packs_looked_through_as_one_hold_what_each_of_them_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(world)
    client = world.client()
    with monkeypatch.context() as one_by_one:
        one_by_one.setattr(texts, "are_short", lambda _names: False)
        expected = searches(client)
    assert expected[0] == list(range(10, COUNT + 1, 10))
    assert expected[1] == list(range(7, COUNT + 1, 7))
    assert searches(client) == expected
    with monkeypatch.context() as closed:  # nothing has to be opened any more
        closed.setattr(texts.TextReading, "_join", None)
        assert searches(client) == expected


def test_what_is_expunged_is_not_found_again(world: World) -> None:
    filled(world)
    client = world.client()
    assert found(client, "TO autre")[:3] == [7, 14, 21]
    client.ok("UID STORE 14,700 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    left = [uid for uid in range(7, COUNT + 1, 7) if uid not in (14, 700)]
    assert found(client, "TO autre") == left
    world.store.settle()  # the packs are made again
    assert found(client, "TO autre") == left
