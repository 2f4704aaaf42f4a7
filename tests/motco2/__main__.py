"""Play the bench against a running server, and print the table.

python -m tests.motco2 --demo                       starts a demo trust space for it
python -m tests.motco2 --space DIRECTORY            against a demo that is up
python -m tests.motco2 --host mx.example --ca root.pem --box A --other B --passwords FILE

FILE has the application passwords of the two boxes, one a line. Exit 1 when something fails.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.motco2.bench import MARKS, played, table
from tests.motco2.cases import Line
from tests.motco2.target import Box, Door, Target
from tests.space import Operator, RunningSpace, attach, run_space

PORTS = {"imap": 143, "imaps": 993, "submission": 587, "submissions": 465}


def of_space(space: RunningSpace, operator: Operator | None = None) -> Target:
    """The first operator of a demo, seen from outside."""
    operator = operator or space.a
    first, second = operator.doctor(0), operator.doctor(1)
    return Target(
        Path(space.ca_file),
        Door("imap", "localhost", operator.imap, True),
        Door("imap", "localhost", operator.imaps, False),
        Door("smtp", "localhost", operator.submission, True),
        Door("smtp", "localhost", operator.submissions, False),
        Box(first.address, first.password),
        Box(second.address, second.password),
    )


def _named(options: argparse.Namespace) -> Target:
    passwords = Path(options.passwords).read_text("utf-8").split()
    host = options.host
    return Target(
        Path(options.ca),
        Door("imap", host, options.imap, True),
        Door("imap", host, options.imaps, False),
        Door("smtp", host, options.submission, True),
        Door("smtp", host, options.submissions, False),
        Box(options.box, passwords[0]),
        Box(options.other, passwords[1]),
    )


def main() -> int:
    """0: every case holds, or is known to be open."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.motco2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--space", type=Path)
    for name in ("host", "ca", "box", "other", "passwords"):
        parser.add_argument(f"--{name}")
    for name, port in PORTS.items():
        parser.add_argument(f"--{name}", type=int, default=port)
    parser.add_argument("--short", action="store_true", help="without the cases of 10 Mo")
    parser.add_argument("--output", type=Path, help="write the table there too, as Markdown")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.demo:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="motco2-")))
            target = of_space(stack.enter_context(run_space(folder / "space")))
        elif options.space is not None:
            target = of_space(attach(options.space))
        elif None not in (options.host, options.ca, options.box, options.other, options.passwords):
            target = _named(options)
        else:
            parser.error("--demo, --space, or all of --host --ca --box --other --passwords")
        lines = played(target, long=not options.short, told=_tell)
    if options.output is not None:
        options.output.write_text(table(lines), "utf-8")
    marks = [line.mark for line in lines]
    counts = (marks.count("holds"), marks.count("fails"), marks.count("open"))
    print("{} hold, {} fail, {} open".format(*counts))
    return 1 if counts[1] else 0


def _tell(line: Line) -> None:
    print(f"{MARKS[line.mark]} {line.case.group}: {line.case.asked} ({line.case.rows})", flush=True)
    if line.mark != "holds":
        print(f"    {line.observed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
