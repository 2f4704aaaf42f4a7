"""What the server needs is stuck or gone: quick temporary answers, and service again by itself.

CL-79 allows 10 s. The build under test is as impatient as a test has to be, `SOON_S` in place of
eight seconds; every client here gives up, and fails its test, long before ten.
"""

from __future__ import annotations

import fcntl
import os
import signal
import smtplib
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from mssmtp.storage import deadlines
from tests.app.server import B_SENDER, Site, letter, send, serving, until
from tests.app.test_disk import disk as disk  # noqa: PLC0414 - a fixture
from tests.home import ZOE
from tests.postgres import Cluster, skip_without_postgres

pytestmark = [pytest.mark.timeout(90), pytest.mark.requirement("CL-79")]

SOON_S = 1.0
QUICK = (
    "from mssmtp.storage import deadlines, postgres_connection\n"
    f"deadlines.ANSWER_WITHIN_S = {SOON_S}\n"
    f"postgres_connection.Link.patience_s = postgres_connection.PATIENCE_S = {SOON_S * 0.9}\n"
    "from mssmtp.cli import main\n"
    "main()\n"
)
WRITES = ("small", "large", "submission", "append", "append large", "store")
READS = ("open session", "new session")


def test_the_real_build_answers_within_ten_seconds() -> None:
    assert deadlines.ANSWER_WITHIN_S + 1 < 10


class Clients:
    """Sessions opened while all was well, each used by a thread of its own."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stack = ExitStack()
        open_ = self._stack.enter_context
        peers = [open_(site.as_operator()) for _ in range(2)]
        user = open_(site.submitting())
        boxes = [open_(site.reading()) for _ in range(4)]
        # Not compressible: a file of its own.
        lines = (b64encode(os.urandom(57)) for _ in range(5_000))
        large = letter("grande") + b"\r\n".join(lines) + b"\r\n"
        self._acts: dict[str, Callable[[], str]] = {
            "small": lambda: send(peers[0], letter("petite")),
            "large": lambda: send(peers[1], large),
            "submission": lambda: submitted(user),
            "append": lambda: told(boxes[0], lambda box: box.append("INBOX", letter("jointe"))),
            "append large": lambda: told(boxes[1], lambda box: box.append("INBOX", large)),
            "store": lambda: told(boxes[2], lambda box: box.add_flags([1], ["\\Flagged"])),
            "open session": lambda: told(
                boxes[3], lambda box: box.fetch([1], ["FLAGS", "BODY.PEEK[]"])
            ),
            "new session": lambda: heard(self._read_anew),
        }

    def _read_anew(self) -> None:
        with self._site.reading() as client:
            client.fetch([1], ["FLAGS", "BODY.PEEK[]"])

    def all_at_once(self) -> dict[str, str]:
        """What each of them heard, by what it did."""
        with ThreadPoolExecutor(len(self._acts)) as threads:
            futures = {name: threads.submit(act) for name, act in self._acts.items()}
        return {name: future.result() for name, future in futures.items()}

    def close(self) -> None:
        self._stack.close()


def submitted(client: smtplib.SMTP) -> str:
    """A letter to oneself; the first refusal or the final reply."""
    octets = letter("soumise").replace(B_SENDER.encode(), str(ZOE).encode())
    code, text = client.mail(str(ZOE))
    if code < 400:
        code, text = client.rcpt(str(ZOE))
    if code < 400:
        code, text = client.data(octets)
    return f"{code} {text.decode()}"


def heard(act: Callable[[], object]) -> str:
    """What an IMAP client hears: OK, or the text of NO or BYE."""
    try:
        act()
    except IMAPClientError as error:
        return str(error)
    return "OK"


def told(box: IMAPClient, act: Callable[[IMAPClient], object]) -> str:
    """As `heard`. Of a BYE in the place of a continuation imaplib says only that this was the end:
    a store that is away can end a session before its next command has come."""
    said = heard(lambda: act(box))
    bye = box._imap.untagged_responses.get("BYE", [])
    return said if said == "OK" else b" ".join(bye).decode() or said


def is_temporary(said: str) -> bool:
    """4xx, or NO or BYE that says UNAVAILABLE."""
    return said.startswith("451 ") or "UNAVAILABLE" in said


def is_served(said: str) -> bool:
    return said == "OK" or said.startswith("250 ")


@contextmanager
def clients(site: Site) -> Iterator[Clients]:
    # On a busy machine the first may come before a server so impatient is warm.
    until(lambda: site.receive(letter("avant")).startswith("250 "), "service")
    with closing(Clients(site)) as made:
        yield made


def proven(site: Site, trouble: Callable[[], object], cure: Callable[[], object]) -> dict[str, str]:
    """What was answered while there was trouble; afterwards new sessions are served again."""
    with clients(site) as them:
        trouble()
        try:
            said = them.all_at_once()
        finally:
            cure()
    until(lambda: all(map(is_served, served_again(site))), "service again")
    assert site.receive(letter("encore")).startswith("250 ")
    return said


def served_again(site: Site) -> list[str]:
    try:
        with closing(Clients(site)) as them:
            return list(them.all_at_once().values())
    except (smtplib.SMTPException, IMAPClientError, OSError) as error:
        return [str(error)]


# ---------------------------------------------------------------- the home


def test_a_lock_held_by_a_stopped_process_defers_writing_and_leaves_reading(site: Site) -> None:
    with (
        serving(site, 1, code=QUICK),
        (site.home.directory / "store" / "commit.lock").open("w") as lock,
    ):
        said = proven(
            site,
            lambda: fcntl.flock(lock, fcntl.LOCK_EX),
            lambda: fcntl.flock(lock, fcntl.LOCK_UN),
        )
    assert all(is_temporary(said[name]) for name in WRITES), said
    assert all(is_served(said[name]) for name in READS), said


def test_a_disk_that_stands_still_holds_up_nobody(site: Site, disk: Path) -> None:
    """As the snapshot of a virtual machine freezes it, or a lost path to a storage array."""

    def freeze(how: str) -> None:
        subprocess.run(["fsfreeze", how, str(disk)], check=True)

    with serving(site, 1, code=QUICK) as server:
        said = proven(site, lambda: freeze("--freeze"), lambda: freeze("--unfreeze"))
        assert len(server.workers) == 1
        assert server.said("worker died") == 0
    assert all(is_temporary(said[name]) for name in WRITES), said


STUCK_FILES = QUICK.replace(
    "from mssmtp.cli",
    "import os\n"
    "from mssmtp.storage.files import PartialFile\n"
    "sync = PartialFile.sync\n"
    "def stuck(self):\n"
    "    if os.path.exists(os.environ['STUCK']):\n"
    "        open(os.environ['STUCK']).read()\n"
    "    sync(self)\n"
    "PartialFile.sync = stuck\n"
    "from mssmtp.cli",
)
"""A build whose large letters wait for a pipe before they are synced."""


def test_a_large_letter_the_disk_holds_up_is_deferred_and_leaves_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "stuck"
    monkeypatch.setenv("STUCK", str(pipe))
    with serving(site, 1, code=STUCK_FILES):

        def cure() -> None:
            writer = os.open(pipe, os.O_RDWR)
            pipe.unlink()
            os.close(writer)

        said = proven(site, lambda: os.mkfifo(pipe), cure)
    assert is_temporary(said["large"]), said
    assert "UNAVAILABLE" in said["append large"], said
    assert all(is_served(said[name]) for name in said if "large" not in name), said
    files = (site.home.directory / "store" / "blobs").glob("*/*")
    large = [subject for subject in site.stored() if subject == "grande"]
    assert len(list(files)) == len(large)


def test_a_worker_without_its_key_comes_back_when_the_key_does(site: Site) -> None:
    key = site.home.settings.store.master_key_file
    away = key.with_name("away")
    with serving(site) as server:
        key.rename(away)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.said("not reloaded: the settings are wrong") >= 1, "a refusal")
        victim = min(server.workers)
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.said("worker died") >= 1, "its death is noticed")
        assert site.receive(letter("sans")).startswith("250 "), "the other serves"
        assert site.subjects() == ["sans"]
        away.rename(key)
        # Its successor serves, and the reload that waited for one goes on with the other.
        until(lambda: server.said("serving") == 4 and len(server.workers) == 2, "both serve anew")
        assert site.receive(letter("avec")).startswith("250 ")


# ---------------------------------------------------------------- the database


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    skip_without_postgres()
    with Cluster() as made:
        yield made


@pytest.fixture
def on_postgres(site: Site, cluster: Cluster) -> Site:
    """The site after `mssmtp store migrate`."""
    site.write(store__database=cluster.new_database())
    moved = site.home.mssmtp("store", "migrate", "--json")
    assert moved.code == 0, moved.err
    return site


def test_a_database_that_hangs_defers_everything(on_postgres: Site, cluster: Cluster) -> None:
    with serving(on_postgres, 1, code=QUICK):
        said = proven(on_postgres, cluster.freeze, cluster.thaw)
    assert all(map(is_temporary, said.values())), said


def test_a_database_that_was_killed_defers_until_it_is_started(
    on_postgres: Site, cluster: Cluster
) -> None:
    with serving(on_postgres, 1) as server:
        said = proven(on_postgres, cluster.kill, cluster.start)
        assert server.said("worker died") == 0
    assert all(map(is_temporary, said.values())), said


def test_a_worker_that_dies_without_its_database_comes_back_with_it(
    on_postgres: Site, cluster: Cluster
) -> None:
    with serving(on_postgres, 1) as server:
        cluster.stop()
        os.kill(min(server.workers), signal.SIGKILL)
        until(lambda: server.said("worker died") >= 2, "its successor could not start")
        cluster.start()
        until(lambda: server.said("serving") == 2, "the next one serves")
        assert on_postgres.receive(letter("avec")).startswith("250 ")
