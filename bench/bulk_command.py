"""The command `mssmtp bal load` against a server that runs, as an administrator uses it (DEF-10).

    python -m bench.bulk_command --lines 50000 [--xlsx] [--workers 2]

Dry run, load, the same again, each a process of its own: seconds by the clock, processor time of
the command and of the server, and the most memory of the largest process of each.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.bulk_load import FINESS, csv_file, xlsx_file
from bench.space import ROOT, Operator, cpu_seconds, peak_mebibytes, space

DOMAIN = "chu-g.test"


@dataclass(frozen=True, slots=True)
class Commands:
    """`mssmtp` on the home of one operator."""

    operator: Operator

    def run(self, *words: str) -> str:
        """What it printed. Ends everything when it says that something is wrong."""
        config = str(self.operator.home / "mssmtp.toml")
        command = [sys.executable, "-m", "mssmtp", *words, "--config", config]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{' '.join(words)}: {ended.stdout[-2_000:]}{ended.stderr[-2_000:]}")
        return ended.stdout

    def measured(self, what: str, count: int, *words: str) -> None:
        """Run it and print what it cost."""
        servers = self.operator.processes
        clock_s, server_s, own_s = time.perf_counter(), cpu_seconds(servers), _children_s()
        told = self.run(*words).strip().splitlines()
        clock_s = time.perf_counter() - clock_s
        server_s, own_s = cpu_seconds(servers) - server_s, _children_s() - own_s
        print(
            f"{what:<18} {clock_s:>6.1f} s  {count / clock_s:>7,.0f} lines/s"
            f"   server {server_s / count * 1e3:.3f} ms a line, {peak_mebibytes(servers):.0f} MiB"
            f"   command {own_s / count * 1e3:.3f} ms, at most {_children_mebibytes():.0f} MiB"
            f"   {told[-1]}",
            flush=True,
        )


def _children_s() -> float:
    return sum(os.times()[2:4])


def _children_mebibytes() -> float:
    """Of the largest command so far; the servers have not ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Start the space, load, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=5_000)
    parser.add_argument("--xlsx", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--base-port", type=int, default=27_000)
    given = parser.parse_args()
    count: int = given.lines
    with (
        tempfile.TemporaryDirectory() as folder,
        space(given.base_port, 1, given.workers) as operators,
    ):
        file = Path(folder) / ("comptes.xlsx" if given.xlsx else "comptes.csv")
        file.write_bytes(xlsx_file(count) if given.xlsx else csv_file(count))
        report = Path(folder) / "rapport.csv"
        commands = Commands(operators["hopital-a"])
        commands.run("structure", "create", "CHU G", "--finess", FINESS)
        commands.run("structure", "domain", FINESS, DOMAIN)
        load = ("bal", "load", str(file), "--report", str(report))
        commands.measured("dry run", count, *load, "--dry-run")
        commands.measured("load", count, *load)
        commands.measured("the same again", count, *load)


if __name__ == "__main__":
    main()
