"""Every transcript of tests/transcripts/imap, on the real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssmtp.imap.commands.fetch import Fetch
from tests.imap.transcripts import Player, read_script
from tests.imap.world import World

FILES = sorted((Path(__file__).parents[1] / "transcripts" / "imap").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_transcript(world: World, path: Path) -> None:
    Player(world, read_script(path)).play()


def test_a_broken_expectation_is_seen(world: World) -> None:
    script = read_script(FILES[0])
    script.steps[:] = [(1, "1> NOOP"), (2, "1< * 7 EXISTS")]
    with pytest.raises(AssertionError, match="line 2"):
        Player(world, script).play()


def test_withholding_expunges_is_what_the_transcript_sees(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a build that tells them at once the transcript fails."""
    script = next(path for path in FILES if path.stem == "expunge_is_withheld_during_fetch")
    monkeypatch.setattr(Fetch, "withholds_expunge", False)
    with pytest.raises(AssertionError, match="EXPUNGE"):
        Player(world, read_script(script)).play()
