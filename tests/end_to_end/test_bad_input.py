"""Whatever comes over the wire: a clear refusal, nothing kept, the next honest client served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.mail import letter, mailbox, message_id, peer, say, submission
from tests.end_to_end.wire import DOORS, Wire, begin_starttls, door, imap, open_data, wire
from tests.space import Operator, RunningSpace
from tests.tls.hellos import assert_refuses_weak_hellos

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.attack,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

SIZE = 62_914_560
BLOCK = b"x" * 998 + b"\r\n"


@pytest.fixture(autouse=True)
def honest(space: RunningSpace) -> Iterator[None]:
    """After every attack the next honest client is served, on each kind of door."""
    yield
    to, sender = space.b.doctor(0), space.a.doctor(0)
    with peer(space, space.b, space.guest) as client:
        sent = letter("labo@guest.test", [to])
        assert say(client, "labo@guest.test", [to], sent.octets).data.startswith("250 2.0.0")
    with submission(space, space.a, sender) as client:
        sent = letter(sender, [to])
        assert say(client, sender, [to], sent.octets).data.startswith("250 2.0.0")
    with mailbox(space, space.b, to) as reader:
        assert reader.noop()[0] == b"NOOP completed"


# ---------------------------------------------------------------- certificates


def certificates(space: RunningSpace) -> dict[str, tuple[tuple[str, str] | None, str, str]]:
    """Presented certificate, reverse-path, and the reply to it."""
    hostile = space.operator("hostile").certificate
    b, guest = "x@cabinet-b.test", "x@guest.test"
    return {
        "none": (None, guest, "554 5.7.0"),
        "unlisted operator": (hostile, guest, "554 5.7.1"),
        "name not listed": (space.test_certificate("name_not_listed"), guest, "554 5.7.1"),
        "another operator's": (space.guest, "zoe.tartempion@hopital-a.test", "550 5.7.1"),
        "expired": (space.test_certificate("expired"), b, "554 5.7.5"),
        "revoked": (space.test_certificate("revoked"), b, "554 5.7.5"),
        "wrong CA": (space.test_certificate("other_ca_same_name"), b, "554 5.7.5"),
        "wrong EKU": (space.test_certificate("no_client_use"), b, "554 5.7.5"),
        "sender outside the list": (space.guest, "x@hors-liste.example", "550 5.7.1"),
    }


@pytest.mark.requirement("OP-01", "OP-10", "OP-13")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_peer_that_does_not_fit_is_refused_with_its_reason(
    space: RunningSpace, version: ssl.TLSVersion
) -> None:
    reasons = set()
    for name, (certificate, sender, expected) in certificates(space).items():
        context = space.peer_context(certificate)
        context.minimum_version = context.maximum_version = version
        with wire(space.a.smtp) as one:
            begin_starttls(one)
            one.encrypt(context)
            one.send(b"EHLO mx.guest.test\r\n")
            one.reply()
            one.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{space.a.doctor(0)}>\r\n".encode())
            reply = one.reply()
            assert reply.startswith(expected + " "), f"{name}: {reply}"
            assert re.search(r"[A-Z].{15,} ; .{10,}\.$", reply), f"{name}: {reply}"
            assert one.reply()[0] == "5", name
            reasons.add(reply)
    assert len(reasons) >= 7  # each kind says something of its own


@pytest.mark.requirement("OP-03")
def test_nothing_goes_before_starttls(space: RunningSpace) -> None:
    for port in (space.b.smtp, space.a.submission):
        with wire(port) as one:
            one.reply()
            one.send(b"EHLO mx.guest.test\r\n")
            one.reply()
            for command in (b"MAIL FROM:<x@guest.test>", b"RCPT TO:<x@guest.test>", b"DATA"):
                one.send(command + b"\r\n")
                assert one.reply().startswith("530 5.7.0 "), command
            one.send(b"AUTH PLAIN " + b64encode(b"\0a\0b") + b"\r\n")
            assert one.reply()[:3] in ("502", "530", "538")


# ---------------------------------------------------------------- recipients


@pytest.mark.requirement("OP-13")
def test_an_unknown_recipient_is_refused_on_every_door(space: RunningSpace) -> None:
    for name in DOORS:
        with door(space, name) as (one, sender, to):
            one.send(f"MAIL FROM:<{sender}>\r\n".encode())
            assert one.reply().startswith("250 ")
            unknown = "personne@" + ("cabinet-b.test" if name == "operator" else "hopital-a.test")
            one.send(f"RCPT TO:<{unknown}>\r\n".encode())
            assert one.reply().startswith("550 5.1.1 "), name
            one.send(f"RCPT TO:<{to}>\r\n".encode())
            assert one.reply().startswith("250 "), name


@pytest.mark.requirement("OP-13")
def test_the_operator_door_relays_to_nobody(space: RunningSpace) -> None:
    foreign = ("zoe.tartempion@hopital-a.test", "x@guest.test", "x@hors-liste.example")
    with peer(space, space.b, space.guest) as client:
        assert client.mail("labo@guest.test")[0] == 250
        for recipient in foreign:
            code, text = client.rcpt(recipient)
            assert (code, text[:6]) == (550, b"5.7.1 "), recipient
        assert client.docmd("RCPT", "TO:<@cabinet-b.test:x@hopital-a.test>")[0] == 501
        assert client.docmd("RCPT", "TO:<x%hopital-a.test@cabinet-b.test>")[0] == 550
        assert client.docmd("DATA")[0] == 554


# ---------------------------------------------------------------- sizes


@pytest.mark.requirement("OP-66")
@pytest.mark.parametrize("name", ["operator", "submissions"])
def test_an_unannounced_oversize_is_consumed_refused_and_forgotten(
    space: RunningSpace, name: str
) -> None:
    with door(space, name) as (one, sender, to):
        open_data(one, sender, to)
        one.send(f"From: {sender}\r\n\r\n".encode())
        for _ in range(64):
            one.send(BLOCK * 1_000)
        one.send(b".\r\n")
        assert one.reply().startswith("552 5.3.4 ")
        one.send(f"MAIL FROM:<{sender}> SIZE={SIZE + 1}\r\n".encode())
        assert one.reply().startswith("552 5.3.4 ")
        one.send(f"MAIL FROM:<{sender}> SIZE={SIZE}\r\n".encode())
        assert one.reply().startswith("250 ")


@pytest.mark.requirement("OP-66")
def test_an_append_above_the_limit_is_refused_before_its_literal(space: RunningSpace) -> None:
    account = space.b.doctor(0)
    for announced in (SIZE + 1, 4_294_967_295, 4_294_967_296):
        with imap(space, space.b, "imaps") as one:
            one.send(f"a LOGIN {account} {account.password}\r\n".encode())
            assert one.tagged("a").startswith("a OK")
            one.send(b"b APPEND INBOX {%d}\r\n" % announced)
            assert re.match(r"b (NO \[TOOBIG\]|BAD) ?", one.tagged("b")), announced


# ---------------------------------------------------------------- ambiguous line ends


ENDINGS = {
    "LF dot LF": b"\n.\n",
    "LF dot CRLF": b"\n.\r\n",
    "CRLF dot LF": b"\r\n.\n",
    "CR dot CR": b"\r.\r",
    "CRLF dot CR": b"\r\n.\r",
    "CR dot CRLF": b"\r.\r\n",
    "CRLF dot CR CRLF": b"\r\n.\r\r\n",
    "NUL before dot": b"\r\n\0.\r\n",
    "NUL behind dot": b"\r\n.\0\r\n",
    "bare LF": b"un\ndeux",
    "bare CR": b"un\rdeux",
    "NUL": b"un\0deux",
}


@pytest.mark.requirement("DEF-02")
@pytest.mark.parametrize("name", DOORS)
def test_att_01_no_ending_but_crlf_dot_crlf_smuggles_a_letter(
    space: RunningSpace, name: str
) -> None:
    for kind, ending in ENDINGS.items():
        mark = message_id()
        with door(space, name) as (one, sender, to):
            open_data(one, sender, to)
            inner = f"From: {sender}\r\nMessage-ID: {mark}\r\n\r\npasse\r\n.\r\n"
            one.send(
                f"From: {sender}\r\nMessage-ID: {mark}\r\n\r\ndebut".encode()
                + ending
                + f"MAIL FROM:<{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n{inner}QUIT\r\n".encode()
            )
            said = one.rest()
        assert said.startswith(b"550 5.6.0 "), f"{kind}: {said!r}"
        assert not re.search(rb"^(250|354)", said, re.MULTILINE), f"{kind}: {said!r}"
        with mailbox(space, space.b, to) as client:
            assert client.search(["HEADER", "Message-ID", mark]) == [], kind


def test_the_same_letter_in_crlf_passes(space: RunningSpace) -> None:
    """Control of the test above."""
    for name in DOORS:
        with door(space, name) as (one, sender, to):
            open_data(one, sender, to)
            one.send(f"From: {sender}\r\n\r\nun\r\n..\r\ndeux\r\n.\r\nQUIT\r\n".encode())
            assert re.match(rb"250 2\.0\.0 [^\r]+\r\n221 [^\r]+\r\n$", one.rest()), name


# ---------------------------------------------------------------- headers


@pytest.mark.requirement("DEF-02")
@pytest.mark.parametrize("name", DOORS)
def test_att_07_a_hundred_thousand_headers_are_refused(space: RunningSpace, name: str) -> None:
    with door(space, name) as (one, sender, to):
        open_data(one, sender, to)
        fields = b"".join(b"X-%d: y\r\n" % number for number in range(100_000))
        one.send(f"From: {sender}\r\n".encode() + fields + b"\r\nfin\r\n.\r\n")
        assert one.reply().startswith("554 5.6.0 En-tete de message trop long")
        one.send(b"NOOP\r\n")
        assert one.reply().startswith("250 ")


# ---------------------------------------------------------------- behind STARTTLS


@pytest.mark.requirement("DEF-02", "OP-01")
@pytest.mark.parametrize("behind", ["command", "hello"])
def test_att_02_what_comes_behind_starttls_is_never_executed(
    space: RunningSpace, behind: str
) -> None:
    account = space.b.doctor(0)
    login = f"{account} {account.password}"
    for port, first, injected in (
        (space.b.smtp, b"EHLO x\r\nSTARTTLS\r\n", b"EHLO y\r\nNOOP\r\n"),
        (space.a.submission, b"EHLO x\r\nSTARTTLS\r\n", b"RSET\r\nNOOP\r\n"),
        (space.b.imap, b"a STARTTLS\r\n", f"b LOGIN {login}\r\nc NOOP\r\n".encode()),
    ):
        with wire(port) as one:
            one.line()
            one.send(first + (injected if behind == "command" else b"\x16\x03\x01\x00\x05hello"))
            said = one.rest()
        assert b"b OK" not in said
        assert b"c OK" not in said
        assert said.count(b"250 ") <= 1, said  # of EHLO, before STARTTLS
        assert not said.startswith(b"\x16")
        assert b"\x02\x00" not in said  # no ServerHello


# ---------------------------------------------------------------- literals and lines


def workers(operator: Operator) -> dict[int, int]:
    """Resident octets of each process of an operator's server."""
    mark, found = os.fsencode(operator.config_file), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_ours = mark in (entry / "cmdline").read_bytes()
            except OSError:
                continue  # somebody's process, which has ended meanwhile
            if is_ours:
                pages = int((entry / "statm").read_text().split()[1])
                found[int(entry.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    return found


def growth(before: dict[int, int], after: dict[int, int]) -> int:
    """Octets by which the process grew that grew most. Raises KeyError when one was replaced."""
    return max(octets - before[number] for number, octets in after.items())


@pytest.mark.parametrize("name", ["imap", "imaps"])
def test_att_03_a_literal_of_4_gib_before_login_is_refused_unread(
    space: RunningSpace, name: str
) -> None:
    before = workers(space.b)
    assert len(before) >= 3
    for announced in (b"{4294967295}", b"{4294967296+}", b"{99999999999999999999999}", b"{65536}"):
        with imap(space, space.b, name) as one:
            one.send(b"a LOGIN " + announced + b"\r\n")
            answer = one.line()
            assert not answer.startswith(b"+"), announced
            assert re.match(rb"a (BAD|NO)|\* BYE", answer), answer
            if announced.endswith(b"+}"):
                one.send_until_cut(b"x" * 16_777_216)
    assert growth(before, workers(space.b)) < 16_777_216


@pytest.mark.requirement("DEF-02")
def test_a_command_line_without_end_is_cut(space: RunningSpace) -> None:
    for name in DOORS:
        with door(space, name) as (one, _, _):
            one.send(b"NOOP " + b"x" * 12_288 + b"\r\n")
            assert one.reply().startswith("500 5.5.6 "), name
            one.send(b"NOOP\r\n")
            assert one.reply().startswith("250 "), name
    before = workers(space.b)
    for flooded in (flood_smtp, flood_imap):
        assert flooded(space)
    assert growth(before, workers(space.b)) < 16_777_216


def flood_smtp(space: RunningSpace) -> bool:
    with wire(space.b.smtp) as one:
        one.reply()
        one.send_until_cut(b"EHLO " + b"x" * 33_554_432)
        one.send_until_cut(b"\r\n")
        return one.reply()[:3] in ("", "500", "421")


def flood_imap(space: RunningSpace) -> bool:
    with imap(space, space.b, "imaps") as one:
        one.send_until_cut(b"a NOOP " + b"x" * 33_554_432)
        one.send_until_cut(b"\r\n")
        return bool(re.match(rb"\S+ BAD|\* BYE|$", one.line()))


def test_control_characters_in_imap_commands_are_refused(space: RunningSpace) -> None:
    for line in (b"a LOGIN x\0y z\r\n", b"a LOGIN x\ry z\r\n", b"a LOGIN \xff z\r\n", b"\0\0\r\n"):
        with imap(space, space.b, "imaps") as one:
            one.send(line)
            assert re.match(rb"(a|\*) (BAD|NO|BYE)", one.line()), line


# ---------------------------------------------------------------- wrong passwords


GUESSES = 1_000
SOURCES = 10
NEIGHBOURS = 1 + os.urandom(1)[0] % 250
"""Nobody has guessed from there before, when a space is used again."""
PATIENCE_S = 1.5
HELD_BACK = "no answer yet"
"""The longer a pair of login and address guesses, the later it is answered."""


async def guess(space: RunningSpace, number: int) -> str:
    """One wrong password of Dr A from one of ten loopback addresses; the kind of answer."""
    source = f"127.{NEIGHBOURS}.1.{number % SOURCES + 1}"
    is_imap = number % 2 == 0
    port = space.a.imaps if is_imap else space.a.submissions
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=space.user_context(), server_hostname="localhost",
        local_addr=(source, 0),
    )  # fmt: skip
    try:
        login = space.a.doctor(0).address
        await reader.readline()
        if is_imap:
            writer.write(f"a LOGIN {login} faux-{number}\r\n".encode())
        else:
            response = b64encode(f"\0{login}\0faux-{number}".encode()).decode()
            writer.write(f"EHLO x\r\nAUTH PLAIN {response}\r\n".encode())
        try:
            async with asyncio.timeout(PATIENCE_S if number else None):
                return await answer(reader)
        except TimeoutError:
            return HELD_BACK
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> str:
    """The line that decides."""
    while line := (await reader.readline()).decode():
        if re.match(r"a |\* BYE|[345]\d\d |235", line):
            break
    return line.split(";")[0].strip()


async def test_att_14_a_thousand_wrong_passwords_lock_nobody_out(space: RunningSpace) -> None:
    gate, before = asyncio.Semaphore(400), workers(space.a)

    async def one(number: int) -> str:
        async with gate:
            return await guess(space, number)

    assert re.match(r"a NO \[AUTHENTICATIONFAILED\]", await guess(space, 0))
    answers = Counter(await asyncio.gather(*(one(number) for number in range(GUESSES))))
    assert sum(answers.values()) == GUESSES
    answers.pop(HELD_BACK, None)
    refusal = re.compile(r"a NO \[(AUTHENTICATIONFAILED|UNAVAILABLE)\]|535 5\.7\.8|454 4\.7\.0")
    for said in answers:
        assert refusal.match(said), answers
    assert growth(before, workers(space.a)) < 134_217_728  # eighteen hashing threads: 280 MB
    # The same login from another address, and others from the same: at once, as always.
    sender = space.a.doctor(0)
    with submission(space, space.a, sender, tls=True) as client:
        assert client.noop()[0] == 250
    with mailbox(space, space.a, sender) as reader:
        assert reader.noop()[0] == b"NOOP completed"


# ---------------------------------------------------------------- weak TLS


def starttls_smtp(sock: socket.socket) -> None:
    begin_starttls(Wire(sock))


def starttls_imap(sock: socket.socket) -> None:
    one = Wire(sock)
    one.line()
    one.send(b"s STARTTLS\r\n")
    assert one.tagged("s").startswith("s OK")


@pytest.mark.requirement("OP-04", "OP-05", "CL-06")
@pytest.mark.parametrize("name", ["operator", "submission", "submissions", "imap", "imaps"])
def test_every_door_refuses_weak_hellos(space: RunningSpace, name: str) -> None:
    a = space.a
    port, starttls = {
        "operator": (a.smtp, starttls_smtp),
        "submission": (a.submission, starttls_smtp),
        "submissions": (a.submissions, None),
        "imap": (a.imap, starttls_imap),
        "imaps": (a.imaps, None),
    }[name]
    assert_refuses_weak_hellos("127.0.0.1", port, starttls)


# ---------------------------------------------------------------- afterwards


def test_both_stores_are_sound_after_all_of_it(space: RunningSpace) -> None:
    for operator in (space.a, space.b):
        with operator.store() as store:
            report = store.check()
        assert report.problems == ()
        assert report.counted
