"""The real store in the place of the fake: the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.accounts import hashes_beside
from mssmtp.config import StoreSettings
from mssmtp.identity import Authenticator, BadCredentials, app_password
from mssmtp.identity.app_password import new_password, verifiers
from mssmtp.mail import Address, Bal, BalState, BalType, PersonState, Role
from mssmtp.storage import Store, Writing
from tests.identity.fakes import Clock, Entropy

ZOE, PASSWORD = "zoe@hopital-a.test", "abcde-fghjk-mnpqr-stuvw"
SHARED = "corbeau-1234567-x"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    home = tmp_path / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, clock, Entropy())
    store = Store(settings, clock, Entropy(b"store"))
    yield store
    store.close()


def add(store: Store, login: str, kind: BalType, password: str) -> Bal:
    made = app_password.verifiers(password, Entropy(login.encode()))

    def job(writing: Writing) -> Bal:
        bal = writing.create_bal(
            Address.parse(login),
            kind,
            person=PersonState.CERTIFIED,
            national_id="899900000110" if kind is BalType.PER else None,
            usual_address=None,
            login=login,
        )
        account = writing.account(login)
        assert account is not None
        writing.add_app_password(account.id, "poste 1", made.argon2, made.scram)
        return bal

    return store.write(job).result()


@pytest.mark.requirement("CL-31", "CL-24")
def test_a_login_of_a_stored_account(store: Store, clock: Clock) -> None:
    bal = add(store, ZOE, BalType.PER, PASSWORD)
    door = Authenticator(store, clock, Entropy(b"process"))
    for _ in range(3):
        assert door.authenticate(ZOE.upper(), PASSWORD).bals[0].address == bal.address
    for login in (ZOE, "nobody@hopital-a.test"):
        with pytest.raises(BadCredentials):
            door.authenticate(login, "wrong")
    principal = door.authenticate(ZOE, PASSWORD)
    (row,) = store.read(lambda r: r.app_passwords(principal.account)).result()
    assert row.last_used_at == clock.at


@pytest.mark.attack
@pytest.mark.parametrize("what", ["password", "box", "account"])
def test_att_18_what_is_taken_away_in_the_store_is_refused_at_once(
    store: Store, clock: Clock, what: str
) -> None:
    bal = add(store, ZOE, BalType.PER, PASSWORD)
    org = add(store, "secretariat@hopital-a.test", BalType.ORG, SHARED)
    door = Authenticator(store, clock, Entropy(b"process"))
    session = door.authenticate(ZOE, PASSWORD)
    assert session.app_password is not None
    number = session.app_password

    def take(writing: Writing) -> None:
        writing.add_member(org.id, session.account)
        if what == "password":
            writing.revoke_app_password(number)
        elif what == "box":
            writing.set_bal_state(bal.id, BalState.SUSPENDED)
        else:
            writing.set_account_active(session.account, active=False)

    store.write(take).result()
    with pytest.raises(BadCredentials):
        door.refresh(session)
    with pytest.raises(BadCredentials):
        door.authenticate(ZOE, PASSWORD)


@pytest.mark.attack
@pytest.mark.requirement("SEED-16", "CL-31")
def test_att_18_a_members_password_for_one_box_opens_that_box_while_he_is_a_member(
    store: Store, clock: Clock
) -> None:
    add(store, ZOE, BalType.PER, PASSWORD)
    org = add(store, "secretariat@hopital-a.test", BalType.ORG, SHARED)
    door = Authenticator(store, clock, Entropy(b"process"))
    person = door.authenticate(ZOE, PASSWORD)
    store.write(lambda w: w.add_member(org.id, person.account, Role.LECTEUR)).result()
    bound = new_password(Entropy(b"bound"))
    beside = store.read(lambda reading: hashes_beside(reading, org)).result()
    made = verifiers(bound, Entropy(b"salt"), beside=beside)
    given = (person.account, "telephone", made.argon2, made.scram, org.id)
    store.write(lambda w: w.add_app_password(*given)).result()
    for _ in range(2):  # the second time from memory
        session = door.authenticate(str(org.address), bound)
        assert (session.login, session.box, session.account) == (ZOE, org.id, person.account)
        assert [bal.id for bal in session.bals] == [org.id]
        assert session.rights_in(org.id) == Role.LECTEUR.rights
    assert door.refresh(session) == session
    assert door.recognize(str(org.address), bound).result() == session
    with pytest.raises(BadCredentials):
        door.authenticate(ZOE, bound)
    store.write(lambda w: w.remove_member(org.id, person.account)).result()
    with pytest.raises(BadCredentials):
        door.refresh(session)
    with pytest.raises(BadCredentials):
        door.authenticate(str(org.address), bound)
    assert door.recognize(str(org.address), bound).result() is None
    # It does not live again with a later membership.
    store.write(lambda w: w.add_member(org.id, person.account, Role.LECTEUR)).result()
    with pytest.raises(BadCredentials):
        door.authenticate(str(org.address), bound)
    store.write(lambda w: w.remove_member(org.id, person.account)).result()
    assert [bal.id for bal in door.refresh(person).bals] == [person.bals[0].id]


@pytest.mark.attack
@pytest.mark.requirement("SEED-22")
def test_att_18_a_password_shared_by_a_service_opens_nothing(store: Store, clock: Clock) -> None:
    """Shared logins ended on 15/11/2022: one that is still in the store is of no use."""
    org = add(store, "secretariat@hopital-a.test", BalType.ORG, SHARED)
    door = Authenticator(store, clock, Entropy(b"process"))
    with pytest.raises(BadCredentials):
        door.authenticate(str(org.address), SHARED)
    assert door.recognize(str(org.address), SHARED).result() is None


@pytest.mark.requirement("SEED-22", "CL-31")
def test_a_members_password_opens_a_box_that_has_no_account_of_its_own(
    store: Store, clock: Clock
) -> None:
    add(store, ZOE, BalType.PER, PASSWORD)
    address = Address.parse("accueil@hopital-a.test")
    org = store.write(lambda w: w.create_bal(address, BalType.ORG)).result()
    door = Authenticator(store, clock, Entropy(b"process"))
    person = door.authenticate(ZOE, PASSWORD)
    store.write(lambda w: w.add_member(org.id, person.account, Role.LECTEUR)).result()
    bound = new_password(Entropy(b"bound"))
    proof = verifiers(bound, Entropy(b"salt"))
    given = (person.account, "telephone", proof.argon2, proof.scram, org.id)
    store.write(lambda w: w.add_app_password(*given)).result()
    session = door.authenticate(str(address), bound)
    assert (session.login, session.box) == (ZOE, org.id)
    assert door.recognize(str(address), bound).result() == session
    store.write(lambda w: w.remove_member(org.id, person.account)).result()
    with pytest.raises(BadCredentials):
        door.authenticate(str(address), bound)


def test_a_member_acts_in_its_own_box_first(store: Store, clock: Clock) -> None:
    bal = add(store, ZOE, BalType.PER, PASSWORD)
    org = add(store, "secretariat@hopital-a.test", BalType.ORG, SHARED)
    door = Authenticator(store, clock, Entropy(b"process"))
    session = door.authenticate(ZOE, PASSWORD)
    store.write(lambda writing: writing.add_member(org.id, session.account)).result()
    boxes = door.refresh(session).bals
    assert [box.id for box in boxes] == [bal.id, org.id]


@pytest.mark.requirement("SEED-48", "OP-72")
def test_a_device_leaves_one_trace_an_hour_and_so_do_refusals_of_a_known_account(
    store: Store, clock: Clock
) -> None:
    add(store, ZOE, BalType.PER, PASSWORD)
    one, other = (Authenticator(store, clock, Entropy(seed)) for seed in (b"one", b"other"))
    account = one.authenticate(ZOE, PASSWORD).account
    for door in (one, other, one):
        door.authenticate(ZOE, PASSWORD)
        for login, wrong in ((ZOE, "wr0ng-secret"), ("nobody@hopital-a.test", PASSWORD)):
            with pytest.raises(BadCredentials):
                one.authenticate(login, wrong, "192.0.2.9")

    def told() -> list[tuple[str, str, str]]:
        store.write(lambda _: None).result()  # after those nobody waits for
        traces = store.read(lambda r: r.traces()).result()
        assert {trace.account for trace in traces} == {account}
        return [(trace.author, trace.request, trace.answer) for trace in traces]

    entered = (ZOE, "messagerie, appareil poste 1", "ok")
    refused = (ZOE, "messagerie, mot de passe d'application, depuis 192.0.2.9", "refused")
    assert sorted(told()) == sorted([entered, refused])
    assert "wr0ng" not in str(told())
    assert PASSWORD not in str(told())
    clock.advance(3_600)
    other.authenticate(ZOE, PASSWORD)
    assert sorted(told()) == sorted([entered, entered, refused])
