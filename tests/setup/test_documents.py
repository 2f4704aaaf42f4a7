"""What the documents say of the tree is true: links, the map, the layers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WRITTEN = ("README.md", "docs/admin.md", "docs/architecture.md", "docs/decisions.md")
PAGES = ("docs/certificates.md", "docs/sealing.md", "docs/hosting.md", "docs/risks.md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def modules() -> Iterator[str]:
    """Every room of the package, by name."""
    for path in (ROOT / "mssmtp").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            yield path.stem


@pytest.mark.parametrize("name", [*WRITTEN, *PAGES])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(name))
    assert links
    missing = [link for link in links if not ((ROOT / name).parent / link).exists()]
    assert missing == []


def test_map_names_every_room() -> None:
    named = set(re.findall(r"([a-z_]+)(?:\.py|/`)", text("README.md")))
    assert {name for name in modules() if not name.startswith("__")} - named == set()


def test_layers_are_those_that_are_enforced() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    enforced = next(each["layers"] for each in contracts if each["type"] == "layers")
    drawn = re.search(r"## Layers.*?```\n(.*?)```", text("docs/architecture.md"), re.S)
    assert drawn is not None
    assert [re.split(r"\s{2,}", line)[0] for line in drawn[1].splitlines()] == enforced


def test_commands_of_the_guides_exist() -> None:
    """`./run x` and `mssmtp x` of the guides are subcommands."""
    known = {path.stem.replace("_", "-") for path in (ROOT / "mssmtp" / "cli").glob("*.py")}
    for name in ("README.md", "docs/admin.md"):
        used = set(re.findall(r"(?:^|`)(?:\./run|mssmtp) ([a-z-]+)", text(name), re.M))
        assert used - known - {"test"} == set()
