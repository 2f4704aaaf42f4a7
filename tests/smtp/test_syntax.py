"""Paths and parameters of MAIL and RCPT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import BadSyntax, NonAsciiAddress, Reply
from mssmtp.mail import Address, Domain
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import (
    BadArgument,
    Extensions,
    MailCommand,
    UnknownParameter,
    mail_command,
    rcpt_command,
)

PLAIN = Extensions()
ALL = Extensions(auth=True, dsn=True)
OWN = Domain("hopital-a.test")
ZOE = Address.parse("zoe.tartempion@hopital-a.test")

TOKENS = [
    "FROM:", "TO:", "<", ">", "@", '"', "\\", ".", " ", "SIZE=", "BODY=8BITMIME", "RET=FULL",
    "NOTIFY=NEVER", "a", "hopital-a.test", "é", "\x00", "=", "[127.0.0.1]", "postmaster", "1" * 30,
]  # fmt: skip


def sender(argument: str) -> Address | None:
    return mail_command(argument, PLAIN).sender


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
    command = mail_command("FROM:<a@b.test> body=8bitmime SIZE=1000", PLAIN)
    assert command == MailCommand(Address.parse("a@b.test"), 1000, "8BITMIME")


def test_delivery_reports_are_understood_where_announced() -> None:
    command = mail_command("FROM:<a@b.test> RET=HDRS ENVID=ab+2Bc", ALL)
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
        mail_command(f"FROM:<a@b.test> {argument}", PLAIN)
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
        mail_command(argument, PLAIN)
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
                    mail_command(prefix + text, ALL if announced else PLAIN)
                else:
                    rcpt_command(prefix + text, ALL if announced else PLAIN, OWN)
            except BadSyntax as error:
                replied.append(error.reply)
    assert all(reply.is_permanent for reply in replied)


@given(st.integers(0, 10**12), st.sampled_from(["7BIT", "8BITMIME"]))
def test_what_is_rendered_is_parsed_again(size: int, body: str) -> None:
    command = mail_command(f"FROM:<{ZOE}> SIZE={size} BODY={body}", PLAIN)
    assert command == MailCommand(ZOE, size, body)
