"""What is known of the lists and CRLs on disk: the content of state.json, and nothing that acts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mssmtp.trust_feed.fetch import Validators
from mssmtp.whitelist import Whitelist

KEPT_LISTS = 30
KEPT_EVENTS = 200
KEPT_REFUSALS = 10
"""Of the events: a server that publishes nonsense all day does not push the rest out."""

SERVER = "server"
"""Who did what no person did."""

Happening = Literal["accepted", "held", "refused", "confirmed", "rolled back", "undone"]


class Record(BaseModel):
    """Base of every record: frozen; what a later version writes beside is not ours to read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ListState(Record):
    """One signed list on disk. Nothing but `file`, `sha256` and `left` is more than a label.

    `left`: a person went back behind it; nothing of it is used again by itself.
    """

    file: str
    date: datetime
    sha256: str
    signer: str = ""
    rows: int = 0
    domains: int = 0
    left: bool = False


class Published(Record):
    """What the list's server answered last: the digest it named and when it was asked."""

    url: str
    sha256: str
    checked_at: datetime
    etag: str | None = None
    last_modified: str | None = None

    @property
    def validators(self) -> Validators:
        """For the next conditional GET."""
        return Validators(self.etag, self.last_modified)


class Held(Record):
    """A list that verified and is not in force until a person confirms it (OP-28's brakes)."""

    listed: ListState
    reasons: tuple[str, ...]
    since: datetime


class RolledBack(Record):
    """A person went back to an earlier list; what is not newer than `left` stays out."""

    left: ListState
    by: str
    at: datetime


class Conflict(Record):
    """A second signed list of the date of the newest one (WT-25): an alarm until both are past."""

    date: datetime
    sha256: str
    first_seen: datetime
    last_seen: datetime


class Event(Record):
    """One line of the history. `date` is None where no list could be read."""

    at: datetime
    who: str
    what: Happening
    sha256: str
    date: datetime | None = None
    detail: str = ""


class Failure(Record):
    """The last try at an address brought nothing; gone with the next success."""

    at: datetime
    reason: str


class CrlState(Record):
    """One CRL in force and its last successful download."""

    file: str
    checked_at: datetime
    etag: str | None = None
    last_modified: str | None = None

    @property
    def validators(self) -> Validators:
        """For the next conditional GET."""
        return Validators(self.etag, self.last_modified)


class State(Record):
    """Everything: `accepted` from old to new, of which one is in force; `crls` and
    `failures` by address."""

    accepted: tuple[ListState, ...] = ()
    in_force: str | None = None
    published: Published | None = None
    held: Held | None = None
    rolled_back: RolledBack | None = None
    conflict: Conflict | None = None
    events: tuple[Event, ...] = ()
    crls: Mapping[str, CrlState] = {}
    failures: Mapping[str, Failure] = {}

    @property
    def listed(self) -> ListState | None:
        """The list in force."""
        return next((each for each in self.accepted if each.sha256 == self.in_force), None)

    @property
    def newest(self) -> ListState | None:
        """The newest list ever accepted: nothing older is, whatever is in force (OP-26)."""
        return self.accepted[-1] if self.accepted else None

    def bar(self, now: datetime) -> ListState | None:
        """The list that nothing older may follow (OP-26).

        One of a later day that a person took and then left bars nothing: else no list would come
        in until that day.
        """
        barring = (each for each in self.accepted[::-1] if not each.left or each.date <= now)
        return next(barring, None)

    def lately(self, since: datetime) -> tuple[ListState, ...]:
        """Lists accepted and not left, of `since` or newer, back to one a person confirmed."""
        confirmed = {event.sha256 for event in self.events if event.what == "confirmed"}
        found: list[ListState] = []
        for each in self.accepted[::-1]:
            if each.date >= since and not each.left:
                found.append(each)
            if each.sha256 in confirmed:
                break
        return tuple(found)

    def before(self, count: int) -> tuple[ListState, ...]:
        """The `count` lists in force before this one, newest first (OP-34).

        Not those a person has left: what was wrong there must not come back as a grace.
        """
        listed = self.listed
        earlier = self.accepted[: self.accepted.index(listed)] if listed is not None else ()
        return tuple(each for each in earlier[::-1] if not each.left)[:count]

    @property
    def crl_files(self) -> tuple[str, ...]:
        """Changes exactly when the CRLs in force change."""
        return tuple(sorted(crl.file for crl in self.crls.values()))

    # ------------------------------------------------------------ what follows from it

    def publishing(self, url: str, digest: str, said: Validators, now: datetime) -> State:
        """The list's server answered."""
        published = Published(
            url=url,
            sha256=digest,
            checked_at=now,
            etag=said.etag,
            last_modified=said.last_modified,
        )
        return self.without_failure(url).model_copy(update={"published": published})

    def without_failure(self, url: str) -> State:
        """The address has answered."""
        left = {each: failure for each, failure in self.failures.items() if each != url}
        return self.model_copy(update={"failures": left})

    def putting_in_force(self, kept: ListState) -> State:
        """A list newer than all before it: what was held, rolled back or in conflict is past."""
        return self.model_copy(
            update={
                "accepted": (*self.accepted, kept)[-KEPT_LISTS:],
                "in_force": kept.sha256,
                "held": None,
                "rolled_back": None,
                "conflict": None,
            }
        )

    def marking(self, behind: ListState, *, left: bool) -> State:
        """What follows `behind` is left by a person, or taken back."""
        at = self.accepted.index(behind) + 1
        marked = (each.model_copy(update={"left": left}) for each in self.accepted[at:])
        return self.model_copy(update={"accepted": (*self.accepted[:at], *marked)})

    def in_conflict_with(self, listed: Whitelist, now: datetime) -> State:
        """Another list of the date of the newest one was published."""
        known = self.conflict
        first = known.first_seen if known and known.sha256 == listed.sha256 else now
        conflict = Conflict(date=listed.date, sha256=listed.sha256, first_seen=first, last_seen=now)
        return self.model_copy(update={"conflict": conflict})

    def noting(
        self, what: Happening, kept: ListState, who: str, now: datetime, detail: str = ""
    ) -> State:
        """With one more line of history."""
        return self.with_event(
            Event(at=now, who=who, what=what, sha256=kept.sha256, date=kept.date, detail=detail)
        )

    def with_event(self, event: Event) -> State:
        """With one more line; the oldest beyond the limits go."""
        events = [*self.events, event]
        refusals = [each for each in events if each.what == "refused"]
        for old in refusals[:-KEPT_REFUSALS]:
            events.remove(old)
        return self.model_copy(update={"events": tuple(events[-KEPT_EVENTS:])})
