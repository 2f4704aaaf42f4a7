"""Fields of a header section, and who may be believed to have written a letter."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.errors import MailError
from mssmtp.message import headers
from mssmtp.message.addresses import Group, Mailbox, parse_addresses, parse_any
from mssmtp.message.headers import (
    LISTED,
    BadFrom,
    fields,
    from_addresses,
    header_fields,
    listed_bits,
    listed_fields,
    sender_address,
)

SECTION = (
    b"From: a@b.test\r\nX-Long: un\r\n\tdeux\r\nno colon\r\nSubject : x\r\nX-LONG: fin\r\n\r\n"
)


def test_fields_are_unfolded_and_keep_their_place() -> None:
    found = fields(SECTION)
    assert [(f.name, f.value) for f in found] == [
        ("from", b"a@b.test"),
        ("x-long", b"un deux"),
        ("subject", b"x"),
        ("x-long", b"fin"),
    ]
    assert SECTION[found[1].start : found[1].end] == b"X-Long: un\r\n\tdeux\r\n"
    assert SECTION[found[2].start : found[2].end] == b"Subject : x\r\n"


def test_the_body_holds_no_fields() -> None:
    assert headers.values(b"A: 1\r\n\r\nFrom: a@b.test\r\n", "from") == ()


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (b"Message-ID: <1@x.test>\r\n\r\n", "<1@x.test>"),
        (b"message-id:\r\n <1@x.test>\r\n\r\n", "<1@x.test>"),
        (b"Message-ID:\r\n\r\n", None),
        (b"Subject: x\r\n\r\n", None),
        (b"Message-ID: <\xe9@x.test>\r\n\r\n", None),
        (b"Message-ID: <" + b"a" * 2_000 + b"@x.test>\r\n\r\n", None),
    ],
)
def test_message_ids(section: bytes, expected: str | None) -> None:
    assert headers.message_id(section) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.test", ["a@b.test"]),
        ("Zoe Tartempion <zoe@b.test>", ["zoe@b.test"]),
        ('"Tartempion, Zoe" <zoe@b.test>', ["zoe@b.test"]),
        ("=?UTF-8?Q?Zo=C3=A9?= <zoe@b.test>", ["zoe@b.test"]),
        ("Zo\xe9 <zoe@b.test>", ["zoe@b.test"]),
        ("Dr. Zoe J. <zoe@b.test>", ["zoe@b.test"]),
        ("zoe@B.TEST (Zoe (la vraie))", ["zoe@b.test"]),
        ("(avant) Zoe <zoe@b.test> (apres)", ["zoe@b.test"]),
        ("a@b.test, C <c@d.test>", ["a@b.test", "c@d.test"]),
        ('"a b"@c.test', ['"a b"@c.test']),
        ("MAILER-DAEMON@b.test (Mail Delivery System)", ["MAILER-DAEMON@b.test"]),
        (" \r\n a@b.test", ["a@b.test"]),
    ],
)
@pytest.mark.requirement("OP-86")
def test_authors_are_read_when_there_is_one_way_to(value: str, expected: list[str]) -> None:
    section = b"From: " + value.encode("latin-1") + b"\r\n\r\n"
    assert [str(address) for address in from_addresses(section)] == expected


@pytest.mark.attack
@pytest.mark.parametrize(
    "value",
    [
        "",
        "Zoe",
        "<>",
        "a@b.test <c@d.test>",
        "<a@b.test> <c@d.test>",
        "<a@b.test> c@d.test",
        "a@b.test c@d.test",
        "a@b.test,",
        ",a@b.test",
        "a@b.test,,c@d.test",
        "a@b.test;",
        "a@b.test; c@d.test",
        "Groupe: a@b.test;",
        "undisclosed-recipients:;",
        "<@route.test:a@b.test>",
        "a@b@c.test",
        "a (x)@b.test",
        "<a@b.test (x)>",
        "a @b.test",
        "a@ b.test",
        "a@b.test\0",
        "a@b.test\rc@d.test",
        "a@[192.0.2.1]",
        '""@b.test',
        '"\\""@b.test',
        '"a@b.test',
        "(a@b.test",
        "a@b.test\\",
        "Zoe <a@b.test",
        "Zoe a@b.test>",
        "zo\xe9@b.test",
        "a@b\xe9.test",
        "a@b.test.",
        "@b.test",
        "a@",
        '"a"."b"@c.test',
        ", ".join(["a@b.test"] * 101),
    ],
)
def test_att_08_an_ambiguous_author_authorises_nobody(value: str) -> None:
    with pytest.raises(BadFrom) as refused:
        from_addresses(b"From: " + value.encode("latin-1") + b"\r\n\r\n")
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (550, "5.6.0")


@pytest.mark.attack
@pytest.mark.parametrize(
    "section",
    [
        b"Subject: x\r\n\r\n",
        b"From: a@b.test\r\nFrom: c@d.test\r\n\r\n",
        b"From: a@b.test\r\nFROM : a@b.test\r\n\r\n",
        b"From: a@b.test\r\ngarbage\r\nFrom: c@d.test\r\n\r\n",
        b"From: a@b.test\nFrom: c@d.test\n\n",
    ],
)
def test_att_08_there_is_exactly_one_from(section: bytes) -> None:
    with pytest.raises(BadFrom):
        from_addresses(section)


def test_the_sender_is_one_address_or_absent() -> None:
    assert sender_address(b"From: a@b.test\r\n\r\n") is None
    assert str(sender_address(b"Sender: s@b.test\r\n\r\n")) == "s@b.test"
    with pytest.raises(BadFrom):
        sender_address(b"Sender: s@b.test, t@b.test\r\n\r\n")


PIECES = ['"', "\\", "(", ")", "<", ">", "@", ",", ":", ";", ".", " ", "a", "b.test", "\xe9", "["]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "]", "\0", "\r\n ", "a@b.test"]), max_size=30))
def test_att_08_any_author_is_read_or_refused_and_nothing_else(pieces: list[str]) -> None:
    value = "".join(pieces).encode("latin-1")
    parse_addresses(value)
    try:
        authors = from_addresses(b"From: " + value + b"\r\n\r\n")
    except MailError:
        return
    for author in authors:
        assert str(author.domain).encode() in value.lower()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["Zoe ", '"D, Z" ', ""]), min_size=1, max_size=5))
def test_addresses_survive_being_written(names: list[str]) -> None:
    value = ", ".join(f"{name}<a{n}@b.test>" for n, name in enumerate(names))
    parsed = parse_addresses(value.encode())
    assert parsed.is_exact
    assert parsed.entries == tuple(
        Mailbox(name.strip(' "').encode(), b"a%d" % n, b"b.test") for n, name in enumerate(names)
    )


SIMPLE = ["Zoe", " ", "<", ">", "@", "a", "b.test", ".", "=?u?q?a?=", "\t", "-", "(", "\xe9"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(SIMPLE), max_size=12))
def test_the_short_way_reads_what_the_long_way_reads(pieces: list[str]) -> None:
    value = "".join(pieces).encode("latin-1")
    assert parse_addresses(value) == parse_any(value)


def test_groups_are_told_from_their_members() -> None:
    (group, after) = headers.addresses(b"Equipe: a@b.test;, c@d.test")
    assert group == Group(b"Equipe", (Mailbox(b"", b"a", b"b.test"),))
    assert after == Mailbox(b"", b"c", b"d.test")


@pytest.mark.parametrize(
    ("names", "negate", "expected"),
    [
        (("FROM",), False, b"From: a@b.test\r\n\r\n"),
        (("x-long",), False, b"X-Long: un\r\n\tdeux\r\nX-LONG: fin\r\n\r\n"),
        (("none",), False, b"\r\n"),
        (("x-long",), True, b"From: a@b.test\r\nno colon\r\nSubject : x\r\n\r\n"),
        ((), True, SECTION),
    ],
)
def test_header_fields_keep_their_octets(
    names: tuple[str, ...], negate: bool, expected: bytes
) -> None:
    assert header_fields(SECTION, names, negate) == expected


def test_header_fields_end_with_an_empty_line_also_when_the_section_has_none() -> None:
    assert header_fields(b"A: 1", ("a",)) == b"A: 1\r\n\r\n"
    assert header_fields(b"A: 1", ("b",), negate=True) == b"A: 1\r\n\r\n"
    assert header_fields(b"", ("a",), negate=True) == b"\r\n"
    assert header_fields(b"A: 1\nB: 2\n\n", ("a",), negate=True) == b"B: 2\n\r\n"


LINES = [
    b"From:",
    b"to",
    b"TO :",
    b"\t:",
    b"a\r",
    b" ",
    b"\t",
    b":",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\xe9",
]
NAMES = st.lists(st.sampled_from(["from", "To", "a", "", "to ", "a:", "\xe9", "\xe9:"]), max_size=3)


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=25), NAMES, st.booleans())
def test_header_fields_are_the_octets_of_the_fields_named(
    pieces: list[bytes], names: list[str], negate: bool
) -> None:
    section = b"".join(pieces)
    assert header_fields(section, tuple(names), negate) == _slowly(section, names, negate=negate)


def _slowly(section: bytes, names: list[str], *, negate: bool) -> bytes:
    """The same by cutting `fields` out of what stands before the empty line."""
    stop = 0
    for line in section.split(b"\n"):
        if line in (b"", b"\r"):
            break
        stop += len(line) + 1
    kept, position = b"", 0
    for field in fields(section):
        if negate:
            kept += section[position : field.start]
        if (field.name in {name.lower() for name in names}) is not negate:
            kept += section[field.start : field.end]
        position = field.end
    if negate:
        kept += section[position:stop]
    return kept + (b"\r\n" if kept and not kept.endswith(b"\n") else b"") + b"\r\n"


@pytest.mark.attack
def test_choosing_header_fields_takes_time_in_step_with_the_octets() -> None:
    lines = (b"From: a", b"f" * 200_000, b"a" + b" " * 200_000, *([b" "] * 99_999))
    started = time.process_time()
    assert header_fields(b"\r\n".join(lines), ("from",)) == b"From: a\r\n\r\n"
    assert time.process_time() - started < 1.0


@settings(max_examples=1_000, deadline=None)
@given(
    st.lists(st.sampled_from([*LINES, b"Cc: x", b"\nDate:", b"x-other: "])).map(b"".join),
    st.sets(st.sampled_from(LISTED)),
)
def test_fields_of_a_list_are_found_in_the_listed_ones(section: bytes, names: set[str]) -> None:
    present, kept = listed_fields(section)
    wanted = listed_bits(names)
    assert wanted is not None
    expected = header_fields(section, tuple(names))
    assert header_fields(kept, tuple(names)) == expected
    if not present & ~wanted:
        assert kept == expected
    assert listed_bits({*names, "x-other"}) is None
