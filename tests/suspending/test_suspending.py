"""Suspended in one commit, felt by sessions and doors, undone by one call (OP-79)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp import suspending
from mssmtp.config import StoreSettings
from mssmtp.identity import Authenticator, BadCredentials, app_password
from mssmtp.imap.session import Timing
from mssmtp.mail import AccountId, Address, BalState, BalType, DelegateRight, PersonState
from mssmtp.storage import Delegation, DelegationKind, Store, Writing
from mssmtp.storage.known import Known
from mssmtp.storage.suspensions import FRESH_S, SuspendedKind, Suspension
from mssmtp.trust import Suspended
from tests.identity.fakes import Clock, Entropy

ZOE, LUC, PASSWORD = "zoe@hopital-a.test", "luc@clinique.test", "abcdefghjkmnpqrstuvw"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Two people of two domains."""
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    home = tmp_path / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, clock, Entropy())
    store = Store(settings, clock, Entropy(b"store"))
    made = app_password.verifiers(PASSWORD, Entropy())

    def job(writing: Writing) -> None:
        for login, number in ((ZOE, "810000000012"), (LUC, "810000000020")):
            address = Address.parse(login)
            kept = {"person": PersonState.CERTIFIED, "national_id": number, "login": login}
            writing.create_bal(address, BalType.PER, **kept)  # type: ignore[arg-type]
            account = writing.account(login)
            assert account is not None
            writing.add_app_password(account.id, "poste", made.argon2, made.scram)

    store.write(job).result()
    yield store
    assert store.check().problems == ()
    store.close()


def stop(store: Store, clock: Clock, kind: SuspendedKind, name: str, reason: str = "") -> None:
    new = Suspension(kind, name, clock.now(), "operateur", reason)
    store.write(lambda w: suspending.suspend(w, new)).result()


def start(store: Store, kind: SuspendedKind, name: str) -> None:
    store.write(lambda w: suspending.resume(w, kind, name)).result()


def account_of(store: Store, login: str) -> str:
    account = store.read(lambda r: r.account(login)).result()
    assert account is not None
    return str(account.id)


def state_of(store: Store, address: str) -> BalState:
    bal = store.read(lambda r: r.bal(Address.parse(address))).result()
    assert bal is not None
    return bal.state


@pytest.mark.attack("ATT-18", "ATT-25")
@pytest.mark.parametrize("kind", ["account", "domain"])
def test_a_suspension_ends_logins_and_sessions_and_is_undone(
    store: Store, clock: Clock, kind: SuspendedKind
) -> None:
    door = Authenticator(store, clock, Entropy(b"process"))
    session, other = door.authenticate(ZOE, PASSWORD), door.authenticate(LUC, PASSWORD)
    name = account_of(store, ZOE) if kind == "account" else "hopital-a.test"
    stop(store, clock, kind, name)
    with pytest.raises(BadCredentials):
        door.refresh(session)
    with pytest.raises(BadCredentials):
        door.authenticate(ZOE, PASSWORD)
    assert door.recognize(ZOE, PASSWORD).result() is None
    assert state_of(store, ZOE) is BalState.SUSPENDED
    assert door.refresh(other).bals == other.bals  # nobody else feels it
    start(store, kind, name)
    assert door.refresh(session) == session
    assert state_of(store, ZOE) is BalState.ACTIVE


def test_another_process_feels_a_domain_within_two_seconds(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state_of(store, ZOE) is BalState.ACTIVE
    with monkeypatch.context() as patch:
        # The commit of another process: this one is told nothing.
        patch.setattr(Known, "forget_suspended", lambda self: None)
        stop(store, clock, "domain", "hopital-a.test")
        clock.advance(FRESH_S)
    assert state_of(store, ZOE) is BalState.SUSPENDED


def test_what_was_suspended_before_stays_so_afterwards(store: Store, clock: Clock) -> None:
    bal = store.read(lambda r: r.bal(Address.parse(ZOE))).result()
    assert bal is not None
    store.write(lambda w: w.set_bal_state(bal.id, BalState.SUSPENDED)).result()
    account = account_of(store, ZOE)
    stop(store, clock, "account", account)
    start(store, "account", account)
    assert state_of(store, ZOE) is BalState.SUSPENDED


@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_att_25_the_end_of_a_suspension_starts_no_account_that_others_have_stopped(
    store: Store, clock: Clock, when: str
) -> None:
    """The structure has suspended the person, or the person has left: the operator's word is not
    theirs."""
    account = account_of(store, ZOE)

    def by_others(writing: Writing) -> None:
        writing.set_account_active(AccountId(int(account)), active=False)
        writing.keep_stopped(AccountId(int(account)))

    if when == "before":
        store.write(by_others).result()
    stop(store, clock, "account", account)
    if when == "meanwhile":
        held = store.read(suspending.in_force).result()
        store.write(by_others).result()
        assert store.read(suspending.in_force).result() == held  # what it has queued still waits
    stop(store, clock, "account", account, "a second reason")
    start(store, "account", account)
    found = store.read(lambda r: r.account(ZOE)).result()
    assert found is not None
    assert not found.active
    if when == "meanwhile":
        assert state_of(store, ZOE) is BalState.SUSPENDED


def test_a_second_suspension_changes_the_reason_alone(store: Store, clock: Clock) -> None:
    account = account_of(store, ZOE)
    stop(store, clock, "account", account, "vol")
    first = store.read(lambda r: r.suspensions()).result()
    clock.advance(60)
    stop(store, clock, "account", account, "perte")
    (row,) = store.read(lambda r: r.suspensions()).result()
    assert (row.at, row.boxes, row.reason) == (first[0].at, first[0].boxes, "perte")
    start(store, "account", account)
    assert state_of(store, ZOE) is BalState.ACTIVE
    with pytest.raises(suspending.NotSuspended):
        start(store, "account", account)


@pytest.mark.requirement("OP-79")
def test_the_doors_are_told_of_everything(store: Store, clock: Clock) -> None:
    stop(store, clock, "domain", "cabinet-b.test")
    stop(store, clock, "certificate", "ab" * 32)
    stop(store, clock, "account", account_of(store, ZOE))
    bal = store.read(lambda r: r.bal(Address.parse(ZOE))).result()
    assert bal is not None
    assert store.read(suspending.in_force).result() == Suspended(
        frozenset({"cabinet-b.test"}),  # type: ignore[arg-type]
        frozenset({b"\xab" * 32}),
        frozenset({bal.id}),
    )
    assert suspending.EVERY_S + FRESH_S + Timing().refresh_s < 60


@pytest.mark.attack("ATT-25")
def test_att_25_a_handover_opens_no_box_of_a_suspended_domain(store: Store, clock: Clock) -> None:
    luc = AccountId(int(account_of(store, LUC)))

    def handed(writing: Writing) -> None:
        bal = writing.bal(Address.parse(ZOE))
        assert bal is not None
        new = Delegation(bal.id, luc, DelegateRight.READ, clock.now(), kind=DelegationKind.HANDOVER)
        writing.add_delegation(new)
        writing.set_bal_state(bal.id, BalState.CLOSED)

    store.write(handed).result()
    both = [str(bal.address) for bal in store.read(lambda r: r.principal(luc)).result().bals]
    assert both == [LUC, ZOE]
    stop(store, clock, "domain", "hopital-a.test")
    assert [str(bal.address) for bal in store.read(lambda r: r.principal(luc)).result().bals] == [
        LUC
    ]
