"""F13: a hospital of 5,000 behind one address, a botnet outside and a guesser inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from mssmtp.identity import Authenticator, BadCredentials, TooManyGuesses, app_password, guesses
from mssmtp.mail import AccountId, Address, Bal, Principal
from tests.identity.fakes import Clock, Entropy, Password, Store

USERS, BOTS, SECONDS = 5_000, 400, 60
PASSWORD, OLD = "abcdefghjkmnpqrstuvw", "zyxwvtsrqpnmkjhgfedc"
HOSPITAL = "192.0.2.1"
PLACES: dict[str, Callable[[int], str]] = {
    "IPv4": lambda user: HOSPITAL,
    "IPv6": lambda user: f"2001:db8:f13:0::{user + 1:x}",
}
"""Where a user of the hospital comes from: all behind one address, or each from one of a /64."""
BOTS_AT: dict[str, Callable[[int], str]] = {
    "IPv4": lambda bot: f"203.0.113.{bot}",
    "IPv6": lambda bot: f"2001:db8:b07:{bot:x}::{bot:x}",
}


class Hospital(Store):
    """The fake, which does not look at 5,000 rows for each login."""

    def app_passwords(self, account: AccountId) -> tuple[Password, ...]:
        return (self.passwords[account],) if account in self.passwords else ()

    def bal(self, address: Address) -> Bal | None:
        found = self.accounts.get(str(address))
        return None if found is None else self.boxes[found.id][0]

    def bal_by_usual(self, address: Address) -> Bal | None:
        return None

    def principal(self, account: AccountId) -> Principal:
        return Principal(account, f"p{account - 1}@hopital-a.test", self.boxes[account])


@dataclass
class Siege:
    """A minute of it, second by second."""

    door: Authenticator
    clock: Clock
    family: str
    random: Random = field(default_factory=lambda: Random(13))  # noqa: S311 - repeatable on purpose
    guessed: Counter[str] = field(default_factory=Counter)
    locked_out: list[str] = field(default_factory=list)

    def honest(self, user: int, secret: str = PASSWORD) -> None:
        login, address = f"p{user}@hopital-a.test", PLACES[self.family](user)
        try:
            self.door.authenticate(login, secret, address)
        except TooManyGuesses:
            self.locked_out.append(login)
        except BadCredentials:
            if secret == PASSWORD:
                self.locked_out.append(login)

    def guess(self, login: str, address: str) -> None:
        try:
            self.door.authenticate(login, f"essai {self.random.random()}", address)
        except TooManyGuesses:
            return  # not looked at
        except BadCredentials:
            self.guessed[login] += 1

    def second(self, now: int) -> None:
        for user in range(now, USERS, SECONDS):
            if user % 10 == 0:
                self.honest(user, "faute de frappe")
            self.honest(user)
        self.honest(17, OLD)  # a telephone in a drawer
        for _ in range(20):
            bot = BOTS_AT[self.family](self.random.randrange(BOTS))
            self.guess(f"p{self.random.randrange(3)}@hopital-a.test", bot)
            inside = PLACES[self.family](self.random.randrange(USERS))
            self.guess("p17@hopital-a.test", inside)
        self.clock.advance(1)


@pytest.mark.attack("ATT-14")
@pytest.mark.parametrize("family", PLACES)
def test_nobody_honest_is_locked_out_and_nobody_guesses_once_a_second(
    monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    clock = Clock()
    store = Hospital(clock, Entropy())
    store.add_password(store.add("p0@hopital-a.test"), PASSWORD)
    made = store.passwords[1]
    for user in range(1, USERS):
        account = store.add(f"p{user}@hopital-a.test")
        store.passwords[user + 1] = replace(made, id=user + 1)
        store.owners[user + 1] = account
    siege = Siege(Authenticator(store, clock, Entropy(b"process")), clock, family)
    for target in (0, 1, 2, 17):  # their devices have logged in before
        siege.honest(target)
    for now in range(SECONDS):
        siege.second(now)
    assert siege.locked_out == []
    assert set(siege.guessed) == {f"p{n}@hopital-a.test" for n in (0, 1, 2, 17)}
    most = max(siege.guessed.values())
    assert most - guesses.FREE_OF_LOGIN < SECONDS, siege.guessed
