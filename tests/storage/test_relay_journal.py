"""The relay's journal is of no disk: what becomes of the home holds up no relay."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mssmtp.mail import EnvelopeId
from mssmtp.storage import RelayJournal, relay_journal
from mssmtp.storage.model import QueuePlace
from tests.app.test_disk import only_root

ID = EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAA")
LATER = EnvelopeId("01AAAAAAAAAAAAAAAAAAAAAAAB")
MANY = tuple(range(300))
"""As many lines as need pages that were not touched before."""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of what the whole machine shares, where nobody else is looked at."""
    found = tmp_path / "memory"
    found.mkdir()
    monkeypatch.setattr(relay_journal, "MEMORY", found)
    return found


@contextmanager
def relay(path: Path) -> Iterator[Callable[[], int]]:
    """A process that has begun its journal, and all it wrote has reached the disk; called, it
    writes on: how it ended within five seconds, 0 for well."""
    begun, began = os.pipe()
    waits, goes = os.pipe()
    child = os.fork()
    if not child:
        os.close(goes)
        journal = RelayJournal(path)
        journal.begin()
        journal.note(ID, (0,), "begun")
        os.sync()
        os.write(began, b"1")
        os.read(waits, 1)
        journal.note(LATER, MANY, "begun")
        os._exit(0)
    os.close(waits)
    assert os.read(begun, 1)

    def ended() -> int:
        os.write(goes, b"1")
        impatient = threading.Timer(5, os.kill, (child, signal.SIGKILL))
        impatient.start()
        _, status = os.waitpid(child, 0)
        impatient.cancel()
        return os.waitstatus_to_exitcode(status)

    try:
        yield ended
    finally:
        for number in (begun, began, goes):
            os.close(number)


def left_of_both(path: Path) -> bool:
    found = RelayJournal(path).left()
    return found == {
        QueuePlace(ID, 0): "begun",
        **{QueuePlace(LATER, position): "begun" for position in MANY},
    }


@pytest.mark.requirement("CL-79")
def test_a_disk_that_stands_still_holds_up_no_relay(disk: Path) -> None:
    """A store into a page of a file on it would wait in the kernel, and with it the loop."""
    path = disk / "run" / "relay.journal"
    with relay(path) as ended:
        subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
        try:
            assert ended() == 0
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)
    assert left_of_both(path)
    journal = RelayJournal(path)
    journal.begin()
    journal.end()


def test_in_the_home_is_a_link_and_nothing_remains_in_memory(memory: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "relay.journal"
    journal = RelayJournal(path)
    journal.begin()
    (room,) = memory.iterdir()
    assert path.readlink() == room / "journal"
    assert room.stat().st_mode & 0o777 == 0o700
    journal.begin()
    (other,) = memory.iterdir()
    assert other != room
    journal.end()
    assert not list(memory.iterdir())
    assert not list(path.parent.iterdir())


def test_the_journal_of_the_release_before_is_read_and_replaced(
    memory: Path, tmp_path: Path
) -> None:
    """It was a file in the home."""
    path = tmp_path / "relay.journal"
    path.write_bytes(
        Path("/proc/sys/kernel/random/boot_id").read_bytes() + b"B %b 0\n" % ID.encode()
    )
    journal = RelayJournal(path)
    assert journal.left() == {QueuePlace(ID, 0): "begun"}
    journal.begin()
    assert path.is_symlink()
    assert journal.left() == {}


@pytest.mark.attack
def test_att_39_what_another_user_has_put_in_its_place_is_not_believed(
    memory: Path, tmp_path: Path
) -> None:
    """After a restart of the machine its name is free, and everybody may write to that memory."""
    only_root()
    path = tmp_path / "relay.journal"
    journal = RelayJournal(path)
    journal.begin()
    journal.note(ID, (0,), "taken")
    assert journal.left() == {QueuePlace(ID, 0): "taken"}
    os.chown(path.resolve(), 12_345, 12_345)
    assert journal.left() is None
    target = path.resolve()
    target.unlink()
    os.mkfifo(target)  # and nobody waits for its other end
    os.chown(target, 12_345, 12_345)
    assert journal.left() is None


def test_nothing_is_believed_where_the_system_does_not_say_which_boot_it_is(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boots without a name have the same one: after a power cut it would be believed."""
    monkeypatch.setattr(relay_journal, "_BOOT_ID", tmp_path / "none")
    journal = RelayJournal(tmp_path / "relay.journal")
    journal.begin()
    journal.note(ID, (0,), "begun")
    assert journal.left() is None


def test_what_killed_relays_of_homes_that_are_gone_left_is_swept(
    memory: Path, tmp_path: Path
) -> None:
    gone, there = RelayJournal(tmp_path / "gone.journal"), RelayJournal(tmp_path / "there.journal")
    gone.begin()
    (stale,) = memory.iterdir()
    there.begin()
    (kept,) = set(memory.iterdir()) - {stale}
    (tmp_path / "gone.journal").unlink()
    for room in (stale, kept):
        os.utime(room, (1, 1))
    RelayJournal(tmp_path / "third.journal").begin()
    assert stale not in set(memory.iterdir())
    assert kept in set(memory.iterdir())


def test_memory_that_is_full_later_costs_one_line_in_the_log(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one for each letter; after a death everything is in doubt."""

    def full(number: int, start: int, octets: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(relay_journal, "REWRITTEN_FROM_OCTETS", 100)
    journal = RelayJournal(tmp_path / "relay.journal")
    journal.begin()
    for position in range(5):
        journal.note(ID, (position,), "begun")
    monkeypatch.setattr(os, "posix_fallocate", full)
    for position in range(5):
        journal.settled(ID, (position,))
        journal.note(LATER, (position,), "begun")
    assert len(caplog.records) == 1
    assert journal.left() is None
    assert not list(memory.iterdir())
