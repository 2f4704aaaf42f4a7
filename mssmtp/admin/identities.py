"""Operations on what opens what: the boxes of a person, and the identities bound to an account."""

from __future__ import annotations

from mssmtp.admin.operation import Answer, Desk, Operation, Row, operation
from mssmtp.admin.persons import Known, of_account, person_of, time
from mssmtp.errors import ConfigError
from mssmtp.mail import AccountId, AdminLevel
from mssmtp.storage import Reading, Writing


class Bound(Known):
    """One identity bound to an account."""

    number: int


def _boxes(desk: Desk[Known]) -> Answer:
    """The boxes a person may open, own first, with what the person may do there (CL-32)."""

    def query(reading: Reading) -> list[Row]:
        principal = reading.principal(_account(reading, desk.input))
        return [
            {
                "address": str(bal.address),
                "type": bal.type.value,
                "rights": principal.rights_in(bal.id),
                "own": bal.id not in principal.roles,
            }
            for bal in principal.bals
        ]

    return desk.read(query)


def _bindings(desk: Desk[Known]) -> Answer:
    """Identities bound to an account: Pro Santé Connect, card, hospital's directory (SEED-12)."""

    def query(reading: Reading) -> list[Row]:
        found = reading.bindings(account=_account(reading, desk.input))
        return [
            {
                "number": each.id,
                "kind": each.kind,
                "label": each.label,
                "since": time(each.created_at),
                "ended": time(each.revoked_at),
            }
            for each in found
        ]

    return desk.read(query)


def _unbind(desk: Desk[Bound]) -> Answer:
    """End a binding, of a card that was lost say; its sessions end at their next command."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bound = writing.bindings(account=_account(writing, given))
        if all(each.id != given.number for each in bound):
            remedy = f"`mssmtp person binding list {given.person}` affiche les numéros."
            raise ConfigError(str(given.number), f"n'est pas un lien de {given.person}", remedy)
        writing.unbind(given.number)
        return {"person": given.person, "number": given.number}

    return desk.write(job)


def _account(reading: Reading, given: Known) -> AccountId:
    account = reading.account(given.person)
    return person_of(reading, given.person).account if account is None else account.id


_HOLDER = AdminLevel.HOLDER

OPERATIONS: tuple[Operation, ...] = (
    operation("person.boxes", _HOLDER, Known, of_account, _boxes, changes=False),
    operation("person.binding.list", _HOLDER, Known, of_account, _bindings, changes=False),
    operation("person.binding.remove", _HOLDER, Bound, of_account, _unbind),
)
