"""The scanner: any split gives the same tree; limits at their value and one more."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.message.scanner import MAX_DELIMITER_LINE, Scanner
from mssmtp.message.tree import Part, Scan, ScanLimits, TooComplex
from tests.corpus import PLAIN, TOKENS, multipart, nested, torture_messages

SMALL = ScanLimits(header_octets=4_096, mime_depth=5, mime_parts=12)


def scan(octets: bytes, limits: ScanLimits | None = None) -> Scan:
    scanner = Scanner(limits)
    scanner.feed(octets)
    return scanner.close()


def outcome(chunks: list[bytes], limits: ScanLimits) -> Scan | None:
    """The scan, or None when a limit was passed."""
    scanner = Scanner(limits)
    try:
        for chunk in chunks:
            scanner.feed(chunk)
        return scanner.close()
    except TooComplex:
        return None


def types(part: Part) -> list[str]:
    return [part.full_type, *(name for child in part.children for name in types(child))]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=60))
def test_the_tree_ignores_how_octets_were_split(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = outcome([whole], SMALL)
    assert outcome(chunks, SMALL) == expected
    assert outcome([whole[i : i + 1] for i in range(len(whole))], SMALL) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.data())
def test_the_tree_ignores_any_cut_of_a_nested_letter(
    chunks: list[bytes], data: st.DataObject
) -> None:
    octets = multipart(b"--b1\r\n" + b"".join(chunks) + b"\r\n--b1--\r\n")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(octets)), max_size=12)))
    bounds = [0, *cuts, len(octets)]
    pieces = [octets[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    assert outcome(pieces, SMALL) == outcome([octets], SMALL)


def test_a_long_text_without_header_is_a_part_however_it_was_cut() -> None:
    """Its first line, in one block, is longer than a header section may be."""
    octets = multipart(b"--b1\r\n" + b"x" * 2 * SMALL.header_octets)
    whole = outcome([octets], SMALL)
    assert whole is not None
    assert whole == outcome([octets[:99], octets[99:]], SMALL)
    assert whole == outcome([octets[i : i + 64] for i in range(0, len(octets), 64)], SMALL)


@pytest.mark.requirement("OP-63")
def test_every_torture_message_is_scanned_and_all_its_octets_counted() -> None:
    for name, octets in torture_messages():
        found = scan(octets)
        assert found.size_octets == len(octets), name
        assert octets.startswith(found.header), name


@pytest.mark.requirement("OP-64")
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_report_has_the_parts_it_came_with(parts: int) -> None:
    octets = dict(torture_messages())[f"report-{parts}"]
    found = scan(octets)
    assert len(found.root.children) == parts
    assert found.defects == ()


# ---------------------------------------------------------------- attachments


def attachment(octets: bytes, name: str = "a.pdf") -> bytes:
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return (
        b"--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="' + name.encode() + b'"\r\n\r\n' + encoded
    )


@pytest.mark.requirement("SEED-55")
@pytest.mark.parametrize("octets", [0, 1, 2, 3, 56, 57, 58, 10_000, 100_001])
def test_the_size_of_an_attachment_is_its_decoded_octets(octets: int) -> None:
    (found,) = scan(multipart(attachment(b"x" * octets) + b"--b1--\r\n")).attachments
    assert found.size_octets == octets
    assert found.name == "a.pdf"
    assert found.media_type == "application/pdf"


@pytest.mark.requirement("SEED-56")
def test_every_attachment_of_a_message_is_counted_in_order() -> None:
    body = b"".join(attachment(b"x" * n, f"{n}.pdf") for n in (5, 7, 9)) + b"--b1--\r\n"
    found = scan(multipart(body)).attachments
    assert [(a.name, a.size_octets) for a in found] == [("5.pdf", 5), ("7.pdf", 7), ("9.pdf", 9)]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b"Content-Type: text/plain", []),
        (b"Content-Type: text/html", []),
        (b"", []),
        (b"Content-Type: text/plain; name=a.txt", ["a.txt"]),
        (b"Content-Disposition: attachment", [""]),
        (b"Content-Disposition: inline; filename=a.txt", ["a.txt"]),
        (b"Content-Type: image/png\r\nContent-Disposition: inline", [""]),
        (b"Content-Type: application/x; name=t\r\nContent-Disposition: x; filename=d", ["d"]),
        (b"Content-Type: multipart/mixed; boundary=none; name=a.txt", ["a.txt"]),
    ],
)
def test_an_attachment_has_a_name_or_says_so_or_is_no_text(header: bytes, names: list[str]) -> None:
    found = scan(multipart(b"--b1\r\n" + header + b"\r\n\r\nx\r\n--b1--\r\n"))
    assert [a.name for a in found.attachments] == names


def test_an_attached_message_counts_once_with_its_whole_length() -> None:
    inner = multipart(attachment(b"x" * 99) + b"--b1--", b"boundary=b1").replace(b"b1", b"b9")
    octets = multipart(b"--b1\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b1--\r\n")
    (found,) = scan(octets).attachments
    assert (found.media_type, found.size_octets) == ("message/rfc822", len(inner))


def test_a_quoted_printable_attachment_is_counted_decoded() -> None:
    head = b"Content-Type: text/csv; name=a.csv\r\nContent-Transfer-Encoding: quoted-printable"
    octets = multipart(b"--b1\r\n" + head + b"\r\n\r\n=C3=A9;=\r\nb=\n=zz=\r\n--b1--\r\n")
    (found,) = scan(octets).attachments
    assert found.size_octets == len("é;b=zz=".encode())


# ---------------------------------------------------------------- boundaries


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prefix-boundary", ["multipart/mixed", "text/plain"]),
        ("spaces-after", ["multipart/mixed", "text/plain"]),
        ("never-closed", ["multipart/mixed", "text/plain"]),
        ("closed-twice", ["multipart/mixed", "text/plain"]),
        ("absent-boundary", ["text/plain"]),
        ("no-boundary-parameter", ["text/plain"]),
        ("empty-boundary", ["text/plain"]),
        ("only-closed", ["text/plain"]),
        ("long-boundary", ["text/plain"]),
        ("empty-parts", ["multipart/mixed"] + ["text/plain"] * 3),
        ("suffix-boundary", ["multipart/mixed", "text/plain"]),
        ("no-line-end", ["multipart/mixed", "text/plain"]),
        ("same-boundary-nested", ["multipart/mixed", "multipart/mixed", "text/plain"]),
        (
            "inner-not-closed",
            ["multipart/mixed", "multipart/mixed", "text/plain", "text/plain"],
        ),
        ("rfc822-encoded", ["application/octet-stream"]),
        ("rfc822-end", ["message/rfc822", "text/plain"]),
        ("digest", ["multipart/digest", "message/rfc822", "text/plain", "text/plain"]),
        ("headless-part", ["multipart/mixed", "text/plain"]),
    ],
)
def test_broken_boundaries_are_read_as_far_as_possible(name: str, expected: list[str]) -> None:
    assert types(scan(dict(torture_messages())[name]).root) == expected


def test_a_part_without_a_header_keeps_its_text() -> None:
    octets = multipart(b"--b1\r\nBonjour docteur\r\n--b1--\r\n")
    (part,) = scan(octets).root.children
    assert octets[part.body_start : part.body_end] == b"Bonjour docteur"


def test_a_line_longer_than_a_delimiter_is_text() -> None:
    padding = b" " * MAX_DELIMITER_LINE
    octets = multipart(b"--b1\r\n\r\nun\r\n--b1" + padding + b"\r\ndeux\r\n--b1--\r\n")
    found = scan(octets)
    assert len(found.root.children) == 1
    assert outcome([octets[i : i + 1] for i in range(len(octets))], ScanLimits()) == found


LINES = [b"--b1\r\n", b"--b1--\r\n", b"--b1 \t\r\n", b"--b12\r\n", b"--b1\x0b\r\n", b"\n", b"--"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*LINES, b"x\r\n", b"--b2\n", b"\r\n"]), max_size=30))
def test_after_many_look_alikes_delimiters_are_still_found(lines: list[bytes]) -> None:
    inner = b"--b1\r\nContent-Type: multipart/mixed; boundary=b2\r\n\r\n--b2\r\n\r\n"
    octets = multipart(inner + b"".join(lines))
    weary = Scanner()
    weary._misses = 1_000_000
    weary.feed(octets)
    assert weary.close() == scan(octets)


def test_the_line_end_before_a_delimiter_belongs_to_it() -> None:
    octets = multipart(b"--b1\r\n\r\nun\r\ndeux\r\n\r\n--b1--\r\n")
    (part,) = scan(octets).root.children
    assert octets[part.body_start : part.body_end] == b"un\r\ndeux\r\n"
    assert part.lines == 2


@pytest.mark.parametrize(
    ("body", "lines"),
    [(b"", 0), (b"x", 1), (b"x\r\n", 1), (b"x\r\ny", 2), (b"\r\n", 1), (b"\r\n\r\n", 2)],
)
def test_lines_count_the_last_one_also_without_an_end(body: bytes, lines: int) -> None:
    assert scan(PLAIN + b"\r\n" + body).root.lines == lines
    inside = multipart(b"--b1\r\n\r\n" + body + b"\r\n--b1--\r\n")
    assert scan(inside).root.children[0].lines == lines


def test_lines_of_a_nested_message_count_everything_in_it() -> None:
    inner = multipart(b"avant\r\n--b2\r\n\r\nun\r\n--b2--\r\napres", b"boundary=b2")
    octets = multipart(b"--b1\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b1--\r\n")
    (message,) = scan(octets).root.children
    assert octets[message.body_start : message.body_end] == inner
    assert message.lines == len(inner.splitlines())


# ---------------------------------------------------------------- limits


def test_the_header_section_is_accepted_at_its_limit_and_refused_above() -> None:
    limits = ScanLimits(header_octets=1_000)
    filler = 1_000 - len(b"X: \r\n\r\n")
    assert scan(b"X: " + b"a" * filler + b"\r\n\r\nbody", limits).size_octets == 1_004
    with pytest.raises(TooComplex) as refused:
        scan(b"X: " + b"a" * (filler + 1) + b"\r\n\r\nbody", limits)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (554, "5.6.0")


def test_a_header_without_an_end_is_refused_before_it_is_kept() -> None:
    scanner = Scanner(ScanLimits(header_octets=1_000))
    for _ in range(10):
        scanner.feed(b"a" * 100)
    with pytest.raises(TooComplex):
        scanner.feed(b"a")


def test_part_headers_have_the_limit_too_and_one_for_all_together() -> None:
    limits = ScanLimits(header_octets=1_000)
    field = b"X: " + b"a" * 900 + b"\r\n\r\n"
    with pytest.raises(TooComplex):
        scan(multipart(b"--b1\r\nX: " + b"a" * 1_100 + b"\r\n\r\n--b1--"), limits)
    assert scan(multipart((b"--b1\r\n" + field) * 7), limits).root.children
    with pytest.raises(TooComplex):
        scan(multipart((b"--b1\r\n" + field) * 9), limits)


@pytest.mark.attack
def test_att_05_depth_is_accepted_at_its_limit_and_refused_above() -> None:
    assert scan(nested(50)).size_octets
    for depth in (51, 60):
        with pytest.raises(TooComplex):
            scan(nested(depth))
    assert scan(nested(60), ScanLimits(mime_depth=100))  # without the guard nothing stops it


@pytest.mark.attack
def test_att_05_a_chain_of_messages_is_as_deep_as_one_of_multiparts() -> None:
    chain = b"Content-Type: message/rfc822\r\n\r\n"
    assert scan(chain * 50 + b"x")
    with pytest.raises(TooComplex):
        scan(chain * 51 + b"\r\nx")
    with pytest.raises(TooComplex):
        scan(chain * 100_000)


@pytest.mark.attack
def test_att_05_parts_are_accepted_at_their_limit_and_refused_above() -> None:
    part = b"--b1\r\n\r\nx\r\n"
    assert len(scan(multipart(part * 1_000)).root.children) == 1_000
    with pytest.raises(TooComplex):
        scan(multipart(part * 1_001))


@pytest.mark.attack
def test_att_07_what_is_held_does_not_grow_with_the_body() -> None:
    scanner = Scanner()
    scanner.feed(multipart(b"--b1\r\n\r\n"))
    for block in (b"a" * 65_536, b"\r\n--b" * 10_000, b"\r\n-" * 20_000, b"\r" * 65_536) * 5:
        scanner.feed(block)
        held = len(scanner._held) + len(scanner._section)
        assert held <= MAX_DELIMITER_LINE + 2
