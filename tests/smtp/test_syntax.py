"""Paths and parameters of MAIL and RCPT."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import BadSyntax, NonAsciiAddress, Reply
from mssmtp.mail import Address, DeliverBy, Domain
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import (
    BadArgument,
    Extensions,
    HeldTooLong,
    MailCommand,
    UnknownParameter,
    bdat_command,
    mail_command,
    rcpt_command,
)

PLAIN = Extensions()
WEEK = timedelta(days=7)
ALL = Extensions(
    auth=True, dsn=True, require_tls=True, deliver_by=True, priority=True, longest_hold=WEEK
)
NOW = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)
OWN = Domain("hopital-a.test")
ZOE = Address.parse("zoe.tartempion@hopital-a.test")

TOKENS = [
    "FROM:", "TO:", "<", ">", "@", '"', "\\", ".", " ", "SIZE=", "BODY=8BITMIME", "RET=FULL",
    "NOTIFY=NEVER", "BY=5;R", "HOLDFOR=", "HOLDUNTIL=2026-01-06T00:00:00Z", "MT-PRIORITY=",
    "ORCPT=", "ENVID=", "+0D+0A", ";", "-", "T", "a", "hopital-a.test", "é", "\x00", "=",
    "[127.0.0.1]", "postmaster", "1" * 30,
]  # fmt: skip


def sender(argument: str) -> Address | None:
    return mail_command(argument, PLAIN, NOW).sender


def recipient(argument: str) -> Address:
    return rcpt_command(argument, PLAIN, OWN).address


def test_mail_takes_a_path_in_brackets_in_any_case() -> None:
    assert sender("FROM:<zoe.tartempion@hopital-a.test>") == ZOE
    assert sender("from:<zoe.tartempion@HOPITAL-A.TEST>") == ZOE
    assert sender("From: <zoe.tartempion@hopital-a.test>") == ZOE


def test_the_null_reverse_path_is_none() -> None:
    assert sender("FROM:<>") is None


@pytest.mark.requirement("SEED-54")
def test_quoted_local_parts_and_what_stands_in_them_belong_to_the_path() -> None:
    address = recipient('TO:<"d. \\" > @ e"@hopital-a.test>')
    assert address.local == '"d. \\" > @ e"'


@pytest.mark.requirement("OP-66")
def test_parameters_are_read_in_any_order_and_case() -> None:
    command = mail_command("FROM:<a@b.test> body=8bitmime SIZE=1000", PLAIN, NOW)
    assert command == MailCommand(Address.parse("a@b.test"), 1000, "8BITMIME")


def test_delivery_reports_are_understood_where_announced() -> None:
    command = mail_command("FROM:<a@b.test> RET=HDRS ENVID=ab+2Bc", ALL, NOW)
    assert (command.ret, command.envid) == ("HDRS", "ab+2Bc")
    asked = rcpt_command("TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b.test", ALL, OWN)
    assert asked.notify == frozenset({"SUCCESS", "DELAY"})
    assert asked.orcpt == "rfc822;a@b.test"
    assert rcpt_command("TO:<a@b.test> NOTIFY=NEVER", ALL, OWN).notify == frozenset()
    assert rcpt_command("TO:<a@b.test>", ALL, OWN).notify is None


@pytest.mark.parametrize(
    "argument",
    ["RET=FULL", "ENVID=x", "SMTPUTF8", "AUTH=<>", "REQUIRETLS", "MT-PRIORITY=3"],
)
def test_what_was_not_announced_is_555(argument: str) -> None:
    with pytest.raises(UnknownParameter) as refused:
        mail_command(f"FROM:<a@b.test> {argument}", PLAIN, NOW)
    assert refused.value.reply.code == 555


@pytest.mark.parametrize(
    "argument",
    [
        None, "", "FROM", "FROM:", "FROM:a@b.test", "FROM:<a@b.test", "TO:<a@b.test>",
        "FROM:<a@b.test>x", "FROM:<a@b.test> SIZE", "FROM:<a@b.test> SIZE=-1",
        "FROM:<a@b.test> SIZE=1 SIZE=2", "FROM:<a@b.test> BODY=BINARYMIME",
        "FROM:<a@b.test> SIZE=" + "9" * 21, "FROM:<a@b.test> =x", "FROM:<a@b.test> SIZE=٣",
    ],
)  # fmt: skip
def test_bad_arguments_are_501(argument: str | None) -> None:
    with pytest.raises(BadArgument) as refused:
        mail_command(argument, PLAIN, NOW)
    assert refused.value.reply.code == 501


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("zoe@hopital-a.test.", replies.TRAILING_DOT),
        ("@relay.test:zoe@hopital-a.test", replies.SOURCE_ROUTE),
        ("@a.test,@b.test:zoe@c.test", replies.SOURCE_ROUTE),
    ],
)
def test_trailing_dots_and_routes_are_named_in_the_reply(path: str, reply: object) -> None:
    with pytest.raises(BadSyntax) as refused:
        recipient(f"TO:<{path}>")
    assert refused.value.reply == reply


@pytest.mark.requirement("OP-13")
def test_a_trailing_dot_of_the_sender_is_501_5_1_7() -> None:
    with pytest.raises(BadSyntax) as refused:
        sender("FROM:<zoe@hopital-a.test.>")
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (501, "5.1.7")


@pytest.mark.requirement("OP-67")
@pytest.mark.parametrize("path", ["zoé@hopital-a.test", "zoe@hôpital.test", '"é"@b.test'])
def test_non_ascii_addresses_are_553_5_6_7(path: str) -> None:
    with pytest.raises(NonAsciiAddress) as refused:
        sender(f"FROM:<{path}>")
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (553, "5.6.7")
    with pytest.raises(NonAsciiAddress):
        recipient(f"TO:<{path}>")


@pytest.mark.attack
@pytest.mark.parametrize(
    "path", ['""@b.test', '"\\""@b.test', "@b.test", '"\\"@b.test', '"@b.test']
)
def test_att_12_empty_and_half_quoted_local_parts_are_refused(path: str) -> None:
    with pytest.raises(BadSyntax):
        recipient(f"TO:<{path}>")


def test_postmaster_without_domain_is_ours() -> None:
    assert recipient("TO:<Postmaster>") == Address.parse("postmaster@hopital-a.test")


@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.booleans())
def test_any_text_parses_or_is_bad_syntax(tokens: list[str], announced: bool) -> None:
    text = "".join(tokens)
    replied: list[Reply] = []
    for prefix in ("", "FROM:<", "TO:<a@b.test> "):
        for is_mail in (True, False):
            try:
                if is_mail:
                    mail_command(prefix + text, ALL if announced else PLAIN, NOW)
                else:
                    rcpt_command(prefix + text, ALL if announced else PLAIN, OWN)
            except BadSyntax as error:
                replied.append(error.reply)
    assert all(reply.is_permanent for reply in replied)


@given(st.integers(0, 10**12), st.sampled_from(["7BIT", "8BITMIME"]))
def test_what_is_rendered_is_parsed_again(size: int, body: str) -> None:
    command = mail_command(f"FROM:<{ZOE}> SIZE={size} BODY={body}", PLAIN, NOW)
    assert command == MailCommand(ZOE, size, body)


# ---------------------------------------------------------------- what the sender wishes


@pytest.mark.parametrize(
    ("wish", "field", "value"),
    [
        ("REQUIRETLS", "require_tls", True),
        ("requiretls", "require_tls", True),
        ("MT-PRIORITY=9", "priority", 9),
        ("MT-PRIORITY=-9", "priority", -9),
        ("MT-PRIORITY=0", "priority", 0),
        ("BY=120;R", "deliver_by", DeliverBy(NOW + timedelta(seconds=120), "R")),
        ("BY=-5;nt", "deliver_by", DeliverBy(NOW - timedelta(seconds=5), "N", trace=True)),
        ("BY=0;N", "deliver_by", DeliverBy(NOW, "N")),
        ("HOLDFOR=1", "hold_until", NOW + timedelta(seconds=1)),
        ("HOLDFOR=604800", "hold_until", NOW + WEEK),
        ("HOLDUNTIL=2026-01-05T10:15:01+01:00", "hold_until", NOW + timedelta(seconds=1)),
        ("HOLDUNTIL=2026-01-12T09:15:00Z", "hold_until", NOW + WEEK),
        ("HOLDUNTIL=1999-01-12T09:15:00.5Z", "hold_until", None),
    ],
)
def test_a_wish_is_read_as_its_rfc_writes_it(wish: str, field: str, value: object) -> None:
    assert getattr(mail_command(f"FROM:<a@b.test> {wish}", ALL, NOW), field) == value


@pytest.mark.parametrize(
    "wish",
    [
        "REQUIRETLS=yes", "MT-PRIORITY", "MT-PRIORITY=10", "MT-PRIORITY=+3", "MT-PRIORITY=-0",
        "MT-PRIORITY=3x", "MT-PRIORITY=٣",
        "BY=0;R", "BY=-1;R", "BY=1", "BY=;R", "BY=1;X", "BY=1;RT2", "BY=1234567890;N", "BY",
        "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=01", "HOLDFOR=1234567890", "HOLDFOR",
        "HOLDUNTIL=tomorrow", "HOLDUNTIL=2026-13-01T00:00:00Z", "HOLDUNTIL=2026-01-06",
        "HOLDUNTIL=2026-01-06T00:00:00", "HOLDFOR=5 HOLDUNTIL=2026-01-06T00:00:00Z",
        "HOLDUNTIL=0001-01-01T00:00:00+23:00", "HOLDFOR=60 BY=60;R",
        "ENVID=a+0Ab", "ENVID=" + "x" * 101, "ENVID=+2b", "RET=ALL", "RET=",
    ],
)  # fmt: skip
def test_a_wish_that_its_rfc_does_not_write_so_is_501(wish: str) -> None:
    with pytest.raises(BadArgument):
        mail_command(f"FROM:<a@b.test> {wish}", ALL, NOW)


@pytest.mark.parametrize("wish", ["HOLDFOR=604801", "HOLDUNTIL=2026-01-12T09:15:01Z"])
def test_nothing_is_held_longer_than_ehlo_offers(wish: str) -> None:
    with pytest.raises(HeldTooLong):
        mail_command(f"FROM:<a@b.test> {wish}", ALL, NOW)


@pytest.mark.attack
@pytest.mark.parametrize(
    "wish",
    [
        "NOTIFY=NEVER,SUCCESS", "NOTIFY=SUCCESS,SUCCESS", "NOTIFY=", "NOTIFY", "NOTIFY=ALWAYS",
        "ORCPT=a@b.test", "ORCPT=rfc822;", "ORCPT=;a@b.test", "ORCPT=rfc822;a+0D+0AX-Y:z",
        "ORCPT=rfc822;" + "x" * 500, "ORCPT=rfc822;é",
    ],
)  # fmt: skip
def test_att_09_wishes_of_a_recipient_hold_no_line_ends_nor_contradictions(wish: str) -> None:
    with pytest.raises(BadArgument):
        rcpt_command(f"TO:<a@b.test> {wish}", ALL, OWN)


@pytest.mark.parametrize(("text", "size", "is_last"), [("0", 0, False), ("086 last", 86, True)])
def test_a_chunk_is_a_size_and_perhaps_the_last(text: str, size: int, is_last: bool) -> None:
    chunk = bdat_command(text)
    assert (chunk.size_octets, chunk.is_last) == (size, is_last)


@pytest.mark.attack
@pytest.mark.parametrize(
    "text", [None, "", "LAST", "-1", "1 LAST LAST", "1LAST", "0x10", "1 L", "٣", "1" * 21, "1\t"]
)
def test_att_35_anything_else_is_no_chunk(text: str | None) -> None:
    with pytest.raises(BadArgument):
        bdat_command(text)
