"""Section ranges against a slow reader of lines; summaries survive their octets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.message.content import read_content
from mssmtp.message.headers import field_name, fields
from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Node, SectionText, Summary, UnknownSummary
from mssmtp.message.tree import ScanLimits, TooComplex
from tests.corpus import PLAIN, TOKENS, multipart, torture_messages

TEXTS: tuple[SectionText, ...] = ("", "HEADER", "TEXT", "MIME")


def summary_of(octets: bytes) -> Summary:
    scanner = Scanner(ScanLimits())
    scanner.feed(octets)
    return Summary.of(scanner.close())


# ---------------------------------------------------------------- the slow reference


@dataclass
class Slow:
    """An entity found by reading lines and cutting lists of lines (RFC 2046 5.1, word by word)."""

    kind: str
    header: int
    start: int
    end: int
    children: list[Slow] = field(default_factory=list)


def slow(octets: bytes) -> Slow:
    return _entity(octets, 0, len(octets), top=True, digest=False)


def _lines(octets: bytes, start: int, end: int) -> list[tuple[int, int]]:
    found, position = [], start
    for line in octets[start:end].split(b"\n"):
        stop = min(position + len(line) + 1, end)
        if stop > position:
            found.append((position, stop))
        position = stop
    return found


def _entity(octets: bytes, start: int, end: int, *, top: bool, digest: bool) -> Slow:
    body = end
    for first, last in _lines(octets, start, end):
        line = octets[first:last]
        if line in (b"\r\n", b"\n"):
            body = last
            break
        is_text = not top and first == start and line[:1] not in (b" ", b"\t")
        if is_text and field_name(line) is None:
            body = first
            break
    content = read_content(fields(octets[start:body]), in_digest=digest)
    if content.media_type == "multipart" and content.boundary:
        children = _parts(octets, body, end, content.boundary, content.subtype == "digest")
        if children:
            return Slow("multipart", start, body, end, children)
    encoded = content.encoding in ("base64", "quoted-printable")
    if (content.media_type, content.subtype) == ("message", "rfc822") and not encoded:
        inner = _entity(octets, body, end, top=False, digest=False)
        return Slow("message", start, body, end, [inner])
    return Slow("leaf", start, body, end)


def _parts(octets: bytes, start: int, end: int, boundary: bytes, digest: bool) -> list[Slow]:
    delimiters = []
    for first, last in _lines(octets, start, end):
        text = octets[first:last].rstrip(b" \t\r\n")
        if text == b"--" + boundary:
            delimiters.append((first, last))
        elif text == b"--" + boundary + b"--":
            delimiters.append((first, last))
            break
    else:
        delimiters.append((end, end))
    parts = []
    for (_, begin), (stop, _) in zip(delimiters, delimiters[1:], strict=False):
        if stop > begin and stop < end + 1 and octets[stop : stop + 2] == b"--":
            stop -= 1
            if stop > begin and octets[stop - 1 : stop] == b"\r":
                stop -= 1
        parts.append(_entity(octets, begin, stop, top=False, digest=digest))
    return parts


def as_slow(node: Node) -> Slow:
    kind = ("leaf", "multipart", "message")[node.kind]
    return Slow(
        kind, node.header_start, node.body_start, node.body_end, [*map(as_slow, node.children)]
    )


# A delimiter here follows a line of text: right after a header or another delimiter its line end
# is shared, and there the scanner leaves the empty line to the header (golden tests below).
WELL_NESTED = [
    b"~\r\n--b1\r\n",
    b"~\r\n--b1\r\nContent-Type: multipart/mixed; boundary=b2\r\n\r\n~\r\n--b2\r\n",
    b"~\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n",
    b"Content-Type: application/pdf\r\n",
    b"\r\n",
    b"\r\nBonjour\r\n",
    b"texte\n",
    b"~\r\n--b2\r\n",
    b"~\r\n--b2--\r\n",
    b"~\r\n--b12\r\n",
    b"~\r\n--b2--\r\n--b1--\r\n",
    b"~\n--b2--\n--b1\n",
    b"-",
    b"--",
    b"\r",
    b"~\r\n--b1--\r\n",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WELL_NESTED), max_size=25))
def test_offsets_agree_with_a_slow_reader_of_lines(chunks: list[bytes]) -> None:
    octets = multipart(b"".join(chunks))
    assert as_slow(summary_of(octets).root) == slow(octets)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_a_summary_survives_its_octets_whatever_the_message(chunks: list[bytes]) -> None:
    try:
        summary = summary_of(PLAIN + b"".join(chunks))
    except TooComplex:
        return
    octets = summary.to_bytes()
    assert Summary.from_bytes(octets) == summary
    assert Summary.from_bytes(octets).to_bytes() == octets
    for node in summary.entities():
        assert 0 <= node.header_start <= node.body_start <= node.body_end <= summary.size_octets


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x02" + b"\0" * 40, b"\x01" + b"\xff" * 60])
def test_foreign_octets_are_no_summary(octets: bytes) -> None:
    with pytest.raises(UnknownSummary):
        Summary.from_bytes(octets)


def test_a_summary_cut_short_is_refused() -> None:
    octets = summary_of(PLAIN + b"\r\nx\r\n").to_bytes()
    for length in range(len(octets)):
        with pytest.raises(UnknownSummary):
            Summary.from_bytes(octets[:length])


# ---------------------------------------------------------------- sections

INNER = (
    b"From: c@d.test\r\nSubject: dedans\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"
    b"--b2\r\nContent-Type: text/plain\r\n\r\nun\r\n--b2\r\n"
    b"Content-Type: text/html\r\n\r\n<p>deux\r\n--b2--\r\n"
)
WHOLE = multipart(
    b"preambule\r\n--b1\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n\r\n--b1\r\n"
    b"Content-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n--b1\r\n"
    b"Content-Type: message/rfc822\r\n\r\nSubject: seul\r\n\r\ntrois\r\n--b1--\r\nfin\r\n"
)


def body(octets: bytes, path: tuple[int, ...], text: SectionText = "") -> bytes | None:
    place = summary_of(octets).section(path, text)
    return None if place is None else octets[place[0] : place[1]]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ((), "", WHOLE),
        ((), "HEADER", WHOLE[: WHOLE.index(b"preambule")]),
        ((), "TEXT", WHOLE[WHOLE.index(b"preambule") :]),
        ((), "MIME", None),
        ((1,), "", b"Bonjour\r\n"),
        ((1,), "MIME", b"Content-Type: text/plain\r\n\r\n"),
        ((1,), "HEADER", None),
        ((1,), "TEXT", None),
        ((1, 1), "", None),
        ((2,), "", INNER),
        ((2,), "MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ((2,), "HEADER", INNER[: INNER.index(b"--b2")]),
        ((2,), "TEXT", INNER[INNER.index(b"--b2") :]),
        ((2, 1), "", b"un"),
        ((2, 2), "", b"<p>deux"),
        ((2, 2), "MIME", b"Content-Type: text/html\r\n\r\n"),
        ((2, 3), "", None),
        ((3, 1), "", b"trois"),
        ((3, 1), "MIME", b"Subject: seul\r\n\r\n"),
        ((3,), "TEXT", b"trois"),
        ((4,), "", None),
        ((0,), "", None),
    ],
)
# clients.md GEN-02
def test_sections_are_octets_of_the_message(
    path: tuple[int, ...], text: SectionText, expected: bytes | None
) -> None:
    assert body(WHOLE, path, text) == expected


# clients.md APL-03
def test_a_single_part_is_its_own_part_one() -> None:
    octets = PLAIN + b"\r\nBonjour\r\n"
    assert body(octets, (1,)) == body(octets, (), "TEXT") == b"Bonjour\r\n"
    assert body(octets, (1,), "MIME") == body(octets, (), "HEADER") == PLAIN + b"\r\n"
    assert body(octets, (1, 1)) is None
    assert body(octets, (2,)) is None


def test_the_message_inside_the_only_part_is_reached() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nBonjour"
    assert body(octets, (1,), "HEADER") == b"Subject: x\r\n\r\n"
    assert body(octets, (1,), "TEXT") == b"Bonjour"
    assert body(octets, (1, 1)) == b"Bonjour"
    assert body(octets, (1, 1, 1)) is None


# clients.md GEN-02
def test_size_header_and_text_are_the_whole_message_for_every_torture_message() -> None:
    for name, octets in torture_messages():
        summary = summary_of(octets) if not name.startswith("nest") else None
        if summary is None or name == "rfc822-chain":
            continue
        header, text = body(octets, (), "HEADER"), body(octets, (), "TEXT")
        assert header is not None
        assert text is not None
        assert header + text == octets == body(octets, ()), name
        assert summary.size_octets == len(octets)
        assert summary.header == header
        for node in summary.entities():
            for texts in TEXTS:
                summary.section((1,), texts)
            assert node.body_end <= len(octets)
