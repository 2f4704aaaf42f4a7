"""Framing: where commands end, whatever is inside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap.framer import HUGE, Announced, Chunk, Event, Framer, Line, Literal, Unframed

LIMIT = 200
TOKENS = [
    b"{3}", b"{3+}", b"{0}", b"{2+}", b"~{1+}", b"{99999999999999999999}", b"{12+}",
    b"\r\n", b"\r", b"\n", b"(", b")", b'"', b"\\", b"A1", b" ", b"NOOP", b"LOGIN", b"\x00",
    b"\xff", b"x" * 60,
]  # fmt: skip
octets = st.lists(st.sampled_from(TOKENS), max_size=30)


def events(framer: Framer, chunks: list[bytes]) -> list[Event]:
    """Every event, with literals of up to 10 octets taken, the others refused as a door would."""
    out: list[Event] = []
    for chunk in chunks:
        framer.feed(chunk)
        while (event := framer.next_event()) is not None:
            out.append(event)
            if isinstance(event, Announced):
                if event.size_octets <= 10:
                    framer.take()
                elif event.synchronizing:
                    framer.drop()
                elif event.size_octets <= 100:
                    framer.stream()
                else:
                    return merged(out)
    return merged(out)


def merged(found: list[Event]) -> list[Event]:
    """Chunks of one literal as one: only their boundaries depend on how octets were split."""
    out: list[Event] = []
    for event in found:
        last = out[-1] if out else None
        if isinstance(event, Chunk) and isinstance(last, Chunk) and not last.is_last:
            out[-1] = Chunk(last.octets + event.octets, event.is_last)
        else:
            out.append(event)
    return out


@given(octets)
def test_framing_ignores_how_octets_were_split(chunks: list[bytes]) -> None:
    whole = events(Framer(LIMIT), [b"".join(chunks)])
    assert whole == events(Framer(LIMIT), chunks)
    single = [bytes([octet]) for octet in b"".join(chunks)]
    assert whole == events(Framer(LIMIT), single)


@given(octets, st.lists(st.sampled_from(TOKENS), max_size=4))
def test_what_is_in_a_literal_is_never_syntax(before: list[bytes], inside: list[bytes]) -> None:
    literal = b"".join(inside)
    head = b"".join(before).replace(b"\r", b"").replace(b"\n", b"").replace(b"{", b"")[:50]
    framer = Framer(LIMIT)
    framer.feed(head + b"{%d+}\r\n%b tail\r\nB2 NOOP\r\n" % (len(literal), literal))
    announced = framer.next_event()
    assert isinstance(announced, Announced)
    assert announced.size_octets == len(literal)
    framer.take()
    assert framer.next_event() == Line(
        (head.removesuffix(b"~"), Literal(literal, head.endswith(b"~")), b" tail")
    )
    assert framer.next_event() == Line((b"B2 NOOP",))


@given(octets)
def test_nothing_is_kept_beyond_the_limit(chunks: list[bytes]) -> None:
    framer = Framer(LIMIT)
    for chunk in chunks:
        framer.feed(chunk)
        while (event := framer.next_event()) is not None:
            if isinstance(event, Announced):
                if event.size_octets > 10:
                    return
                framer.take()
        assert framer.buffered <= LIMIT + 12


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_a_line_of_the_limit_passes_and_one_octet_more_does_not(size: int) -> None:
    framer = Framer(LIMIT)
    framer.feed(b"x" * size + b"\r\n")
    event = framer.next_event()
    assert isinstance(event, Line) is (size == LIMIT)


def test_the_limit_counts_all_lines_of_a_command() -> None:
    framer = Framer(LIMIT)
    framer.feed(b"a " + b"x" * 100 + b"{1+}\r\n")
    assert isinstance(framer.next_event(), Announced)
    framer.take()
    framer.feed(b"y" + b"z" * 150 + b"\r\n")
    assert isinstance(framer.next_event(), Unframed)
    framer.feed(b"b NOOP\r\n")
    assert framer.next_event() is None


@pytest.mark.attack
@pytest.mark.parametrize("line", [b"a NOOP\n", b"\n", b"a LOGIN {3+}\nb NOOP\r\n"])
def test_a_bare_lf_ends_the_connection_not_a_line(line: bytes) -> None:
    framer = Framer(LIMIT)
    framer.feed(line)
    assert isinstance(framer.next_event(), Unframed)
    assert framer.next_event() is None


def test_an_absurd_size_is_huge_and_costs_nothing() -> None:
    framer = Framer(10_000)
    framer.feed(b"a {" + b"9" * 5000 + b"}\r\n")
    event = framer.next_event()
    assert isinstance(event, Announced)
    assert event.size_octets == HUGE


def test_a_raw_line_has_no_literals() -> None:
    framer = Framer(LIMIT)
    framer.feed(b"x{3+}\r\nDONE\r\n")
    assert framer.next_raw_line() == b"x{3+}"
    assert framer.next_raw_line() == b"DONE"


def test_skipped_octets_are_counted_and_forgotten() -> None:
    framer = Framer(LIMIT)
    framer.feed(b"a {6+}\r\n")
    framer.next_event()
    framer.skip()
    framer.feed(b"abc")
    assert framer.next_event() == Chunk(b"", is_last=False)
    framer.feed(b"def\r\nb NOOP\r\n")
    assert framer.next_event() == Chunk(b"", is_last=True)
    assert framer.next_event() == Line((b"",))
    assert framer.next_event() == Line((b"b NOOP",))


@pytest.mark.parametrize("keeps", [True, False])
def test_what_a_literal_lacks_is_told(*, keeps: bool) -> None:
    framer = Framer(LIMIT)
    assert framer.lacks == 1
    framer.feed(b"A1 APPEND x {1000+}\r\n" + b"y" * 100)
    assert isinstance(framer.next_event(), Announced)
    framer.take() if keeps else framer.stream()
    assert framer.lacks == 900
    framer.feed(b"y" * 500)
    assert framer.lacks == 400
    assert (framer.next_event() is None) == keeps
    assert framer.lacks == 400
    framer.feed(b"y" * 400 + b" z")
    assert framer.lacks == 1
    assert (framer.next_event() is None) == keeps
    assert framer.lacks == 1
    framer.feed(b"\r\n")
    found = framer.next_event()
    tail = (b"A1 APPEND x ", Literal(b"y" * 1_000), b" z") if keeps else (b" z",)
    assert found == Line(tail)
