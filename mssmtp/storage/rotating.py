"""The jobs of a rotation: begin, seal a batch of rows anew, end. What drives them is `rotation`.

Each job is one commit and may be the last one before a power cut. A key is replaced in this order:
the new one becomes the one that seals, beside the old one, which still opens; rows are sealed
anew; a snapshot shows that no row needs the old one; the old one is dropped. Nothing is sealed
under the old key once the first of these commits is on disk, so that what the snapshot shows stays
true.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import and_, bindparam, select, update

from mssmtp.errors import Damaged
from mssmtp.storage.keys import MasterState, OwnerMark, next_mark
from mssmtp.storage.model import NoSuchBal, Owner, Shredded
from mssmtp.storage.schema import meta, owners, sql
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS, Opener, Station
from mssmtp.storage.view import MASTERS, View, WritingView

BATCH_ROWS = 256
BATCH_OCTETS = 4 * 1_048_576
"""Of one commit at most: other jobs share it."""

_SET_MASTERS = sql(
    update(meta).where(meta.c.key == bindparam("name")).values(value=bindparam("new"))
)
_BEGIN = sql(
    update(owners)
    .where(owners.c.id == bindparam("owner_"))
    .values(mark=bindparam("new_mark"), wrapped=bindparam("new"), older=bindparam("old"))
)
_END = sql(
    update(owners)
    .where(and_(owners.c.id == bindparam("owner_"), owners.c.mark == bindparam("mark_")))
    .values(older=None)
)
_ALL_OWNERS = sql(select(owners.c.id).order_by(owners.c.id))
_BETWEEN_KEYS = sql(
    select(owners.c.id, owners.c.mark).where(owners.c.older.is_not(None)).order_by(owners.c.id)
)

Place = tuple[object, ...]
"""A primary key."""


class RotationReading(View):
    """What is left to do."""

    def master_state(self) -> MasterState:
        """Ids of the master keys in force. Raises Damaged, StorageUnavailable."""
        self._follow_masters()
        return self._vault.keys.state

    def owner_ids(self, owner: Owner | None) -> list[int]:
        """Ids of the keys of one owner, or of all. Raises NoSuchBal when it has none."""
        if owner is None:
            return [row[0] for row in self._all(_ALL_OWNERS)]
        if (id := self._owner_id(owner)) is None:
            raise NoSuchBal
        return [id]

    def owners_between_keys(self) -> list[tuple[int, bytes]]:
        """Id and newest mark of the owners whose key is being replaced."""
        return [(row[0], bytes(row[1])) for row in self._all(_BETWEEN_KEYS)]

    def stale_rows(self, station: Station, after: Place) -> list[Place]:
        """The next places where an older key is needed, as many as one batch takes."""
        keys = station.keys()
        found = self._all(
            station.stale, most=BATCH_ROWS, **_at("after", keys, after), **self._mark()
        )
        places: list[Place] = []
        octets = 0
        for *place, size in found:
            octets += size
            if places and octets > BATCH_OCTETS:
                break
            places.append(tuple(place))
        return places

    def stale_count(self, stations: Iterable[Station]) -> int:
        """How many rows still need an older key."""
        mark = self._mark()
        return sum(int(self._all(station.waiting, **mark)[0][0]) for station in stations)

    def stale_owners(self) -> frozenset[int]:
        """Owners with rows that still need their older key."""
        mark = self._mark()
        found = (row[0] for station in OWNER_STATIONS for row in self._all(station.behind, **mark))
        return frozenset(found)

    def rows_of(self, owner: Owner | None) -> dict[str, int]:
        """How many rows a rotation of this owner's key, or of every owner's, would seal anew."""
        id = None if owner is None else self.owner_ids(owner)[0]
        return {s.name: int(self._all(s.rows, owner=id)[0][0]) for s in OWNER_STATIONS}

    def rows_under_master(self) -> dict[str, int]:
        """How many rows a rotation of the master key would seal anew."""
        return {s.name: int(self._all(s.rows, owner=None)[0][0]) for s in MASTER_STATIONS}

    def _mark(self) -> dict[str, object]:
        self._follow_masters()
        return {"mark": self._vault.keys.state.mark}


class RotationWriting(RotationReading, WritingView):
    """The commits."""

    def begin_master(self, id: str) -> MasterState:
        """Let the master key `id` seal from now on; an unfinished rotation goes on instead."""
        state = self.master_state()
        if state.older is None and state.id != id:
            state = MasterState(next_mark(state.mark), id, state.id)
            self._set_masters(state)
        return state

    def end_master(self, state: MasterState) -> MasterState:
        """Want the older master key no longer, unless another rotation began since `state`."""
        if self.master_state() == state:
            state = MasterState(state.mark, state.id)
            self._set_masters(state)
        return state

    def begin_owners(self, ids: Sequence[int]) -> int:
        """A new key for each that has not two already; how many got one. Raises Damaged."""
        begun = 0
        self._follow_masters()
        for id in ids:
            try:
                row = self._owner_row(id)
            except Shredded:
                continue
            if row.older is not None:
                continue
            mark = next_mark(row.mark)
            wrapped = self._vault.keys.new_owner_key(row.name, row.handle)
            self._run(_BEGIN, owner_=id, new_mark=mark, new=wrapped, old=row.wrapped)
            self._marks[id] = OwnerMark(mark, replaces=True)
            begun += 1
        return begun

    def end_owners(self, done: Iterable[tuple[int, bytes]]) -> None:
        """Drop the older key of each, unless another rotation began meanwhile."""
        for id, mark in done:
            self._run(_END, owner_=id, mark_=mark)

    def renew(self, station: Station, first: Place, last: Place) -> tuple[int, list[str]]:
        """Seal anew what is stale from `first` to `last`; how many, and which are damaged."""
        keys = station.keys()
        values = {**_at("first", keys, first), **_at("last", keys, last), **self._mark()}
        done = 0
        damaged = []
        for found in self._all(station.load, **values):
            row = dict(zip(station.names, found, strict=True))
            place = tuple(row[name] for name in keys)
            try:
                new = station.renewed(self._opener(station, row["owner"]), row)
            except Damaged:
                damaged.append(f"{station.name} {' '.join(map(shown, place))}")
                continue
            changed = {f"new_{name}": value for name, value in new.items()}
            self._run(station.update, **changed, **_at("at", keys, place))
            done += 1
        return done, damaged

    def _opener(self, station: Station, owner: int) -> Opener:
        if station.under == "owner":
            return self._owner_key(owner)
        keys = self._vault.keys
        return keys if station.under == "names" else keys.wrapping

    def _set_masters(self, state: MasterState) -> None:
        self._run(_SET_MASTERS, name=MASTERS, new=bytes(state))
        self._has_followed = False


def _at(prefix: str, names: Sequence[str], place: Place) -> dict[str, object]:
    return {f"{prefix}_{name}": value for name, value in zip(names, place, strict=True)}


def shown(value: object) -> str:
    """A column of a primary key, for a report."""
    return value.hex() if isinstance(value, bytes) else str(value)
