"""Loading a bulk file (DEF-10), one part after the other.

    python -m bench.bulk_load --lines 50000
    python -m bench.bulk_load --lines 5000 --xlsx

Rows a second of processor time, and of the clock; the store is a new one on SQLite.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from openpyxl import Workbook

from mssmtp.bulk import Column, Line, Plan, planned, read_lines
from mssmtp.bulk.loading import Loader
from mssmtp.config import StoreSettings
from mssmtp.identity.national_id import luhn
from mssmtp.mail import Domain, Structure, StructureId
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.people.rules import Rules
from mssmtp.storage import Store

FINESS = "990000010"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
DOMAIN = Domain("ch.mssante.example")
RULES = Rules(frozenset({DOMAIN}))
T = TypeVar("T")


def rows(count: int) -> Iterator[list[str]]:
    """A hospital: one line in ten is a MED, one in fifty an ORG box with a member."""
    for number in range(count):
        cells = dict.fromkeys(Column, "")
        cells |= {Column.ACTION: "C", Column.STRUCTURE: FINESS, Column.NOTIFY: "N"}
        name = _letters(number)
        if number % 50 == 49:
            cells |= {
                Column.TYPE: "ORG",
                Column.ADDRESS: f"service{number}",
                Column.LABEL: f"Service {name}",
                Column.RESPONSIBLE: _rpps(0),
                Column.AGREEMENT: "2025-12-31",
                Column.MEMBERS: "p1@chezelle.example",
            }
        else:
            cells |= {
                Column.USUAL: f"p{number}@chezelle.example",
                Column.LAST_NAME: f"Tartempion-{name}",
                Column.FIRST_NAME: "Zoé",
                Column.SERVICE: f"Service {number % 80}",
                Column.PHONE: "01 99 00 00 01",
            }
            is_med = number % 10 == 3
            cells[Column.TYPE] = "MED" if is_med else "PER"
            if not is_med:
                cells |= {Column.NATIONAL_ID: _rpps(number), Column.PROFESSION: "10"}
        yield list(cells.values())


def _letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))


def _rpps(number: int) -> str:
    start = f"{9_990_000_000 + number:010d}"
    return next(start + key for key in "0123456789" if luhn(start + key))


def csv_file(count: int) -> bytes:
    """As a spreadsheet saves it."""
    lines = [";".join(Column), *(";".join(row) for row in rows(count))]
    return "\r\n".join(lines).encode()


def xlsx_file(count: int) -> bytes:
    """The same as a workbook."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("comptes")
    sheet.append(list(Column))
    for row in rows(count):
        sheet.append(row)
    octets = io.BytesIO()
    book.save(octets)
    return octets.getvalue()


def measured(what: str, count: int, job: Callable[[], T]) -> T:
    """Run it, print what it cost."""
    clock_s, cpu_s = time.perf_counter(), time.process_time()
    result = job()
    clock_s, cpu_s = time.perf_counter() - clock_s, time.process_time() - cpu_s
    print(
        f"{what:<22} {count / cpu_s:>9,.0f} rows/s of processor time"
        f"   {count / clock_s:>9,.0f} by the clock   {cpu_s / count * 1e3:.3f} ms a row"
    )
    return result


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000)
    parser.add_argument("--xlsx", action="store_true")
    given = parser.parse_args()
    count: int = given.lines
    octets = xlsx_file(count) if given.xlsx else csv_file(count)
    print(f"{count} lines, {len(octets):,} octets")

    def read() -> tuple[Line, ...]:
        return read_lines(io.BytesIO(octets), {})

    lines = measured("read", count, read)
    plan = measured("check", count, lambda: planned(lines, NOW.date()))
    with tempfile.TemporaryDirectory() as place, closing(_store(Path(place))) as store:
        _load(store, plan, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at most {peak:.0f} MiB")


def _store(place: Path) -> Store:
    home = place / "home"
    settings = StoreSettings(home=home, master_key_file=place / "master.key")
    Store.create(settings, SystemClock(), SystemEntropy())
    return Store(settings, SystemClock(), SystemEntropy(), worker="bench")


def _load(store: Store, plan: Plan, count: int) -> None:
    new = Structure(StructureId(0), "CH de Valmont", finess=FINESS, domain=DOMAIN)
    store.write(lambda writing: writing.create_structure(new)).result()
    loader = Loader(store, "bench", lambda _: True, lambda *_: None, RULES)
    measured("load", count, lambda: list(loader.each(plan.requests)))
    measured("the same again", count, lambda: list(loader.each(plan.requests)))
    measured("dry run", count, lambda: loader.shown(plan.requests))


if __name__ == "__main__":
    main()
