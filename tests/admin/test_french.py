"""Refusals of administration are read by administrators of hospitals: every one is in French."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mssmtp
from mssmtp.admin import OPERATIONS
from mssmtp.admin import operation as subject
from mssmtp.admin.operation import Operation, parsed
from mssmtp.errors import ConfigError

ROOT = Path(mssmtp.__file__).parent
ENGLISH = re.compile(
    r"\b(is|are|the|of|not|no|cannot|give|use|write|name|has|have|be|should|input|and|or|with)\b",
    re.IGNORECASE,
)
FRENCH = re.compile(r"[éèàêôûçîù«»]|\b(de|la|le|les|des|un|une|du|est|pas|ou|et|dans)\b", re.I)
WRONG: list[object] = [
    None, [], {}, "", "x" * 100_000, -(10**9), 10**30, True, 1.5, [1], ["x"] * 300,
    "2026-13-45", "2026-01-01", "2026-01-01T00:00:00",
]  # fmt: skip


def is_english(text: str) -> bool:
    bare = re.sub(r"`[^`]*`", "", text)
    return bool(ENGLISH.search(bare)) and not FRENCH.search(bare)


@pytest.mark.parametrize("asked", OPERATIONS, ids=lambda each: each.name)
def test_what_is_wrong_with_a_field_is_told_in_french(asked: Operation) -> None:
    for name in (*asked.input.model_fields, "autre"):
        for wrong in WRONG:
            why = refused(asked, {name: wrong})
            assert not is_english(why), name
            assert why != subject._OTHERWISE, (name, wrong)


def refused(asked: Operation, given: object) -> str:
    try:
        parsed(asked.input, json.dumps(given).encode())
    except ConfigError as error:
        return error.why
    return ""


def said(module: Path) -> Iterator[tuple[int, str]]:
    """Texts inside `raise` and those that are named `why` and `remedy`, which are raised."""
    for node in ast.walk(ast.parse(module.read_text())):
        named = isinstance(node, ast.Assign) and {
            each.id for each in node.targets if isinstance(each, ast.Name)
        } & {"why", "remedy"}
        raised = isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if named or (raised and not _is_ours(node)):
            for each in ast.walk(node):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.lineno, each.value


def _is_ours(node: ast.AST) -> bool:
    """A mistake of the program: nobody is told its words."""
    ours = {"ValueError", "TypeError", "RuntimeError", "LookupError"}
    return any(isinstance(each, ast.Name) and each.id in ours for each in ast.walk(node))


MODULES = sorted(
    path
    for pattern in (
        "accounts.py",
        "admin/*.py",
        "bulk/*.py",
        "cli/bal*.py",
        "cli/person*.py",
        "cli/register.py",
        "cli/structure.py",
        "cli/suspend.py",
        "identity/app_password.py",
        "identity/national_id.py",
        "people/*.py",
    )
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_refusals_are_written_in_french(module: Path) -> None:
    assert [found for found in said(module) if is_english(found[1])] == []
