"""Loading a bulk file (DEF-10), one part after the other.

    python -m bench.bulk_load --lines 50000
    python -m bench.bulk_load --lines 5000 --xlsx
    python -m bench.bulk_load --lines 50000 --whole   (one transaction, and who writes meanwhile)

Rows a second of processor time, and of the clock; the store is a new one on SQLite.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

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
                Column.RESPONSIBLE: rpps(0),
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
                cells |= {Column.NATIONAL_ID: rpps(number), Column.PROFESSION: "10"}
        yield list(cells.values())


def _letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(4))


def rpps(number: int) -> str:
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
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    count: int = given.lines
    octets = xlsx_file(count) if given.xlsx else csv_file(count)
    print(f"{count} lines, {len(octets):,} octets")

    def read() -> tuple[Line, ...]:
        return read_lines(io.BytesIO(octets), {})

    lines = measured("read", count, read)
    plan = measured("check", count, lambda: planned(lines, NOW.date()))
    with tempfile.TemporaryDirectory() as place, closing(_store(Path(place))) as store:
        if given.whole:
            _load_whole(store, plan, count)
        else:
            _load(store, plan, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at most {peak:.0f} MiB")


def _store(place: Path) -> Store:
    home = place / "home"
    settings = StoreSettings(home=home, master_key_file=place / "master.key")
    Store.create(settings, SystemClock(), SystemEntropy())
    return Store(settings, SystemClock(), SystemEntropy(), worker="bench")


def _load(store: Store, plan: Plan, count: int) -> None:
    loader = _loader(store)
    measured("load", count, lambda: list(loader.each(plan.requests)))
    measured("the same again", count, lambda: list(loader.each(plan.requests)))
    measured("dry run", count, lambda: loader.shown(plan.requests))


def _load_whole(store: Store, plan: Plan, count: int) -> None:
    """All or nothing, while somebody else writes ten times a second."""
    loader = _loader(store)
    with ThreadPoolExecutor(1) as beside:
        stopping = threading.Event()
        others = beside.submit(_written_beside, store, stopping)
        told = measured("all or nothing", count, lambda: loader.whole(plan.requests))
        time.sleep(1)
        stopping.set()
        waited = others.result()
    done = [each for each in waited if each.is_done]
    late = [each for each in waited if not each.is_done]
    print(f"{len(told)} told; beside it {len(done)} writes done, {len(late)} refused for now (451)")
    for name, those in (("done", done), ("refused", late)):
        print(f"  {name}: waited at most {max((each.s for each in those), default=0):.1f} s")
    at_once = sum(1 for each in waited if each.was_behind)
    print(f"  {at_once} would not have begun: the doors see that the store is behind")


class _Waited(NamedTuple):
    s: float
    is_done: bool
    was_behind: bool


def _written_beside(store: Store, stopping: threading.Event) -> list[_Waited]:
    """What became of one small write each tenth of a second, and how long each was waited for."""
    found: list[_Waited] = []
    waiting: list[Future[None]] = []

    def begun() -> None:
        started_s, was_behind = time.monotonic(), store.is_behind
        future = store.write(lambda writing: writing.trace("administration", "bench", "beside"))

        def told(future: Future[None]) -> None:
            is_done = future.exception() is None
            found.append(_Waited(time.monotonic() - started_s, is_done, was_behind))

        future.add_done_callback(told)
        waiting.append(future)

    while not stopping.wait(0.1):
        begun()
    wait(waiting)
    return found


def _loader(store: Store) -> Loader:
    new = Structure(StructureId(0), "CH de Valmont", finess=FINESS, domain=DOMAIN)
    store.write(lambda writing: writing.create_structure(new)).result()
    return Loader(store, "bench", lambda _: True, lambda *_: None, RULES)


if __name__ == "__main__":
    main()
