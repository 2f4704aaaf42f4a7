"""The run: copies of the tree, who executes what, each mutant before its tests, the report."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from tests import keys
from tests.mutation.mutants import Mutant
from tests.mutation.playing import (
    ELSEWHERE,
    KILLED,
    KILLER,
    SURVIVED,
    Chosen,
    Quick,
    Recorder,
    confine,
    ended,
    run_pytest,
)

ROOMS = {
    "pki": (
        "mssmtp/pki.py",
        "mssmtp/revocation.py",
        "mssmtp/ocsp.py",
        "mssmtp/crl_child.py",
        "mssmtp/responder.py",
    ),
    "whitelist": (
        "mssmtp/whitelist.py",
        "mssmtp/whitelist_signature.py",
        "mssmtp/whitelist_child.py",
    ),
    "trust": ("mssmtp/trust.py",),
}
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_KEYS = (*range(2), *range(10, 12), *range(20, 22), 30, *range(100, 105))
_FOREIGN = (
    "OpenSSL.crypto",
    "cryptography.x509",
    "lxml.etree",
    "pydantic",
    "rich",
    "signxml.verifier",
    "sqlalchemy",
    "typer",
)
_FORK = multiprocessing.get_context("fork")


@dataclass
class Report:
    """What became of the mutants; lists of their names."""

    mutants: int = 0
    killed: int = 0
    stopped: int = 0
    seconds: float = 0.0
    survived: list[str] = field(default_factory=list)
    not_executed: list[str] = field(default_factory=list)
    equivalent: list[str] = field(default_factory=list)
    not_equivalent: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.survived or self.not_executed or self.not_equivalent or self.stale)


@dataclass
class Executed:
    """Which tests execute which lines, and how long each takes."""

    seconds: dict[str, float]
    lines: dict[tuple[str, int], set[str]]
    kills: Counter[str] = field(default_factory=Counter)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Quickest first; everything, for what is computed at import."""
        if mutant.at_import:
            found = set(self.seconds)
        else:
            first, last = mutant.lines
            found = set().union(
                *(self.lines.get((mutant.file, at), set()) for at in range(first, last + 1))
            )
        return self.by_speed(found)

    def by_speed(self, tests: set[str]) -> list[str]:
        """The quickest first, and before them those that have killed something."""
        return sorted(
            tests, key=lambda test: (self.seconds[test] / (1 + 9 * self.kills[test]), test)
        )

    def limit_s(self, tests: Sequence[str]) -> float:
        """A multiple of what they take, for a machine that does other things too."""
        return min(600.0, 30.0 + 10 * sum(self.seconds[test] for test in tests))


def equivalents() -> dict[str, str]:
    """Name and reason of every mutant that changes no verdict."""
    raw = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    return {entry["mutant"]: entry["reason"] for entry in raw["equivalent"]}


def left_out() -> dict[str, str]:
    """Functions that only say something, and to whom: (file, space, name) and reason."""
    raw = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    return {entry["function"]: entry["reason"] for entry in raw["left_out"]}


def run_all(
    found: list[Mutant], root: Path, tests: Sequence[str], processes: int, *, is_whole: bool
) -> Report:
    """Every mutant before its tests. Raises RuntimeError when the tests fail without one."""
    begun, report = time.monotonic(), Report(mutants=len(found))
    found = sorted(found, key=lambda mutant: mutant.at_import)  # those ask every test: last
    _get_ready()
    known = equivalents()
    with tempfile.TemporaryDirectory(prefix="mssmtp-mutants-") as folder:
        trees = [copy_tree(root, Path(folder) / f"tree-{at}") for at in range(processes)]
        executed = record(trees[0], tests, sorted({mutant.file for mutant in found}))
        lines, workers = [], []
        for at, tree in enumerate(trees):
            line, other = _FORK.Pipe()
            work = (tree, found[at::processes], executed, tests, other)
            workers.append(_FORK.Process(target=_work, args=work))
            workers[-1].start()
            other.close()
            lines.append(line)
        _collect(lines, known, report)
        for worker in workers:
            worker.join()
    if is_whole:
        report.stale = sorted(set(known) - {mutant.name for mutant in found})
    report.seconds = time.monotonic() - begun
    return report


def _collect(lines: list[Connection], known: dict[str, str], report: Report) -> None:
    open_lines, done = list(lines), 0
    while open_lines:
        for line in multiprocessing.connection.wait(open_lines):
            assert isinstance(line, Connection)
            try:
                name, result = line.recv()
            except EOFError:
                open_lines.remove(line)
                continue
            done += 1
            _note(name, result, known, report)
            if name in report.survived or name in report.not_executed:
                print(f"survived: {name}", file=sys.stderr, flush=True)
            if sys.stderr.isatty() or done % 20 == 0:
                text = f"{done} of {report.mutants}, {len(report.survived)} survived"
                print(text, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    if done != report.mutants:
        raise RuntimeError(f"a player ended early: {done} of {report.mutants} were played")


def _note(name: str, result: int | None, known: dict[str, str], report: Report) -> None:
    if result in (SURVIVED, None) and name in known:
        report.equivalent.append(name)
    elif result is None:
        report.not_executed.append(name)
    elif result == SURVIVED:
        report.survived.append(name)
    else:
        report.killed += 1
        report.stopped += result < 0
        if name in known:
            report.not_equivalent.append(name)


# ---------------------------------------------------------------- getting ready


def _get_ready() -> None:
    """What every player would otherwise do again: foreign packages, keys."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    for name in _FOREIGN:
        with suppress(ImportError):
            import_module(name)
    for number in _KEYS:
        keys.key(number)


def copy_tree(root: Path, to: Path) -> Path:
    """The package and the tests, with what was compiled already."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build")
    return shutil.copytree(root, to, ignore=ignored)


def record(tree: Path, tests: Sequence[str], files: list[str]) -> Executed:
    """Run the tests once as they are, and watch. Raises RuntimeError when one fails."""
    target = tree / "executed.json"
    recording = _FORK.Process(target=_record, args=(tree, tests, files, target))
    recording.start()
    recording.join()
    if recording.exitcode or not target.exists():
        raise RuntimeError(f"the tests fail as they are:\n{(tree / 'pytest.out').read_text()}")
    raw = json.loads(target.read_text())
    lines: dict[tuple[str, int], set[str]] = defaultdict(set)
    for test, places in raw["lines"].items():
        for file, at in places:
            lines[(file, at)].add(test)
    return Executed(raw["seconds"], lines)


def _record(tree: Path, tests: Sequence[str], files: list[str], target: Path) -> None:
    recorder = Recorder([str(tree / file) for file in files])
    code = run_pytest(tree, tests, recorder)
    lines = {
        test: [(str(Path(file).relative_to(tree)), at) for file, at in places]
        for test, places in recorder.lines.items()
    }
    if code == 0:
        target.write_text(json.dumps({"seconds": recorder.seconds, "lines": lines}))
    os._exit(code)


# ---------------------------------------------------------------- one player's work


def _work(
    tree: Path, share: list[Mutant], executed: Executed, tests: Sequence[str], line: Connection
) -> None:
    player = Player(tree, executed, tests)
    try:
        for mutant in share:
            line.send((mutant.name, player.play(mutant)))
    finally:
        player.end()
        line.close()
    os._exit(0)


class Player:
    """A copy of the tree, a process that has collected the tests, and the mutants it is given."""

    def __init__(self, tree: Path, executed: Executed, tests: Sequence[str]) -> None:
        self._tree, self._executed = tree, executed
        self._line, other = _FORK.Pipe()
        self._quick = _FORK.Process(target=run_pytest, args=(tree, tests, Quick(other)))
        self._quick.start()
        other.close()
        self._collected: list[str] = self._line.recv()

    def end(self) -> None:
        """Let the collecting process end."""
        self._line.send(None)
        self._quick.join()

    def play(self, mutant: Mutant) -> int | None:
        """KILLED, SURVIVED, a signal below zero, or None when nothing executes it."""
        target = self._tree / mutant.file
        source, times = target.read_bytes(), target.stat()
        changed = mutant.applied(source)
        target.write_bytes(changed)
        try:
            return self._played(mutant, changed)
        finally:
            target.write_bytes(source)
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
            killer = self._tree / KILLER
            if killer.exists():
                self._executed.kills[killer.read_text("utf-8")] += 1
                killer.unlink()

    def _played(self, mutant: Mutant, changed: bytes) -> int | None:
        covering = self._executed.tests_of(mutant)
        beside = self._beside(mutant, covering)
        if not covering and not beside:
            return None
        for tests in (covering, beside):
            code = self._play_quick(mutant, changed, tests) if tests else SURVIVED
            if code == ELSEWHERE:
                return self._play_fresh([*covering, *beside])
            if code != SURVIVED:
                return code
        # What was computed at import from a constant has not seen the mutant yet.
        return self._play_fresh([*covering, *beside]) if mutant.at_import else SURVIVED

    def _play_quick(self, mutant: Mutant, changed: bytes, tests: list[str]) -> int:
        self._line.send((mutant, changed, tests, self._executed.limit_s(tests)))
        code = int(self._line.recv())
        return code if code == ELSEWHERE else min(code, KILLED)

    def _beside(self, mutant: Mutant, covering: list[str]) -> list[str]:
        """The other tests of the files of the covering ones.

        A value a shared fixture made is looked at by tests that execute nothing of its making. Who
        is executed in another process is found by name only.
        """
        files = {test.split("::")[0] for test in covering}
        if not covering:
            module = Path(mutant.file).stem
            files = {
                test.split("::")[0]
                for test in self._executed.seconds
                if module in (self._tree / test.split("::")[0]).read_text("utf-8")
            }
        beside = {t for t in self._executed.seconds if t.split("::")[0] in files} - set(covering)
        return self._executed.by_speed(beside)

    def _play_fresh(self, tests: list[str]) -> int:
        player = os.fork()
        if player == 0:
            confine(self._executed.limit_s(tests))
            files = sorted({test.split("::")[0] for test in tests})
            code = KILLED
            try:
                if run_pytest(self._tree, files, Chosen(tests)) == 0:
                    code = SURVIVED
            finally:
                os._exit(code)
        code = ended(player)
        return KILLED if code > 0 else code
