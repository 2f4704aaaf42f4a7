"""Settings of people: generic domains, types of box, naming, certification, inactivity."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from mssmtp.config_base import DomainName, Section, several
from mssmtp.mail import Address, Domain


def _address(text: object) -> object:
    return Address.parse(text) if isinstance(text, str) else text


MailAddress = Annotated[Address, BeforeValidator(_address)]


class GenericDomainSettings(Section):
    """A domain that many structures share (SEED-04); served when operator.domains names it."""

    name: DomainName = Field(description="The domain.")
    purpose: str = Field("", description="For which structures.")


class SupportSettings(Section):
    """Where a region's people ask for help (SEED-50, SEED-91)."""

    region: str = Field(description="Code of the region, as in the records of its structures.")
    address: MailAddress = Field(description="Support box of this region, an address served here.")


SHIPPED_GENERIC = tuple(
    GenericDomainSettings(name=Domain(name), purpose=purpose)
    for name, purpose in (
        ("pro.oc.mssante.fr", "CPTS, MSP"),
        ("ehpad.oc.mssante.fr", "EHPAD"),
        ("social.oc.mssante.fr", "social et médico-social"),
        ("oc.mssante.fr", "autres structures"),
        ("paca.mssante.fr", "alias de la région PACA"),
    )
)


class PeopleSettings(Section):
    """Structures, persons and their boxes (docs/people.md)."""

    cab: bool = Field(
        False,
        description="Boxes of type CAB, for practices, may be made (OP-36; model still open).",
    )
    generic_domains: Annotated[tuple[GenericDomainSettings, ...], BeforeValidator(several)] = Field(
        SHIPPED_GENERIC,
        description="One table [[people.generic_domains]] for each domain that structures share"
        " (SEED-04); any other one belongs to the operator or to the one structure that controls"
        " it (OP-43).",
    )
    support: Annotated[tuple[SupportSettings, ...], BeforeValidator(several)] = Field(
        (), description="One table [[people.support]] for each region with a support box (SEED-50)."
    )
    agreement_lasts: timedelta = Field(
        timedelta(days=4 * 365),
        description="Of a structure's agreement; renewed tacitly (SEED-41).",
    )
    certify_within: timedelta = Field(
        timedelta(hours=48), description="A request that waits longer is an alarm (SEED-36)."
    )
    register_every: timedelta = Field(
        timedelta(days=7), description="How often the right to exercise is checked (OP-45)."
    )
    inactivity: timedelta = Field(
        timedelta(days=365), description="A box without activity for so long is closed (SEED-51)."
    )
    inactivity_notices: tuple[timedelta, ...] = Field(
        (timedelta(days=30), timedelta(days=7)),
        description="How long before that its holder is warned (OP-48).",
    )
    retention: timedelta = Field(
        timedelta(days=90),
        description="How long the mail of a closed box stays before it is destroyed (OP-49).",
    )
