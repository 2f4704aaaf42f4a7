"""Lines of one file against each other, and the report."""

from __future__ import annotations

import csv
import io

import pytest

from mssmtp.bulk import Column, Outcome, Problem, Told
from mssmtp.bulk.report import COLUMNS, as_csv, counts
from mssmtp.bulk.template import csv_template, xlsx_template
from tests.bulk.files import APP, FINESS, MED, ORG, PER, csv_of, lines_of, plan_of

OTHER_RPPS = "10000000009"


def _outcomes(*lines: dict[Column, str]) -> list[tuple[int, str, str]]:
    return [(each.line, each.outcome, each.sentence) for each in plan_of(*lines).told]


def test_good_lines_are_kept_in_their_order_and_wrong_ones_told_apart() -> None:
    plan = plan_of(PER, {**MED, Column.USUAL: "x"}, ORG)
    assert [each.line for each in plan.requests] == [2, 4]
    assert [(each.line, each.outcome) for each in plan.told] == [(3, Outcome.REFUSED)]
    assert plan.refused == 1


def test_the_same_line_twice_is_one() -> None:
    plan = plan_of(PER, MED, PER)
    assert [each.line for each in plan.requests] == [2, 3]
    assert plan.told[0].outcome is Outcome.UNCHANGED
    assert "identique à la ligne 2" in plan.told[0].sentence
    assert plan.refused == 0


@pytest.mark.parametrize(
    ("second", "column"),
    [
        ({**PER, Column.LAST_NAME: "Autre", Column.NATIONAL_ID: OTHER_RPPS}, Column.USUAL),
        ({**PER, Column.USUAL: "autre@chezelle.example"}, Column.NATIONAL_ID),
        ({**MED, Column.USUAL: PER[Column.USUAL].upper()}, Column.USUAL),
    ],
)
def test_two_lines_of_one_account_are_both_refused(
    second: dict[Column, str], column: Column
) -> None:
    plan = plan_of(PER, second, ORG)
    assert [each.line for each in plan.requests] == [4]
    assert [each.line for each in plan.told] == [2, 3]
    assert all(each.problems[0].column == column for each in plan.told)
    assert "en double avec la ligne 3" in plan.told[0].sentence


def test_one_address_for_two_boxes_is_refused_and_homonyms_are_not() -> None:
    assert len(plan_of(ORG, {**ORG, Column.LABEL: "Autre"}).requests) == 0
    twin = {**PER, Column.USUAL: "z2@chezelle.example", Column.NATIONAL_ID: OTHER_RPPS}
    assert len(plan_of(PER, twin).requests) == 2
    assert len(plan_of(APP, ORG).requests) == 2


def test_the_report_opens_in_a_spreadsheet_and_computes_nothing() -> None:
    told = (
        Told(2, "C", "PER", '=cmd|"/c calc"!A1', Outcome.REFUSED, (Problem("nom", "a ; b"),)),
        Told(3, "C", "MED", "lea@x.example", Outcome.CREATED, (), "lea.quidam@ch.example"),
    )
    octets = as_csv(told)
    rows = list(csv.reader(io.StringIO(octets.decode("utf-8-sig")), delimiter=";"))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == ["2", "C", "PER", '\'=cmd|"/c calc"!A1', "refusée", "", "nom : a ; b"]
    assert rows[2][4:6] == ["créée", "lea.quidam@ch.example"]
    assert counts(told) == {"created": 1, "changed": 0, "closed": 0, "unchanged": 0, "refused": 1}


@pytest.mark.parametrize("template", [csv_template, xlsx_template])
def test_a_template_that_was_filled_in_is_taken(template: object) -> None:
    octets = csv_template() if template is csv_template else xlsx_template()
    if template is csv_template:
        octets += csv_of(PER).split(b"\r\n")[1]
        assert lines_of(octets)[0].cells == PER
        return
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(octets))
    sheet = book.worksheets[0]
    for position, column in enumerate(Column, start=1):
        if PER.get(column):
            sheet.cell(2, position, PER[column])
    filled = io.BytesIO()
    book.save(filled)
    assert lines_of(filled.getvalue())[0].cells == PER
    assert sheet.column_dimensions["C"].number_format == "@"
    assert PER[Column.STRUCTURE] == FINESS
