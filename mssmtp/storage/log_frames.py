"""The embedded engine's write-ahead log: whether everything in it that was acknowledged is read.

SQLite ends recovery at the first frame whose checksum is wrong and says nothing: right after a
power cut, where that frame was never synced, and a silent loss of every later commit when one bit
of a synced frame has changed. The difference can be seen: nothing is written behind a commit before
that commit is synced. So a frame that continues the chain of checksums behind a commit which
recovery did not reach proves damage. Damage inside the very last commit looks like a power cut, and
is taken for one.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path
from urllib.parse import quote

from mssmtp.errors import ConfigError

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_LITTLE_MAGIC, _BIG_MAGIC = 0x377F0682, 0x377F0683
_REACHED = struct.Struct("=I")
_REACHED_AT = 16
"""Offset of the number of valid frames in the shared-memory index."""

REMEDY = (
    "Keep a copy of the home as it is, then restore the last good one: going on without the log"
    " would lose acknowledged mail and give UIDs a second time."
)


def require_whole(database: Path) -> None:
    """Raises ConfigError when commits in the log of `database` can no longer be read.

    Under the commit lock: nobody writes meanwhile. The log stays as it is.
    """
    log = Path(f"{database}-wal")
    if not log.exists() or log.stat().st_size <= _HEADER.size + _FRAME.size:
        return
    # Read-only: at its end a connection that may write folds the log and removes it.
    db = sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=10.0)
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with open(f"{database}-shm", "rb") as index:
            index.seek(_REACHED_AT)
            (reached,) = _REACHED.unpack(index.read(_REACHED.size))
    finally:
        db.close()
    if _is_cut(log, reached):
        raise ConfigError(
            "store.home", "store.db-wal is damaged: acknowledged commits cannot be read", REMEDY
        )


def _is_cut(log: Path, reached: int) -> bool:
    """Whether commits lie behind the last frame that recovery reached."""
    with open(log, "rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:  # a checkpoint has emptied it since it was looked at
            return False
        magic, _, page, _, *salts, sum1, sum2 = _HEADER.unpack(header)
        order = ">" if magic == _BIG_MAGIC else "<"
        if magic not in (_LITTLE_MAGIC, _BIG_MAGIC) or (sum1, sum2) != _sums(
            order, header[:24], (0, 0)
        ):
            return True  # written and synced before any frame
        step = _FRAME.size + page
        frames = (log.stat().st_size - _HEADER.size) // step
        for number in range(reached, frames):
            file.seek(_HEADER.size + number * step)
            _, is_commit, *rest = _FRAME.unpack(file.read(_FRAME.size))
            if is_commit and rest[:2] == salts and number + 1 < frames:
                file.seek(_HEADER.size + (number + 1) * step)
                following = file.read(step)
                _, _, *next_rest = _FRAME.unpack(following[: _FRAME.size])
                sums = _sums(order, following[:8], (rest[2], rest[3]))
                sums = _sums(order, following[_FRAME.size :], sums)
                if next_rest == [*salts, *sums]:
                    return True
    return False


def _sums(order: str, octets: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """The log's cumulative checksum (sqlite.org/fileformat2.html#checksum_algorithm)."""
    first, second = sums
    words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFF_FFFF
        second = (second + words[index + 1] + first) & 0xFFFF_FFFF
    return first, second
