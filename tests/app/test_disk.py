"""A disk that fills up or turns read-only under a running server (D9)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.app.server import Server, Site, letter, serving

pytestmark = pytest.mark.timeout(90)
DISK_OCTETS = 48_000_000


def only_root() -> None:
    """Skip by name without the right to mount; in CI nothing may be skipped."""
    if os.geteuid() != 0:
        message = "mounting a small disk needs root"
        if os.environ.get("MSSMTP_NOTHING_SKIPPED"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def disk(site: Site, tmp_path: Path) -> Iterator[Path]:
    """The store of `site` on a small disk of its own; yields where it is mounted."""
    only_root()
    image, store = tmp_path / "disk.img", site.home.directory / "store"
    with image.open("wb") as file:
        file.truncate(DISK_OCTETS)
    # Errors turn it read-only, as Debian's installer sets every disk up.
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-e", "remount-ro", str(image)], check=True)
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
    try:
        shutil.copytree(store, mounted / "store")
        shutil.rmtree(store)
        store.symlink_to(mounted / "store")
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    """Until nothing more fits."""
    target = disk / "fill"
    with suppress(OSError), target.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(65_536))
    with suppress(OSError), target.open("ab", buffering=0) as file:
        while True:
            file.write(b"0")
    return target


def turn_read_only(disk: Path) -> None:
    """As the kernel does when the disk has an error, whoever writes to it."""
    found = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", str(disk)], check=True, capture_output=True, text=True
    )
    device = Path(found.stdout.strip()).name
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this kernel cannot pretend a disk error")
    trigger.write_text("test")


def refused_until_refused(site: Site, octets: int, most: int = 400) -> tuple[list[str], str]:
    """Hand letters in until one is refused: the subjects acknowledged, and that reply."""
    acknowledged: list[str] = []
    for number in range(most):
        subject = f"lettre {octets}.{number}"
        reply = site.receive(letter(subject, octets))
        if not reply.startswith("250"):
            return acknowledged, reply
        acknowledged.append(subject)
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("octets", [500, 300_000], ids=["in the rows", "in files"])
def test_a_full_disk_defers_keeps_what_was_acknowledged_and_recovers(
    site: Site, disk: Path, octets: int
) -> None:
    with serving(site) as server:
        kept = [f"avant {number}" for number in range(3)]
        for subject in kept:
            assert site.receive(letter(subject, octets)).startswith("250 ")
        filler = fill(disk)
        more, reply = refused_until_refused(site, octets)
        assert reply.startswith("452 4.3.1 "), reply
        for _ in range(6):  # whichever worker is asked
            assert site.receive(letter("refusee", octets)).startswith("452 4.3.1 ")
        assert set(site.subjects()) == {*kept, *more}, "reading goes on"
        assert len(server.workers) == 2
        filler.unlink()
        assert site.receive(letter("apres", octets)).startswith("250 ")
        assert set(site.subjects()) == {*kept, *more, "apres"}
        assert server.said("worker died") == 0
    assert site.stored() == sorted([*kept, *more, "apres"])


def test_a_server_does_not_start_on_a_full_disk_and_says_so(site: Site, disk: Path) -> None:
    """The engine needs room for its shared memory; nothing is damaged by the attempt."""
    with serving(site, 1):
        assert site.receive(letter("avant")).startswith("250 ")
    filler = fill(disk)
    server = Server(site, 1)
    assert server.process.wait(20) == 2
    assert "store.home: the disk is full\n  Make room, then start again." in server.log
    filler.unlink()
    with serving(site, 1):
        assert site.subjects() == ["avant"]


@pytest.mark.parametrize("octets", [500, 300_000], ids=["in the rows", "in files"])
def test_a_read_only_disk_defers_and_is_still_read(site: Site, disk: Path, octets: int) -> None:
    with serving(site) as server:
        assert site.receive(letter("avant", octets)).startswith("250 ")
        assert site.subjects() == ["avant"]
        os.sync()  # pages of mapped files that were written back are asked for anew
        turn_read_only(disk)
        for _ in range(4):
            assert site.receive(letter("refusee", octets)).startswith("451 4.3.0 ")
        assert site.subjects() == ["avant"]
        assert len(server.workers) == 2
        assert server.said("worker died") == 0


def test_no_server_starts_on_a_read_only_disk_and_the_error_says_why(
    site: Site, disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    server = Server(site)
    assert server.process.wait(20) == 2
    assert "store.home: cannot be opened (Read-only file system)" in server.log
    assert "Traceback" not in server.log
    answer = site.home.mssmtp("bal", "list")
    assert (answer.code, answer.out) == (2, "")
    assert "Check the disk: rights, free space, read-only." in answer.err
    assert site.home.mssmtp("doctor").code == 1


def test_the_detector_sees_a_server_that_acknowledges_what_it_could_not_keep(
    site: Site, disk: Path
) -> None:
    """Weakened: the committer answers although nothing was written."""
    weakened = (
        "from mssmtp.storage import committer\n"
        "def fail(self, waiting, error):\n"
        "    for one in waiting:\n"
        "        one.answer.give(None)\n"
        "committer.Committer._fail = fail\n"
        "from mssmtp.cli import main\n"
        "main()\n"
    )
    with serving(site, 1, code=weakened):
        fill(disk)
        with pytest.raises(AssertionError, match="nothing was refused"):
            refused_until_refused(site, 500, most=120)
    assert len(site.stored()) < 120
