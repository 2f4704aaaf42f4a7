"""A private, throw-away PostgreSQL for the tests.

    cluster = Cluster()             # in memory when there is room; fsync is on all the same
    cluster.start()                 # a Unix socket of its own; TCP only with tcp=True
    url = cluster.new_database()    # empty; new_database(template="…") copies one within 50 ms
    cluster.kill()                  # every process of it at once, as a power cut would
    cluster.start()                 # recovers from its log
    cluster.remove()

The fixture `postgres` is one started cluster per test process. A test that stops, freezes or kills
the server makes a `Cluster` of its own. Who runs as root runs the server as Debian's `postgres`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.free_ports import free_ports

USER = "mssmtp"
MEMORY = Path("/dev/shm")  # noqa: S108
ROOM_OCTETS = 2 << 30
START_S = 30.0
SETTINGS = {
    "fsync": "on",  # the store refuses to open without; speed comes from memory
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "'32MB'",
    "max_connections": "100",
    "max_wal_size": "'256MB'",
    "wal_level": "replica",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing outside its directory
    "logging_collector": "off",
    "log_statement": "none",
}


def programs() -> Path | None:
    """Directory of the newest server installed, as Debian or the PATH has it."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _as_server() -> list[str]:
    """Prefix of a command that runs as the server's user: PostgreSQL refuses root."""
    # The server goes with the test process, also when that one is killed.
    command = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() == 0:
        command += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    return [*command, "--"]


class Cluster:
    """One server with its data directory. Start it from the main thread: it dies with its thread.

    `durable`: on a real disk, where a sync costs what it costs. `tcp`: also on 127.0.0.1, for what
    a Unix socket cannot show. `settings` are lines of postgresql.conf, values quoted as there.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        found = programs()
        if found is None:
            raise RuntimeError("PostgreSQL is missing. On Debian: apt-get install postgresql")
        self.bin = found
        _sweep()
        self.directory = Path(
            tempfile.mkdtemp(prefix=f"mssmtp-pg-{os.getpid()}-", dir=_place(durable=durable))
        )
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port = _free_port() if tcp else 5432
        self._tcp = tcp
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
        self.settings = {**SETTINGS, **(settings or {})}

    # ------------------------------------------------------------ life

    def initialise(self) -> None:
        """Make the data directory; `start` does it when there is none."""
        self.run(
            "initdb", "--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8",
            "--locale=C", "--pgdata", str(self.data),
        )  # fmt: skip
        self.configure(self.settings)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append lines to postgresql.conf; they count from the next start (or reload) on."""
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self) -> None:
        """Start and wait until it answers; recovery after `kill` is part of that."""
        if not self.data.exists():
            self.initialise()
        arguments = ["-D", str(self.data), "-k", str(self.directory), "-p", str(self.port)]
        arguments += ["-h", "127.0.0.1" if self._tcp else ""]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*_as_server(), str(self.bin / "postgres"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self, mode: str = "fast") -> None:
        """`smart` waits for clients, `fast` ends them, `immediate` is a crash."""
        self._end({"smart": signal.SIGTERM, "fast": signal.SIGINT}.get(mode, signal.SIGQUIT))

    def kill(self) -> None:
        """Every process of the server at once by SIGKILL: nothing is written any more."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(None)

    def freeze(self) -> None:
        """Stop answering without closing anything, as a hung disk or network does."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        if self._process is None or self._process.poll() is not None:
            return []
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [pid, *map(int, children)]

    @property
    def is_running(self) -> bool:
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def remove(self) -> None:
        """Stop and forget everything."""
        if self.is_running:
            self.thaw()
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # ------------------------------------------------------------ databases

    def url(self, database: str = "postgres") -> str:
        """What `store.database` takes."""
        if self._tcp:
            return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}"

    def new_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Url of a new database, empty or a copy of `template` (nobody may be connected to that).

        Its name is random unless given.
        """
        name = name or f"t_{secrets.token_hex(8)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def execute(
        self, statement: sql.Composed | str, database: str = "postgres"
    ) -> list[tuple[object, ...]]:
        """Run a statement as the superuser; its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(
                statement if isinstance(statement, sql.Composed) else statement.encode()
            )
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the server's programs (pg_basebackup, pg_ctl …) as its user."""
        done = subprocess.run(
            [*_as_server(), str(self.bin / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.directory,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    # ------------------------------------------------------------ inside

    def _end(self, number: int | None) -> None:
        if self._process is None:
            return
        if number is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
        self._process.wait(START_S)
        self._process = None

    def _wait_until_ready(self) -> None:
        """The last line of postmaster.pid says what the server is doing."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            if _status(self.data, self._process.pid) in ("ready", "standby"):
                return
            time.sleep(0.01)
        raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text(errors='replace')}")


def _status(data: Path, pid: int) -> str:
    """What the server `pid` says of itself; a killed one has left its own last word there."""
    with suppress(OSError, IndexError):
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return lines[7].strip() if lines[0] == str(pid) else ""
    return ""


def _place(*, durable: bool) -> Path:
    if not durable and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_OCTETS:
        return MEMORY
    return Path("/var/tmp") if durable else Path(tempfile.gettempdir())  # noqa: S108


def _sweep() -> None:
    """Remove what killed test processes left in memory."""
    for place in {MEMORY, Path(tempfile.gettempdir())}:
        for directory in place.glob("mssmtp-pg-*"):
            pid = directory.name.split("-")[2]
            if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    [port] = free_ports(1)
    return port


def name_of(url: str) -> str:
    """The database a url of ours names."""
    return url.partition("?")[0].rpartition("/")[2]


def skip_without_postgres() -> None:
    """Developers may lack it; CI installs it and allows no skip."""
    if programs() is None:
        pytest.skip("PostgreSQL's server is missing. On Debian: apt-get install postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One started cluster per test process."""
    skip_without_postgres()
    with Cluster() as cluster:
        yield cluster


__all__: Sequence[str] = (
    "Cluster",
    "name_of",
    "postgres",
    "programs",
    "skip_without_postgres",
)
