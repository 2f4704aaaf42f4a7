"""A primary and its streaming replica, whose parts can be swapped again and again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import psycopg

from tests.postgres import USER, Cluster

WITHIN_S = 30.0
DATABASE = "mssmtp"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something another process does."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, f"not within {WITHIN_S} s: {what}"
        time.sleep(0.02)


class Pair:
    """Two servers on Unix sockets. `synchronous`: a commit waits for the replica's disk."""

    def __init__(self, *, synchronous: bool = True) -> None:
        self._synchronous = synchronous
        self.primary, self.replica = Cluster(), Cluster()
        self._directories = (self.primary.directory, self.replica.directory)
        try:
            self.primary.start()
            self.primary.execute(f"CREATE DATABASE {DATABASE}")
            self.follow()
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        """Both hosts: libpq takes the one that can be written to."""
        hosts = ",".join(map(str, self._directories))
        ports = ",".join([str(self.primary.port)] * 2)
        return (
            f"postgresql://{USER}@/{DATABASE}?host={hosts}&port={ports}"
            "&target_session_attrs=read-write"
        )

    def follow(self) -> None:
        """Make the replica anew from the primary, and wait until it has everything."""
        replica = self.replica
        replica.run(
            "pg_basebackup", "--pgdata", str(replica.data), "--no-sync", "--checkpoint=fast",
            "--wal-method=stream", "--write-recovery-conf",
            "--host", str(self.primary.directory), "--username", USER,
        )  # fmt: skip
        # Once promoted it has no replica: with this name kept no commit would ever end.
        replica.configure({"synchronous_standby_names": "''"})
        replica.start()
        if self._synchronous:
            self._set_on_primary("synchronous_standby_names", "'*'")
        wanted = "sync" if self._synchronous else "async"
        states = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        until(lambda: self.primary.execute(states) == [(wanted,)], f"a replica that is {wanted}")

    def fail_over(self) -> float:
        """Kill the primary in the middle of whatever it does, promote the other; seconds taken."""
        started_s = time.monotonic()
        self.primary.kill()
        self.replica.thaw()
        self.replica.run("pg_ctl", "promote", "--wait", "--pgdata", str(self.replica.data))
        self.primary, self.replica = self.replica, self.primary
        return time.monotonic() - started_s

    def rebuild(self) -> None:
        """The server that died comes back as the replica of the other."""
        shutil.rmtree(self.replica.data)
        self.follow()

    def _set_on_primary(self, name: str, value: str) -> None:
        self.primary.configure({name: value})
        self.primary.execute("SELECT pg_reload_conf()")

    def remove(self) -> None:
        """Stop both."""
        for cluster in (self.primary, self.replica):
            with suppress(psycopg.Error):
                cluster.remove()

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.remove()
