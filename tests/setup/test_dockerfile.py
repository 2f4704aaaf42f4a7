"""The Dockerfile: what can be said of it without an engine; its steps are played by
`tools/prove_dockerfile.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mssmtp import home
from tools.prove_dockerfile import Image, instructions

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = list(instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))


def of(word: str) -> list[str]:
    return [rest for name, rest in STEPS if name == word]


def test_continued_lines_are_joined_and_comments_left_out() -> None:
    text = "# one\nFROM x:y\n\nRUN one \\\n  && two \\\n  # why three\n  && three\nUSER z\n"
    assert list(instructions(text)) == [
        ("FROM", "x:y"),
        ("RUN", "one && two && three"),
        ("USER", "z"),
    ]


def test_an_instruction_that_is_not_played_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ADD"):
        Image(tmp_path).step("ADD", "somewhere /")


def test_instructions_that_describe_are_kept_for_the_proof(tmp_path: Path) -> None:
    image = Image(tmp_path)
    for word, rest in STEPS:
        if word not in ("FROM", "RUN", "COPY"):
            image.step(word, rest)
    assert image.user == "mssmtp"
    assert image.entrypoint == ["/opt/mssmtp/run"]
    assert image.command == ["serve"]
    assert image.volumes == ["/var/lib/mssmtp", "/etc/mssmtp"]


def test_what_is_copied_exists_and_is_sent_to_the_engine() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for arguments in of("COPY"):
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in sent


def test_the_server_runs_without_rights() -> None:
    words = [word for word, _ in STEPS]
    assert of("USER") == ["mssmtp"]
    assert "RUN" not in words[words.index("USER") :]


def test_the_environment_is_the_one_run_looks_for() -> None:
    """`run` compares the lock with its copy; without it the read-only root would be rebuilt."""
    assert any("cp requirements.lock .venv/requirements.lock" in step for step in of("RUN"))
    assert all("--require-hashes" in step for step in of("RUN") if "pip install" in step)


def test_paths_are_those_of_a_home_made_by_init() -> None:
    volume, _ = of("VOLUME")
    assert f"MSSMTP_CONFIG={volume}/{home.SETTINGS_FILE}" in of("ENV")
    assert f"CMD test -e {volume}/store/run/ready " in of("HEALTHCHECK")[0]
    assert json.loads(of("CMD")[0]) == ["serve"]


def test_every_door_of_a_home_is_exposed() -> None:
    assert of("EXPOSE")[0].split() == ["25", "587", "465", "143", "993"]
