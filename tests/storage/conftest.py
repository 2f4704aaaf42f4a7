"""Every test that writes ends with Store.check."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Bal
from mssmtp.storage import Store
from tests.app.test_disk import only_root
from tests.postgres import Cluster, name_of
from tests.storage.support import SteppingClock, add_bal, database_file, open_new


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """The two engines. A module about one of them alone has a fixture of its own of this name."""
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, engine: str, request: pytest.FixtureRequest) -> Iterator[Path]:
    home = tmp_path / "home"
    if engine == "sqlite":
        yield home
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    url = cluster.new_database()
    database_file(home).write_text(url, encoding="utf-8")
    yield home
    cluster.drop_database(name_of(url))


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def store(home: Path, clock: SteppingClock) -> Iterator[Store]:
    store = open_new(home, clock)
    yield store
    clock.advance(timedelta(seconds=1))  # files as old as the check are taken for being written
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()


@pytest.fixture
def zoe(store: Store) -> Bal:
    return add_bal(store)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    only_root()
    image, mounted = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(16_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)
