"""Whoever was invited proves the address, gets an account and a box, and opens what waits.

SEED-35. The person is not certified: the box opens what it receives and answers its senders, inside
the operator, until somebody certifies (SEED-37).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mssmtp.config import Settings
from mssmtp.errors import MailError, Reply
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalType,
    Domain,
    Person,
    PersonState,
)
from mssmtp.people import naming, persons
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import NewPerson
from mssmtp.storage.secrets import Secret

CONFIRMATION: Final = "confirmation"
NAMELESS: Final = "compte"


class ConfirmationRefused(MailError):
    """The link of a confirmation is unknown, was used, or has ended: one answer for all."""

    smtp = Reply(
        550, "5.7.1", "Ce lien n'est plus valable ; demandez-en un autre, le message vous attend."
    )
    imap = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What whoever confirmed an address has now."""

    person: Person
    box: Bal
    letters: int


def confirm(
    writing: Writing, token: str, names: tuple[str, str], domain: Domain, language: str = "fr"
) -> Confirmed:
    """The link was opened: `names` are first and last name, as the form asks (SEED-33); `domain` is
    where the box is made, if there is none yet.

    Raises ConfirmationRefused, NotAllowed.
    """
    secret = linked(writing, token)
    if secret.expires_at <= writing.now() or not writing.spend_secret(secret.id):
        raise ConfirmationRefused
    usual = Address.parse(secret.content["address"])
    person = writing.person(usual) or persons.self_register(
        writing, NewPerson(usual, *names, language=language)
    )
    box = writing.box_of(person.account) or _new_box(writing, person, domain)
    return Confirmed(person, box, open_waiting(writing, usual, box))


def linked(reading: Reading, token: str) -> Secret:
    """The link of `token`, while it is good. Raises ConfirmationRefused."""
    secret = reading.secret(CONFIRMATION, token)
    if secret is None or secret.spent_at is not None or secret.expires_at <= reading.now():
        raise ConfirmationRefused
    return secret


def home_of(settings: Settings) -> Domain:
    """Where boxes of people without a structure are made: a domain that structures share and that
    is served here, or else the operator's own. The settings may name shared domains of others,
    where nothing would arrive."""
    rules = Rules.of(settings)
    shared = (domain for domain in rules.generic if domain in rules.served)
    return next(shared, settings.operator.domains[0])


def open_waiting(writing: Writing, usual: Address, box: Bal) -> int:
    """The address is its holder's: what waits for it goes into `box`; how many letters."""
    letters = writing.invited(usual)
    for letter in letters:
        writing.open_invited(letter, box.id)
    return len(letters)


def _new_box(writing: Writing, person: Person, domain: Domain) -> Bal:
    """Of type INT: nobody finds it in a directory, and nobody elsewhere writes to it (DEF-08)."""
    try:
        local = naming.personal(person.first_name, person.last_name)
    except NotAllowed:  # a name in other letters: nobody is asked to spell an address
        local = NAMELESS
    made = writing.add_box(
        Bal(
            BalId(0),
            naming.free_address(writing, local, domain),
            BalType.INT,
            person=PersonState.NOT_CERTIFIED,
            usual_address=person.usual_address,
            exchanges=False,
        )
    )
    writing.give_box(person.account, made.id)
    return made
