"""A hospital's table on a header section: the addresses of seven fields and no other octet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Address
from mssmtp.message.aliases import NAMED_FIELDS, Aliases, BadAliases, rewritten

TABLE = Aliases.parse(
    b"usuelle;mssante\na.b@chu.example;x@chu.test\nc@chu.example;long.name@chu.test\n"
)


def outward(text: str) -> str:
    return rewritten(text.encode(), TABLE.outward).header.decode()


@pytest.mark.requirement("OP-63", "DEF-19")
@pytest.mark.parametrize("field", sorted(NAMED_FIELDS))
def test_the_seven_fields_are_rewritten(field: str) -> None:
    name = field.title()
    assert (
        outward(f"{name}: Dr B <a.b@chu.example>\r\n\r\n") == f"{name}: Dr B <x@chu.test>\r\n\r\n"
    )


@pytest.mark.requirement("OP-63", "DEF-19", "CL-62")
@pytest.mark.parametrize(
    "field",
    [
        "Subject", "Bcc", "Message-ID", "In-Reply-To", "References", "Original-Recipient",
        "Resent-From", "Resent-To", "X-MSS-NIL", "Received", "Return-Path", "Comments", "X-From",
    ],
)  # fmt: skip
def test_no_other_field_is_touched(field: str) -> None:
    section = f"{field}: <a.b@chu.example>\r\n\r\n"
    assert outward(section) == section


@pytest.mark.requirement("OP-63")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.b@chu.example", "x@chu.test"),
        ("A.B@CHU.Example", "x@chu.test"),
        ('"a.b"@chu.example', "x@chu.test"),
        ('"a.b@chu.example" <a.b@chu.example>', '"a.b@chu.example" <x@chu.test>'),
        ("a.b@chu.example <a.b@chu.example>", "a.b@chu.example <x@chu.test>"),
        ("(a.b@chu.example) a.b@chu.example (c)", "(a.b@chu.example) x@chu.test (c)"),
        ("d@else.example,\r\n\t=?utf-8?q?=C3=A9?= <c@chu.example>,\r\n c@chu.example",
         "d@else.example,\r\n\t=?utf-8?q?=C3=A9?= <long.name@chu.test>,\r\n long.name@chu.test"),
        ("Service: a.b@chu.example, z@chu.example;", "Service: x@chu.test, z@chu.example;"),
        ("<@relay.example:a.b@chu.example>", "<@relay.example:x@chu.test>"),
        ("a.b (c) @ (d) chu.example", "x (c) @ (d) chu.test"),
        ("xa.b@chu.example", "xa.b@chu.example"),
        ("a.b@chu.example.org", "a.b@chu.example.org"),
        ("é <a.b@chu.example>", "é <x@chu.test>"),
        ('"unclosed <a.b@chu.example>', '"unclosed <a.b@chu.example>'),
        ("<a.b@chu.example", "<x@chu.test"),
    ],
)  # fmt: skip
def test_only_the_address_is_replaced(before: str, after: str) -> None:
    assert outward(f"To: {before}\r\nSubject: s\r\n\r\n") == f"To: {after}\r\nSubject: s\r\n\r\n"


TOKENS = ["a.b@chu.example", "x@chu.test", "é", "<", ">", ",", ";", ":", "@", '"', "\\", "(", ")",
          " ", "\r\n ", "\r\n", "To:", "Cc:", "X:", "[", "]", "."]  # fmt: skip


@pytest.mark.requirement("OP-63")
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_there_and_back_nothing_else_has_changed(tokens: list[str]) -> None:
    """Whatever is written: what a table changes, another of the same lengths shows to be all."""
    header = ("To: " + "".join(tokens)).encode()
    ours, theirs = Address.parse("a.b@chu.example"), Address.parse("Q@chu.example")
    there = rewritten(header, {ours: theirs}.get)
    back = rewritten(there.header, {theirs: ours}.get)
    assert there.header.count(b"Q@") <= sum(there.replaced.values())
    assert back.header.replace(b'"a.b"', b"a.b") == header.replace(b'"a.b"', b"a.b")


@pytest.mark.attack("ATT-27")
def test_att_27_twice_the_input_is_twice_the_work() -> None:
    """Nothing in the patterns goes back: each octet of hostile values is matched once."""
    for hostile in ('"\\', "(", "<", '"', "a@", "[", "(\\", "@,"):
        header = b"To: " + hostile.encode() * 120_000 + b"\r\n\r\n"
        assert rewritten(header, TABLE.outward).header == header


@pytest.mark.requirement("DEF-19")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a@b.example;c@d.test\na@b.example;e@d.test\n", "pair 2: a@b.example stands in two"),
        ("a@b.example;c@d.test\nf@b.example;C@d.test\n", "C@d.test stands in two"),
        ("a@b.example;c@d.test\nc@d.test;e@d.test\n", "at once"),
        ("a@b.example\n", "line 1 is not usual;mssante"),
        ("a@b.example;c@d.test;e@f.test\n", "line 1 is not"),
        ("a@b.example;c d@e\n", "line 1 holds no proper address"),
        ("é@b.example;c@d.test\n", "line 1 holds no proper address"),
    ],
)
def test_a_table_that_is_not_one_to_one_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadAliases, match=says):
        Aliases.parse(text.encode())


def test_comments_titles_and_separators_of_spreadsheets_are_read() -> None:
    table = Aliases.parse(
        "\ufeffAdresse;MSSanté\r\n# essai\r\n\r\n"
        '"a@b.example";"c@d.test"\r\ne@b.example\tf@d.test\r\n'.encode()
    )
    assert len(table) == 2
    assert table.inward(Address.parse("F@d.test")) == Address.parse("e@b.example")
