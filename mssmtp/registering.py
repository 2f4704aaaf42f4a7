"""Who registers by themselves: an address, a link by mail, an account, a request (SEED-33 to 36).

What is asked for and what is answered tell nobody whether an address is known (ATT-21): its holder
is told by mail. The same link lets in whoever a letter waits for (SEED-35). Everything blocks: to
be called in a thread.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from mssmtp.config import Settings
from mssmtp.errors import BadAddress, MailError, Reply
from mssmtp.identity import national_id, portal_password
from mssmtp.mail import AccountId, Address, Domain, Person, PersonState
from mssmtp.notices import Desk, Kind
from mssmtp.notices.inviting import CONFIRMATION, LINK_LASTS, TOKEN_OCTETS
from mssmtp.outside import Clock, Entropy
from mssmtp.people import invited, persons, records
from mssmtp.people.invited import ConfirmationRefused, Confirmed, home_of
from mssmtp.people.refusing import NotAllowed
from mssmtp.portal import ProviderFirst
from mssmtp.resetting import PATH as RESET
from mssmtp.resetting import leave_a_mark
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.secrets import NO_ACCOUNT

PATH = "confirmation"
ONE_PER = timedelta(minutes=5)
MOST = 5
"""Mails to one address in the time that a link lasts: typing one floods nobody (ATT-44)."""
MOST_NAME = 100
_MOST = 320


class NotUsual(MailError):
    """No ordinary mail address: registration mails a link there (SEED-33)."""

    smtp = Reply(
        501, "5.1.3", "Donnez votre adresse e-mail habituelle, autre qu'une adresse MSSanté."
    )
    imap = "CANNOT"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form behind a link shows and asks: names as they were typed, how many letters wait,
    whether a password and the three conditions of SEED-31 are wanted."""

    usual: Address
    last_name: str
    first_name: str
    letters: int
    wants_password: bool
    wants_attestation: bool


@dataclass(frozen=True, slots=True)
class Given:
    """What the form gives; the password twice, each condition of SEED-31 as it was ticked."""

    last_name: str
    first_name: str
    password: str = field(default="", repr=False)
    again: str = field(default="", repr=False)
    conditions: Mapping[str, bool] = field(default_factory=dict)
    language: str = "fr"


@dataclass(frozen=True, slots=True)
class Registering:
    """`home`: the domain of new boxes. `is_elsewhere`: a hospital's own directory or provider knows
    the people of this address."""

    store: Store
    desk: Desk
    clock: Clock
    entropy: Entropy
    home: Domain
    is_elsewhere: Callable[[Address], bool]

    @classmethod
    def of(
        cls, settings: Settings, store: Store, desk: Desk, clock: Clock, entropy: Entropy
    ) -> Self:
        """By the whole settings."""
        elsewhere = {domain for each in settings.directories for domain in each.usual_domains}
        elsewhere |= {domain for each in settings.providers for domain in each.usual_domains}

        def is_elsewhere(usual: Address) -> bool:
            return usual.domain in elsewhere

        return cls(store, desk, clock, entropy, home_of(settings), is_elsewhere)

    # ------------------------------------------------------------ the address

    def ask(self, usual: str, names: tuple[str, str], language: str = "fr") -> None:
        """Mail a link to an address that has no account; to one that has, that it has. Last and
        first name are kept with the link alone. One commit, and one mail, in any case.

        Raises NotUsual, ProviderFirst, NotAllowed, NoticesDown, whether it is known or not.
        """
        named, last_name, first_name = self._usual(usual), *map(_name, names)
        now, token = self.clock.now(), self._token()

        def job(writing: Writing) -> None:
            self.desk.require(writing)
            person = writing.person(named)
            waits = bool(writing.invited(named))
            if self._was_told_lately(writing, named, now):
                leave_a_mark(writing, token, now)
            elif person is None or waits:
                content = {"last_name": last_name, "first_name": first_name}
                content |= {"address": str(named), "language": language}
                writing.new_secret(CONFIRMATION, token, NO_ACCOUNT, now + LINK_LASTS, content)
                said = {"link": self.desk.link(f"{PATH}#{token}")}
                self.desk.tell(writing, Kind.REGISTRATION, named, said, language=language)
            else:
                leave_a_mark(writing, token, now)
                said = {"link": self.desk.link(""), "reset": self.desk.link(RESET)}
                self.desk.tell(writing, Kind.REGISTERED, person, said)

        self.store.write(job).result()

    def _usual(self, text: str) -> Address:
        """By its domain alone: nothing is said of the address itself."""
        try:
            named = Address.parse(text.strip()[:_MOST])
        except BadAddress as error:
            raise NotUsual from error
        if self.desk.is_ours(named):
            raise NotUsual
        if self.is_elsewhere(named):
            raise ProviderFirst
        return named

    def _token(self) -> str:
        octets = self.entropy.token_bytes(TOKEN_OCTETS)
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")

    @staticmethod
    def _was_told_lately(reading: Reading, named: Address, now: datetime) -> bool:
        def told(since: datetime) -> int:
            kinds = (Kind.REGISTRATION, Kind.REGISTERED)
            return sum(reading.noticed_since(named, kind, since) for kind in kinds)

        return bool(told(now - ONE_PER)) or told(now - LINK_LASTS) >= MOST

    # ------------------------------------------------------------ the link

    def look(self, token: str) -> Asked:
        """What the link asks for; looking spends nothing. Raises ConfirmationRefused."""
        return self.store.read(lambda reading: self._asked(reading, token)).result()

    def _asked(self, reading: Reading, token: str) -> Asked:
        content = invited.linked(reading, token[:_MOST]).content
        usual = Address.parse(content["address"])
        person = reading.person(usual)
        names = (content.get("last_name", ""), content.get("first_name", ""))
        if person is not None:
            names = (person.last_name, person.first_name)
        is_loaded = person is not None and person.state is PersonState.PRE_REGISTERED
        return Asked(
            usual,
            *names,
            letters=len(reading.invited(usual)),
            wants_password=not is_loaded and self._has_no_password(reading, usual, person),
            wants_attestation=not is_loaded
            and (person is None or persons.needs_attestation(reading, person)),
        )

    def _has_no_password(self, reading: Reading, usual: Address, person: Person | None) -> bool:
        if self.is_elsewhere(usual):
            return False
        return person is None or reading.portal_password(person.account) is None

    def finish(self, token: str, given: Given) -> Confirmed:
        """Account, box, and the letters that wait; who had an account keeps it as it is.

        Raises ConfirmationRefused, WeakPassword, NotAllowed.
        """
        asked = self.look(token)
        names = asked.last_name, asked.first_name
        if given.last_name or given.first_name:
            names = _name(given.last_name), _name(given.first_name)
        made = None
        if asked.wants_password:
            portal_password.check(given.password, given.again)
            made = portal_password.hashed(given.password, self.entropy)

        def job(writing: Writing) -> Confirmed:
            now = self._asked(writing, token)
            done = invited.confirm(writing, token[:_MOST], names, self.home, given.language)
            if now.wants_attestation:
                persons.attest(writing, done.person, writing.now(), given.conditions)
            if now.wants_password:
                if made is None:
                    raise ConfirmationRefused
                writing.set_portal_password(done.person.account, made)
            author = str(done.person.usual_address)
            told = f"adresse confirmée, {done.letters} enveloppes"
            writing.trace("account", author, told, account=done.person.account)
            return done

        return self.store.write(job).result()

    # ------------------------------------------------------------ the request

    def request(
        self,
        account: AccountId,
        said: Mapping[str, str],
        conditions: Mapping[str, bool] | None = None,
    ) -> None:
        """The registration is complete: certification is asked for (SEED-34, SEED-36).

        What the person says of itself is kept for whoever certifies, and gives nothing: a number
        that somebody else claims is not taken from its holder. `conditions` of SEED-31, where they
        were not affirmed yet. Raises NotAllowed, BadNationalId.
        """
        told = {name: text.strip()[:MOST_NAME] for name, text in said.items() if text.strip()}
        if number := told.get("number"):
            told["number"] = national_id.parse(number)

        def job(writing: Writing) -> None:
            person = writing.person_by_account(account)
            if person is None:
                raise NotAllowed("inscription", "ce compte n'a pas de personne", "Rien à demander.")
            now = writing.now()
            if conditions is not None and persons.needs_attestation(writing, person):
                persons.attest(writing, person, now, conditions)
            persons.ask_certification(writing, person)
            record = records.declared(records.REGISTRATION, now, now, told)
            writing.add_record("person", person.id, record)
            author = str(person.usual_address)
            writing.trace("account", author, "certification demandée", account=account)

        self.store.write(job).result()


def _name(text: str) -> str:
    """A name as it is typed. Raises NotAllowed."""
    name = " ".join(text.split())
    if not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise NotAllowed(
            "nom",
            "le nom et le prénom sont à donner, de 100 caractères au plus",
            "Complétez, puis recommencez.",
        )
    return name
