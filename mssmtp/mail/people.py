"""Persons and structures served, and who administers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mssmtp.mail.addresses import Address, Domain
from mssmtp.mail.ids import AccountId, PersonId, StructureId


class PersonState(StrEnum):
    """Ladder of a person (OP-50); a BAL without a person (ORG, APP) is `CERTIFIED`."""

    PRE_REGISTERED = "pre-registered"
    NOT_CERTIFIED = "not-certified"
    CERTIFIED = "certified"


class Category(StrEnum):
    """Professional categories (SEED-30): health professionals; chiropractors, osteopaths,
    psychologists and psychotherapists, who use a title; medico-social, social and others."""

    HEALTH_PROFESSIONAL = "health-professional"
    TITLE_USER = "title-user"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account: one person, one account, one login.

    `usual_address` is the ordinary e-mail address, the unique key of the account (SEED-49).
    `national_id` is `8`+RPPS or `0`+ADELI (OP-37); `profession` a code of TRE_G15, "" when none
    was given. `state` stays copied on the person's own boxes (`Bal.person`).
    """

    id: PersonId
    account: AccountId
    state: PersonState
    usual_address: Address
    last_name: str
    first_name: str
    national_id: str | None = None
    profession: str = ""
    category: Category = Category.OTHER
    structure: StructureId | None = None
    language: str = "fr"


Invites = Literal["portal", "all", "off"]
"""Who is invited when a letter comes for an address nobody has registered (DEF-09)."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A client of the operator: hospital, practice, home (SEED-26, SEED-41).

    It has a FINESS (9 digits) or a SIRET (14) or SIREN (9) in `siret`. `domain` is the one MSSanté
    domain of all its users (SEED-03), its own or a generic one. `invites`: who is invited when a
    usual address is unknown (DEF-09). `has_app_passwords` false: its people may have none.
    """

    id: StructureId
    name: str
    finess: str | None = None
    siret: str | None = None
    region: str = ""
    domain: Domain | None = None
    is_health_establishment: bool = False
    is_closed: bool = False
    invites: Invites = "portal"
    has_app_passwords: bool = True

    def __post_init__(self) -> None:
        if not (self.finess or self.siret):
            raise ValueError("a structure has a FINESS, a SIRET or a SIREN (SEED-26)")


class AdminLevel(StrEnum):
    """Three levels of administration (MED-16), the widest first; last, who administers nothing but
    the own account and what is its own: a holder, at the pages of the account."""

    OPERATOR = "operator"
    REGION = "region"
    STRUCTURE = "structure"
    HOLDER = "holder"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts administratively. `region` and `structure` are the scope of those two levels;
    `account` is the actor's own, when there is one; `name` is what traces say."""

    level: AdminLevel
    name: str
    region: str | None = None
    structure: StructureId | None = None
    account: AccountId | None = None

    def __post_init__(self) -> None:
        scope = (self.region is not None, self.structure is not None)
        if scope != (self.level is AdminLevel.REGION, self.level is AdminLevel.STRUCTURE):
            raise ValueError(f"no scope of an administrator of level {self.level}: {scope}")
        if self.level is AdminLevel.HOLDER and self.account is None:
            raise ValueError("a holder has an account")

    @property
    def scope(self) -> str:
        """Region or number of the structure, for traces and tables; "" of the operator."""
        return self.region or ("" if self.structure is None else str(self.structure))
