"""Eight threads of two processes on one store, judged against a reference (D1, D5, T15).

The short version of `python -m tests.soak`, and the proof that it finds what it is there for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import Cluster, name_of
from tests.soak.run import Soak, Wanted


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_everything_said_by_two_processes_fits_into_one_order(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    database = None
    if engine == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        database = cluster.new_database()
    wanted = Wanted(seconds=15, seed="ci", epoch_s=3.0, database=database, archived=200)
    outcome = Soak(tmp_path, wanted).run()
    if database is not None:
        cluster.drop_database(name_of(database))
    assert outcome.violations == []
    assert outcome.kills >= 1
    assert {
        "accept",
        "store",
        "expunge",
        "move",
        "lease",
        "rename",
        "rotate",
    } <= outcome.acts.keys()


# Names of acts that meet the bug soonest; nothing else differs from the run above.
BUGS = {
    "modseq-counted-outside-the-transaction": ("burst", "store_flags", "look"),
    "snapshot-of-two-commits": ("look", "append", "store_flags"),
    "uid-used-again-after-the-last-message-went": ("deliver", "look", "move"),
    "answer-before-the-commit": ("append", "look", "look_told"),
    "refusal-before-the-commit": ("create", "delete", "list_names"),
    "failed-job-leaves-what-it-wrote": ("undone", "append", "look"),
    "change-lost-between-two-looks": ("append", "store_flags", "create", "look"),
    "change-of-a-failed-job-is-told": ("undone", "append", "look"),
    "recipient-leased-twice": ("deliver", "lease"),
    "expunge-forgets-the-tombstone": ("append", "store_flags", "expunge", "look"),
}


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(tmp_path: Path, bug: str) -> None:
    wanted = Wanted(
        seconds=60,
        seed="planted",
        epoch_s=0.6,
        kills=False,
        planted=bug,
        archived=0,
        heard_within_s=1.5,
        focus=BUGS[bug],
    )
    violations = Soak(tmp_path, wanted).run().violations
    assert violations
    broken = ("TypeError", "AttributeError", "NameError")
    assert not any(name in text for name in broken for text in violations), "the plant is broken"
