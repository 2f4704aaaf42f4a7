"""Boxes lent to others: for how long, by whose word, and never by the database alone (DEF-12)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalState,
    BalType,
    DelegateRight,
    Principal,
    Role,
)
from mssmtp.storage import Delegation, DelegationKind, Store, Writing
from tests.storage.support import SteppingClock, behind

HOUR = timedelta(hours=1)


@pytest.fixture
def secretary(store: Store, zoe: Bal) -> Iterator[AccountId]:
    """The account of somebody with a box of her own, beside Zoé."""

    def job(writing: Writing) -> AccountId:
        bal = writing.create_bal(
            Address.parse("paule@hopital-a.test"), BalType.MED, login="paule@hopital-a.test"
        )
        account = writing.account_of(bal.id)
        assert account is not None
        return account.id

    return store.write(job).result()  # type: ignore[return-value]


def lend(store: Store, bal: Bal, to: AccountId, **given: object) -> Delegation:
    clock = store.clock if hasattr(store, "clock") else SteppingClock()
    new = Delegation(bal.id, to, DelegateRight.SEND, clock.now())
    return store.write(
        lambda writing: writing.add_delegation(replace(new, **given))  # type: ignore[arg-type]
    ).result()


def who(store: Store, account: AccountId) -> Principal:
    return store.read(lambda reading: reading.principal(account)).result()


@pytest.mark.requirement("DEF-12")
def test_a_delegation_begins_and_ends_at_its_dates_and_when_it_is_taken_back(
    store: Store, clock: SteppingClock, zoe: Bal, secretary: AccountId
) -> None:
    begins = clock.now() + HOUR
    given = lend(store, zoe, secretary, begins_at=begins, ends_at=begins + 2 * HOUR, by="zoe")
    assert who(store, secretary).roles == {}
    clock.advance(HOUR)
    principal = who(store, secretary)
    assert principal.lent(zoe.id) is DelegateRight.SEND
    assert principal.rights_in(zoe.id) == "lrswip"
    assert [str(bal.address) for bal in principal.bals][1:] == [str(zoe.address)]
    clock.advance(2 * HOUR - timedelta(microseconds=1))
    assert who(store, secretary).lent(zoe.id)
    clock.advance(timedelta(microseconds=1))
    assert who(store, secretary).lent(zoe.id) is None, "at the very moment of its end"
    for_ever = lend(store, zoe, secretary, right=DelegateRight.READ)
    assert who(store, secretary).rights_in(zoe.id) == "lrs"
    store.write(lambda w: w.end_delegation(for_ever)).result()
    assert who(store, secretary).rights_in(zoe.id) == ""
    told = store.read(lambda r: r.delegations_of(zoe.id)).result()
    assert [(each.id, each.ended_at is not None, each.by) for each in told] == [
        (given.id, False, "zoe"),
        (for_ever.id, True, ""),
    ]


def test_the_stronger_right_counts_and_a_membership_before_both(
    store: Store, clock: SteppingClock, zoe: Bal, secretary: AccountId
) -> None:
    lend(store, zoe, secretary, right=DelegateRight.REPLY)
    lend(store, zoe, secretary, right=DelegateRight.READ, kind=DelegationKind.BREAK_GLASS)
    assert who(store, secretary).lent(zoe.id) is DelegateRight.REPLY

    def job(writing: Writing) -> Bal:
        org = writing.create_bal(Address.parse("service@hopital-a.test"), BalType.ORG)
        writing.add_member(org.id, secretary, Role.LECTEUR)
        return org

    org = store.write(job).result()
    lend(store, org, secretary)
    assert who(store, secretary).roles[org.id] is Role.LECTEUR


def test_only_a_handover_opens_a_box_that_was_closed(
    store: Store, clock: SteppingClock, zoe: Bal, secretary: AccountId
) -> None:
    lend(store, zoe, secretary)
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.CLOSED)).result()
    assert [bal.id for bal in who(store, secretary).bals if bal.id == zoe.id] == []
    lend(store, zoe, secretary, kind=DelegationKind.HANDOVER, right=DelegateRight.READ)
    assert zoe.id in [bal.id for bal in who(store, secretary).bals]


@pytest.mark.attack
@pytest.mark.requirement("DEF-12")
def test_att_19_the_database_alone_lends_no_box_and_gives_no_day_more(
    store: Store, clock: SteppingClock, zoe: Bal, secretary: AccountId, home: Path
) -> None:
    ends = clock.now() + HOUR
    lend(store, zoe, secretary, right=DelegateRight.READ, ends_at=ends)
    back = lend(store, zoe, secretary, right=DelegateRight.SEND, ends_at=ends)
    store.write(lambda w: w.end_delegation(back)).result()
    with closing(behind(home)) as db:
        db.execute("UPDATE delegations SET ends_at = ends_at * 2, kind = 'handover'")
        db.execute("UPDATE delegations SET ended_at = NULL")
    principal = who(store, secretary)
    assert principal.lent(zoe.id) is DelegateRight.READ, "what was taken back stays so"
    clock.advance(HOUR)
    assert who(store, secretary).lent(zoe.id) is None
    with closing(behind(home)) as db:
        db.execute("UPDATE delegations SET account = account + 1")
    clock.advance(-HOUR)
    assert who(store, AccountId(secretary)).roles == {}
    told = store.read(lambda r: r.delegations_to(AccountId(secretary + 1))).result()
    assert told == (), "another account's is not believed"
    with closing(behind(home)) as db:
        db.execute("UPDATE delegations SET account = account - 1")


def test_a_delegation_goes_with_its_box_and_three_years_after_its_end(
    store: Store, clock: SteppingClock, zoe: Bal, secretary: AccountId
) -> None:
    ended = lend(store, zoe, secretary, ends_at=clock.now() + HOUR)
    open_end = lend(store, zoe, secretary)
    clock.advance(timedelta(days=3 * 366 - 1))
    store.write(lambda w: w.prune(clock.now())).result()
    assert len(store.read(lambda r: r.delegations_of(zoe.id)).result()) == 2
    clock.advance(timedelta(days=2))
    store.write(lambda w: w.prune(clock.now())).result()
    left = store.read(lambda r: r.delegations_of(zoe.id)).result()
    assert [each.id for each in left] == [open_end.id] != [ended.id]
    store.write(lambda w: w.shred_key(zoe.id, "closed")).result()
    assert store.read(lambda r: r.delegations_of(zoe.id)).result() == ()
    while store.write(lambda w: w.tidy_shredded(zoe.id)).result():
        pass
