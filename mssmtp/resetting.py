"""A forgotten password of the portal: a link by mail, then a code by mail, once each (DEF-09, L22).

Three calls. What is asked for and what is answered tell nobody whether an account exists. Whose
first factor is a hospital's own directory or provider has no password of ours to forget. Everything
blocks: to be called in a thread.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mssmtp import codes
from mssmtp.errors import BadAddress, Reply
from mssmtp.identity import LoginRefused, portal_password
from mssmtp.mail import Address, Person, PersonState
from mssmtp.notices import Desk, Kind
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.secrets import NO_ACCOUNT

KIND: Final = "reset"
VALID = timedelta(hours=1)
"""Up to and including the last second."""
ONE_PER = timedelta(minutes=5)
"""Links of one account: nobody's usual address is flooded. A new link leaves those of the last hour
alone, twelve at most: else whoever asks again and again would have the holder's end before it was
opened. The first that is used ends them all."""
PATH = "mot-de-passe"
_TOKEN_OCTETS = 16
_MOST = 320


class LinkRefused(LoginRefused):
    """A reset link that was used, is too old, or is none of ours."""

    smtp = Reply(535, "5.7.8", "Ce lien a déjà servi ou a expiré ; demandez-en un nouveau.")
    imap = "AUTHENTICATIONFAILED"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the holder of the link brings back: the attempt and its code, the password twice."""

    attempt: str = field(repr=False)
    code: str = field(repr=False)
    password: str = field(repr=False)
    again: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resetting:
    """`is_elsewhere`: a hospital's own directory or provider knows the password of this person."""

    store: Store
    desk: Desk
    clock: Clock
    entropy: Entropy
    is_elsewhere: Callable[[Address], bool]

    def ask(self, usual: str) -> None:
        """Mail a link to whoever has an account under this usual address. One commit in any case.

        Raises NoticesDown, whether there is one or not.
        """
        token = base64.urlsafe_b64encode(self.entropy.token_bytes(_TOKEN_OCTETS)).decode()
        token, now, named = token.rstrip("="), self.clock.now(), _address(usual)

        def job(writing: Writing) -> None:
            self.desk.require(writing)
            person = None if named is None else _entitled(writing, writing.person(named))
            if person is None or self.is_elsewhere(person.usual_address):
                leave_a_mark(writing, token, now)
                return
            before = writing.newest_secret(KIND, person.account)
            if before is not None and now - before.created_at < ONE_PER:
                leave_a_mark(writing, token, now)
                return
            writing.new_secret(KIND, token, person.account, now + VALID)
            self.desk.tell(writing, Kind.RESET, person, {"link": self.desk.link(f"{PATH}#{token}")})
            writing.trace("account", named_as(person), "lien demandé", account=person.account)

        self.store.write(job).result()

    def open(self, token: str) -> str:
        """The link was opened: mail a code; the token of the attempt.

        Raises LinkRefused, CodeTooSoon, NoticesDown.
        """
        drawn = codes.draw(self.entropy, self.clock.now())

        def job(writing: Writing) -> str:
            _, person = _linked(writing, token, drawn.at)
            return codes.issue(writing, self.desk, person, "reset", drawn)

        return self.store.write(job).result()

    def finish(self, token: str, shown: Shown) -> Person:
        """Choose the password. The link is spent with the code, and by nothing less.

        Raises WeakPassword, LinkRefused, CodeRefused.
        """
        portal_password.check(shown.password, shown.again)
        now = self.clock.now()
        # Before the slow hash: who has no link costs us nothing.
        self.store.read(lambda reading: _linked(reading, token, now)).result()
        made = portal_password.hashed(shown.password, self.entropy)

        def job(writing: Writing) -> Person | None:
            id, person = _linked(writing, token, now)
            code = shown.code.strip()[:_MOST]
            account = codes.accept(writing, shown.attempt[:_MOST], code, "reset", now)
            if account != person.account or not writing.spend_secret(id):
                return None
            choose(writing, self.desk, person, made)
            return person

        person = self.store.write(job).result()
        if person is None:
            raise codes.CodeRefused
        return person


def choose(writing: Writing, desk: Desk, person: Person, made: str) -> None:
    """What was on its way belongs to the password of before. Devices have passwords of their own
    and stay; their holder is told, and may revoke them."""
    writing.set_portal_password(person.account, made)
    writing.void_secrets("code", person.account)
    writing.void_secrets(KIND, person.account)
    writing.trace("account", named_as(person), "mot de passe remplacé", account=person.account)
    at = desk.moment(writing.now(), person.language)
    told = {"device": "portail", "event": "Votre mot de passe a été remplacé.", "time": at}
    desk.tell(writing, Kind.DEVICE, person, told)


def named_as(person: Person) -> str:
    """As the log of the account says who acted."""
    return str(person.usual_address)


def leave_a_mark(writing: Writing, token: str, now: datetime) -> None:
    """Nothing is mailed. One row of nobody's is changed all the same: a commit that changes nothing
    does not wait for the disk, and its time would tell who has an account. Nobody has its link."""
    before = writing.newest_secret(KIND, NO_ACCOUNT)
    if before is None:
        writing.new_secret(KIND, token, NO_ACCOUNT, now + VALID)
    else:
        writing.miss_secret(before.id)


def _address(text: str) -> Address | None:
    try:
        return Address.parse(text.strip()[:_MOST])
    except BadAddress:
        return None


def _linked(reading: Reading, token: str, now: datetime) -> tuple[int, Person]:
    """Raises LinkRefused: unknown, used, too old, or its person may not log in."""
    found = reading.secret(KIND, token[:_MOST])
    if found is None or found.spent_at is not None or now > found.expires_at:
        raise LinkRefused
    person = _entitled(reading, reading.person_by_account(found.subject))
    if person is None:
        raise LinkRefused
    return found.id, person


def _entitled(reading: Reading, person: Person | None) -> Person | None:
    """Who has a password, or may have one: not merely pre-registered, and not stopped (OP-50)."""
    if person is None or person.state is PersonState.PRE_REGISTERED:
        return None
    login = reading.account_login(person.account)
    account = None if login is None else reading.account(login)
    return person if account is not None and account.active else None
