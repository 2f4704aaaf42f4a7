"""CSV as DEF-10 has it: UTF-8, `;`, a header; what else people save is recognised and named."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from mssmtp.bulk.columns import (
    MAX_CELL,
    MAX_COLUMNS,
    MAX_MEMBERS_CELL,
    BadFile,
    Column,
    Line,
    Problem,
    header,
)

MAX_LINE_OCTETS = 65_536
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SAVE_AGAIN = "Enregistrez-le au format « CSV UTF-8 (délimité par des points-virgules) »."
_OTHERS = {",": "des virgules", "\t": "des tabulations", "|": "des barres verticales"}

Rows = Iterator[tuple[int, list[str], tuple[Problem, ...]]]
"""Number, cells, and what could not be read of them; blank ones are left out."""


def rows(stream: BinaryIO) -> Rows:
    """Rows of a CSV file. Raises BadFile when it is no such file.

    A cell never holds an end of line, so each line is read by itself: a quote that is not closed
    spoils its own line and not the rest of the file.
    """
    number = 0
    while octets := stream.readline(MAX_LINE_OCTETS + 1):
        number += 1
        if len(octets) > MAX_LINE_OCTETS:
            raise BadFile(f"ligne {number}", "elle est trop longue pour un CSV", _SAVE_AGAIN)
        text = _text(octets, number).rstrip("\r\n")
        if not text.strip("; \t"):
            continue
        if number == 1 or "\r" in text:
            _is_ours(text, number)
        try:
            cells = next(csv.reader((text,), delimiter=";", strict=True))
        except csv.Error:
            quote = Problem(
                "",
                "guillemet mal fermé : doublez les guillemets dans une cellule, et n'y mettez"
                " pas de retour à la ligne",
            )
            yield number, [], (quote,)
            continue
        yield number, cells, ()


def lines(found: Rows, renamed: Mapping[str, str]) -> Iterator[Line]:
    """The lines under the header. Raises BadFile."""
    number, names, problems = next(found, (0, [], ()))
    if not names:
        why = problems[0].text if problems else "il est vide"
        raise BadFile("fichier" if not number else f"ligne {number}", why, _SAVE_AGAIN)
    if len(names) > MAX_COLUMNS:
        raise BadFile("en-tête", f"plus de {MAX_COLUMNS} colonnes", "Ôtez celles qui sont de trop.")
    columns = header(names, renamed)
    for number, cells, problems in found:
        line = _line(number, cells, problems, columns)
        if line.cells or line.problems:
            yield line


def _line(
    number: int,
    cells: list[str],
    problems: tuple[Problem, ...],
    columns: tuple[Column | None, ...],
) -> Line:
    kept: dict[Column, str] = {}
    wrong = list(problems)
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        wrong.append(
            Problem(
                "",
                f"{len(cells)} cellules pour {len(columns)} colonnes : mettez entre guillemets"
                " les cellules qui contiennent un point-virgule",
            )
        )
    for column, cell in zip(columns, cells, strict=False):
        text = cell.strip()
        if column is None or not text:
            continue
        if len(text) > (MAX_MEMBERS_CELL if column is Column.MEMBERS else MAX_CELL):
            wrong.append(Problem(column, "trop long ; raccourcissez"))
            continue
        kept[column] = text
    return Line(number, kept, tuple(wrong))


def _text(octets: bytes, number: int) -> str:
    if number == 1:
        if octets[:2] in _UTF_16:
            raise BadFile("fichier", "il est en UTF-16 (« Texte Unicode »)", _SAVE_AGAIN)
        octets = octets.removeprefix(_BOM)
    if b"\0" in octets:
        raise BadFile(f"ligne {number}", "ce n'est pas du texte (octet nul)", _SAVE_AGAIN)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        there = octets[max(0, error.start - 12) : error.start + 13].decode("cp1252", "replace")
        raise BadFile(
            f"ligne {number}",
            f"elle n'est pas en UTF-8, mais sans doute en Windows-1252 (« {there.strip()} »)",
            _SAVE_AGAIN,
        ) from None


def _is_ours(text: str, number: int) -> None:
    """Raises BadFile for other separators and for lines that end in a lone CR."""
    if "\r" in text:
        raise BadFile(f"ligne {number}", "une fin de ligne ancienne (CR) y est", _SAVE_AGAIN)
    if ";" in text:
        return
    for separator, name in _OTHERS.items():
        if separator in text:
            raise BadFile(
                "en-tête", f"les colonnes y sont séparées par {name}, non par « ; »", _SAVE_AGAIN
            )
