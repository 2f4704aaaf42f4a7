"""The benchmark of SEARCH asks what it says: smoke length."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.fill import Filler, Plan
from bench.letters import RARE_EVERY
from bench.search import QUESTIONS, RARE_KEY, answer, measured, opened
from mssmtp.storage import Store
from tests.storage.support import open_new


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite"])
def test_the_rare_word_is_found_where_the_letters_have_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store: Store = open_new(home)
    try:
        for _ in Filler(store, Plan(RARE_EVERY + 1, octets=1_200)).run():
            pass
        assert answer(store, opened(store), RARE_KEY)[0] == [1, RARE_EVERY + 1]
        measured(store, 1, QUESTIONS)
    finally:
        store.close()
    assert "messages/s" in capsys.readouterr().out
