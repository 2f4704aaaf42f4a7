"""What runs beside pytest: who executes which lines, and one mutant after the other.

A copy of the tree is the place: a mutant is written there, so that processes the code starts run it
too. A mutant within a function is put into the running process (`Quick`); one that is computed at
import needs a process that has imported nothing of ours yet (`play_fresh`).
"""

from __future__ import annotations

import ast
import os
import resource
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant

KILLED, SURVIVED, ELSEWHERE = 1, 0, 77
"""How a player ends; ELSEWHERE: this mutant cannot be put into a running process."""
_MEMORY = 6 * 1024**3
_TEST_WITHIN_S = 20
"""Processor time of one test: who needs more goes round in circles."""
_OPTIONS = ("-q", "-n0", "-x", "-p", "no:cacheprovider", "-o", "timeout=0", "--no-header")
_NOT_ASKED = (
    "tests/trust/test_against_xmlsec.py",
    "tests/trust/test_fuzz.py",
    "tests/trust/test_mutants.py",
    "tests/trust/test_national_list.py",
)
"""This tool's own, and those that ask the same of so much that each mutant would take minutes."""


def run_pytest(tree: Path, tests: Sequence[str], plugin: object) -> int:
    """pytest in this process, which has imported nothing of ours, over the tree's copy."""
    here = str(Path(__file__).resolve().parents[2])
    sys.path[:] = [str(tree), *[p for p in sys.path if p and os.path.realpath(p) != here]]
    os.environ["PYTHONPATH"] = str(tree)
    os.chdir(tree)
    ignored = [f"--ignore={tree / path}" for path in _NOT_ASKED]
    with suppress(OSError):
        os.dup2(os.open("pytest.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
    return int(pytest.main([*_OPTIONS, *ignored, *tests], plugins=[plugin]))


def confine(limit_s: float) -> None:
    """A process group of its own that ends by itself, whatever a mutant makes of it."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


# ---------------------------------------------------------------- who executes what


class Recorder:
    """Lines of `files` by test. What a shared fixture executes belongs to all who ask for it."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = frozenset(files)
        self.lines: dict[str, set[tuple[str, int]]] = {}
        self.seconds: dict[str, float] = {}
        self._of_fixture: dict[tuple[str, str], set[tuple[str, int]]] = {}
        self._now: set[tuple[str, int]] = set()

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if frame.f_code.co_filename in self.files else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self._now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._now = self.lines.setdefault(item.nodeid, set())
        begun = time.perf_counter()
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.seconds[item.nodeid] = time.perf_counter() - begun
            for (base, name), lines in self._of_fixture.items():
                if name in getattr(item, "fixturenames", ()) and item.nodeid.startswith(base):
                    self.lines[item.nodeid] |= lines

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        outer = self._now
        self._now = self._of_fixture.setdefault((fixturedef.baseid, fixturedef.argname), set())
        try:
            return (yield)
        finally:
            self._now = outer


# ---------------------------------------------------------------- one mutant after the other


KILLER = "killer"
"""File of the tree that names the test which failed."""


def note_killer(report: pytest.TestReport) -> None:
    """For whoever plays the next mutant: who notices one notices others."""
    if report.failed:
        Path(KILLER).write_text(report.nodeid, "utf-8")


class Chosen:
    """Runs the tests of `nodeids`, in that order."""

    pytest_runtest_logreport = staticmethod(note_killer)

    def __init__(self, nodeids: Sequence[str]) -> None:
        self._place = {nodeid: place for place, nodeid in enumerate(nodeids)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._place]
        items.sort(key=lambda item: self._place[item.nodeid])


class Quick:
    """Collects once; then every order is played by a fork of the process, up to the first failure.

    An order is (mutant, mutated source, tests, limit in seconds); None ends it.
    """

    pytest_runtest_logreport = staticmethod(note_killer)

    def __init__(self, line: Connection) -> None:
        self._line = line

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self._line.send(sorted(items))
        while (order := self._line.recv()) is not None:
            mutant, source, nodeids, limit_s = order
            player = os.fork()
            if player == 0:
                confine(limit_s)
                chosen = [items[nodeid] for nodeid in nodeids if nodeid in items]
                _play(session, mutant, source, chosen)
            self._line.send(ended(player))
        return True


def ended(player: int) -> int:
    """How it ended: an exit code, or a signal's number below zero. Its children end with it."""
    _, status = os.waitpid(player, 0)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(player, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _play(session: pytest.Session, mutant: Mutant, source: bytes, items: list[pytest.Item]) -> None:
    code = KILLED
    try:
        if not put_in(mutant, source):
            code = ELSEWHERE
        elif not _fails(session, items):
            code = SURVIVED
    finally:
        os._exit(code)


def _fails(session: pytest.Session, items: list[pytest.Item]) -> bool:
    for item, following in zip(items, [*items[1:], None], strict=True):
        signal.setitimer(signal.ITIMER_PROF, _TEST_WITHIN_S)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed or session.shouldfail:
            return True
    return False


def put_in(mutant: Mutant, source: bytes) -> bool:
    """Have this process run the mutated source; False: not possible in place."""
    module = sys.modules.get(mutant.file.removesuffix(".py").replace("/", "."))
    if module is None or module.__file__ is None:
        return False
    if mutant.at_import:
        return _run_again(module, mutant, source)
    code: CodeType = compile(source, module.__file__, "exec", dont_inherit=True)
    place: object = module
    for name in mutant.where.split("."):
        found = next(_codes(code, name), None)
        if found is None or name not in vars(place):
            return False
        code, place = found, _unwrapped(vars(place)[name])
        if isinstance(place, FunctionType):
            try:
                place.__code__ = code
            except ValueError:  # other free variables
                return False
            return True
    return False


def _run_again(module: ModuleType, mutant: Mutant, source: bytes) -> bool:
    """A constant, or a function with another default: run the statement, tell who imported it."""
    line = mutant.lines[0]
    statement = next(
        each for each in ast.parse(source).body if each.lineno <= line <= (each.end_lineno or 0)
    )
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.FunctionDef):
        return False
    before = dict(vars(module))
    exec(  # noqa: S102 - our own source
        compile(ast.Module([statement], []), str(module.__file__), "exec", dont_inherit=True),
        vars(module),
    )
    for name in [name for name, value in vars(module).items() if before.get(name) is not value]:
        for other in [m for n, m in sys.modules.items() if n.startswith(("mssmtp", "tests"))]:
            if vars(other).get(name) is before.get(name):
                setattr(other, name, vars(module)[name])
    return True


def _codes(code: CodeType, name: str) -> Iterator[CodeType]:
    return (c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)


def _unwrapped(place: object) -> object:
    if isinstance(place, property):
        place = place.fget
    elif isinstance(place, cached_property):
        place = place.func
    elif isinstance(place, classmethod | staticmethod):
        place = place.__func__
    return getattr(place, "__wrapped__", place)
