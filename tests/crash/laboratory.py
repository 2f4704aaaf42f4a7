"""The crash laboratory's command.

    ./run store crash-test                      everything: 100,000 states, some hours
    ./run store crash-test --seconds 60         as much as fits, in an order given by the seed
    ./run store crash-test --repeat 40:only:2   one state again (with the seed it was found with)

or `python -m tests.crash.laboratory` with the same options. Exit status 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.crash import deaths, faults, power, shim
from tests.crash.findings import Findings
from tests.crash.planted import PLANTED
from tests.crash.recording import Recording, record, warm_up
from tests.crash.report import Part, Report, page

_PRELOADED = "MSSMTP_CRASH_SHIM"
_FAST = Path("/dev/shm")  # noqa: S108 - a private directory is made in it
_FOR_EVER = 86_400.0
_LONG_S = 300
"""Below that the script is a shorter one."""


@dataclass(frozen=True)
class Plan:
    """What is done, with which script, and its share of the time."""

    name: str
    share: float
    rounds: int
    bulks: int
    work: Callable[[Recording, Path, float, int], Iterator[Findings]]
    count: Callable[[Recording], int]
    jumps: bool = False


def plans(options: argparse.Namespace) -> tuple[Plan, ...]:
    """The parts of a run."""
    is_short = 0 < options.seconds < _LONG_S
    rounds = options.rounds or (1 if is_short else 2)
    bulks = options.bulks if options.bulks is not None else 1 if is_short else 4
    return (
        Plan("power cuts", 0.5, rounds, bulks, power.power_cuts, power.enumerated),
        Plan("power cuts, clock jumping by a year", 0.1, 1, 0, _back, power.enumerated, jumps=True),
        Plan("deaths of a process", 0.2, 1, 0, deaths.deaths, deaths.enumerated),
        Plan("refusing disk", 0.2, 1, 0, faults.faults, faults.enumerated),
    )


def _back(recording: Recording, folder: Path, deadline: float, jobs: int) -> Iterator[Findings]:
    """Recovered with the clock a year back."""
    yield from power.power_cuts(recording, folder, deadline, jobs, later=timedelta(days=-400))


def run(options: argparse.Namespace, console: Console) -> Report:
    """All parts, one after the other."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mssmtp-crash-", dir=_folder()) as name:
        folder = Path(name)
        warm_up(folder)
        parts = [
            _part(plan, folder / str(number), options, console)
            for number, plan in enumerate(plans(options))
        ]
        planted = _planted(folder, options) if options.planted else {}
    return Report(options.seed, _arguments(options), time.monotonic() - started, parts, planted)


def _arguments(options: argparse.Namespace) -> str:
    """Those that say what is tried."""
    given = {"--seed": options.seed, "--rounds": options.rounds, "--bulks": options.bulks}
    if options.seconds:
        given["--seconds"] = f"{options.seconds:g}"
    words = [f"{name} {value}" for name, value in given.items() if value is not None]
    return " ".join(words + ["--planted"] * options.planted)


def _part(plan: Plan, folder: Path, options: argparse.Namespace, console: Console) -> Part:
    recording = record(
        folder / "recording", options.seed, plan.rounds, plan.bulks, jumps=plan.jumps
    )
    total = plan.count(recording)
    limit = options.seconds * plan.share if options.seconds else _FOR_EVER
    found = Findings()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} states"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        auto_refresh=False,  # by a thread, beside which nobody may fork
    ) as bar:
        task = bar.add_task(plan.name, total=total)
        for one in plan.work(recording, folder, time.monotonic() + limit, options.jobs):
            found.add(one)
            bar.update(task, completed=found.verdict.states, refresh=True)
    part = Part(plan.name, found, total, len(recording.steps), recording.told.answered)
    console.print(part.text())  # now: the others may take hours
    return part


def _planted(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """Each planted bug -> the first state that shows it, "" when none does."""
    return {name: find(folder / name, name, options.seed, options.jobs) for name in PLANTED}


def find(folder: Path, name: str, seed: int, jobs: int) -> str:
    """The first state that shows a planted bug."""
    recording = record(folder / "recording", seed, 1, 0, planted=PLANTED[name])
    for slices in (2, 16, power.SLICES):
        deadline = time.monotonic() + _FOR_EVER
        place = folder / str(slices)
        place.mkdir()
        judged = power.power_cuts(
            recording, place, deadline, jobs, slices=slices, to_the_first=True
        )
        for one in judged:
            if one.problems:
                state, problem = min(one.problems)
                return f"{state}: {problem}"
    return ""


def _folder() -> Path | None:
    return _FAST if os.access(_FAST, os.W_OK) else None


def repeat(options: argparse.Namespace) -> list[str]:
    """The problems of one state, found again."""
    with tempfile.TemporaryDirectory(prefix="mssmtp-crash-", dir=_folder()) as name:
        folder = Path(name)
        warm_up(folder)
        kind = options.repeat.partition(":")[0]
        plan = plans(options)[{"death": 2, "fault": 3}.get(kind, 0)]
        recording = record(folder / "recording", options.seed, plan.rounds, plan.bulks)
        again = {"death": deaths.repeat, "fault": faults.repeat}.get(kind, power.repeat)
        return again(recording, folder, options.repeat).problems


def main() -> int:
    """See the module's docstring."""
    options = _options()
    if _PRELOADED not in os.environ:
        return _with_shim(sys.argv[1:])
    console = Console(stderr=True)
    if options.repeat:
        problems = repeat(options)
        print("\n".join(problems) or "nothing is wrong")
        return 1 if problems else 0
    report = run(options, console)
    if options.json:
        print(json.dumps(report.values(), indent=2))
    else:
        print(report.text())
    if options.report is not None:
        options.report.write_text(page(report), "utf-8")
    return 0 if report.is_sound else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mssmtp store crash-test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=0, help="about so long; 0: everything")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn; a run prints it")
    parser.add_argument("--rounds", type=int, help="how often the script does each operation")
    parser.add_argument("--bulks", type=int, help="group commits of 130 letters each, before it")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes that recover"
    )
    parser.add_argument("--planted", action="store_true", help="also find the planted bugs")
    parser.add_argument("--repeat", metavar="STATE", help="one state, as a run printed it")
    parser.add_argument("--report", type=Path, help="write the page docs/durability.md is")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser.parse_args()


def _with_shim(arguments: list[str]) -> int:
    """The same again, with the shim in the process."""
    with tempfile.TemporaryDirectory(prefix="mssmtp-shim-") as name:
        try:
            library = shim.build(Path(name))
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", "") or error
            print(f"The shim cannot be compiled: {detail}", file=sys.stderr)
            print("  On Debian, as root: apt-get install gcc libc6-dev", file=sys.stderr)
            return 2
        command = [sys.executable, "-m", "tests.crash.laboratory", *arguments]
        return subprocess.run(
            command, env={**shim.preloaded(library), _PRELOADED: "1"}, check=False
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
