"""Sizes, splits and octets at their edges: an answer or a clean BYE, and work in proportion."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import MailError
from mssmtp.imap.commands import VERBS
from mssmtp.imap.effects import Woken
from mssmtp.imap.framer import Literal, Part
from mssmtp.imap.syntax import Cursor
from tests.imap import hostile
from tests.imap.world import Client, World

SIZES = [0, 1, 1_024, 1_025, 65_536, 65_537, 62_914_560, 62_914_561, 2**31, 2**32, 2**63, 10**30]


# ---------------------------------------------------------------- lines and literals


@pytest.mark.parametrize("more", [0, 1])
def test_a_line_of_64_kib_is_a_command_and_one_octet_more_is_bye(world: World, more: int) -> None:
    """GEN-07: hundreds of UIDs in one command."""
    world.fill(1)
    client = world.client()
    head, tail = b"x UID FETCH 1", b" (FLAGS)"
    uids = b",%07d" % 1 * ((world.limits.imap_line_octets - len(head) - len(tail)) // 8)
    line = head + uids
    line += b"," + b"1" * (world.limits.imap_line_octets + more - len(line) - len(tail) - 1) + tail
    assert len(line) == world.limits.imap_line_octets + more
    heard = client.send(line.replace(b"," + b"1" * 8, b",00000001") + b"\r\n")
    assert client.is_open is not bool(more)
    assert heard.count(b"\r\n") <= 3
    assert (b"BYE" in heard) is bool(more)


@pytest.mark.parametrize("verb", ["APPEND INBOX", "REPLACE 1 INBOX"])
@pytest.mark.parametrize("sign", ["", "+"])
def test_our_own_bug_before_a_letter_is_taken_ends_with_bye(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str, sign: str
) -> None:
    """The octets behind it could be the letter, or the next command: nobody may guess."""
    world.fill(1)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = world.client()
    monkeypatch.setattr("mssmtp.imap.mailboxes.find_target", broken)
    heard = client.send(f"x {verb} {{300000{sign}}}\r\n".encode())
    assert heard.startswith(b"x NO [SERVERBUG]")
    assert b"* BYE [UNAVAILABLE]" in heard
    assert not client.is_open


@pytest.mark.attack
@pytest.mark.parametrize("login", [False, True])
def test_att_03_a_literal_of_any_announced_size_is_answered(world: World, *, login: bool) -> None:
    heads = ("APPEND INBOX ", "APPEND INBOX (\\Seen) ~", "LOGIN ", "SELECT ", "SEARCH SUBJECT ")
    for head, size, sign in product(heads, SIZES, ("", "+")):
        client = world.client() if login else Client(world, secure=True)
        heard = client.send(f"x {head}{{{size}{sign}}}\r\n".encode())
        if not heard:  # it is awaited: what was announced, and nothing after it, is an answer
            heard = client.send(b"a" * size + b"\r\n") if size <= 65_536 else b""
        if not heard:
            heard = client.wake(Woken.TIMEOUT)
            assert not client.is_open
        assert heard.startswith((b"x NO", b"x BAD", b"x OK", b"+ ", b"* ")), (head, size, heard)
        world.clients.remove(client)


@pytest.mark.attack("ATT-27")
def test_att_27_a_search_names_a_thousand_mailboxes_and_no_more(world: World) -> None:
    """Each is looked up: 30,000 of them on one line kept a reading thread for seconds."""
    client = world.client()
    names = [f"n{number}" for number in range(1_000)]
    half, rest = " ".join(names[:500]), " ".join(names[500:])
    client.ok(f"ESEARCH IN (mailboxes ({half}) subtree ({rest})) ALL")
    client.bad(f"ESEARCH IN (mailboxes ({half}) subtree ({rest}) mailboxes one-more) ALL")


@pytest.mark.attack
@given(st.data())
def test_pipelined_commands_are_answered_in_order_however_they_were_cut(
    data: st.DataObject,
) -> None:
    """Around IDLE and DONE as well: iOS sends what follows in the same octets (APL-01)."""
    world = hostile_world()
    client = world.client()
    whole = (
        b"a1 NOOP\r\na2 IDLE\r\nDONE\r\na3 SEARCH SUBJECT {5+}\r\nrendu\r\na4 IDLE\r\nDONE\r\n"
        b"a5 APPEND Drafts {3+}\r\nabc\r\na6 STATUS INBOX (MESSAGES)\r\na7 IDLE\r\ndone\r\n"
        b"a8 LOGOUT\r\n"
    )
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(whole)), max_size=12))), len(whole)]
    heard = b"".join(client.send(whole[a:b]) for a, b in zip(cuts, cuts[1:], strict=False))
    tags = [line[:2] for line in heard.split(b"\r\n") if line[:1] == b"a"]
    assert tags == [b"a%d" % number for number in range(1, 9)]
    assert heard.count(b" OK ") == 8
    assert not client.is_open
    world.clients.remove(client)


_SESSIONS = hostile.Sessions()


def hostile_world() -> World:
    """One for many examples; what they write is checked each time it is made anew."""
    return _SESSIONS.world()


@pytest.mark.attack
def test_a_session_cut_at_any_octet_leaves_no_trace(world: World) -> None:
    """Half-open connections, mid-command: the store is as if the last command had not begun."""
    world.fill(1)
    whole = b"".join(b"p%d %b\r\n" % pair for pair in enumerate(hostile.LEGAL))
    for length in range(0, len(whole), 5):
        client = Client(world, secure=True)
        client.send(whole[:length])
        client.wake(Woken.CLOSED)
        assert not client.is_open
        client.check_answers()
        world.clients.remove(client)
    world.client().ok("NOOP")


# ---------------------------------------------------------------- names


@pytest.mark.attack
@pytest.mark.parametrize("utf8", [False, True])
def test_att_23_a_name_with_any_octet_is_one_mailbox_or_none(world: World, *, utf8: bool) -> None:
    client = world.client(select=None)
    if utf8:
        client.ok("ENABLE UTF8=ACCEPT")
    for octet in range(256):
        for form in (b"{3+}\r\nx%cy", b'"x%cy"'):
            name = form % octet
            heard = client.send(b"c CREATE " + name + b"\r\n")
            assert client.is_open or octet in b"\r\n", heard
            if not client.is_open:
                client = world.client(select=None)
                if utf8:
                    client.ok("ENABLE UTF8=ACCEPT")
                continue
            if b"c OK" in heard:
                tagged, lines = client.command(b'LIST "" ' + name)
                assert tagged.startswith("OK")
                assert octet in b"%*" or len(lines) == 1, lines
                client.ok(b"DELETE " + name)
            else:
                assert b"c NO" in heard or b"c BAD" in heard, heard
                client.send(b"\r\n")


# ---------------------------------------------------------------- time in proportion


def steps(act: Callable[[], object]) -> int:
    """Lines of Python that ran: the same on every machine."""
    count = 0

    def local(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return local

    before = sys.gettrace()
    sys.settrace(local)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


LONG: dict[str, Callable[[int], tuple[Part, ...]]] = {
    "FETCH": lambda n: (b",".join([b"1:2"] * n) + b" (" + b" ".join([b"FLAGS"] * (n // 4)) + b")",),
    "UID STORE": lambda n: (b"1 +FLAGS (" + b" ".join(b"k%d" % (k % 9) for k in range(n)) + b")",),
    "SEARCH": lambda n: (b" ".join([b"SUBJECT x"] * n),),
    "STATUS": lambda n: (b'"' + b"\\\\" * n + b'" (MESSAGES)',),
    "LIST": lambda n: (b'"" (' + b" ".join([b"a%"] * n) + b")",),
    "APPEND": lambda n: (b"INBOX (" + b" ".join([b"\\Seen"] * n) + b") ",),
    "ID": lambda n: (b"(" + b" ".join([b'"a" "b"'] * (n // 40)) + b")",),
    "SORT": lambda n: (b"(" + b" ".join([b"REVERSE DATE"] * (n // 8)) + b") UTF-8 ALL",),
    "LOGIN": lambda n: (b"", Literal(b"a" * n), b" ", Literal(b"b" * n), b""),
}


@pytest.mark.attack
@pytest.mark.parametrize("verb", sorted(LONG))
def test_att_04_a_command_twice_as_long_takes_twice_the_steps(verb: str) -> None:
    def parse(size: int) -> None:
        try:
            VERBS[verb].parse(Cursor(LONG[verb](size)))
        except MailError:
            return

    short, long = steps(lambda: parse(300)), steps(lambda: parse(600))
    assert long <= 2.3 * short + 200


def test_steps_in_proportion_to_the_square_are_seen() -> None:
    def careless(size: int) -> None:
        for outer in range(size):
            for _ in range(outer):
                pass

    assert steps(lambda: careless(600)) > 2.3 * steps(lambda: careless(300)) + 200
