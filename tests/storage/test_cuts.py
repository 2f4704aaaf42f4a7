"""A message of 60 MB whose peer goes away at any point: nothing remains of it (D2, D11)."""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mssmtp.mail import Bal
from mssmtp.storage import Store
from mssmtp.storage.files import BlobFiles
from mssmtp.storage.letters import LetterWriter
from mssmtp.storage.sealing import CHUNK_OCTETS
from tests.storage.support import accept, message

SIZE = 60_000_000
BLOCK = 65_536
SMALL = 131_072
BORDERS = [
    border + step for border in (0, CHUNK_OCTETS, 2 * CHUNK_OCTETS, SMALL) for step in (-1, 0, 1)
]
AT_ONCE = 20
MOST_OCTETS = 512 * 1_024
"""Of one writer: what is not sealed yet, what is not written yet, and the scanner."""


@pytest.fixture
def engine() -> str:
    """Files are the same on both."""
    return "sqlite"


def octets_of_a_letter() -> Iterator[bytes]:
    """60 MB in blocks, the same every time, with an attachment that does not compress."""
    yield message(body=b"")[:-2]
    noise = os.urandom(BLOCK // 2).hex().encode()
    yield b"\r\n"
    while True:
        yield noise[: BLOCK - 2] + b"\r\n"


def fed(writer: LetterWriter, cut: int) -> LetterWriter:
    """`cut` octets of the letter, in the blocks in which a door gets them."""
    left = cut
    for block in octets_of_a_letter():
        if left <= 0:
            return writer
        writer.write(block[:left])
        left -= len(block)
    return writer


def remains(home: Path) -> list[Path]:
    """Files of messages, whole or not."""
    found = [*home.glob("incoming/*/*"), *home.glob("blobs/*/*")]
    return [path for path in found if path.name != "lock"]


def aborted(writers: list[LetterWriter]) -> None:
    for writer in writers:
        writer.abort()


def forgotten(writers: list[LetterWriter]) -> None:
    """As a task that was cancelled leaves them."""
    writers.clear()
    gc.collect()


def discarded(writers: list[LetterWriter]) -> None:
    """Complete, but nobody is there any more to be told."""
    for writer in writers:
        Store.discard(writer.finish())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", [aborted, forgotten, discarded])
def test_cut_at_block_borders_and_anywhere_20_at_once_it_leaves_nothing(
    store: Store, zoe: Bal, home: Path, end: Callable[[list[LetterWriter]], None]
) -> None:
    chance = random.Random(60)  # noqa: S311
    cuts = [*BORDERS, *(chance.randrange(4_000_000) for _ in range(AT_ONCE - len(BORDERS)))]
    writers = [fed(store.writer(), cut) for cut in cuts if end is not discarded or cut > 1_000]
    assert remains(home), "the larger ones are files by now"
    end(writers)
    assert remains(home) == []
    accept(store, store.seal(message()), [zoe])
    assert store.check(deep=True).counted["messages"] == 1


@pytest.mark.timeout(60)
def test_cut_before_its_last_octet_60_mb_leave_nothing(store: Store, home: Path) -> None:
    writer = fed(store.writer(), SIZE - 1)
    (partial,) = remains(home)
    assert partial.stat().st_size > SIZE // 3
    writer.abort()
    assert remains(home) == []


@pytest.mark.timeout(60)
def test_twenty_at_once_stay_within_memory(store: Store) -> None:
    """What one takes does not grow with what has come of it."""
    writers = [store.writer() for _ in range(AT_ONCE)]
    for writer in writers:
        fed(writer, SMALL)
    tracemalloc.start()
    try:
        for writer in writers:
            fed(writer, 2_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    aborted(writers)
    assert peak < AT_ONCE * MOST_OCTETS


def test_a_writer_that_does_not_clean_up_is_seen(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(BlobFiles, "abandon", lambda self, file, blob: file.close())
        fed(store.writer(), 300_000).abort()
    (left,) = remains(home)
    left.unlink()
