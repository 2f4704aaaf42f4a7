"""Who may exercise: the directory that certification asks, then every week (OP-45).

The local table now; the national directory, or a structure's own, behind the same question.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from mssmtp.mail import Person
from mssmtp.people.naming import folded
from mssmtp.storage import Reading


class Standing(StrEnum):
    """What a register says of a person."""

    OPEN = "open"
    CLOSED = "closed"
    OTHER = "other"
    """The number is somebody else's."""
    UNKNOWN = "unknown"
    """Not in the register, or without a number."""


class Register(Protocol):
    """A directory of professionals."""

    def standing(self, reading: Reading, person: Person) -> Standing:
        """Identity and right to exercise of `person`."""
        ...


class LocalRegister:
    """The table of the store."""

    def standing(self, reading: Reading, person: Person) -> Standing:
        """By the national identifier; names are compared without accents, case and hyphens."""
        if person.national_id is None:
            return Standing.UNKNOWN
        entry = reading.register_entry(person.national_id)
        if entry is None:
            return Standing.UNKNOWN
        if folded(entry.last_name) != folded(person.last_name):
            return Standing.OTHER
        return Standing.OPEN if entry.is_open else Standing.CLOSED
