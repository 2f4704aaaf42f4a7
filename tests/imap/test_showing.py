"""What a FETCH tells when messages go, rights end or the store fails while it is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from mssmtp.errors import Damaged, StorageUnavailable
from mssmtp.identity.refusals import BadCredentials
from mssmtp.imap import effects, fetch, streams
from mssmtp.mail import MailboxId, Role, Uid
from mssmtp.message import stub
from mssmtp.storage import Reading
from tests.imap.world import SERVICE, Client, World, message

LARGE = 200_000
"""Octets of a letter that is streamed."""


def large(number: int, octets: int = LARGE) -> bytes:
    head = message(number)
    return head + b"a" * (octets - len(head))


def discard(world: World, *uids: int) -> None:
    """Somebody else takes letters out of Zoé's INBOX."""
    inbox = world.store.read(lambda r: r.mailbox(world.zoe.id, "INBOX")).result()
    assert inbox is not None
    world.store.write(lambda w: w.discard(inbox.id, [Uid(uid) for uid in uids])).result()


def before_block(
    client: Client, number: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have `act` happen before that block of a streamed letter is read, counted from 1."""
    perform = client._perform
    blocks = iter(range(1, 1_000))

    def performed(effect: effects.Effect) -> bool:
        if isinstance(effect, effects.Read) and _is_of_stream(effect) and next(blocks) == number:
            act()
        return perform(effect)

    monkeypatch.setattr(client, "_perform", performed)


def _is_of_stream(effect: effects.Read[Any]) -> bool:
    return isinstance(getattr(effect.query, "__self__", None), streams.Stretch | streams.Decoded)


def unavailable() -> None:
    raise StorageUnavailable


# ---------------------------------------------------------------- letters that go meanwhile


@pytest.mark.parametrize("by_uid", [False, True])
def test_a_large_letter_that_goes_before_its_first_block_is_not_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch, by_uid: bool
) -> None:
    """A program that keeps copies would show the words about a damaged letter in its place for
    ever, and its owner would look for a backup of what a colleague has filed."""
    for number in (1, 2):
        world.deliver(large(number))
    client = world.client()
    before_block(client, 1, lambda: discard(world, 1), monkeypatch)
    if by_uid:
        lines = client.ok("UID FETCH 1:2 BODY.PEEK[]")
    else:
        lines = client.no("FETCH 1:2 BODY.PEEK[]", "EXPUNGEISSUED")
    assert "Subject: Message illisible" not in lines
    assert sum("BODY[] NIL" in line for line in lines) == 1
    assert sum("BODY[] {200000}" in line for line in lines) == 1


def test_a_file_that_goes_while_it_is_opened_was_that_of_a_letter_that_went(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot of the block is older than the removal, the file is not."""
    world.deliver(large(1))
    client = world.client()
    body = Reading.body

    def overtaken(self: Reading, *given: Any) -> bytes:
        discard(world, 1)
        return body(self, *given)

    monkeypatch.setattr(Reading, "body", overtaken)
    lines = client.no("FETCH 1 BODY.PEEK[]", "EXPUNGEISSUED")
    assert "* 1 FETCH (BODY[] NIL)" in lines


def test_a_part_put_off_of_a_letter_that_went_is_not_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(large(1, 4_000))
    monkeypatch.setattr(fetch, "BATCH_OCTETS", 1_000)
    client = world.client()
    perform, late = client._perform, fetch.late
    calls: list[int] = []

    def lately(reading: Reading, piece: fetch.Late) -> object:
        calls.append(1)
        return late(reading, piece)

    def performed(effect: effects.Effect) -> bool:
        if isinstance(effect, effects.Read) and calls == [] and client.received.endswith(b"[1] "):
            discard(world, 1)
        return perform(effect)

    monkeypatch.setattr(fetch, "late", lately)
    monkeypatch.setattr(client, "_perform", performed)
    items = "BODY.PEEK[] BODY.PEEK[1] UID FLAGS ENVELOPE RFC822.SIZE"
    lines = client.no(f"FETCH 1 ({items})", "EXPUNGEISSUED")
    assert calls == [1]
    assert stub.DAMAGED.text.splitlines()[0].decode() not in lines
    assert "BODY[1] NIL UID 1 FLAGS (\\Recent) ENVELOPE (" in "\r\n".join(lines)


def test_letters_that_went_are_told_however_full_the_batch_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5530: OK would say that all that was asked for has come."""
    world.fill(6)
    client = world.client()
    discard(world, 2)
    monkeypatch.setattr(fetch, "PORTION_OCTETS", 600)
    monkeypatch.setattr(fetch, "BATCH_OCTETS", 600)
    for items in ("BODY.PEEK[]", "BODY.PEEK[TEXT]"):
        lines = client.no(f"FETCH 1:6 {items}", "EXPUNGEISSUED")
        assert sum(" FETCH (" in line for line in lines) == 5


def test_one_letter_whose_content_is_lost_takes_no_other_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10. Its row is there, its key is not; the others are looked up with it."""
    world.fill(6)
    client = world.client()
    contents = Reading.contents

    def without_second(
        self: Reading, mailbox: MailboxId, uids: Sequence[tuple[int, int]]
    ) -> dict[Uid, Any]:
        found = contents(self, mailbox, uids)
        found.pop(Uid(2), None)
        return found

    monkeypatch.setattr(Reading, "contents", without_second)
    for items in ("BODY.PEEK[]", "(BODY.PEEK[] BODY.PEEK[TEXT])"):
        lines = client.ok(f"FETCH 1:6 {items}")
        assert sum(" FETCH (" in line for line in lines) == 6
        assert sum("Subject: Message illisible" in line for line in lines) == 1


# ---------------------------------------------------------------- a store that fails meanwhile


def test_a_store_that_does_not_answer_is_no_damaged_letter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-79: it will answer again. The connection ends, and the client asks once more."""
    world.deliver(large(1))
    for number in (1, 2):
        client = world.client()
        monkeypatch.setattr(streams, "BLOCK_OCTETS", 100_000)
        before_block(client, number, unavailable, monkeypatch)
        answer = client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        assert not client.is_open
        assert b"illisible" not in answer
        assert b"a OK" not in answer
        assert b"a NO" not in answer


def test_a_refusal_never_stands_in_the_middle_of_a_response(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(large(1, 4_000))
    monkeypatch.setattr(fetch, "BATCH_OCTETS", 1_000)
    for error in (StorageUnavailable(), RuntimeError("a bug")):

        def failing(*_: object, error: Exception = error) -> object:
            raise error

        client = world.client()
        with monkeypatch.context() as patch:
            patch.setattr(fetch, "late", failing)
            answer = client.send(b"a FETCH 1 (BODY.PEEK[] BODY.PEEK[1])\r\n")
        assert not client.is_open
        assert answer.endswith(b" BODY[1] ")


def test_a_letter_that_cannot_be_opened_is_still_a_stub(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10: nothing else would ever come of asking again."""
    world.deliver(large(1))
    client = world.client()

    def damaged(*_: object) -> bytes:
        raise Damaged

    monkeypatch.setattr(Reading, "body", damaged)
    lines = client.ok("FETCH 1 BODY.PEEK[]")
    assert "Subject: Message illisible" in lines


# ---------------------------------------------------------------- rights that end meanwhile


@pytest.mark.attack("ATT-18", "ATT-25")
@pytest.mark.parametrize("octets", [300, LARGE])
def test_att_25_nothing_more_is_fetched_once_the_box_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    """Who asks for a whole box and reads slowly would take it home after having been shut out."""
    world.share(Role.LECTEUR)
    for number in range(8):
        world.deliver(large(number, octets), bal=world.service)
    client = world.client(select=None)
    client.ok(f'SELECT "Other Users/{SERVICE}/INBOX"')
    monkeypatch.setattr(fetch, "PORTION_OCTETS", 600)
    perform = client._perform

    def performed(effect: effects.Effect) -> bool:
        done = perform(effect)
        if isinstance(effect, effects.Send) and b"* 2 FETCH" in client.received:
            with suppress(LookupError):
                close.pop()()
        return done

    def closed() -> None:
        world.clock.advance(client.session.timing.refresh_s)
        account = world.store.read(lambda r: r.account(client.session.principal.login)).result()
        assert account is not None
        world.store.write(lambda w: w.remove_member(world.service.id, account.id)).result()

    close = [closed]
    monkeypatch.setattr(client, "_perform", performed)
    answer = client.send(b"a FETCH 1:8 BODY.PEEK[]\r\n")
    assert close == []
    assert not client.is_open
    assert answer.count(b"* 5 FETCH") == 0
    assert b"a OK" not in answer


@pytest.mark.attack("ATT-18")
def test_att_18_a_letter_is_not_streamed_on_to_whom_was_shut_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 MB at 100 KB/s are ten minutes (SEC-06: within a second)."""
    world.deliver(large(1, 1_000_000))
    monkeypatch.setattr(streams, "BLOCK_OCTETS", 100_000)
    client = world.client()

    def shut_out() -> None:
        world.clock.advance(client.session.timing.refresh_s)
        monkeypatch.setattr(world, "login", refuse)

    def refuse(*_: object) -> None:
        raise BadCredentials

    before_block(client, 3, shut_out, monkeypatch)
    answer = client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert not client.is_open
    assert len(answer) < 400_000
