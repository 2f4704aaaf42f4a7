"""What a client keeps by ADDTO and REMOVEFROM is what the same search would find (RFC 5267 4.3)."""

from __future__ import annotations

import random
import re

import pytest

from mssmtp.errors import Damaged, MailError, StorageUnavailable
from mssmtp.imap import contexts
from mssmtp.imap.numbers import NumberSet
from tests.imap.world import Client, World, message

KEYS = ("FLAGGED", 'OR SUBJECT "rendu 9" NOT SEEN', "DELETED KEYWORD $Junk", "ALL")
FLAGS = ("\\Flagged", "\\Seen", "\\Deleted", "$Junk")
_UPDATE = re.compile(r'\* ESEARCH \(TAG "(\w+)"\) UID (ADDTO|REMOVEFROM) \(0 ([0-9:,]+)\)')


class Keeper:
    """A client that has asked for updates and keeps its results as it is told to."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.results: dict[str, set[int]] = {}
        for number, key in enumerate(KEYS):
            tag = f"U{number}"
            said = client.send(f"{tag} UID SEARCH RETURN (UPDATE ALL) {key}\r\n".encode())
            found = re.search(r" ALL ([0-9:,]+)", said.decode())
            self.results[tag] = expanded(found[1]) if found else set()

    def ask(self, command: str) -> list[str]:
        """One command, and what it tells of the contexts, in its order."""
        _, lines = self.client.command(command)
        for line in lines:
            if update := _UPDATE.fullmatch(line):
                known, uids = self.results[update[1]], expanded(update[3])
                if update[2] == "ADDTO":
                    assert not known & uids, line
                    known |= uids
                else:
                    assert known >= uids, line
                    known -= uids
        return lines


def expanded(text: str) -> set[int]:
    ranges = NumberSet.parse(text.encode()).ranges
    return {uid for low, high in ranges for uid in range(low, high + 1)}


@pytest.mark.parametrize("seed", range(2))
def test_kept_results_are_those_of_the_same_search(world: World, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - repeatable
    world.fill(12)
    keeper, other = Keeper(world.client()), world.client()
    for _ in range(30):
        uids = ",".join(str(draw.randrange(1, 25)) for _ in range(draw.randrange(1, 4)))
        sign, flag = draw.choice("+-"), draw.choice(FLAGS)
        command = f"UID STORE {uids} {sign}FLAGS{draw.choice(['', '.SILENT'])} ({flag})"
        match draw.randrange(6):
            case 0:
                world.deliver(message(draw.randrange(100)))
            case 1:
                other.ok("EXPUNGE")
            case 2:
                keeper.ask("EXPUNGE")
            case 3:
                keeper.ask(command)
            case 4:
                keeper.ask(f"UID MOVE {draw.randrange(1, 25)} Archive")
            case _:
                other.ok(command)
        keeper.ask(draw.choice(["NOOP", "NOOP", "FETCH 1:* (UID)"]))
    keeper.ask("NOOP")
    for number, key in enumerate(KEYS):
        (answer,) = keeper.ask(f"UID SEARCH {key}")
        assert keeper.results[f"U{number}"] == set(map(int, answer.split()[2:])), key


@pytest.mark.parametrize("error", [Damaged, StorageUnavailable])
def test_an_idle_outlives_updates_that_cannot_be_made(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[MailError]
) -> None:
    """RFC 5267 4.3.1: the client is told that there are no more of them, and goes on idling."""
    world.fill(2)
    client, other = world.client(), world.client()
    client.send(b"U1 UID SEARCH RETURN (UPDATE) UNSEEN\r\nU2 UID SEARCH RETURN (UPDATE) ALL\r\n")
    client.send(b"i1 IDLE\r\n")
    client.received.clear()

    def broken(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(contexts, "looked_for", broken)
        other.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    heard = bytes(client.received).decode()
    assert '* NO [NOUPDATE "U1"]' in heard
    assert '* NO [NOUPDATE "U2"]' in heard
    client.received.clear()
    world.deliver(message(9))
    assert b"* 3 EXISTS" in client.received
    assert client.send(b"DONE\r\n") == b"i1 OK IDLE completed\r\n"
