"""Logging in to the portal: usual address and password, then a code by mail (SEED-09).

Two calls, and no way around the second: a `StrongLogin` is made by a code alone. The password is
chosen where the account is finalised (`bulk/activation.py`), or replaced (`resetting.py`).
Everything blocks: to be called in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from mssmtp import codes, resetting
from mssmtp.directories import Directories
from mssmtp.errors import BadAddress, Reply
from mssmtp.identity import BadCredentials, LoginRefused, TooManyGuesses, portal_password
from mssmtp.identity.guesses import Guesses
from mssmtp.identity.noting import Hourly
from mssmtp.mail import AccountId, Address, Person, PersonState
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.people import inactivity, persons
from mssmtp.providers import Providers
from mssmtp.resetting import Shown
from mssmtp.storage import Reading, Store, Writing

logger = logging.getLogger(__name__)

_MOST = 320
"""Characters of a login, password or token that are looked at."""


class NotAnAddress(LoginRefused):
    """The login of the portal is the usual e-mail address (L09)."""

    smtp = Reply(501, "5.1.3", "L'identifiant du portail est votre adresse e-mail habituelle.")
    imap = "CANNOT"


class PortalRefused(LoginRefused):
    """Unknown address, wrong or no password, suspended account: one answer for all (ATT-21)."""

    smtp = Reply(535, "5.7.8", "Adresse ou mot de passe incorrect ; vérifiez-les.")
    imap = "AUTHENTICATIONFAILED"


class ProviderFirst(LoginRefused):
    """People of these addresses log in at their hospital's own provider (`[[providers]]`)."""

    smtp = Reply(
        535, "5.7.8", "Votre établissement a sa propre page de connexion ; connectez-vous par elle."
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False


class PasswordElsewhere(LoginRefused):
    """A hospital's own directory or provider keeps the password of this person."""

    smtp = Reply(
        550, "5.7.1", "Votre mot de passe est tenu par votre établissement ; changez-le chez lui."
    )
    imap = "CANNOT"
    is_guess = False


class WrongPassword(LoginRefused):
    """Who is logged in and wants another password has not shown the present one."""

    smtp = Reply(535, "5.7.8", "Le mot de passe actuel n'est pas celui-là ; vérifiez-le.")
    imap = "AUTHENTICATIONFAILED"


@dataclass(frozen=True, slots=True)
class StrongLogin:
    """Somebody who has shown two factors; what a session and a new device are made for (CL-31).

    `certificate`: SHA-256 in hex of that of the card that was shown; "": none was.
    """

    account: AccountId
    at: datetime
    certificate: str = ""


class Portal:
    """One per process; thread-safe."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        clock: Clock,
        entropy: Entropy,
        directories: Directories | None = None,
        providers: Providers | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        """`directories`: hospitals' own, which are asked in place of a password of ours.
        `providers`: where others log in, by `provider_login`. `guesses`: the count of all
        workers."""
        self._directories, self._providers = directories, providers
        self._store, self._desk, self._clock, self._entropy = store, desk, clock, entropy
        self._guesses = guesses or Guesses.alone(entropy)
        self._key = entropy.token_bytes(32)
        self._refused, self._wrong_codes = Hourly(), Hourly()

    def begin(self, usual: str, password: str, address: str = "") -> str:
        """Check the first factor and mail a code; the token of the attempt, for `finish`.

        Raises NotAnAddress, ProviderFirst, PortalRefused, TooManyGuesses, CodeTooSoon,
        CodesGuessed, NoticesDown.
        """
        password = password[:_MOST]
        try:
            named = Address.parse(usual.strip()[:_MOST])
        except BadAddress as error:
            raise NotAnAddress from error
        # By its domain alone: whether the address is known shows elsewhere no more than here.
        if self._providers is not None and self._providers.of_person(named) is not None:
            raise ProviderFirst
        wait = self._guesses.begin(named.key, address, self._clock.monotonic())
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)
        person, stored = self._store.read(lambda reading: _known(reading, named)).result()
        if not self._is_right(named, password, stored) or person is None:
            self._note_refusal(person, address)
            raise PortalRefused(delay_s=self._wrong(named, password, address))
        self._guesses.right(named.key, address, self._clock.monotonic())
        drawn = codes.draw(self._entropy, self._clock.now())
        issued = self._store.write(
            lambda writing: codes.issue(writing, self._desk, person, "login", drawn)
        )
        return issued.result()

    def begin_change(self, account: AccountId, password: str, address: str = "") -> str:
        """Of who is logged in: check the present password and mail a code; the token of the
        attempt, for `finish_change`. A browser left open changes no password.

        Raises PasswordElsewhere, WrongPassword, TooManyGuesses, CodeTooSoon, CodesGuessed,
        NoticesDown.
        """
        password = password[:_MOST]
        person, stored = self._store.read(lambda reading: _holder(reading, account)).result()
        named = person.usual_address
        if self._is_elsewhere(named):
            raise PasswordElsewhere
        wait = self._guesses.begin(named.key, address, self._clock.monotonic())
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)
        if not portal_password.is_right(password, stored):
            raise WrongPassword(delay_s=self._wrong(named, password, address))
        self._guesses.right(named.key, address, self._clock.monotonic())
        drawn = codes.draw(self._entropy, self._clock.now())
        return self._store.write(
            lambda writing: codes.issue(writing, self._desk, person, "password", drawn)
        ).result()

    def finish_change(self, account: AccountId, shown: Shown) -> StrongLogin:
        """Spend the code and choose the password, which ends every session; the login that one may
        go on with. Raises WeakPassword, CodeRefused."""
        portal_password.check(shown.password, shown.again)
        made = portal_password.hashed(shown.password, self._entropy)
        now = self._clock.now()

        def job(writing: Writing) -> bool:
            code = shown.code.strip()[:_MOST]
            found = codes.accept(writing, shown.attempt[:_MOST], code, "password", now)
            if found != account or not may_log_in(writing, account):
                return False
            person, _ = _holder(writing, account)
            resetting.choose(writing, self._desk, person, made)
            return True

        if not self._store.write(job).result():
            raise codes.CodeRefused
        return StrongLogin(account, self._clock.now())

    def _is_elsewhere(self, named: Address) -> bool:
        directory = None if self._directories is None else self._directories.of_person(named)
        provider = None if self._providers is None else self._providers.of_person(named)
        return directory is not None or provider is not None

    def _wrong(self, named: Address, password: str, address: str) -> float:
        """Counted; seconds to hold the answer back."""
        secret = hmac.digest(self._key, password.encode("utf-8", "replace"), hashlib.sha256)
        return self._guesses.wrong(named.key, address, secret, self._clock.monotonic())

    def _note_refusal(self, person: Person | None, address: str) -> None:
        """In the log of whose account that is, once an hour; nobody waits for it (ATT-21)."""
        if person is None or not self._refused.is_due(person.account, self._clock.now()):
            return
        request = f"portail, mot de passe{_whence(address)}"
        author = resetting.named_as(person)
        self._store.write(
            lambda w: w.trace("login", author, request, "refused", account=person.account)
        ).add_done_callback(_missed)

    def _note_wrong_code(self, writing: Writing, attempt: str, address: str) -> None:
        """In the log of whose account that is, once an hour: the password was right (SEED-48)."""
        found = writing.secret("code", attempt)
        if found is not None and self._wrong_codes.is_due(found.subject, self._clock.now()):
            author = writing.account_login(found.subject) or ""
            request = f"portail, code{_whence(address)}"
            writing.trace("login", author, request, "refused", account=found.subject)

    def _is_right(self, named: Address, password: str, stored: str | None) -> bool:
        """The first factor. Raises DirectoryAway."""
        factor = None if self._directories is None else self._directories.of_person(named)
        if factor is None:
            return portal_password.is_right(password, stored)
        try:
            return factor.check(named, password).address == named
        except BadCredentials:
            return False

    def finish(self, attempt: str, code: str, address: str = "") -> StrongLogin:
        """Spend the code. Raises CodeRefused."""
        now, attempt = self._clock.now(), attempt[:_MOST]

        def job(writing: Writing) -> AccountId | None:
            account = codes.accept(writing, attempt, code.strip()[:_MOST], "login", now)
            if account is None:
                self._note_wrong_code(writing, attempt, address)
            if account is None or not _may(writing, account):
                return None
            if _bound(writing, account, codes.beside(writing, attempt)):
                author = writing.account_login(account) or ""
                writing.trace("login", author, f"portail, code{_whence(address)}", account=account)
                persons.note_strong_authentication(writing, account, "code")
                if (box := writing.box_of(account)) is not None:
                    inactivity.keep(writing, box)
                return account
            return None

        account = self._store.write(job).result()
        if account is None:
            raise codes.CodeRefused
        return StrongLogin(account, now)

    def is_current(self, login: StrongLogin) -> bool:
        """As the function, in a transaction of its own."""
        return self._store.read(lambda reading: is_current(reading, login)).result()


def _holder(reading: Reading, account: AccountId) -> tuple[Person, str | None]:
    """Who is logged in, and what is stored of the password. Raises PortalRefused."""
    person = reading.person_by_account(account)
    if person is None or not may_log_in(reading, account):
        raise PortalRefused
    return person, reading.portal_password(account)


def _whence(address: str) -> str:
    return f", depuis {address}" if address else ""


def _missed(done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        logger.warning("refused login not traced", extra={"kind": type(error).__name__})


def is_current(reading: Reading, login: StrongLogin) -> bool:
    """A session made for it may go on: the account still may log in, its password was not replaced
    since (L22), and the card it was opened by is not suspended (OP-79). Asked at each request, as
    rights are (ATT-18)."""
    since = reading.portal_password_since(login.account)
    if since is not None and since > login.at:
        return False
    if login.certificate and reading.is_suspended("certificate", login.certificate):
        return False
    return may_log_in(reading, login.account)


def _known(reading: Reading, usual: Address) -> tuple[Person | None, str | None]:
    """The person who may log in, and what is stored of the password; the same reads for all."""
    person = reading.person(usual)
    account = AccountId(0) if person is None else person.account
    stored = reading.portal_password(account)
    is_in = person is not None and person.state is not PersonState.PRE_REGISTERED
    return (person if is_in and _may(reading, account) else None), stored


def is_same(reading: Reading, subject: str, account: AccountId) -> bool:
    """The account that this identity at a provider had before, or neither had one there."""
    if (bound := reading.bound_account("oidc", subject)) is not None:
        return bound == account
    issuer = subject.partition(" ")[0] + " "
    return not any(
        each.kind == "oidc" and each.revoked_at is None and each.subject.startswith(issuer)
        for each in reading.bindings(account=account)
    )


def _bound(writing: Writing, account: AccountId, shown: Mapping[str, str]) -> bool:
    """The identity that came by a provider is the account's from the first code on, and not before:
    who is only named by a claim cannot take the place of its holder. False: it is another's."""
    subject = shown.get("oidc")
    if subject is None or writing.bound_account("oidc", subject) == account:
        return True
    if not is_same(writing, subject, account):
        return False
    writing.bind_account("oidc", subject, account, shown["provider"])
    author = writing.account_login(account) or ""
    writing.trace("account", author, f"identité liée : {shown['provider']}", account=account)
    return True


def may_log_in(reading: Reading, account: AccountId) -> bool:
    """An active account of somebody who is not merely pre-registered (OP-50)."""
    person = reading.person_by_account(account)
    is_in = person is not None and person.state is not PersonState.PRE_REGISTERED
    return is_in and _may(reading, account)


def _may(reading: Reading, account: AccountId) -> bool:
    login = reading.account_login(account)
    found = None if login is None else reading.account(login)
    return found is not None and found.active
