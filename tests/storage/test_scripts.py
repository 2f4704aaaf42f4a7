"""Scripts of a box, choices, and who was answered: stored, sealed, gone with the box."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import BalId
from mssmtp.storage import Store, Writing
from mssmtp.storage.scripts import (
    AUTO_REPLY,
    MAX_SCRIPTS,
    ActiveScript,
    NoSuchScript,
    ScriptExists,
    TooManyScripts,
)
from tests.storage.support import SteppingClock, add_bal, behind, open_new


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts") / "home"


@pytest.fixture(scope="module")
def store(home: Path) -> Iterator[Store]:
    opened = open_new(home)
    yield opened
    assert opened.check(deep=True).problems == ()
    opened.close()


@pytest.fixture(scope="module")
def bal(store: Store) -> BalId:
    return add_bal(store).id


def reacts(store: Store, bal: BalId) -> bool:
    found = store.read(lambda r: r.bal_by_id(bal)).result()
    assert found is not None
    return found.reacts


def test_one_script_at_most_is_active_and_the_box_says_so(store: Store, bal: BalId) -> None:
    for name in ("tri", "été"):
        store.write(lambda w, n=name: w.put_script(bal, n, b"keep;")).result()  # type: ignore[misc]
    assert store.read(lambda r: r.active_script(bal)).result() is None
    assert not reacts(store, bal)
    for name in ("tri", "été"):
        store.write(lambda w, n=name: w.activate_script(bal, n)).result()  # type: ignore[misc]
        active = store.read(lambda r: r.active_script(bal)).result()
        assert active is not None
        assert active.name == name
    assert reacts(store, bal)
    store.write(lambda w: w.put_script(bal, "été", b"stop;")).result()
    found = store.read(lambda r: r.scripts(bal)).result()
    assert [(s.name, s.octets, s.is_active) for s in found] == [
        ("tri", b"keep;", False),
        ("été", b"stop;", True),
    ]
    store.write(lambda w: w.activate_script(bal, "")).result()
    assert not reacts(store, bal)


def test_an_automatic_reply_makes_a_box_react_too(store: Store, bal: BalId) -> None:
    def choose(octets: bytes | None) -> None:
        def job(writing: Writing) -> None:
            writing.prefer("bal", bal, AUTO_REPLY, octets)
            writing.note_reactions(bal)

        store.write(job).result()

    choose(b"{}")
    assert store.read(lambda r: r.preference("bal", bal, AUTO_REPLY)).result() == b"{}"
    assert reacts(store, bal)
    choose(None)
    assert store.read(lambda r: r.preference("bal", bal, AUTO_REPLY)).result() is None
    assert not reacts(store, bal)


def test_names_are_kept_apart(store: Store, bal: BalId) -> None:
    store.write(lambda w: w.put_script(bal, "a", b"keep;")).result()
    store.write(lambda w: w.put_script(bal, "b", b"stop;")).result()
    with pytest.raises(ScriptExists):
        store.write(lambda w: w.rename_script(bal, "a", "b")).result()
    with pytest.raises(NoSuchScript):
        store.write(lambda w: w.rename_script(bal, "none", "c")).result()
    store.write(lambda w: w.activate_script(bal, "a")).result()
    store.write(lambda w: w.rename_script(bal, "a", "c")).result()
    assert store.read(lambda r: r.script(bal, "c")).result().is_active
    with pytest.raises(ActiveScript):
        store.write(lambda w: w.drop_script(bal, "c")).result()
    store.write(lambda w: w.activate_script(bal, "")).result()
    store.write(lambda w: w.drop_script(bal, "c")).result()
    with pytest.raises(NoSuchScript):
        store.read(lambda r: r.script(bal, "c")).result()


@pytest.mark.attack("ATT-28")
def test_att_28_a_box_has_so_many_scripts_and_no_more(store: Store, bal: BalId) -> None:
    def fill(writing: Writing) -> None:
        for number in range(MAX_SCRIPTS + 1):
            writing.put_script(bal, f"n{number}", b"keep;")

    with pytest.raises(TooManyScripts):
        store.write(fill).result()


def test_who_was_answered_is_remembered_until_then(store: Store, bal: BalId) -> None:
    now = SteppingClock().now()
    whom, later = "zoe@hopital-a.test", now + timedelta(days=4)
    for _ in range(2):  # twice is once
        store.write(lambda w: w.remember_answered(bal, whom, later)).result()

    def was(at: timedelta, name: str = whom) -> bool:
        return store.read(lambda r: r.was_answered(bal, name, now + at)).result()

    assert was(timedelta(days=3))
    assert not was(timedelta(days=4))
    assert not was(timedelta(0), "marius@hopital-a.test")
    store.write(lambda w: w.prune(now + timedelta(days=5))).result()
    assert not was(timedelta(days=3))


def test_att_19_only_what_was_sealed_as_active_sorts_mail(
    store: Store, home: Path, bal: BalId
) -> None:
    store.write(lambda w: w.put_script(bal, "ancien", b"discard;")).result()
    db = behind(home)
    db.execute("UPDATE scripts SET active = 1")
    assert store.read(lambda r: r.active_script(bal)).result() is None
    db.execute("UPDATE scripts SET active = 0")
    db.close()


def test_a_box_that_is_shredded_leaves_neither_script_nor_choice(tmp_path: Path) -> None:
    store = open_new(tmp_path / "home")
    bal = add_bal(store).id
    store.write(lambda w: w.put_script(bal, "tri", b"keep;")).result()
    store.write(lambda w: w.prefer("bal", bal, AUTO_REPLY, b"{}")).result()
    store.write(lambda w: w.remember_answered(bal, "x@y.test", SteppingClock().now())).result()
    store.write(lambda w: w.shred_key(bal, "clos")).result()
    db = behind(tmp_path / "home")
    for table in ("scripts", "answered", "preferences"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
    db.close()
    store.close()
