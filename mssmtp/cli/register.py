"""`mssmtp register`: the local directory that certification asks (OP-45)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from mssmtp.admin.operation import MOST_ROWS
from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_USAGE, fail, print_json, print_table, why_not
from mssmtp.cli.progress import bars

app = typer.Typer(help="The local register of professionals: load, show.", no_args_is_help=True)

_COLUMNS = ("rpps_adeli", "nom", "prenom", "profession_code", "ouvert")
_MOST_LINES = 1_000_000
_OPEN = {"O": True, "N": False}


@app.command()
def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, UTF-8, « ; », a header.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Put professionals into the register: rpps_adeli;nom;prenom;profession_code;ouvert (O/N)."""
    rows = _rows(file)
    desk, done = options.desk(config), 0
    with bars(as_json=as_json) as told:
        for at in range(0, len(rows), MOST_ROWS):
            some = rows[at : at + MOST_ROWS]
            desk.row("register.load", {"entries": some})
            done += len(some)
            told("register", done, len(rows))
    if as_json:
        print_json({"entries": done})
    else:
        print_table("Register", ("what", "value"), [("entries", done)])


def _rows(file: Path) -> list[Row]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=";")
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                fail(str(file), "son en-tête est autre", ";".join(_COLUMNS), EXIT_USAGE)
            found: list[Row] = []
            for number, line in enumerate(reader, 2):
                if number > _MOST_LINES:
                    fail(str(file), f"il a plus de {_MOST_LINES} lignes", "Coupez-le.", EXIT_USAGE)
                found.append(_row(file, number, line))
            return found
    except OSError as error:
        fail(str(file), why_not(error, "ne se lit pas"), "Vérifiez le nom.", EXIT_USAGE)
    except (UnicodeDecodeError, csv.Error):
        fail(str(file), "ne se lit pas", "Enregistrez-le au format « CSV UTF-8 ».", EXIT_USAGE)


def _row(file: Path, number: int, line: dict[str, str]) -> Row:
    is_open = _OPEN.get((line["ouvert"] or "").strip().upper())
    if is_open is None or None in line.values() or len(line) != len(_COLUMNS):
        fail(
            f"{file}, ligne {number}",
            "elle n'est pas entière, ou ni O ni N",
            "Écrivez tous les champs, et O ou N à la fin.",
            EXIT_USAGE,
        )
    return {
        "national_id": line["rpps_adeli"],
        "last_name": line["nom"],
        "first_name": line["prenom"],
        "profession": line["profession_code"],
        "is_open": is_open,
    }


@app.command()
def show(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="RPPS, ADELI or idNatPS.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """What the register says of a professional."""
    found = options.desk(config).row("register.show", {"national_id": number})
    if as_json:
        print_json(found)
    else:
        print_table("Register", ("what", "value"), list(found.items()))
