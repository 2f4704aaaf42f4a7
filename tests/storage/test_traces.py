"""Functional traces and administrators: what is kept, for how long, and that the database alone
makes neither (OP-71 to OP-73, ATT-19)."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import AccountId, Actor, Address, AdminLevel, Bal, StructureId
from mssmtp.storage import Administrator, AdministratorExists, Reading, Store, Writing
from mssmtp.storage import traces as traces_room
from tests.storage.support import SteppingClock, behind

DSI = Actor(AdminLevel.STRUCTURE, "Zoé Dési", structure=StructureId(7))
FINGERPRINT = "ab" * 32


def test_a_trace_has_author_time_action_request_and_answer(
    store: Store, clock: SteppingClock, zoe: Bal
) -> None:
    account = AccountId(3)

    def act(writing: Writing) -> None:
        writing.trace("send", "zoe@hopital-a.test", "à b@b.test", "250 2.0.0", account=account)
        writing.trace("delete", "zoe@hopital-a.test", "3 messages", bal=zoe.id, account=account)
        writing.trace("administration", "dsi", "bal.suspend", structure=StructureId(7))

    store.write(act).result()
    found = store.read(lambda r: r.traces(account=account)).result()
    assert [(t.kind, t.author, t.request, t.answer, t.at) for t in found] == [
        ("delete", "zoe@hopital-a.test", "3 messages", "ok", clock.now()),
        ("send", "zoe@hopital-a.test", "à b@b.test", "250 2.0.0", clock.now()),
    ]
    of_box = store.read(lambda r: r.traces(bal=zoe.id)).result()
    assert [t.kind for t in of_box] == ["delete"]
    of_structure = store.read(lambda r: r.traces(structure=StructureId(7))).result()
    assert [t.request for t in of_structure] == ["bal.suspend"]
    newest = store.read(lambda r: r.traces(most=1)).result()
    before = store.read(lambda r: r.traces(before=newest[0].number)).result()
    assert [t.kind for t in (*newest, *before)] == ["administration", "delete", "send"]


def test_a_trace_is_of_the_commit_it_tells_of(store: Store) -> None:
    def act(writing: Writing) -> None:
        writing.trace("login", "zoe", "imap")
        assert len(writing.traces()) == 1
        raise LookupError("undone")

    with pytest.raises(LookupError, match="undone"):
        store.write(act).result()
    assert store.read(lambda r: r.traces()).result() == ()


@pytest.mark.requirement("OP-73")
def test_traces_are_forgotten_after_three_years_and_some_at_a_time(
    store: Store, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces_room, "_AT_ONCE", 3)
    for request in ("first", "second"):
        store.write(
            lambda w, request=request: [w.trace("login", "zoe", request) for _ in range(4)]  # type: ignore[misc]
        ).result()
        clock.advance(timedelta(days=400))
    assert not store.write(lambda w: w.forget_traces(clock.now())).result()
    assert len(store.read(lambda r: r.traces()).result()) == 8
    clock.advance(timedelta(days=365))
    rounds = [store.write(lambda w: w.forget_traces(clock.now())).result() for _ in range(2)]
    assert rounds == [True, False]
    assert {t.request for t in store.read(lambda r: r.traces()).result()} == {"second"}


@pytest.mark.attack("ATT-19")
def test_att_19_a_trace_moved_to_somebody_else_is_nobodys(store: Store, home: Path) -> None:
    store.write(lambda w: w.trace("send", "zoe", "x", account=AccountId(1))).result()
    with closing(behind(home)) as db:
        db.execute("UPDATE traces SET account = 2")
        assert store.read(lambda r: r.traces(account=AccountId(2))).result() == ()
        db.execute("UPDATE traces SET account = 1")
    assert len(store.read(lambda r: r.traces(account=AccountId(1))).result()) == 1


def test_an_administrator_is_found_by_name_certificate_and_user_until_removed(
    store: Store,
) -> None:
    new = Administrator(DSI, Address.parse("dsi@clinique.test"), FINGERPRINT, 1234)
    made = store.write(lambda w: w.add_administrator(new)).result()

    def ways(reading: Reading) -> list[Administrator | None]:
        return [
            reading.administrator("ZOÉ dési"),
            reading.administrator_of_certificate(FINGERPRINT),
            reading.administrator_of_uid(1234),
        ]

    found = store.read(ways).result()
    assert [each and each.actor for each in found] == [DSI] * 3
    assert [each and each.address for each in found] == [new.address] * 3
    for again in (
        new,
        Administrator(Actor(AdminLevel.OPERATOR, "other"), certificate=FINGERPRINT),
        Administrator(Actor(AdminLevel.OPERATOR, "other"), uid=1234),
    ):
        with pytest.raises(AdministratorExists):
            store.write(lambda w, again=again: w.add_administrator(again)).result()  # type: ignore[misc]
    store.write(lambda w: w.remove_administrator(made)).result()
    assert store.read(ways).result() == [None] * 3
    assert store.read(lambda r: r.administrators()).result() == ()
    store.write(lambda w: w.add_administrator(new)).result()
    assert len(store.read(lambda r: r.administrators()).result()) == 1


@pytest.mark.attack("ATT-19")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE administrators SET uid = 9 WHERE id = 1",
        "UPDATE administrators SET certificate = zeroblob(32) WHERE id = 1",
        "UPDATE administrators SET removed_at = NULL WHERE id = 2",
        "UPDATE administrators SET level = 'operator', structure = NULL WHERE id = 1",
    ],
)
def test_att_19_the_database_alone_makes_nobody_an_administrator(
    store: Store, home: Path, change: str
) -> None:
    new = Administrator(DSI, certificate=FINGERPRINT, uid=1234)
    store.write(lambda w: w.add_administrator(new)).result()
    other = Administrator(Actor(AdminLevel.OPERATOR, "ancien"), uid=77)
    gone = store.write(lambda w: w.add_administrator(other)).result()
    store.write(lambda w: w.remove_administrator(gone)).result()
    with closing(behind(home)) as db:
        db.execute(change)

    def seen(reading: Reading) -> list[Actor]:
        found = [
            reading.administrator_of_uid(9),
            reading.administrator_of_certificate("00" * 32),
            reading.administrator("ancien"),
            *reading.administrators(),
        ]
        return [each.actor for each in found if each is not None]

    assert store.read(seen).result() == [DSI]
