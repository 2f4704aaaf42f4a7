"""Stations that `check_sealed` has no class of its own for: every value opens as what it is."""

from __future__ import annotations

from typing import Any

from mssmtp.errors import MailError
from mssmtp.storage.check import PAGE, Claim, Look, Part
from mssmtp.storage.model import Shredded
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS, Station
from mssmtp.storage.view import Row
from mssmtp.storage.views import Reading

_ELSEWHERE = frozenset(
    {
        "owners",
        "bals",
        "accounts",
        "members",
        "app_passwords",
        "mailboxes",
        "keywords",
        "acl",
        "metadata",
        "subscriptions",
        "correspondents",
        "blob_keys",
        "packs",
        "texts",
        "envelopes",
        "queue",
        "sent",
        "event_lines",
        "transfers",
        "facts",
    }
)
"""Tables whose checks know more than that a value opens."""


class AtStation(Part[tuple[Any, ...]]):
    """The rows of one table."""

    station: Station

    def look(self, view: Reading, after: tuple[Any, ...]) -> Look[tuple[Any, ...]]:
        """A range of rows, each opened."""
        keys = self.station.keys()
        begin = {f"after_{key}": value for key, value in zip(keys, after, strict=True)}
        rows = view._all(self.station.page, **begin, most=PAGE)
        claim = self.claims[0]
        look: Look[tuple[Any, ...]]
        look = Look.over(claim.of, rows, PAGE, key=lambda row: tuple(row[1 : len(keys) + 1]))
        for row in rows:
            if not self._opens(view, row):
                named = ", ".join(str(value) for value in row[1 : len(keys) + 1])
                look.wrong(claim.name, f"{self.station.name} {named}: does not open")
        return look

    def _opens(self, view: Reading, row: Row) -> bool:
        values = dict(zip(self.station.names, row, strict=True))
        try:
            for name, purpose in self.station.sealed.items():
                if values[name] is None:
                    continue
                if self.station.under == "owner":
                    view._owner_key(values["owner"]).open(purpose(values), values[name])
                else:
                    view._master_open(purpose(values), values[name])
        except Shredded:
            return True
        except (MailError, ValueError):
            return False
        return True


def _part(station: Station) -> type[Part[Any]]:
    name = station.name.replace("_", "-")
    return type(
        f"At_{station.name}",
        (AtStation,),
        {
            "station": station,
            "name": f"sealed {name}",
            "first": station.start(),
            "claims": (Claim(f"sealed-{name}", name, "what is sealed in it opens as its own"),),
        },
    )


PARTS: tuple[type[Part[Any]], ...] = tuple(
    _part(station)
    for station in (*MASTER_STATIONS, *OWNER_STATIONS)
    if station.name not in _ELSEWHERE
)
