"""What the tests of the portal's functions share: a clock that stands still, a store, a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.config import StoreSettings
from mssmtp.config_notices import NoticeSettings
from mssmtp.identity import app_password, portal_password
from mssmtp.notices import Desk
from mssmtp.storage import Store
from tests.identity.fakes import Clock, Entropy


@pytest.fixture(autouse=True)
def _quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    monkeypatch.setattr(portal_password, "COST", app_password.Cost(1, 8))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    home = tmp_path / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, clock, Entropy())
    store = Store(settings, clock, Entropy(b"store"))
    yield store
    assert store.check().problems == ()
    store.close()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(NoticeSettings(relay_host="127.0.0.1", relay_tls="none"), (), clock)
