"""Parts that are decoded block by block: the same octets as decoded at once (RFC 3516 4.2)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap import streams, values
from mssmtp.imap.streams import Decoded, Places
from mssmtp.mail import MailboxId, Uid
from mssmtp.message.summary import Node
from mssmtp.message.transfer import counter_of, decoded
from tests.imap.world import World

if TYPE_CHECKING:
    from mssmtp.storage import Reading

TOKENS = [b"=", b"=\r\n", b"=E9", b"=\n", b"UEsD", b"BA", b"==", b"\r\n", b"-", b" ", b"x" * 40]


class Content:
    """In place of a snapshot: one message, and how much of it was read."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.read = 0

    def body(self, _mailbox: int, _uid: int, start: int, stop: int) -> bytes:
        self.read += stop - start
        return self.octets[start:stop]


def _node(encoding: str, start: int, stop: int) -> Node:
    return Node(0, 0, start, stop, 0, "application/pdf", encoding, "", ())


def _fetched(content: Content, node: Node, span: tuple[int, int], places: Places) -> bytes:
    stream = Decoded(MailboxId(1), Uid(1), node, span)
    stream.remember(places)
    out = []
    while stream.left:
        octets = stream.next(cast("Reading", content))
        assert octets is not None
        out.append(octets)
    return b"".join(out)


@given(
    st.sampled_from(["base64", "quoted-printable", "8bit"]),
    st.lists(st.sampled_from(TOKENS)).map(b"".join),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_any_partials_in_any_order_are_exact(
    encoding: str, body: bytes, partials: list[tuple[int, int]], block: int
) -> None:
    whole = decoded(encoding, body)
    counter = counter_of(encoding)
    counter.add(body)
    assert counter.total() == len(whole)
    content, places = Content(b"header\r\n" + body + b"tail"), Places()
    node = _node(encoding, 8, 8 + len(body))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "ENCODED_BLOCK_OCTETS", block)
        for start, length in [*partials, (0, len(whole))]:
            span = min(start, len(whole)), min(start + length, len(whole))
            assert _fetched(content, node, span, places) == whole[slice(*span)]


@pytest.mark.attack("ATT-27")
def test_a_part_fetched_piece_by_piece_is_decoded_about_once() -> None:
    """A client that asks for 64 KiB at a time would else cost the square of the size."""
    octets = bytes(range(256)) * 6_000
    content, places = Content(base64.encodebytes(octets)), Places()
    node = _node("base64", 0, len(content.octets))
    pieces = [
        _fetched(content, node, (start, min(start + 65_536, len(octets))), places)
        for start in range(0, len(octets), 65_536)
    ]
    assert b"".join(pieces) == octets
    assert content.read < 4 * len(content.octets)


def test_places_are_kept_for_a_few_parts_only() -> None:
    places = Places()
    for uid in range(1, 100):
        places.add((Uid(uid), (0, 9)), streams.Place(3, 4, b""))
    assert len(places._known) == streams.PARTS_REMEMBERED
    assert places.before((Uid(99), (0, 9)), 3).decoded == 3
    assert places.before((Uid(1), (0, 9)), 3) == streams.BEGINNING


def test_a_large_part_is_streamed_as_a_small_one_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = base64.encodebytes(bytes(range(256)) * 4)
    world.deliver(b"Content-Transfer-Encoding: base64\r\n\r\n" + body)
    client = world.client()
    for item in (b"BINARY.PEEK[1]", b"BINARY.PEEK[1]<1.500>", b"BINARY.PEEK[1]<1024.1>"):
        command = b"x FETCH 1 (" + item + b" UID)\r\n"
        small = client.send(command)
        with monkeypatch.context() as patch:
            patch.setattr(values, "INLINE_OCTETS", 10)
            patch.setattr(streams, "ENCODED_BLOCK_OCTETS", 100)
            streamed = client.send(command)
        assert small.replace(b"~{", b"{") == streamed.replace(b"~{", b"{")
        assert b"UID 1)\r\nx OK" in streamed


def test_a_decoded_part_never_rests_in_memory(world: World) -> None:
    """OLC-04: what is sent at once is what one block decodes to."""
    octets = bytes(range(256)) * 8_000
    world.deliver(b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets))
    client = world.client()
    client.largest_send = 0
    assert octets in client.send(b"x FETCH 1 BINARY.PEEK[1]\r\n")
    assert client.largest_send <= streams.ENCODED_BLOCK_OCTETS
