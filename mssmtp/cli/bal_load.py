"""`mssmtp bal load` and `mssmtp bal template`: accounts from a file, line by line (DEF-10)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from mssmtp.asking import Desk, Row
from mssmtp.bulk import Line, Outcome, Plan, Told, planned, read_lines
from mssmtp.bulk.report import COLUMNS, as_csv, counts, row
from mssmtp.bulk.request import Request
from mssmtp.bulk.template import csv_template, xlsx_template
from mssmtp.cli import options
from mssmtp.cli.output import (
    EXIT_TROUBLE,
    EXIT_USAGE,
    fail,
    out,
    print_json,
    print_table,
    why_not,
)
from mssmtp.cli.progress import Told as Shown
from mssmtp.cli.progress import bars
from mssmtp.whole_files import write_whole

BATCH = 1_000
"""Lines of one call."""
_MOST_SHOWN = 200
_WORDS = {
    "created": "créées",
    "changed": "modifiées",
    "closed": "closes",
    "unchanged": "inchangées",
    "refused": "refusées",
}


def template(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write: .csv or .xlsx.")],
) -> None:
    """Write an empty bulk file with every column; the XLSX says who needs which."""
    made = {".csv": csv_template, ".xlsx": xlsx_template}.get(file.suffix.lower())
    if made is None:
        fail(str(file), "ne finit ni par .csv ni par .xlsx", "Nommez-le comptes.xlsx.", EXIT_USAGE)
    if file.exists():
        fail(str(file), "existe déjà", "Donnez un autre nom, ou ôtez-le.", EXIT_USAGE)
    _write(file, made())
    out.print(f"{file} : remplissez-le, puis `mssmtp bal load {file} --dry-run`.", markup=False)


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV (UTF-8, « ; ») or XLSX.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each line would do; write nothing.")
    ] = False,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="One wrong line, and nothing is written.")
    ] = False,
    notify: Annotated[
        bool,
        typer.Option(
            "--notify/--no-notify",
            help="Mail each new account its activation link at once; the column `notifier` of a"
            " line goes first.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Report of every line: a .csv or .json file.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Create, change and close boxes and accounts from a file, each line whole or not at all.

    Always try it with --dry-run first. The same file again changes nothing.
    """
    desk, headings = options.desk(config), _headings(config)
    if report is not None and report.suffix.lower() not in (".csv", ".json"):
        fail(str(report), "ne finit ni par .csv ni par .json", "Nommez-le r.csv.", EXIT_USAGE)
    with bars(as_json=as_json) as shown:
        lines = _lines(file, headings, shown)
        plan = planned(lines, date.today())
        loading = _Loading(desk, lines, plan, shown, notify=notify)
        told = loading.told(dry_run=dry_run, all_or_nothing=all_or_nothing)
    if report is not None:
        _write(report, _as_file(report, told))
    refused = any(each.outcome is Outcome.REFUSED for each in told)
    is_written = not dry_run and not (all_or_nothing and refused)
    if as_json:
        lines_told = [dict(each.as_json()) for each in told]
        print_json({"written": is_written, "counts": counts(told), "lines": lines_told})
    else:
        _print(told, report, is_written=is_written)
    if refused:
        raise typer.Exit(EXIT_TROUBLE)


class _Loading:
    """One file on its way through the operation `bal.load`."""

    def __init__(
        self, desk: Desk, lines: Sequence[Line], plan: Plan, shown: Shown, *, notify: bool
    ) -> None:
        self._desk, self._plan, self._shown, self._notify = desk, plan, shown, notify
        by_number = {line.number: line for line in lines}
        self._good = [(request, by_number[request.line]) for request in plan.requests]

    def told(self, *, dry_run: bool, all_or_nothing: bool) -> list[Told]:
        """The report, in the order of the file."""
        if all_or_nothing and not dry_run and not self._plan.refused:
            found = self._asked(self._good, all_or_nothing=True)
        elif dry_run or all_or_nothing:
            found = list(self._batches("essai à blanc", dry_run=True))
        else:
            self._require_mail()
            found = list(self._batches("chargement"))
        return sorted([*self._plan.told, *found], key=lambda each: each.line)

    def _require_mail(self) -> None:
        """Fail before the first batch is written when a later one asks for mail that cannot go."""
        for request, line in self._good:
            is_told = self._notify if request.notify is None else request.notify
            if is_told and request.usual is not None:
                self._asked([(request, line)], dry_run=True)
                return

    def _batches(self, what: str, *, dry_run: bool = False) -> Iterator[Told]:
        made: set[str] = set()
        for start in range(0, len(self._good), BATCH):
            self._shown(what, start, len(self._good))
            part = self._good[start : start + BATCH]
            named = {name for request, _ in part for name in request.names}
            told = self._asked(part, dry_run=dry_run, people=tuple(named & made))
            if dry_run:
                created = {each.line for each in told if each.outcome is Outcome.CREATED}
                made |= {name for each, _ in part if each.line in created for name in each.keys}
            yield from told
        self._shown(what, len(self._good), len(self._good))

    def _asked(
        self,
        part: Sequence[tuple[Request, Line]],
        *,
        dry_run: bool = False,
        all_or_nothing: bool = False,
        people: tuple[str, ...] = (),
    ) -> list[Told]:
        cells: list[Row] = [
            {"number": line.number, "cells": {str(name): text for name, text in line.cells.items()}}
            for _, line in part
        ]
        asked: Row = {
            "lines": cells,
            "dry_run": dry_run,
            "all_or_nothing": all_or_nothing,
            "notify": self._notify,
            "people": people,
        }
        return [Told.read(told) for told in self._desk.rows("bal.load", asked)]


def _headings(config: Path | None) -> Mapping[str, str]:
    """The setting `bulk.columns`; whoever administers from afar has no settings."""
    if config is None and options.is_remote():
        return {}
    return options.settings(config).bulk.columns


def _lines(file: Path, headings: Mapping[str, str], shown: Shown) -> tuple[Line, ...]:
    try:
        with file.open("rb") as stream:
            return read_lines(
                stream,
                headings,
                lambda count: shown("lecture", count, count),
                is_named_workbook=file.suffix.lower() == ".xlsx",
            )
    except OSError as error:
        fail(str(file), why_not(error, "ne se lit pas"), "Vérifiez le nom.", EXIT_USAGE)


def _as_file(report: Path, told: Sequence[Told]) -> bytes:
    if report.suffix.lower() == ".csv":
        return as_csv(told)
    rows: list[Mapping[str, object]] = [each.as_json() for each in told]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def _write(file: Path, octets: bytes) -> None:
    try:
        write_whole(file, octets)
    except OSError as error:
        fail(str(file), why_not(error, "ne s'écrit pas"), "Choisissez un autre lieu.")


def _print(told: Sequence[Told], report: Path | None, *, is_written: bool) -> None:
    rows = [each for each in told if len(told) <= _MOST_SHOWN or each.problems]
    if rows:
        title = "Chargement" if is_written else "Rien n'a été écrit : ce que ferait le chargement"
        print_table(title, COLUMNS, [row(each) for each in rows[:_MOST_SHOWN]])
    if len(rows) > _MOST_SHOWN or len(told) > len(rows):
        where = report or "donnez --report rapport.csv"
        out.print(f"Toutes les lignes, une par une : {where}", markup=False)
    sums = ", ".join(f"{_WORDS[code]} : {count}" for code, count in counts(told).items())
    out.print(f"Lignes : {len(told)} ({sums}).", markup=False)
