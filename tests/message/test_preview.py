"""The first words of a message: exact for people, cheap for whatever was sent (RFC 8970)."""

from __future__ import annotations

import base64

import pytest

from mssmtp.message import hypertext
from mssmtp.message.preview import MAX_CHARACTERS, MOST_READ, MOST_TEXTS, preview_of
from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Summary
from tests.corpus import cpython_messages, torture_messages


def preview(octets: bytes) -> tuple[str, int]:
    """The preview, and how many octets were read for it."""
    scanner = Scanner()
    scanner.feed(octets)
    read: list[int] = []

    def piece(start: int, stop: int) -> bytes:
        read.append(stop - start)
        return octets[start:stop]

    return preview_of(Summary.of(scanner.close()), piece), sum(read)


def letter(text: bytes, kind: bytes = b"text/plain; charset=utf-8", cte: bytes = b"8bit") -> bytes:
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, cte, text)


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (letter(b"un\r\n\r\n  deux\ttrois\xc2\xa0quatre\r\n"), "un deux trois quatre"),
        (letter("œ".encode() * 300), "œ" * MAX_CHARACTERS),
        (letter(b"\xe2\x80\xaegauche\0"), "gauche"),
        (letter(b"<p>a<script>b</script>c<!-- d --> e", b"text/html"), "ac e"),
        (letter(base64.b64encode("Zoé".encode()), cte=b"base64"), "Zoé"),
        (letter(b"", b"text/plain"), ""),
        (letter(b"BEGIN:VCALENDAR\r\nRRULE:FREQ=SECONDLY", b"text/calendar"), ""),
    ],
)
def test_what_is_shown(octets: bytes, shown: str) -> None:
    assert preview(octets)[0] == shown


@pytest.mark.parametrize(
    "body", [b"<style>" + b"x" * 1_000_000, b"<" * 1_000_000, b"&#" * 500_000, b"&lt;" * 250_000]
)
@pytest.mark.attack("ATT-29")
def test_att_29_of_any_html_a_bounded_piece_is_looked_at(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = hypertext.Hypertext.feed

    def noted(self: hypertext.Hypertext, piece: str) -> str:
        fed.append(len(piece))
        return feed(self, piece)

    monkeypatch.setattr(hypertext.Hypertext, "feed", noted)
    shown, read = preview(letter(body, b"text/html"))
    assert len(shown) <= MAX_CHARACTERS
    assert read <= MOST_READ
    assert sum(fed) <= MOST_READ


@pytest.mark.attack("ATT-30")
def test_att_30_hundreds_of_empty_texts_are_not_all_read() -> None:
    part = b"--b\r\nContent-Type: text/html\r\n\r\n" + b"<p>" * 100 + b"\r\n"
    shown, read = preview(b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + part * 500)
    assert shown == ""
    assert read <= MOST_TEXTS * MOST_READ


def test_every_ugly_message_has_one_line() -> None:
    for _, octets in [*cpython_messages(), *torture_messages()]:
        shown, _ = preview(octets)
        assert len(shown) <= MAX_CHARACTERS
        assert not any(ord(character) < 32 for character in shown)
        shown.encode("utf-8")
