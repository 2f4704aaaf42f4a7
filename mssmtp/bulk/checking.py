"""A line -> a request, or every problem of it at once, in French (DEF-10, OP-38)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import TypeVar

from mssmtp.bulk.columns import ALWAYS, KEY, MANDATORY, OPTIONAL, Column, Line, Problem, shown
from mssmtp.bulk.request import Card, Request, Verb
from mssmtp.errors import BadAddress
from mssmtp.identity import national_id
from mssmtp.mail import MAX_LOCAL_OCTETS, Address, BalType
from mssmtp.pki import listed_name

T = TypeVar("T")

MAX_NAME = 80
MAX_TEXT = 120
MAX_MEMBERS = 200

_CIVILITIES = {"M": "M", "MR": "M", "MME": "MME", "MLLE": "MLLE", "DR": "DR", "PR": "PR"}
_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '\u2019.\-])*\Z")
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u2013-\u2122]|\ufffd"
)
_PHONE = re.compile(r"\+?[0-9]{6,15}\Z")
_CODE = re.compile(r"[0-9A-Z]{1,8}\Z")
_LOCAL = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?=[a-z0-9_-]))*\Z")
_NUMBER = re.compile(r"[0-9][0-9AB][0-9]{7}\Z|[0-9]{14}\Z")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z|([0-9]{2})/([0-9]{2})/([0-9]{4})\Z")


class _Wrong(Exception):
    """What is wrong with one cell, as a sentence."""


def checked(line: Line, today: date) -> Request | tuple[Problem, ...]:
    """The request of `line`, or all that is wrong with it: an administrator corrects once."""
    problems = list(line.problems)
    cells = _Cells(line, problems)
    verb = cells.read(Column.ACTION, Verb, "C (créer), M (modifier) ou S (supprimer)")
    type = cells.read(Column.TYPE, _type, "PER, ORG, APP, INT ou MED")
    if type is None or verb is None:
        return tuple(problems)
    _has_what_it_needs(line, type, verb, problems)
    found = Request(
        line.number,
        verb,
        type,
        cells.take(Column.STRUCTURE, _structure) or "",
        cells.take(Column.USUAL, _address),
        cells.take(Column.LAST_NAME, _name) or "",
        cells.take(Column.FIRST_NAME, _name) or "",
        Card(
            cells.take(Column.CIVILITY, _civility) or "",
            cells.take(Column.PHONE, _phone) or "",
            cells.take(Column.SERVICE, _label) or "",
            cells.take(Column.SKILL, _code) or "",
        ),
        cells.take(Column.NATIONAL_ID, _national_id),
        cells.take(Column.PROFESSION, _code) or "",
        cells.take(Column.ADDRESS, _local),
        cells.take(Column.LABEL, _label) or "",
        cells.take(Column.RESPONSIBLE, _national_id),
        cells.take(Column.AGREEMENT, lambda text: _day(text, today)),
        cells.take(Column.MEMBERS, _members) or (),
        cells.take(Column.CERTIFICATE, _certificate) or "",
        cells.take(Column.RED_LISTED, _yes),
        cells.take(Column.NOTIFY, _yes),
    )
    return tuple(problems) if problems else found


class _Cells:
    """The cells of a line, and where their problems go."""

    def __init__(self, line: Line, problems: list[Problem]) -> None:
        self._cells, self._problems = line.cells, problems

    def read(self, column: Column, made: Callable[[str], T], choices: str) -> T | None:
        text = self._cells.get(column, "")
        try:
            return made(text.upper())
        except ValueError:
            why = f"« {shown(text)} » : mettez {choices}" if text else f"mettez {choices}"
            self._problems.append(Problem(column, why))
            return None

    def take(self, column: Column, read: Callable[[str], T]) -> T | None:
        text = self._cells.get(column)
        if text is None:
            return None
        try:
            return read(text)
        except _Wrong as wrong:
            self._problems.append(Problem(column, f"« {shown(text)} » : {wrong}"))
            return None


def _has_what_it_needs(line: Line, type: BalType, verb: Verb, problems: list[Problem]) -> None:
    """The table of DEF-10; to change or close, what says which account is enough."""
    mandatory = MANDATORY[type] if verb is Verb.CREATE else (*ALWAYS, KEY[type])
    unread = {each.column for each in problems}
    for column in mandatory:
        if column in line.cells or column in unread:
            continue
        if type is BalType.PER and column is Column.NATIONAL_ID:
            why = "obligatoire pour une BAL PER ; sans RPPS ni ADELI, mettez le type MED"
        else:
            why = f"obligatoire ({verb}, {type}) ; remplissez la cellule"
        problems.append(Problem(column, why))
    known = (*MANDATORY[type], *OPTIONAL[type])
    for column in line.cells:
        if column not in known:
            if column is Column.NATIONAL_ID:
                why = "seule une BAL PER porte un RPPS ou ADELI ; videz la cellule ou mettez PER"
            else:
                why = f"sans objet pour une BAL {type} ; videz la cellule"
            problems.append(Problem(column, why))


def _type(text: str) -> BalType:
    """One of those that are loaded from a file (SEED-39). Raises ValueError."""
    found = BalType(text)
    if found not in MANDATORY:
        raise ValueError(f"no box of type {found} is loaded from a file")
    return found


def _structure(text: str) -> str:
    """A FINESS, SIRET or SIREN by its form: whether somebody bears it, the store knows."""
    compact = "".join(text.split()).upper()
    if not _NUMBER.match(compact):
        raise _Wrong(
            "ni FINESS (9 caractères) ni SIRET (14 chiffres) ; un zéro de tête perdu revient en"
            " formatant la colonne en « Texte »"
        )
    return compact


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except BadAddress:
        raise _Wrong("ce n'est pas une adresse ; écrivez nom@domaine, sans accent") from None


def _clean(text: str, most: int) -> str:
    composed = unicodedata.normalize("NFC", text)
    if _MOJIBAKE.search(composed):
        raise _Wrong("accents abîmés par un ancien enregistrement ; ressaisissez le texte")
    if not composed.isprintable():
        raise _Wrong("il contient un caractère invisible ; ressaisissez le texte")
    if len(composed) > most:
        raise _Wrong(f"plus de {most} caractères ; raccourcissez")
    return " ".join(composed.split())


def _name(text: str) -> str:
    name = _clean(text, MAX_NAME)
    if not _NAME.match(name):
        raise _Wrong("un nom n'a que des lettres, espaces, apostrophes, points et tirets")
    return name.replace("\u2019", "'")


def _label(text: str) -> str:
    label = _clean(text, MAX_TEXT)
    # What a spreadsheet would compute when the list of boxes is exported (CSV injection).
    if label[0] in "=+-@" or any(each in '<>"\\' for each in label):
        raise _Wrong('il commence par = + - @, ou contient < > " ou \\ ; reformulez')
    return label


def _civility(text: str) -> str:
    found = _CIVILITIES.get(text.upper().rstrip("."))
    if found is None:
        raise _Wrong("mettez M, MME, MLLE, DR ou PR, ou videz la cellule")
    return found


def _phone(text: str) -> str:
    compact = re.sub(r"[ .()\u00a0-]", "", text[:64])
    if not _PHONE.match(compact):
        raise _Wrong("ce n'est pas un numéro de téléphone ; 6 à 15 chiffres, + devant si besoin")
    return compact


def _code(text: str) -> str:
    if not _CODE.match(text.upper()):
        raise _Wrong("ce n'est pas un code de la nomenclature (chiffres et lettres, 8 au plus)")
    return text.upper()


def _national_id(text: str) -> str:
    try:
        return national_id.parse(text)
    except national_id.BadNationalId as error:
        if error.what == "RPPS":
            raise _Wrong("la clé de ce RPPS est fausse ; vérifiez les chiffres") from None
        raise _Wrong(
            "ni RPPS (11 chiffres) ni ADELI (9 caractères) ; un zéro de tête perdu revient en"
            " formatant la colonne en « Texte »"
        ) from None


def _local(text: str) -> str:
    local = text.lower()
    if len(local) > MAX_LOCAL_OCTETS or not _LOCAL.match(local):
        raise _Wrong(
            "mettez ce qui précède l'arobase : lettres sans accent, chiffres, points, tirets"
        )
    return local


def _day(text: str, today: date) -> date:
    found = _DAY.match(text)
    try:
        if found is None:
            raise ValueError
        year, month, day, day_first, month_first, year_last = found.groups()
        read = date(int(year or year_last), int(month or month_first), int(day or day_first))
    except ValueError:
        raise _Wrong("ce n'est pas une date ; écrivez 31/01/2026 ou 2026-01-31") from None
    if not date(2000, 1, 1) <= read <= today:
        raise _Wrong("cette date est à venir, ou avant 2000 ; corrigez-la")
    return read


def _members(text: str) -> tuple[Address, ...]:
    members = [_address(each.strip()) for each in text.split(",") if each.strip()]
    if len(members) > MAX_MEMBERS:
        raise _Wrong(f"plus de {MAX_MEMBERS} membres ; ajoutez les autres à la main")
    return tuple({each.key: each for each in members}.values())


def _certificate(text: str) -> str:
    if listed_name(text) is None or not text.isprintable():
        raise _Wrong("ce n'est pas un sujet de certificat ; écrivez CN=…, OU=…, O=…, C=FR")
    return text


def _yes(text: str) -> bool:
    answers = {"O": True, "OUI": True, "N": False, "NON": False}
    if text.upper() not in answers:
        raise _Wrong("mettez O ou N")
    return answers[text.upper()]
