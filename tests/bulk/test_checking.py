"""What a line must hold, by type; every wrong cell is told, in French, at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from mssmtp.bulk import Column, Line, Request, Verb
from mssmtp.bulk.checking import checked
from mssmtp.bulk.columns import KEY, MANDATORY
from mssmtp.mail import Address, BalType
from tests.bulk.files import FINESS, GOOD, ORG, PER, RPPS, TODAY


def _problems(cells: dict[Column, str]) -> list[str]:
    found = checked(Line(7, cells), TODAY)
    assert not isinstance(found, Request), found
    return [f"{each.column}: {each.text}" for each in found]


def _request(cells: dict[Column, str]) -> Request:
    found = checked(Line(7, cells), TODAY)
    assert isinstance(found, Request), found
    return found


@pytest.mark.parametrize("type", MANDATORY)
def test_a_good_line_of_each_type_is_understood(type: BalType) -> None:
    found = _request(dict(GOOD[type]))
    assert (found.line, found.verb, found.type, found.structure) == (7, Verb.CREATE, type, FINESS)


def test_every_cell_reaches_its_place() -> None:
    found = _request(
        {
            **ORG,
            Column.CIVILITY: "Mme",
            Column.PHONE: "+33 1 99.00.00.01",
            Column.MEMBERS: "lea@chezelle.example, lea@CHEZELLE.example,zoe@chezelle.example",
            Column.RED_LISTED: "oui",
            Column.NOTIFY: "N",
        }
    )
    assert (found.card.civility, found.card.phone) == ("MME", "+33199000001")
    assert [str(each) for each in found.members] == ["lea@chezelle.example", "zoe@chezelle.example"]
    assert (found.red_listed, found.notify) == (True, False)
    assert (found.responsible, found.agreed_on) == (f"8{RPPS}", date(2025, 12, 31))
    assert replace(found, members=()).key == f"secretariat.cardio ({FINESS})"
    assert _request(dict(PER)).usual == Address.parse("zoe.tartempion@chezelle.example")


@pytest.mark.parametrize(
    ("type", "column"), [(type, column) for type in MANDATORY for column in MANDATORY[type]]
)
def test_each_mandatory_column_is_missed(type: BalType, column: Column) -> None:
    cells = dict(GOOD[type])
    del cells[column]
    assert any(problem.startswith(f"{column}: ") for problem in _problems(cells))


@pytest.mark.parametrize("type", MANDATORY)
def test_to_close_who_it_is_about_is_enough(type: BalType) -> None:
    needed = (Column.TYPE, Column.STRUCTURE, KEY[type])
    cells = {column: GOOD[type][column] for column in needed}
    assert _request(cells | {Column.ACTION: "S"}).verb is Verb.CLOSE


@pytest.mark.requirement("OP-38")
def test_a_per_without_a_number_is_refused_and_med_proposed() -> None:
    cells = dict(PER)
    del cells[Column.NATIONAL_ID]
    assert any("mettez le type MED" in problem for problem in _problems(cells))


@pytest.mark.parametrize(
    ("column", "text", "why"),
    [
        (Column.ACTION, "X", "mettez C (créer), M (modifier) ou S"),
        (Column.TYPE, "PERS", "mettez PER, ORG, APP, INT ou MED"),
        (Column.TYPE, "CAB", "mettez PER, ORG, APP, INT ou MED"),
        (Column.STRUCTURE, "99000001X", "ni FINESS (9 caractères) ni SIRET"),
        (Column.STRUCTURE, "99", "zéro de tête perdu"),
        (Column.NATIONAL_ID, "99900000111", "la clé de ce RPPS est fausse"),
        (Column.NATIONAL_ID, "9990000011", "ni RPPS (11 chiffres) ni ADELI"),
        (Column.USUAL, "zoé@chezelle.example", "ce n'est pas une adresse"),
        (Column.USUAL, "zoe@x.example\r\nBcc: y@z.example", "ce n'est pas une adresse"),
        (Column.USUAL, '"<script>"@-x', "ce n'est pas une adresse"),
        (Column.LAST_NAME, "TartempiÃ©n", "accents abîmés"),
        (Column.LAST_NAME, "Tartempi\ufffdn", "accents abîmés"),
        (Column.LAST_NAME, "=1+1", "que des lettres"),
        (Column.LAST_NAME, "'); DROP TABLE bals;--", "que des lettres"),
        (Column.LAST_NAME, "<b>Zoé</b>", "que des lettres"),
        (Column.LAST_NAME, "*)(uid=*", "que des lettres"),
        (Column.LAST_NAME, "Tar\u202etempion", "caractère invisible"),
        (Column.LAST_NAME, "T" * 81, "plus de 80 caractères"),
        (Column.FIRST_NAME, "../../etc", "que des lettres"),
        (Column.CIVILITY, "Sir", "mettez M, MME"),
        (Column.PHONE, "tel:112;ext", "téléphone"),
        (Column.SERVICE, "@SUM(A1)", "commence par"),
        (Column.SERVICE, "<img src=x>", "contient <"),
        (Column.PROFESSION, "10';", "nomenclature"),
        (Column.SKILL, "médecine", "nomenclature"),
        (Column.ADDRESS, "zoé", "ce qui précède l'arobase"),
        (Column.ADDRESS, "a..b", "ce qui précède l'arobase"),
        (Column.ADDRESS, "a" * 65, "ce qui précède l'arobase"),
        (Column.RED_LISTED, "1", "mettez O ou N"),
        (Column.LABEL, "Cardio", "sans objet pour une BAL PER"),
    ],
)
def test_a_wrong_cell_is_told_with_its_column_and_a_remedy(
    column: Column, text: str, why: str
) -> None:
    problems = _problems({**PER, column: text})
    assert len(problems) == 1
    assert problems[0].startswith(f"{column}: ")
    assert why in problems[0]
    assert problems[0].isprintable()


@pytest.mark.parametrize(
    ("column", "text", "why"),
    [
        (Column.AGREEMENT, "31/02/2025", "ce n'est pas une date"),
        (Column.AGREEMENT, "06/01/2026", "à venir"),
        (Column.AGREEMENT, "hier", "ce n'est pas une date"),
        (Column.MEMBERS, "lea@chezelle.example,zoé", "ce n'est pas une adresse"),
        (Column.MEMBERS, ",".join(f"m{n}@x.example" for n in range(201)), "plus de 200 membres"),
        (Column.RESPONSIBLE, "8123", "ni RPPS"),
        (Column.CERTIFICATE, "CN=dpi", "sans objet pour une BAL ORG"),
        (Column.NATIONAL_ID, RPPS, "seule une BAL PER"),
    ],
)
def test_a_wrong_cell_of_an_org_line_is_told(column: Column, text: str, why: str) -> None:
    problems = _problems({**ORG, column: text})
    assert len(problems) == 1
    assert why in problems[0]


def test_every_problem_of_a_line_is_told_at_once() -> None:
    wrong = {Column.NATIONAL_ID: "1", Column.USUAL: "x", Column.LAST_NAME: "1"}
    assert len(_problems({**PER, **wrong})) == 3


@pytest.mark.parametrize(
    "name", ["D'Artempion", "de la Tour-Été", "Nguyễn", "Saint-Éxupère", "Zoé A.", "O\u2019Brien"]
)
def test_names_as_people_bear_them_are_taken(name: str) -> None:
    assert _request({**PER, Column.LAST_NAME: name}).last_name == name.replace("\u2019", "'")
