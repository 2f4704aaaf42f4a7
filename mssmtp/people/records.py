"""Dated records that gate activation: which there are, what each must say (SEED-21, 31, 41, 53)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mssmtp.people.refusing import NotAllowed
from mssmtp.storage.people_values import Record, Subject


@dataclass(frozen=True, slots=True)
class Kind:
    """A record: whose, what it must say and what it may, and how a list of what is missing names
    it."""

    name: str
    subject: Subject
    meaning: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


AGREEMENT = Kind("agreement", "structure", "convention signée avec l'opérateur", ("signed_by",))
PROJECT_LEAD = Kind("project-lead", "structure", "chef de projet désigné", ("name",))
ADMINISTRATOR = Kind("administrator", "structure", "administrateur désigné", ("name",))
DATA_REGISTER = Kind(
    "data-protection-register", "structure", "inscription au registre des traitements"
)
PATIENT_NOTICE = Kind("patient-notice", "structure", "information des patients affichée")
OSIS = Kind("osis", "structure", "déclaration oSIS")
ATTESTATION = Kind(
    "attestation",
    "person",
    "attestation des trois conditions d'accès aux données de santé",
    ("takes_part", "strictly_needed", "informed"),
)
STRONG = Kind("strong-authentication", "person", "authentification forte faite", ("means",))
CERTIFICATION = Kind("certification", "person", "certification", ("by",))
REGISTRATION = Kind(
    "registration",
    "person",
    "ce que la personne dit d'elle en s'inscrivant",
    ("profession", "address", "postcode", "town"),
    (
        "number",
        "company",
        "is_liberal",
        "address_more",
        "region",
        "department",
        "phone",
        "phone_more",
    ),
)
"""SEED-34: for whoever certifies. `number` is claimed, not confirmed."""
RESPONSIBLE = Kind("responsible", "bal", "professionnel responsable", ("national_id",))
HEAD_AGREEMENT = Kind("head-agreement", "bal", "accord de la direction")

KINDS = {
    (kind.subject, kind.name): kind
    for kind in (
        AGREEMENT,
        PROJECT_LEAD,
        ADMINISTRATOR,
        DATA_REGISTER,
        PATIENT_NOTICE,
        OSIS,
        ATTESTATION,
        STRONG,
        CERTIFICATION,
        REGISTRATION,
        RESPONSIBLE,
        HEAD_AGREEMENT,
    )
}


def declared(kind: Kind, at: datetime, now: datetime, values: Mapping[str, str]) -> Record:
    """A record of `kind`, complete and not of the future. Raises NotAllowed."""
    if at > now + timedelta(days=1):
        raise NotAllowed(kind.name, "sa date est à venir", "Donnez la date réelle.")
    lacking = [name for name in kind.needs if not values.get(name, "").strip()]
    if lacking:
        raise NotAllowed(kind.name, f"il manque {', '.join(lacking)}", "Complétez la déclaration.")
    foreign = sorted(set(values) - set(kind.needs) - set(kind.may) - {"note"})
    if foreign:
        raise NotAllowed(
            kind.name,
            f"n'a pas de {', '.join(foreign)}",
            f"Champs : {', '.join((*kind.needs, *kind.may))}, note.",
        )
    return Record(kind.name, at, {name: text.strip() for name, text in values.items()})


def attested(record: Record | None) -> bool:
    """All three conditions of SEED-31 were affirmed."""
    return record is not None and all(
        record.values.get(name) == "yes" for name in ATTESTATION.needs
    )


def renewed_until(record: Record, lasts: timedelta, now: datetime) -> datetime:
    """The end of the running term of an agreement, renewed tacitly as often as needed (SEED-41)."""
    terms = max((now - record.at) // lasts, 0) + 1
    return record.at + terms * lasts
