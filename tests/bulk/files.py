"""Bulk files as people and attackers make them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date

from openpyxl import Workbook

from mssmtp.bulk import Column, Line, Plan, planned, read_lines

TODAY = date(2026, 1, 5)
FINESS = "990000017"
RPPS = "99900000110"
PER: Mapping[Column, str] = {
    Column.ACTION: "C",
    Column.TYPE: "PER",
    Column.STRUCTURE: FINESS,
    Column.USUAL: "zoe.tartempion@chezelle.example",
    Column.LAST_NAME: "Tartempion",
    Column.FIRST_NAME: "Zoé",
    Column.NATIONAL_ID: RPPS,
    Column.PROFESSION: "10",
}
ORG: Mapping[Column, str] = {
    Column.ACTION: "C",
    Column.TYPE: "ORG",
    Column.STRUCTURE: FINESS,
    Column.ADDRESS: "secretariat.cardio",
    Column.LABEL: "Secrétariat de cardiologie",
    Column.RESPONSIBLE: f"8{RPPS}",
    Column.AGREEMENT: "31/12/2025",
}
APP: Mapping[Column, str] = {
    Column.ACTION: "C",
    Column.TYPE: "APP",
    Column.STRUCTURE: FINESS,
    Column.ADDRESS: "noreply",
    Column.LABEL: "Dossier patient",
    Column.CERTIFICATE: "CN=dpi.ch-valmont.example, OU=1990000017, O=CH DE VALMONT, C=FR",
}
MED: Mapping[Column, str] = {
    Column.ACTION: "C",
    Column.TYPE: "MED",
    Column.STRUCTURE: FINESS,
    Column.USUAL: "lea.quidam@chezelle.example",
    Column.LAST_NAME: "Quidam",
    Column.FIRST_NAME: "Léa",
}
INT: Mapping[Column, str] = {**MED, Column.TYPE: "INT", Column.USUAL: "ana.interne@ch.example"}
GOOD = {"PER": PER, "ORG": ORG, "APP": APP, "MED": MED, "INT": INT}


def csv_of(*lines: Mapping[Column, str], encoding: str = "utf-8", separator: str = ";") -> bytes:
    """A file with every column, as a spreadsheet saves it."""
    rows: list[list[str]] = [list(Column)]
    rows += [[line.get(column, "") for column in Column] for line in lines]
    return "".join(separator.join(_cell(cell) for cell in row) + "\r\n" for row in rows).encode(
        encoding
    )


def _cell(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if any(each in text for each in ';,"\t') else text


def xlsx_of(rows: Sequence[Sequence[object]]) -> bytes:
    """A workbook of one sheet."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("comptes")
    for row in rows:
        sheet.append(row)
    octets = io.BytesIO()
    book.save(octets)
    return octets.getvalue()


def changed(octets: bytes, part: str, replaced: bytes) -> bytes:
    """The workbook with another part, as an attacker makes it."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(octets)) as old,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for each in old.infolist():
            new.writestr(each.filename, replaced if each.filename == part else old.read(each))
    return made.getvalue()


def lines_of(octets: bytes, renamed: Mapping[str, str] | None = None) -> tuple[Line, ...]:
    return read_lines(io.BytesIO(octets), renamed or {})


def plan_of(*lines: Mapping[Column, str]) -> Plan:
    return planned((Line(n, line) for n, line in enumerate(lines, start=2)), TODAY)
