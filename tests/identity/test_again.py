"""A mail program that opens several connections at once: looked up once, and let in by that no
longer than its password, its account and its box let it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mssmtp.config import StoreSettings
from mssmtp.identity import Authenticator, BadCredentials, Credentials, app_password
from mssmtp.logins import Again, Logins, Peer
from mssmtp.mail import Address, BalState, BalType, Principal
from mssmtp.storage import Store, Writing
from mssmtp.storage.answers import FRESH_S
from tests.identity.fakes import Clock, Entropy
from tests.identity.test_with_store import PASSWORD, ZOE, add, clock, store

__all__ = ["clock", "store"]

OTHER = "xyzab-cdefg-hjkmn-pqrst"


class Door:
    """As one of IMAP recognizes who comes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        store.answers.begin()
        self.authenticator = Authenticator(store, clock, Entropy(b"process"))
        again = Again(self.authenticator, store.answers)
        self._logins = Logins(self.authenticator, "imap", again=again)

    def lets_in(self, password: str = PASSWORD) -> int | None:
        """The device whose password that is; None: refused."""

        async def enter() -> int | None:
            claim = Credentials(ZOE, password)
            found = await self._logins.enter(claim, Peer("192.0.2.1", lambda: False))
            assert isinstance(found, Principal)
            return found.app_password

        try:
            return asyncio.run(enter())
        except BadCredentials:
            return None


@pytest.fixture
def door(store: Store, clock: Clock) -> Door:
    """Both devices have logged in before."""
    add(store, ZOE, BalType.PER, PASSWORD)
    made = app_password.verifiers(OTHER, Entropy(b"other"))

    def job(writing: Writing) -> None:
        account = writing.account(ZOE)
        assert account is not None
        writing.add_app_password(account.id, "poste 2", made.argon2, made.scram)

    store.write(job).result()
    door = Door(store, clock)
    assert (door.lets_in(), door.lets_in(OTHER)) == (1, 2)
    return door


@pytest.fixture
def looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the store is asked from now on."""
    asked: list[object] = []
    read = store.read

    def counted(query: Callable[..., object]) -> object:
        asked.append(query)
        return read(query)

    monkeypatch.setattr(store, "read", counted)
    return asked


def suspend(writing: Writing) -> None:
    bal = writing.bal(Address.parse(ZOE))
    assert bal is not None
    writing.set_bal_state(bal.id, BalState.SUSPENDED)


def test_who_comes_again_within_a_second_is_not_looked_up_again(
    door: Door, clock: Clock, looks: list[object]
) -> None:
    assert [door.lets_in() for _ in range(5)] == [1] * 5
    assert len(looks) == 1
    clock.advance(FRESH_S)
    assert door.lets_in() == 1
    assert len(looks) == 2


@pytest.mark.attack
def test_att_18_the_answer_to_one_device_lets_no_other_in(door: Door, store: Store) -> None:
    store.write(lambda w: w.revoke_app_password(1)).result()
    assert door.lets_in(OTHER) == 2
    assert door.lets_in() is None


@pytest.mark.attack
@pytest.mark.parametrize("what", ["password", "box"])
@pytest.mark.parametrize("where", ["this process", "another"])
def test_att_18_what_is_taken_away_is_refused_within_the_same_second(
    door: Door, store: Store, clock: Clock, tmp_path: Path, what: str, where: str
) -> None:
    assert door.lets_in() == 1
    home = tmp_path / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    other = Store(settings, clock, Entropy(b"another"), worker="another")
    try:
        into = store if where == "this process" else other
        into.write(suspend if what == "box" else lambda w: w.revoke_app_password(1)).result()
    finally:
        other.close()
    assert door.lets_in() is None


@pytest.mark.attack
def test_att_14_who_comes_again_waits_for_no_wrong_secret_of_before(
    door: Door, clock: Clock, looks: list[object]
) -> None:
    """A right password forgets the wrong ones of its pair, looked up or not."""
    guesses, here, now = door.authenticator.guesses, "192.0.2.1", clock.monotonic()
    assert door.lets_in() == 1
    for number in range(6):
        guesses.wrong(ZOE, here, b"%d" % number, now)
    assert guesses.wait_s(ZOE, here, now) > 0
    looks.clear()
    assert door.lets_in() == 1
    assert not looks
    assert guesses.wait_s(ZOE, here, now) == 0
