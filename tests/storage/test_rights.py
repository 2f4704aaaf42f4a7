"""Rights, room and reading events, on both engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.mail import AccountId, Address, BalId, BalState, BalType, Role, Uid
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.model import NoSuchBal
from mssmtp.storage.quotas import OverQuota
from mssmtp.storage.suspensions import Suspension
from tests.storage.support import SteppingClock, add_bal, inbox, message, open_new, read_by


@pytest.fixture
def store(home: Path) -> Store:
    return open_new(home)


@pytest.mark.requirement("DEF-06", "SEED-16")
def test_rights_room_and_readings_are_kept_the_same_way(store: Store) -> None:
    zoe = add_bal(store)
    now = SteppingClock().now()
    letter = store.seal(message())

    def fill(writing: Writing) -> AccountId:
        org = writing.create_bal(Address.parse("service@hopital-a.test"), BalType.ORG)
        account = writing.account("zoe@hopital-a.test")
        assert account is not None
        for role in (Role.RESPONSABLE, Role.LECTEUR):
            writing.add_member(org.id, account.id, role)
        made = writing.create_mailbox(org.id, "Suivi")
        writing.set_entry(made.id, account.id, "lrsi")
        below = writing.create_mailbox(org.id, "Suivi/2026")
        assert writing.exceptions(account.id, org.id) == {made.id: "lrsi", below.id: "lrsi"}
        assert writing.principal(account.id).roles == {org.id: Role.LECTEUR}
        writing.delete_mailbox(org.id, "Suivi/2026")
        writing.remove_member(org.id, account.id)
        assert writing.entries(made.id) == {}
        writing.append(inbox_id, letter, frozenset(), now)
        writing.copy(inbox_id, [Uid(1)], inbox_id)
        writing.set_quota(zoe.id, 0, 3)
        return account.id

    inbox_id = inbox(store, zoe)
    account = store.write(fill).result()
    with pytest.raises(OverQuota):
        store.write(lambda w: w.copy(inbox_id, [Uid(1), Uid(2)], inbox_id)).result()
    for _ in range(2):
        store.write(lambda w: read_by(w, account, inbox_id, [1, 2], "lu")).result()
        store.write(lambda w: w.record_readings()).result()
    assert not store.noted
    (event,) = store.read(lambda r: r.reading_events(zoe.id, now)).result()
    assert (event.kind, event.account, event.at) == ("lu", account, now)
    assert store.check(deep=True).problems == ()
    store.close()


@pytest.mark.requirement("OP-79")
def test_the_own_box_is_the_first_of_a_principal_and_asked_for_alone(store: Store) -> None:
    """Suspended in the same commit or before it, by itself or with its domain."""
    zoe = add_bal(store)
    now = SteppingClock().now()

    def same(reading: Reading) -> BalId | None:
        account = reading.account_of(zoe.id)
        assert account is not None
        found = reading.own_bal(account.id)
        assert reading.principal(account.id).first == (None if found is None else found.id)
        return None if found is None else found.id

    def suspends(writing: Writing) -> list[BalId | None]:
        seen = [same(writing)]
        writing.put_suspension(Suspension("domain", "hopital-a.test", now, "x", "essai", ()))
        return [*seen, same(writing)]

    assert store.write(suspends).result() == [zoe.id, None]
    assert store.read(same).result() is None
    store.write(lambda w: w.drop_suspension("domain", "hopital-a.test")).result()
    assert store.write(same).result() == zoe.id
    store.write(lambda w: w.set_bal_state(zoe.id, BalState.SUSPENDED)).result()
    assert store.read(same).result() is None
    with pytest.raises(NoSuchBal):
        store.read(lambda r: r.own_bal(AccountId(99))).result()
    store.close()
