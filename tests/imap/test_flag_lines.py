"""Flags of many messages are told from an image: the same lines as from the rows."""

from __future__ import annotations

import re
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.imap import flag_lines, header_lines, responses
from mssmtp.imap.items import Simple
from mssmtp.imap.numbers import View
from mssmtp.imap.selected import Recents, Selected
from mssmtp.mail import ModSeq
from mssmtp.storage.flags import FlagSets
from mssmtp.storage.images import block_of, image_of
from mssmtp.storage.model import Mailbox
from tests.imap.world import Client, World


def both_ways(client: Client, items: str) -> None:
    """RFC822.SIZE makes the rows be read; without it the lines are the same."""
    by_rows = client.ok(f"FETCH 1:* ({items} RFC822.SIZE)")
    plain = [re.sub(r" RFC822.SIZE \d+", "", line) for line in by_rows]
    assert client.ok(f"FETCH 1:* ({items})") == plain
    assert len(plain) > 1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of messages are many."""
    monkeypatch.setattr(flag_lines, "LEAST", 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("items", ["FLAGS", "UID FLAGS", "FLAGS UID"])
def test_an_image_tells_the_lines_that_rows_tell(world: World, items: str) -> None:
    world.fill(3)
    one = world.client()
    both_ways(one, items)
    one.ok("STORE 2 +FLAGS (\\Seen patient)")
    world.fill(4)
    other = world.client()
    other.ok("STORE 1,5:7 +FLAGS (\\Deleted)")
    other.ok("UID EXPUNGE 6")
    for client in (one, other):
        client.ok("NOOP")
        both_ways(client, items)
        assert client.ok(f"FETCH 2:3,5 ({items})")[0].startswith("* 2 FETCH (")


@pytest.mark.usefixtures("few")
def test_messages_that_are_gone_are_missed_with_an_image_too(world: World) -> None:
    world.fill(4)
    one, other = world.client(), world.client()
    other.ok("STORE 2 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    tagged, lines = one.command("FETCH 1:* (FLAGS)")
    assert tagged.startswith("NO [EXPUNGEISSUED]")
    assert [line.split(" ")[1] for line in lines if " FETCH (FLAGS" in line] == ["1", "3", "4"]


def test_a_list_of_mail_shows_what_single_messages_show(world: World) -> None:
    """More than MOST_ITEMS items take the way of single parts: the same values."""
    world.fill(3)
    client = world.client()
    wanted = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE"
    wanted += ' BODY.PEEK[HEADER.FIELDS (Subject "X-%d")] BODY.PEEK[HEADER]<3.9>'
    quick = client.ok(f"FETCH 1:* ({wanted})")
    many = " ".join(f"BODY.PEEK[HEADER]<{n}.1>" for n in range(header_lines.MOST_ITEMS))
    slow = client.ok(f"FETCH 1:* ({wanted} {many})")
    ends = [line.partition(" BODY[HEADER]<0> ")[0] for line in slow]
    assert [line.removesuffix(")") for line in quick if "ENVELOPE" in line] == [
        line for line in ends if "ENVELOPE" in line
    ]
    assert len([line for line in quick if "ENVELOPE" in line]) == 3
    assert 'BODY[HEADER.FIELDS (Subject "X-%d")]' in quick[0]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_thousands_of_lines_are_those_of_single_messages(data: st.DataObject) -> None:
    """Wherever a range begins and ends, whatever is missing, new or flagged."""
    begin = data.draw(st.sampled_from([1, 5, 999, 1_003, 40_321]))
    gaps = data.draw(st.sets(st.integers(begin, begin + 6_500), max_size=4))
    uids = [uid for uid in range(begin, begin + 6_500) if uid not in gaps]
    odd = data.draw(st.sets(st.integers(0, 6_000), max_size=3))
    marks = [(uid, 1, 9 if at in odd else 1) for at, uid in enumerate(uids)]
    image, sets, recents = image_of(ModSeq(1), [block_of(marks)]), FlagSets({}), Recents()
    recents.add(*sorted(data.draw(st.tuples(st.integers(1, 9_000), st.integers(1, 9_000)))))
    items = data.draw(st.sampled_from(((Simple.UID, Simple.FLAGS), (Simple.FLAGS,))))
    cuts = data.draw(st.lists(st.integers(0, 6_400), min_size=2, max_size=4, unique=True))
    edges = sorted([*cuts, 6_400] if len(cuts) % 2 else cuts)
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    box = cast(Mailbox, None)
    selected = Selected(box, False, View(uids), ModSeq(1), ModSeq(1), recents)  # noqa: FBT003
    expected = []
    for at in (at for span in spans for at in range(*span)):
        shown = responses.flags(sets.of(marks[at][2]), recent=uids[at] in recents)
        uid = b"UID %d " % uids[at] if items[0] is Simple.UID else b""
        expected.append(b"* %d FETCH (%bFLAGS (%b))\r\n" % (at + 1, uid, shown))
    lines = flag_lines.Lines(selected, image, sets)
    found = lines.of(items, spans, spans)
    assert found.splitlines() == b"".join(expected).splitlines()
    assert lines.of(items, spans, spans) == found  # remembered


def test_lines_with_many_keywords_are_not_remembered() -> None:
    """A thousand of them could take a megabyte, and a hundred thousands a hundred (D11)."""
    sets = FlagSets({5: "k" * 70})
    image = image_of(ModSeq(1), [block_of([(uid, 1, 32) for uid in range(1, 2_001)])])
    box = cast(Mailbox, None)
    selected = Selected(box, False, View(image.uids), ModSeq(1), ModSeq(1), Recents())  # noqa: FBT003
    before = flag_lines._kept.cache_info()
    lines = flag_lines.Lines(selected, image, sets).of((Simple.FLAGS,), [(0, 2_000)], [(0, 2_000)])
    assert lines.count(b"k" * 70) == 2_000
    assert flag_lines._kept.cache_info() == before
