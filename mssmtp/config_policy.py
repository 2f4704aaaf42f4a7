"""Settings of the rules: who may write to whom, which domains are written otherwise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from mssmtp.config_base import DomainName, Section, several
from mssmtp.mail import BalType, Domain, PersonState

BoxKind = BalType | Literal["patient"]
"""Of whom a line of the table speaks: a type of box; `patient`: any box of a patient domain."""
Place = BalType | Literal["here", "operators", "patients"]
"""To whom: boxes here of one type, any box here, other operators, patients wherever they are."""


class HabilitationSettings(Section):
    """A line of the table of who may write to whom (docs/habilitation.md); none: as shipped."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$",
        description="Its name, which `explain` quotes; that of a shipped line takes its place.",
    )
    boxes: tuple[BoxKind, ...] = Field(
        min_length=1, description="Boxes acted in: PER, ORG, APP, MED, INT, patient."
    )
    persons: tuple[PersonState, ...] = Field(
        (PersonState.CERTIFIED,), min_length=1, description="States of their holders."
    )
    needs_number: bool = Field(
        False, description="Only boxes that carry RPPS or ADELI (SEED-32, OP-37)."
    )
    to: tuple[Place, ...] = Field(
        (),
        description="Whom they write to: here, or types of box here; operators; patients. None: a"
        " shipped line of this name is taken away.",
    )
    answers_only: bool = Field(
        False, description="Only to who has written to the box first (SEED-37, OP-89)."
    )
    receives: bool = Field(False, description="They receive mail of other operators.")

    @field_validator("persons")
    @classmethod
    def _finalised(cls, persons: tuple[PersonState, ...]) -> tuple[PersonState, ...]:
        if PersonState.PRE_REGISTERED in persons:
            raise ValueError("who has not finalised the account writes to nobody (SEED-37)")
        return persons


class ApicryptSettings(Section):
    """Apicrypt addressing (SEED-57, APX-03)."""

    mode: Literal["rewrite", "refuse", "off"] = Field("rewrite", description="APX-03.")
    domains: tuple[str, ...] = Field(
        ("medical*.apicrypt.org",),
        description="Native domains; `*` stands for digits only.",
    )
    interop_domain: DomainName = Field(
        Domain("interop-mssante.apicrypt.org"), description="Domain written instead."
    )
    mapping: dict[str, str] = Field(
        {}, description="Typed address = interop local part, where it is not the same."
    )


class PolicySettings(Section):
    """Tables of the rules. A must rule is relaxed only by `relax`, and then doctor stays red."""

    from_policy: Literal["reject", "flag", "ignore"] = Field("reject", description="OP-15.")
    patient_domains: tuple[DomainName, ...] = Field(
        (Domain("patient.mssante.fr"),), description="Domains whose addresses are masked (OP-87)."
    )
    test_words: tuple[str, ...] = Field(
        ("test", "tests", "formation", "recette", "audit", "demo", "preprod"),
        description="Words that mark a listed domain as one for tests or training, between dots or"
        " hyphens of its name: who writes there in production is warned (OP-99).",
    )
    check_ins: bool = Field(True, description="Check the key of a patient's address (OP-88).")
    apicrypt: ApicryptSettings = Field(default_factory=ApicryptSettings)
    relax: tuple[str, ...] = Field(
        (), description="Names of must rules switched off by a test profile; doctor stays red."
    )
    habilitation: Annotated[tuple[HabilitationSettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[policy.habilitation]] for each line of who may write to whom that"
        " is not as shipped; `mssmtp policy show` prints them all (docs/habilitation.md).",
    )
