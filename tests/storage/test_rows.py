"""Rows that are written together when all jobs of a group have run: nobody overlooks one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mssmtp.mail import ALL_RIGHTS, Bal
from mssmtp.storage import Letter, Store, Writing
from mssmtp.storage.rows import Rows
from mssmtp.storage.schema import _STATEMENTS, metadata, tables_in
from tests.storage.support import SteppingClock, inbox, message

NOW = SteppingClock().now()
_TABLE = re.compile(r'(?:FROM|JOIN|INTO|UPDATE)\s+"?(\w+)"?')


def grouped(store: Store, jobs: list[Callable[[Writing], Any]]) -> list[Any]:
    """All `jobs` in one commit; what they gave or raised."""
    go = threading.Event()
    first = store.write(lambda _: go.wait(10))
    answers = [store.write(job) for job in jobs]
    go.set()
    assert first.result()
    return [answer.exception() or answer.result() for answer in answers]


def appending(store: Store, bal: Bal, letter: Letter) -> Callable[[Writing], Any]:
    """As APPEND does it: who that is and what he may is looked up in the commit."""

    def job(writing: Writing) -> Any:
        principal = writing.principal(writing.account_of(bal.id).id)  # type: ignore[union-attr]
        assert principal.rights_in(bal.id) == ALL_RIGHTS
        target = writing.mailbox(bal.id, "INBOX")
        assert target is not None
        return writing.append(target.id, letter, frozenset(), NOW)

    return job


def test_every_table_of_a_statement_is_known() -> None:
    assert len(_STATEMENTS) > 300
    for text in _STATEMENTS:
        told = {name for name in _TABLE.findall(text) if name in metadata.tables}
        assert told or " FROM " not in text, text  # the size of a database is of no table
        assert told <= tables_in(text), text


def test_what_a_job_looks_up_elsewhere_leaves_the_rows_of_others_together(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write = Rows.write

    def counted(rows: Rows) -> None:
        if rows._written < len(rows._added):
            written.append(len(rows._added) - rows._written)
        write(rows)

    monkeypatch.setattr(Rows, "write", counted)
    letters = [store.seal(message(str(number))) for number in range(6)]
    assert grouped(store, [appending(store, zoe, letter) for letter in letters]) == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert max(written) == 12, "a row of the message and one of its key, for each of the six"
    assert store.check(deep=True).problems == ()


def test_a_job_sees_what_itself_and_others_of_its_group_have_added(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    first, second = (store.seal(message(name)) for name in ("un", "deux"))

    def looks(writing: Writing) -> list[int]:
        writing.append(box, second, frozenset(), NOW)
        return list(writing.uids(box))

    assert grouped(store, [appending(store, zoe, first), looks]) == [1, [1, 2]]


def test_what_a_job_that_fails_had_written_of_others_is_written_again(
    store: Store, zoe: Bal
) -> None:
    box = inbox(store, zoe)
    first, second, third = (store.seal(message(name)) for name in ("un", "deux", "trois"))

    def fails(writing: Writing) -> None:
        writing.append(box, second, frozenset(), NOW)
        assert writing.uids(box) == [1, 2]
        raise LookupError

    def looks(writing: Writing) -> list[int]:
        return list(writing.uids(box))

    jobs = [appending(store, zoe, first), fails, looks, appending(store, zoe, third)]
    done = grouped(store, jobs)
    assert isinstance(done[1], LookupError)
    assert [done[0], done[2], done[3]] == [1, [1], 2]
    assert store.read(lambda r: r.uids(box)).result() == [1, 2]
    assert store.check(deep=True).problems == ()
