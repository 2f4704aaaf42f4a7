"""What crosses the store's doors about persons, structures and boxes; and its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from mssmtp.errors import MailError, Reply
from mssmtp.mail import Address, Category, Domain, Person, PersonState, StructureId
from mssmtp.storage.model import BalExists

NOBODYS = Domain("clos.invalid")
"""No address of it reaches anybody (RFC 2606 2): of whose usual address has gone to another."""
Subject = Literal["structure", "person", "bal"]
"""Whom a record is about."""


class AddressRetired(BalExists):
    """A box had this address and is gone: it is given to nobody again (OP-51)."""

    smtp = Reply(
        550,
        "5.1.1",
        "Cette adresse a été fermée et reste réservée ; choisissez-en une autre.",
    )


class PersonExists(MailError):
    """The usual address, the login or the national identifier is another account's (SEED-49)."""

    smtp = Reply(
        550, "5.1.1", "Cette adresse usuelle ou ce numéro a déjà un compte ; vérifiez la personne."
    )
    imap = "ALREADYEXISTS"


class NoSuchPerson(MailError):
    """There is no such person, or no account of that usual address."""

    smtp = Reply(550, "5.1.1", "Personne inconnue ; vérifiez l'adresse usuelle.")
    imap = "NONEXISTENT"


class StructureExists(MailError):
    """The FINESS or SIRET is another structure's."""

    smtp = Reply(
        550, "5.1.1", "Ce numéro FINESS ou SIRET a déjà une structure ; modifiez celle-ci."
    )
    imap = "ALREADYEXISTS"


class NoSuchStructure(MailError):
    """There is no such structure."""

    smtp = Reply(550, "5.1.1", "Structure inconnue ; vérifiez son numéro.")
    imap = "NONEXISTENT"


@dataclass(frozen=True, slots=True)
class PersonDetails:
    """What a bulk file and a profile add to a person; every text may be empty. `skill` is a code of
    TRE_R38 (savoir-faire)."""

    civility: str = ""
    phone: str = ""
    service: str = ""
    skill: str = ""


@dataclass(frozen=True, slots=True)
class PersonDates:
    """Steps of a person on the ladder; None: not reached.

    `pending_since`: certification was asked for and nobody has answered (SEED-36). `told_at`: the
    activation link was last sent; `finalised_at`: it was used (DEF-11). `checked_at`: the register
    was last asked (OP-45); `left_at`: the activity has ended (OP-49).
    """

    created_at: datetime
    pending_since: datetime | None = None
    told_at: datetime | None = None
    finalised_at: datetime | None = None
    checked_at: datetime | None = None
    left_at: datetime | None = None


PersonStep = Literal["pending_since", "told_at", "finalised_at", "checked_at", "left_at"]


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A person to be made, with an account of their own; `Person` says what the fields mean."""

    usual_address: Address
    last_name: str
    first_name: str
    state: PersonState = PersonState.PRE_REGISTERED
    national_id: str | None = None
    profession: str = ""
    category: Category = Category.OTHER
    structure: StructureId | None = None
    language: str = "fr"
    details: PersonDetails = field(default_factory=PersonDetails)


@dataclass(frozen=True, slots=True)
class BalDetails:
    """Attributes of a box beside `Bal` (directory.md §5); every text may be empty.

    `rank` 1 marks the preferred box of its holder (OP-42). `national_ids` are those of a CAB box:
    its responsible and its co-holders (OP-40).
    """

    label: str = ""
    phone: str = ""
    service: str = ""
    rank: int | None = None
    national_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """Something that was declared, on the date `at`, and may hold only until `ends_at`."""

    kind: str
    at: datetime
    values: Mapping[str, str] = field(default_factory=dict)
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ServedDomain:
    """Who controls a domain served here (OP-43): a structure, or the operator when `structure` is
    None. `is_generic`: many structures share it; `purpose` says which ones (SEED-04)."""

    domain: Domain
    structure: StructureId | None = None
    is_generic: bool = False
    purpose: str = ""
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A request for certification that waits (SEED-36)."""

    person: Person
    since: datetime
