"""The tool that takes checks away: it finds them, plays them, and sees what is not noticed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.laboratory import ROOMS, Report, equivalents
from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = '''"""Doc."""

from errors import Refused

LIMIT = 3
KINDS = ("a", "b")


def judge(size: int, kind: str = "a", *, strict: bool = False) -> bool:
    """Doc."""
    if size > LIMIT and not strict:
        raise Refused("too big")
    for each in KINDS:
        check(each, strict=strict)
    return kind in KINDS
'''


def found_in(folder: Path, text: str) -> list[Mutant]:
    (folder / "sample.py").write_text(text, "utf-8")
    return mutants(folder / "sample.py", folder)


def test_every_check_is_removed_negated_and_weakened(tmp_path: Path) -> None:
    found = {mutant.name.split(": ", 1)[1] for mutant in found_in(tmp_path, SAMPLE)}
    assert found >= {
        "3 -> 4",
        "3 -> 2",
        """("a", "b") without 'a'""",
        "False -> True",
        "size > LIMIT and not strict -> False",
        "size > LIMIT and not strict -> True",
        "size > LIMIT and not strict -> (size > LIMIT)",
        "size > LIMIT and not strict -> (not strict)",
        "size > LIMIT and not strict -> (size > LIMIT or not strict)",
        "size > LIMIT -> (size >= LIMIT)",
        "not strict -> (strict)",
        "KINDS -> ()",
        "check(each, strict=strict) -> pass",
        "check(each, strict=strict) without strict=strict",
        "kind in KINDS -> True",
    }


def test_a_mutant_is_the_text_with_one_place_changed(tmp_path: Path) -> None:
    source = SAMPLE.encode()
    for mutant in found_in(tmp_path, SAMPLE):
        changed = mutant.applied(source)
        assert changed != source
        ast.parse(changed)
        assert source[: mutant.start] == changed[: mutant.start]
    names = [mutant.name for mutant in found_in(tmp_path, SAMPLE)]
    assert len(names) == len(set(names))


def test_texts_for_people_types_and_decorators_are_left_alone(tmp_path: Path) -> None:
    quiet = '''"""Doc."""

Kind = Literal["a", "b"]


@decorated(frozen=True)
def tell(name: Literal["x"]) -> Literal["y"]:
    """Doc."""
    raise ConfigError("key", "what", "cure")
'''
    assert [m.name.split(": ", 1)[1] for m in found_in(tmp_path, quiet)] == [
        'raise ConfigError("key", "what", "cure") -> pass'
    ]


def test_what_is_listed_as_equivalent_is_a_mutant_and_has_a_reason() -> None:
    names = {m.name for files in ROOMS.values() for f in files for m in mutants(ROOT / f, ROOT)}
    listed = equivalents()
    assert set(listed) - names == set()
    assert all(len(reason) > 20 for reason in listed.values())


def run(*arguments: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "tests.mutation", "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return done.returncode, report


@pytest.mark.attack
@pytest.mark.timeout(300)  # a dozen processes, whatever else the machine does
def test_a_sample_is_killed_and_what_no_test_notices_is_told() -> None:
    """The whole run is `python -m tests.mutation`: docs/trust-proof.md."""
    tests = ("--tests", "tests/trust/test_decision.py")
    code, report = run(
        "--rooms", "trust", "--only", "_bind_domain: not names|: 4_096 -> 4097", *tests
    )
    assert (code, report["survived"], report["not_executed"]) == (0, [], [])
    assert report["killed"] == 2
    assert report["equivalent"] == ["mssmtp/trust.py : 4_096 -> 4097"]  # survived, and is listed


def test_a_run_with_a_survivor_is_not_clean() -> None:
    assert Report(mutants=2, killed=1, equivalent=["x"]).is_clean
    for kind in ("survived", "not_executed", "not_equivalent", "stale"):
        assert not Report(**{kind: ["x"]}).is_clean  # type: ignore[arg-type]
