"""A line whose every cell is understood: what an administrator asks for one account or box."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from mssmtp.mail import Address, BalType


class Verb(StrEnum):
    """The column `action`: créer, modifier, supprimer."""

    CREATE = "C"
    CHANGE = "M"
    CLOSE = "S"


@dataclass(frozen=True, slots=True)
class Card:
    """What a directory shows beside the name. "" is not told: of a change, it stays as it is."""

    civility: str = ""
    phone: str = ""
    service: str = ""
    skill: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One line. Empty cells are None or ""; `structure` is a FINESS or SIRET, `local` the local
    part of the box (None: built by OP-44), `certificate` the subject of an APP box's certificate.

    `responsible` is an idNatPS; `agreed_on` the day the head of the structure agreed (SEED-21).
    """

    line: int
    verb: Verb
    type: BalType
    structure: str
    usual: Address | None = None
    last_name: str = ""
    first_name: str = ""
    card: Card = Card()
    national_id: str | None = None
    profession: str = ""
    local: str | None = None
    label: str = ""
    responsible: str | None = None
    agreed_on: date | None = None
    members: tuple[Address, ...] = ()
    certificate: str = ""
    red_listed: bool | None = None
    notify: bool | None = None

    @property
    def key(self) -> str:
        """What the line is about, as its administrator wrote it."""
        if self.usual is not None:
            return str(self.usual)
        return f"{self.local} ({self.structure})"

    @property
    def keys(self) -> tuple[str, ...]:
        """What others name this person by: usual address and idNatPS."""
        usual = () if self.usual is None else (self.usual.key,)
        return usual if self.national_id is None else (*usual, self.national_id)

    @property
    def names(self) -> tuple[str, ...]:
        """People this line names, by the same keys."""
        members = tuple(each.key for each in self.members)
        return members if self.responsible is None else (*members, self.responsible)
