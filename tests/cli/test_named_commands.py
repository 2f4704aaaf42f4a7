"""What a text tells its reader to type can be typed: pages, settings, and remedies in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from mssmtp.cli.commands import offer
from tests.weakened import ROOT

_QUOTED = re.compile(r"`(?:mssmtp|\./run) ([^`]+)`")
_TYPED = re.compile(r"^(?:mssmtp|\./run) ([^#\n]+)", re.MULTILINE)
_WORD = re.compile(r"[a-z][a-z-]*\Z")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_OF_RUN = "test"
Command = TyperCommand | TyperGroup
PATTERNS = ("README.md", "certs/README.md", "changes/*.md", "config/*.toml", "docs/*.md")


def named(text: str) -> Iterator[str]:
    bare = re.sub(r'"\s*f?"', "", text)  # a remedy in two literals
    for found in (*_QUOTED.findall(bare), *_TYPED.findall(bare)):
        if found.split()[0] != _OF_RUN:
            yield found


def within(command: Command) -> dict[str, Command]:
    return command.commands if isinstance(command, TyperGroup) else {}  # type: ignore[return-value]


def what_is_wrong(line: str, every: Command) -> str:
    command = every
    for word in line.split():
        inner = within(command)
        if word not in inner:
            if inner and _WORD.match(word):
                return f"no command {word}"
            break
        command = inner[word]
    if command.context_settings.get("ignore_unknown_options"):
        return ""
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for one in within(command).values():  # `suspend … --end`: of one of them
        known |= {name for each in one.params for name in each.opts}
    unknown = set(_OPTION.findall(line)) - known - {"--help", "--version"}
    return f"no option {', '.join(sorted(unknown))}" if unknown else ""


@pytest.fixture(scope="module")
def every() -> Command:
    app = typer.Typer()
    offer(app)
    made = typer.main.get_command(app)
    assert isinstance(made, TyperGroup)
    return made


def wrong_in(files: list[Path], every: Command) -> dict[str, str]:
    lines = {line for file in files for line in named(file.read_text("utf-8"))}
    assert len(lines) > 50, "they are still looked for in the right places"
    return {line: wrong for line in sorted(lines) if (wrong := what_is_wrong(line, every))}


def test_commands_that_pages_and_settings_name_exist(every: Command) -> None:
    assert wrong_in([file for each in PATTERNS for file in ROOT.glob(each)], every) == {}


def test_commands_that_refusals_and_docstrings_name_exist(every: Command) -> None:
    assert wrong_in(sorted((ROOT / "mssmtp").rglob("*.py")), every) == {}


def test_a_command_that_does_not_exist_is_found(every: Command) -> None:
    assert what_is_wrong("suspend end", every) == "no command end"
    assert what_is_wrong("bal list --jason", every) == "no option --jason"
