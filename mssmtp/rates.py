"""How fast a box writes: one count for all workers, in memory that never grows.

The generic cell rate algorithm: of each box that wrote lately, one moment, at which all it wrote
would have been sent at its pace. The moments stand in memory that the workers share since their
fork. Urgent letters (RFC 6710) have a moment of their own, under the box's number with its sign
turned. Two workers that write one moment together may lose a recipient of the count; when every
place of a box's set is taken, who is nearest to its pace is forgotten. Both are on the sender's
side.
"""

from __future__ import annotations

import struct
from mmap import mmap

from mssmtp.config_policy import RateSettings
from mssmtp.mail import Bal, BalId, BalType

_SETS, _WAYS = 16_384, 4
_PLACE = struct.Struct("=qd")
"""Number of the box, less than 0 of its urgent letters, 0 for nobody; and its moment."""
OCTETS = _SETS * _WAYS * _PLACE.size
_HOUR_S = 3600.0


def shared_memory() -> mmap:
    """Made before the workers are forked."""
    return mmap(-1, OCTETS)


class Rates:
    """The pace of boxes. Times are monotonic seconds, which all processes of a machine share."""

    def __init__(self, settings: RateSettings, memory: mmap | None = None) -> None:
        """Without `memory` the count is this process's own."""
        self._settings = settings
        self._memory = memory if memory is not None else shared_memory()

    def wait_s(self, bal: Bal, now: float, *, is_machine: bool = False) -> float:
        """Until `bal` may write to one more recipient; 0: now."""
        step = self._step(bal, is_machine=is_machine)
        if not step:
            return 0.0
        burst = self._settings.burst
        ahead = self._moment(bal.id, now, step * burst) - now
        return max(0.0, ahead - (burst - 1) * step)

    def charge(self, bal: Bal, now: float, *, is_machine: bool = False) -> None:
        """One more recipient was accepted."""
        step = self._step(bal, is_machine=is_machine)
        if step:
            room = self._settings.burst * step
            self._keep(bal.id, self._moment(bal.id, now, room) + step)

    def grants_urgency(self, bal: Bal, now: float, *, is_machine: bool = False) -> bool:
        """Whether one more letter of `bal` may go before others (RFC 6710 5); then it is counted.

        What a box has for an hour it may use at once: urgent results come together.
        """
        fast = is_machine or bal.type is BalType.APP
        rates = self._settings
        per_hour = rates.app_urgent_per_hour if fast else rates.urgent_per_hour
        if not per_hour:
            return False
        step = _HOUR_S / per_hour
        moment = self._moment(BalId(-bal.id), now, _HOUR_S)
        if moment - now > _HOUR_S - step:
            return False
        self._keep(BalId(-bal.id), moment + step)
        return True

    def _step(self, bal: Bal, *, is_machine: bool) -> float:
        """Seconds that one recipient costs; 0: nothing."""
        fast = is_machine or bal.type is BalType.APP
        per_hour = self._settings.app_per_hour if fast else self._settings.per_hour
        return _HOUR_S / per_hour if per_hour else 0.0

    def _moment(self, bal: BalId, now: float, furthest: float) -> float:
        """What is kept of the box; a moment that no count can have made is none."""
        for place in self._places(bal):
            number, moment = _PLACE.unpack_from(self._memory, place)
            if number == bal:
                return moment if now < moment <= now + furthest else now
        return now

    def _keep(self, bal: BalId, moment: float) -> None:
        places = self._places(bal)
        held = [_PLACE.unpack_from(self._memory, place) for place in places]
        own = next((n for n, (number, _) in enumerate(held) if number == bal), None)
        if own is None:
            own = min(range(_WAYS), key=lambda n: held[n][1])
        _PLACE.pack_into(self._memory, places[own], bal, moment)

    def _places(self, bal: BalId) -> range:
        first = bal % _SETS * _WAYS * _PLACE.size
        return range(first, first + _WAYS * _PLACE.size, _PLACE.size)
