"""Two bodies have one digest when they say the same (CL-80)."""

from __future__ import annotations

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from mssmtp.message.body_digest import BodyDigest

PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"x", b" ", b"texte", b"\r\n" * 5_000]),
    max_size=25,
)


def digest(*blocks: bytes) -> bytes:
    made = BodyDigest()
    for block in blocks:
        made.feed(block)
    return made.digest()


@given(PIECES, st.booleans())
def test_it_is_of_the_body_without_the_line_ends_at_its_end(
    pieces: list[bytes], has_header: bool
) -> None:
    message = (b"Subject: x\r\n\r\n" if has_header else b"") + b"".join(pieces)
    _, _, body = (b"\r\n" + message).partition(b"\r\n\r\n")
    text = re.sub(rb"(?:\r\n)*\Z", b"", body) if len(body) < 500 else _slowly(body)
    assert digest(message) == hashlib.sha256(text).digest()


def _slowly(body: bytes) -> bytes:
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body


@given(PIECES)
def test_any_split_gives_the_same(pieces: list[bytes]) -> None:
    message = b"A: b\r\n\r\n" + b"".join(pieces)
    small = message[:600]
    assert digest(*(small[n : n + 1] for n in range(len(small)))) == digest(small)
    assert digest(b"A: b\r", b"\n\r", b"\n", *pieces) == digest(message)


def test_a_last_line_end_more_or_less_changes_nothing_and_any_other_octet_does() -> None:
    message = b"Subject: x\r\n\r\nBonjour\r\n\r\nmerci"
    same = {digest(message + b"\r\n" * count) for count in range(4)}
    assert len(same) == 1
    assert digest(b"To: b\r\n" + message) in same
    for other in (b" ", b"\n", b"\r", b"\r\n ", b"."):
        assert digest(message + other) not in same
    assert digest(message.replace(b"\r\n\r\nmerci", b"\r\nmerci")) not in same


def test_a_message_of_empty_lines_is_not_held_in_memory() -> None:
    made = BodyDigest()
    made.feed(b"A: b\r\n\r\n")
    for _ in range(1_000):
        made.feed(b"\r\n" * 10_000)
    made.feed(b"x")
    assert made.digest() == hashlib.sha256(b"\r\n" * 10_000_000 + b"x").digest()
