"""Outside identities: found by what is sealed, bound once, ended and bound again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from mssmtp.mail import AccountId, Address, Bal, BalId, BalType, StructureId
from mssmtp.storage import Store, Writing
from mssmtp.storage.bindings import KINDS, BindingTaken
from mssmtp.storage.schema import bindings, sql
from tests.storage.support import open_new

ANNE, LUC = AccountId(1), AccountId(2)


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_new(home)
    yield store
    store.close()


@pytest.fixture
def _people(store: Store) -> None:
    for login in ("anne", "luc"):
        store.write(lambda w, name=login: w.create_account(name)).result()  # type: ignore[misc]


@pytest.mark.usefixtures("_people")
def test_an_identity_is_bound_to_one_account_and_can_be_moved(store: Store) -> None:
    first = store.write(lambda w: w.bind_account("psc", "899900000110", ANNE, "e-CPS")).result()
    with pytest.raises(BindingTaken):
        store.write(lambda w: w.bind_account("psc", "899900000110", LUC)).result()
    again = store.write(lambda w: w.bind_account("psc", "899900000110", ANNE)).result()
    assert again == first
    store.write(lambda w: w.unbind(first)).result()
    assert store.read(lambda r: r.bound_account("psc", "899900000110")).result() is None
    store.write(lambda w: w.bind_account("psc", "899900000110", LUC)).result()
    assert store.read(lambda r: r.bound_account("psc", "899900000110")).result() == LUC
    (old,) = store.read(lambda r: r.bindings(account=ANNE)).result()
    assert old.revoked_at is not None
    assert store.check().problems == ()


def test_kinds_are_apart(store: Store) -> None:
    for number, kind in enumerate(KINDS, 1):
        account = AccountId(number)
        store.write(lambda w, k=kind, a=account: w.bind_account(k, "same", a)).result()  # type: ignore[misc]
    found = [store.read(lambda r, k=kind: r.bound_account(k, "same")).result() for kind in KINDS]  # type: ignore[misc]
    assert found == list(range(1, len(KINDS) + 1))


@pytest.mark.requirement("CL-15")
def test_a_certificate_opens_several_boxes_and_no_account(store: Store) -> None:
    for bal in (7, 8):
        store.write(lambda w, b=bal: w.bind_box("certificate", "ab" * 32, BalId(b), "DPI")).result()  # type: ignore[misc]
    assert store.read(lambda r: r.bound_boxes("certificate", "ab" * 32)).result() == (7, 8)
    assert store.read(lambda r: r.bound_account("certificate", "ab" * 32)).result() is None
    (one,) = store.read(lambda r: r.bindings(bal=BalId(7))).result()
    assert (one.label, one.subject, one.account) == ("DPI", "ab" * 32, None)


@pytest.mark.attack("ATT-18")
def test_sessions_in_the_boxes_that_an_identity_opened_ask_again_when_it_ends(store: Store) -> None:
    """With what wakes them a session in IDLE hears BYE (tests/imap_server/test_suspended.py)."""

    def make(writing: Writing) -> tuple[AccountId, BalId, BalId]:
        own = writing.create_bal(Address.parse("zoe@hopital-a.test"), BalType.MED)
        other = writing.create_bal(Address.parse("dpi@hopital-a.test"), BalType.APP)
        account = writing.create_account("zoe@cabinet.example", own.id)
        return account.id, own.id, other.id

    account, own, app = store.write(make).result()
    person = store.write(lambda w: w.bind_account("psc", "899900000111", account)).result()
    system = store.write(lambda w: w.bind_box("certificate", "ef" * 32, app)).result()

    def ended(binding: int) -> list[tuple[int, int]]:
        def job(writing: Writing) -> list[tuple[int, int]]:
            writing.unbind(binding)
            return [(each.bal, each.mailbox) for each in writing.effects.changes]

        return store.write(job).result()

    for binding, box in ((person, own), (system, app)):
        assert ended(binding) == [(box, 0)]
        assert ended(binding) == []


@pytest.mark.attack("ATT-18")
def test_sessions_in_the_boxes_of_a_structure_ask_again_portion_by_portion(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.storage.boxes.TOGETHER", 2)
    structure = StructureId(7)

    def make(writing: Writing) -> list[BalId]:
        return [
            writing.add_box(
                Bal(
                    BalId(0),
                    Address.parse(f"a{n}@hopital-a.test"),
                    BalType.MED,
                    structure=structure,
                )
            ).id
            for n in range(3)
        ]

    made = store.write(make).result()

    def asked(after: int) -> tuple[int | None, list[tuple[int, int]]]:
        def job(writing: Writing) -> tuple[int | None, list[tuple[int, int]]]:
            rest = writing.ask_sessions_of(structure, after)
            return rest, [(each.bal, each.mailbox) for each in writing.effects.changes]

        return store.write(job).result()

    assert asked(0) == (made[1], [(bal, 0) for bal in made[:2]])
    assert asked(made[1]) == (None, [(made[2], 0)])


@pytest.mark.attack("ATT-19")
@pytest.mark.usefixtures("_people")
def test_att_19_the_database_gives_nobody_an_identity(store: Store) -> None:
    """Whoever writes rows without the key moves no binding to another account."""
    store.write(lambda w: w.bind_account("psc", "899900000110", ANNE)).result()
    moved = sql(update(bindings).values(account=int(LUC)))
    store.write(lambda w: w._run(moved)).result()
    assert store.read(lambda r: r.bound_account("psc", "899900000110")).result() is None
    assert len(store.check(deep=True).problems) == 1
