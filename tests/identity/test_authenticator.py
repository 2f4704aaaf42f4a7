"""Logins: right, wrong, revoked, suspended, many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mssmtp.errors import StorageFull, StorageUnavailable
from mssmtp.identity import (
    Authenticator,
    BadCredentials,
    LoginRefused,
    TooManyGuesses,
    app_password,
    guesses,
)
from mssmtp.mail import BalState, BalType, PersonState
from tests.identity.fakes import Clock, Entropy, Store, box

ZOE, PASSWORD = "zoe@hopital-a.test", "abcde-fghjk-mnpqr-stuvw"
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def _quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code at the least cost: these tests are about who gets in, not about hashing."""
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    store = Store(clock, Entropy())
    store.add_password(store.add(ZOE), PASSWORD)
    return store


@pytest.fixture
def door(store: Store, clock: Clock) -> Authenticator:
    return Authenticator(store, clock, Entropy(b"process"))


def slow_work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts slow evaluations from now on."""
    done: list[int] = []
    real = app_password._argon2

    def counted(secret: bytes, salt: bytes, cost: app_password.Cost) -> str:
        done.append(1)
        return real(secret, salt, cost)

    monkeypatch.setattr(app_password, "_argon2", counted)
    return done


@pytest.mark.requirement("CL-31")
def test_the_right_password_gives_the_principal_and_its_device(door: Authenticator) -> None:
    principal = door.authenticate(ZOE, PASSWORD)
    assert principal.bals == (box(ZOE),)
    assert principal.app_password == 1


@pytest.mark.parametrize("login", [ZOE.upper(), f" {ZOE} ", "Zoe@Hopital-A.test"])
def test_case_and_space_of_a_login_do_not_matter(door: Authenticator, login: str) -> None:
    assert door.authenticate(login, PASSWORD.upper()).account == 1


@pytest.mark.parametrize(
    ("login", "password"),
    [
        (ZOE, "wrong"),
        (ZOE, ""),
        ("", PASSWORD),
        ("nobody@hopital-a.test", PASSWORD),
        (f"{ZOE}\0x", PASSWORD),
        (ZOE, f"{PASSWORD}\0x"),
        (ZOE * 20, PASSWORD),
        (ZOE, PASSWORD * 20),
        ("\udcff", "\udcff"),
    ],
)
def test_anything_else_gets_one_and_the_same_refusal(
    door: Authenticator, login: str, password: str
) -> None:
    with pytest.raises(BadCredentials) as caught:
        door.authenticate(login, password)
    assert str(caught.value.reply) == str(BadCredentials.smtp)
    assert caught.value.reply.code == 535
    assert caught.value.imap == "AUTHENTICATIONFAILED"


@pytest.mark.requirement("CL-24")
def test_twenty_logins_a_minute_are_never_throttled_and_cost_one_hash(
    door: Authenticator, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = slow_work(monkeypatch)
    door.authenticate(ZOE, PASSWORD, HERE)
    store.reads = 0
    for _ in range(60):
        clock.advance(3)
        door.authenticate(ZOE, PASSWORD, HERE)
    assert len(done) == 1
    assert store.reads == 60
    assert store.writes == 1


@pytest.mark.attack
def test_att_18_only_what_was_right_before_and_still_is_gets_recognized(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    """`recognize` decides nothing else: what it does not know goes the whole way."""

    def recognized(password: str = PASSWORD, login: str = ZOE) -> bool:
        found = door.recognize(login, password, HERE).result()
        assert found is None or found == right
        return found is not None

    right = door.authenticate(ZOE, PASSWORD, HERE)
    store.writes = 0
    assert recognized()
    assert recognized(PASSWORD.upper(), f" {ZOE.upper()} ") == door.is_known(ZOE, PASSWORD.upper())
    assert not recognized("wrong")
    assert not recognized(login="nobody@hopital-a.test")
    clock.advance(3_601)
    assert not recognized(), "its last use is to be written"
    door.authenticate(ZOE, PASSWORD, HERE)
    assert recognized()
    own = store.boxes[right.account]
    store.boxes[right.account] = (replace(box(ZOE), state=BalState.SUSPENDED),)
    assert not recognized()
    store.boxes[right.account] = own
    assert recognized()
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.now())
    assert not recognized()


@pytest.mark.attack
@pytest.mark.requirement("CL-31")
@pytest.mark.parametrize("known", [True, False], ids=["cached", "not cached"])
@pytest.mark.parametrize(
    "what",
    ["account", "password", "box", "own box of a member", "pre-registered", "expired"],
)
def test_att_18_what_was_taken_away_is_refused_at_the_next_login(
    door: Authenticator, store: Store, clock: Clock, known: bool, what: str
) -> None:
    if known:
        door.authenticate(ZOE, PASSWORD)
    account = store.accounts[ZOE]
    if what == "account":
        store.accounts[ZOE] = replace(account, active=False)
    elif what == "password":
        store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    elif what == "box":
        store.boxes[account.id] = (replace(box(ZOE), state=BalState.SUSPENDED),)
    elif what == "own box of a member":
        org = box("secretariat@hopital-a.test", BalType.ORG)
        store.boxes[account.id] = (replace(box(ZOE), state=BalState.SUSPENDED), org)
    elif what == "pre-registered":
        store.boxes[account.id] = (replace(box(ZOE), person=PersonState.PRE_REGISTERED),)
    else:
        clock.advance(91 * 86_400)
    with pytest.raises(BadCredentials):
        door.authenticate(ZOE, PASSWORD)


@pytest.mark.attack
def test_att_18_a_cache_that_is_not_checked_would_let_the_revoked_in(
    door: Authenticator, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weakened build: with the state of before, the same login passes."""
    door.authenticate(ZOE, PASSWORD)
    before = door._current(ZOE, 1)
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    monkeypatch.setattr(door, "_current", lambda login, number: before)
    assert door.authenticate(ZOE, PASSWORD).account == 1


def test_a_password_that_is_used_does_not_expire(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    for _ in range(4):
        clock.advance(80 * 86_400)
        door.authenticate(ZOE, PASSWORD)


@pytest.mark.attack
def test_att_18_an_open_session_sees_what_was_taken_away(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    open_session = door.authenticate(ZOE, PASSWORD)
    assert door.refresh(open_session) == open_session
    org = box("secretariat@hopital-a.test", BalType.ORG)
    store.boxes[store.accounts[ZOE].id] += (org,)
    assert door.refresh(open_session).bals[1] == org
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    with pytest.raises(BadCredentials):
        door.refresh(open_session)


@pytest.mark.attack
def test_att_19_one_password_does_not_open_another_account(
    door: Authenticator, store: Store
) -> None:
    store.add_password(store.add("bob@hopital-a.test"), "zyxwv-utsrq-pnmkj-hgfed")
    for _ in range(2):  # the second time from the cache
        assert door.authenticate(ZOE, PASSWORD).account == 1
        assert door.authenticate("bob@hopital-a.test", "zyxwv-utsrq-pnmkj-hgfed").account == 2
        with pytest.raises(BadCredentials):
            door.authenticate("bob@hopital-a.test", PASSWORD, HERE)


def test_each_device_has_its_own_password(door: Authenticator, store: Store, clock: Clock) -> None:
    store.add_password(store.accounts[ZOE].id, "zyxwv-utsrq-pnmkj-hgfed")
    assert door.authenticate(ZOE, PASSWORD).app_password == 1
    assert door.authenticate(ZOE, "zyxwv-utsrq-pnmkj-hgfed").app_password == 2
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    assert door.authenticate(ZOE, "zyxwv-utsrq-pnmkj-hgfed").app_password == 2


def test_a_secret_revoked_and_given_again_opens_again(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    door.authenticate(ZOE, PASSWORD)
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    store.add_password(store.accounts[ZOE].id, PASSWORD)
    assert door.authenticate(ZOE, PASSWORD).app_password == 2


@pytest.mark.attack
@pytest.mark.parametrize("login", [ZOE, "nobody@hopital-a.test", "", "no address"])
def test_att_21_a_refusal_costs_the_same_whoever_the_login_is(
    door: Authenticator, store: Store, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_password(store.accounts[ZOE].id, "zyxwv-utsrq-pnmkj-hgfed")
    done = slow_work(monkeypatch)
    with pytest.raises(BadCredentials):
        door.authenticate(login, "wrong")
    assert (len(done), store.reads) == (1, 2)


def wrong(door: Authenticator, secret: str, address: str = HERE, login: str = ZOE) -> float:
    with pytest.raises(LoginRefused) as caught:
        door.authenticate(login, secret, address)
    return caught.value.delay_s


@pytest.mark.attack
def test_distinct_wrong_secrets_slow_their_own_pair_ever_more(
    door: Authenticator, clock: Clock
) -> None:
    delays = []
    for number in range(12):
        delays.append(wrong(door, f"guess {number}"))
        clock.advance(delays[-1])
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert wrong(door, "guess 0", THERE) == 0
    assert wrong(door, "guess 0", login="bob@hopital-a.test") == 0


def test_one_old_password_repeated_is_one_wrong_secret(door: Authenticator, clock: Clock) -> None:
    for _ in range(50):
        assert wrong(door, "the old one") == 0
        clock.advance(1)


@pytest.mark.attack
def test_a_thousand_wrong_passwords_are_less_than_one_guess_a_second(
    door: Authenticator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of connections: a guess before its time is not even looked at."""
    done = slow_work(monkeypatch)
    for number in range(1000):
        wrong(door, f"guess {number}")
        clock.advance(0.05)
    assert len(done) - guesses.FREE <= 50
    with pytest.raises(TooManyGuesses) as caught:
        door.authenticate(ZOE, "again", HERE)
    assert caught.value.reply.is_temporary
    assert caught.value.delay_s > 0


@pytest.mark.attack
def test_att_14_honest_logins_pass_beside_an_attacker(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    door.authenticate(ZOE, PASSWORD, HERE)
    for number in range(100):
        store.add_password(store.add(f"p{number}@hopital-a.test"), f"honest password {number}")
    for number in range(20):
        wrong(door, f"guess {number}")  # the same login, from the same address
    assert door.authenticate(ZOE, PASSWORD, HERE).account == 1  # a known device
    for number in range(100):
        login, secret = f"p{number}@hopital-a.test", f"honest password {number}"
        assert door.authenticate(login, secret, HERE).login == login
    clock.advance(guesses.LONGEST_WAIT_S)
    assert door.authenticate(ZOE, PASSWORD.replace("-", ""), THERE).account == 1


def test_a_login_that_succeeds_clears_its_typing_errors(door: Authenticator, clock: Clock) -> None:
    for number in range(3):
        wrong(door, f"typo {number}")
    door.authenticate(ZOE, PASSWORD, HERE)
    assert wrong(door, "typo 9") == 0


def test_wrong_secrets_are_forgotten_after_an_hour(door: Authenticator, clock: Clock) -> None:
    for number in range(3):
        wrong(door, f"typo {number}")
    clock.advance(guesses.FORGET_AFTER_S + 1)
    assert wrong(door, "typo 9") == 0


@pytest.mark.parametrize("error", [StorageFull(), StorageUnavailable()])
def test_a_disk_that_cannot_be_written_does_not_keep_people_out(
    door: Authenticator, store: Store, error: Exception
) -> None:
    store.broken = error
    assert door.authenticate(ZOE, PASSWORD).account == 1


def test_many_threads_log_in_at_once(door: Authenticator) -> None:
    start = threading.Barrier(8)

    def login() -> int:
        start.wait(30)
        return sum(door.authenticate(ZOE, PASSWORD, HERE).account for _ in range(20))

    with ThreadPoolExecutor(8) as threads:
        assert [f.result() for f in [threads.submit(login) for _ in range(8)]] == [20] * 8
