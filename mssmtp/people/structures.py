"""Structures (SEED-26): their one domain (SEED-03), what they declared, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mssmtp.mail import BalState, Domain, Invites, Structure, StructureId
from mssmtp.people import numbers, records
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import NoSuchStructure, Record, ServedDomain

_ALWAYS = (
    records.AGREEMENT,
    records.PROJECT_LEAD,
    records.ADMINISTRATOR,
    records.DATA_REGISTER,
    records.PATIENT_NOTICE,
)


@dataclass(frozen=True, slots=True)
class NewStructure:
    """What the request form says; at least one of `finess` and `siret` (SEED-26)."""

    name: str
    finess: str | None = None
    siret: str | None = None
    region: str = ""
    is_health_establishment: bool = False
    invites: Invites = "portal"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A structure with all that was declared, and what is missing before its boxes may work."""

    structure: Structure
    domains: tuple[ServedDomain, ...]
    records: Mapping[str, Record]
    agreement_until: datetime | None
    missing: tuple[str, ...]


def create(writing: Writing, new: NewStructure) -> Structure:
    """A structure that has nothing yet. Raises NotAllowed, StructureExists."""
    return writing.create_structure(
        Structure(
            StructureId(0),
            _named(new.name),
            *_numbers(new.finess, new.siret),
            region=new.region.strip(),
            is_health_establishment=new.is_health_establishment,
            invites=new.invites,
        )
    )


def change(writing: Writing, id: StructureId, new: NewStructure) -> Structure:
    """Other name, numbers, region, invitations.

    Raises NotAllowed, NoSuchStructure, StructureExists.
    """
    finess, siret = _numbers(new.finess, new.siret)
    changed = replace(
        present(writing, id),
        name=_named(new.name),
        finess=finess,
        siret=siret,
        region=new.region.strip(),
        is_health_establishment=new.is_health_establishment,
        invites=new.invites,
    )
    writing.change_structure(changed)
    return changed


def take_domain(writing: Writing, rules: Rules, id: StructureId, domain: Domain) -> Structure:
    """Give a structure its one domain: a generic one, or one that it alone controls (OP-43).

    Raises NotAllowed, NoSuchStructure.
    """
    structure = present(writing, id)
    if domain not in rules.served:
        raise NotAllowed(
            domain, "ce domaine n'est pas servi ici", "Ajoutez-le à operator.domains d'abord."
        )
    is_moved = structure.domain not in (None, domain)
    if is_moved and writing.count_open_bals_of(id):
        raise NotAllowed(
            structure.name,
            f"a des boîtes dans {structure.domain}, et une adresse ne change jamais (OP-41)",
            "Fermez-les d'abord, puis créez-en d'autres.",
        )
    if domain not in rules.generic:
        _control(writing, structure, domain)
    changed = replace(structure, domain=domain)
    writing.change_structure(changed)
    return changed


def leave_domain(writing: Writing, id: StructureId, domain: Domain) -> Structure:
    """Take its domain away; nobody controls one of its own any more, so that another structure may
    have it. Never while a box of it is open (OP-41). Raises NotAllowed, NoSuchStructure.
    """
    structure = present(writing, id)
    held = writing.served_domain(domain)
    controls = held is not None and held.structure == id
    if structure.domain != domain and not controls:
        raise NotAllowed(
            structure.name, f"n'a pas le domaine {domain}", "Voyez `mssmtp structure show`."
        )
    open_boxes = writing.count_open_bals_of(id)
    if open_boxes and any(
        box.state is not BalState.CLOSED and box.address.domain == domain
        for box in writing.each_bal_of(id)
    ):
        raise NotAllowed(
            structure.name, f"a encore {open_boxes} boîtes dans {domain}", "Fermez-les d'abord."
        )
    if held is not None and controls:
        writing.put_domain(replace(held, structure=None))
    if structure.domain == domain:
        structure = replace(structure, domain=None)
        writing.change_structure(structure)
    return structure


def move_domain(writing: Writing, rules: Rules, id: StructureId, domain: Domain) -> Structure:
    """Give a structure the domain that another one controls, and take it from that one.

    Raises NotAllowed, NoSuchStructure: whatever speaks against leaving or taking it.
    """
    held = writing.served_domain(domain)
    if held is not None and held.structure not in (None, id):
        leave_domain(writing, held.structure, domain)
    return take_domain(writing, rules, id, domain)


def _control(writing: Writing, structure: Structure, domain: Domain) -> None:
    held = writing.served_domain(domain)
    if held is not None and held.structure not in (None, structure.id):
        raise NotAllowed(
            domain, "une autre structure contrôle ce domaine (OP-43)", "Choisissez-en un autre."
        )
    writing.put_domain(ServedDomain(domain, structure.id))


def declare(
    writing: Writing, id: StructureId, kind: str, at: datetime, values: Mapping[str, str]
) -> None:
    """Record what a structure has declared on the date `at`. Raises NotAllowed."""
    structure = present(writing, id)
    found = records.KINDS.get(("structure", kind))
    if found is None:
        known = ", ".join(name for subject, name in records.KINDS if subject == "structure")
        raise NotAllowed(kind, "cette déclaration n'existe pas", f"Choisissez : {known}.")
    now = writing.now()
    writing.add_record("structure", structure.id, records.declared(found, at, now, values))


def missing(reading: Reading, structure: Structure) -> tuple[str, ...]:
    """What must still be declared before boxes of the structure may work (SEED-41, SEED-53)."""
    told = reading.records("structure", structure.id)
    wanted = (*_ALWAYS, *((records.OSIS,) if structure.is_health_establishment else ()))
    found = [kind.meaning for kind in wanted if kind.name not in told]
    if structure.domain is None:
        found.append("domaine MSSanté")
    if structure.is_closed:
        found.append("la structure est fermée")
    return tuple(found)


def sheet(reading: Reading, rules: Rules, id: StructureId, now: datetime) -> Sheet:
    """Everything `structure show` prints. Raises NoSuchStructure."""
    structure = present(reading, id)
    told = reading.records("structure", id)
    agreement = told.get(records.AGREEMENT.name)
    return Sheet(
        structure,
        reading.served_domains(id),
        told,
        None if agreement is None else records.renewed_until(agreement, rules.agreement_lasts, now),
        missing(reading, structure),
    )


def close(writing: Writing, id: StructureId) -> Structure:
    """End it; its boxes are closed before. Raises NotAllowed, NoSuchStructure."""
    structure = present(writing, id)
    open_boxes = writing.count_open_bals_of(id)
    if open_boxes:
        raise NotAllowed(
            structure.name, f"a encore {open_boxes} boîtes", "Fermez-les d'abord, une par une."
        )
    closed = replace(structure, is_closed=True)
    writing.change_structure(closed)
    return closed


def present(reading: Reading, id: StructureId) -> Structure:
    """Raises NoSuchStructure."""
    found = reading.structure(id)
    if found is None:
        raise NoSuchStructure
    return found


def _named(name: str) -> str:
    clean = " ".join(name.split())
    if not clean or len(clean) > 120 or not clean.isprintable():
        raise NotAllowed("nom", "ce n'est pas un nom de structure", "Écrivez 1 à 120 caractères.")
    return clean


def _numbers(finess: str | None, siret: str | None) -> tuple[str | None, str | None]:
    if not (finess or siret):
        raise NotAllowed(
            "structure",
            "elle n'a ni FINESS ni SIRET : elle n'est pas éligible (SEED-26)",
            "Donnez l'un des deux.",
        )
    return (
        numbers.finess(finess) if finess else None,
        numbers.siret(siret) if siret else None,
    )
