"""A person with boxes in two structures: each ends its own part, and reaches no further (OP-49).

Who is left without a box elsewhere leaves, or is suspended, altogether.
"""

from __future__ import annotations

from dataclasses import replace

from mssmtp.mail import AccountId, Bal, BalId, BalState, Person, Role, StructureId
from mssmtp.people import boxes, persons
from mssmtp.people.register import Register
from mssmtp.storage import Reading, Writing
from mssmtp.storage.bindings import BindingKind
from mssmtp.storage.people_values import Record

MOVED = "moved"
"""Record of who has left one structure and goes on in another; it says which, and the box."""
_SUSPENDED = "partial-suspension"
_OF_A_STRUCTURE: frozenset[BindingKind] = frozenset({"oidc", "ldap"})
"""Identities that a structure vouches for; Pro Santé Connect and cards are the person's."""


def leave(writing: Writing, person: Person, structure: StructureId) -> None:
    """The activity in `structure` has ended: its boxes, memberships and delegations.

    The account goes over to the oldest box elsewhere, with the usual address and the devices;
    without one the person leaves (`persons.leave`).
    """
    own = writing.boxes_of(person.account)
    elsewhere = _elsewhere(own, structure)
    if not elsewhere:
        persons.leave(writing, person)
        return
    _end_rights(writing, person.account, structure)
    former = writing.box_of(person.account)
    here = [box for box in own if box.structure == structure]
    for box in here:
        if box.state is not BalState.CLOSED:
            boxes.close(writing, box)
    for password in writing.app_passwords(person.account):
        if password.box in {box.id for box in here}:
            writing.revoke_app_password(password.id)
    for binding in writing.bindings(account=person.account):
        if binding.kind in _OF_A_STRUCTURE and binding.revoked_at is None:
            writing.unbind(binding.id)
    home = elsewhere[0]
    told = {
        "structure": str(structure),
        "box": "" if former is None else str(former.address),
    }
    writing.add_record("person", person.id, Record(MOVED, writing.now(), told))
    if former is not None and former.structure == structure:
        writing.move_home(person.id, former.id, home.id)
    writing.change_person(replace(persons.present(writing, person), structure=home.structure))


def go_on(writing: Writing, closed: BalId) -> None:
    """Before a closed box is destroyed, and its account with it: whose box elsewhere is open keeps
    the account there. It was closed by itself, or for silence, and nobody has left."""
    box, account = writing.bal_by_id(closed), writing.account_of(closed)
    person = None if account is None else writing.person_by_account(account.id)
    if box is None or person is None or box.structure is None:
        return
    if _elsewhere(writing.boxes_of(person.account), box.structure):
        leave(writing, person, box.structure)


def has_left(reading: Reading, person: Person, structure: StructureId) -> str | None:
    """The address that was the person's in `structure`, which the last move was away from."""
    told = reading.records("person", person.id).get(MOVED)
    is_it = told is not None and told.values["structure"] == str(structure)
    return told.values["box"] if told is not None and is_it else None


def suspend(writing: Writing, person: Person, structure: StructureId) -> None:
    """No mail and no work in `structure`; the login stays for boxes elsewhere. Memberships come
    back with the end of it; what others had lent is theirs to lend again."""
    own = writing.boxes_of(person.account)
    if not _elsewhere(own, structure):
        persons.suspend(writing, person)
        return
    before = _partial(writing, person)
    taken, shared = before if before is not None else (set(), {})
    for box in own:
        if box.structure == structure and box.state is BalState.ACTIVE:
            taken.add(box.id)
            writing.set_bal_state(box.id, BalState.SUSPENDED)
    shared |= _end_rights(writing, person.account, structure, {box.id for box in own})
    told = {
        "boxes": " ".join(str(id) for id in sorted(taken)),
        "members": " ".join(f"{id}:{role.value}" for id, role in sorted(shared.items())),
    }
    writing.add_record("person", person.id, Record(_SUSPENDED, writing.now(), told))


def resume(writing: Writing, register: Register, person: Person) -> Person:
    """Back, from a suspension of one structure too. Raises NotAllowed."""
    found = persons.resume(writing, register, person)
    taken, shared = _partial(writing, person) or (set(), {})
    for id in taken:
        box = writing.bal_by_id(id)
        if box is not None and box.state is BalState.SUSPENDED:
            writing.set_bal_state(id, BalState.ACTIVE)
    for id, role in shared.items():
        writing.add_member(id, person.account, role)
    if taken or shared:
        ended = Record(_SUSPENDED, writing.now(), {"boxes": "", "members": ""})
        writing.add_record("person", person.id, ended)
    return found


def _elsewhere(own: tuple[Bal, ...], structure: StructureId) -> list[Bal]:
    return [box for box in own if box.structure != structure and box.state is not BalState.CLOSED]


def _partial(reading: Reading, person: Person) -> tuple[set[BalId], dict[BalId, Role]] | None:
    told = reading.records("person", person.id).get(_SUSPENDED)
    if told is None:
        return None
    pairs = [pair.split(":") for pair in told.values["members"].split()]
    taken = {BalId(int(id)) for id in told.values["boxes"].split()}
    return taken, {BalId(int(id)): Role(role) for id, role in pairs}


def _end_rights(
    writing: Writing,
    account: AccountId,
    structure: StructureId,
    but: frozenset[BalId] | set[BalId] = frozenset(),
) -> dict[BalId, Role]:
    """End what the account may do in boxes of `structure` that are not its own; what it was."""
    found: dict[BalId, Role] = {}
    for id in writing.memberships(account):
        box = writing.bal_by_id(id)
        if box is None or box.structure != structure or id in but:
            continue
        found[id] = dict(writing.members(id))[account]
        writing.remove_member(id, account)
    for given in writing.delegations_to(account):
        box = writing.bal_by_id(given.bal)
        if box is not None and box.structure == structure:
            writing.end_delegation(given)
            writing.note_reactions(given.bal)
    return found
