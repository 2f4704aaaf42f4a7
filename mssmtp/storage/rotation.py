"""Replacing keys while everybody works, and going on where a crash stopped it.

`Store.rotate_master` and `Store.rotate_owners` are called again until they say that they are
finished: what a killed run began is continued, never begun anew. They work through `Store.write` in
small commits, from any process, beside a running server, on both engines; every commit leaves a
store in which everything can be read.

Nothing of an old key is given up before a snapshot has shown that no row needs it. Rows that do not
open any more keep their old key waiting, until `give_up` says that they are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId
from mssmtp.storage.masters import MasterFiles
from mssmtp.storage.model import Owner
from mssmtp.storage.resealing import UNREAD
from mssmtp.storage.rotating import Place
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS, Station

if TYPE_CHECKING:
    from mssmtp.storage.store import Store
    from mssmtp.storage.views import Reading

MAX_DAMAGED = 1_000
OWNERS_AT_ONCE = 256
BLOBS = 64
YOUNG = timedelta(hours=1)
_ROUNDS = 20
"""A row that moves before the sweep is found by the next; nobody moves mail that fast for long."""

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


def silent(done: int, total: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What a rotation did. `damaged`: rows that do not open, at most MAX_DAMAGED of them."""

    renewed: int
    damaged: tuple[str, ...]
    is_finished: bool
    """False: rows still need an older key, which is kept."""


def rotate_master(
    store: Store, files: MasterFiles, *, give_up: bool = False, progress: Progress = silent
) -> RotationReport:
    """A new master key, and everything under the old one sealed anew.

    The old file stays, with its id in its name. Raises ConfigError (the directory of the key cannot
    be written), StorageFull, StorageUnavailable, Damaged.
    """
    known = store.read(lambda r: r.master_state(), patient=True).result()
    if known.older is None and files.current().id == known.id:
        prepared = files.prepare()
        known = store.write(lambda w: w.begin_master(prepared.id)).result()
    sweep = _Sweep(store, MASTER_STATIONS, progress)
    sweep.run()
    left = store.read(lambda r: r.stale_count(MASTER_STATIONS), patient=True).result()
    if left and not give_up:
        return sweep.report(is_finished=False)
    final = known
    if known.older is not None:
        final = store.write(lambda w: w.end_master(known)).result()
    if final.older is None:
        files.settle(final.id)
    return sweep.report(is_finished=final.older is None)


def rotate_owners(
    store: Store, owner: Owner | None, *, give_up: bool = False, progress: Progress = silent
) -> RotationReport:
    """A new key for a BAL, a domain, or all of them (None), and everything under it sealed anew.

    What another run left unfinished is finished too. Raises NoSuchBal, StorageFull,
    StorageUnavailable, Damaged.
    """
    ids = store.read(lambda r: r.owner_ids(owner), patient=True).result()
    for at in range(0, len(ids), OWNERS_AT_ONCE):
        some = ids[at : at + OWNERS_AT_ONCE]
        store.write(lambda w, some=some: w.begin_owners(some)).result()  # type: ignore[misc]
    sweep = _Sweep(store, OWNER_STATIONS, progress)
    sweep.run()
    started, behind = store.read(
        lambda r: (r.owners_between_keys(), r.stale_owners()), patient=True
    ).result()
    done = [one for one in started if give_up or one[0] not in behind]
    for at in range(0, len(done), OWNERS_AT_ONCE):
        part = done[at : at + OWNERS_AT_ONCE]
        store.write(lambda w, part=part: w.end_owners(part)).result()  # type: ignore[misc]
    return sweep.report(is_finished=len(done) == len(started))


def rotate_messages(
    store: Store, owner: Owner | None, *, progress: Progress = silent
) -> RotationReport:
    """A new key for every message of one owner, or of all: their contents are written anew.

    Messages of the last hour are left as they are: they may still be on their way. Raises
    NoSuchBal, StorageFull, StorageUnavailable.
    """
    id = None if owner is None else store.read(lambda r: r.owner_ids(owner)).result()[0]
    begun = store.floor(YOUNG)
    floor = store.write(lambda w: w.begin_messages(id, begun)).result()
    total = store.read(lambda r: r.count_below(floor, id), patient=True).result()
    progress(0, total)
    done, after, damaged = 0, -1, []
    while numbers := _below(store, floor, id, after):
        # Written together: one sync for all of them, not one each.
        written = [(number, _resealed(store, number)) for number in numbers]
        for number, wait in written:
            try:
                wait()
            except Damaged:
                damaged.append(f"blobs {number}")
            done += 1
            progress(min(done, total), total)
        after = numbers[-1]
        store.write(lambda w: w.bury_files()).result()
    store.write(lambda w: w.end_messages(id)).result()
    store.write(lambda w: w.bury_files()).result()
    return RotationReport(done - len(damaged), tuple(damaged[:MAX_DAMAGED]), not damaged)


def _below(store: Store, floor: BlobId, owner: int | None, after: int) -> list[int]:
    def query(r: Reading) -> list[int]:
        return r.blobs_below(floor, owner, after, BLOBS)

    return store.read(query, patient=True).result()


def _resealed(store: Store, number: int) -> Callable[[], None]:
    """One content under a new key, on its way; nothing happens when it is gone.

    To be called to wait for it; that raises Damaged.
    """
    try:
        found = store.read(lambda r: r.whole_content(number)).result()
        return _nothing if found is None else _replaced(store, number, *found)
    except Damaged as error:
        refusal = error

        def refuse() -> None:
            raise refusal

        return refuse


def _nothing() -> None:
    return None


def _replaced(
    store: Store, number: int, old: BlobId, blocks: Iterable[bytes]
) -> Callable[[], None]:
    writer = store.writer(UNREAD)
    try:
        for block in blocks:
            writer.write(block)
        letter = writer.finish()
    except BaseException:
        writer.abort()
        raise
    replacing = store.write(lambda w: w.replace_content(number, old, letter.blob))

    def wait() -> None:
        if not replacing.result():
            store.discard(letter)

    return wait


class _Sweep:
    """Walks the stations until nothing is left that can be sealed anew."""

    def __init__(self, store: Store, stations: Sequence[Station], progress: Progress) -> None:
        self._store = store
        self._stations = stations
        self._progress = progress
        self._renewed = 0
        self._damaged: dict[str, None] = {}

    def run(self) -> None:
        total = self._left()
        self._progress(0, total)
        for _ in range(_ROUNDS):
            before = self._renewed
            for station in self._stations:
                self._walk(station, total)
            if self._renewed == before:  # all that is left is damaged, or nothing
                break
        self._progress(total, total)

    def report(self, *, is_finished: bool) -> RotationReport:
        return RotationReport(self._renewed, tuple(self._damaged), is_finished)

    def _left(self) -> int:
        return self._store.read(lambda r: r.stale_count(self._stations), patient=True).result()

    def _walk(self, station: Station, total: int) -> None:
        after: Place = station.start()
        while places := self._stale(station, after):
            first, after = places[0], places[-1]
            renewed, damaged = self._renew(station, first, after)
            self._renewed += renewed
            for one in damaged[: MAX_DAMAGED - len(self._damaged)]:
                self._damaged[one] = None
            self._progress(min(self._renewed, total), total)

    def _stale(self, station: Station, after: Place) -> list[Place]:
        return self._store.read(lambda r: r.stale_rows(station, after), patient=True).result()

    def _renew(self, station: Station, first: Place, last: Place) -> tuple[int, list[str]]:
        return self._store.write(lambda w: w.renew(station, first, last)).result()
