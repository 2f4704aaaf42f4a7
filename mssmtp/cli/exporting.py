"""What `export` writes: the rows of a list as CSV or JSON, harmless to a spreadsheet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from mssmtp.cli.output import out
from mssmtp.errors import ConfigError

File = Annotated[Path, typer.Argument(metavar="FILE", help="To be made; .csv or .json.")]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(rows: Sequence[Mapping[str, object]], file: Path) -> None:
    """`rows` into a new file, for its owner alone. Raises ConfigError."""
    kind: Literal["json", "csv"] = "json" if file.suffix == ".json" else "csv"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            str(file), f"cannot be made ({error.strerror})", "Name a file that is not there yet."
        ) from error
    with open(handle, "w", encoding="utf-8", newline="") as target:
        if kind == "json":
            json.dump(rows, target, ensure_ascii=False, indent=1)
        elif rows:
            writer = csv.writer(target, delimiter=";", lineterminator="\r\n")
            writer.writerow(rows[0])
            writer.writerows([cell(value) for value in row.values()] for row in rows)
    out.print(f"{len(rows)} lines are in {file}.", markup=False)


def cell(value: object) -> str:
    """A value as text; what a spreadsheet would compute is told to be text (CWE-1236)."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
