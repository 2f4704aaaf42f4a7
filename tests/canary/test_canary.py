"""No word of a letter is found outside its seal, in any encoding, on either engine (ATT-39, F7)."""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from psycopg import sql

from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN
from tests.canary.finder import PLAIN, STEM, found_in, found_under, spellings
from tests.home import Home, make_home
from tests.postgres import Cluster, skip_without_postgres

ROOT = Path(__file__).parents[2]
TALKATIVE = {
    # The worst an administrator can switch on: every statement and every value, errors too.
    "log_statement": "'all'",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "debug5",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_error_verbosity": "verbose",
    "log_temp_files": "0",
    "work_mem": "'64kB'",
}


@dataclass(frozen=True, slots=True)
class Place:
    """An operator's home and everything around it that may be written to."""

    directory: Path
    home: Home
    cluster: Cluster | None
    database: str | None

    def places(self) -> list[Path]:
        """Home, logs, working and temporary directory; data directory and log of the server."""
        found = [self.directory]
        if self.cluster is not None:
            self.cluster.execute("CHECKPOINT")
            found += [self.cluster.data, self.cluster.log]
        return found

    def dump(self) -> bytes:
        """What a backup of the database holds."""
        if self.cluster is None or self.database is None:
            with closing(sqlite3.connect(self.home.directory / "store/store.db")) as db:
                return "\n".join(db.iterdump()).encode("utf-8", "surrogateescape")
        return self.cluster.run("pg_dump", "--inserts", "--dbname", self.database).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    authority: Authority,
    healthy: dict[str, Identity],
) -> Iterator[Place]:
    directory = tmp_path / "all"
    directory.mkdir()
    cluster = database = None
    more = {}
    if request.param == "postgresql":
        skip_without_postgres()
        cluster = Cluster(settings=TALKATIVE)
        cluster.start()
        database = more["store.database"] = cluster.new_database()
    home = make_home(directory / "operator", authority, healthy[A_DOMAIN], more)
    yield Place(directory, home, cluster, database)
    if cluster is not None:
        cluster.remove()


@contextmanager
def filling(place: Place) -> Iterator[subprocess.Popen[str]]:
    """The process that fills the store; what it says goes to a file that is searched too."""
    temporary, working = place.directory / "tmp", place.directory / "cwd"
    temporary.mkdir()
    working.mkdir()
    with open(place.directory / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.canary.filling",
             str(place.home.config_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=working,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == "filled\n", (place.directory / "log").read_text()
            yield process
        finally:
            process.kill()


def looked_where_there_is_something(place: Place) -> None:
    """A search in the wrong places would find nothing either."""
    store = place.home.directory / "store"
    assert [path for path in store.glob("incoming/*/*") if path.name != "lock"]
    assert list(store.glob("blobs/*/*"))
    assert (place.directory / "log").stat().st_size
    if place.cluster is None:
        assert (store / "store.db-wal").stat().st_size > 100_000
    else:
        log = place.cluster.log.read_bytes()
        assert b"unique constraint" in log
        assert b"INSERT INTO messages" in log


@pytest.mark.timeout(180)
@pytest.mark.requirement("SEED-58")
@pytest.mark.attack
@pytest.mark.parametrize("end", ["closed", "killed"])
def test_att_39_no_canary_is_found_anywhere_in_any_encoding(place: Place, end: str) -> None:
    with filling(place) as process:
        assert found_under(*place.places()) == {}
        looked_where_there_is_something(place)
        if end == "killed":
            process.kill()
        process.communicate("end\n" if end == "closed" else None, timeout=60)
    assert found_under(*place.places()) == {}
    for command in (["check", "--json"], ["check", "--contents"], ["stats", "--json"], ["stats"]):
        answer = place.home.mssmtp("store", *command)
        assert answer.code == 0
        assert found_in((answer.out + answer.err).encode()) == []
    assert found_in(place.dump()) == []
    assert not list(place.directory.rglob("core*"))


def test_the_search_finds_every_spelling_of_a_leak(tmp_path: Path) -> None:
    spelt = spellings()
    assert len(spelt) > 60
    for number, octets in enumerate(spelt.values()):
        (tmp_path / f"{number}").write_bytes(os.urandom(100) + octets + os.urandom(100))
    word = f"avant {STEM}Objet apres".encode()
    more = {
        "zstd": zstandard.ZstdCompressor(level=1).compress(word * 3),
        "gzip": gzip.compress(word),
        "base64": b64encode(b"Bonjour, " + word),
        "folded": word.decode().lower().encode(),
        "utf-16": word.decode().encode("utf-16"),
        "hex": word.hex().encode(),
        f"named {PLAIN}": b"",
    }
    for name, octets in more.items():
        (tmp_path / name).write_bytes(b"\0" * 50 + octets + b"\0" * 50)
    found = {Path(path).name for path in found_under(tmp_path)}
    assert found == {*more, *map(str, range(len(spelt)))}
    assert found_in(b"a sentence without it, " + os.urandom(10_000)) == []


@pytest.mark.timeout(120)
def test_a_row_in_clear_is_found_in_files_backup_and_log(place: Place) -> None:
    """Control of the first test, on the engines themselves."""
    word = f"{STEM} en clair"
    if place.cluster is None:
        with closing(sqlite3.connect(place.home.directory / "store/store.db")) as db:
            db.execute("INSERT INTO meta VALUES ('x', ?)", (word.encode(),))
            db.commit()
            assert any(path.endswith("-wal") for path in found_under(*place.places()))
        assert any(path.endswith(".db") for path in found_under(*place.places()))
    else:
        assert place.database is not None
        name = place.database.partition("?")[0].rpartition("/")[2]
        statement = sql.SQL("INSERT INTO meta VALUES ('x', {})")
        place.cluster.execute(statement.format(sql.Literal(word.encode())), name)
        found = found_under(*place.places())
        assert any("/base/" in path for path in found)
        assert any("/pg_wal/" in path for path in found)
        assert any(path.endswith("/log") for path in found)
    assert found_in(place.dump())
