"""ManageSieve framing: the four properties of a parser, and bounds (ATT-03)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mssmtp.sieve.script import MAX_OCTETS
from mssmtp.sieve.wire import (
    LINE_OCTETS,
    SKIPPED_OCTETS,
    Atom,
    BadCommand,
    Broken,
    Framer,
    TooLarge,
    Word,
    answer,
    capabilities,
    string,
)

Event = list[Word] | str
_TOKENS = [
    *(b"{3+}\r\n", b"{3}\r\n", b"{0+}\r\n", b"{99999+}\r\n", b"{9999999999+}\r\n", b"\r\n", b"\r"),
    *(b"\n", b'"', b"\\", b"PUTSCRIPT", b"NOOP", b" ", b"abc", b"{", b"}", b"\0", b"12", b"\xe9"),
]


def events(framer: Framer, octets: bytes) -> list[Event]:
    found: list[Event] = []
    framer.feed(octets)
    while True:
        try:
            words = framer.next()
        except BadCommand:
            found.append("bad")
        except TooLarge:
            found.append("too large")
        except Broken:
            return [*found, "broken"]
        else:
            if words is None:
                return found
            found.append(words)


def framer(*, trusted: bool = True) -> Framer:
    made = Framer()
    if trusted:
        made.trust()
    return made


@given(st.lists(st.sampled_from(_TOKENS)))
@example([b"NOOP {3+}\r\n", b"a\r\n", b" ", b"x", b"\r\n"])
@example([b"{3+}\r\n", b"\r\n", b"\r\n"])
def test_framing_ignores_how_octets_were_split(chunks: list[bytes]) -> None:
    whole = events(framer(), b"".join(chunks))
    pieces, found = framer(), list[Event]()
    for chunk in chunks:
        for octet in range(len(chunk)):
            found += events(pieces, chunk[octet : octet + 1])
            if found and found[-1] == "broken":
                break
        if found and found[-1] == "broken":
            break
    assert found == whole


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(b"{3+}\r\n"), st.just(b'"')), max_size=6))
def test_what_is_in_a_string_is_never_syntax(values: list[bytes]) -> None:
    line = b"NOOP" + b"".join(b" {%d+}\r\n" % len(v) + v for v in values) + b"\r\nNOOP\r\n"
    assert events(framer(), line) == [[Atom("NOOP"), *values], [Atom("NOOP")]]


@given(st.binary(max_size=2_000).filter(lambda octets: b"\r" not in octets and b"\n" not in octets))
def test_a_string_is_read_as_it_was_written(value: bytes) -> None:
    written = string(value)
    if written.startswith(b"{"):
        written = written.replace(b"}", b"+}", 1)
    line = b"GETSCRIPT " + written + b"\r\n"
    assert events(framer(), line) == [[Atom("GETSCRIPT"), value]]


def test_an_empty_line_and_a_bad_one_are_survived() -> None:
    octets = b'\r\nNOOP "a"b"\r\nNOOP  x\r\nNOOP\nLOGOUT\r\n'
    assert events(framer(), octets) == [[], "bad", "bad", "bad", [Atom("LOGOUT")]]


@pytest.mark.attack("ATT-03")
def test_att_03_a_literal_is_refused_before_it_is_kept() -> None:
    stranger = framer(trusted=False)
    assert events(stranger, b'AUTHENTICATE "PLAIN" {4000000000+}\r\n') == ["broken"]
    assert events(framer(trusted=False), b"PUTSCRIPT {20000+}\r\n") == ["broken"]
    known = framer()
    assert events(known, b'PUTSCRIPT "x" {%d+}\r\n' % (MAX_OCTETS + 1)) == []
    for _ in range(MAX_OCTETS // 1_000):
        assert events(known, b"x" * 1_000) == []
        assert known.buffered == 0
    assert events(known, b"x" * (MAX_OCTETS % 1_000 + 1) + b"\r\nNOOP\r\n") == [
        "too large",
        [Atom("NOOP")],
    ]
    assert events(framer(), b"PUTSCRIPT {%d+}\r\n" % (SKIPPED_OCTETS + 1)) == ["broken"]


@pytest.mark.attack("ATT-03")
def test_att_03_a_line_has_an_end() -> None:
    assert events(framer(), b"x" * (LINE_OCTETS + 1)) == ["broken"]
    assert events(framer(), b"NOOP" + b" a" * 20 + b"\r\n") == ["bad"]


def test_answers_are_of_the_grammar() -> None:
    assert answer("OK") == b"OK\r\n"
    assert answer("NO", 'un "mot"', "NONEXISTENT") == b'NO (NONEXISTENT) "un \\"mot\\""\r\n'
    assert answer("OK", code="TAG", argument=b"x") == b'OK (TAG "x")\r\n'
    assert answer("NO", "a\nb") == b"NO {3}\r\na\nb\r\n"
    assert capabilities({"SASL": "PLAIN", "STARTTLS": None}) == b'"SASL" "PLAIN"\r\n"STARTTLS"\r\n'
