"""Kinds of service mail: what each is told of, how long it is worth sending (messages.md §3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What a service mail is about. The values are stored."""

    REGISTRATION = "registration"
    REGISTERED = "registered"
    CODE = "code"
    ACTIVATION = "activation"
    RESET = "reset"
    INVITATION = "invitation"
    ARRIVAL = "arrival"
    DIGEST = "digest"
    OPENING = "opening"
    SEALING = "sealing"
    INACTIVITY = "inactivity"
    DELEGATION = "delegation"
    BREAK_GLASS = "break-glass"
    HANDOVER = "handover"
    CERTIFIED = "certified"
    ADDRESS_CHANGED = "address-changed"
    EXERCISE_ENDED = "exercise-ended"
    DEVICE = "device"
    CLOUD_RELAY = "cloud-relay"


@dataclass(frozen=True, slots=True)
class Traits:
    """`fields`: the values it takes, all of them, by name. `several`: those that are lines.

    `lifetime`: after it the mail is of no use and is not sent. `is_awaited`: somebody sits in front
    of a screen until it comes, so that a relay that is down is said at once. `page`: where its
    reader sees or undoes what it tells of; the desk fills `link` with its address.
    """

    fields: tuple[str, ...]
    lifetime: timedelta = timedelta(days=2)
    several: frozenset[str] = frozenset()
    is_awaited: bool = False
    page: str = ""


_DELEGATIONS, _ACTIVITY, _DEVICES = "compte/delegations", "compte/activite", "compte/appareils"
_LINES = frozenset({"letters"})

TRAITS: dict[Kind, Traits] = {
    Kind.REGISTRATION: Traits(("link",), timedelta(hours=48), is_awaited=True),
    Kind.REGISTERED: Traits(("link", "reset"), timedelta(hours=48), is_awaited=True),
    Kind.CODE: Traits(("code",), timedelta(minutes=10), is_awaited=True),
    Kind.ACTIVATION: Traits(("structure", "box", "link", "until")),
    Kind.RESET: Traits(("link",), timedelta(hours=1), is_awaited=True),
    Kind.INVITATION: Traits(("sender", "link", "until"), timedelta(hours=48)),
    Kind.ARRIVAL: Traits(("box", "sender", "title", "link")),
    Kind.DIGEST: Traits(("box", "count", "letters", "link"), several=_LINES),
    Kind.OPENING: Traits(("recipient", "title", "time", "envelope")),
    Kind.SEALING: Traits(
        ("recipients", "title", "time", "envelope", "link"), several=frozenset({"recipients"})
    ),
    # A warning that a dead relay has held up is still to be heard before the box is closed.
    Kind.INACTIVITY: Traits(("box", "date", "days", "link"), timedelta(days=30)),
    Kind.DELEGATION: Traits(("box", "delegate", "rights", "until", "link"), page=_DELEGATIONS),
    Kind.BREAK_GLASS: Traits(
        ("box", "person", "reason", "until", "link"), timedelta(days=7), page=_ACTIVITY
    ),
    Kind.HANDOVER: Traits(("box", "colleague", "until", "link"), page=_DELEGATIONS),
    Kind.CERTIFIED: Traits(("box",)),
    Kind.ADDRESS_CHANGED: Traits(("box", "before", "after"), timedelta(days=7)),
    Kind.EXERCISE_ENDED: Traits(("person", "reason", "date"), timedelta(days=7)),
    Kind.DEVICE: Traits(("device", "event", "time", "link"), page=_DEVICES),
    Kind.CLOUD_RELAY: Traits(("login", "product", "address", "time", "link"), page=_DEVICES),
}
