"""No key in a log line, in the text of an error, or in what a debugger prints of an object."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.errors import ConfigError, Damaged
from mssmtp.log import JsonFormatter
from mssmtp.mail import Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store
from mssmtp.storage.keys import KEY_OCTETS, Keyring, MasterKey
from mssmtp.storage.masters import MasterFiles
from tests.storage.support import (
    SteppingClock,
    accept,
    add_bal,
    behind,
    inbox,
    message,
    recipients,
    settings,
)


class RecordingEntropy(SystemEntropy):
    """Remembers every key it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[bytes] = []

    def token_bytes(self, octets: int) -> bytes:
        """As the system's."""
        given = super().token_bytes(octets)
        if octets == KEY_OCTETS:
            self.keys.append(given)
        return given


def written(key: bytes) -> Iterator[str]:
    """A key as it would look in text."""
    yield key.hex()
    yield base64.b64encode(key).decode().rstrip("=")
    yield base64.urlsafe_b64encode(key).decode().rstrip("=")
    yield repr(key)[2:-1]
    yield ", ".join(map(str, key))


def told(text: str, keys: list[bytes]) -> list[str]:
    """The keys that `text` tells."""
    return [form for key in keys for form in written(key) if form in text]


def test_the_search_finds_a_key_in_any_form() -> None:
    key = SystemEntropy().token_bytes(KEY_OCTETS)
    for form in written(key):
        assert told(f"xx{form}yy", [key])


@pytest.fixture
def engine() -> str:
    """The keys are the same on both."""
    return "sqlite"


@pytest.mark.requirement("SEED-89")
def test_no_key_is_logged_or_told_by_an_error(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    entropy, clock = RecordingEntropy(), SteppingClock()
    texts: list[str] = []
    Store.create(settings(home), clock, entropy)
    store = Store(settings(home), clock, entropy, worker="test")
    bal = add_bal(store)
    accept(store, store.seal(message()), [bal], recipients("x@c.test"), bal.id)
    clock.advance(timedelta(hours=2))
    texts += [repr(store.rotate_master()), repr(store.rotate_owners())]
    texts.append(repr(store.rotate_messages()))
    db = behind(home)
    db.execute("UPDATE blob_keys SET wrapped = zeroblob(61)")
    db.close()
    try:
        store.read(lambda r: r.body(inbox(store, bal), Uid(1))).result()
    except Damaged:
        texts.append(traceback.format_exc())
    store.close()
    (home / "master.key").write_bytes(entropy.token_bytes(KEY_OCTETS))
    try:
        Store(settings(home), clock, entropy)
    except ConfigError:
        texts.append(traceback.format_exc())
    texts += [JsonFormatter().format(record) for record in caplog.records]
    assert len(entropy.keys) > 5
    assert len(texts) >= 5
    assert told("\n".join(texts), entropy.keys) == []


def test_objects_that_hold_keys_say_only_whose(home: Path) -> None:
    entropy, clock = RecordingEntropy(), SteppingClock()
    Store.create(settings(home), clock, entropy)
    store = Store(settings(home), clock, entropy, worker="test")
    bal = add_bal(store)
    letter = store.seal(message())
    shown: list[object] = [store, store._vault, store._keys, store._masters, letter.blob]
    writer = store.writer()
    shown += [writer, writer._sealer]
    shown.append(store.read(lambda r: r._bal_key(bal.id)).result())
    shown += [store._masters.current(), *store._keys._now.masters.values(), store._keys._now]
    shown.append(store.read(lambda r: r._owner_row(1)).result())
    texts = [f"{one!r} {one}" for one in shown]
    writer.abort()
    store.close()
    assert told("\n".join(texts), entropy.keys) == []
    kinds = (MasterKey, Keyring, MasterFiles)
    assert all(len(repr(one)) < 200 for one in shown if isinstance(one, kinds))
