"""Persons: made by a structure or by themselves, certified, changed, gone (OP-50, SEED-36)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mssmtp.identity import national_id
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Category,
    Person,
    PersonState,
)
from mssmtp.people import boxes, records
from mssmtp.people.boxes import NewBox
from mssmtp.people.categories import category
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.register import Register, Standing
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import NOBODYS, NewPerson, NoSuchPerson, PersonDetails, Record


@dataclass(frozen=True, slots=True)
class Loaded:
    """A person and the box made with it."""

    person: Person
    box: Bal


def load(writing: Writing, rules: Rules, new: NewPerson, box: NewBox) -> Loaded:
    """A person vouched for by a structure, pre-registered, with a box (SEED-39, OP-50).

    Raises NotAllowed, PersonExists, BalExists, BadNationalId.
    """
    checked = _checked(replace(new, state=PersonState.PRE_REGISTERED))
    require_ordinary(rules, checked.usual_address)
    make_way(writing, checked.usual_address, checked.national_id)
    person = writing.create_person(checked)
    return Loaded(person, boxes.create(writing, rules, box, person))


def self_register(writing: Writing, new: NewPerson) -> Person:
    """Somebody who has confirmed a usual address: not certified, without a box (SEED-33, OP-50).

    Raises PersonExists, BadNationalId.
    """
    checked = _checked(replace(new, state=PersonState.NOT_CERTIFIED, structure=None))
    make_way(writing, checked.usual_address, checked.national_id)
    return writing.create_person(checked)


def require_ordinary(rules: Rules, usual: Address) -> None:
    """A usual address is an ordinary one (SEED-29, SEED-49): service mail, and with it every code,
    goes to no box of ours (ATT-44), and nobody takes an address of our domains by another door than
    a box (OP-51). Raises NotAllowed."""
    if usual.domain in rules.served:
        raise NotAllowed(
            str(usual),
            "ce domaine est celui de boîtes MSSanté : codes et avis n'y arriveraient pas",
            "Donnez l'adresse de messagerie ordinaire de la personne.",
        )


def make_way(writing: Writing, usual: Address, number: str | None) -> None:
    """Who has left keeps neither usual address nor number: whoever comes under them now, the same
    professional elsewhere or the next owner of the address, has an account of their own, which
    opens nothing of the former one (OP-49, OP-51, DAT-01). What it was called stays recorded."""
    _retire(writing, writing.person(usual))
    if number is not None:
        _retire(writing, writing.person_by_national_id(number))


def _retire(writing: Writing, former: Person | None) -> None:
    if former is None or writing.person_dates(former.id).left_at is None:
        return
    told = {"usual_address": str(former.usual_address), "national_id": former.national_id or ""}
    writing.add_record("person", former.id, Record("former", writing.now(), told))
    writing.change_person(replace(former, national_id=None))
    if former.usual_address.domain != NOBODYS:
        writing.set_usual_address(former.id, Address(f"compte-{former.id}", NOBODYS))
    for binding in writing.bindings(account=former.account):
        if binding.revoked_at is None:
            writing.unbind(binding.id)


def _checked(new: NewPerson) -> NewPerson:
    number = None if new.national_id is None else national_id.parse(new.national_id)
    found = category(new.profession)
    if found is Category.OTHER and number is not None:
        found = new.category if new.profession else Category.HEALTH_PROFESSIONAL
    return replace(new, national_id=number, category=found)


# ---------------------------------------------------------------- the ladder


def finalise(writing: Writing, rules: Rules, register: Register, person: Person) -> Person:
    """The holder has used the activation link: certified, the structure having vouched (DEF-11).

    Raises NotAllowed: not pre-registered, no attestation (SEED-31), the register says no (OP-45).
    """
    if person.state is not PersonState.PRE_REGISTERED:
        raise NotAllowed(str(person.usual_address), "ce compte est déjà activé", "Connectez-vous.")
    require_in_activity(writing, person)
    if not boxes.is_open_account(writing, person.account):
        raise NotAllowed(
            str(person.usual_address), "ce compte est suspendu", "Demandez à qui l'administre."
        )
    require_attestation(writing, person)
    writing.mark_person(person.id, "finalised_at", writing.now())
    if not rules.certifies_finalised:
        writing.set_person_state(person.id, PersonState.NOT_CERTIFIED)
        writing.mark_person(person.id, "pending_since", writing.now())
        return present(writing, person)
    return _certified(writing, register, person, "structure")


def ask_certification(writing: Writing, person: Person) -> None:
    """The registration is complete: the request waits for the regional body (SEED-36)."""
    if person.state is not PersonState.NOT_CERTIFIED:
        raise NotAllowed(
            str(person.usual_address), "n'attend pas de certification", "Rien à demander."
        )
    require_in_activity(writing, person)
    require_attestation(writing, person)
    if writing.person_dates(person.id).pending_since is None:
        writing.mark_person(person.id, "pending_since", writing.now())


def certify(writing: Writing, register: Register, person: Person, by: str) -> Person:
    """The regional body, or the operator, says yes (SEED-36). Raises NotAllowed."""
    if person.state is not PersonState.NOT_CERTIFIED:
        raise NotAllowed(
            str(person.usual_address), "n'attend pas de certification", "Voyez `person pending`."
        )
    require_in_activity(writing, person)
    require_attestation(writing, person)
    return _certified(writing, register, person, by)


def refuse(writing: Writing, person: Person, by: str, reason: str) -> None:
    """The request is answered with no; the person stays not certified."""
    if writing.person_dates(person.id).pending_since is None:
        raise NotAllowed(
            str(person.usual_address), "n'attend pas de certification", "Voyez `person pending`."
        )
    writing.mark_person(person.id, "pending_since", None)
    told = records.declared(
        records.CERTIFICATION, writing.now(), writing.now(), {"by": by, "note": f"refus : {reason}"}
    )
    writing.add_record("person", person.id, told)


def _certified(writing: Writing, register: Register, person: Person, by: str) -> Person:
    standing = register.standing(writing, person)
    if standing in (Standing.CLOSED, Standing.OTHER):
        raise _not_confirmed(person)
    now = writing.now()
    writing.set_person_state(person.id, PersonState.CERTIFIED)
    writing.mark_person(person.id, "pending_since", None)
    writing.mark_person(person.id, "checked_at", now)
    told = records.declared(
        records.CERTIFICATION, now, now, {"by": by, "note": f"annuaire : {standing}"}
    )
    writing.add_record("person", person.id, told)
    review(writing, person)
    _review_services(writing, person)
    return present(writing, person)


def require_in_activity(reading: Reading, person: Person) -> None:
    """Who has left climbs no ladder any more (OP-49, OP-50). Raises NotAllowed."""
    if reading.person_dates(person.id).left_at is not None:
        raise NotAllowed(
            str(person.usual_address), "a quitté son activité", "Créez un nouveau compte."
        )


def _not_confirmed(person: Person) -> NotAllowed:
    return NotAllowed(
        str(person.usual_address),
        "l'annuaire ne confirme pas son identité ou son droit d'exercer (OP-45)",
        "Vérifiez le numéro et le nom, puis recommencez.",
    )


def review(writing: Writing, person: Person) -> None:
    """The person's own boxes may work now (SEED-27)."""
    for box in writing.boxes_of(person.account):
        if box.state is not BalState.CLOSED:
            boxes.review(writing, box)


def _review_services(writing: Writing, person: Person) -> None:
    """ORG boxes that waited for this professional to be habilitated (SEED-21)."""
    if person.national_id is None or person.structure is None:
        return
    for box in writing.suspended_bals_of(person.structure, BalType.ORG):
        boxes.review(writing, box)


# ---------------------------------------------------------------- what is recorded of a person


def attest(writing: Writing, person: Person, at: datetime, conditions: Mapping[str, bool]) -> None:
    """The three conditions of SEED-31, each affirmed by the person, dated. Raises NotAllowed."""
    demand_affirmed(conditions)
    told = dict.fromkeys(records.ATTESTATION.needs, "yes")
    kept = records.declared(records.ATTESTATION, at, writing.now(), told)
    writing.add_record("person", person.id, kept)


def demand_affirmed(conditions: Mapping[str, bool]) -> None:
    """Raises NotAllowed unless all three are."""
    if not all(conditions.get(name) for name in records.ATTESTATION.needs):
        raise NotAllowed(
            "attestation",
            "les trois conditions sont à affirmer : participer à la prise en charge, n'accéder"
            " qu'au strict nécessaire, avoir informé la personne, qui peut s'y opposer",
            "Sans elles, pas d'accès aux données de santé.",
        )


def needs_attestation(reading: Reading, person: Person) -> bool:
    """Not a health professional, and the three conditions were not affirmed (SEED-31)."""
    if person.category is Category.HEALTH_PROFESSIONAL:
        return False
    told = reading.records("person", person.id).get(records.ATTESTATION.name)
    return not records.attested(told)


def require_attestation(reading: Reading, person: Person) -> None:
    """Before any access to health data. Raises NotAllowed."""
    if needs_attestation(reading, person):
        raise NotAllowed(
            str(person.usual_address),
            "n'est pas professionnel de santé et n'a pas attesté les trois conditions (SEED-31)",
            "Faites attester, puis recommencez.",
        )


def require_attested_account(reading: Reading, account: AccountId) -> None:
    """Of an account that is let into a box of others; one without a person is the operator's.

    Who is merely pre-registered has no access yet, and is asked when the account is finalised.
    """
    person = reading.person_by_account(account)
    if person is not None and person.state is not PersonState.PRE_REGISTERED:
        require_attestation(reading, person)


def lacks_strong_authentication(reading: Reading, account: AccountId) -> bool:
    """The person of the account never showed a card or a one-time code (SEED-27)."""
    person = reading.person_by_account(account)
    return person is not None and records.STRONG.name not in reading.records("person", person.id)


def note_strong_authentication(writing: Writing, account: AccountId, means: str) -> None:
    """The account was opened with a card or a one-time code: the first time counts (SEED-27)."""
    person = writing.person_by_account(account)
    if person is None or not lacks_strong_authentication(writing, account):
        return
    now = writing.now()
    told = records.declared(records.STRONG, now, now, {"means": means})
    writing.add_record("person", person.id, told)
    review(writing, person)


def change(writing: Writing, person: Person, details: PersonDetails | None = None) -> Person:
    """Names, profession, structure, language. The usual address is never changed here (SEED-49).

    Raises NoSuchPerson, PersonExists, BadNationalId.
    """
    number = None if person.national_id is None else national_id.parse(person.national_id)
    before = present(writing, person)
    box = writing.box_of(before.account)
    if box is not None and box.type is BalType.PER and number != before.national_id:
        raise NotAllowed(
            str(person.usual_address),
            "le numéro d'une boîte PER ne change pas (OP-37)",
            "Fermez la boîte, puis créez-en une autre.",
        )
    found = replace(person, national_id=number)
    writing.change_person(found, details)
    return present(writing, person)


def confirm_number(
    writing: Writing, register: Register, before: Person, *, by_operator: bool
) -> Person:
    """A certified person has another number than `before`: certified was somebody without it, and
    identity and right to exercise are checked at certification (OP-45).

    The register confirms it, or refuses it; where it knows nothing the operator answers for it,
    and otherwise the person waits for certification again. Raises NotAllowed.
    """
    person = present(writing, before)
    is_same = person.national_id in (None, before.national_id)
    if is_same or person.state is not PersonState.CERTIFIED:
        return person
    standing = register.standing(writing, person)
    if standing in (Standing.CLOSED, Standing.OTHER):
        raise _not_confirmed(person)
    if standing is Standing.OPEN or by_operator:
        writing.mark_person(person.id, "checked_at", writing.now())
        return person
    writing.set_person_state(person.id, PersonState.NOT_CERTIFIED)
    writing.mark_person(person.id, "pending_since", writing.now())
    return present(writing, person)


def leave(writing: Writing, person: Person) -> None:
    """The activity has ended (OP-49): the login is off, the devices are out, the boxes are closed,
    and nothing of anybody else's is open to the person, nor will be.

    Their mail stays for the retention, proofs for ever. Raises NoSuchPerson.
    """
    own = writing.boxes_of(person.account)
    writing.set_account_active(person.account, active=False)
    writing.keep_stopped(person.account)
    for password in writing.app_passwords(person.account):
        writing.revoke_app_password(password.id)
    # Of suspended boxes too, which come back one day.
    for shared in writing.memberships(person.account):
        writing.remove_member(shared, person.account)
    for given in writing.delegations_to(person.account):
        writing.end_delegation(given)
        writing.note_reactions(given.bal)
    for box in own:
        if box.state is not BalState.CLOSED:
            boxes.close(writing, box)
    writing.mark_person(person.id, "pending_since", None)
    writing.mark_person(person.id, "left_at", writing.now())


def suspend(writing: Writing, person: Person) -> None:
    """No login, and the own boxes take no mail (OP-50); nothing is deleted. Which boxes it took is
    recorded: the others were suspended for a reason of their own, and stay so."""
    own = writing.boxes_of(person.account)
    taken = {box.id for box in own if box.state is BalState.ACTIVE}
    if not boxes.is_open_account(writing, person.account):
        # A second time, or after the operator (OP-79): what was taken already comes back too.
        taken |= _taken_boxes(writing, person)
        for each in writing.suspensions():
            if (each.kind, each.name) == ("account", str(person.account)):
                taken |= set(each.boxes)
    told = {"boxes": " ".join(str(id) for id in sorted(taken))}
    writing.add_record("person", person.id, Record(_SUSPENDED, writing.now(), told))
    writing.set_account_active(person.account, active=False)
    writing.keep_stopped(person.account)
    for box in own:
        if box.state is BalState.ACTIVE:
            writing.set_bal_state(box.id, BalState.SUSPENDED)


_SUSPENDED = "suspension"


def _taken_boxes(reading: Reading, person: Person) -> set[BalId]:
    """Those that the suspension of the person took; one without a record took all there are."""
    told = reading.records("person", person.id).get(_SUSPENDED)
    if told is None:
        return {box.id for box in reading.boxes_of(person.account)}
    return {BalId(int(id)) for id in told.values["boxes"].split()}


def resume(writing: Writing, register: Register, person: Person) -> Person:
    """Back from suspension: the login, and the boxes that went with it.

    Raises NotAllowed: the person has left, or the register says no.
    """
    require_in_activity(writing, person)
    if register.standing(writing, person) in (Standing.CLOSED, Standing.OTHER):
        raise NotAllowed(
            str(person.usual_address),
            "l'annuaire ne confirme pas son droit d'exercer (OP-45)",
            "Faites d'abord corriger l'annuaire.",
        )
    if boxes.is_open_account(writing, person.account):
        return person
    taken = _taken_boxes(writing, person)
    writing.set_account_active(person.account, active=True)
    for box in writing.boxes_of(person.account):
        if box.state is BalState.SUSPENDED and box.id in taken:
            writing.set_bal_state(box.id, BalState.ACTIVE)
    return present(writing, person)


def present(reading: Reading, person: Person) -> Person:
    """`person` as it is now. Raises NoSuchPerson."""
    found = reading.person_by_id(person.id)
    if found is None:
        raise NoSuchPerson
    return found


def of_address(reading: Reading, usual: Address) -> Person:
    """Raises NoSuchPerson."""
    found = reading.person(usual)
    if found is None:
        raise NoSuchPerson
    return found
