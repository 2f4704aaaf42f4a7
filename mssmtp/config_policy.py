"""Settings of the rules: who may write to whom, which domains are written otherwise."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mssmtp.config_base import DomainName, Section, several
from mssmtp.errors import BadAddress
from mssmtp.mail import BalType, Domain, PersonState, domain

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


class DomainRuleSettings(Section):
    """What is done with recipients of one domain of other operators."""

    domain: str = Field(
        description="The domain; *.name stands for every domain below name. The longest name that"
        " fits counts, alone."
    )
    action: Literal["rewrite", "route", "refuse"] = Field(
        description="rewrite: `to` is written instead, the local part kept; route: `hosts` are"
        " asked instead of its MX; refuse: the sender is told why."
    )
    to: DomainName | None = Field(None, description="Of rewrite: the domain written instead.")
    hosts: tuple[DomainName, ...] = Field(
        (),
        description="Of route: host names, best first. Their certificate has to be listed for the"
        " domain all the same.",
    )
    reason: str = Field(
        "",
        max_length=200,
        description="Of refuse: the sentence the sender reads, with what to do instead.",
    )

    @field_validator("domain")
    @classmethod
    def _is_domain(cls, text: str) -> str:
        folded = text.strip().lower()
        _domain(folded.removeprefix("*."))
        return folded

    @field_validator("reason")
    @classmethod
    def _is_one_line(cls, text: str) -> str:
        if not text.isprintable():
            raise ValueError("a reason is one line of readable text")
        return text

    @model_validator(mode="after")
    def _is_whole(self) -> DomainRuleSettings:
        given = {"rewrite": self.to is not None, "route": bool(self.hosts)}
        for action, is_given in given.items():
            if is_given is not (action == self.action):
                wants = "`to`" if action == "rewrite" else "`hosts`"
                raise ValueError(f'{self.domain}: {wants} goes with action = "{action}"')
        return self


def _domain(text: str) -> Domain:
    try:
        return domain(text)
    except BadAddress as error:
        raise ValueError(f"« {text} » is not a domain name") from error


EXECUTABLES = (
    *(".exe", ".com", ".scr", ".pif", ".cpl", ".msi", ".msp", ".bat", ".cmd", ".ps1", ".vbs"),
    *(".vbe", ".jse", ".wsf", ".wsh", ".hta", ".lnk", ".reg", ".jar", ".iso", ".img"),
)
"""What runs when it is clicked: in no letter between professionals."""


class RateSettings(Section):
    """How many recipients one box may write to, and how urgently, counted over all workers."""

    per_hour: int = Field(
        600, ge=0, description="Of a PER, ORG, MED or INT box; 0: as many as it likes."
    )
    app_per_hour: int = Field(
        36_000, ge=0, description="Of an APP box, or one a hospital's gateway speaks for."
    )
    burst: int = Field(200, ge=1, description="So many at once; an hour's share comes back evenly.")
    urgent_per_hour: int = Field(
        20,
        ge=0,
        description="Letters of a PER, ORG, MED or INT box that go before others (MT-PRIORITY above"
        " 0); more of them go as any other, and the sender is told. 0: none of them.",
    )
    app_urgent_per_hour: int = Field(
        600, ge=0, description="Of an APP box, or one a hospital's gateway speaks for."
    )


class DelegationSettings(Section):
    """Boxes that others may open for a time (DEF-23, F10)."""

    handover_at_most: timedelta = Field(
        timedelta(days=92),
        gt=timedelta(0),
        description="Longest handover of an absent holder's box to a colleague.",
    )
    break_glass_at_most: timedelta = Field(
        timedelta(hours=4), gt=timedelta(0), description="Longest emergency access."
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
    check_ins: Literal["refuse", "warn"] = Field(
        "refuse",
        description="A patient's address that is no INS with its key (OP-88): refused, or taken"
        " with a word of warning.",
    )
    suspended_box: Literal["defer", "refuse"] = Field(
        "defer",
        description="Mail to a suspended box (OP-50): deferred (450), so that it comes once the box"
        " works again, or refused (550). What was taken before waits in any case.",
    )
    forbidden_attachments: tuple[str, ...] = Field(
        EXECUTABLES,
        description="What boxes here may not attach: ends of names, with their dot, or media types."
        " What other operators bring is not looked at.",
    )
    apicrypt: ApicryptSettings = Field(default_factory=ApicryptSettings)
    rates: RateSettings = Field(default_factory=RateSettings)
    delegation: DelegationSettings = Field(default_factory=DelegationSettings)
    relax: tuple[str, ...] = Field(
        (), description="Names of must rules switched off by a test profile; doctor stays red."
    )
    habilitation: Annotated[tuple[HabilitationSettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[policy.habilitation]] for each line of who may write to whom that"
        " is not as shipped; `mssmtp policy show` prints them all (docs/habilitation.md).",
    )
    domain_rules: Annotated[tuple[DomainRuleSettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[policy.domain_rules]] for each domain of others whose recipients"
        " are written otherwise, reached otherwise, or refused.",
    )

    @field_validator("forbidden_attachments")
    @classmethod
    def _are_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for each in types:
            if not _TYPE.match(each):
                raise ValueError(f"« {each} » is neither .end of a name nor a media type")
        return tuple(each.lower() for each in types)


_TYPE = re.compile(r"\.[A-Za-z0-9]{1,10}\Z|[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,100}\Z")
