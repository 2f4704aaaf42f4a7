"""DATA: one end only, whatever the split (ATT-01, DEF-02)."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.smtp.receiver import ChunkReceiver, DataLimits, DataReceiver, Flooded

LIMITS = DataLimits(size_octets=1_000, flood_octets=4_000)
ALPHABET = (b"\r", b"\n", b".", b"\0", b"x")
END = b"\r\n.\r\n"
TOKENS = [b"\r\n", b"\r\n.\r\n", b"\r\n.", b"..", b".", b"\r", b"\n", b"\0", b"text", b"\n.\n"]


@dataclass(frozen=True)
class Outcome:
    content: bytes
    done: bool
    rest: bytes
    bare: bool
    nul: bool


def reference(octets: bytes) -> Outcome:
    """RFC 5321 4.5.2 octet by octet: lines end in CRLF, a line `.` ends, a first dot is removed."""
    content, line, index = bytearray(), bytearray(), 0
    done = False
    while index < len(octets) and not done:
        line.append(octets[index])
        index += 1
        if line.endswith(b"\r\n"):
            if line == b".\r\n":
                done = True
            else:
                content += line[1:] if line.startswith(b".") else line
            line.clear()
    seen = octets[:index]
    raw = seen[: -len(b".\r\n")] if done else seen
    return Outcome(
        bytes(content),
        done,
        octets[index:],
        bare=bool(re.search(rb"\r(?!\n)|(?<!\r)\n", raw)),
        nul=b"\0" in raw,
    )


def received(chunks: list[bytes], limits: DataLimits = LIMITS) -> tuple[DataReceiver, bytes]:
    receiver = DataReceiver(limits)
    content = b""
    for number, chunk in enumerate(chunks):
        content += receiver.feed(chunk)
        if receiver.done:
            receiver.rest += b"".join(chunks[number + 1 :])
            break
    return receiver, content


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
def test_att_01_every_short_string_ends_where_the_reference_ends() -> None:
    """All strings of at most seven octets, alone and then with the true end behind them."""
    for length in range(8):
        for combination in itertools.product(ALPHABET, repeat=length):
            octets = b"".join(combination)
            receiver, expected = DataReceiver(LIMITS), reference(octets + END)
            content = receiver.feed(octets)
            if receiver.done:
                receiver.rest += END
            else:
                content += receiver.feed(END)
            found = Outcome(content, receiver.done, receiver.rest, receiver.bare, receiver.nul)
            assert found == expected, octets


@pytest.mark.attack
def test_att_01_short_strings_do_not_depend_on_the_split() -> None:
    for combination in itertools.product(ALPHABET[:3] + (b"x",), repeat=6):
        octets = b"".join(combination) + b"\r\n.\r\n"
        whole, content = received([octets])
        pieces, split_content = received([octets[i : i + 1] for i in range(len(octets))])
        assert (content, whole.rest, whole.bare, whole.ambiguous) == (
            split_content,
            pieces.rest,
            pieces.bare,
            pieces.ambiguous,
        ), octets


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30), st.data())
def test_receiving_ignores_how_octets_were_split(tokens: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(tokens) + b"\r\n.\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=6))
    edges = [0, *sorted(cuts), len(octets)]
    whole, content = received([octets])
    pieces, split_content = received([octets[a:b] for a, b in itertools.pairwise(edges)])
    expected = reference(octets)
    assert content == split_content == expected.content
    assert whole.rest == pieces.rest == expected.rest
    for receiver in (whole, pieces):
        assert (receiver.bare, receiver.nul) == (expected.bare, expected.nul)
    assert whole.ambiguous == pieces.ambiguous
    assert whole.size_octets == pieces.size_octets == len(content)


@given(st.binary(max_size=300))
def test_what_a_sender_stuffs_comes_out_again(raw: bytes) -> None:
    message = raw.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    stuffed = re.sub(rb"(?m)^\.", b"..", message)
    receiver, content = received([stuffed + b".\r\n"])
    assert receiver.done
    assert receiver.clean
    assert content == message


SMUGGLES = [
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r\r\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


@pytest.mark.attack
@pytest.mark.requirement("DEF-02")
@pytest.mark.parametrize("fake_end", SMUGGLES, ids=lambda octets: repr(octets))
def test_att_01_fake_ends_end_nothing_and_are_refused(fake_end: bytes) -> None:
    receiver, _ = received([b"a" + fake_end + b"MAIL FROM:<x@y.test>\r\n.\r\nNOOP\r\n"])
    assert receiver.done
    assert receiver.rest == b"NOOP\r\n"
    assert not receiver.clean
    if b"\0" not in fake_end:
        assert receiver.ambiguous


def test_a_bare_line_feed_in_text_is_refused_but_not_ambiguous() -> None:
    receiver, _ = received([b"one\ntwo\r\n.\r\n"])
    assert receiver.bare
    assert not receiver.ambiguous


def test_a_bare_carriage_return_before_the_end_is_ambiguous() -> None:
    receiver, _ = received([b"one\r\r\n.\r\n"])
    assert receiver.ambiguous


def test_an_empty_message_is_one_dot() -> None:
    receiver, content = received([b".\r\n"])
    assert (receiver.done, content, receiver.size_octets) == (True, b"", 0)


@pytest.mark.requirement("OP-66")
def test_size_is_counted_without_the_dots_that_were_stuffed() -> None:
    line = b"..345678\r\n"
    receiver, content = received([line * 10 + b".\r\n"], DataLimits(90, 4_000))
    assert receiver.size_octets == len(content) == 90
    assert not receiver.too_big


@pytest.mark.attack
@pytest.mark.requirement("OP-66", "CL-38")
def test_one_octet_too_many_is_consumed_to_the_end_and_told() -> None:
    receiver, _ = received([b"x" * 89 + b"\r\n.\r\nQUIT\r\n"], DataLimits(90, 4_000))
    assert receiver.done
    assert receiver.too_big
    assert receiver.rest == b"QUIT\r\n"


def test_nothing_is_returned_once_the_limit_is_passed() -> None:
    receiver = DataReceiver(DataLimits(10, 4_000))
    assert receiver.feed(b"x" * 11) == b""
    assert receiver.feed(b"y" * 500) == b""
    assert receiver.too_big


@pytest.mark.attack
def test_a_flood_beyond_the_limit_is_cut() -> None:
    receiver = DataReceiver(DataLimits(10, 100))
    receiver.feed(b"x" * 100)
    with pytest.raises(Flooded):
        receiver.feed(b"x")


# ---------------------------------------------------------------- BDAT


def chunked(chunks: list[bytes], limits: DataLimits = LIMITS) -> tuple[ChunkReceiver, bytes]:
    receiver = ChunkReceiver(limits)
    content = b""
    for chunk in chunks:
        receiver.begin(len(chunk))
        content += receiver.feed(chunk)
    receiver.end()
    return receiver, content


@pytest.mark.attack
def test_att_01_every_short_string_in_a_chunk_is_clean_or_told() -> None:
    wrong = re.compile(rb"\r(?!\n)|(?<!\r)\n")
    for length in range(8):
        for combination in itertools.product(ALPHABET, repeat=length):
            octets = b"".join(combination)
            receiver, content = chunked([octets])
            assert content == octets
            assert receiver.bare == bool(wrong.search(octets)), octets
            assert receiver.nul == (b"\0" in octets), octets


@pytest.mark.attack
def test_att_35_what_is_wrong_does_not_depend_on_the_chunks() -> None:
    for combination in itertools.product(ALPHABET, repeat=5):
        octets = b"".join(combination)
        whole, _ = chunked([octets])
        pieces, content = chunked([octets[i : i + 1] for i in range(len(octets))])
        assert content == octets
        assert (whole.bare, whole.nul) == (pieces.bare, pieces.nul), octets


@given(st.lists(st.lists(st.sampled_from(TOKENS), max_size=4), max_size=6), st.data())
def test_a_chunk_may_come_in_any_blocks(chunks: list[list[bytes]], data: st.DataObject) -> None:
    whole = [b"".join(tokens) for tokens in chunks]
    receiver, content = ChunkReceiver(LIMITS), b""
    for octets in whole:
        receiver.begin(len(octets))
        while receiver.missing:
            step = data.draw(st.integers(1, receiver.missing))
            at = len(octets) - receiver.missing
            content += receiver.feed(octets[at : at + step])
    receiver.end()
    expected, _ = chunked(whole)
    assert content == b"".join(whole)
    assert (receiver.bare, receiver.nul) == (expected.bare, expected.nul)


@pytest.mark.attack
@pytest.mark.requirement("OP-66")
def test_att_35_chunks_are_counted_before_they_are_read() -> None:
    receiver = ChunkReceiver(DataLimits(10, 100))
    receiver.begin(6)
    assert receiver.feed(b"x" * 6) == b"x" * 6
    receiver.begin(6)
    assert receiver.too_big
    assert receiver.feed(b"x" * 6) == b""
    with pytest.raises(Flooded):
        receiver.begin(89)
    with pytest.raises(ValueError, match="beyond"):
        receiver.feed(b"x")
