"""XLSX: the first sheet, cells as the text that the CSV would have held."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import count
from typing import TYPE_CHECKING, BinaryIO

from mssmtp.bulk.columns import MAX_COLUMNS, BadFile, Problem
from mssmtp.bulk.csv_file import Rows
from mssmtp.bulk.xlsx_guard import Formulas, guard

if TYPE_CHECKING:
    from openpyxl.cell.read_only import ReadOnlyCell

_TEXT = "formatez la colonne en « Texte » et ressaisissez la valeur"
_FORMULA = "une formule ; collez la valeur à sa place (« Collage spécial »)"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    SyntaxError,  # of which an XML parser's errors are
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    OSError,
)
"""What the library raises for sheets that no spreadsheet program has written."""


def rows(stream: BinaryIO) -> Rows:
    """Rows of the first sheet. Raises BadFile.

    Formulas are refused (DEF-10): what they give depends on who opens the file. A cell formatted as
    number or date is taken when its text is beyond doubt.
    """
    formulas = guard(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that are not read
        yield from _rows(stream, formulas)


def _rows(stream: BinaryIO, formulas: Formulas) -> Rows:
    # Here, and not above: a server that reads no workbook does not hold the library in memory.
    from openpyxl import load_workbook

    # data_only: the library never parses a formula; the guard has found where they are.
    with _readable():
        book = load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    try:
        if not book.worksheets:
            raise BadFile("classeur", "il n'a pas de feuille", "Enregistrez-le à nouveau.")
        sheet = book.worksheets[0]
        with _readable():
            path = str(sheet._worksheet_path).lstrip("/")
            sheet.reset_dimensions()  # what it announces may be wrong: lines would be lost
            cells = iter(sheet.iter_rows(max_col=MAX_COLUMNS + 1))
        computed: dict[int, list[Problem]] = {}
        for row, place in formulas.get(path, ()):
            computed.setdefault(row, []).append(Problem(place, _FORMULA))
        for number in count(1):
            with _readable():
                found = next(cells, None)
            if found is None:
                return
            texts, problems = _texts(found)
            problems += computed.get(number, [])
            if texts or problems:
                yield number, texts, tuple(problems)
    finally:
        book.close()


@contextmanager
def _readable() -> Iterator[None]:
    """Around what the library does, and nothing of ours: an error of ours is no bad workbook."""
    try:
        yield
    except _BROKEN as error:
        raise BadFile(
            "classeur",
            "il ne se lit pas",
            "Copiez les lignes dans un classeur neuf, ou enregistrez « CSV UTF-8 ».",
        ) from error


def _texts(cells: Sequence[ReadOnlyCell]) -> tuple[list[str], list[Problem]]:
    texts: list[str] = []
    problems: list[Problem] = []
    for cell in cells:
        text = ""
        if cell.data_type == "e":
            problems.append(Problem(cell.coordinate, f"la cellule est en erreur ; {_TEXT}"))
        elif cell.value is not None:
            found = _text(cell.value)
            if found is None:
                why = f"ni texte, ni nombre entier, ni date ; {_TEXT}"
                problems.append(Problem(cell.coordinate, why))
            text = found or ""
        texts.append(text)
    while texts and not texts[-1]:
        texts.pop()
    return texts, problems


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "O" if value else "N"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else None
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else None
    if isinstance(value, date):
        return value.isoformat()
    return None
