"""Who is logged in: a token in a cookie, and in the store what recognises it.

A session is asked for anew at every request, in every worker: it ends with its logout, the password
that opened it, the account's suspension or closing, half an hour of silence or eight hours (L22,
ATT-18). Everything blocks: to be called in a thread.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mssmtp.config_web import WebSettings
from mssmtp.mail import AccountId, Person
from mssmtp.outside import Clock, Entropy
from mssmtp.portal import StrongLogin, is_current
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.secrets import Secret, SecretKind

KIND: SecretKind = "session"
BY_E_CPS, BY_CARD = "psc", "card"
TOKEN_OCTETS = 24
MOST_LISTED = 100
_MOST_TOKEN = 64
_MOST_AGENT = 200
_EVERY = timedelta(minutes=1)
"""How precisely silence is measured: not every request is a commit."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login of one person. `form_key`: what its forms carry is made of."""

    id: int
    person: Person
    login: StrongLogin
    by: str
    agent: str
    address: str
    until: datetime
    form_key: str = field(repr=False)

    @property
    def account(self) -> AccountId:
        """Whose."""
        return self.login.account


class Sessions:
    """Thread-safe."""

    def __init__(self, store: Store, settings: WebSettings, clock: Clock, entropy: Entropy) -> None:
        self._store, self._settings = store, settings
        self._clock, self._entropy = clock, entropy

    def open(self, login: StrongLogin, by: str, agent: str, address: str) -> str:
        """A new session; its token, of which nothing is kept."""
        token = new_token(self._entropy)
        until = self._until(login.at, login.at)
        content = {
            "at": login.at.isoformat(),
            "by": by,
            "agent": agent[:_MOST_AGENT],
            "address": address,
            "certificate": login.certificate,
        }
        self._store.write(
            lambda writing: writing.new_secret(KIND, token, login.account, until, content)
        ).result()
        return token

    def of(self, token: str) -> Session | None:
        """Whose token that is; None: nobody's any more."""
        if not token or len(token) > _MOST_TOKEN:
            return None
        now = self._clock.now()
        session = self._store.read(lambda reading: _of(reading, token, now)).result()
        if session is not None:
            self._stays(session, now)
        return session

    def _stays(self, session: Session, now: datetime) -> None:
        until = self._until(session.login.at, now)
        if until - session.until >= _EVERY:
            # Nobody waits for it: what a full disk keeps from being noted ends a little sooner.
            self._store.write(lambda writing: writing.prolong_secret(session.id, until))

    def _until(self, since: datetime, now: datetime) -> datetime:
        return min(now + self._settings.session_idle, since + self._settings.session_length)

    def end(self, session: Session) -> None:
        """Logged out."""
        self._store.write(lambda writing: writing.spend_secret(session.id)).result()


def _of(reading: Reading, token: str, now: datetime) -> Session | None:
    found = reading.secret(KIND, token)
    return None if found is None else _opened(reading, found, token, now)


def _opened(reading: Reading, found: Secret, token: str, now: datetime) -> Session | None:
    if found.spent_at is not None or now > found.expires_at:
        return None
    since = datetime.fromisoformat(found.content["at"])
    # Of a session that an older release opened, no card is known.
    login = StrongLogin(found.subject, since, found.content.get("certificate", ""))
    person = reading.person_by_account(found.subject)
    if person is None or not is_current(reading, login):
        return None
    told, by = found.content, found.content["by"]
    if by in (BY_E_CPS, BY_CARD) and not _is_linked(reading, login, by):
        return None
    return Session(
        found.id, person, login, by, told["agent"], told["address"], found.expires_at, token
    )


def _is_linked(reading: Reading, login: StrongLogin, kind: str) -> bool:
    """Whether the account still has an identity of that kind that it had then: unlinked, it opens
    no page more."""
    found = reading.bindings(account=login.account)
    live = (each for each in found if each.kind == kind and each.revoked_at is None)
    return any(each.created_at <= login.at for each in live)


def listed(reading: Reading, account: AccountId) -> tuple[Session, ...]:
    """All of one account that may still be used, the newest first; without their tokens."""
    now = reading.now()
    found = reading.live_secrets(KIND, account, MOST_LISTED)
    opened = (_opened(reading, each, "", now) for each in found)
    return tuple(each for each in opened if each is not None)


def end_one(writing: Writing, own: Session, session: int) -> bool:
    """The holder of `own` ends one of the account's; False: none of theirs, or over already."""
    mine = writing.live_secrets(KIND, own.account, MOST_LISTED)
    if not any(each.id == session for each in mine) or not writing.spend_secret(session):
        return False
    _trace(writing, own, "session fermée")
    return True


def end_all(writing: Writing, own: Session) -> None:
    """The holder of `own` ends every one of the account, `own` too."""
    writing.void_secrets(KIND, own.account)
    _trace(writing, own, "toutes les sessions fermées")


def _trace(writing: Writing, own: Session, done: str) -> None:
    writing.trace("account", str(own.person.usual_address), done, account=own.account)


def new_token(entropy: Entropy) -> str:
    """192 random bits, fit for a cookie."""
    return base64.urlsafe_b64encode(entropy.token_bytes(TOKEN_OCTETS)).decode()
