"""Homes that are damaged or put together wrongly: refused with why, or right as far as they go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from mssmtp.errors import ConfigError, Damaged
from mssmtp.mail import Uid
from mssmtp.storage import files, log_frames
from mssmtp.storage import store as store_module
from mssmtp.storage.files import BlobFiles
from tests.storage import flips
from tests.storage.support import accept, add_bal, inbox, message, open_new, reopen

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine() -> str:
    """A database server keeps its own files."""
    return "sqlite"


@pytest.mark.parametrize("killed", [False, True])
def test_one_flipped_bit_gives_no_wrong_content_and_is_not_hidden(
    tmp_path: Path, *, killed: bool
) -> None:
    """The long run is `python -m tests.storage.flips`."""
    found = flips.run(tmp_path / "home", seed=1, flips=25, killed=killed)
    assert found["refused to open"]
    assert found["reported"]


def test_the_flips_notice_a_store_that_gives_what_it_has_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mssmtp.storage.sealing import ChunkReader

    opened = ChunkReader._open

    def lenient(self: ChunkReader, number: int, sealed: bytes) -> bytes:
        try:
            return opened(self, number, sealed)
        except Damaged:
            return b"x" * self.size

    monkeypatch.setattr(ChunkReader, "_open", lenient)
    small = flips.Small(tmp_path / "home", killed=False)
    blob = next(path for path in small.home.glob("blobs/*/*"))
    with pytest.raises(AssertionError, match="wrong content"):
        small.judged(flips.Flip(blob, 100, 3))


def killed_with_log(home: Path, letters: int = 5) -> Path:
    """A home as a kill leaves it: everything of the letters is in the log."""
    store = open_new(home)
    bal = add_bal(store)
    for number in range(letters):
        accept(store, store.seal(message(body=b"%d" % number)), [bal])
    copy = home.with_name("killed")
    shutil.copytree(home, copy)
    store.close()
    return copy


def flip(file: Path, octet: int) -> None:
    octets = bytearray(file.read_bytes())
    octets[octet] ^= 4
    file.write_bytes(octets)


@pytest.mark.parametrize("place", [0, 20, 60, 5_000, 20_000])
def test_a_log_that_lost_acknowledged_commits_is_refused_and_kept(home: Path, place: int) -> None:
    copy = killed_with_log(home)
    log = copy / "store.db-wal"
    flip(log, place)
    before = log.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"store\.db-wal is damaged"):
            reopen(copy)
        assert log.read_bytes() == before, "it stays for whoever can repair it"


def test_without_that_look_the_loss_is_silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = killed_with_log(home)
    flip(copy / "store.db-wal", (copy / "store.db-wal").stat().st_size // 2)
    monkeypatch.setattr(log_frames, "require_whole", lambda database: None)
    with closing(reopen(copy)) as store:
        assert store.check(deep=True).is_sound
        bal = store.read(lambda r: r.bals()[0]).result()
        assert len(store.read(lambda r: r.uids(inbox(store, bal))).result()) < 5


def test_a_log_cut_by_a_power_cut_is_no_damage(home: Path) -> None:
    """The last commit was not synced yet: any part of its frames may be missing."""
    copy = killed_with_log(home)
    log = copy / "store.db-wal"
    whole = log.read_bytes()
    log.write_bytes(whole[:-100])
    with closing(reopen(copy)) as store:
        assert store.check(deep=True).is_sound


def test_a_start_that_dies_before_its_sweep_is_followed_by_another(home: Path) -> None:
    copy = killed_with_log(home)
    code = (
        "import os, sys; from pathlib import Path; from tests.storage.support import reopen\n"
        "from mssmtp.storage import database; real = database.ensure_version\n"
        "database.ensure_version = lambda path: (real(path), os._exit(9))\n"
        "reopen(Path(sys.argv[1]))"
    )
    died = subprocess.run([sys.executable, "-c", code, str(copy)], cwd=ROOT, check=False)
    assert died.returncode == 9
    with closing(reopen(copy)) as store:
        assert store.check(deep=True).is_sound


def test_a_start_that_is_refused_leaves_a_home_that_opens(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = killed_with_log(home)
    key = (copy / "master.key").read_bytes()
    (copy / "master.key").write_bytes(os.urandom(32))
    with pytest.raises(ConfigError, match="key"):
        reopen(copy)
    (copy / "master.key").write_bytes(key)

    def broken(*_: object) -> int:
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(BlobFiles, "sweep", broken)
        with pytest.raises(ConfigError, match="I/O error"):
            reopen(copy)
    with closing(reopen(copy)) as store:
        assert store.check(deep=True).is_sound


def test_an_orderly_end_beside_a_dead_process_leaves_a_home_that_opens(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_new(home)
    other = reopen(home)
    letter = other.seal(message(body=os.urandom(200_000)))
    letter.blob.keep()
    with monkeypatch.context() as patch:
        patch.setattr(BlobFiles, "close", lambda self: os.close(self._lock))
        other.close()
    store.close()
    assert not (home / "store.db-wal").exists()
    with closing(reopen(home)) as again:
        assert list((home / "blobs").glob("*/*")) == []
        assert again.check(deep=True).is_sound


def test_a_process_that_dies_beside_the_last_step_of_an_end_leaves_a_home_that_opens(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose connection is the last one takes the log into the file."""
    store, other = open_new(home), reopen(home)
    real = BlobFiles.close

    def closed(self: BlobFiles) -> None:
        real(self)
        monkeypatch.setattr(BlobFiles, "close", lambda self: os.close(self._lock))
        other.close()

    monkeypatch.setattr(BlobFiles, "close", closed)
    monkeypatch.setattr(store_module, "home_lock", lambda home: nullcontext())
    store.close()
    assert not (home / "store.db-wal").exists()
    reopen(home).close()


def test_an_end_beside_an_unfinished_letter_is_on_disk_before_the_log_goes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that a power cut brings back, beside a log that is gone, would be half a copy."""
    store = open_new(home)
    writer = store.writer()
    writer.write(os.urandom(200_000))
    (lock,) = (home / "incoming").glob("*/lock")
    gone: list[Path] = []
    sync = files.sync_directory

    def synced(path: Path) -> None:
        sync(path)
        if path == lock.parent and not lock.exists():
            assert (home / "store.db-wal").exists()
            gone.append(path)

    monkeypatch.setattr(files, "sync_directory", synced)
    store.close()
    assert gone == [lock.parent]
    assert not (home / "store.db-wal").exists()
    reopen(home).close()


def test_a_log_that_is_emptied_while_it_is_looked_at_is_no_damage(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shredding beside a start empties the log without the lock of writers."""
    copy = killed_with_log(home)
    real = log_frames._is_cut

    def emptied(log: Path, reached: int) -> bool:
        whole = log.read_bytes()
        log.write_bytes(b"")
        try:
            return real(log, reached)
        finally:
            log.write_bytes(whole)

    monkeypatch.setattr(log_frames, "_is_cut", emptied)
    reopen(copy).close()


def test_a_log_that_was_begun_anew_is_no_damage(home: Path) -> None:
    """Behind the frames of today lie those of the log before."""
    store = open_new(home)
    bal = add_bal(store)
    for number in range(40):
        accept(store, store.seal(message(body=os.urandom(40_000 + number))), [bal])
    store.read(lambda r: r._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()).result()
    accept(store, store.seal(message()), [bal])
    copy = home.with_name("killed")
    shutil.copytree(home, copy)
    store.close()
    with closing(reopen(copy)) as again:
        assert len(again.read(lambda r: r.uids(inbox(again, bal))).result()) == 41


def without_log(home: Path) -> None:
    (home / "store.db-wal").unlink()


def without_contents(home: Path) -> None:
    shutil.rmtree(home / "blobs")


def without_some_contents(home: Path) -> None:
    shutil.rmtree(home / "blobs/a7")


def without_database(home: Path) -> None:
    (home / "store.db").unlink()


def cut_database(home: Path) -> None:
    os.truncate(home / "store.db", (home / "store.db").stat().st_size // 2)


def empty_database(home: Path) -> None:
    os.truncate(home / "store.db", 0)


def another_database(home: Path) -> None:
    other = home.with_name("other")
    open_new(other).close()
    shutil.copy(other / "store.db", home / "store.db")
    (home / "store.db-wal").unlink()
    shutil.rmtree(home / "incoming")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_log, r"store\.db-wal is missing"),
        (without_contents, "blobs/00 is missing"),
        (without_some_contents, "blobs/a7 is missing"),
        (without_database, "there is no store"),
        (cut_database, "damaged"),
        (empty_database, "damaged"),
        (another_database, "key"),
    ],
)
def test_half_a_copy_does_not_open_and_says_what_is_missing(
    home: Path, damage: Callable[[Path], None], why: str
) -> None:
    copy = killed_with_log(home)
    damage(copy)
    with pytest.raises(ConfigError, match=why):
        reopen(copy)


def test_a_database_beside_the_files_of_another_home_is_reported(home: Path) -> None:
    """Two homes of one master key: everything opens, and the check says what does not belong."""
    store = open_new(home)
    bal = add_bal(store)
    accept(store, store.seal(message(body=os.urandom(200_000))), [bal])
    store.close()
    other = home.with_name("other")
    shutil.copytree(home, other)
    with closing(reopen(other)) as second:
        accept(second, second.seal(message(body=os.urandom(200_000))), [bal])
    shutil.copy(other / "store.db", home / "store.db")
    with closing(reopen(home)) as mixed:
        problems = mixed.check().problems
        assert len(problems) == 1
        assert "its file is missing" in problems[0]
        box = inbox(mixed, bal)
        assert mixed.read(lambda r: r.body(box, Uid(1))).result()
        with pytest.raises(Damaged, match="missing"):
            mixed.read(lambda r: r.body(box, Uid(2))).result()


def test_directories_of_passing_things_are_made_again(home: Path) -> None:
    open_new(home).close()
    for name in ("incoming", "run"):
        shutil.rmtree(home / name)
    with closing(reopen(home)) as store:
        assert store.check(deep=True).is_sound


def test_a_row_that_leads_to_another_letter_gives_no_letter(home: Path) -> None:
    from tests.storage.support import behind

    store = open_new(home)
    bal = add_bal(store)
    for body in (b"un", b"deux"):
        accept(store, store.seal(message(body=body)), [bal])
    store.close()
    with closing(behind(home)) as db:
        db.execute("UPDATE messages SET blob = 2 WHERE uid = 1")
    with closing(reopen(home)) as again, pytest.raises(Damaged, match="another"):
        again.read(lambda r: r.body(inbox(again, bal), Uid(1))).result()
