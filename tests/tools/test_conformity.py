"""docs/conformity.md: four states, and the check that stops a missing must row (DEF-21)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.imap import capabilities
from tools import conformity, imap_extensions
from tools.conformity import main, marked_tests, read_catalogue, render, state

CATALOGUE = """
[themes]
letter = { done = true }
portal = { done = false }

[rows]
A-01 = { strength = "must (measured)", title = "Premier", theme = "letter" }
A-02 = { strength = "default", title = "Deuxième", theme = "letter" }
A-03 = { strength = "must", title = "Troisième", theme = "portal" }
"""


class Place:
    """A repository of one test file."""

    def __init__(self, directory: Path) -> None:
        self.catalogue = directory / "requirements.toml"
        self.tests = directory / "tests"
        self.page = directory / "conformity.md"
        self.tests.mkdir()
        self.catalogue.write_text(CATALOGUE)
        self.mark("A-01")

    def mark(self, *ids: str) -> None:
        names = ", ".join(f'"{id}"' for id in ids)
        (self.tests / "test_room.py").write_text(
            f"@pytest.mark.requirement({names})\nasync def test_claim():\n    pass\n"
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setattr(conformity, "ROOT", tmp_path)
    monkeypatch.setattr(conformity, "TARGET", made.page)
    monkeypatch.setattr(conformity, "read_catalogue", lambda: read_catalogue(made.catalogue))
    return made


@pytest.mark.requirement("DEF-21")
def test_each_row_has_one_of_four_states() -> None:
    rows = {row.id: row for row in read_catalogue().rows}
    done = frozenset({rows["DEF-21"].theme})
    assert state(rows["DEF-21"], ["a test"], done) == "tested"
    assert state(rows["DEF-21"], [], frozenset()) == f"later: {rows['DEF-21'].theme}"
    must = next(row for row in rows.values() if row.is_must and row.theme in done)
    default = next(row for row in rows.values() if not row.is_must and row.theme in done)
    assert state(must, [], done) == "missing"
    assert state(default, [], done) == "default row without a test"


@pytest.mark.requirement("DEF-21")
def test_a_page_in_order_passes(place: Place) -> None:
    assert main([]) == 0
    assert main(["--check"]) == 0
    page = place.page.read_text()
    assert (
        "| A-01 | must (measured) | Premier | tested | `tests/test_room.py::test_claim` |" in page
    )
    assert "| A-02 | default | Deuxième | default row without a test |  |" in page
    assert "| A-03 | must | Troisième | later: portal |  |" in page


@pytest.mark.requirement("DEF-21")
def test_a_due_must_row_without_a_test_fails(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.mark("A-02")
    assert main([]) == 0
    assert main(["--check"]) == 1
    assert "must rows that are due have no test: A-01\n" in capsys.readouterr().err


def test_a_marker_of_an_unknown_requirement_fails(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.mark("A-01", "A-99")
    assert main([]) == 0
    assert main(["--check"]) == 1
    assert "markers name unknown requirements: A-99" in capsys.readouterr().err


def test_a_page_out_of_date_fails(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err


def test_a_theme_that_is_not_declared_is_an_error(place: Place) -> None:
    place.catalogue.write_text(CATALOGUE.replace('theme = "portal"', 'theme = "nowhere"'))
    with pytest.raises(ValueError, match="nowhere"):
        read_catalogue(place.catalogue)


def test_every_marker_of_the_suite_names_a_row() -> None:
    known = {row.id for row in read_catalogue().rows}
    marked = marked_tests(conformity.ROOT / "tests")
    assert set(marked) <= known
    assert "# Conformity" in render(read_catalogue(), marked)


@pytest.mark.requirement("DEF-21")
def test_everything_imap_announces_has_a_test_and_code_that_name_its_rfc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert imap_extensions.problems() == []
    monkeypatch.setattr(capabilities, "AFTER_LOGIN", (*capabilities.AFTER_LOGIN, "X-NOVELTY"))
    monkeypatch.setitem(imap_extensions.RFCS, "ID", 9999)
    assert imap_extensions.problems() == [
        "ID is announced and no test names RFC 9999",
        "X-NOVELTY is announced and has no RFC in tools/imap_extensions.py",
    ]


@pytest.mark.requirement("DEF-21")
def test_what_imap_does_not_announce_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ("QRESYNC", "NOTIFY")
    left = tuple(name for name in capabilities.AFTER_LOGIN if name not in lost)
    monkeypatch.setattr(capabilities, "AFTER_LOGIN", (*left, "URLAUTH"))
    monkeypatch.setitem(imap_extensions.RFCS, "URLAUTH", 3501)
    assert imap_extensions.problems() == [
        "QRESYNC is of the first wave and not announced",
        "NOTIFY is not announced, and no reason says why",
        "URLAUTH is announced all the same",
    ]
