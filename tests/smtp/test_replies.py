"""Replies on the wire, and the catalogue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import Reply
from mssmtp.smtp import replies


def test_every_reply_of_the_catalogue_is_ascii_and_short_and_its_key_unique() -> None:
    keys = [key for key, *_ in replies.all_replies()]
    assert len(keys) == len(set(keys))
    for key, reply, when, remedy in replies.all_replies():
        octets = replies.render(reply)
        assert octets.isascii(), key
        assert all(len(line) <= 510 for line in octets.split(b"\r\n")), key
        assert when, key
        assert remedy, key


@pytest.mark.requirement("OP-86")
def test_every_constant_is_in_the_catalogue_or_good_news() -> None:
    listed = {str(reply) for _, reply, *_ in replies.all_replies()}
    for name, value in vars(replies).items():
        if isinstance(value, Reply) and value.code >= 400:
            assert str(value) in listed, name


def test_accents_become_plain_letters() -> None:
    reply = Reply(550, "5.7.1", "Œuvre « refusée » — réessayez à l’été…")
    assert replies.render(reply) == b'550 5.7.1 OEuvre "refusee" - reessayez a l\'ete...\r\n'


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=2_000))
def test_any_text_gives_whole_lines_with_both_codes(text: str) -> None:
    lines = replies.render(Reply(550, "5.7.1", text)).split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.startswith(b"550-5.7.1") for line in lines[:-1])
    assert lines[-1].startswith(b"550 5.7.1")
    assert all(len(line) <= 510 and line.isascii() for line in lines)
    assert not any(b"\r" in line or b"\n" in line for line in lines)
