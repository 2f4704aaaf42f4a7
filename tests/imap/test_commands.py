"""What a transcript cannot show: failures of the store, streaming, damaged mail, many octets."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.config import LimitSettings
from mssmtp.errors import Damaged, StorageFull, StorageUnavailable
from mssmtp.imap import fetch, search, streams, values
from mssmtp.imap.effects import Woken
from mssmtp.imap.patterns import matches
from mssmtp.mail import BalState
from mssmtp.message import stub
from mssmtp.storage import Reading, Writing
from mssmtp.storage.bodies import Content
from mssmtp.storage.letters import LetterWriter
from tests.imap.world import SERVICE, ZOE, Client, ManualClock, World, message


def body_of(client: Client, command: str) -> bytes:
    """The literal of a FETCH."""
    answer = client.send(b"b " + command.encode() + b"\r\n")
    found = re.search(rb"\{(\d+)\}\r\n", answer)
    assert found, answer[:200]
    return answer[found.end() : found.end() + int(found[1])]


# ---------------------------------------------------------------- fetching


def test_size_is_the_octets_of_the_body_and_ranges_cut_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GEN-02, for bodies read at once and streamed alike, in one mailbox of ugly messages."""
    random_ = random.Random(7)  # noqa: S311 - repeatable
    tokens = [b"\r\n", b"\n", b"\r", b"a: b", b"\0", b"\xff", b"x" * 50, b"\r\n\r\n", b"--", b" "]
    ugly = [b"".join(random_.choices(tokens, k=random_.randint(1, 30))) for _ in range(40)]
    for octets in ugly:
        world.deliver(octets, "Archive")
    client = world.client(select="Archive")
    for number, octets in enumerate(ugly, 1):
        monkeypatch.setattr(values, "INLINE_OCTETS", random_.choice([0, 40, 10_000]))
        monkeypatch.setattr(streams, "BLOCK_OCTETS", random_.choice([1, 64, 10_000]))
        start, length = random_.randint(0, 300), random_.randint(1, 300)
        assert f"(RFC822.SIZE {len(octets)})" in client.ok(f"FETCH {number} (RFC822.SIZE)")[0]
        assert body_of(client, f"FETCH {number} BODY.PEEK[]") == octets
        assert body_of(client, f"FETCH {number} RFC822") == octets
        header = body_of(client, f"FETCH {number} BODY.PEEK[HEADER]")
        assert header + body_of(client, f"FETCH {number} BODY.PEEK[TEXT]") == octets
        cut = body_of(client, f"FETCH {number} BODY.PEEK[]<{start}.{length}>")
        assert cut == octets[start : start + length]


def test_a_large_body_is_streamed_in_small_pieces(world: World) -> None:
    octets = message(1) + b"".join(b"%0100d\r\n" % n for n in range(20_000))
    world.deliver(octets)
    client = world.client()
    client.largest_send = 0
    assert body_of(client, "FETCH 1 BODY.PEEK[]") == octets
    assert client.largest_send <= streams.BLOCK_OCTETS + 100


def test_many_messages_come_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PORTION_OCTETS", 600)
    world.fill(10)
    client = world.client()
    client.largest_send = 0
    lines = client.ok("FETCH 1:* (UID BODY.PEEK[])")
    assert [f"* {n} FETCH (UID {n} BODY[] {{249}}" for n in range(1, 10)] == [
        line for line in lines if "FETCH" in line
    ][:9]
    assert client.largest_send < 1_200


def test_a_damaged_message_is_a_stub_and_the_others_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10: one poison message never blocks a mailbox."""
    world.fill(3)
    client = world.client()
    body, summaries, text = Content.read, Reading.summaries, Reading._text

    def bad_body(self: Content, start: int = 0, stop: int | None = None) -> bytes:
        if self._row[0] == 2:
            raise Damaged
        return body(self, start, stop)

    def bad_summaries(self: Reading, mailbox: int, uids: Sequence[int]) -> object:
        found = summaries(self, mailbox, uids)  # type: ignore[arg-type]
        return ((uid, b"" if uid == 2 else octets) for uid, octets in found)

    def bad_text(self: Reading, row: tuple[int], *rest: object) -> Iterator[bytes]:
        if row[0] == 2:
            raise Damaged
        return text(self, row, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Content, "read", bad_body)
    monkeypatch.setattr(Reading, "summaries", bad_summaries)
    monkeypatch.setattr(Reading, "_text", bad_text)
    lines = client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[1] EMAILID)")
    assert sum(" FETCH (" in line for line in lines) == 3
    assert sum("Message illisible" in line for line in lines) == 1
    assert any(line.startswith("Ce message ne peut plus") for line in lines)
    assert client.ok("SEARCH TEXT bonjour") == ["* SEARCH 1 3"]
    size = len(stub.DAMAGED.text)
    for octets in (65_536, 10):  # at once, streamed
        monkeypatch.setattr(values, "INLINE_OCTETS", octets)
        lines = client.ok("FETCH 2 (BODY.PEEK[] BODY.PEEK[]<0.7> BODY.PEEK[2] BINARY.SIZE[1])")
        assert "Subject: Message illisible" in lines
        assert f" BODY[]<0> {{7}}\r\nSubject BODY[2] NIL BINARY.SIZE[1] {size})" in "\r\n".join(
            lines
        )


def test_a_literal_that_cannot_be_finished_ends_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(1)
    client = world.client()
    body = Reading.body

    def bad_end(self: Reading, mailbox: int, uid: int, start: int, stop: int) -> bytes:
        if start >= 64:
            raise Damaged
        return body(self, mailbox, uid, start, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(values, "INLINE_OCTETS", 10)
    monkeypatch.setattr(streams, "BLOCK_OCTETS", 64)
    monkeypatch.setattr(Reading, "body", bad_end)
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert not client.is_open


# ---------------------------------------------------------------- appending


@pytest.mark.requirement("OP-66")
def test_a_full_disk_refuses_an_append_and_the_session_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()
    aborted = []
    abort = LetterWriter.abort

    def full(self: LetterWriter, block: bytes) -> None:
        raise StorageFull

    def noted(self: LetterWriter) -> None:
        aborted.append(self)
        abort(self)

    with monkeypatch.context() as patch:
        patch.setattr(LetterWriter, "write", full)
        patch.setattr(LetterWriter, "abort", noted)
        client.no(b"APPEND INBOX {600000+}\r\n" + b"x" * 600_000, "LIMIT")
    assert len(aborted) == 1
    client.ok(b"APPEND INBOX {5+}\r\nhello")


def test_an_append_with_nul_is_refused_and_the_session_goes_on(world: World) -> None:
    client = world.client()
    letter = b"From: x\r\n\r\na\0b\r\n"
    tagged, _ = client.command(b"APPEND Drafts {%d+}\r\n%s" % (len(letter), letter))
    assert tagged.startswith("NO [CANNOT]")
    assert client.ok("STATUS Drafts (MESSAGES)") == ['* STATUS "Drafts" (MESSAGES 0)']


def test_a_failed_commit_refuses_an_append(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = world.client()

    def unavailable(self: Writing, *args: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "append", unavailable)
        client.no(b"APPEND INBOX {5+}\r\nhello", "UNAVAILABLE")
    client.ok("NOOP")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(world: World) -> None:
    client = world.client()
    client.send(b"a APPEND INBOX {1000+}\r\nhello")
    client.wake(Woken.CLOSED)
    assert not client.is_open
    assert world.client().ok("STATUS INBOX (MESSAGES)") == ['* STATUS "INBOX" (MESSAGES 0)']


def test_what_follows_an_append_is_a_message_or_nothing(world: World) -> None:
    """GEN-04: the command ends with CRLF, and the octets of all that it announces are taken."""
    client = world.client()
    for rest in (b" there", b"{6+}\r\nbonjou", b" (\\Seen {6+}\r\nbonjou", b" UTF8 (~{2+}\r\nhi)"):
        heard = client.send(b"a APPEND INBOX {5+}\r\nhello" + rest + b"\r\nb NOOP\r\n")
        assert b"a BAD" in heard
        assert b"b OK" in heard
    assert client.ok("STATUS INBOX (MESSAGES)") == ['* STATUS "INBOX" (MESSAGES 0)']


# ---------------------------------------------------------------- literals and limits


@pytest.mark.attack
@pytest.mark.parametrize(("limit", "is_refused"), [(1_024, True), (1 << 40, False)])
def test_att_03_the_limit_before_login_is_what_refuses(
    world: World, limit: int, *, is_refused: bool
) -> None:
    """The second case is the weakened build: without the limit the announcement is accepted."""
    world.limits = LimitSettings(imap_prelogin_literal_octets=limit)
    client = Client(world, secure=True)
    heard = client.send(b"a LOGIN {4294967296}\r\n")
    assert (b"TOOBIG" in heard) is is_refused
    assert (b"+ " in heard) is not is_refused


def test_a_literal_too_big_after_login_is_counted_and_forgotten(world: World) -> None:
    client = world.client()
    heard = client.send(b"a SEARCH TEXT {70000+}\r\n" + b"x" * 70_000 + b"\r\nb NOOP\r\n")
    assert b"a NO [TOOBIG]" in heard
    assert b"b OK" in heard
    heard = client.send(b"a SEARCH TEXT {70000}\r\nb NOOP\r\n")
    assert heard.startswith(b"a NO [TOOBIG]")
    assert b"b OK" in heard
    assert b"BYE" in client.send(b"a SEARCH TEXT {4294967296+}\r\n")
    assert not client.is_open


def test_a_long_command_line_passes(world: World) -> None:
    """GEN-07: hundreds of UIDs in one command."""
    world.fill(1)
    client = world.client()
    many = ",".join(str(n) for n in range(1, 13_000, 1) if n % 2)[:60_000].rpartition(",")[0]
    assert len(client.ok(f"UID FETCH {many} (FLAGS)")) == 1


@pytest.mark.attack
def test_att_27_thousands_of_empty_literals_are_refused_early(world: World) -> None:
    client = world.client()
    heard = client.send(b"a SEARCH TEXT" + b" {0+}\r\n" * 10_000 + b"\r\nb NOOP\r\n")
    assert b"a NO [TOOBIG]" in heard
    assert b"b OK" in heard
    client.ok(b"SEARCH" + b" TEXT {0+}\r\n" * 400)


@pytest.mark.attack
def test_att_27_a_long_set_costs_one_look_a_message(world: World) -> None:
    world.fill(9)
    client = world.client()
    odd = ",".join(str(number) for number in range(1, 16_000, 2))
    assert client.ok(f"SEARCH NOT UID {odd}") == ["* SEARCH 2 4 6 8"]
    assert client.ok("SEARCH NOT 2:3,5,8:9") == ["* SEARCH 1 4 6 7"]


@pytest.mark.attack
def test_att_27_patterns_cost_no_more_than_their_length(world: World) -> None:
    name = b"a" * 250
    assert not matches(b"*a" * 200 + b"b", name)
    assert not matches(b"%a" * 200 + b"b", name)
    assert matches(b"*%" * 100, name)


@given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=8))
def test_patterns_match_as_their_regular_expression(pattern: str, name: str) -> None:
    expected = re.compile(
        "".join(".*" if c == "*" else "[^/]*" if c == "%" else re.escape(c) for c in pattern)
    )
    assert matches(pattern.encode(), name.encode()) is bool(expected.fullmatch(name))


# ---------------------------------------------------------------- sessions


@pytest.mark.attack
def test_att_18_a_closed_account_loses_its_open_session(world: World) -> None:
    client = world.client()
    world.closed.add(ZOE)
    client.ok("NOOP")  # within a second of the last look
    world.clock.advance(1.0)
    assert b"* BYE [EXPIRED]" in client.send(b"a FETCH 1:* FLAGS\r\n")
    assert not client.is_open


@pytest.mark.requirement("CL-34")
def test_special_mailboxes_are_there_for_every_box(world: World) -> None:
    found = world.client().ok('LIST "" *')
    for use in ("Archive", "Drafts", "Junk", "Sent", "Trash"):
        assert any(f"\\{use})" in line and f'"{use}"' in line for line in found)


def test_an_idle_client_hears_something_and_is_sent_away_only_at_its_limit(world: World) -> None:
    """GEN-08."""
    client = world.client()
    client.send(b"a IDLE\r\n")
    assert client.wake(Woken.TIMEOUT) == b"* OK Still here\r\n"
    assert client.is_open
    client.send(b"DONE\r\n")
    assert client.wake(Woken.TIMEOUT).startswith(b"* BYE")
    assert not client.is_open


def test_wrong_passwords_are_answered_late(world: World) -> None:
    client = Client(world, secure=True)
    client.no(f"LOGIN {ZOE} wrong", "AUTHENTICATIONFAILED")
    assert client.paused_s == [2.0]


def test_no_octet_of_a_message_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client = world.client()
    client.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(message(1)), message(1)))
    client.ok("FETCH 1 (ENVELOPE BODY[])")
    client.bad("SEARCH SUBJECT")
    for secret in ("Compte rendu", "Bonjour", "sesame", "tartempion"):
        assert secret not in caplog.text


@pytest.mark.attack
def test_att_25_a_suspended_box_is_gone_at_the_next_command(world: World) -> None:
    world.share()
    inside, beside = world.client(), world.client()
    box = f'"Other Users/{SERVICE}/INBOX"'
    inside.ok(f"SELECT {box}")
    world.store.write(lambda w: w.set_bal_state(world.service.id, BalState.SUSPENDED)).result()
    assert b"* BYE [UNAVAILABLE]" in inside.send(b"a NOOP\r\n")
    assert not inside.is_open
    beside.no(f"SELECT {box}", "NONEXISTENT")
    beside.no(f"APPEND {box} {{2+}}\r\nhi", "TRYCREATE")
    assert not any("Other Users" in line for line in beside.ok('LIST "" *'))


def test_two_hundred_status_commands_look_at_no_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R02: counters come from the mailbox's own row."""
    client = world.client()
    monkeypatch.setattr(Reading, "messages", None)
    for _ in range(200):
        client.ok("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")


def test_a_long_search_says_that_it_is_still_searching(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9585: INPROGRESS between whole responses."""
    world.fill(3)
    client = world.client()
    monkeypatch.setattr(search, "ROWS", 1)
    ticks = count(0, 3)
    monkeypatch.setattr(ManualClock, "monotonic", lambda self: next(ticks))
    heard = client.ok("SEARCH ALL")
    progress = r'\* OK \[INPROGRESS \("T\d+" (NIL NIL|1 3|2 3)\)\] Still searching'
    assert heard[1:] == ["* SEARCH 1 2 3"]
    assert re.fullmatch(progress, heard[0])
    for command in ("THREAD REFERENCES UTF-8 ALL", "SORT (DATE) UTF-8 ALL"):
        *said, answer = client.ok(command)
        assert answer.startswith("* " + command[:4])
        assert said
        assert all(re.fullmatch(progress, line) for line in said)
