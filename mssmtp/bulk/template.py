"""Empty files to fill in: CSV, or XLSX whose columns are text, so that no zero in front is lost."""

from __future__ import annotations

import io

from mssmtp.bulk.columns import MANDATORY, OPTIONAL, Column
from mssmtp.mail import BalType

_LEGEND = "● obligatoire, ○ facultative, vide : sans objet"


def csv_template() -> bytes:
    """The header alone, in UTF-8 with the mark by which spreadsheets know it."""
    return b"\xef\xbb\xbf" + ";".join(Column).encode() + b"\r\n"


def xlsx_template() -> bytes:
    """A sheet to fill in, and one that says who needs which column."""
    from openpyxl import Workbook
    from openpyxl.cell.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    sheet = book.create_sheet("comptes")
    for position, column in enumerate(Column, start=1):
        dimension = sheet.column_dimensions[get_column_letter(position)]
        dimension.number_format = "@"
        dimension.width = max(12, len(column) + 4)
    heading = []
    for column in Column:
        cell = WriteOnlyCell(sheet, value=column.value)
        cell.font = Font(bold=True)
        heading.append(cell)
    sheet.append(heading)
    guide = book.create_sheet("mode d'emploi")
    guide.append([_LEGEND, *(type.value for type in MANDATORY)])
    for column in Column:
        guide.append([column.value, *(_mark(column, type) for type in MANDATORY)])
    octets = io.BytesIO()
    book.save(octets)
    return octets.getvalue()


def _mark(column: Column, type: BalType) -> str:
    if column in MANDATORY[type]:
        return "●"
    return "○" if column in OPTIONAL[type] else ""
