"""Every week the register is asked again about whoever is certified (OP-45).

A right that was closed suspends the account and tells the administrator; it never deletes.
"""

from __future__ import annotations

from mssmtp.mail import Person, PersonState
from mssmtp.notices import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.people import persons, telling
from mssmtp.people.register import Register, Standing
from mssmtp.storage import Writing

_REASONS = {
    Standing.CLOSED: "son droit d'exercer est clos dans l'annuaire",
    Standing.OTHER: "son numéro est celui d'une autre personne dans l'annuaire",
}


def recheck(writing: Writing, desk: Desk, register: Register, person: Person) -> Standing:
    """Ask about one person, now. What the register does not know changes nothing."""
    now = writing.now()
    current = persons.present(writing, person)
    standing = register.standing(writing, current)
    writing.mark_person(person.id, "checked_at", now)
    reason = _REASONS.get(standing)
    if reason is None or current.state is not PersonState.CERTIFIED:
        return standing
    persons.suspend(writing, current)
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
