"""A stream -> lines, whichever of the two forms it has; told at once when it has neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from mssmtp.bulk import csv_file, xlsx_file
from mssmtp.bulk.columns import MAX_FILE_OCTETS, MAX_LINES, BadFile, Line

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0"
_ENTRIES = (b"PK\x01\x02", b"PK\x05\x06")
"""What the directory at the end of an archive begins and ends with (APPNOTE 4.3.12, 4.3.16)."""
_LOOKED_AT = 65_536


def read_lines(
    stream: BinaryIO,
    renamed: Mapping[str, str],
    told: Callable[[int], None] = lambda _: None,
    *,
    is_named_workbook: bool = False,
) -> tuple[Line, ...]:
    """Every line of a CSV or XLSX file that is not blank. Raises BadFile.

    The size is asked before anything is read (a file of 1 GB costs nothing); `renamed` as in
    `columns.header`; `told` hears how many lines were read so far. `is_named_workbook`: the
    file's name says so.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    if size > MAX_FILE_OCTETS:
        raise BadFile(
            "fichier",
            f"il fait {size // 1_048_576} Mio, plus que {MAX_FILE_OCTETS // 1_048_576}",
            "Coupez-le en plusieurs fichiers, ou ôtez les feuilles et les images.",
        )
    start = stream.read(4)
    stream.seek(0)
    if start == _OLE:
        raise BadFile(
            "fichier",
            "c'est un classeur .xls ancien, ou un .xlsx protégé par mot de passe",
            "Enregistrez-le sans mot de passe au format .xlsx, ou « CSV UTF-8 ».",
        )
    if start != _ZIP and _was_workbook(stream, size, is_named_workbook=is_named_workbook):
        raise BadFile(
            "classeur",
            "il est abîmé : ce n'est plus un fichier .xlsx entier",
            "Ouvrez-le dans votre tableur et enregistrez-le à nouveau, ou reprenez l'original.",
        )
    rows = xlsx_file.rows(stream) if start == _ZIP else csv_file.rows(stream)
    lines = tuple(_bounded(rows, renamed, told))
    if not lines:
        raise BadFile("fichier", "il n'a aucune ligne après l'en-tête", "Ajoutez des lignes.")
    return lines


def _was_workbook(stream: BinaryIO, size: int, *, is_named_workbook: bool) -> bool:
    """A copy that went wrong: the beginning is lost and the end is not, or neither is text."""
    beginning = stream.read(_LOOKED_AT)
    stream.seek(max(0, size - _LOOKED_AT))
    end = stream.read(_LOOKED_AT)
    stream.seek(0)
    has_entries = any(mark in end for mark in _ENTRIES)
    return has_entries or (is_named_workbook and b"\0" in beginning)


def _bounded(
    rows: csv_file.Rows, renamed: Mapping[str, str], told: Callable[[int], None]
) -> Iterator[Line]:
    for count, line in enumerate(csv_file.lines(rows, renamed)):
        if count >= MAX_LINES:
            raise BadFile(
                "fichier", f"il a plus de {MAX_LINES} lignes", "Coupez-le en plusieurs fichiers."
            )
        if count % 500 == 0:
            told(count)
        yield line
