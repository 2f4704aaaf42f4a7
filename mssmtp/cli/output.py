"""What a command prints: tables for people, JSON for machines, errors with a remedy."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import NoReturn, TypeVar
from zoneinfo import ZoneInfo

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.table import Table
from rich.text import Text

from mssmtp import local_time
from mssmtp.errors import ConfigError
from mssmtp.mail import Domain, masked_text

T = TypeVar("T")

EXIT_TROUBLE = 1
"""The command did its work and found trouble, or was refused."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""

_WIDE = 200
"""Columns of a table that is not on a terminal: a pipe has no width to fold to."""

_MOVING = "\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""DEL, C1, and what turns lines or the direction of writing: XML and JSON let them through."""
_STEERING = re.compile(f"[\0-\x08\x0b-\x1f{_MOVING}]")


def plain(text: str) -> str:
    """What others wrote (lists, certificates, replies) moves no cursor and hides nothing."""
    return _STEERING.sub("?", text)


class _Plain(RenderHook):
    """Between a text and the terminal; our own colours are no characters of it yet."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        for each in renderables:
            if isinstance(each, Text):
                each.plain = plain(each.plain)
        return renderables


out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)
for _console in (out, err):
    _console.push_render_hook(_Plain())

patient_domains: ContextVar[frozenset[Domain]] = ContextVar("patient_domains", default=frozenset())
"""Set once the settings are read: patients are masked in every error from then on (OP-87)."""


reader_zone: ContextVar[ZoneInfo | None] = ContextVar("reader_zone", default=None)
"""Set once the settings are read: tables tell times by the operator's clock from then on."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)\Z")

for_machines: ContextVar[bool] = ContextVar("for_machines", default=False)
"""Set by `--json`: errors are then JSON as well."""


def print_json(value: object) -> None:
    """One JSON value on standard output."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def _json(value: object, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return re.sub(f"[{_MOVING}]", lambda each: f"\\u{ord(each[0]):04x}", text)


def machine_names(values: Mapping[str, T]) -> dict[str, T]:
    """The same values under names that a program can write: `database, free` is database_free."""
    return {re.sub(r"\W+", "_", name): value for name, value in values.items()}


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; cells are shown as text, never as markup (a peer's text may hold brackets)."""
    zone = reader_zone.get()
    if zone is not None and any(_has_time(row) for row in rows):
        title = f"{title} (times: {zone.key})"
    table = Table(title=plain(title), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(plain(column), overflow="fold")
    for row in rows:
        table.add_row(*(Console().render_str(plain(_cell(each)), markup=False) for each in row))
    out.print(table, soft_wrap=False)


def print_rows(
    title: str, rows: Sequence[Mapping[str, object]], empty: str, *, as_json: bool
) -> None:
    """A list that an operation gave; `empty` is said where there is nothing."""
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(empty, markup=False)
    else:
        print_table(title, tuple(rows[0]), [tuple(row.values()) for row in rows])


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(local(str(each)) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} ({_cell(each)})" if isinstance(each, Mapping) else f"{key} {_cell(each)}"
            for key, each in value.items()
        )
    return "" if value is None else local(str(value))


def _has_time(value: object) -> bool:
    """A moment stands somewhere in it."""
    if isinstance(value, Mapping):
        return any(map(_has_time, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_time, value))
    return isinstance(value, str) and _MOMENT.match(value) is not None


def local(text: str) -> str:
    """A moment that is given in UTC, by the reader's clock."""
    zone = reader_zone.get()
    if zone is None or _MOMENT.match(text) is None:
        return text
    return local_time.in_table(datetime.fromisoformat(text), zone)


def fail(what: str, why: str, remedy: str, code: int = EXIT_TROUBLE) -> NoReturn:
    """Say what went wrong, why, and what to do; end with `code`.

    On standard error, with `--json` as one line: an object of `error`, `why` and `remedy`.
    """
    patients = patient_domains.get()
    what, why, remedy = (masked_text(text, patients) for text in (what, why, remedy))
    if for_machines.get():
        sys.stderr.write(_json({"error": what, "why": why, "remedy": remedy}) + "\n")
        raise SystemExit(code)
    err.print(f"mssmtp: {what}: {why}", markup=False, style="red")
    if remedy:
        err.print(f"  {remedy}", markup=False)
    raise SystemExit(code)


def fail_config(error: ConfigError) -> NoReturn:
    """A ConfigError on a terminal."""
    fail(error.what, error.why, error.remedy, EXIT_USAGE)


def why_not(error: OSError, otherwise: str) -> str:
    """In French, as administration is; the system's own words are in English."""
    if isinstance(error, FileNotFoundError):
        return "ce fichier ou ce répertoire n'existe pas"
    if isinstance(error, IsADirectoryError):
        return "c'est un répertoire"
    if isinstance(error, PermissionError):
        return "vous n'y avez pas droit"
    return f"{otherwise} ({error.strerror})"
