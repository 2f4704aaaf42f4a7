"""The columns of the bulk file, who must fill which, and a line as it was read (DEF-10)."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mssmtp.errors import ConfigError
from mssmtp.mail import BalType

MAX_FILE_OCTETS = 32 * 1_048_576
"""50,000 lines with every column filled are 12 MB of CSV."""
MAX_LINES = 100_000
MAX_CELL = 512
"""Characters of a cell; a list of members may have `MAX_MEMBERS_CELL`."""
MAX_MEMBERS_CELL = 16_384
MAX_COLUMNS = 64


class BadFile(ConfigError):
    """The file as a whole cannot be loaded; nothing of it was applied."""


class Column(StrEnum):
    """By their names in the header."""

    ACTION = "action"
    TYPE = "type_bal"
    STRUCTURE = "structure_id"
    USUAL = "adresse_usuelle"
    LAST_NAME = "nom"
    FIRST_NAME = "prenom"
    CIVILITY = "civilite"
    PHONE = "telephone"
    SERVICE = "service"
    NATIONAL_ID = "rpps_adeli"
    PROFESSION = "profession_code"
    SKILL = "savoir_faire_code"
    ADDRESS = "adresse_mssante"
    LABEL = "libelle_bal"
    RESPONSIBLE = "responsable"
    AGREEMENT = "accord_direction"
    MEMBERS = "membres"
    CERTIFICATE = "certificat"
    RED_LISTED = "liste_rouge"
    NOTIFY = "notifier"


ALWAYS = (Column.ACTION, Column.TYPE, Column.STRUCTURE)
_PEOPLE = (Column.USUAL, Column.LAST_NAME, Column.FIRST_NAME)
_CARD = (Column.CIVILITY, Column.PHONE, Column.SERVICE)
_EVERYBODY = (Column.RED_LISTED, Column.NOTIFY)

MANDATORY: Mapping[BalType, tuple[Column, ...]] = {
    BalType.PER: (*ALWAYS, *_PEOPLE, Column.NATIONAL_ID, Column.PROFESSION),
    BalType.ORG: (*ALWAYS, Column.ADDRESS, Column.LABEL, Column.RESPONSIBLE, Column.AGREEMENT),
    BalType.APP: (*ALWAYS, Column.ADDRESS, Column.LABEL, Column.CERTIFICATE),
    BalType.INT: (*ALWAYS, *_PEOPLE),
    BalType.MED: (*ALWAYS, *_PEOPLE),
}
OPTIONAL: Mapping[BalType, tuple[Column, ...]] = {
    BalType.PER: (*_CARD, Column.SKILL, Column.ADDRESS, *_EVERYBODY),
    BalType.ORG: (*_CARD, Column.MEMBERS, *_EVERYBODY),
    BalType.APP: (Column.RESPONSIBLE, Column.AGREEMENT, *_EVERYBODY),
    BalType.INT: (*_CARD, *_EVERYBODY),
    BalType.MED: (*_CARD, *_EVERYBODY),
}
KEY: Mapping[BalType, Column] = {
    BalType.PER: Column.USUAL,
    BalType.ORG: Column.ADDRESS,
    BalType.APP: Column.ADDRESS,
    BalType.INT: Column.USUAL,
    BalType.MED: Column.USUAL,
}
"""What says whom a line is about: the usual address of an account (SEED-49), or that of the box."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line, and what to do, as one sentence in French."""

    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line as read: `number` as an editor or spreadsheet shows it; cells that were not empty.

    `problems`: cells that could not be read as text.
    """

    number: int
    cells: Mapping[Column, str]
    problems: tuple[Problem, ...] = ()


def header(names: Sequence[str], renamed: Mapping[str, str]) -> tuple[Column | None, ...]:
    """The column of each position; None where the heading is empty or renamed to "".

    `renamed` is the setting `bulk.columns`: headings of the client's own file, and ours. Accents,
    case, spaces and hyphens make no difference. Raises BadFile.
    """
    own = {_folded(theirs): ours for theirs, ours in renamed.items()}
    found = tuple(_column(name, own) for name in names)
    for column in found:
        if column is not None and found.count(column) > 1:
            raise BadFile(
                "en-tête", f"la colonne {column} est là deux fois", "Gardez-en une seule."
            )
    missing = [each for each in ALWAYS if each not in found]
    if missing:
        raise BadFile(
            "en-tête",
            f"il manque {', '.join(missing)}",
            "La première ligne nomme les colonnes ; `mssmtp bal template` en donne un modèle.",
        )
    return found


def _column(name: str, own: Mapping[str, str]) -> Column | None:
    folded = _folded(name)
    folded = own.get(folded, folded)
    if not folded:
        return None
    try:
        return Column(folded)
    except ValueError:
        near = difflib.get_close_matches(folded[:64], list(Column), 1)
        ask = f"Est-ce {near[0]} ? " if near else ""
        raise BadFile(
            "en-tête",
            f"colonne inconnue « {shown(name)} »",
            f"{ask}Renommez-la ou ôtez-la ; `mssmtp bal template` donne un modèle.",
        ) from None


def _folded(name: str) -> str:
    bare = unicodedata.normalize("NFKD", name.strip().casefold())
    letters = "".join(each for each in bare if not unicodedata.combining(each))
    return letters.replace(" ", "_").replace("-", "_")


def shown(text: str) -> str:
    """`text` from the file inside a sentence: short, on one line, nothing that moves a cursor."""
    plain = "".join(each if each.isprintable() else "?" for each in text[:41])
    return plain if len(text) <= 40 else plain[:40] + "…"
