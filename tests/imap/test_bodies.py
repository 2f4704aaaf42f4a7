"""Bodies of many letters in one answer: looked up together, each apart when damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mssmtp.errors import Damaged
from mssmtp.imap import bodies, fetch
from mssmtp.imap.body_lines import BodyLines
from mssmtp.imap.effects import Note
from mssmtp.mail import MailboxId, Uid
from mssmtp.storage import Reading
from mssmtp.storage.bodies import Content
from mssmtp.storage.sealing import CHUNK_OCTETS
from tests.imap.world import Client, World, message


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def letter(number: int, octets: int) -> bytes:
    """One of that size, unlike the others."""
    head = message(number)
    return head + b"%d" % number * ((octets - len(head)) // len(b"%d" % number))


def body_sizes(client: Client, command: str) -> list[int]:
    """Sizes of the literals of an answer, in order."""
    return [int(line[line.rindex("{") + 1 : -1]) for line in client.ok(command) if "{" in line]


@pytest.mark.parametrize("items", ["BODY.PEEK[]", "BODY.PEEK[TEXT]", "BODY.PEEK[]<0.100000>"])
def test_letters_of_every_size_come_whole_and_in_order(world: World, items: str) -> None:
    sizes = [300, CHUNK_OCTETS - 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 200_000, 400, 500]
    letters = [letter(number, size) for number, size in enumerate(sizes, 1)]
    for octets in letters:
        world.deliver(octets)
    heard = world.client().send(f"a UID FETCH 1:7 (UID {items})\r\n".encode())
    shown = [each[:100_000] if "<" in items else each for each in letters]
    if "TEXT" in items:
        shown = [each.partition(b"\r\n\r\n")[2] for each in letters]
    label = items.replace(".PEEK", "").replace("<0.100000>", "<0>").encode()
    lines = [
        b"* %d FETCH (UID %d %b {%d}\r\n%b)\r\n" % (n, n, label, len(each), each)
        for n, each in enumerate(shown, 1)
    ]
    assert heard == b"".join(lines) + b"a OK FETCH completed\r\n"


def test_a_batch_asks_once_for_its_letters_however_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter is given away, or the network crossed, for each statement."""
    world.fill(100)
    asked: list[Sequence[tuple[int, int]]] = []
    contents = Reading.contents

    def noted(
        self: Reading, mailbox: MailboxId, uids: Sequence[tuple[int, int]]
    ) -> dict[Uid, Content]:
        asked.append(uids)
        return contents(self, mailbox, uids)

    monkeypatch.setattr(Reading, "contents", noted)
    assert len(body_sizes(world.client(), "FETCH 1:* BODY.PEEK[]")) == 100
    assert asked == [[(1, 100)]]


def test_no_more_is_held_of_sealed_letters_than_a_portion(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little of each is wanted: 10 octets of a hundred letters of 20 KB."""
    for number in range(1, 31):
        world.deliver(letter(number, 20_000))
    held: list[int] = []
    contents = Reading.contents

    def noted(
        self: Reading, mailbox: MailboxId, uids: Sequence[tuple[int, int]]
    ) -> dict[Uid, Content]:
        found = contents(self, mailbox, uids)
        held.append(sum(content._row[3] for content in found.values()))
        return found

    monkeypatch.setattr(Reading, "contents", noted)
    monkeypatch.setattr(bodies, "PORTION_OCTETS", 60_000)
    assert body_sizes(world.client(), "FETCH 1:* BODY.PEEK[]<0.10>") == [10] * 30
    assert len(held) == 10
    assert max(held) < 60_000 + 20_000


def test_several_parts_of_a_small_letter_open_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(2)
    opened: list[int] = []
    read = Content.read

    def noted(self: Content, start: int = 0, stop: int | None = None) -> bytes:
        opened.append(self._row[0])
        return read(self, start, stop)

    monkeypatch.setattr(Content, "read", noted)
    command = "FETCH 1:2 (BODY.PEEK[] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[1]<1.2>)"
    assert len(body_sizes(world.client(), command)) == 8
    assert opened == [1, 2]


@pytest.mark.requirement("DEF-06")
def test_what_was_sent_is_noted_batch_by_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that leaves in the middle of thousands has fetched what it was sent."""
    world.fill(5)
    monkeypatch.setattr(fetch, "PORTION_OCTETS", 1)
    client = world.client()
    noted: list[list[int]] = []
    perform = client._perform

    def kept(effect: object) -> bool:
        if isinstance(effect, Note):
            noted.append(list(effect.letters))
        return perform(effect)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "_perform", kept)
    client.ok("FETCH 1,3:* BODY.PEEK[]")
    assert noted == [[letter] for letter in (1, 3, 4, 5)]


@pytest.mark.parametrize(
    "items",
    [
        "BODY.PEEK[]",
        "UID RFC822.SIZE BODY.PEEK[]",
        "FLAGS BODY[] INTERNALDATE",
        "RFC822 MODSEQ UID FLAGS",
        "BODY.PEEK[] BODY.PEEK[]",
        "BODY.PEEK[] ENVELOPE",
        "BODY.PEEK[]<3.9> UID",
        "UID BODY.PEEK[] SAVEDATE",
        "UID BODY.PEEK[HEADER] BODY.PEEK[TEXT]",
    ],
)
def test_a_line_says_what_item_by_item_would(
    world: World, monkeypatch: pytest.MonkeyPatch, items: str
) -> None:
    for octets in (letter(1, 300), letter(2, 70_000), letter(3, 300), letter(4, 300)):
        world.deliver(octets)
    writer = world.client()
    writer.ok("STORE 1:3 +FLAGS.SILENT (\\Seen \\Flagged)")
    writer.ok("STORE 4 +FLAGS.SILENT (\\Seen sure)")
    read = Content.read

    def damaged(self: Content, start: int = 0, stop: int | None = None) -> bytes:
        if self._row[0] == 3:
            raise Damaged
        return read(self, start, stop)

    monkeypatch.setattr(Content, "read", damaged)
    command = f"a FETCH 1:* ({items})\r\n".encode()
    shown = world.client().send(command)
    monkeypatch.setattr(BodyLines, "serves", lambda items: False)
    assert world.client().send(command) == shown
    assert shown.count(b" FETCH (") == 4
