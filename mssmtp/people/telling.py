"""Whom a box concerns, when something is to be told by service mail."""

from __future__ import annotations

from mssmtp.mail import Address, Bal, BalType, Person, StructureId
from mssmtp.storage import Reading

MOST_TOLD = 20


def holders(reading: Reading, box: Bal) -> tuple[Person | Address, ...]:
    """The holder of a box; the members of an ORG box; else the administrators of its structure."""
    account = reading.account_of(box.id)
    person = None if account is None else reading.person_by_account(account.id)
    if person is not None:
        return (person,)
    if box.usual_address is not None:
        return (box.usual_address,)
    if box.type is BalType.ORG:
        members = (reading.person_by_account(who) for who, _ in reading.members(box.id))
        found = tuple(each for each in members if each is not None)
        if found:
            return found[:MOST_TOLD]
    return administrators(reading, box.structure)


def administrators(reading: Reading, structure: StructureId | None) -> tuple[Address, ...]:
    """Addresses of those of a structure; of the operator's when it has none."""
    everybody = reading.administrators()
    own = [
        each for each in everybody if structure is not None and each.actor.structure == structure
    ]
    wide = [each for each in everybody if not each.actor.scope]
    for some in (own, wide):
        found = tuple(each.address for each in some if each.address is not None)
        if found:
            return found[:MOST_TOLD]
    return ()
