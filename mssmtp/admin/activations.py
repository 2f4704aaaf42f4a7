"""Operations on accounts that wait to be finalised: tell their holders, finalise (DEF-11, SEED-40).

`person.finalise` is asked for by the portal, which shows the page a link leads to; who holds the
secret of the link is authority enough, and whoever asks cannot do without it.
"""

from __future__ import annotations

import itertools
from datetime import timedelta

from pydantic import Field, SecretStr

from mssmtp.admin import finding, persons, structures
from mssmtp.admin.operation import Answer, Desk, Input, Office, Operation, Row, operation
from mssmtp.bulk import activation
from mssmtp.bulk.activation import Choice, Inviting
from mssmtp.identity import portal_password
from mssmtp.mail import AdminLevel, Person, PersonState
from mssmtp.notices import Desk as NoticeDesk
from mssmtp.people.register import LocalRegister
from mssmtp.people.rules import Rules
from mssmtp.storage import Writing

MOST = 500
"""People told in one call."""


class Waiting(structures.Of):
    """People of a structure; who was told before is left out without `again`.

    `after` is the last one of the call before.
    """

    again: bool = False
    after: int = 0


class Finalised(Input):
    """The secret of a link, and what its holder chose; the password twice (SEED-11)."""

    token: SecretStr = Field(max_length=64)
    password: SecretStr = Field(max_length=256)
    again: SecretStr = Field(max_length=256)
    attests: bool = False


def inviting(office: Office) -> Inviting:
    """What sends links, by the settings."""
    lasts = timedelta(days=office.settings.prereg.activation_days)
    return Inviting(NoticeDesk.of(office.settings, office.clock), office.entropy, lasts)


def _notify(desk: Desk[persons.Known]) -> Answer:
    """Mail a person who was loaded the link to finalise the account; an older link ends."""
    sender = inviting(desk.office)
    sender.require()

    def job(writing: Writing) -> Row:
        person = persons.person_of(writing, desk.input.person)
        return _told(writing, sender, person)

    return desk.write(job)


def _notify_all(desk: Desk[Waiting]) -> Answer:
    """Mail everybody of a structure who was loaded and not told yet the link (SEED-40)."""
    given, sender = desk.input, inviting(desk.office)
    sender.require()

    def job(writing: Writing) -> list[Row]:
        structure = structures.named(writing, desk.actor, given.structure)
        waiting = (
            person
            for person in writing.each_person_of(
                structure.id, given.after, PersonState.PRE_REGISTERED
            )
            if given.again or writing.person_dates(person.id).told_at is None
        )
        return [_told(writing, sender, person) for person in itertools.islice(waiting, MOST)]

    return desk.write(job)


def _told(writing: Writing, sender: Inviting, person: Person) -> Row:
    structure = finding.structure_of(writing, person.structure)
    sender.invite(writing, person, structure.name if structure else "")
    return {"id": person.id, "person": str(person.usual_address)}


def _finalise(desk: Desk[Finalised]) -> Answer:
    """Finalise an account by the link its holder was sent: it is certified (DEF-11)."""
    given, office = desk.input, desk.office
    token = given.token.get_secret_value()
    # Before the slow hash: whoever has no link gets none out of us.
    desk.read(lambda reading: activation.holder(reading, token))
    password = given.password.get_secret_value()
    portal_password.check(password, given.again.get_secret_value())
    argon2 = portal_password.hashed(password, office.entropy)

    def job(writing: Writing) -> Row:
        choice = Choice(argon2, given.attests)
        rules = Rules.of(office.settings)
        person = activation.finalise(writing, rules, LocalRegister(), token, choice)
        box = writing.box_of(person.account)
        return {
            "person": str(person.usual_address),
            "state": person.state.value,
            "box": str(box.address) if box else "",
        }

    return desk.write(job)


OPERATIONS: tuple[Operation, ...] = (
    operation("person.notify", AdminLevel.STRUCTURE, persons.Known, persons.of_person, _notify),
    operation(
        "structure.notify", AdminLevel.STRUCTURE, Waiting, structures.of_structure, _notify_all
    ),
    operation("person.finalise", AdminLevel.OPERATOR, Finalised, finding.nobody, _finalise),
)
