"""Compressed connections: nothing is lost at any split, and no bomb fills the memory (RFC 4978)."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.imap import deflate
from mssmtp.imap.deflate import PIECE_OCTETS, BadStream, Deflate


def inflated(stream: Deflate, octets: bytes, size: int) -> bytes:
    """What comes out when `octets` come in blocks of `size`."""
    out, waiting = [], b""
    for start in range(0, len(octets), size):
        waiting += octets[start : start + size]
        while waiting or stream.holds_more:
            piece, waiting = stream.unpacked(waiting)
            assert len(piece) <= PIECE_OCTETS
            out.append(piece)
    return b"".join(out)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([b"a1 NOOP\r\n", b"\0" * 200_000, b"x", b"{3+}\r\n"]), max_size=8),
    st.sampled_from([1, 7, 100, 100_000]),
)
def test_both_directions_are_whole_after_each_flush(pieces: list[bytes], size: int) -> None:
    client, server = zlib.compressobj(wbits=-15), Deflate()
    theirs = zlib.decompressobj(-15)
    for piece in pieces:
        octets = client.compress(piece) + client.flush(zlib.Z_SYNC_FLUSH)
        assert inflated(server, octets, size) == piece
        assert theirs.decompress(server.packed(piece)) == piece


@pytest.mark.attack
def test_a_bomb_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "FREE_OCTETS", 1_048_576)
    client = zlib.compressobj(wbits=-15)
    octets = client.compress(b"\0" * 8_388_608) + client.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(BadStream, match="bomb"):
        inflated(Deflate(), octets, 65_536)


@pytest.mark.attack
@pytest.mark.parametrize("octets", [b"a NOOP\r\n", b"\x03\x00rest"])
def test_another_stream_or_one_that_ends_is_refused(octets: bytes) -> None:
    with pytest.raises(BadStream):
        Deflate().unpacked(octets)
