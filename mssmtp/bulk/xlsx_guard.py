"""What is asked of an XLSX before a library reads it (ATT-31, ATT-32).

A spreadsheet is an archive of XML: it can announce little and unpack to much, hold one row of a
hundred million cells, or declare entities. Sizes are compared before anything is unpacked; then
the XML that will be read is counted element by element, without being kept.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from mssmtp.bulk.columns import BadFile

MAX_PARTS = 512
MAX_SHEET_OCTETS = 192 * 1_048_576
MAX_PART_OCTETS = 8 * 1_048_576
MAX_RATIO = 300
MAX_ELEMENTS = 8_000_000
MAX_IN_ROW = 1_024
MAX_OUTSIDE = 1_200_000
MAX_DEPTH = 24
MAX_FORMULAS = 1_000
_BIG = re.compile(r"xl/(worksheets/[^/]+|sharedStrings)\.xml\Z", re.IGNORECASE)
_BLOCK = 65_536
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED, _PATCH = 0x41, 0x20
"""Flags of a part (APPNOTE 4.4.4): encrypted, strongly or not; patched data."""
_REMEDY = "Copiez les lignes dans un classeur neuf, ou enregistrez « CSV UTF-8 »."


Formulas = dict[str, list[tuple[int, str]]]
"""By the name of the sheet in the archive: row and place of each cell that holds one."""


@dataclass(slots=True)
class _Count:
    """One XML part, counted. `formulas`: row and place (A1 form) of the cells that hold one."""

    depth: int = 0
    elements: int = 0
    outside: int = 0
    inside: int = 0
    held_by: int = 0
    row: int = 0
    cell: str = ""
    formulas: list[tuple[int, str]] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        local = name.rpartition(":")[2]
        if self.held_by:
            self.inside += 1
            if local == "c":
                self.cell = attributes.get("r", "")
            elif local == "f":
                self.formulas.append((self.row, self.cell[:12]))
        else:
            self.outside += 1
            if local in ("row", "si"):
                self.held_by, self.inside = self.depth, 0
            if local == "row":
                self._next_row(attributes.get("r"))
        if (
            self.depth > MAX_DEPTH
            or self.elements > MAX_ELEMENTS
            or self.outside > MAX_OUTSIDE
            or self.inside > MAX_IN_ROW
            or len(self.formulas) > MAX_FORMULAS
        ):
            raise BadFile("classeur", "il a trop de cellules, ou trop de formules", _REMEDY)

    def end(self, _name: str) -> None:
        if self.held_by == self.depth:
            self.held_by = 0
        self.depth -= 1

    def _next_row(self, number: str | None) -> None:
        # The library drops a row whose number does not grow, without a word.
        row = self.row + 1 if number is None else int(number) if number.isdecimal() else 0
        if not self.row < row <= 1_048_576:
            raise BadFile("classeur", "ses lignes ne se suivent pas", _REMEDY)
        self.row = row


def guard(stream: BinaryIO) -> Formulas:
    """Nothing when `stream` may be given to the library; raises BadFile.

    Returns the formulas of each sheet.
    """
    try:
        with _opened(stream) as archive:
            parts = archive.infolist()
            _are_of_the_usual_kind(parts)
            _sizes_are_bounded(parts)
            return {
                part.filename: _counted(archive, part).formulas
                for part in parts
                if part.filename.lower().endswith((".xml", ".rels"))
            }
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError) as error:
        raise BadFile("classeur", "il est abîmé", _REMEDY) from error
    finally:
        stream.seek(0)


def _opened(stream: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except NotImplementedError as error:  # it names a version of the format that nobody writes
        raise BadFile("classeur", "il est comprimé d'une manière inconnue ici", _REMEDY) from error


def _are_of_the_usual_kind(parts: list[zipfile.ZipInfo]) -> None:
    """Asked before anything is unpacked: the library would answer with an error of its own."""
    if any(part.flag_bits & _ENCRYPTED for part in parts):
        raise BadFile("classeur", "il est protégé par un mot de passe", _REMEDY)
    if any(part.compress_type not in _PACKED or part.flag_bits & _PATCH for part in parts):
        raise BadFile("classeur", "il est comprimé d'une manière inconnue ici", _REMEDY)


def _sizes_are_bounded(parts: list[zipfile.ZipInfo]) -> None:
    if len(parts) > MAX_PARTS:
        raise BadFile("classeur", f"plus de {MAX_PARTS} éléments", _REMEDY)
    whole = 0
    for part in parts:
        most = MAX_SHEET_OCTETS if _BIG.match(part.filename) else MAX_PART_OCTETS
        is_dense = part.file_size > MAX_RATIO * max(part.compress_size, 1)
        if not part.filename.lower().endswith((".xml", ".rels")):
            continue  # images and the like are never unpacked
        if part.file_size > most or (is_dense and part.file_size > 1_048_576):
            raise BadFile("classeur", "il se déplie en beaucoup plus grand que lui", _REMEDY)
        whole += part.file_size
    if whole > MAX_SHEET_OCTETS:
        raise BadFile("classeur", "il se déplie en beaucoup plus grand que lui", _REMEDY)


def _counted(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> _Count:
    count = _Count()
    parser = expat.ParserCreate()
    parser.StartElementHandler = count.start
    parser.EndElementHandler = count.end
    parser.StartDoctypeDeclHandler = _no_doctype
    with archive.open(part) as octets:
        while block := octets.read(_BLOCK):
            parser.Parse(block, False)
    parser.Parse(b"", True)
    return count


def _no_doctype(*_told: object) -> None:
    """ATT-32: no entity can be declared without one."""
    raise BadFile("classeur", "son XML déclare un type de document", _REMEDY)
