"""Stations that `check_sealed` has no class of its own for: every value opens as what it is, and
the digest beside it leads to it."""

from __future__ import annotations

from typing import Any

from mssmtp.errors import MailError
from mssmtp.storage.check import PAGE, Claim, Look, Part
from mssmtp.storage.keys import Keyring, OwnerKey
from mssmtp.storage.model import Shredded
from mssmtp.storage.rotating import shown
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS, Station
from mssmtp.storage.view import Row
from mssmtp.storage.views import Reading

_ELSEWHERE = frozenset(
    {
        "owners",
        "members",
        "app_passwords",
        "mailboxes",
        "keywords",
        "acl",
        "metadata",
        "blob_keys",
        "packs",
        "texts",
        "envelopes",
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
                at = ", ".join(map(shown, row[1 : len(keys) + 1]))
                text = f"{self.station.name} {at}: does not open or is another's"
                look.wrong(claim.name, text)
        return look

    def _opens(self, view: Reading, row: Row) -> bool:
        station = self.station
        values = dict(zip(station.names, row, strict=False))
        try:
            if station.under == "owner":
                key: OwnerKey | Keyring = view._owner_key(values["owner"])
                opens = key.open
            else:
                key, opens = view._vault.keys, view._master_open
            opened = {
                name: opens(purpose(values), values[name])
                for name, purpose in station.sealed.items()
                if values[name] is not None
            }
            # While a key is being replaced, what is sealed under the older one is found by it.
            if not opened or not all(key.is_current(values[name]) for name in opened):
                return True
            digests = station.digests(key, values, opened)
        except Shredded:
            return True
        except (MailError, ValueError):
            return False
        stands = dict(zip(station.changed, row[len(station.names) :], strict=True))
        return all(stands[name] == digest for name, digest in digests.items())


def _part(station: Station) -> type[Part[Any]]:
    name = station.name.replace("_", "-")
    return type(
        f"At_{station.name}",
        (AtStation,),
        {
            "station": station,
            "name": f"sealed {name}",
            "first": station.start(),
            "claims": (
                Claim(f"sealed-{name}", f"sealed {name}", "it opens, and leads back to it"),
            ),
        },
    )


PARTS: tuple[type[Part[Any]], ...] = tuple(
    _part(station)
    for station in (*MASTER_STATIONS, *OWNER_STATIONS)
    if station.name not in _ELSEWHERE
)
