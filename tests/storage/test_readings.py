"""Who has read what, as rows: many letters in one, each once, none lost by a bad row (DEF-06)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import Damaged
from mssmtp.mail import AccountId, BalId, MailboxId, Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, Writing
from mssmtp.storage.number_sets import MOST, packed, unpacked
from mssmtp.storage.readings import ReadingKind
from mssmtp.storage.view import ranges
from tests.schema_once import MIGRATIONS
from tests.storage.support import (
    SteppingClock,
    accept,
    add_bal,
    behind,
    inbox,
    message,
    open_new,
    read_by,
    reopen,
    settings,
    tables_of_0009,
)

ZOE, LUC = AccountId(1), AccountId(2)
DAY_US = 86_400_000_000
NUMBERS = st.sets(
    st.integers(1, 300) | st.integers(1, 1 << 40), min_size=1, max_size=60
) | st.builds(lambda first, count: set(range(first, first + count)), st.integers(1, 9), st.just(40))


@given(NUMBERS.map(sorted))
def test_a_set_of_numbers_survives_being_kept(numbers: list[int]) -> None:
    first, last, octets = packed(numbers)
    assert (first, last) == (numbers[0], numbers[-1])
    assert list(unpacked(first, last, octets)) == numbers


@given(NUMBERS.map(sorted), st.data())
def test_damage_of_a_set_is_told(numbers: list[int], data: st.DataObject) -> None:
    first, last, octets = packed(numbers)
    with pytest.raises(Damaged):
        unpacked(first, first - 1, octets)
    with pytest.raises(Damaged):
        unpacked(first, first + MOST, octets)
    for wrong in (b"\0", b"\3\1\1\1", b"\1\0", b"\2\0"):
        with pytest.raises(Damaged):
            unpacked(first, last, wrong)
    if octets:
        cut = data.draw(st.integers(1, len(octets) - 1))
        with pytest.raises(Damaged):
            unpacked(first, last, octets[:cut])


def test_what_came_one_after_the_other_is_kept_as_its_two_ends() -> None:
    assert packed(range(7, 7 + MOST)) == (7, 6 + MOST, b"")
    assert len(packed(range(0, 2 * MOST, 2))[2]) == MOST
    none: list[int] = []
    for wrong in (none, range(MOST + 1)):
        with pytest.raises(ValueError, match="a set of"):
            packed(wrong)


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def store(home: Path, clock: SteppingClock) -> Store:
    """A box with nine letters; every second of all is of another box."""
    made = open_new(home, clock)
    zoe, other = add_bal(made), add_bal(made, "luc@hopital-a.test")
    for number in range(9):
        for bal in (zoe, other):
            accept(made, made.seal(message(str(number))), [bal])
    return made


def note(store: Store, uids: list[int], kind: ReadingKind, account: AccountId = ZOE) -> None:
    """Somebody has fetched or seen messages of the first INBOX; it is written."""
    inbox_id = inbox(store, store.read(lambda r: r.bals()[0]).result())
    store.write(lambda w: read_by(w, account, inbox_id, uids, kind)).result()
    store.write(lambda w: w.record_readings()).result()


def told(store: Store, most: int = 10_000) -> list[tuple[str, int, int]]:
    """(kind, account, letter) of that box, in order."""
    bal = store.read(lambda r: r.bals()[0]).result()
    start = SteppingClock().now()
    found = store.read(lambda r: r.reading_events(bal.id, start, most)).result()
    assert all((event.envelope is None) == (event.message > 18) for event in found)
    assert [event.at for event in found] == sorted(event.at for event in found)
    return [(event.kind, event.account, event.message) for event in found]


def rows(home: Path) -> int:
    with closing(behind(home)) as db:
        return int(db.execute("SELECT count(*) FROM readings").fetchone()[0])


@pytest.mark.requirement("DEF-06")
def test_what_is_fetched_at_once_is_one_row_and_each_letter_stands_once(
    store: Store, home: Path, clock: SteppingClock
) -> None:
    note(store, [1, 2, 5, 9], "releve")
    assert rows(home) == 1
    clock.advance(timedelta(seconds=5))
    note(store, list(range(1, 10)), "releve")
    assert rows(home) == 2
    note(store, [2, 3], "releve")
    assert rows(home) == 2
    first, second = [1, 3, 9, 17], [5, 7, 11, 13, 15]
    assert told(store) == [("releve", ZOE, letter) for letter in first + second]
    note(store, [1], "lu")
    note(store, [1], "releve", LUC)
    clock.advance(timedelta(days=1))
    note(store, [1], "releve")
    of_letter = [each for each in told(store) if each[2] == 1]
    assert of_letter == [("releve", 1, 1), ("lu", 1, 1), ("releve", 2, 1), ("releve", 1, 1)]
    assert told(store, 5) == told(store)[:5]
    assert store.check().problems == ()
    store.close()


@pytest.mark.requirement("DEF-06")
def test_a_bad_row_hides_no_other_and_stops_nothing(store: Store, home: Path) -> None:
    note(store, [1, 3, 9], "releve")
    with closing(behind(home)) as db:
        assert db.execute("UPDATE readings SET octets = zeroblob(2)").rowcount == 1
    note(store, [1, 2, 3, 4], "releve")
    note(store, [9], "lu", LUC)
    assert not store.noted
    assert sorted(told(store)) == [("lu", LUC, 17)] + [
        ("releve", ZOE, letter) for letter in (1, 3, 5, 7, 17)
    ]
    (problem,) = store.check().problems
    assert problem.endswith("(releve, 1) is damaged")
    store.close()


def test_what_is_noted_of_a_box_that_is_gone_stops_nothing(store: Store) -> None:
    store.noted.add(ZOE, BalId(99), [1], "lu", SteppingClock().now())
    note(store, [1, 99], "lu")
    assert told(store) == [("lu", ZOE, 1)]
    store.close()


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize("end", ["moved", "expunged", "deleted"])
def test_what_is_gone_before_it_is_written_was_read_nevertheless(
    store: Store, home: Path, clock: SteppingClock, end: str
) -> None:
    """Another process takes it away, of whose memory this one knows nothing."""
    bal = store.read(lambda r: r.bals()[0]).result()

    def prepare(writing: Writing) -> tuple[MailboxId, MailboxId]:
        made, archive = (writing.create_mailbox(bal.id, name) for name in ("Suivi", "Vu"))
        writing.copy(inbox_id, [Uid(1), Uid(4), Uid(9)], made.id)
        return made.id, archive.id

    inbox_id = inbox(store, bal)
    made, archive = store.write(prepare).result()
    store.write(lambda w: read_by(w, ZOE, made, [1, 3], "releve")).result()

    def take_away(writing: Writing) -> None:
        if end == "moved":
            writing.move(made, [Uid(1), Uid(2), Uid(3)], archive)
        elif end == "expunged":
            writing.discard(made, [Uid(1), Uid(2), Uid(3)])
        writing.delete_mailbox(bal.id, "Suivi")

    with closing(Store(settings(home), clock, SystemEntropy(), worker="another")) as other:
        other.write(take_away).result()
    store.write(lambda w: w.record_readings()).result()
    assert told(store) == [("releve", ZOE, 1), ("releve", ZOE, 17)]
    assert store.check().problems == ()
    store.close()


@pytest.mark.parametrize("uids", [[], [5], range(1, 10), [1, 2, 4, 6, 7, 99], [9, 7, 5, 3, 1, 12]])
def test_letters_are_found_by_scattered_uids(store: Store, uids: Sequence[int]) -> None:
    box = inbox(store, store.read(lambda r: r.bals()[0]).result())
    found = store.read(lambda r: r.letters_of(box, ranges(uids))).result()
    assert found == {2 * uid - 1 for uid in uids if uid < 10}
    store.close()


def test_many_more_than_a_row_holds_are_several(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.storage.readings.MOST", 4)
    note(store, list(range(1, 10)), "lu")
    assert rows(home) == 3
    assert len(told(store)) == 9
    store.close()


@pytest.mark.requirement("OP-77")
def test_rows_of_one_letter_each_are_put_together_and_say_the_same(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schema 0009 had a row for each letter."""
    bal = store.read(lambda r: r.bals()[0]).result()
    accept(store, store.seal(message("encore")), [bal])
    store.write(lambda w: w.discard(inbox(store, bal), [Uid(10)])).result()
    store.close()
    from mssmtp.storage import database, postgres

    for module in (database, postgres):
        monkeypatch.setattr(module, "run_migrations", MIGRATIONS)
    day, at = 20_513, 20_513 * DAY_US + 9
    was = [
        (bal.id, day + later, letter, account, kind, at + later * DAY_US)
        for later, account, kind, letters in (
            (0, ZOE, "releve", (1, 2, 3, 4, 19)),
            (0, ZOE, "lu", (1, 9)),
            (0, LUC, "lu", (3,)),
            (3, ZOE, "releve", (1, 3)),
        )
        for letter in letters
    ]
    with closing(behind(home)) as db:
        tables_of_0009(db)
        for values in was:
            db.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?)", values)
        db.execute("UPDATE alembic_version SET version_num = '0009'")
    again = reopen(home)
    found = again.read(lambda r: r.reading_events(bal.id, SteppingClock().now())).result()
    assert [(event.message, event.account, event.kind) for event in found] == [
        (letter, account, kind)
        for _, _, letter, account, kind, _ in sorted(was, key=lambda row: (row[5], *row[2:5]))
    ]
    assert again.check().problems == ()
    again.close()
    assert rows(home) == 4
