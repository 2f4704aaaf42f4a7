"""Boxes by type (SEED-18 to SEED-24, OP-36 to OP-41): what each needs, and what activates it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from mssmtp.identity import national_id
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Domain,
    Person,
    PersonState,
    Role,
    Structure,
    StructureId,
)
from mssmtp.people import naming, records, structures
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Store, Writing
from mssmtp.storage.people_values import BalDetails, Record

OF_PERSONS = frozenset({BalType.PER, BalType.MED, BalType.INT})
OF_STRUCTURES = frozenset({BalType.ORG, BalType.APP})
REVIEWED_AT_ONCE = 200
"""Boxes of one commit."""


@dataclass(frozen=True, slots=True)
class NewBox:
    """A box to be made. `local` None: `prenom.nom` of the holder (OP-44).

    `domain` is for who has no structure; otherwise it is the structure's (SEED-03). `responsible`
    is the idNatPS of the professional responsible of an ORG box, `agreed_on` the day its head of
    structure agreed (SEED-21). `national_ids` are those of a CAB box (OP-40).
    """

    type: BalType
    structure: StructureId | None = None
    local: str | None = None
    domain: Domain | None = None
    details: BalDetails = BalDetails()
    is_red_listed: bool = False
    responsible: str | None = None
    agreed_on: datetime | None = None


def create(writing: Writing, rules: Rules, new: NewBox, holder: Person | None = None) -> Bal:
    """The box; it works as soon as nothing is missing (`review`).

    Raises NotAllowed, BalExists, NoSuchStructure.
    """
    structure = None if new.structure is None else structures.present(writing, new.structure)
    _require_type(rules, new, holder, structure)
    address = _address(writing, rules, new, holder, structure)
    box = writing.add_box(
        Bal(
            BalId(0),
            address,
            new.type,
            BalState.ACTIVE if new.type in OF_PERSONS else BalState.SUSPENDED,
            PersonState.CERTIFIED if holder is None else holder.state,
            holder.national_id if holder is not None and new.type is BalType.PER else None,
            None if holder is None or writing.box_of(holder.account) else holder.usual_address,
            structure=new.structure,
            is_red_listed=new.is_red_listed,
            exchanges=new.type not in OF_PERSONS,
        ),
        new.details,
    )
    if holder is not None:
        _give(writing, box, holder)
    elif new.type is not BalType.APP:
        # A name for the passwords that members have for this box alone; by itself it opens nothing
        # (SEED-22), so it is never active.
        name = writing.create_account(str(address), box.id)
        writing.set_account_active(name.id, active=False)
    declare(writing, box, new.responsible, new.agreed_on)
    return review(writing, box)


def _give(writing: Writing, box: Bal, holder: Person) -> None:
    """A first box is the account's own; a further one of the same person is opened as a member."""
    if writing.box_of(holder.account) is None:
        writing.give_box(holder.account, box.id)
    else:
        writing.add_member(box.id, holder.account, Role.RESPONSABLE)


def declare(
    writing: Writing, box: Bal, responsible: str | None, agreed_on: datetime | None
) -> None:
    """Record who is responsible of an ORG box and when its head of structure agreed (SEED-21)."""
    now = writing.now()
    if responsible is not None:
        number = national_id.parse(responsible)
        told = records.declared(records.RESPONSIBLE, now, now, {"national_id": number})
        writing.add_record("bal", box.id, told)
    if agreed_on is not None:
        told = records.declared(records.HEAD_AGREEMENT, agreed_on, now, {})
        writing.add_record("bal", box.id, told)


def missing(reading: Reading, box: Bal) -> tuple[str, ...]:
    """What keeps a box from working: of its structure, of itself, of its holder (SEED-27)."""
    structure = None if box.structure is None else reading.structure(box.structure)
    found = [] if structure is None else list(structures.missing(reading, structure))
    told = reading.records("bal", box.id)
    if box.type is BalType.ORG:
        found += _missing_of_org(reading, told)
    if box.type is BalType.PER:
        found += _missing_of_holder(reading, box)
    return tuple(found)


def _missing_of_org(reading: Reading, told: dict[str, Record]) -> list[str]:
    found = []
    responsible = told.get(records.RESPONSIBLE.name)
    if responsible is None:
        found.append(records.RESPONSIBLE.meaning)
    elif not is_habilitated(reading, responsible.values["national_id"]):
        found.append("le professionnel responsable n'est pas habilité")
    if records.HEAD_AGREEMENT.name not in told:
        found.append(records.HEAD_AGREEMENT.meaning)
    return found


def is_habilitated(reading: Reading, number: str) -> bool:
    """Somebody certified and in activity here has this identifier, or the register knows it as
    open; not whose right it knows as closed, nor who was suspended here or has left (OP-45)."""
    entry = reading.register_entry(number)
    if entry is not None and not entry.is_open:
        return False
    person = reading.person_by_national_id(number)
    if person is None:
        return entry is not None
    is_here = is_open_account(reading, person.account)
    return is_here and (entry is not None or person.state is PersonState.CERTIFIED)


def require_inside(reading: Reading, account: AccountId, org: Bal) -> None:
    """DEF-08: who has an INT box acts in ORG boxes of its structure alone. Raises NotAllowed."""
    own = reading.box_of(account)
    if own is not None and own.type is BalType.INT and own.structure != org.structure:
        raise NotAllowed(
            str(own.address),
            f"est une boîte INT, interne à sa structure, et {org.address} est d'une autre (DEF-08)",
            "Ajoutez quelqu'un de la structure de cette boîte, ou donnez-lui une boîte MED ou PER.",
        )


def is_open_account(reading: Reading, account: AccountId) -> bool:
    """Neither suspended nor ended (OP-50)."""
    login = reading.account_login(account)
    row = None if login is None else reading.account(login)
    return row is not None and row.active


def _missing_of_holder(reading: Reading, box: Bal) -> list[str]:
    person = holder(reading, box)
    found = []
    if box.person is not PersonState.CERTIFIED:
        found.append("titulaire certifié")
    if box.national_id is None:
        found.append("RPPS ou ADELI")
    if person is not None and records.STRONG.name not in reading.records("person", person.id):
        found.append(records.STRONG.meaning)
    return found


def holder(reading: Reading, box: Bal) -> Person | None:
    """The person of a nominative box; None of other boxes, and of an account without a person."""
    account = _holder(reading, box)
    person = None if account is None else reading.person_by_account(account)
    if person is None and box.national_id is not None:
        person = reading.person_by_national_id(box.national_id)
    return person


def _holder(reading: Reading, box: Bal) -> AccountId | None:
    """Whose a nominative box is; a second PER box of a person is no account's own (DIR-11)."""
    if box.type not in OF_PERSONS:
        return None
    account = reading.account_of(box.id)
    if account is not None:
        return account.id
    person = None if box.national_id is None else reading.person_by_national_id(box.national_id)
    return None if person is None else person.account


def review(writing: Writing, box: Bal) -> Bal:
    """Let a box work once nothing is missing: an ORG, APP or CAB box becomes active the first time,
    the exchange of a PER box opens (SEED-27). What an administrator suspended stays suspended."""
    waits = not box.exchanges if box.type is BalType.PER else box.state is BalState.SUSPENDED
    if not waits or missing(writing, box):
        return box
    if box.type is BalType.PER:
        writing.set_exchange(box.id, on=True)
    elif box.structure is not None and _ACTIVATED not in writing.records("bal", box.id):
        activate(writing, box)
    return _again(writing, box)


_ACTIVATED = "activation"


def activate(writing: Writing, box: Bal) -> Bal:
    """Make a suspended box active.

    Raises NotAllowed: what is missing, it was closed, or its holder is suspended (OP-50).
    """
    if box.state is BalState.CLOSED:
        raise NotAllowed(
            str(box.address), "est fermée", "Une adresse fermée ne sert plus jamais (OP-51)."
        )
    holder = _holder(writing, box)
    if holder is not None and not is_open_account(writing, holder):
        raise NotAllowed(
            str(box.address),
            "son titulaire est suspendu",
            "Rétablissez d'abord la personne : `mssmtp person resume`.",
        )
    # What the operator made to work without a structure (`bal add`) works again without declaring.
    is_gated = box.type is not BalType.PER and box.structure is not None
    lacking = missing(writing, box) if is_gated else ()
    if lacking:
        raise NotAllowed(
            str(box.address),
            f"il manque : {', '.join(lacking)}",
            "Déclarez-le, puis activez la boîte.",
        )
    writing.set_bal_state(box.id, BalState.ACTIVE)
    if _ACTIVATED not in writing.records("bal", box.id):
        writing.add_record("bal", box.id, Record(_ACTIVATED, writing.now()))
    return _again(writing, box)


@dataclass(frozen=True, slots=True)
class Unreviewed:
    """The boxes of a structure behind one of them."""

    structure: StructureId
    after: int


def review_structure(writing: Writing, id: StructureId, after: int = 0) -> Unreviewed | None:
    """After something was declared: the boxes of the structure that waited for it; what is left of
    more than one commit may hold."""
    if structures.missing(writing, structures.present(writing, id)):
        return None
    for count, box in enumerate(writing.each_bal_of(id, after), 1):
        review(writing, box)
        if count == REVIEWED_AT_ONCE:
            if not after:
                _note_review(writing, id, "begun")
            return Unreviewed(id, box.id)
    if after:
        _note_review(writing, id, "done")
    return None


def finish_review(store: Store, rest: Unreviewed | None) -> None:
    """What one commit has left of the boxes of a structure, which may be fifty thousand: mail of
    everybody goes on between the portions."""
    while rest is not None:
        review_rest = partial(review_structure, id=rest.structure, after=rest.after)
        rest = store.write(review_rest).result()


_REVIEW = "review"


def _note_review(writing: Writing, id: StructureId, state: str) -> None:
    writing.add_record("structure", id, Record(_REVIEW, writing.now(), {"state": state}))


def unreviewed(reading: Reading) -> tuple[Unreviewed, ...]:
    """Structures that were begun and not gone through to the end: the server went down meanwhile,
    or is at it this moment, which twice does no harm."""
    found = []
    for structure in reading.structures():
        told = reading.records("structure", structure.id).get(_REVIEW)
        if told is not None and told.values["state"] == "begun":
            found.append(Unreviewed(structure.id, 0))
    return tuple(found)


def change(writing: Writing, box: Bal, details: BalDetails) -> None:
    """What is shown of a box beside its address (OP-42). Raises NotAllowed."""
    if box.state is BalState.CLOSED:
        raise NotAllowed(str(box.address), "est fermée", "Elle ne change plus.")
    _require_label(box.type, details)
    writing.set_bal_details(box.id, details)


def close(writing: Writing, box: Bal) -> Bal:
    """End a box: nobody else is given its address (OP-51); its mail stays for the retention."""
    writing.set_bal_state(box.id, BalState.CLOSED)
    return _again(writing, box)


def set_rank(writing: Writing, box: Bal, rank: int | None) -> None:
    """`rank` 1: the preferred one among the boxes of its holder (OP-42); each has another one."""
    if rank is not None and not 1 <= rank <= 99:
        raise NotAllowed("rang", "il va de 1 à 99", "1 désigne la boîte préférée.")
    for other in _beside(writing, box):
        details = writing.bal_details(other.id)
        if rank is not None and details.rank == rank:
            writing.set_bal_details(other.id, replace(details, rank=None))
    writing.set_bal_details(box.id, replace(writing.bal_details(box.id), rank=rank))


def _beside(reading: Reading, box: Bal) -> list[Bal]:
    if box.national_id is None:
        return []
    holder = reading.person_by_national_id(box.national_id)
    if holder is None:
        return []
    mine = reading.principal(holder.account).bals
    return [each for each in mine if each.id != box.id and each.national_id == box.national_id]


def _again(reading: Reading, box: Bal) -> Bal:
    return reading.bal_by_id(box.id) or box


# ---------------------------------------------------------------- what a type needs


def _require_type(
    rules: Rules, new: NewBox, holder: Person | None, structure: Structure | None
) -> None:
    """Raises NotAllowed, BadNationalId."""
    if new.type in OF_PERSONS and holder is None:
        raise NotAllowed(new.type, "cette boîte est nominative", "Dites de qui elle est.")
    if new.type not in OF_PERSONS and holder is not None:
        raise NotAllowed(new.type, "cette boîte n'est à personne", "Faites une boîte PER ou MED.")
    if new.type is BalType.PER and holder is not None:
        national_id.required(BalType.PER, holder.national_id)
    if (new.type in OF_STRUCTURES or new.type is BalType.INT) and structure is None:
        raise NotAllowed(
            new.type, "cette boîte est celle d'une structure (OP-39)", "Dites de laquelle."
        )
    _require_label(new.type, new.details)
    if new.type is BalType.CAB:
        _require_cab(rules, new)
    _require_attributes(new)
    if structure is not None and structure.is_closed:
        raise NotAllowed(structure.name, "cette structure est fermée", "Choisissez-en une autre.")


def _require_attributes(new: NewBox) -> None:
    """What boxes of other types alone have (OP-42, directory.md §5)."""
    if new.type is not BalType.CAB and new.details.national_ids:
        raise NotAllowed(new.type, "seule une boîte CAB a plusieurs RPPS", "Retirez-les.")
    if new.type in OF_PERSONS and (new.responsible or new.agreed_on):
        raise NotAllowed(
            new.type, "une boîte nominative répond de son seul titulaire", "Retirez le responsable."
        )


def _require_label(type: BalType, details: BalDetails) -> None:
    """Of a service or a software, never of a person (OP-42)."""
    is_given = bool(details.label.strip())
    if type in OF_STRUCTURES and not is_given:
        raise NotAllowed(type, "il faut un libellé", "Donnez le nom du service ou du logiciel.")
    if type in OF_PERSONS and is_given:
        raise NotAllowed(type, "une boîte nominative n'a pas de libellé", "Retirez-le.")


def _require_cab(rules: Rules, new: NewBox) -> None:
    if not rules.has_cab:
        raise NotAllowed(
            "CAB",
            "ce type n'est pas ouvert ici (OP-36)",
            "Réglez people.cab, ou prenez PER ou ORG.",
        )
    if not new.details.national_ids:
        raise NotAllowed(
            "CAB", "il faut le RPPS du responsable et des co-titulaires (OP-40)", "Donnez-les."
        )
    for number in new.details.national_ids:
        national_id.parse(number)


def _address(
    reading: Reading,
    rules: Rules,
    new: NewBox,
    holder: Person | None,
    structure: Structure | None,
) -> Address:
    domain = _domain(rules, new, structure)
    if new.local is None:
        if holder is None:
            raise NotAllowed(new.type, "son adresse ne se devine pas", "Donnez-la (ex. contact).")
        local = naming.personal(holder.first_name, holder.last_name)
        return naming.free_address(reading, local, domain)
    naming.require_allowed(new.local, new.type)
    return Address(new.local, domain)


def _domain(rules: Rules, new: NewBox, structure: Structure | None) -> Domain:
    """The structure's one domain (SEED-03), or the one named for who has no structure."""
    if structure is None:
        if new.domain is None or new.domain not in rules.served:
            raise NotAllowed(
                new.domain or "domaine", "ce domaine n'est pas servi ici", "Donnez-en un qui l'est."
            )
        return new.domain
    if structure.domain is None:
        raise NotAllowed(
            structure.name, "elle n'a pas encore de domaine", "Donnez-lui un domaine d'abord."
        )
    if new.domain not in (None, structure.domain):
        raise NotAllowed(
            str(new.domain),
            f"le domaine de la structure est {structure.domain}, le même pour tous (SEED-03)",
            "Ne donnez pas de domaine.",
        )
    return structure.domain
