"""Every week the register is asked again about whoever is certified (OP-45).

A right that was closed suspends the account and tells the administrator; it never deletes.
"""

from __future__ import annotations

from datetime import datetime

from mssmtp.mail import Person, PersonState
from mssmtp.notices import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.people import boxes, persons, telling
from mssmtp.people.register import Register, Standing
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import Record

_REASONS = {
    Standing.CLOSED: "son droit d'exercer est clos dans l'annuaire",
    Standing.OTHER: "son numéro est celui d'une autre personne dans l'annuaire",
}
_TOLD = "exercise-ended"
"""Record of what administrators were told, once; what they do about it is up to them."""


def ended_since(reading: Reading, person: Person) -> datetime | None:
    """When the register was first heard to say that the person may not exercise, of an account that
    is still suspended."""
    told = reading.records("person", person.id).get(_TOLD)
    is_over = told is None or boxes.is_open_account(reading, person.account)
    return None if told is None or is_over else told.at


def recheck(writing: Writing, desk: Desk, register: Register, person: Person) -> Standing:
    """Ask about one person, now. What the register does not know changes nothing."""
    now = writing.now()
    current = persons.present(writing, person)
    standing = register.standing(writing, current)
    writing.mark_person(person.id, "checked_at", now)
    reason = _REASONS.get(standing)
    if reason is None or current.state is not PersonState.CERTIFIED:
        return standing
    told = writing.records("person", person.id).get(_TOLD)
    was_open = boxes.is_open_account(writing, person.account)
    persons.suspend(writing, current)
    if not was_open and told is not None and told.values["standing"] == standing:
        return standing  # said the first time; `person show` goes on saying it
    writing.add_record("person", person.id, Record(_TOLD, now, {"standing": str(standing)}))
    writing.trace(
        "administration",
        "mssmtp",
        f"suspend: register says {standing}",
        account=person.account,
        structure=person.structure,
    )
    values = {
        "person": f"{person.first_name} {person.last_name}",
        "reason": reason,
        "date": f"{now:%d/%m/%Y}",
    }
    for to in telling.administrators(writing, person.structure):
        desk.tell(writing, Kind.EXERCISE_ENDED, to, values)
    return standing
