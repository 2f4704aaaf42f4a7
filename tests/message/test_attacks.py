"""ATT-05 to ATT-12, ATT-27, ATT-34: hostile mail is read in bounded memory and linear time.

Time is not measured: the interpreter's own events (calls and lines) are counted, and doubled
input may not much more than double them.
"""

from __future__ import annotations

import email
import email.policy
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mssmtp.message
from mssmtp.message.addresses import parse_addresses
from mssmtp.message.decode import decode_words, fold, text_of
from mssmtp.message.headers import BadFrom, fields, from_addresses
from mssmtp.message.parameters import decode_parameters, parse_parametrised
from mssmtp.message.scanner import Scanner
from mssmtp.message.structure import envelope_of
from mssmtp.message.summary import Summary
from mssmtp.message.tree import Scan, ScanLimits, TooComplex
from tests.corpus import PLAIN, cpython_messages, multipart, torture_messages

pytestmark = pytest.mark.attack

BIG = ScanLimits(header_octets=10_000_000, mime_depth=50, mime_parts=1_000_000)


def scan(octets: bytes, limits: ScanLimits | None = None) -> Scan:
    scanner = Scanner(limits)
    scanner.feed(octets)
    return scanner.close()


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python run in `work`: the same on every machine."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def scan_in(octets: bytes, block: int) -> Callable[[], object]:
    def work() -> object:
        scanner = Scanner(BIG)
        for start in range(0, len(octets), block):
            scanner.feed(octets[start : start + block])
        return Summary.of(scanner.close())

    return work


HOSTILE: dict[str, Callable[[int], Callable[[], object]]] = {
    "delimiter look-alikes": lambda n: scan_in(multipart(b"\r\n--b" * n), 4_096),
    "line ends": lambda n: scan_in(multipart(b"\r\n" * n), 4_096),
    "carriage returns": lambda n: scan_in(multipart(b"\r" * n), 64),
    "one delimiter line": lambda n: scan_in(multipart(b"--b1" + b" " * n), 64),
    "one header line": lambda n: scan_in(b"X: " + b"a" * n, 64),
    "many fields": lambda n: scan_in(b"X: 1\r\n" * n + b"\r\n", 64),
    "many parts": lambda n: scan_in(multipart(b"--b1\r\n\r\nx\r\n" * n), 4_096),
    "opening brackets": lambda n: lambda: parse_addresses(b"<" * n),
    "opening comments": lambda n: lambda: parse_addresses(b"(" * n),
    "backslashes": lambda n: lambda: parse_addresses(b'"' + b"\\" * n),
    "commas": lambda n: lambda: parse_addresses(b"a," * n),
    "at signs": lambda n: lambda: parse_addresses(b"a@" * n),
    "groups": lambda n: lambda: parse_addresses(b"a:" * n),
    "addresses": lambda n: lambda: envelope_of(fields(b"To: " + b"a@b.test," * n + b"\r\n\r\n")),
    "word beginnings": lambda n: lambda: decode_words(b"=?a?q?" * n),
    "words": lambda n: lambda: decode_words(b"=?utf-8?q?=C3=A9?= " * n),
    "parameters": lambda n: lambda: parse_parametrised(b"a/b" + b";a=b" * n),
    "semicolons": lambda n: lambda: parse_parametrised(b"a/b" + b";" * n),
    "escapes": lambda n: lambda: parse_parametrised(b'a/b; n="' + b"\\a" * n),
    "percents": lambda n: lambda: decode_parameters(((b"n*", b"utf-8''" + b"%" * n),)),
    "accents": lambda n: lambda: fold("e" + "\u0301\u0323" * n),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_att_27_double_input_takes_at_most_double_steps(name: str) -> None:
    work = HOSTILE[name]
    once, twice = steps(work(400)), steps(work(800))
    assert twice <= 2.2 * once + 200


def test_att_27_the_step_counter_sees_a_quadratic_loop() -> None:
    def quadratic(n: int) -> Callable[[], object]:
        def work() -> int:
            total = 0
            for _ in range(n):
                for _ in range(n):
                    total += 1
            return total

        return work

    once, twice = steps(quadratic(40)), steps(quadratic(80))
    assert twice > 2.2 * once + 200


def test_att_27_every_pattern_is_one_negated_class_or_anchored_to_our_own_text() -> None:
    """No alternation and no nested repetition where a peer chooses the octets, or none that could
    go back: every repetition is possessive (`*+`)."""
    found = {}
    for path in Path(mssmtp.message.__path__[0]).glob("*.py"):
        for match in re.finditer(
            r"^(_\w+) = re\.compile\(\s*(.*?)\)$", path.read_text(), re.M | re.S
        ):
            found[f"{path.stem}.{match[1]}"] = match[2]
    assert found
    for name, pattern in found.items():
        if not re.search(r"[*+]", re.sub(r"[*+?]\+", "", pattern)):
            continue
        assert "|" not in pattern.replace("^_`{|}~", ""), name
        assert not re.search(r"\)[*+{]", pattern), name
        assert len(re.findall(r"\][*+]", pattern)) <= 1, name


# ---------------------------------------------------------------- sizes


def test_att_06_a_million_parameters_do_not_reach_the_answer() -> None:
    octets = b"Content-Type: a/b" + b"; p=v" * 1_000_000 + b"\r\n\r\nx"
    assert len(Summary.of(scan(octets, BIG)).bodystructure) < 5_000
    with pytest.raises(TooComplex):
        scan(octets)


def test_att_07_a_million_addresses_are_refused_and_a_hundred_megabytes_of_header() -> None:
    with pytest.raises(TooComplex):
        scan(b"To: " + b"a@b.test," * 1_000_000 + b"\r\n\r\nx")
    scanner = Scanner()
    block = b"X-A: 1\r\n" * 8_192
    fed = 0
    try:
        for _ in range(1_526):
            scanner.feed(block)
            fed += len(block)
    except TooComplex:
        assert fed <= ScanLimits().header_octets
    else:
        pytest.fail("a header of 100 MB was taken")


def test_att_05_a_million_parts_are_refused_early() -> None:
    scanner = Scanner()
    scanner.feed(multipart(b""))
    with pytest.raises(TooComplex):
        scanner.feed(b"--b1\r\n\r\nx\r\n" * 1_000_000)


# ---------------------------------------------------------------- odd octets


@pytest.mark.parametrize("value", [b"a\\", b'"a\\', b"(a\\", b"[a\\", b"\\", b'"\\"', b"<a\\"])
def test_att_10_a_trailing_backslash_reads_nothing_beyond(value: bytes) -> None:
    parse_addresses(value)
    parse_parametrised(b"a/b; n=" + value)
    section = b"From: " + value + b"\r\nTo: next@b.test\r\n\r\n"
    with pytest.raises(BadFrom):
        from_addresses(section)
    assert [field.name for field in fields(section)] == ["from", "to"]


def test_att_11_invalid_utf_8_stays_with_its_message() -> None:
    noise = bytes(range(128, 256))
    octets = b"From: " + noise + b" <a@b.test>\r\nSubject: " + noise + b"\r\n\r\n" + noise
    summary = Summary.of(scan(octets))
    assert summary.envelope.isascii()
    (part,) = summary.entities()
    assert part.is_text
    assert text_of(part, noise)


@pytest.mark.parametrize("value", [b'<""@b.test>', b'<"\\"@b.test>', b'""@b.test', b"<@b.test>"])
def test_att_12_an_empty_or_quoted_local_part_authorises_nobody(value: bytes) -> None:
    section = b"From: " + value + b"\r\n\r\n"
    assert envelope_of(fields(section)).startswith(b"(NIL NIL ")
    with pytest.raises(BadFrom):
        from_addresses(section)


# ---------------------------------------------------------------- names


NAMES = [
    b'Content-Disposition: attachment; filename="a.pdf"',
    b"Content-Disposition: attachment; filename=a.pdf",
    b"Content-Disposition: attachment;\r\n filename=a.pdf",
    b"Content-Disposition: attachment; filename*=utf-8''a.pdf",
    b"Content-Disposition: attachment; filename*0=a; filename*1=.pdf",
    b"Content-Disposition: attachment; filename*0*=utf-8''a; filename*1=.pdf",
    b'Content-Type: application/pdf; name="a.pdf"',
    b"Content-Type: application/pdf; name=b.txt\r\nContent-Disposition: inline; filename=a.pdf",
    b"content-disposition: ATTACHMENT; FILENAME=a.pdf",
]


@pytest.mark.parametrize("header", NAMES)
def test_att_34_the_name_is_the_one_other_parsers_show(header: bytes) -> None:
    octets = header + b"\r\n\r\nx"
    (ours,) = scan(octets).attachments
    for policy in (email.policy.compat32, email.policy.default):
        assert email.message_from_bytes(octets, policy=policy).get_filename() == "a.pdf"
    assert ours.name == "a.pdf"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'Content-Disposition: attachment; filename="=?utf-8?q?=C3=A9.pdf?="', "é.pdf"),
        (b'Content-Disposition: attachment; filename="\xc3\xa9.pdf"', "é.pdf"),
        (b"Content-Disposition: attachment; filename=e.pdf; filename*=utf-8''%C3%A9.pdf", "é.pdf"),
        (b"Content-Disposition: attachment; filename=a.exe; filename=a.pdf", "a.exe"),
        (b"Content-Disposition: =; filename=a.exe", "a.exe"),
        (b"Content-Disposition: attachment; filename=\r\nContent-Type: a/b; name=a.exe", "a.exe"),
    ],
)
def test_att_34_of_several_names_the_one_in_bodystructure_is_judged(
    header: bytes, name: str
) -> None:
    summary_scan = scan(header + b"\r\n\r\nx")
    (ours,) = summary_scan.attachments
    assert ours.name == name


# ---------------------------------------------------------------- the corpus


def test_the_corpus_never_raises_and_is_the_same_in_small_pieces() -> None:
    for name, octets in [*torture_messages(7), *cpython_messages()]:
        whole = scan(octets)
        scanner = Scanner()
        for start in range(0, len(octets), 7):
            scanner.feed(octets[start : start + 7])
        assert scanner.close() == whole, name
        Summary.of(whole)
        try:
            from_addresses(whole.header)
        except BadFrom:
            continue


def test_an_honest_letter_after_the_corpus_is_read() -> None:
    for _name, octets in torture_messages(8):
        scan(octets)
    found = scan(PLAIN + b"\r\nBonjour\r\n")
    assert found.defects == ()
    assert [str(a) for a in from_addresses(found.header)] == ["zoe.tartempion@hopital-a.test"]
