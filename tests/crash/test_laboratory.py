"""The crash laboratory, at smoke length; the whole of it is `./run store crash-test`."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mssmtp.storage.schema import metadata
from tests.crash.cuts import Moment, cuts, image
from tests.crash.disk import Disk, Record
from tests.crash.ledger import Reply
from tests.crash.planted import PLANTED
from tests.crash.shim import Kind
from tests.crash.workload import OPERATIONS, Hand, script

ROOT = Path(__file__).parents[2]
SEED = 7


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a short run says; the page it writes is beside it."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    page = tmp_path_factory.mktemp("report") / "durability.md"
    command = [sys.executable, "-m", "mssmtp", "store", "crash-test", "--planted", "--json"]
    command += ["--seconds", "16", "--seed", str(SEED), "--report", str(page)]
    # On a terminal there is a bar, and nothing of it may be in the way of a fork.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 2:
        pytest.skip(done.stderr)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not found["problems"] and all(found["planted"].values()))
    return {**found, "page": page.read_text("utf-8")}


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.requirement("CL-79")
def test_no_crash_loses_doubles_or_renumbers_what_was_acknowledged(report: dict[str, Any]) -> None:
    assert report["problems"] == []
    assert (report["lost"], report["doubled"], report["uid_reused"]) == (0, 0, 0)
    assert report["acknowledged"] > 500
    assert all(part["states"] > 0 for part in report["parts"].values())


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(PLANTED))
def test_the_laboratory_finds_what_it_is_made_to_find(report: dict[str, Any], name: str) -> None:
    assert report["planted"][name] != ""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_page_says_how_to_repeat_the_run(report: dict[str, Any]) -> None:
    assert f"./run store crash-test --seed {SEED}" in report["page"]
    assert "{figures}" not in report["page"]
    assert "not found" not in report["page"]


def test_what_the_page_says_of_the_method_is_what_a_run_writes() -> None:
    page = (ROOT / "docs" / "durability.md").read_text("utf-8")
    before, after = Path(__file__).with_name("durability.md").read_text("utf-8").split("{figures}")
    assert page.startswith(before)
    assert page.endswith(after)


# ---------------------------------------------------------------- the script


class Nobody:
    """Is told of steps and does not care."""

    def begins(self) -> None:
        return

    def answered(self, reply: Reply) -> None:
        return


def filled_tables(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "store.db")) as db:
        counted = {
            name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
            for name in metadata.tables
        }
    return {name for name, rows in counted.items() if rows}


@pytest.mark.timeout(60)
def test_the_script_writes_to_every_table(tmp_path: Path) -> None:
    """A table that nobody writes to is not tried (D1)."""
    home = tmp_path / "home"
    hand = Hand(home, 0, SEED, Nobody())
    met: set[str] = set()
    for number, (_, name) in enumerate(script(SEED, 1, 1)):
        hand.begin(number)
        OPERATIONS[name](hand)
        met |= filled_tables(home)
    hand.close()
    assert metadata.tables.keys() - met == {"copying", "doomed_files"}, "emptied at once"


# ---------------------------------------------------------------- the disk that orders nothing


def call(kind: Kind, inode: int = 0, path: str = "", **more: Any) -> Record:
    """A call of a trace."""
    values = {"at": 0, "other": "", "data": b"", **more}
    return Record(kind, inode, values["at"], path, values["other"], values["data"])


def disk_of(*calls: Record) -> Disk:
    """A disk after these calls."""
    disk = Disk()
    for one in calls:
        disk.follow(one)
    return disk


def left(disk: Disk) -> set[str]:
    """What each cut leaves, as text."""
    moment = Moment(0, 0, 0)
    found = (image(disk, cut, 1).files for cut in cuts(moment, disk.pending()))
    return {str({path: octets.decode() for path, octets in files.items()}) for files in found}


CREATED = call(Kind.CREATE, 5, "f")
NAMED = (CREATED, call(Kind.SYNC_DIRECTORY, 1, ""))
WRITTEN = call(Kind.WRITE, 5, data=b"abc")


def test_what_was_synced_is_there_after_every_cut() -> None:
    disk = disk_of(*NAMED, WRITTEN, call(Kind.SYNC, 5, "f"))
    assert left(disk) == {"{'f': 'abc'}"}


def test_what_was_not_synced_may_be_missing() -> None:
    assert left(disk_of(*NAMED, WRITTEN)) == {"{'f': ''}", "{'f': 'abc'}"}


def test_the_sync_of_a_file_does_not_keep_its_name() -> None:
    assert left(disk_of(CREATED, WRITTEN, call(Kind.SYNC, 5, "f"))) == {"{}", "{'f': 'abc'}"}


def test_a_removed_name_may_come_back() -> None:
    disk = disk_of(*NAMED, call(Kind.UNLINK, 0, "f"))
    assert left(disk) == {"{}", "{'f': ''}"}


def test_the_later_of_two_writes_may_be_there_alone() -> None:
    later = call(Kind.WRITE, 5, at=3, data=b"def")
    assert "{'f': '\\x00\\x00\\x00def'}" in left(disk_of(*NAMED, WRITTEN, later))


def test_a_write_may_be_torn_at_512_and_at_4096() -> None:
    disk = disk_of(*NAMED, call(Kind.WRITE, 5, data=b"y" * 6_000))
    lengths = {files.count("y") for files in left(disk)}
    assert {0, 512, 4_096, 6_000, 5_488} <= lengths


def test_a_rename_is_whole_or_absent() -> None:
    disk = disk_of(*NAMED, call(Kind.RENAME, 5, "g", other="f"))
    assert left(disk) == {"{'f': ''}", "{'g': ''}"}
