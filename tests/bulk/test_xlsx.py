"""A workbook gives the lines that its CSV would have given, and costs no more than it announces."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.bulk import BadFile, Column, read_lines
from tests.bulk.files import FINESS, MED, ORG, PER, RPPS, changed, csv_of, lines_of, xlsx_of

_SHEET = "xl/worksheets/sheet1.xml"
_HEAD = [column.value for column in Column]
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def _rows(*lines: dict[Column, object] | object) -> bytes:
    rows = [[line.get(column) for column in Column] for line in lines if isinstance(line, dict)]
    return xlsx_of([_HEAD, *rows])


def test_a_workbook_and_its_csv_give_the_same_lines() -> None:
    lines = (PER, ORG, MED)
    assert lines_of(_rows(*map(dict, lines))) == lines_of(csv_of(*lines))


def test_numbers_dates_and_ticks_are_the_text_they_stand_for() -> None:
    cells = {
        **PER,
        Column.NATIONAL_ID: int(RPPS),
        Column.STRUCTURE: float(FINESS),
        Column.AGREEMENT: date(2025, 12, 31),
        Column.RED_LISTED: True,
        Column.NOTIFY: False,
    }
    (line,) = lines_of(_rows(cells))
    assert line.cells[Column.NATIONAL_ID] == RPPS
    assert line.cells[Column.STRUCTURE] == FINESS
    assert line.cells[Column.AGREEMENT] == "2025-12-31"
    assert (line.cells[Column.RED_LISTED], line.cells[Column.NOTIFY]) == ("O", "N")


@pytest.mark.parametrize("cell", [1.5, datetime(2025, 12, 31, 8, 30), 1e20])
def test_a_value_in_doubt_is_told_with_its_cell(cell: object) -> None:
    (line,) = lines_of(_rows({**PER, Column.ACTION: cell}))
    assert line.problems[0].column == "A2"
    assert "formatez la colonne en « Texte »" in line.problems[0].text


def test_a_formula_is_refused_on_its_line_alone() -> None:
    first, second = lines_of(_rows({**PER, Column.LAST_NAME: '=HYPERLINK("x")'}, dict(MED)))
    assert (first.problems[0].column, first.problems[0].text[:11]) == ("E2", "une formule")
    assert not second.problems


def test_blank_rows_keep_the_numbers_of_the_spreadsheet() -> None:
    octets = xlsx_of([_HEAD, [], [], [PER.get(column) for column in Column]])
    assert [line.number for line in lines_of(octets)] == [4]


def _bomb(sheet: str, head: str = "") -> bytes:
    return changed(
        _rows(dict(PER)),
        _SHEET,
        f'<?xml version="1.0"?>{head}<worksheet {_MAIN}><sheetData>{sheet}</sheetData>'
        "</worksheet>".encode(),
    )


_LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.attack("ATT-31", "ATT-32")
@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (_bomb("<row r='1'>" + "<c/>" * 2_000 + "</row>"), "trop de cellules"),
        (_bomb("<x>" * 40 + "</x>" * 40), "trop de cellules"),
        (_bomb("<row r='5'/><row r='5'/>"), "ne se suivent pas"),
        (_bomb("<row r='99999999999'/>"), "ne se suivent pas"),
        (_bomb(" " * 9_000_000), "beaucoup plus grand"),
        (_bomb("<row r='1'><c><v>&b;</v></c></row>", _LAUGHS), "type de document"),
        (_bomb("<row r='1'><c r='A1' t='s'><v>77</v></c></row>"), "ne se lit pas"),
        (_bomb("<row r='1'><c r='A1'><v>un</v></c></row>"), "ne se lit pas"),
        (_bomb("<row r='1'><c r='1A'><v>1</v></c></row>"), "ne se lit pas"),
        (_bomb("<row"), "abîmé"),
        (_rows(dict(PER))[:900], "abîmé"),
        (b"PK\x03\x04" + b"\0" * 100, "abîmé"),
    ],
)
def test_att_31_a_workbook_that_is_a_bomb_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(BadFile, match=why):
        lines_of(octets)


def _marked(flags: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The directory of the archive says so of its first part."""
    octets = bytearray(_rows(dict(PER)))
    at = octets.index(b"PK\x01\x02")
    octets[at + 8 : at + 12] = flags.to_bytes(2, "little") + method.to_bytes(2, "little")
    return bytes(octets)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"\0" * 4 + _rows(dict(PER))[4:], "il est abîmé"),
        (b"\0" * 4_096, "il est abîmé"),
        (_marked(0x01), "mot de passe"),
        (_marked(0x20), "manière inconnue"),
        (_marked(0, zipfile.ZIP_LZMA), "manière inconnue"),
    ],
)
def test_a_damaged_workbook_is_not_taken_for_a_csv(octets: bytes, why: str) -> None:
    with pytest.raises(BadFile, match=why) as told:
        read_lines(io.BytesIO(octets), {}, is_named_workbook=True)
    assert told.value.what == "classeur"


def test_a_csv_under_the_name_of_a_workbook_is_read() -> None:
    (line,) = read_lines(io.BytesIO(csv_of(PER)), {}, is_named_workbook=True)
    assert line.cells[Column.LAST_NAME] == PER[Column.LAST_NAME]


def test_an_error_of_ours_is_not_told_as_a_bad_workbook(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_cells: object) -> None:
        raise LookupError("a bug")

    octets = _rows(dict(PER))
    with monkeypatch.context() as patch:
        patch.setattr("mssmtp.bulk.xlsx_file._texts", fails)
        with pytest.raises(LookupError, match="a bug"):
            lines_of(octets)


@pytest.mark.attack("ATT-31")
def test_att_31_an_archive_of_too_many_parts_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(600):
            archive.writestr(f"xl/{number}.xml", b"<a/>")
    with pytest.raises(BadFile, match="plus de 512"):
        lines_of(made.getvalue())


_PIECES = ["<row>", "</row>", "<c r='B2'>", "<c>", "</c>", "<v>1</v>", "<f>A1</f>", "<is/>", "<x/>"]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(_PIECES), max_size=16))
def test_any_sheet_is_lines_or_one_refusal(pieces: list[str]) -> None:
    try:
        lines_of(_bomb("".join(pieces)))
    except BadFile:
        return
